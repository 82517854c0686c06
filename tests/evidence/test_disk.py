from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.evidence.disk import MAX_BODY, Torn, frame, frames, replace, write_all

BODIES = [b"first", b"x" * 300, b"last"]
WHOLE = b"".join(map(frame, BODIES))


def read(path: Path, data: bytes) -> list[bytes]:
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        return [body for _, body in frames(fd)]
    finally:
        os.close(fd)


def test_round_trip(tmp_path: Path) -> None:
    assert read(tmp_path / "f", WHOLE) == BODIES
    assert read(tmp_path / "f", b"") == []


@given(st.integers(0, len(WHOLE) - 1))
def test_a_cut_shows_as_a_torn_tail_or_a_clean_end(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "f"
    ends = [0, len(frame(BODIES[0])), len(frame(BODIES[0]) + frame(BODIES[1]))]
    if cut in ends:
        assert read(path, WHOLE[:cut]) == BODIES[: ends.index(cut)]
    else:
        with pytest.raises(Torn) as torn:
            read(path, WHOLE[:cut])
        assert torn.value.tail
        assert torn.value.offset == max(end for end in ends if end < cut)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_changed_byte_shows(tmp_path_factory: pytest.TempPathFactory, position: int, mask: int) -> None:
    data = bytearray(WHOLE)
    data[position] ^= mask
    with pytest.raises(Torn):
        read(tmp_path_factory.mktemp("flip") / "f", bytes(data))


@pytest.mark.parametrize("tail", [bytes(64), (MAX_BODY + 1).to_bytes(4, "big") + bytes(60)])
def test_zeros_and_impossible_lengths_are_damage(tmp_path: Path, tail: bytes) -> None:
    with pytest.raises(Torn) as torn:
        read(tmp_path / "f", WHOLE + tail)
    assert (torn.value.offset, torn.value.tail) == (len(WHOLE), False)


def test_replace_puts_the_whole_file_or_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "f"
    replace(path, b"old", mode=0o600)
    replace(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


def test_a_full_disk_raises() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left"):
            write_all(fd, b"x")
    finally:
        os.close(fd)
