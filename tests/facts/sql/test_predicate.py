"""Conditions that narrow nothing (more in statements.yaml)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.facts.sql import read

ALWAYS = [
    "true", "not false", "1 = 1", "'a' = 'a'", "$1", "$1 = $2", "now() > '2000-01-01'", "id = id", "t.id = t.id", "id <= id",
    "id is not distinct from id",
    "not (id <> id)", "not (id is distinct from id)",
    "name like name", "name like '%'", "name ilike '%%'",
    "id in (id)", "id = any (array[id])", "id between id and id", "id is null or id is not null",
    "id = 1 or id <> 1", "id < 5 or id >= 5",
    "a or not a", "not (false and id = 1)", "(id = 1 or true) and 2 > 1", "(select true)", "coalesce(true)",
    "id::text = id", "'yes'", "'on'::bool",
]  # fmt: skip
NARROWING = [
    "id = 1", "id = $1", "id <> id", "false", "id = 1 and true", "not (id = 1)", "id = 1 or name = 'x'",
    "active", "not active", "id in (1, 2)",
    "id = other", "name like 'a%'", "name like '_%'", "current of c", "id is not null",
    "exists (select 1 from s where s.id = t.id)", "'f'", "'off'",
    "id in (select id from s)", "id between 1 and 5", "lower(name) = name", "id = 1 or id = 2", "null",
]  # fmt: skip


def has_where(condition: str) -> bool:
    return read(f"delete from t where {condition}").statements[0].has_where


@pytest.mark.parametrize("condition", ALWAYS)
def test_always(condition: str) -> None:
    assert not has_where(condition)


@pytest.mark.parametrize("condition", NARROWING)
def test_narrowing(condition: str) -> None:
    assert has_where(condition)


@given(
    st.recursive(st.sampled_from(["true", "id = id", "not false"]), lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner))
)
def test_tautologies_in_any_combination(tree: object) -> None:
    def text(node: object) -> str:
        return node if isinstance(node, str) else f"({' '.join(map(text, node))})"  # type: ignore[call-overload]

    assert not has_where(text(tree))
    assert not has_where(f"{text(tree)} or id = 5")
    assert has_where(f"{text(tree)} and id = 5")
