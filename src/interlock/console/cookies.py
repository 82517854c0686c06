"""How a browser shows who it is: a cookie that scripts cannot read, and a token in each form that changes something."""

from __future__ import annotations

import hmac
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from interlock.console.guard import SAFE
from interlock.console.visits import Problem, Visit, Visits

VISIT: Final = "interlock"
"""Of somebody who signed in."""
FORM: Final = "interlock-form"
"""Of somebody who is about to: other sites can neither read nor choose it, and the form is bound to it."""
_SECURE: Final = "__Host-"
"""The prefix makes browsers refuse the cookie from a subdomain or over plain HTTP (RFC 6265bis §4.1.3.2)."""


def put(answer: Response, name: str, value: str, *, https: bool) -> None:
    """A session cookie: gone when the browser closes, and never sent along by other sites."""
    answer.set_cookie(_name(name, https), value, httponly=True, samesite="strict", secure=https, path="/")


def drop(answer: Response, name: str, *, https: bool) -> None:
    answer.delete_cookie(_name(name, https), httponly=True, samesite="strict", secure=https, path="/")


def value_of(request: Request, name: str, *, https: bool) -> str:
    return request.cookies.get(_name(name, https), "")


def _name(name: str, https: bool) -> str:
    return _SECURE + name if https else name


def from_cookie(visits: Visits, request: Request, csrf: str) -> Visit:
    """The visit that the request's cookie belongs to. What changes something needs the form token `csrf`.
    Raises `Problem`: 401 without a visit that still holds, 403 without its token."""
    cookie = value_of(request, VISIT, https=visits.https)
    visit = visits.cookie(cookie) if cookie else None
    if visit is None:
        raise Problem(401, "identity", "sign in first", ask="use a token for audience `console`")
    if reason := visits.over(visit):
        raise Problem(401, "revoked", reason)
    if request.method not in SAFE and not hmac.compare_digest(csrf.encode("utf-8", "surrogatepass"), visit.csrf.encode()):
        raise Problem(403, "csrf", "the form is not of this sign-in; go back, load the page again, and repeat")
    return visit


def secret_of(authorization: str | None) -> str | None:
    """The bearer token (RFC 6750 §2.1) of an Authorization header; None when there is none. Raises `Problem`."""
    if authorization is None:
        return None
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Problem(401, "identity", "use `Authorization: Bearer TOKEN`")
    return secret.strip()
