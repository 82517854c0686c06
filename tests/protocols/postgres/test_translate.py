"""Client messages → steps. What comes of steps is in `test_relay.py`."""

from __future__ import annotations

import pytest

from interlock.errors import ProtocolError
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.expect import Want
from interlock.protocols.postgres.operation import Meaning
from interlock.protocols.postgres.translate import LOOSE_END, UNREPORTED, Step, Translator
from tests.playbook import SHOP
from tests.protocols.postgres.scenes import CATALOG

MEANING = Meaning(CATALOG, ("public",))


def translator() -> Translator:
    return Translator(SHOP, 10_000)


def step(one: Translator, message: bytes) -> Step:
    return one.translate(message[0], message, MEANING)


def refuse(made: Step) -> str:
    assert made.operation is not None
    return made.operation.refuse


@pytest.mark.parametrize(
    ("message", "want"),
    [
        (wire.query("SELECT 1"), Want.QUERY),
        (wire.parse("", "SELECT 1"), Want.PARSE),
        (wire.bind("", ""), Want.BIND),
        (wire.describe("S", ""), Want.DESCRIBE),
        (wire.execute(""), Want.EXECUTE),
        (wire.close("P", ""), Want.CLOSE),
        (wire.sync(), Want.SYNC),
        (wire.flush(), None),
        (wire.copy_data(b"x"), None),
        (wire.copy_done(), None),
        (wire.copy_fail("x"), None),
        (wire.terminate(), None),
    ],
)
def test_each_message_has_its_answer(message: bytes, want: Want | None) -> None:
    assert step(translator(), message).want is want


def test_a_password_may_not_come_again() -> None:
    with pytest.raises(ProtocolError):
        step(translator(), wire.password("x"))


@pytest.mark.parametrize(
    "text",
    [
        "SET search_path = x",
        "CREATE TABLE x (a int)",
        "PREPARE s AS SELECT 1",
        "DEALLOCATE s",
        "DECLARE c CURSOR FOR SELECT 1",
        "DO 'x'",
        "x x",
    ],
)
def test_fences(text: str) -> None:
    assert step(translator(), wire.query(text)).fence


@pytest.mark.parametrize("text", ["SELECT 1", "INSERT INTO orders VALUES (1)", "BEGIN", "COMMIT", "SET statement_timeout = 1", "EXECUTE s"])
def test_no_fences(text: str) -> None:
    one = translator()
    one.named.statements.put("s", one._reader.read("SELECT 1", MEANING, one.named))
    assert not step(one, wire.query(text)).fence


def test_the_end_of_a_dirty_transaction_is_a_fence() -> None:
    one = translator()
    one.dirty = True
    assert step(one, wire.query("COMMIT")).fence and step(one, wire.query("ROLLBACK TO a")).fence
    assert not step(one, wire.query("SAVEPOINT a")).fence


def test_while_settings_are_unreported_only_sync_helps() -> None:
    one = translator()
    one.unreported = True
    assert refuse(step(one, wire.parse("", "SELECT 1"))) == UNREPORTED
    assert refuse(step(one, wire.query("SELECT 1"))) == UNREPORTED
    assert step(one, wire.bind("p", "")).portal is None
    assert step(one, wire.sync()).fence


def test_nothing_follows_the_end_of_a_transaction_that_moved_names() -> None:
    one = translator()
    one.moved = True
    assert refuse(step(one, wire.query("ROLLBACK; SELECT 1"))) == LOOSE_END
    assert refuse(step(one, wire.query("ROLLBACK"))) == ""
    assert refuse(step(one, wire.query("SAVEPOINT a; SELECT 1"))) == ""


def test_what_uses_an_unconfirmed_name_waits() -> None:
    one = translator()
    step(one, wire.parse("s", "SELECT 1"))
    uses = [wire.bind("p", "s"), wire.query("EXECUTE s")]
    assert not any(one.must_wait(message[0], message) for message in uses)
    step(one, wire.sync())
    assert all(one.must_wait(message[0], message) for message in uses)
    others = [wire.bind("p", "other"), wire.query("SELECT 1"), wire.query("x x"), wire.parse("t", "SELECT 2"), wire.sync()]
    assert not any(one.must_wait(message[0], message) for message in others)


def test_an_execute_describes_its_portal_once_per_pipeline() -> None:
    one = translator()
    step(one, wire.parse("", "SELECT 1"))
    step(one, wire.bind("p", ""))
    assert step(one, wire.execute("p", 1)).describe == "p"
    assert step(one, wire.execute("p", 1)).describe is None
    step(one, wire.sync())
    assert step(one, wire.execute("p", 1)).describe == "p"
    step(one, wire.parse("", "DELETE FROM orders"))
    step(one, wire.bind("p", ""))
    assert step(one, wire.execute("p")).describe is None, "it has no columns"
