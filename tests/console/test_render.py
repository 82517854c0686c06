from __future__ import annotations

import pytest

from interlock.console import render


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b'{"ask": "list sessions"}', ["list sessions"]),
        (b'{"ask": "approve ap-1", "note": "ok"}', ['approve ap-1 {"note": "ok"}']),
        (b"", []),
        (b"\xff", ["(unreadable bytes: 1)"]),
        (b"[1]", ["(unreadable bytes: 3)"]),
        (b"{}", ["(unreadable bytes: 2)"]),
    ],
)
def test_what_was_asked_of_the_console(data: bytes, lines: list[str]) -> None:
    assert render("up", data) == lines
