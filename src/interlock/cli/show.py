"""Printing: results to standard output, everything about them to standard error.

A terminal gets tables and colours; a pipe gets plain text that neither wraps nor truncates. What comes from
recordings, requests or servers is cleaned first: it cannot drive the terminal that shows it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from interlock.errors import InterlockError

VERDICTS = {"allow": "green", "hold": "yellow", "deny": "red", "verified": "green", "failed": "red", "not verifiable": "yellow"}
"""The colour of each word that judges."""


def out() -> Console:
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True)


def err() -> Console:
    return Console(file=sys.stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def in_terminal() -> bool:
    """Whether a person sits at both ends: only then is anything asked back."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def clean(text: object) -> str:
    """Any text with control and formatting characters escaped."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in str(text))


def clean_lines(text: object) -> list[str]:
    """The same for text of several lines, tabs widened."""
    return [clean(line.expandtabs(4)) for line in str(text).splitlines()] or [""]


def say(text: str, style: str = "") -> None:
    """One result. The text is clean already."""
    out().print(Text(text, style))


def remark(text: str) -> None:
    """Something about the result, for people."""
    err().print(Text(text, "dim"))


def warn(text: str) -> None:
    err().print(Text("warning: ", "yellow") + Text(text))


def complain(error: InterlockError) -> None:
    """What happened and why, then what to do next."""
    err().print(Text("error: ", "bold red") + Text("\n".join(clean_lines(error.message))))
    if error.hint:
        err().print(Text("next:  ", "bold") + Text(clean(error.hint)))


def say_json(value: object) -> None:
    """One JSON document; sets become sorted lists."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=not sys.stdout.isatty(), default=_plain) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table: columns two spaces apart, nothing cut and nothing wrapped, so that an id is always whole."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    console = out()
    console.print(_row(columns, widths, "bold"))
    for row in cells:
        console.print(_row(row, widths))


@contextmanager
def working(what: str) -> Iterator[None]:
    """Something that may take long: a spinner in a terminal, silence in a pipe."""
    console = err()
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def when(seconds: float | None) -> str:
    """`2026-03-01 13:05:18Z`; a dash for no time at all."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if seconds else "–"


def clock(seconds: float) -> str:
    """`13:05:18.042`, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S.%f")[:-3]


def count(number: int, thing: str, things: str = "") -> str:
    """`1 row`, `2 rows`, `1,000 rows`."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def _row(cells: Sequence[str], widths: Sequence[int], style: str = "") -> Text:
    line = Text("  ").join(Text(cell.ljust(width), style or VERDICTS.get(cell, "")) for cell, width in zip(cells, widths, strict=True))
    line.rstrip()
    return line


def _plain(value: object) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no JSON form")
