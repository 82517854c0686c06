"""Printing: plain in a pipe, clean always."""

from __future__ import annotations

import json

import pytest

from interlock.cli import show
from interlock.errors import InterlockError


def test_a_table_in_a_pipe_is_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(["id", "title"], [["a", "x" * 300], ["bcd", "\x1b[2J"]])

    assert capsys.readouterr().out == f"id   title\na    {'x' * 300}\nbcd  \\x1b[2J\n"


def test_words_and_their_marks_are_taken_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show.say("[bold]not markup[/bold] :smile:")

    assert capsys.readouterr().out == "[bold]not markup[/bold] :smile:\n"


def test_an_error_says_what_happened_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    show.complain(InterlockError("it \x07broke", hint="mend it"))

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: it \\x07broke\nnext:  mend it\n"


def test_control_and_direction_marks_are_escaped() -> None:
    assert show.clean("a\x1b\u202eb\nc") == "a\\x1b\\u202eb\\nc"
    assert show.clean_lines("a\tb\r\nc\x00") == ["a   b", "c\\x00"]


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    show.say_json({"groups": frozenset({"b", "a"}), "digest": b"\x01", "text": "\x1bé"})

    assert json.loads(capsys.readouterr().out) == {"groups": ["a", "b"], "digest": "01", "text": "\x1bé"}
    with pytest.raises(TypeError, match="object has no JSON form"):
        show.say_json(object())


def test_times_and_counts() -> None:
    assert show.when(0.0) == "–"
    assert show.when(1_700_000_000.9) == "2023-11-14 22:13:20Z"
    assert show.clock(1_700_000_000.9) == "22:13:20.900"
    assert (show.count(1, "entry", "entries"), show.count(1000, "entry", "entries")) == ("1 entry", "1,000 entries")


def test_work_is_silent_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with show.working("counting"):
        pass
    assert capsys.readouterr() == ("", "")
