"""The REST API: strict JSON in, plain JSON out. The table of requests is in the package's docstring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from interlock.console.actions import Actions
from interlock.console.cookies import from_cookie, secret_of
from interlock.console.visits import Console, Problem, Visit, Visits
from interlock.errors import InterlockError, LimitError
from interlock.identity.identity import TOKEN_TTL_S

_log = structlog.get_logger("interlock.console")

Handler = Callable[[Request], Awaitable[Response]]
_Body = TypeVar("_Body", bound=msgspec.Struct)


class Issue(msgspec.Struct, forbid_unknown_fields=True):
    principal: str
    audiences: list[str]
    ttl_s: float = TOKEN_TTL_S


class AnswerBody(msgspec.Struct, forbid_unknown_fields=True):
    approve: bool
    note: str = ""


class Question(msgspec.Struct, forbid_unknown_fields=True):
    on: str
    subject: str = msgspec.field(name="as")
    text: str | None = None
    action: str | None = None


class Api:
    def __init__(self, context: Console, visits: Visits, actions: Actions) -> None:
        self._context = context
        self._visits = visits
        self._do = actions

    def routes(self) -> list[BaseRoute]:
        table: list[tuple[str, str, Callable[[Request, Visit], Awaitable[object]]]] = [
            ("GET", "/api/whoami", self._whoami),
            ("GET", "/api/resources", self._resources),
            ("GET", "/api/sessions", self._sessions),
            ("GET", "/api/sessions/{id}", self._session),
            ("DELETE", "/api/sessions/{id}", self._kill),
            ("GET", "/api/sessions/{id}/timeline", self._timeline),
            ("GET", "/api/sessions/{id}/verify", self._verify),
            ("GET", "/api/approvals", self._approvals),
            ("GET", "/api/approvals/{id}", self._approval),
            ("POST", "/api/approvals/{id}", self._answer),
            ("GET", "/api/policy", self._policy),
            ("POST", "/api/policy/explain", self._explain),
            ("GET", "/api/tokens", self._tokens),
            ("POST", "/api/tokens", self._issue),
            ("DELETE", "/api/tokens/{id}", self._revoke_token),
            ("POST", "/api/principals/{id:path}/revoke", self._revoke_principal),
        ]
        routes: list[BaseRoute] = [Route("/api/health", self._health)]
        routes += [Route(path, self._answering(handler), methods=[method]) for method, path, handler in table]
        return [*routes, Route("/api/{path:path}", _nothing_here, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])]

    def _answering(self, handler: Callable[[Request, Visit], Awaitable[object]]) -> Handler:
        async def answer(request: Request) -> Response:
            try:
                return JSONResponse(await handler(request, await self._visit(request)))
            except Exception as error:
                return say(problem_of(error))

        return answer

    async def _visit(self, request: Request) -> Visit:
        """Who calls. A bearer token wins over a cookie."""
        secret = secret_of(request.headers.get("authorization"))
        if secret is not None:
            return await self._visits.bearer(secret, client_of(request))
        return from_cookie(self._visits, request, request.headers.get("x-csrf-token", ""))

    async def _health(self, request: Request) -> Response:
        gate = self._context.gate
        ok = not gate.evidence.failed and not gate.identity.standing(gate.identity.own(), self._context.clock())
        return JSONResponse({"ok": ok}, 200 if ok else 503)

    async def _whoami(self, request: Request, visit: Visit) -> object:
        return self._do.whoami(visit) | {"gateway": self._context.version}

    async def _resources(self, request: Request, visit: Visit) -> object:
        return {"resources": self._do.resources(visit)}

    async def _sessions(self, request: Request, visit: Visit) -> object:
        limit = whole(request.query_params, "limit", 100, 1)
        return {"sessions": await self._do.sessions(visit, limit, live=_flag(request, "live"))}

    async def _session(self, request: Request, visit: Visit) -> object:
        return await self._do.session(visit, request.path_params["id"])

    async def _kill(self, request: Request, visit: Visit) -> object:
        return await self._do.kill(visit, request.path_params["id"])

    async def _timeline(self, request: Request, visit: Visit) -> object:
        after, limit = whole(request.query_params, "after", -1, -1), whole(request.query_params, "limit", 2_000, 1)
        return await self._do.timeline(visit, request.path_params["id"], after, limit)

    async def _verify(self, request: Request, visit: Visit) -> object:
        return await self._do.verify(visit, request.path_params["id"])

    async def _approvals(self, request: Request, visit: Visit) -> object:
        return {"approvals": await self._do.approvals(visit, everything=_flag(request, "all"))}

    async def _approval(self, request: Request, visit: Visit) -> object:
        return await self._do.approval(visit, request.path_params["id"])

    async def _answer(self, request: Request, visit: Visit) -> object:
        body = await _body(request, AnswerBody)
        return await self._do.answer(visit, request.path_params["id"], body.approve, body.note)

    async def _policy(self, request: Request, visit: Visit) -> object:
        return await self._do.policy(visit)

    async def _explain(self, request: Request, visit: Visit) -> object:
        body = await _body(request, Question)
        if (body.text is None) == (body.action is None):
            raise Problem(400, "request", "give either `text` or `action`")
        return await self._do.explain(visit, body.subject, body.on, text=body.text, action=body.action)

    async def _tokens(self, request: Request, visit: Visit) -> object:
        return {"tokens": await self._do.tokens(visit)}

    async def _issue(self, request: Request, visit: Visit) -> object:
        body = await _body(request, Issue)
        return await self._do.issue(visit, body.principal, body.audiences, body.ttl_s)

    async def _revoke_token(self, request: Request, visit: Visit) -> object:
        return await self._do.revoke_token(visit, request.path_params["id"])

    async def _revoke_principal(self, request: Request, visit: Visit) -> object:
        return await self._do.revoke_principal(visit, request.path_params["id"])


def problem_of(error: Exception) -> Problem:
    """Any failure as what the caller may hear of it: expected ones speak, others say nothing of their inside."""
    match error:
        case Problem():
            return error
        case LimitError():
            return Problem(429, "limit", error.message, ask=error.hint)
        case InterlockError():
            return Problem(503, "failed", error.message, ask=error.hint)
        case _:
            _log.error("console failed", error=type(error).__name__, exc_info=error)
            return Problem(500, "failed", "the console failed; the gateway's log tells more")


def say(problem: Problem) -> Response:
    body: dict[str, Any] = {"error": problem.reason, "code": problem.code, "rule": ", ".join(problem.rules), "ask": problem.ask}
    if problem.held is not None:
        body |= {"approval": problem.held.id, "link": problem.held.link}
    headers = {"WWW-Authenticate": 'Bearer realm="interlock console"'} if problem.status == 401 else None
    return JSONResponse(body, problem.status, headers)


def client_of(request: Request) -> str:
    return f"{request.client.host}:{request.client.port}" if request.client else ""


def whole(values: Mapping[str, str], name: str, default: int, low: int) -> int:
    """A whole number of the query, from `low` to a billion. Raises `Problem`."""
    text = values.get(name)
    if text is None:
        return default
    if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit() or len(text) > 10 or int(text) < low:
        raise Problem(400, "request", f"`{name}` must be a whole number, at least {low}")
    return int(text)


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "0") not in ("", "0", "false")


async def _body(request: Request, kind: type[_Body]) -> _Body:
    """The request's JSON, exactly of this form. Raises `Problem`."""
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.DecodeError as error:
        raise Problem(400, "request", f"the body is not as it must be: {error}") from None


async def _nothing_here(request: Request) -> Response:
    return say(Problem(404, "unknown", "there is no such request; interlock.console's docstring lists all"))
