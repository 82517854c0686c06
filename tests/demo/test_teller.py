"""The story on paper: plain text in a pipe, no markup, no control characters, silence where JSON is wanted."""

from __future__ import annotations

import pytest

from interlock.demo.teller import LINES_MAX, Teller


def test_what_clients_said_is_text_not_markup_nor_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(quiet=False)
    teller.types("alice", "SELECT '[bold]x[/bold]'")
    teller.shows("a\x1b[2Jb\trow [card]\n\n")
    assert capsys.readouterr().out == "  alice> SELECT '[bold]x[/bold]'\n    a�[2Jb row [card]\n"


def test_long_lines_are_not_cut_and_long_outputs_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(quiet=False)
    teller.line("psql", "x" * 500)
    teller.shows("\n".join(f"row {number}" for number in range(LINES_MAX + 3)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("x" * 500)
    assert lines[-1].strip() == "… 3 more lines" and len(lines) == LINES_MAX + 2


def test_where_json_is_wanted_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(quiet=True)
    teller.heading(1, 2, "title")
    teller.says("words")
    with teller.waiting("slowly"):
        teller.proven("true")
        teller.broken("false")
    assert capsys.readouterr().out == ""
