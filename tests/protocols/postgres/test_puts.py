"""What a session puts into columns: from the statement that goes up to the catalog that shows it."""

from __future__ import annotations

import pytest

from interlock.facts.sql import postgres
from interlock.facts.sql.transfers import Transfer
from interlock.protocols.postgres.expect import Expect, Want
from interlock.protocols.postgres.operation import Asked
from interlock.protocols.postgres.puts import TRANSFERS_MAX, Puts

MARK = Transfer(marks=(((16_400, 2), frozenset({"public.customers.email"})),))
OPAQUE = Transfer(opaque=True)


def expect(text: str, *puts: tuple[Transfer, ...], want: Want = Want.QUERY, failed: str = "", at: int = 0) -> Expect:
    statements = postgres.read(text).statements
    filled = (*puts, *((),) * (len(statements) - len(puts)))
    return Expect(want, asked=Asked(text, text, (), {}, statements, puts=filled), failed=failed, at=at)


def play(puts: Puts, one: Expect, *, idle: bool) -> bool:
    puts.sent(one)
    return puts.answered(idle)


def test_from_sent_to_learned() -> None:
    puts = Puts()
    puts.sent(expect("UPDATE t SET a = b", (MARK,)))
    assert puts.all == (MARK,) and not puts.committed
    assert puts.answered(idle=True)
    assert puts.committed
    puts.learned()
    assert not puts.all


@pytest.mark.parametrize(
    ("end", "kept"), [("COMMIT", True), ("ROLLBACK", False), ("ROLLBACK TO s", None), ("PREPARE TRANSACTION 'x'", True)]
)
def test_the_end_of_a_transaction(end: str, kept: bool | None) -> None:
    puts = Puts()
    assert not play(puts, expect("UPDATE t SET a = b", (MARK,)), idle=False)
    assert puts.open
    play(puts, expect(end), idle=kept is not None)
    assert (puts.all == (MARK,)) is (kept is not False)
    assert puts.open is (kept is None)


def test_what_failed_put_nothing() -> None:
    puts = Puts()
    assert not play(puts, expect("UPDATE t SET a = b", (MARK,), failed="23505"), idle=True)
    assert not play(puts, expect("UPDATE t SET a = b", (MARK,), want=Want.EXECUTE, failed="23505", at=1), idle=True)
    assert not puts.all


def test_what_ran_before_a_failure_in_the_same_text_may_be_there() -> None:
    puts = Puts()
    assert play(puts, expect("UPDATE t SET a = b; COMMIT; SELECT 1/0", (MARK,), failed="22012", at=2), idle=True)


def test_a_suspended_portal_has_run() -> None:
    puts = Puts()
    assert play(puts, expect("UPDATE t SET a = b RETURNING 1", (MARK,), want=Want.EXECUTE), idle=True)


def test_nothing_is_learned_for_what_cannot_be_seen() -> None:
    puts = Puts()
    puts.sent(expect("DO ''", (OPAQUE,)))
    assert list(puts.all) == [OPAQUE]
    assert not puts.answered(idle=True)
    assert not puts.all


def test_known_places_are_never_dropped_for_their_number() -> None:
    puts = Puts()
    named = tuple(Transfer(name=f"t{n}") for n in range(TRANSFERS_MAX + 5))
    play(puts, expect("SELECT 1", (*named, MARK)), idle=False)
    assert len(puts.all) == TRANSFERS_MAX + 2
    assert MARK in puts.all and OPAQUE in puts.all
