"""What evidence is made of: journal entries, recorded events, and the tally that both seal and lists are drawn from.

Both are schema-numbered msgpack arrays that share one dense sequence per session. Hashes are taken over the bytes as
stored; nothing is ever encoded again. An entry carries the SHA-256 of the entry before it, so that a verifier can name
the place where a journal was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Literal, TypeVar

import msgspec

from interlock.errors import VerificationError

T = TypeVar("T")

SCHEMA = 1
FIRST_PREVIOUS = bytes(32)
Direction = Literal["up", "down", "gate"]
"""What the client sent, what the client saw, and what the gateway itself said or asked."""
MAX_POLICIES = 64
"""Policy versions named in one seal; later ones are in the journal only."""


class Entry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One journal entry: `[schema, seq, time (UTC ns), kind, facts, SHA-256 of the entry before]`. No literals, no data."""

    schema: int
    seq: int
    at: int
    kind: str
    facts: dict[str, object]
    previous: bytes


class Event(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One recorded piece: `[schema, seq, time (UTC ns), direction, exchange, bytes]`. Only ever stored sealed."""

    schema: int
    seq: int
    at: int
    direction: Direction
    exchange: int
    data: bytes


def reader(decode: Callable[[bytes], T], what: str) -> Callable[[bytes], T]:
    """A decoder that raises `VerificationError` for whatever it cannot read."""

    def read(data: bytes) -> T:
        try:
            return decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # msgspec raises the latter for bytes that are no text
            raise VerificationError(f"{what} cannot be read: {error}") from None

    return read


encode = msgspec.msgpack.Encoder().encode
decode_entry = reader(msgspec.msgpack.Decoder(Entry).decode, "a journal entry")
decode_event = reader(msgspec.msgpack.Decoder(Event).decode, "a recorded event")
decode_pieces = reader(msgspec.msgpack.Decoder(list[bytes]).decode, "a batch")


def entry_hash(entry: bytes) -> bytes:
    return sha256(entry).digest()


class Tally:
    """What a journal adds up to; fed entry by entry, live, at recovery and by the verifier alike.

    An operation appears first as `held` or `intent` and ends with `outcome`, or with an intent whose `verdict` is `deny`.
    `operations` counts exchanges, `refused` those that were denied, `held` those that waited for people, `masked` the values
    in the `masked` fact of outcomes (data class → count). `unsettled` maps open exchanges to `held` or `intent`.
    """

    __slots__ = ("operations", "refused", "held", "masked", "policies", "unsettled", "opening", "opened_at", "reason", "ended_at")

    def __init__(self) -> None:
        self.operations = self.refused = self.held = self.masked = 0
        self.policies: list[str] = []
        self.unsettled: dict[int, str] = {}
        self.opening: Mapping[str, object] = {}
        self.opened_at = self.ended_at = 0
        self.reason = ""

    def add(self, kind: str, facts: Mapping[str, object], at: int) -> None:
        """Count one entry; `at` is its time in UTC nanoseconds."""
        self.ended_at = at
        policy = facts.get("policy")
        if isinstance(policy, str) and policy and policy not in self.policies and len(self.policies) < MAX_POLICIES:
            self.policies.append(policy)
        if kind == "open":
            self.opening, self.opened_at = facts, at
        elif kind == "close":
            self.reason = str(facts.get("reason", ""))
        elif kind in ("held", "intent", "outcome"):
            exchange = facts.get("exchange")
            if isinstance(exchange, int):
                self._follow(kind, exchange, facts)

    def _follow(self, kind: str, exchange: int, facts: Mapping[str, object]) -> None:
        if self.unsettled.pop(exchange, None) is None:
            self.operations += 1
        if kind == "outcome":
            self.refused += facts.get("outcome") == "refused"
            self.masked += _total(facts.get("masked"))
        elif kind == "intent" and facts.get("verdict") == "deny":
            self.refused += 1
        else:
            self.held += kind == "held"
            self.unsettled[exchange] = kind


def last_word(exchange: int, stage: str, why: str) -> dict[str, object]:
    """The outcome of an exchange that nobody settled: one that waited for people never ran, the other may have."""
    return {"exchange": exchange, "outcome": "cancelled" if stage == "held" else "unknown", "detail": why}


def _total(masked: object) -> int:
    if isinstance(masked, Mapping):
        return sum(count for count in masked.values() if isinstance(count, int))
    return masked if isinstance(masked, int) else 0
