"""A timeline as lines: every kind of entry, rows counted, nothing that drives a terminal."""

from __future__ import annotations

from typing import Any

from interlock.cli import timeline


def moment(kind: str, exchange: int = 0, direction: str | None = None, lines: list[str] | None = None, **facts: Any) -> dict[str, Any]:
    return {"seq": 0, "at": 3600.5, "kind": kind, "exchange": exchange, "facts": facts, "direction": direction, "lines": lines or []}


def shown(*moments: dict[str, Any], everything: bool = False) -> list[str]:
    return [text for text, _ in timeline.lines(moments, everything=everything)]


def test_a_held_statement_from_asking_to_its_outcome() -> None:
    assert shown(
        moment("open", client="192.0.2.1:5", policy="p1"),
        moment("recorded", 2, "up", ["query: DELETE FROM t"]),
        moment("held", 2, title="DELETE FROM t", effects=["sql.delete public.t"], rules=["no-where"], groups=["dba"], approval="ap-1"),
        moment("approval", 2, state="approved", approval="ap-1", by=["bob"]),
        moment("intent", 2, verdict="allow", title="DELETE FROM t", effects=["sql.delete public.t"], rules=["eng"], approved_by=["bob"]),
        moment("outcome", 2, outcome="done", rows=1, bytes=1200, masked={"email": 2, "card": 1}),
        moment("intent", 3, verdict="deny", title="DROP TABLE t", rules=["no-ddl"], reason="agents do not"),
        moment("close", reason="client left"),
    ) == [
        "01:00:00.500        open     from 192.0.2.1:5, policy p1",
        "01:00:00.500  #2    sent     query: DELETE FROM t",
        "01:00:00.500  #2    hold     DELETE FROM t [sql.delete public.t] by no-where",
        "01:00:00.500  #2             waits for dba (request ap-1)",
        "01:00:00.500  #2    approved request ap-1 by bob",
        "01:00:00.500  #2    allow    DELETE FROM t [sql.delete public.t] by eng, approved by bob",
        "01:00:00.500  #2    done     1 row, 1,200 bytes, masked card ×1, email ×2",
        "01:00:00.500  #3    deny     DROP TABLE t by no-ddl: agents do not",
        "01:00:00.500        close    client left",
    ]


def test_many_rows_are_counted_unless_all_are_wanted() -> None:
    rows = [moment("recorded", 2, "down", [f"row: {number}" for number in range(30)]), moment("outcome", 2, outcome="done", rows=30)]

    assert len(shown(*rows)) == timeline.ROWS_SHOWN + 2
    assert shown(*rows)[-2].endswith("… 10 more lines (--all shows them)")
    assert len(shown(*rows, everything=True)) == 31


def test_rows_without_an_outcome_are_counted_too() -> None:
    assert shown(moment("recorded", 2, "down", ["row"] * 21))[-1].endswith("… 1 more line (--all shows them)")


def test_what_belongs_to_no_operation_is_always_shown() -> None:
    assert len(shown(moment("recorded", 0, "down", ["setting a = b"] * 50))) == 50


def test_no_control_character_comes_through() -> None:
    (line,) = shown(moment("recorded", 1, "up", ["\x1b]0;owned\x07 \u202e"]))

    assert line.isprintable()


def test_an_entry_of_a_later_version_is_shown_as_it_is() -> None:
    assert shown(moment("teleported", 1, where="there")) == ["01:00:00.500  #1    teleported{'where': 'there'}"]


def test_the_heading_tells_who_where_and_how_it_ended() -> None:
    session: dict[str, Any] = {"id": "s1", "principal": "claude", "owner": "alice", "resource": "orders-db", "protocol": "mcp"}
    session |= {"opened_at": 3600.0, "closed_at": None, "state": "live", "reason": ""}

    assert [text for text, _ in timeline.heading(session | {"operations": 1, "refused": 2, "held": 0, "masked": 1})] == [
        "session s1: claude for alice on orders-db over mcp",
        "1970-01-01 01:00:00Z to – (live)",
        "1 operation, 2 refused, 0 held, 1 value masked",
    ]
