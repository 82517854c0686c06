"""Where the recorder meets the disk: the spool, the group commit, and the archivist that fills the session folders.

```
flush   batches ─▶ spool, leaves ─▶ log         the page cache: survives kill -9
commit  ─▶ one fdatasync at a time, in a thread; whoever came meanwhile shares the next (no timer)
rotate  64 MB or 60 s ─▶ archivist thread: segments and journals into the session folders, then the spool file goes
```

The first error is the last: `failed` tells why, and every later call raises `EvidenceError`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock.errors import EvidenceError
from interlock.exchange import Session

from .archive import Archive
from .disk import sync_folder
from .event import FIRST_PREVIOUS, Tally
from .keys import Keys
from .log import Log
from .note import Checkpoint
from .seal import Seal
from .spool import Spool, spool_key

SPOOL_BYTES = 64 * 1024 * 1024
SPOOL_SECONDS = 60.0
"""A spool file is archived at this size or age, whichever comes first (age is looked at when something is flushed)."""
MAX_BACKLOG = 4
"""Spool files that wait to be archived; beyond, the writer holds the gateway back."""
BACKLOG_SECONDS = 30.0
"""How long it holds back before it gives up."""


class Live:
    """An open session: what gathered since the last flush, the head of its journal, and its tally."""

    __slots__ = ("session", "seq", "head", "tally", "entries", "events", "_secret", "_key", "_key_of")

    def __init__(self, session: Session, secret: bytes) -> None:
        self.session = session
        self.seq = 0
        self.head = FIRST_PREVIOUS
        self.tally = Tally()
        self.entries: list[bytes] = []
        self.events: list[bytes] = []
        self._secret = secret
        self._key: AESGCM | None = None
        self._key_of = b""

    def spool_key(self, spool: Spool) -> AESGCM:
        if self._key is None or self._key_of != spool.id:
            self._key, self._key_of = spool_key(self._secret, spool.id), spool.id
        return self._key


class Writer:
    """The writing half of `Evidence`. Called from the event loop; its two threads are its own."""

    def __init__(self, folder: Path, keys: Keys, log: Log, clock: Callable[[], float]) -> None:
        self.failed = ""
        self.spools: list[Spool] = []
        self._folder = folder
        self._keys = keys
        self._log = log
        self._clock = clock
        self._archives: dict[str, Archive] = {}
        self._spool_number = 0
        self._written = self._durable = 0
        self._key_files: list[Path] = []
        self._unsigned: Checkpoint | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._archiving: list[Future[None]] = []
        self._syncer = ThreadPoolExecutor(1, "evidence-sync")
        self._archivist = ThreadPoolExecutor(1, "evidence-archive")

    def begin(self) -> None:
        """Start the first spool file. Raises `OSError`."""
        self._spool_number += 1
        self._spool = Spool.create(self._folder / "spool" / f"{self._spool_number:06}.spool")
        self._spool_began = self._clock()
        self.spools.append(self._spool)

    def end(self) -> None:
        """Let the threads finish, and remove the spool when nothing in it is needed any more."""
        self._syncer.shutdown(wait=True)
        self._archivist.shutdown(wait=True)
        for spool in self.spools:
            spool.close()
            if not self.failed and not spool.index:
                spool.remove()

    def open(self, session: Session) -> Live:
        """Make the session's secret (durable at the next commit) and expect its batches. Raises `EvidenceError`."""
        try:
            secret, key_file = self._keys.create_secret(session.id)
        except OSError as error:
            self.fail(error)
        self._key_files.append(key_file)
        self._archives[session.id] = Archive(self._folder / "sessions" / session.id, session.id, secret)
        return Live(session, secret)

    # -- to the disk -----------------------------------------------------------------------------------

    def flush(self, dirty: Iterable[Live]) -> None:
        """Hand everything that gathered to the operating system. Raises `EvidenceError`."""
        self.check()
        try:
            for live in dirty:
                self._spool.add(live.session.id, live.entries, live.events, live.spool_key(self._spool))
                live.entries, live.events = [], []
            written = self._spool.write()
            if self._log.write():
                self._unsigned = self._log.head()
                written = True
            self._written += written
            if self._spool.size >= SPOOL_BYTES or (self._spool.index and self._clock() - self._spool_began >= SPOOL_SECONDS):
                self._rotate()
        except Exception as error:
            self.fail(error)

    async def commit(self) -> None:
        """Wait until all that was flushed is on disk. Raises `EvidenceError`."""
        target = self._written
        while self._durable < target:
            self.check()
            if self._syncing is None:
                self._syncing = asyncio.ensure_future(self._sync())
            await asyncio.shield(self._syncing)
        self.check()

    async def _sync(self) -> None:
        covers, head, key_files = self._written, self._unsigned, self._key_files
        self._unsigned, self._key_files = None, []
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._syncer, self._make_durable, list(self.spools), key_files, head)
            self._durable = covers
        except Exception as error:
            self.fail(error)
        finally:
            self._syncing = None

    def _make_durable(self, spools: list[Spool], key_files: list[Path], head: Checkpoint | None) -> None:
        for path in key_files:
            fd = os.open(path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        if key_files:
            sync_folder(key_files[0].parent)
        for spool in spools:
            spool.sync()
        if head is not None:
            self._log.sign(head)

    # -- into the session folders ------------------------------------------------------------------------

    async def seal(self, session_id: str) -> tuple[Seal, str]:
        """Archive and seal what was flushed of a session: the seal, and the SHA-256 of its file. Raises `EvidenceError`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._archivist, self._seal, session_id)
        except Exception as error:
            self.fail(error)

    def _seal(self, session_id: str) -> tuple[Seal, str]:
        archive = self._archives[session_id]
        for spool in list(self.spools):
            archive.take(spool)
        sealed = archive.seal("sealed", [], self._log.signed, self._keys.signer)
        for spool in list(self.spools):
            spool.index.pop(session_id, None)
        del self._archives[session_id]
        return sealed

    def _rotate(self) -> None:
        full = self._spool
        self.begin()
        job = self._archivist.submit(self._archive, full)
        job.add_done_callback(self._archived)
        self._archiving = [each for each in self._archiving if not each.done()] + [job]
        if len(self._archiving) > MAX_BACKLOG:
            self._archiving[0].result(BACKLOG_SECONDS)

    def _archive(self, spool: Spool) -> None:
        """Move what a full spool file holds into the folders of its sessions, then remove it."""
        for session_id in list(spool.index):
            self._archives[session_id].take(spool)
            self._archives[session_id].spill()
        self.spools.remove(spool)
        spool.remove()

    def _archived(self, job: Future[None]) -> None:
        if (error := job.exception()) is not None:
            self.failed = self.failed or f"evidence cannot be archived: {error}"

    # -- failing ---------------------------------------------------------------------------------------

    def check(self) -> None:
        if self.failed:
            raise EvidenceError(self.failed)

    def fail(self, error: BaseException) -> NoReturn:
        """The first error is the last. Raises `EvidenceError`."""
        if not self.failed:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self.failed = f"evidence cannot be written: {why}"
        raise EvidenceError(self.failed) from error
