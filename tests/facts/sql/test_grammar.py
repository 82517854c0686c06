"""Reading text: limits, positions, slices, hostile input. Whatever the text, `read` raises nothing but `Unparsable`."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.facts.sql import Unparsable, read
from interlock.facts.sql.grammar import STATEMENT_LIMIT
from tests.facts.sql.golden import cases

VOCABULARY = """select from where with recursive as insert into values update set delete t a b ( ) , ; . * = <> '' 'x' $1 $$ $a$ 1 1.5 --
/* */ union all
 join on using natural lateral case when then end not null is in exists explain analyze copy to stdout do begin "q" E\' U&" :: [ ]
+ - @ create table temp view role grant returning over partition order by limit for merge matched fetch declare cursor execute prepare"""
WORDS = VOCABULARY.split()


@given(st.text())
def test_any_text(text: str) -> None:
    try:
        read(text)
    except Unparsable as error:
        assert 0 <= error.position <= len(text) + 1


@settings(max_examples=400)
@given(st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
def test_any_words(text: str) -> None:
    try:
        read(text)
    except Unparsable as error:
        assert 0 <= error.position <= len(text) + 1


@settings(max_examples=300)
@given(st.sampled_from([case["sql"] for case in cases("statements")]), st.data())
def test_any_damage(text: str, data: st.DataObject) -> None:
    """A statement with a piece cut out or doubled."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    for damaged in (text[:start] + text[end:], text[:end] + text[start:]):
        try:
            read(damaged)
        except Unparsable as error:
            assert error.message


@given(st.lists(st.sampled_from([case["sql"] for case in cases("statements") if len(case["is"]) == 1]), min_size=1, max_size=4))
def test_statements_of_one_text_are_judged_one_by_one(texts: list[str]) -> None:
    text = "\n;\n".join(texts)
    together = read(text).statements
    alone = [read(one).statements[0] for one in texts]
    assert [(s.kind, s.asked, s.has_where, s.normalized) for s in together] == [(s.kind, s.asked, s.has_where, s.normalized) for s in alone]


@pytest.mark.parametrize("text", ["SELECT 1;  SELECT 'ä', 2 ;", "sélect;", "/* é */ SELECT 'é'; -- x\n DELETE FROM \"ü\" WHERE id = 1"])
def test_a_slice_is_the_statement(text: str) -> None:
    try:
        statements = read(text).statements
    except Unparsable:
        return
    for statement in statements:
        assert text[statement.start : statement.end] == statement.text
        again = read(statement.text).statements
        assert [(one.kind, one.asked) for one in again] == [(statement.kind, statement.asked)]


@pytest.mark.parametrize(
    ("text", "position"),
    [("SELEC 1", 1), ("SELECT 'é' FRM t x", 16), ("SELECT 1; DELET", 11), ("SELECT 'open", 8), ("SELECT 1\0; DROP TABLE t", 9)],
)
def test_the_position_is_a_character(text: str, position: int) -> None:
    with pytest.raises(Unparsable) as caught:
        read(text)
    assert caught.value.position == position


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT (1;", 'syntax error at or near ";"'),
        ("SELECT 'geheim4711", "unterminated quoted string"),
        ("SELECT 1 FROM t 'geheim4711'", "syntax error"),
        ("SELECT 1 FROM t 4711", "syntax error"),
        ("SELECT $a$geheim4711", "unterminated dollar-quoted string"),
        ("SELECT 1 FROM", "syntax error at end of input"),
    ],
)
def test_the_message_quotes_no_literal(text: str, message: str) -> None:
    with pytest.raises(Unparsable) as caught:
        read(text)
    assert caught.value.message == message


def test_not_unicode() -> None:
    with pytest.raises(Unparsable):
        read("SELECT '\ud800'")


def test_length_limit() -> None:
    assert read("SELECT 1" + " " * (STATEMENT_LIMIT - 8)).statements
    with pytest.raises(Unparsable, match="longer"):
        read("SELECT 1" + " " * (STATEMENT_LIMIT - 7))
    with pytest.raises(Unparsable, match="longer"):
        read("SELECT '" + "é" * (STATEMENT_LIMIT // 2) + "'")


DEEP: dict[str, Callable[[int], str]] = {
    "parentheses": lambda n: "SELECT " + "(" * n + "1" + ")" * n,
    "plus": lambda n: "SELECT " + "+".join(["1"] * n),
    "and inside between": lambda n: "SELECT a" + " IS NULL BETWEEN 1 AND 2" * n,
    "cast": lambda n: "SELECT a" + "::int" * n,
    "not": lambda n: "SELECT " + "NOT " * n + "a",
    "minus": lambda n: "SELECT " + "- " * n + "1",
    "union": lambda n: " UNION ".join(["SELECT 1, 2"] * n),
    "join": lambda n: "SELECT 1 FROM a" + " JOIN b ON f(1, 2) AND c" * n,
    "collate": lambda n: "SELECT a" + ' COLLATE "C"' * n,
    "case": lambda n: "SELECT " + "CASE WHEN a THEN " * n + "1" + " END" * n,
    "subquery": lambda n: "SELECT " + "(SELECT " * n + "1" + ")" * n,
    "call": lambda n: "SELECT " + "f(" * n + "1" + ")" * n,
    "chain in calls": lambda n: "SELECT " + "+".join(["f(1, 2)"] * n),
    "with": lambda n: "WITH a AS (" * n + "SELECT 1" + ") SELECT 1" * n,
    "comments": lambda n: "/*" * n + "*/" * n + "SELECT 1",
    "open comments": lambda n: "/*" * n,
    "operator": lambda n: "SELECT " + "+-" * n + "1",
}


@pytest.mark.parametrize("count", [10_000, 60_000])
@pytest.mark.parametrize("name", DEEP)
def test_deep_nesting_is_refused(name: str, count: int) -> None:
    with pytest.raises(Unparsable):
        read(DEEP[name](count))


@pytest.mark.parametrize("name", sorted(DEEP.keys() - {"open comments", "operator"}))
def test_modest_nesting_is_read(name: str) -> None:
    assert read(DEEP[name](40)).statement_count == 1


def test_deep_nesting_on_the_small_stack_of_a_thread() -> None:
    """A chain that is just short enough to be parsed at all must fit a stack of 2 MB."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            read("SELECT " + "+".join(["1"] * 7_900))
        except Unparsable:
            pass
        except BaseException as error:
            failed.append(error)

    before = threading.stack_size(2 * 1024 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert not failed


def test_long_flat_texts_are_read() -> None:
    rows = ", ".join(f"({at}, -{at}, 'name {at}', '2024-01-01'::date)" for at in range(5_000))
    (statement,) = read(f"INSERT INTO t VALUES {rows}").statements
    assert statement.kind == "insert"
    assert read("SELECT 1 FROM t WHERE " + " OR ".join(f"id = {at}" for at in range(3_000))).statement_count == 1
    assert read(";".join(["SELECT 1"] * 3_000)).statement_count == 3_000


def test_operator_characters_in_data_are_no_attack() -> None:
    assert read("SELECT '" + "-" * 5_000 + "=" * 5_000 + "'").statement_count == 1
    assert read("/*" + "*" * 5_000 + "*/ SELECT 1").statement_count == 1
    assert read("--" + "-" * 5_000 + "\nSELECT 1").statement_count == 1
