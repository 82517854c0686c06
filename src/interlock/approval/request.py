"""A request for approval and what people say to it, as plain values; and its secret part, sealed at rest."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock.errors import StoreError
from interlock.exchange import Fact

_NONCE_BYTES: Final = 12
_LETTERS: Final = "23456789abcdefghjkmnpqrstuvwxyz"  # none that are taken for one another


class State(StrEnum):
    """`PENDING` may become any other; `APPROVED` becomes `USED`, `EXPIRED` or `WITHDRAWN`; the rest are final."""

    PENDING = "pending"
    APPROVED = "approved"
    USED = "used"
    REFUSED = "refused"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's word. `groups` are those of the request for which the person may speak. `void`: the
    person was revoked since, and the vote counts no more."""

    approver: str
    approve: bool
    groups: frozenset[str]
    note: str
    at: float
    void: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One held operation. `owner` is empty unless `principal` is an agent. `text` is the exact statement or
    call (for approvers; encrypted at rest), `title` its form without literals. All of `groups` must agree
    before `expires_at`; once approved, `expires_at` is until when it may be used. Times are UTC seconds."""

    id: str
    principal: str
    kind: str
    owner: str
    resource: str
    digest: str
    title: str
    text: str = field(repr=False)
    facts: Mapping[str, Fact] = field(repr=False)
    rules: tuple[str, ...]
    reasons: tuple[str, ...]
    groups: frozenset[str]
    session_id: str
    policy: str
    state: State
    asked_at: float
    expires_at: float
    decided_at: float | None = None
    used_at: float | None = None
    note: str = ""
    votes: tuple[Vote, ...] = ()

    @property
    def approved_by(self) -> tuple[str, ...]:
        return tuple(vote.approver for vote in self.votes if vote.approve and not vote.void)

    @property
    def refused_by(self) -> tuple[str, ...]:
        return tuple(vote.approver for vote in self.votes if not vote.approve)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended for the one who waits: `groups` have agreed through `approved_by`."""

    state: State
    approved_by: tuple[str, ...] = ()
    refused_by: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    note: str = ""


class Sealed(msgspec.Struct, frozen=True):
    """What of a request may hold data: encrypted with AES-256-GCM (NIST SP 800-38D), bound to its id."""

    text: str
    facts: dict[str, bool | int | str | list[str]]
    reasons: tuple[str, ...]


def seal(key: bytes, request: str, text: str, facts: Mapping[str, Fact], reasons: tuple[str, ...]) -> bytes:
    plain = {name: sorted(fact) if isinstance(fact, frozenset) else fact for name, fact in facts.items()}
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, msgspec.msgpack.encode(Sealed(text, plain, reasons)), request.encode())


def unseal(key: bytes, request: str, sealed: bytes) -> tuple[str, dict[str, Fact], tuple[str, ...]]:
    """Text, facts and reasons. Raises `StoreError` when they were changed, or sealed with another key."""
    try:
        data = AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], request.encode())
        parts = msgspec.msgpack.decode(data, type=Sealed)
    except (InvalidTag, ValueError, msgspec.DecodeError):
        raise StoreError(f"the text of {request} cannot be opened", hint="was the key in the data folder replaced?") from None
    facts: dict[str, Fact] = {name: frozenset(fact) if isinstance(fact, list) else fact for name, fact in parts.facts.items()}
    return parts.text, facts, parts.reasons


def new_id() -> str:
    """Short enough to be read out, such as `ap-7f3k2m`. Knowing it gives no right."""
    return "ap-" + "".join(secrets.choice(_LETTERS) for _ in range(6))
