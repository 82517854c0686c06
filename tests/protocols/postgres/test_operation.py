"""Texts → what they ask, in the meaning that names have at the moment."""

from __future__ import annotations

import pytest

from interlock.protocols.postgres.operation import Asked, Meaning, Named, Portal, Reader, foresee
from tests.playbook import SHOP
from tests.protocols.postgres.scenes import CATALOG

PUBLIC = Meaning(CATALOG, ("interlock", "public"))
HIDDEN = Meaning(CATALOG, ("hidden",))
UNKNOWN = Meaning(CATALOG, None)


def read(text: str, meaning: Meaning = PUBLIC, named: Named | None = None) -> Asked:
    return Reader(SHOP, 10_000).read(text, meaning, named or Named())


def effects(asked: Asked) -> set[tuple[str, str]]:
    return {(effect.action, effect.object) for effect in asked.effects}


def test_effects_of_all_statements_unite() -> None:
    asked = read("SELECT * FROM orders; DELETE FROM customers WHERE id = 1")
    assert effects(asked) >= {("sql.select", "public.orders"), ("sql.delete", "public.customers")}
    assert asked.facts["statement_count"] == 2 and asked.facts["has_where"] is True
    assert asked.title == "SELECT * FROM orders; DELETE FROM customers WHERE id = ?"


def test_one_statement_without_where_is_enough() -> None:
    assert read("DELETE FROM customers WHERE id = 1; DELETE FROM orders").facts["has_where"] is False


def test_names_mean_what_the_search_path_says() -> None:
    assert ("sql.select", "hidden.customers") in effects(read("SELECT * FROM customers", HIDDEN))
    assert ("sql.select", "customers") in effects(read("SELECT * FROM customers", UNKNOWN))
    assert read("SELECT name FROM customers", UNKNOWN).sources == ((None,),)


def test_an_empty_text_asks_next_to_nothing() -> None:
    assert effects(read(";")) == {("sql.transaction", "")} and read("").title == "(empty)"


@pytest.mark.parametrize("text", ["SELECT 1 FORM x", "x" * 20_000, "SELECT '" + "x" * 20_000 + "'"])
def test_what_cannot_be_read_is_an_effect_and_a_fence(text: str) -> None:
    asked = read(text)
    assert effects(asked) == {("sql.unparsed", "")} and asked.changes and asked.moves and asked.error


def test_predicates_on_classed_columns_are_effects() -> None:
    assert ("filter.equal", "public.customers.email") in effects(read("SELECT id FROM customers WHERE email = 'a'"))
    assert ("filter", "public.customers.email") in effects(read("SELECT id FROM customers WHERE email > 'a'"))
    assert not any(action.startswith("filter") for action, _ in effects(read("SELECT id FROM customers WHERE name > 'a'")))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SET client_encoding = 'SJIS'", "pins client_encoding"),
        ("SET search_path = hidden; SELECT 1", "by itself"),
        ("SELECT set_config('search_path', 'hidden', true); SELECT 1", "by itself"),
        ("SELECT set_config(name, 'x', true) FROM customers; SELECT 1", "by itself"),
        ("COPY customers TO STDOUT (ENCODING 'LATIN1')", "another encoding"),
    ],
)
def test_texts_that_are_never_forwarded(text: str, reason: str) -> None:
    asked = read(text)
    assert reason in asked.refuse or "pins" in asked.refuse
    assert Reader(SHOP, 10_000).operation(asked, b"Q").refuse == asked.refuse


@pytest.mark.parametrize(
    "text", ["SET search_path = hidden", "SELECT set_config('jit', 'off', false); SELECT 1", "SET statement_timeout = 1; SELECT 1"]
)
def test_texts_that_may_be(text: str) -> None:
    assert read(text).refuse == ""


def test_a_text_is_read_anew_when_its_meaning_changes_only() -> None:
    reader, named = Reader(SHOP, 10_000), Named()
    first = reader.read("SELECT * FROM customers", PUBLIC, named)
    assert reader.read("SELECT * FROM customers", PUBLIC, named) is first
    assert reader.renew(first, PUBLIC, named) is first
    assert ("sql.select", "hidden.customers") in effects(reader.renew(first, HIDDEN, named))


def test_what_stands_behind_execute_and_fetch() -> None:
    reader, named = Reader(SHOP, 10_000), Named()
    delete = reader.read("DELETE FROM orders", PUBLIC, named)
    named.statements.put("s", delete)
    named.portals.put("c", Portal(delete, values=b"\x01"))
    for text in ("EXECUTE s", "FETCH 1 FROM c", "BEGIN; EXECUTE s; COMMIT"):
        asked = reader.read(text, PUBLIC, named)
        assert ("sql.delete", "public.orders") in effects(asked) and asked.facts["has_where"] is False
        assert "DELETE FROM orders" in reader.operation(asked, b"Q").text
    values = reader.operation(reader.read("FETCH 1 FROM c", PUBLIC, named), b"Q").identity
    named.portals.put("c", Portal(delete, values=b"\x02"))
    assert reader.operation(reader.read("FETCH 1 FROM c", PUBLIC, named), b"Q").identity != values


def test_names_are_given_and_taken_as_statements_run() -> None:
    reader, named = Reader(SHOP, 10_000), Named()

    def ran(text: str) -> None:
        for statement in reader.read(text, PUBLIC, named).statements:
            reader.ran(statement, PUBLIC, named)

    ran("PREPARE s AS SELECT email FROM customers; DECLARE c CURSOR WITH HOLD FOR SELECT 1")
    portal = named.portals.get("c")
    assert named.statements.get("s") is not None and portal is not None and portal.outlives
    ran("DISCARD PLANS")
    assert named.statements.get("s") is not None
    ran("DEALLOCATE s; CLOSE c")
    assert named.statements.get("s") is None and named.portals.get("c") is None
    ran("PREPARE s AS SELECT 1; DECLARE c CURSOR FOR SELECT 1; DISCARD ALL")
    assert named.statements.get("s") is None and named.portals.get("c") is None


def test_values_belong_to_what_an_approval_binds_to() -> None:
    reader = Reader(SHOP, 10_000)
    asked = reader.read("DELETE FROM orders WHERE id = $1", PUBLIC, Named())
    one, two = (reader.operation(asked, b"E", values=values).identity for values in (b"1", b"2"))
    assert one != two and reader.operation(asked, b"E2", values=b"1").identity == one


def test_copy_in_flows() -> None:
    reader = Reader(SHOP, 10_000)
    assert reader.operation(read("COPY orders FROM STDIN"), b"Q").flows
    assert not reader.operation(read("COPY orders TO STDOUT"), b"Q").flows


def test_foresee_needs_no_session() -> None:
    seen = foresee(SHOP, "DELETE FROM orders", CATALOG, ("public",), 10_000)
    assert ("sql.delete", "public.orders") in {(effect.action, effect.object) for effect in seen.operation.effects}
    assert foresee(SHOP, "SELECT FROM FROM", CATALOG, ("public",), 10_000).error
