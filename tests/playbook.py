"""Dialogues in, dialogues out: a relay's behaviour told like the script of a play.

    play.client(query("SELECT 1"))          the client says
    play.asks("SELECT $1")                  the gate is asked exactly these operations (by title)
    play.allow()                            … and says yes (or `refuse`, `hold`)
    play.upstream_gets(query("SELECT 1"))   these bytes, and no others, went up
    play.upstream(row, complete, ready)     upstream answers
    play.client_gets(row, complete, ready)  these bytes, and no others, came down

A script that was not played to its end is an error: `play.over()` fails on anything unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from interlock.exchange import (
    Cleared,
    Exchange,
    Held,
    Operation,
    Outcome,
    Permit,
    Principal,
    Receipt,
    Refusal,
    Release,
    Resource,
    Session,
    Shape,
)
from interlock.gate import _MINT
from interlock.protocols.stream import StreamRelay

SHOP = Resource("orders-db", "postgres", frozenset({"env:test"}), {"customers.email": "email"})
ALICE = Principal("alice", groups=frozenset({"engineering"}))


def cleared(data: bytes) -> Cleared:
    """A real proof, made with the gate's mint as no code of the product may: compiled code takes no stand-in."""
    return Cleared(_MINT, data)


class ScriptPermit:
    """Follows the contract of `exchange.Permit`: the content once, then only what flows."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.sent = not exchange.operation.content

    def apply(self, piece: bytes) -> Cleared:
        assert self.exchange.outcome is None, "a spent permit was used"
        if self.sent:
            assert self.exchange.operation.flows, "a permit was sent twice"
        else:
            assert piece == self.exchange.operation.content, "other bytes than permitted were sent"
            self.sent = True
        return cleared(piece)


class ScriptRelease:
    """Lets a piece through `mask`."""

    def __init__(self, shape: Shape, mask: Callable[[Shape, bytes], bytes]) -> None:
        self.shape = shape
        self._mask = mask

    def apply(self, piece: bytes) -> Cleared:
        return cleared(self._mask(self.shape, piece))


@dataclass
class ScriptPort:
    """The gate's part of the play."""

    session: Session
    mask: Callable[[Shape, bytes], bytes]
    settled: list[tuple[str, Outcome]] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)

    def say(self, data: bytes) -> Cleared:
        return cleared(data)

    def release(self, permit: Permit, shape: Shape) -> Release:
        self.shapes.append(shape)
        return ScriptRelease(shape, self.mask)

    def settle(self, permit: Permit, outcome: Outcome, detail: str = "") -> Receipt:
        exchange = permit.exchange
        assert exchange.outcome is None, f"{exchange.operation.title} was settled twice"
        exchange.outcome = outcome
        self.settled.append((exchange.operation.title, outcome))
        return Receipt(self.session.id, exchange.id, outcome, "")

    def scrub(self, text: str, known: str = "") -> str:
        return text.replace("ann@example.com", "[email]")


class Play:
    """One relay on the stage. `make(port, connect permit)` builds it."""

    def __init__(
        self, make: Callable[[ScriptPort, Permit], StreamRelay], mask: Callable[[Shape, bytes], bytes] = lambda _, piece: piece
    ) -> None:
        self.session = Session("s1", ALICE, SHOP, "postgres", "test", 0.0)
        self.port = ScriptPort(self.session, mask)
        self._exchanges = 0
        self.relay = make(self.port, self.permit(Operation("connect", SHOP, (), {}, b"", "connect", flows=True)))

    def permit(self, operation: Operation) -> ScriptPermit:
        self._exchanges += 1
        return ScriptPermit(Exchange(self._exchanges, self.session, operation, 0.0))

    def client(self, *messages: bytes) -> None:
        self.relay.receive_client(b"".join(messages))

    def upstream(self, *messages: bytes) -> None:
        self.relay.receive_upstream(b"".join(messages))

    def asks(self, *titles: str) -> None:
        assert [operation.title for operation in self.relay.questions] == list(titles)

    def allow(self) -> None:
        self.relay.answer([self.permit(operation) for operation in self.relay.questions])

    def allow_all(self) -> None:
        """Say yes for as long as there are questions."""
        while self.relay.questions:
            self.allow()

    def answer(self, *answers: str) -> None:
        """One word per question: `allow`, `deny`, `hold`."""
        words: list[Permit | Held | Refusal] = []
        for operation, answer in zip(self.relay.questions, answers, strict=True):
            match answer:
                case "allow":
                    words.append(self.permit(operation))
                case "hold":
                    words.append(Held("ap-1", self.permit(operation).exchange, frozenset({"dba"}), 300.0))
                case _:
                    words.append(Refusal("denied", "no rule permits it", ("no-such-rule",), "#dba"))
        self.relay.answer(words)

    def approve(self) -> None:
        held = self.relay.held
        assert held is not None, "nothing is held"
        self.relay.resolve(ScriptPermit(held.exchange))

    def reject(self) -> None:
        assert self.relay.held is not None, "nothing is held"
        self.relay.resolve(Refusal("approval-refused", "request ap-1 was refused by bob", ("hold-it",), "#dba"))

    def upstream_gets(self, *messages: bytes) -> None:
        assert _joined(self.relay.to_upstream()) == b"".join(messages)

    def upstream_sees(self) -> bytes:
        return _joined(self.relay.to_upstream())

    def client_gets(self, *messages: bytes) -> None:
        assert _joined(self.relay.to_client()) == b"".join(messages)

    def client_sees(self) -> bytes:
        return _joined(self.relay.to_client())

    def over(self) -> None:
        """Nothing is left unsaid."""
        assert not self.relay.questions and self.relay.held is None
        assert _joined(self.relay.to_upstream()) == b""
        assert _joined(self.relay.to_client()) == b""


def _joined(cleared: Sequence[Cleared]) -> bytes:
    return b"".join(piece.data for piece in cleared)
