from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import VerificationError
from interlock.evidence.event import SCHEMA, Entry, Event, Tally, decode_entry, decode_event, encode, entry_hash


@given(st.binary(max_size=200), st.integers(0, 2**40))
def test_what_was_written_is_read(data: bytes, seq: int) -> None:
    event = Event(SCHEMA, seq, 5, "down", 3, data)
    entry = Entry(SCHEMA, seq, 5, "intent", {"exchange": 3, "rules": ["a"]}, entry_hash(data))
    assert decode_event(encode(event)) == event
    assert decode_entry(encode(entry)) == entry


RIGHT: list[object] = [1, 0, 0, "k", {}, b""]


@pytest.mark.parametrize(
    "bad", [b"", b"\xc0", encode([1, 2]), encode([*RIGHT, "more"]), encode(RIGHT) + b"x", b"\x96\x01\x00\x00\xa1\xff\x80\xc4\x00"]
)
def test_anything_else_is_refused(bad: bytes) -> None:
    with pytest.raises(VerificationError):
        decode_entry(bad)


def test_the_tally_counts_as_the_gate_tells() -> None:
    tally = Tally()
    story: list[tuple[str, dict[str, object]]] = [
        ("open", {"principal": "ann", "policy": "p1"}),
        ("intent", {"exchange": 1, "verdict": "allow", "policy": "p1"}),
        ("held", {"exchange": 2, "policy": "p2"}),
        ("intent", {"exchange": 3, "verdict": "deny"}),
        ("approval", {"exchange": 2}),
        ("intent", {"exchange": 2, "verdict": "allow"}),
        ("outcome", {"exchange": 1, "outcome": "done", "masked": {"email": 2, "card": 1}}),
        ("held", {"exchange": 4}),
        ("outcome", {"exchange": 4, "outcome": "cancelled"}),
        ("intent", {"exchange": 5, "verdict": "allow"}),
        ("outcome", {"exchange": 5, "outcome": "refused", "masked": 4}),
    ]
    for at, (kind, facts) in enumerate(story):
        tally.add(kind, facts, at)
    assert (tally.operations, tally.refused, tally.held, tally.masked) == (5, 2, 2, 7)
    assert tally.unsettled == {2: "intent"}
    assert tally.policies == ["p1", "p2"]
    assert (tally.opened_at, tally.ended_at) == (0, len(story) - 1)
