"""`interlock demo`: the thin command; the story has tests of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.demo import story
from tests.cli.transcript import run


@pytest.mark.parametrize("code", [0, 1])
def test_options_and_exit_code_are_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr(story, "main", lambda **options: given.update(options) or code)

    assert run(["demo", "--once", "--json", "--ready-file", str(tmp_path / "ready.json")]).code == code
    assert given == {"once": True, "json": True, "ready_file": tmp_path / "ready.json", "keep": False}
