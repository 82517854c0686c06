"""How the story is told: with colours in a terminal, as plain text in a pipe, not at all where JSON is wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

WIDTH = 118
"""Of plain text; a terminal has its own."""
LINES_MAX = 14
"""Of one output; the rest is counted."""


class Teller:
    """Writes to standard output, or nowhere. What clients and databases said is never read as markup, and its control
    characters are not passed on."""

    def __init__(self, quiet: bool) -> None:
        self._out = Console(quiet=quiet, highlight=False, width=None if sys.stdout.isatty() else WIDTH)

    def heading(self, number: int, count: int, title: str) -> None:
        self._out.print()
        self._out.print(Text.assemble((f"── {number}/{count} ── ", "cyan"), (title, "bold")), soft_wrap=True)

    def says(self, text: str) -> None:
        """What happens, in the teller's words."""
        self._out.print(Text(text), soft_wrap=True)

    def types(self, who: str, text: str) -> None:
        """What somebody sends."""
        self._out.print(Text.assemble((f"  {who}> ", "bold cyan"), (_clean(text), "bold")), soft_wrap=True)

    def shows(self, text: str, style: str = "") -> None:
        """What somebody gets to see."""
        lines = [line for line in text.strip("\n").splitlines() if line.strip()]
        for line in lines[:LINES_MAX]:
            self._out.print(Text(f"    {_clean(line)}", style=style or _style(line)), soft_wrap=True)
        if len(lines) > LINES_MAX:
            self._out.print(Text(f"    … {len(lines) - LINES_MAX} more lines", style="dim"))

    def proven(self, text: str) -> None:
        """A claim that was checked from outside and holds."""
        self._out.print(Text.assemble(("  ✓ ", "bold green"), text), soft_wrap=True)

    def broken(self, text: str) -> None:
        self._out.print(Text.assemble(("  ✗ ", "bold red"), (_clean(text), "red")), soft_wrap=True)

    def line(self, label: str, text: str) -> None:
        """A line to copy: never wrapped."""
        self._out.print(Text.assemble((f"  {label:<12}", "bold"), text), soft_wrap=True)

    def blank(self) -> None:
        self._out.print()

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Progress while something takes its time; in a pipe just the line."""
        if self._out.is_terminal:
            with self._out.status(Text(text)):
                yield
        else:
            self.says(text)
            yield


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " if letter == "\t" else "�" for letter in text)


def _style(line: str) -> str:
    if line.startswith(("ERROR", "FATAL", "refused", "rule:")):
        return "red"
    return "yellow" if line.startswith(("NOTICE", "held")) else ""
