"""The tree of commands: all of them are there, and documented."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from interlock.cli.commands import app
from tests.cli.transcript import play

ROOT = Path(__file__).parents[2]
COMMON = {"--help", "--config", "--url", "--token-file", "--json"}
"""What the page says once for all commands."""


def test_the_transcript(tmp_path: Path) -> None:
    play("commands", tmp_path)


def test_every_command_and_option_is_in_the_docs() -> None:
    docs = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    missing = []
    for name, command in _commands(get_command(app)):
        _, _, rest = docs.partition(f"\n## `interlock {name}")
        section = rest.partition("\n## ")[0]
        if not rest:
            missing.append(name)
        for parameter in command.params:  # type: ignore[attr-defined]
            option = next((each for each in parameter.opts if each.startswith("--")), None)
            if option and option not in section and option not in COMMON:
                missing.append(f"{name} {option}")
        assert all(option in docs.partition("\n## ")[0] for option in COMMON - {"--help"})
    assert missing == []


def test_the_docs_know_no_command_that_is_not_there() -> None:
    docs = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    known = {name for name, _ in _commands(get_command(app))}
    named = {" ".join(words) for words in re.findall(r"^## `interlock ([a-z]+)(?: ([a-z]+))?", docs, re.M)}
    assert {name.strip() for name in named} <= known


def _commands(command: object, path: str = "") -> list[tuple[str, object]]:
    children = getattr(command, "commands", None)
    if children is None:
        return [(path, command)]
    return [each for name, child in children.items() for each in _commands(child, f"{path} {name}".strip())]
