"""Sessions and rates, for agents and their owners."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.config import LimitsConfig
from interlock.errors import LimitError
from interlock.exchange import Principal
from interlock.limits import Limits, limits

ALICE = Principal("alice")
CLAUDE = Principal("claude", "agent", on_behalf_of=ALICE)
BOB = Principal("bob")


def test_sessions_are_counted_and_given_back() -> None:
    made = Limits(LimitsConfig(sessions_per_principal=2))
    made.open_session(ALICE)
    made.open_session(ALICE)
    with pytest.raises(LimitError, match="alice has 2 open sessions"):
        made.open_session(ALICE)
    made.open_session(BOB)
    made.close_session(ALICE)
    made.open_session(ALICE)


def test_an_agents_sessions_count_for_its_owner_too() -> None:
    made = Limits(LimitsConfig(sessions_per_principal=2))
    made.open_session(CLAUDE)
    made.open_session(ALICE)
    with pytest.raises(LimitError, match="alice"):
        made.open_session(CLAUDE)
    assert (made.sessions("claude"), made.sessions("alice")) == (1, 2), "a refused session is not counted"
    made.close_session(CLAUDE)
    made.close_session(ALICE)
    assert (made.sessions("claude"), made.sessions("alice")) == (0, 0)


def test_what_was_not_opened_cannot_be_closed() -> None:
    with pytest.raises(LimitError):
        Limits(LimitsConfig()).close_session(ALICE)


def test_a_minutes_allowance_comes_back_bit_by_bit() -> None:
    made = Limits(LimitsConfig(operations_per_minute=60))
    for _ in range(60):
        made.operation(ALICE, 100.0)
    with pytest.raises(LimitError, match="alice has used 60 operations per minute"):
        made.operation(ALICE, 100.0)
    made.operation(BOB, 100.0)
    made.operation(ALICE, 101.0)
    with pytest.raises(LimitError):
        made.operation(ALICE, 101.0)


def test_an_agent_uses_up_its_owners_allowance() -> None:
    made = Limits(LimitsConfig(operations_per_minute=10))
    for _ in range(10):
        made.operation(CLAUDE, 0.0)
    with pytest.raises(LimitError, match="alice"):
        made.operation(ALICE, 0.0)


def test_a_batch_is_counted_whole_or_not_at_all() -> None:
    made = Limits(LimitsConfig(operations_per_minute=10))
    made.operation(ALICE, 0.0, 8)
    with pytest.raises(LimitError):
        made.operation(ALICE, 0.0, 3)
    made.operation(ALICE, 0.0, 2)


@given(st.lists(st.floats(0, 30), min_size=1, max_size=300))
def test_no_minute_ever_sees_more_than_two_allowances(pauses: list[float]) -> None:
    made = Limits(LimitsConfig(operations_per_minute=5))
    now, passed = 0.0, []
    for pause in pauses:
        now += pause / 10
        try:
            made.operation(ALICE, now)
        except LimitError:
            continue
        passed.append(now)
    for start in passed:
        assert sum(start <= moment < start + 60 for moment in passed) <= 10


def test_the_counters_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PRINCIPALS", 2)
    made = Limits(LimitsConfig(operations_per_minute=60))
    made.operation(Principal("a"), 0.0)
    made.operation(Principal("b"), 0.0)
    with pytest.raises(LimitError, match="too many principals"):
        made.operation(Principal("c"), 0.5)
    made.operation(Principal("c"), 1.0)

    made.open_session(Principal("a"))
    made.open_session(Principal("b"))
    with pytest.raises(LimitError, match="too many principals"):
        made.open_session(Principal("c"))
