"""Texts of one shape ask the same: checked against reading each text for itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from interlock.exchange import Resource
from interlock.facts.sql import postgres
from interlock.facts.sql.catalog import Catalog
from interlock.protocols.postgres.operation import Asked, Meaning, Named, Reader
from interlock.protocols.postgres.shape import is_free, shape_of

CATALOG = Catalog.build(
    [(1, "public", "customers", "r", None), (2, "public", "orders", "r", None)],
    [(1, 1, "id", 23), (1, 2, "email", 25), (1, 3, "name", 25), (2, 1, "id", 23), (2, 2, "customer_id", 23)],
    [("pg_catalog", "now", "s", "internal", True)],
    version=1,
)
MEANING = Meaning(CATALOG, ("public",))
SHOP = Resource("shop", "postgres", classes={"customers.email": "email"})


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("SELECT a FROM t WHERE id = 17;", "SELECT a FROM t WHERE id = ?;"),
        ("select 'x', 12 from t1 where b='it''s'", "select ?, ? from t1 where b=??"),
        ("select a from t where b in (1,2,3) limit 5", "select a from t where b in (?,?,?) limit ?"),
        ("select a from t where b = -5", "select a from t where b = -?"),
        ("select 1.5, 1e5, 0x1f, 1_000, t1.a", "select 1.5, 1e5, 0x1f, 1_000, t1.a"),
    ],
)
def test_literals_are_what_a_shape_leaves_out(text: str, shape: str) -> None:
    assert shape_of(text) == shape


@pytest.mark.parametrize(
    "text",
    [
        "select E'a\\'b' from t",
        "select $$a$$ from t",
        "select $1 from t",
        "select 'a' -- it's\n, email from customers",
        "select /* ' */ email /* ' */ from customers",
        'select "email" from customers',
        "select 'customers'::regclass",
        "select cast('1' as int)",
        "select id, email from customers order by 2",
        "select email from customers group by 1",
        "select N'a', x'1f', b'01'",
        "select 'a\nb'",
        "select 'a",
        "select a ? 'b' from t",
        "select 'é'",
        "select a\0 from t",
        "select " + "1, " * 1000 + "1",
    ],
)
def test_what_needs_more_than_one_rule_to_read_has_no_shape(text: str) -> None:
    assert shape_of(text) == ""


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("select email from customers where id = 1", True),
        ("select 1", True),
        ("select id from customers where id = 1 and name <> 'x' or id between 1 and 2", True),
        ("select id from customers where name like 'a%'", False),
        ("select id + 1 from customers", False),
        ("select count(*) from customers", False),
        ("select nextval('s')", False),
        ("select regclass 'customers'", False),
        ("update customers set name = 'x' where id = 1", False),
        ("with x as (delete from customers where 1 = 1 returning id) select id from x", False),
        ("select 1 into t", False),
        ("select 1; select 2", False),
    ],
)
def test_only_reading_and_comparing_is_free_of_literals(text: str, free: bool) -> None:
    assert is_free(postgres.read(text).statements) is free


_LITERALS = re.compile(r"'[^'\n]*'|(?<![\w.'])[0-9]{1,18}(?![\w.'])")
_KEYWORDS = "select from where and or in between limit offset distinct as union all null true not is exists"
_REST = "id email name customers orders c x = < > <> <= >= , ( ) ; *"
_WORDS = st.sampled_from([*_KEYWORDS.split(), *_REST.split(), "1", "42", "'a'", "'b c'", "''"])


def _plain(asked: Asked) -> tuple[object, ...]:
    return (asked.effects, asked.facts, asked.sources, asked.changes, asked.moves, asked.refuse, asked.title)


@settings(max_examples=600, deadline=None)
@given(st.lists(_WORDS, min_size=1, max_size=25), st.integers(0, 999_999), st.text("abc %_-;", max_size=6))
def test_a_text_of_a_known_shape_asks_what_it_asks_by_itself(words: list[str], number: int, string: str) -> None:
    text = "select " + " ".join(words)
    other = _LITERALS.sub(lambda found: f"'{string}'" if found[0].startswith("'") else str(number), text)
    assume(shape_of(text) != "" and shape_of(text) == shape_of(other))
    reader = Reader(SHOP, 10_000)
    known = reader.read(text, MEANING, Named())
    assume(not known.error)
    again = reader.read(other, MEANING, Named())
    assert again.text == other
    assert _plain(again) == _plain(Reader(SHOP, 10_000).read(other, MEANING, Named()))


def test_a_reader_reads_one_text_of_a_shape_only(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(SHOP, 10_000)
    reader.read("select email from customers where id = 1", MEANING, Named())

    def never(text: str) -> None:
        raise AssertionError(f"{text} was read again")

    monkeypatch.setattr(postgres, "read", never)
    asked = reader.read("select email from customers where id = 2", MEANING, Named())
    assert reader.operation(asked, b"x").text == "select email from customers where id = 2"


def test_another_meaning_is_read_anew() -> None:
    reader = Reader(SHOP, 10_000)
    assert reader.read("select email from customers where id = 1", MEANING, Named()).sources == ((frozenset({"public.customers.email"}),),)
    elsewhere = Meaning(CATALOG, ("archive",))
    assert reader.read("select email from customers where id = 2", elsewhere, Named()).sources != (
        (frozenset({"public.customers.email"}),),
    )
