"""The spool: one append-only file that takes every session's entries and events, so that one fdatasync serves all.

A file begins with a frame that holds its random id; then each frame is one session's batch: journal entries in clear,
recorded events sealed with AES-256-GCM under a key of that session and file. The nonce is the batch's offset: a file is
never written again once it was read back, so none repeats. A file goes when all that it holds lies in session folders.
"""

from __future__ import annotations

import os
import secrets
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock.errors import EvidenceError, VerificationError

from .disk import Torn, frame, frames, read_frame, sync_folder, write_all
from .event import decode_pieces, encode, reader
from .keys import subkey

_MAGIC = "interlock spool 1"


class _Head(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    magic: str
    id: bytes


class _Batch(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    session: str
    entries: list[bytes]
    box: bytes


_decode_head = reader(msgspec.msgpack.Decoder(_Head).decode, "the head of a spool file")
_decode_batch = reader(msgspec.msgpack.Decoder(_Batch).decode, "a batch of a spool file")


@dataclass(frozen=True, slots=True)
class Batch:
    """What one session gathered between two flushes; `events` is None where the session's secret is gone."""

    entries: list[bytes]
    events: list[bytes] | None


def spool_key(secret: bytes, spool_id: bytes) -> AESGCM:
    return subkey(secret, "spool", spool_id)


def _nonce(offset: int) -> bytes:
    return offset.to_bytes(12, "big")


class Spool:
    """One spool file. `index` maps each session to the offsets of its batches (8 bytes each); `torn` says where and why
    reading stopped, empty for a whole file; `damaged` that it was not at a torn end, as a crash leaves it."""

    def __init__(self, path: Path, fd: int, spool_id: bytes, size: int) -> None:
        self.path = path
        self.fd = fd
        self.id = spool_id
        self.size = size
        self.index: dict[str, array[int]] = {}
        self.torn = ""
        self.damaged = False
        self._unwritten: list[bytes] = []
        self._closing = Lock()  # one thread syncs while another may remove the file
        self._written = self._synced = 0

    # -- writing ---------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path) -> Spool:
        """Start a new file. Raises `OSError`."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        spool = cls(path, fd, secrets.token_bytes(16), 0)
        head = frame(encode(_Head(_MAGIC, spool.id)))
        write_all(fd, head)
        spool.size = len(head)
        return spool

    def add(self, session: str, entries: list[bytes], events: list[bytes], key: AESGCM) -> None:
        """Seal one batch; `write` hands it to the operating system."""
        box = key.encrypt(_nonce(self.size), encode(events), session.encode()) if events else b""
        record = frame(encode(_Batch(session, entries, box)))
        self.index.setdefault(session, array("Q")).append(self.size)
        self._unwritten.append(record)
        self.size += len(record)

    def write(self) -> bool:
        """Write what was added, in one go (page cache); whether there was any. Raises `OSError`: then the file's end is not
        to be trusted."""
        if not self._unwritten:
            return False
        data = b"".join(self._unwritten)
        self._unwritten.clear()
        write_all(self.fd, data)
        self._written = self.size
        return True

    def sync(self) -> None:
        """Make what was written durable; nothing to do once the file was archived and removed. Raises `OSError`."""
        with self._closing:
            written = self._written
            if self.fd >= 0 and written > self._synced:
                os.fdatasync(self.fd)
                if not self._synced:
                    sync_folder(self.path.parent)
                self._synced = written

    # -- reading ---------------------------------------------------------------------------------------

    @classmethod
    def scan(cls, path: Path) -> Spool:
        """Open a file that a crash left behind, and index it up to where it is torn. Raises `OSError`, `EvidenceError`."""
        fd = os.open(path, os.O_RDONLY)
        spool = cls(path, fd, b"", os.fstat(fd).st_size)
        try:
            for offset, body in frames(fd):
                if offset == 0:
                    spool.id = _read_head(path, body)
                else:
                    spool.index.setdefault(_decode_batch(body).session, array("Q")).append(offset)
        except (Torn, VerificationError) as damage:
            spool.torn = f"{path.name}: {damage}"
            spool.damaged = not (isinstance(damage, Torn) and damage.tail)
        return spool

    def batches(self, session: str, secret: bytes | None, offsets: array[int] | None = None) -> Iterator[Batch]:
        """One session's batches in order. Raises `VerificationError` for a box that does not open, `OSError`."""
        key = spool_key(secret, self.id) if secret is not None else None
        for offset in self.index.get(session, ()) if offsets is None else offsets:
            try:
                body = read_frame(self.fd, offset)
            except Torn as damage:
                raise VerificationError(f"{self.path.name}: {damage}") from damage
            batch = _decode_batch(body or b"")
            events: list[bytes] | None = []
            if batch.box:
                events = decode_pieces(_open_box(key, offset, batch, self.path)) if key else None
            yield Batch(batch.entries, events)

    def reopen(self) -> Spool:
        """Another view of the same file with its own descriptor: readable even after the file was removed."""
        twin = Spool(self.path, os.open(self.path, os.O_RDONLY), self.id, self.size)
        twin.index = {session: array("Q", offsets) for session, offsets in list(self.index.items())}
        return twin

    def close(self) -> None:
        with self._closing:
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)


def _read_head(path: Path, body: bytes) -> bytes:
    try:
        head = _decode_head(body)
    except VerificationError:
        head = _Head("", b"")
    if head.magic != _MAGIC or len(head.id) != 16:
        raise EvidenceError(f"{path} is not a spool file of this version")
    return head.id


def _open_box(key: AESGCM, offset: int, batch: _Batch, path: Path) -> bytes:
    try:
        return key.decrypt(_nonce(offset), batch.box, batch.session.encode())
    except InvalidTag:
        pass
    raise VerificationError(f"{path.name}: the recording of {batch.session} at byte {offset} does not open")
