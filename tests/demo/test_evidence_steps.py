"""The pure parts of the last act: one byte, and a moment in words. The act itself is played in test_story."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.demo.evidence_steps import _flip, _told


@pytest.mark.parametrize("size", [1, 2, 4097])
def test_exactly_one_byte_changes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "segment"
    before = bytes(place % 251 for place in range(size))
    path.write_bytes(before)
    place, was, becomes = _flip(path)
    changed = [at for at, (old, new) in enumerate(zip(before, path.read_bytes(), strict=True)) if old != new]
    assert changed == [place] and (before[place], path.read_bytes()[place]) == (was, becomes)


def test_moments_in_words() -> None:
    held = {"kind": "held", "exchange": 3, "facts": {"groups": ["dba"], "approval": "ap-x", "rules": ["no-where"]}}
    assert _told(held) == ["  held for dba as ap-x by rule no-where"]
    up = {"kind": "recorded", "exchange": 3, "direction": "up", "lines": ["query: SELECT 1"], "facts": {}}
    assert _told(up) == ["→ query: SELECT 1"]
    assert _told(up | {"exchange": 0}) == []  # connection-level chatter
    assert _told({"kind": "outcome", "exchange": 3, "facts": {}}) == []
