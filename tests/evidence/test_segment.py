from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import VerificationError
from interlock.evidence.event import FIRST_PREVIOUS
from interlock.evidence.segment import PIECE_BYTES, SegmentWriter, follow, read_events, segment_path, sha256_file

SECRET = bytes(range(32))


def write(folder: Path, events: list[bytes], number: int = 0, previous: bytes = FIRST_PREVIOUS) -> bytes:
    writer = SegmentWriter("s1")
    for seq, event in enumerate(events):
        writer.add(seq, event)
    return writer.write(folder, number, previous, SECRET)


def read(path: Path, secret: bytes = SECRET) -> list[bytes]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return list(read_events(fd, secret))
    finally:
        os.close(fd)


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, events: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("segment")
    digest = write(folder, events)
    assert read(segment_path(folder, 0)) == events
    assert digest == sha256_file(segment_path(folder, 0))


def test_large_events_make_several_pieces(tmp_path: Path) -> None:
    events = [os.urandom(PIECE_BYTES // 2) for _ in range(9)]
    write(tmp_path, events)
    assert read(segment_path(tmp_path, 0)) == events
    [(_, head, _)] = follow(tmp_path)
    assert (head.first, head.last, head.events) == (0, 8, 9)


def test_the_same_events_never_give_the_same_bytes(tmp_path: Path) -> None:
    """A segment that is written again after a crash must not use a key and nonce twice."""
    first = write(tmp_path, [b"event"])
    assert write(tmp_path, [b"event"]) != first


def test_every_changed_or_missing_byte_shows(tmp_path: Path) -> None:
    write(tmp_path, [os.urandom(PIECE_BYTES), b"canary" * 20, b"end"])
    path = segment_path(tmp_path, 0)
    whole = path.read_bytes()
    assert b"canary" not in whole
    for position in {*range(200), *range(0, len(whole), 997), *range(len(whole) - 100, len(whole))}:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with pytest.raises(VerificationError):
            read(path)
        path.write_bytes(whole[:position])
        with pytest.raises(VerificationError):
            read(path)


def test_a_dropped_last_piece_shows(tmp_path: Path) -> None:
    from interlock.evidence.disk import frames

    write(tmp_path, [os.urandom(PIECE_BYTES) for _ in range(3)])
    path = segment_path(tmp_path, 0)
    fd = os.open(path, os.O_RDONLY)
    last = [offset for offset, _ in frames(fd)][-1]
    os.close(fd)
    path.write_bytes(path.read_bytes()[:last])
    with pytest.raises(VerificationError, match="does not open"):
        read(path)


def test_segments_must_follow_one_another(tmp_path: Path) -> None:
    first = write(tmp_path, [b"a"])
    write(tmp_path, [b"b"], 1, first)
    assert [head.number for _, head, _ in follow(tmp_path)] == [0, 1]
    write(tmp_path, [b"a"])
    with pytest.raises(VerificationError, match="does not follow"):
        list(follow(tmp_path))


def test_another_secret_opens_nothing(tmp_path: Path) -> None:
    write(tmp_path, [b"a"])
    with pytest.raises(VerificationError):
        read(segment_path(tmp_path, 0), bytes(32))
