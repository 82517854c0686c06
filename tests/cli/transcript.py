"""Transcripts: scripts that read like a session at the command line, played against the real commands.

```
# a comment
$ INTERLOCK_TOKEN={alice} interlock token list      the command, with variables for this line only
id  principal …                                      what it prints; … stands for anything but the end of the line
...                                                  stands for any number of lines
! error: there is no …                               what it says on standard error
? 2                                                  its exit code, if not 0
```

`{name:…}` in an expected line keeps what stands there; `{name}` in later lines, commands too, puts it in.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from interlock.cli import main

FOLDER = Path(__file__).parent / "transcripts"
_HOLE = re.compile(r"\{([a-z]+):…\}|\{([a-z]+)\}|…")


@dataclass
class Step:
    line: int
    command: str
    expected: list[str] = field(default_factory=list)
    code: int = 0


def play(name: str, folder: Path, url: str = "", **kept: str) -> dict[str, str]:
    """Play `transcripts/<name>.txt` in a folder, with INTERLOCK_URL if `url` is given and with what is `kept` already;
    returns what was kept in the end. Fails with the place and both texts."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        for step in _steps((FOLDER / f"{name}.txt").read_text(encoding="utf-8")):
            words = shlex.split(_filled(step.command, kept))
            at = next(number for number, word in enumerate(words) if "=" not in word)
            variables = ({"INTERLOCK_URL": url} if url else {}) | dict(word.split("=", 1) for word in words[:at])
            assert words[at] == "interlock", f"{name}:{step.line}: not a command of ours"
            said = run(words[at + 1 :], variables)
            problem = _differs(step, said.lines, kept) or ("" if said.code == step.code else f"exit code {said.code}, expected {step.code}")
            assert not problem, f"{name}.txt:{step.line}: {step.command}\n{problem}\n--- it said:\n" + "\n".join(said.lines)
    finally:
        os.chdir(before)
    return kept


@dataclass
class Said:
    out: str
    err: str
    code: int

    @property
    def lines(self) -> list[str]:
        """Standard output, then standard error with `! ` before each line."""
        return [*self.out.splitlines(), *(f"! {line}".rstrip() for line in self.err.splitlines())]


def run(arguments: list[str], variables: dict[str, str] | None = None) -> Said:
    """One command in this process, with no INTERLOCK_ variables but these."""
    out, err = io.StringIO(), io.StringIO()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")}
    with (
        patch.dict(os.environ, inherited | {"NO_COLOR": "1", "COLUMNS": "200"} | (variables or {}), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(arguments)
    return Said(out.getvalue(), err.getvalue(), code)


def _steps(text: str) -> Iterator[Step]:
    step: Step | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("$ "):
            if step is not None:
                yield step
            step = Step(number, line[2:])
        elif step is not None and line.startswith("? "):
            step.code = int(line[2:])
        elif step is not None and line and not line.startswith("# "):
            step.expected.append(line)
    if step is not None:
        yield step


def _filled(text: str, kept: dict[str, str]) -> str:
    return re.sub(r"\{([a-z]+)\}", lambda match: kept[match[1]], text)


def _differs(step: Step, lines: list[str], kept: dict[str, str]) -> str:
    """Empty when the lines are as expected, else what is not. Empty lines count for nothing."""
    said = [line.rstrip() for line in lines if line.strip(" !")]
    at, skipping = 0, False
    for expected in step.expected:
        if expected == "...":
            skipping = True
            continue
        while skipping and at < len(said) and not _match(expected, said[at], kept):
            at += 1
        if at >= len(said):
            return f"missing: {expected}"
        match = _match(expected, said[at], kept)
        if match is None:
            return f"expected: {expected}\nsaid:     {said[at]}"
        kept.update({name: value for name, value in match.groupdict().items() if value is not None})
        at, skipping = at + 1, False
    return "" if skipping or at == len(said) else f"unexpected: {said[at]}"


def _match(expected: str, line: str, kept: dict[str, str]) -> re.Match[str] | None:
    pattern, end = "", 0
    for hole in _HOLE.finditer(expected):
        pattern += re.escape(expected[end : hole.start()])
        keep, put = hole[1], hole[2]
        pattern += f"(?P<{keep}>\\S+)" if keep else re.escape(kept[put]) if put in kept else re.escape(hole[0]) if put else ".+"
        end = hole.end()
    return re.fullmatch(pattern + re.escape(expected[end:]), line)
