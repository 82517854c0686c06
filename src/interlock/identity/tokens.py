"""Gateway tokens: `ilk_<id>_<secret>`, both in lower-case base32 (RFC 4648 §6) without padding.

The id (12 characters, 60 bits) is public and names the token in lists and logs. The secret (52 characters,
256 bits) is never stored: the store holds a keyed BLAKE2b hash of it (RFC 7693).
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

AUDIENCES: Final = frozenset({"postgres", "mcp", "console"})
"""The gateway's doors. A token opens those that it was issued for, and no other."""

SCRAM_AUDIENCES: Final = frozenset({"postgres"})
"""The doors that take connection secrets (SCRAM)."""

_TOKEN: Final = re.compile(r"ilk_([a-z2-7]{12})_([a-z2-7]{52})")


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What may be known about a token: everything but its secret. Times are UTC seconds; `parent` is the
    proof that it was derived from, with which it falls; `revoked_at` is None while it is good."""

    id: str
    principal: str
    audiences: frozenset[str]
    issued_at: float
    expires_at: float
    parent: str = ""
    revoked_at: float | None = None
    scram: bool = False
    """A connection secret: proved by SCRAM, never sent."""

    @property
    def proof(self) -> str:
        """What sessions and logs call it."""
        return f"{'scram' if self.scram else 'token'}:{self.id}"


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token taken apart."""

    id: str
    secret: str = field(repr=False)


def new_token() -> tuple[str, TokenText]:
    """A fresh token: the text to hand over once, and its parts."""
    parts = TokenText(_base32(secrets.token_bytes(8))[:12], _base32(secrets.token_bytes(32)))
    return f"ilk_{parts.id}_{parts.secret}", parts


def new_connection_secret() -> tuple[str, str]:
    """A fresh secret for SCRAM: the text to hand over once, and its id. Written like a token, with `ilc` in front."""
    text, parts = new_token()
    return text.replace("ilk_", "ilc_", 1), parts.id


def read_token(text: str) -> TokenText | None:
    """The parts of a token, or None when the text is no token in its one spelling."""
    match = _TOKEN.fullmatch(text)
    return TokenText(match[1], match[2]) if match else None


def hash_secret(parts: TokenText, key: bytes) -> bytes:
    """32 bytes for the store, bound to the token's id; `key` is 16 to 64 bytes."""
    return hashlib.blake2b(f"{parts.id}.{parts.secret}".encode(), key=key, digest_size=32, person=b"ilk-token").digest()


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()
