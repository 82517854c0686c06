"""A session's folder as it grows: the journal in clear, segments of the recording, and in the end the seal.

Everything comes here from the spool, live, at close and at recovery by the same code. Taking the same batch twice changes
nothing: what has a number that is already in the folder is skipped. Used from one thread at a time.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Literal

from interlock import __version__
from interlock.errors import VerificationError

from .disk import Torn, frame, frames, sync_folder, write_all
from .event import FIRST_PREVIOUS, SCHEMA, Tally, decode_entry, decode_event, entry_hash
from .keys import event_salt
from .note import Checkpoint, Signer
from .seal import JOURNAL, JournalSeal, LogSeal, RecordingSeal, Seal, tallied, write_seal
from .segment import SEGMENT_BYTES, SegmentWriter, follow, read_events
from .spool import Spool
from .tree import Tree, leaf_hash

_JOURNAL_BUFFER = 1024 * 1024


class Archive:
    """One session's folder. `secret` is None once its key was shredded: then no more of the recording can be kept."""

    def __init__(self, folder: Path, session: str, secret: bytes | None) -> None:
        self.folder = folder
        self.tally = Tally()
        self.head = FIRST_PREVIOUS
        self.last_entry = self.last_event = -1
        self._session = session
        self._secret = secret
        self._entries = self._events = self._segments = 0
        self._content = Tree()
        self._storage = Tree()
        self._previous = FIRST_PREVIOUS
        self._writer = SegmentWriter(session)
        self._journal = bytearray()
        self._lost_key = secret is None

    @classmethod
    def resume(cls, folder: Path, session: str, secret: bytes | None) -> Archive:
        """Go on where a crash stopped: cut the journal's torn end, forget half-written files, count what is there.
        Raises `VerificationError` when the folder was changed, `OSError`."""
        archive = cls(folder, session, secret)
        if not folder.exists():
            return archive
        for part in folder.glob("*.part"):
            part.unlink()
        archive._resume_journal()
        for path, head, digest in follow(folder):
            archive._segments, archive._previous = head.number + 1, digest
            archive._storage.append(leaf_hash(digest))
            archive.last_event = head.last
            archive._events += head.events
            if secret is not None:
                archive._resume_events(path, secret)
        return archive

    def _resume_journal(self) -> None:
        try:
            fd = os.open(self.folder / JOURNAL, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            for _, entry in frames(fd):
                self._count_entry(entry)
        except Torn as damage:
            if not damage.tail:
                raise VerificationError(f"{JOURNAL} of session {self._session}: {damage}") from damage
            os.ftruncate(fd, damage.offset)
        finally:
            os.close(fd)

    def _resume_events(self, path: Path, secret: bytes) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            for event in read_events(fd, secret):
                self._content.append(leaf_hash(event_salt(secret, decode_event(event).seq) + event))
        finally:
            os.close(fd)

    @property
    def next_seq(self) -> int:
        return max(self.last_entry, self.last_event) + 1

    # -- taking ----------------------------------------------------------------------------------------

    def take(self, spool: Spool) -> None:
        """Take over what a spool file holds of this session. Raises `OSError`, `VerificationError`."""
        for batch in spool.batches(self._session, self._secret):
            for entry in batch.entries:
                self.take_entry(entry)
            if batch.events is None:
                self._lost_key = True
                continue
            for event in batch.events:
                self._take_event(event)

    def take_entry(self, entry: bytes) -> None:
        if self._count_entry(entry):
            self._journal += frame(entry)
            if len(self._journal) >= _JOURNAL_BUFFER:
                self._write_journal()

    def _count_entry(self, data: bytes) -> bool:
        entry = decode_entry(data)
        if entry.seq <= self.last_entry:
            return False
        self.last_entry = entry.seq
        self._entries += 1
        self.head = entry_hash(data)
        self.tally.add(entry.kind, entry.facts, entry.at)
        return True

    def _take_event(self, data: bytes) -> None:
        seq = decode_event(data).seq
        if seq <= self.last_event or self._secret is None:
            return
        self.last_event = seq
        self._events += 1
        self._content.append(leaf_hash(event_salt(self._secret, seq) + data))
        self._writer.add(seq, data)
        if self._writer.size >= SEGMENT_BYTES:
            self._write_segment(self._secret)

    # -- writing ---------------------------------------------------------------------------------------

    def spill(self) -> None:
        """Make everything that was taken durable in the folder. Raises `OSError`."""
        if self._secret is not None and self._writer.events:
            self._write_segment(self._secret)
        self._write_journal()

    def _write_segment(self, secret: bytes) -> None:
        self._make_folder()
        self._previous = self._writer.write(self.folder, self._segments, self._previous, secret)
        self._storage.append(leaf_hash(self._previous))
        self._segments += 1

    def _write_journal(self) -> None:
        if not self._journal:
            return
        self._make_folder()
        fd = os.open(self.folder / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            write_all(fd, bytes(self._journal))
            os.fsync(fd)
        finally:
            os.close(fd)
        self._journal.clear()

    def _make_folder(self) -> None:
        if not self.folder.exists():
            self.folder.mkdir(mode=0o750)
            sync_folder(self.folder.parent)

    def seal(self, state: Literal["sealed", "recovered"], gaps: list[str], log: Checkpoint, signer: Signer) -> tuple[Seal, str]:
        """Spill, then seal the folder: the seal, and the SHA-256 of `seal.json` (hex). Raises `OSError`."""
        self.spill()
        self._make_folder()
        if (missing := self.next_seq - self._entries - self._events) > 0:
            gaps = [*gaps, f"{missing} of {self.next_seq} entries and events are missing"]
        if self._lost_key:
            gaps = [*gaps, "the key of the recording was shredded before the session was sealed"]
        seal = Seal(
            schema=SCHEMA,
            session=self._session,
            state=state,
            journal=JournalSeal(self._entries, self.head.hex()),
            recording=RecordingSeal(
                self._events,
                None if self._lost_key else self._content.root().hex(),
                self._segments,
                self._storage.root().hex(),
            ),
            gaps=gaps,
            gateway=f"interlock {__version__}",
            log=LogSeal(log.origin, log.size, log.root.hex()),
            **tallied(self.tally),
        )
        return seal, sha256(write_seal(self.folder, seal, signer)).hexdigest()
