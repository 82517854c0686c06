from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.console.present import Card, Note, age, clock, moment, story, table, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Ünïcode 漢字 🙂", "plain Ünïcode 漢字 🙂"),
        ("\x1b[31mred\x07", "⟨U+001B⟩[31mred⟨U+0007⟩"),
        ("a\u202eb\u200bc\u2066", "a⟨U+202E⟩b⟨U+200B⟩c⟨U+2066⟩"),
        ("two\nlines\tand a tab\r", "two\nlines\tand a tab⟨U+000D⟩"),
        ("no\u00a0break\u2028", "no break⟨U+2028⟩"),
        ("\ud800\ue000\x7f\x9b", "⟨U+D800⟩⟨U+E000⟩⟨U+007F⟩⟨U+009B⟩"),
    ],
)
def test_what_cannot_be_seen_is_named(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters()))
def test_nothing_invisible_is_left(text: str) -> None:
    assert all(letter.isprintable() or letter in "\n\t" for letter in visible(text))


def test_rows_stand_below_their_columns() -> None:
    lines = ["before", "columns: id | name", "row: 1 | ada", "row: 100 | bo | more", "done: SELECT 2"]
    assert table(lines) == ["before", "id  │ name", "────┼─────", "1   │ ada", "100 │ bo   │ more", "done: SELECT 2"]
    assert table(["row: 1 | 2"]) == ["row: 1 | 2"]
    assert table([]) == []


def entry(seq: int, kind: str, exchange: int = 0, **facts: Any) -> dict[str, Any]:
    return {"seq": seq, "at": float(seq), "kind": kind, "exchange": exchange, "facts": facts, "direction": None, "lines": []}


def recorded(seq: int, exchange: int, direction: str, *lines: str) -> dict[str, Any]:
    return entry(seq, "recorded", exchange) | {"direction": direction, "lines": list(lines)}


def test_a_story_has_one_card_per_exchange_in_order() -> None:
    told = story(
        [
            entry(0, "open", client="psql", proof="token:x"),
            recorded(1, 1, "up", "query: DELETE"),
            entry(2, "held", 1, title="DELETE", reasons=["no WHERE"], rules=["no-where"], groups=["dba"], approval="ap-1", approved_by=[]),
            recorded(3, 0, "down", "NOTICE: held"),
            recorded(4, 2, "up", "query: DROP"),
            entry(5, "intent", 2, title="DROP", verdict="deny", reason="no rule", rules=[]),
            entry(6, "approval", exchange=1, state="approved", by=["bob"]),
            entry(
                7, "intent", 1, title="DELETE", verdict="allow", reasons=["permitted"], rules=["all"], approval="ap-1", approved_by=["bob"]
            ),
            recorded(8, 1, "down", "done: DELETE 3"),
            entry(9, "outcome", 1, outcome="done", rows=0, masked={"email": 2}),
            entry(10, "close", reason="bye"),
        ]
    )
    first, held, dropped, last = told
    assert isinstance(first, Note) and "psql" in first.title and isinstance(last, Note) and "bye" in last.title
    assert isinstance(held, Card)
    assert (held.verdict, held.approved_by, held.rules, held.reasons) == ("approved", ["bob"], ["no-where"], ["no WHERE"])
    assert (held.asked, held.seen) == (["query: DELETE"], ["NOTICE: held", "done: DELETE 3"])
    assert (held.outcome, held.masked) == ("done", {"email": 2})
    assert isinstance(dropped, Card) and (dropped.verdict, dropped.reasons) == ("refused", ["no rule"])


def test_what_is_said_around_an_answer_stands_with_it() -> None:
    connect, words, prepare, execute = story(
        [
            entry(0, "intent", 1, operation="connect", verdict="allow"),
            recorded(1, 0, "down", "setting a = b"),
            recorded(2, 2, "up", "prepare"),
            entry(3, "intent", 2, operation="query", verdict="allow"),
            recorded(4, 3, "up", "execute"),
            entry(5, "intent", 3, operation="query", verdict="allow"),
            entry(6, "outcome", 2, outcome="done"),
            recorded(7, 0, "down", "columns: a"),
            recorded(8, 3, "down", "row: 1"),
            entry(9, "outcome", 3, outcome="done"),
            recorded(10, 0, "down", "done: SELECT 1"),
        ]
    )
    assert isinstance(connect, Card) and connect.seen == []
    assert isinstance(words, Note) and words.lines == ["setting a = b"]
    assert isinstance(prepare, Card) and prepare.seen == []
    assert isinstance(execute, Card) and execute.seen == ["a", "─", "1", "done: SELECT 1"]


def test_a_refused_approval_is_a_refusal() -> None:
    [card] = story(
        [
            entry(1, "held", 1, title="T", reasons=["r"], rules=["h"], groups=["dba"], approval="ap-1", approved_by=[]),
            entry(2, "approval", exchange=1, state="refused", by=["bob"]),
            entry(3, "intent", 1, title="T", verdict="deny", reason="refused by bob", rules=["h"], approval="ap-1", approved_by=[]),
        ]
    )
    assert isinstance(card, Card) and (card.verdict, card.reasons, card.approved_by) == ("refused", ["refused by bob"], ())


def test_long_answers_are_cut_and_say_so() -> None:
    [card] = story([recorded(1, 1, "down", *(f"line {i}" for i in range(620)))])
    assert isinstance(card, Card) and (len(card.seen), card.cut) == (500, 120)


def test_times() -> None:
    assert [age(s) for s in (-5, 0, 119, 120, 7_199, 7_200, 172_800)] == ["0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "2 d"]
    assert (moment(0), clock(3_661)) == ("1970-01-01 00:00:00 UTC", "01:01:01")
