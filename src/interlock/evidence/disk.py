"""The few disk primitives of this room: whole writes, atomic replacement, and framed records that show where they are torn.

A frame is `length u32 | CRC-32 u32 | body`, big-endian; the CRC covers the length and the body. The CRC finds accidents
and torn tails, and names the byte; hashes and signatures find intent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from zlib import crc32

MAX_BODY = 96 * 1024 * 1024
"""Bytes in one frame; a longer length is damage."""

_HEADER = Struct(">II")
HEADER_BYTES = _HEADER.size


class Torn(Exception):
    """A file cannot be read on from `offset`. `tail`: it simply ends there, as after a crash."""

    def __init__(self, offset: int, why: str, *, tail: bool) -> None:
        super().__init__(f"{why} at byte {offset}")
        self.offset = offset
        self.tail = tail


def frame(body: bytes) -> bytes:
    return _HEADER.pack(len(body), crc32(body, len(body))) + body


def read_frame(fd: int, offset: int) -> bytes | None:
    """The body of the frame at `offset`, or None exactly at the end of the file. Raises `Torn`, `OSError`."""
    header = os.pread(fd, HEADER_BYTES, offset)
    if not header:
        return None
    if len(header) < HEADER_BYTES:
        raise Torn(offset, "the file ends inside a record", tail=True)
    length, checksum = _HEADER.unpack(header)
    if not 0 < length <= MAX_BODY:  # a power cut can leave zeros, which would else be valid empty records
        raise Torn(offset, "a record has an impossible length", tail=False)
    body = _pread_exactly(fd, length, offset + HEADER_BYTES)
    if len(body) < length:
        raise Torn(offset, "the file ends inside a record", tail=True)
    if crc32(body, length) != checksum:
        raise Torn(offset, "a record is damaged", tail=False)
    return body


def frames(fd: int, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """All frames from `offset` on, each with its own offset. Raises `Torn`, `OSError`."""
    while (body := read_frame(fd, offset)) is not None:
        yield offset, body
        offset += HEADER_BYTES + len(body)


def _pread_exactly(fd: int, size: int, offset: int) -> bytes:
    data = os.pread(fd, size, offset)
    while len(data) < size and (more := os.pread(fd, size - len(data), offset + len(data))):
        data += more
    return data


def write_all(fd: int, data: bytes) -> None:
    """Write everything, or raise `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace(path: Path, data: bytes, *, mode: int = 0o640, sync_name: bool = True) -> None:
    """Put a whole file in place, atomically and durably; `sync_name` is off where a later call syncs the folder."""
    part = path.with_name(path.name + ".part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(part, path)
    if sync_name:
        sync_folder(path.parent)
