"""JWTs of configured issuers (RFC 7519, RFC 8725): signature, issuer, audience and times are all required.

Keys come from a JWKS file (RFC 7517). Only public-key algorithms that the issuer's configuration names are
tried; `none` and HMAC cannot be configured, and a symmetric key in the file is refused at load, so a public
key can never be used as an HMAC secret (RFC 8725 §2.1). Header fields that bring keys along are ignored.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from interlock.config import IssuerConfig
from interlock.errors import ConfigError, IdentityError

MAX_TOKEN_BYTES: Final = 8192
"""A JWT may be so long; longer is refused unread."""
MAX_GROUPS: Final = 256
"""At most so many groups are taken from a token; more is refused, since cutting could drop a forbidding one."""
LEEWAY_S: Final = 30
"""By how many seconds the issuer's clock may differ from ours."""
MAX_JWKS_BYTES: Final = 1024 * 1024

REFUSED: Final = "this proof of identity is not accepted"
"""What everybody hears whose proof is not good, whatever was wrong with it."""


def refused(reason: str) -> IdentityError:
    """One public sentence; `reason` is for the gateway's own log."""
    return IdentityError(REFUSED, hint="get a new token, and check that it is meant for this door", reason=reason)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good JWT says. Times are UTC seconds; `groups` is None when the issuer gives no groups."""

    principal: str
    groups: frozenset[str] | None
    issued_at: float
    expires_at: float


class Issuers:
    """The configured issuers with their keys. Raises `ConfigError` when a key file is not usable."""

    def __init__(self, issuers: Iterable[IssuerConfig]) -> None:
        self._issuers = {issuer.issuer: (issuer, _read_keys(issuer)) for issuer in issuers}

    def verify(self, text: str, now: float) -> Claims:
        """Check a JWT completely. Raises `IdentityError`."""
        if len(text) > MAX_TOKEN_BYTES:
            raise refused("the JWT is too long")
        found = self._issuers.get(_unverified_issuer(text))
        if found is None:
            raise refused("the JWT is of no configured issuer")
        issuer, keys = found
        try:
            claims: Mapping[str, Any] = jwt.decode(text, keys, algorithms=list(issuer.algorithms)).claims
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise refused(f"the JWT does not verify: {type(error).__name__}") from None
        return _read_claims(issuer, claims, now)


def _read_claims(issuer: IssuerConfig, claims: Mapping[str, Any], now: float) -> Claims:
    audience = claims.get("aud")
    if claims.get("iss") != issuer.issuer:
        raise refused("the JWT is of another issuer than it seemed")
    if audience != issuer.audience and not (isinstance(audience, list) and issuer.audience in audience):
        raise refused("the JWT is for another audience")
    expires_at, starts_at, issued_at = (_time(claims, name, default) for name, default in (("exp", None), ("nbf", 0.0), ("iat", 0.0)))
    if now >= expires_at + LEEWAY_S:
        raise refused("the JWT has expired")
    if now < starts_at - LEEWAY_S or now < issued_at - LEEWAY_S:
        raise refused("the JWT is not valid yet")
    principal = claims.get(issuer.principal_claim)
    if not isinstance(principal, str) or not principal:
        raise refused(f"the JWT has no claim {issuer.principal_claim}")
    return Claims(principal, _groups(issuer, claims), issued_at, expires_at)


def _time(claims: Mapping[str, Any], name: str, default: float | None) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise refused(f"the JWT's {name} is absent or no time")
    return float(value)


def _groups(issuer: IssuerConfig, claims: Mapping[str, Any]) -> frozenset[str] | None:
    if not issuer.groups_claim:
        return None
    groups = claims.get(issuer.groups_claim, [])
    if not isinstance(groups, list) or len(groups) > MAX_GROUPS or not all(isinstance(group, str) and group for group in groups):
        raise refused(f"the JWT's {issuer.groups_claim} is no short list of names")
    return frozenset(groups)


def _unverified_issuer(text: str) -> str:
    """Only to choose the keys; checked again once the signature is good."""
    parts = text.split(".")
    if len(parts) != 3:
        raise refused("neither a gateway token nor a signed JWT")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise refused("the JWT cannot be read") from None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else ""


def _read_keys(issuer: IssuerConfig) -> KeySet:
    hint = "give a JSON file of the form {'keys': [...]} with the issuer's public keys"
    try:
        with issuer.jwks.open("rb") as file:
            data = file.read(MAX_JWKS_BYTES + 1)
        keys = json.loads(data)["keys"] if len(data) <= MAX_JWKS_BYTES else []
        if not keys or any(key["kty"] == "oct" or "d" in key for key in keys):
            raise ConfigError(f"{issuer.jwks} must hold public keys, and only such", hint=hint)
        return KeySet.import_key_set({"keys": keys})
    except (OSError, JoseError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{issuer.jwks} is not a usable JWKS file ({type(error).__name__})", hint=hint) from None
