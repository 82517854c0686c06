"""Segments: a session's recorded events, compressed and sealed, a few megabytes or a minute at a time.

A segment file is a clear head frame, then sealed pieces: each a zstd frame over about 64 kB of events, AES-256-GCM under a
key of its own (HKDF over the session's secret and the random `attempt`, so that writing a segment again after a crash
reuses no nonce). The nonce is the piece's number and whether it is the last; the additional data is the head, which names
session, segment, events, and the SHA-256 of the segment before.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag

from interlock.errors import VerificationError

from .disk import MAX_BODY, Torn, frame, frames, replace
from .event import FIRST_PREVIOUS, decode_pieces, encode, reader
from .keys import subkey

SEGMENT_BYTES = 8 * 1024 * 1024
"""Plain bytes of events in one segment, about."""
PIECE_BYTES = 64 * 1024
ZSTD_LEVEL = 3
_MAGIC = "interlock segment 1"


class Head(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What anyone may read of a segment. `first` and `last` are event numbers of the session, `events` how many."""

    magic: str
    session: str
    number: int
    first: int
    last: int
    events: int
    previous: bytes
    attempt: bytes


_decode_head = reader(msgspec.msgpack.Decoder(Head).decode, "the head of a segment")


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.seg"


def _nonce(piece: int, last: bool) -> bytes:
    return piece.to_bytes(11, "big") + bytes([last])


class SegmentWriter:
    """Gathers events until they are worth a segment; holds them compressed, never more than one segment."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self._reset()

    def _reset(self) -> None:
        self._pieces: list[bytes] = []
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self.first = self.last = -1
        self.events = self.size = 0

    def add(self, seq: int, event: bytes) -> None:
        if self.events == 0:
            self.first = seq
        self.last = seq
        self.events += 1
        self.size += len(event)
        self._gathered.append(event)
        self._gathered_bytes += len(event)
        if self._gathered_bytes >= PIECE_BYTES:
            self._squeeze()

    def _squeeze(self) -> None:
        if self._gathered:
            self._pieces.append(self._compressor.compress(encode(self._gathered)))
            self._gathered, self._gathered_bytes = [], 0

    def write(self, folder: Path, number: int, previous: bytes, secret: bytes) -> bytes:
        """Put the segment in place, durably, and start anew. Its SHA-256, 32 bytes. Raises `OSError`."""
        self._squeeze()
        head = encode(Head(_MAGIC, self._session, number, self.first, self.last, self.events, previous, attempt := secrets.token_bytes(16)))
        key = subkey(secret, "segment", attempt)
        last = len(self._pieces) - 1
        sealed = (key.encrypt(_nonce(i, i == last), piece, head) for i, piece in enumerate(self._pieces))
        data = b"".join([frame(head), *map(frame, sealed)])
        replace(segment_path(folder, number), data)  # its name is synced too: the spool may go now
        self._reset()
        return sha256(data).digest()


def read_head(fd: int) -> tuple[Head, bytes]:
    """A segment's head, and its exact bytes. Raises `VerificationError`."""
    for _, body in frames(fd):
        head = _decode_head(body)
        if head.magic == _MAGIC:
            return head, body
        break
    raise VerificationError("this is not a segment of this version")


def read_events(fd: int, secret: bytes) -> Iterator[bytes]:
    """The events of a segment, as stored. Raises `VerificationError` that names the byte where it does not open."""
    decompressor = zstandard.ZstdDecompressor()
    try:
        head, associated = read_head(fd)
        key = subkey(secret, "segment", head.attempt)
        size, found = os.fstat(fd).st_size, 0
        for piece, (offset, body) in enumerate(frames(fd, len(frame(associated)))):
            ends = offset + len(frame(body)) == size
            try:
                packed = key.decrypt(_nonce(piece, ends), body, associated)
                events = decode_pieces(decompressor.decompress(packed, max_output_size=MAX_BODY))
            except (InvalidTag, zstandard.ZstdError, VerificationError):
                raise VerificationError(f"a sealed piece does not open at byte {offset}") from None
            found += len(events)
            yield from events
        if found != head.events:
            raise VerificationError(f"it should hold {head.events} events, it holds {found}")
    except Torn as damage:
        raise VerificationError(str(damage)) from damage


def follow(folder: Path) -> Iterator[tuple[Path, Head, bytes]]:
    """A session's segments in order, with head and SHA-256, for readers that trust the folder (recovery, replay).
    Raises `VerificationError` when they do not follow one another."""
    number, previous = 0, FIRST_PREVIOUS
    while (path := segment_path(folder, number)).exists():
        fd = os.open(path, os.O_RDONLY)
        try:
            head, _ = read_head(fd)
        except Torn as damage:
            raise VerificationError(f"{path.name}: {damage}") from damage
        finally:
            os.close(fd)
        if head.number != number or head.previous != previous:
            raise VerificationError(f"{path.name} does not follow the segment before it")
        previous = sha256_file(path)
        yield path, head, previous
        number += 1


def sha256_file(path: Path) -> bytes:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.digest()
