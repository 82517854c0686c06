"""Where values come from, and what predicates use."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.facts.sql import Catalog, Unparsable, effects, filters, read, trace
from tests.facts.sql.golden import PATH, cases, catalog, short

CASES = cases("lineage")


def columns(text: str, within: Catalog | None = None, path: tuple[str, ...] = PATH) -> list[str] | None:
    """Per column its sources as one string, `?` for unknown; None where the number of columns is unknown."""
    traced = trace(read(text).statements[0], within or catalog(), path)
    return None if traced is None else ["?" if sources is None else " ".join(sorted(map(short, sources))) for sources in traced]


def used(text: str, within: Catalog | None = None) -> set[str]:
    return {f"{short(column)} {how}" for column, how in filters(read(text).statements[0], within or catalog(), PATH)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["sql"][:60])
def test_golden(case: dict[str, Any]) -> None:
    assert (columns(case["sql"]) or "unknown") == case["columns"]
    assert used(case["sql"]) == set(case.get("filters", ()))
    found = effects(read(case["sql"]).statements[0], catalog(), PATH)
    beyond = [f"{effect.action} {effect.kind} {effect.object}".strip() for effect in found if effect.action != "sql.select"]
    assert beyond == case.get("effects", [])


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 150


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COPY users TO STDOUT", ["users.id", "users.email", "users.name", "users.phone", "users.meta"]),
        ("COPY users (email, id) TO STDOUT", ["users.email", "users.id"]),
        ("COPY orders TO STDOUT", ["orders.id", "orders.user_id", "orders.status", "orders.amount"]),
        ("COPY orders (twice) TO STDOUT", ["orders.twice orders.user_id"]),
        ("COPY (SELECT u FROM users u) TO STDOUT", ["users.email users.id users.meta users.name users.phone"]),
        ("COPY (DELETE FROM log RETURNING note) TO STDOUT", ["log.note"]),
        ("COPY nosuch TO STDOUT", None),
        ("COPY users (nosuch) TO STDOUT", None),
        ("COPY users FROM STDIN", []),
        ("EXPLAIN SELECT email FROM users", [""]),
        ("SHOW search_path", [""]),
        ("SHOW ALL", ["", "", ""]),
        ("EXECUTE p", None),
        ("FETCH ALL FROM c", None),
        ("CALL evil(1)", None),
        ("DECLARE c CURSOR FOR SELECT email FROM users", ["users.email"]),
        ("PREPARE p AS SELECT email FROM users", ["users.email"]),
        ("CREATE TABLE x AS SELECT email FROM users", []),
        ("SELECT email INTO x FROM users", []),
        ("DELETE FROM users", []),
        ("SET x.y = 1", []),
    ],
)
def test_other_statements(text: str, expected: list[str] | None) -> None:
    assert columns(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "SELECT nosuch FROM users",
        "SELECT nosuch.email FROM users",
        "SELECT u.email FROM nosuch u",
        "SELECT email FROM nosuch, users u(a, b, c, d, e)",
        "SELECT users.email FROM users u",
        "SELECT other.users.email FROM users",
        "SELECT nosuch(email) FROM users",
        "SELECT x.c FROM nosuch(1) AS x(a, b, c)",
        "SELECT (SELECT email FROM nosuch)",
    ],
)
def test_what_cannot_be_resolved_is_unknown(text: str) -> None:
    assert columns(text) == ["?"]


@pytest.mark.parametrize(
    "text",
    ["SELECT * FROM nosuch", "SELECT n.*, 1 FROM nosuch n", "SELECT * FROM users NATURAL JOIN nosuch", "TABLE nosuch", "SELECT (f(1)).*"],
)
def test_an_unknown_number_of_columns_is_unknown(text: str) -> None:
    assert columns(text) is None


def test_an_unknown_table_in_a_subquery_does_not_hide_others() -> None:
    assert columns("SELECT u.email, (SELECT count(*) FROM nosuch) FROM users u") == ["users.email", ""]
    assert columns("SELECT email FROM users, LATERAL (SELECT * FROM nosuch) n") == ["users.email"]


def test_names_inside_an_open_subquery_may_mean_the_outer_column() -> None:
    """`email` may be a column of the unknown table or of users: neither is left out."""
    assert columns("SELECT (SELECT email FROM nosuch LIMIT 1) FROM users") == ["?"]


def view_catalog(*definitions: str) -> Catalog:
    relations: list[tuple[int, str, str, str, str | None]] = [(20_000, "public", "t", "r", None)]
    relations += [(20_001 + at, "public", f"v{at}", "v", definition) for at, definition in enumerate(definitions)]
    return Catalog.build(relations, [(oid, 1, "secret", 25) for oid, *_ in relations])


def test_view_upon_view() -> None:
    deep = view_catalog("SELECT t.secret FROM public.t", *(f"SELECT v{at}.secret FROM public.v{at}" for at in range(10)))
    (sources,) = columns("SELECT secret FROM v10", deep) or [""]
    assert sources.split() == ["t.secret", *(f"v{at}.secret" for at in (0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9))]


def test_views_that_are_too_deep_too_many_or_broken_are_unknown() -> None:
    deep = view_catalog("SELECT t.secret FROM public.t", *(f"SELECT v{at}.secret FROM public.v{at}" for at in range(30)))
    assert columns("SELECT secret FROM v30", deep) is None
    assert used("SELECT secret FROM v30 WHERE secret = 'x'", deep) >= {"* other"}
    itself = view_catalog("SELECT v0.secret FROM public.v0")
    assert columns("SELECT secret FROM v0", itself) is None
    twice = view_catalog("SELECT t.secret FROM public.t", *(f"SELECT a.secret FROM public.v{at} a, public.v{at} b" for at in range(14)))
    assert columns("SELECT secret FROM v14", twice) is not None
    assert columns("SELECT secret FROM v0", view_catalog("SELECT 1, 2")) == ["?"]
    assert columns("SELECT secret FROM v0", view_catalog("SELEC")) == ["?"]
    assert columns("SELECT secret FROM v0", view_catalog("SELECT secret FROM t")) == ["?"]


def test_relations_are_looked_into_once_per_catalog() -> None:
    within = view_catalog("SELECT t.secret FROM public.t")
    assert columns("SELECT secret FROM v0", within) == ["t.secret v0.secret"]
    assert set(within.memo) == {20_000, 20_001}
    within.memo.clear()
    assert columns("SELECT secret FROM v0", within) == ["t.secret v0.secret"]


def test_a_temporary_table_of_the_same_name_is_not_the_base_table() -> None:
    within = Catalog.build([(1, "public", "t", "r", None), (2, "pg_temp_7", "t", "r", None)], [(1, 1, "a", 25), (2, 1, "a", 25)])
    assert columns("SELECT a FROM t", within) == ["pg_temp_7.t.a"]
    assert columns("SELECT a FROM public.t", within) == ["t.a"]


def test_a_generated_column_depends_on_what_it_reads() -> None:
    rows: list[tuple[int, int, str, int, str | None]] = [
        (1, 1, "email", 25, None),
        (1, 2, "domain", 25, "split_part(email, '@'::text, 2)"),
        (1, 3, "odd", 25, "nosuch + 1"),
        (1, 4, "broken", 25, ")"),
    ]
    within = Catalog.build([(1, "public", "t", "r", None)], rows)
    assert columns("SELECT * FROM t", within) == ["t.email", "t.domain t.email", "?", "?"]


def test_inherited_tables_share_columns() -> None:
    relations = [(1, "public", "people", "r", None), (2, "public", "staff", "r", None)]
    within = Catalog.build(relations, [(1, 1, "name", 25), (2, 1, "name", 25), (2, 2, "pay", 23)], [], [(2, 1)])
    assert columns("SELECT name FROM people", within) == ["people.name staff.name"]
    assert columns("SELECT name, pay FROM staff", within) == ["people.name staff.name", "staff.pay"]


def test_too_much_work_is_unknown_and_says_so() -> None:
    wide = "SELECT " + ", ".join(["lower('a')"] * 60_000) + " FROM users"
    assert columns(wide) is None
    assert used(wide) >= {"* other"}


def test_filters_reach_statements_that_return_nothing() -> None:
    assert used("DELETE FROM users WHERE email LIKE 'a%'") == {"users.email other"}
    assert used("UPDATE users SET name = 'x' WHERE email = $1") == {"users.email equal"}
    assert used("INSERT INTO log(note) SELECT 'x' FROM users WHERE phone > '1'") == {"users.phone other"}
    assert used("EXPLAIN SELECT 1 FROM users WHERE email = 'x'") == {"users.email equal"}
    assert used("DECLARE c CURSOR FOR SELECT 1 FROM users ORDER BY email") == {"users.email other"}
    assert used("COPY (SELECT DISTINCT email FROM users) TO STDOUT") == {"users.email other"}
    assert used("CREATE TABLE x AS SELECT 1 FROM users WHERE email = 'x'") == {"users.email equal"}
    assert used("MERGE INTO log l USING users u ON l.note = u.email WHEN MATCHED AND u.phone = '1' THEN DELETE") == {
        "log.note other",
        "users.email other",
        "users.phone equal",
    }
    assert used("WITH x AS (SELECT email AS e FROM users) SELECT 1 FROM x WHERE e = 'a'") == {"users.email equal"}
    assert used("WITH x AS (SELECT lower(email) AS e FROM users) SELECT 1 FROM x WHERE e = 'a'") == {"users.email other"}
    assert used("SELECT 1 FROM v_users WHERE mail = 'a'") == {"users.email other", "v_users.mail other"}
    assert used("SELECT 1 FROM nosuch WHERE x = 1") == {"* other"}


FRAGMENTS = [case["sql"] for case in CASES if case["sql"].lower().startswith(("select", "with", "values"))]


@settings(max_examples=150)
@given(st.sampled_from(FRAGMENTS), st.sampled_from(FRAGMENTS))
def test_wrapping_never_loses_a_source(one: str, other: str) -> None:
    """A query inside another one keeps all its sources."""
    whole = columns(one)
    inner = set() if whole is None else {source for column in whole for source in column.split()}
    try:
        for text in (
            f"SELECT z::text FROM ({one}) z",
            f"SELECT z::text || 'x' FROM ({one}) z, ({other}) y",
            f"WITH z AS ({one}) SELECT to_json(z) FROM z",
        ):
            (outer,) = columns(text) or ["?"]
            assert "?" in outer.split() or inner <= set(outer.split())
    except Unparsable:
        assert "insert" in (one + other) or "update" in (one + other) or "delete" in (one + other)
