"""`Evidence`: the recorder of one gateway process. The hot path appends; one thread syncs; one thread archives.

```
note, record ─▶ per session: entries in clear, events ─flush─▶ spool (page cache) ─commit─▶ fdatasync, shared by all who wait
                                                                  │ 64 MB, 60 s, close
                                                                  ▼ archivist thread
                                               sessions/<id>/: journal.msgpack, 000000.seg …, seal.json ─▶ log/
```

Any write error ends the recorder for good: `failed` tells why and every later call raises `EvidenceError`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock.errors import EvidenceError
from interlock.exchange import Session

from .archive import Archive
from .disk import replace, sync_folder
from .event import FIRST_PREVIOUS, SCHEMA, Direction, Entry, Event, Tally, encode, entry_hash
from .index import ROSTER_LIMIT, Index, SessionSummary, summarize
from .keys import Keys, check_id
from .log import Log, Roster
from .note import Checkpoint
from .recover import discard, lock, recover
from .replay import Moment, Renderer, replay
from .seal import Seal
from .spool import Spool, spool_key

GATHER_BYTES = 1024 * 1024
"""What may wait in memory for a flush; more is flushed at once."""
MAX_EVENT = 64 * 1024 * 1024
"""Bytes of one recorded piece."""
SPOOL_BYTES = 64 * 1024 * 1024
SPOOL_SECONDS = 60.0
"""A spool file is archived at this size or age, whichever comes first (age is looked at when something is flushed)."""
MAX_BACKLOG = 4
"""Spool files that wait to be archived; beyond, the recorder holds the gateway back."""
BACKLOG_SECONDS = 30.0
MIN_FREE_BYTES = 64 * 1024 * 1024
"""Free space below which no session is opened, so that open ones can still be closed."""


class _Live:
    """An open session, on the gateway's side."""

    __slots__ = ("session", "secret", "seq", "head", "tally", "entries", "events", "key", "key_of")

    def __init__(self, session: Session, secret: bytes) -> None:
        self.session = session
        self.secret = secret
        self.seq = 0
        self.head = FIRST_PREVIOUS
        self.tally = Tally()
        self.entries: list[bytes] = []
        self.events: list[bytes] = []
        self.key: AESGCM | None = None
        self.key_of = b""

    def spool_key(self, spool: Spool) -> AESGCM:
        if self.key is None or self.key_of != spool.id:
            self.key, self.key_of = spool_key(self.secret, spool.id), spool.id
        return self.key


class Evidence:
    """Journal, recording, seals and log of one gateway process; made by `Evidence.start`.

    Not safe for threads: call it from the event loop that started it.
    """

    def __init__(self, folder: Path, keys: Keys, clock: Callable[[], float]) -> None:
        self.folder = folder
        self.failed = ""
        self._keys = keys
        self._clock = clock
        self._live: dict[str, _Live] = {}
        self._dirty: dict[str, _Live] = {}
        self._gathered = 0
        self._roster = Roster(ROSTER_LIMIT)
        self._index = Index(folder / "sessions", self._roster)
        self._key_files: list[Path] = []
        self._unsigned: Checkpoint | None = None
        self._written = self._durable = 0
        self._syncing: asyncio.Task[None] | None = None
        self._closing: dict[str, asyncio.Task[Seal]] = {}
        self._archives: dict[str, Archive] = {}
        self._spool_number = 0
        self._spools: list[Spool] = []
        self._archiving: list[Future[None]] = []
        self._syncer = ThreadPoolExecutor(1, "evidence-sync")
        self._archivist = ThreadPoolExecutor(1, "evidence-archive")

    # -- begin and end ---------------------------------------------------------------------------------

    @classmethod
    async def start(cls, folder: Path, keys: Keys, *, clock: Callable[[], float] = time.time) -> Evidence:
        """Open `folder` for this process: recover what a crash left open, begin a fresh spool, log the start.

        `clock` gives UTC seconds. Raises `EvidenceError` when the folder is taken, cannot be written, or was rolled back.
        """
        evidence = cls(folder, keys, clock)
        await asyncio.get_running_loop().run_in_executor(evidence._archivist, evidence._begin)
        return evidence

    def _begin(self) -> None:
        try:
            for name in ("spool", "sessions", "log"):
                (self.folder / name).mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = lock(self.folder)
            replace(self.folder / "public.key", f"{self._keys.signer.verifier}\n".encode(), mode=0o644)
            self._log = Log.open(self.folder / "log", self._keys, self._roster.add)
            recover(self.folder, self._keys, self._log, self._roster, self._clock())
            self._log.append("gateway-start", self._clock(), {})
            self._log.write()
            self._log.sign(self._log.head())
            discard(self.folder)
            self._new_spool()
        except OSError as error:
            raise EvidenceError(f"the evidence folder {self.folder} cannot be used: {error}") from error

    async def stop(self) -> None:
        """Close every session, archive, sign the log, and let go of the folder. After a failure: only let go."""
        if not self.failed:
            try:
                for session_id in list(self._live):
                    await self.close(session_id, "the gateway stopped")
                await asyncio.gather(*self._closing.values())
                self.publish("gateway-stop", {})
                await self.commit()
            except EvidenceError:
                pass  # `failed` tells; what is in the spool is recovered at the next start
        await asyncio.to_thread(self._let_go)

    def _let_go(self) -> None:
        self._syncer.shutdown(wait=True)
        self._archivist.shutdown(wait=True)
        for spool in self._spools:
            spool.close()
            if not self.failed and not spool.index:
                spool.remove()
        self._log.close()
        os.close(self._lock)
        self.failed = self.failed or "the evidence recorder was stopped"

    # -- sessions --------------------------------------------------------------------------------------

    def open(self, session: Session, facts: Mapping[str, object]) -> None:
        """Begin a session's journal and recording. Durable, with its log leaf, after the next `commit`.
        Raises `EvidenceError`."""
        self._check()
        try:
            room = os.statvfs(self.folder)
            if room.f_bavail * room.f_frsize < MIN_FREE_BYTES:
                raise EvidenceError("the disk for evidence is almost full: no session can begin")
            if session.id in self._live or (self.folder / "sessions" / check_id(session.id)).exists():
                raise EvidenceError(f"there is a session {session.id} already")
            secret, key_file = self._keys.create_secret(session.id)
        except OSError as error:
            self._fail(error)
        self._key_files.append(key_file)
        self._archives[session.id] = Archive(self.folder / "sessions" / session.id, session.id, secret)
        live = self._live[session.id] = _Live(session, secret)
        self.note(session.id, "open", {**facts, **_opening(session)})
        leaf = {"session": session.id, "entry": live.head.hex()}
        self._leaf("open", leaf)
        self._roster.add({"kind": "open", **leaf})

    def note(self, session_id: str, kind: str, facts: Mapping[str, object]) -> None:
        """Append a journal entry: plain facts, no literals, no data. `intent`, `held` and `outcome` carry `exchange`.
        Raises `EvidenceError`."""
        self._check()
        live = self._of(session_id)
        at = int(self._clock() * 1e9)
        try:
            entry = encode(Entry(SCHEMA, live.seq, at, kind, facts if type(facts) is dict else dict(facts), live.head))
        except (TypeError, OverflowError, msgspec.MsgspecError) as error:
            raise EvidenceError(f"a journal entry of kind {kind} cannot be encoded: {error}") from error
        if len(entry) > MAX_EVENT:
            raise EvidenceError(f"a journal entry has more than {MAX_EVENT} bytes")
        live.seq += 1
        live.head = entry_hash(entry)
        live.entries.append(entry)
        live.tally.add(kind, facts, at)
        self._gather(live, len(entry))
        if kind == "approval":
            self._leaf("approval", {"session": session_id, "entry": live.head.hex()})

    def record(self, session_id: str, direction: Direction, exchange: int, data: bytes) -> None:
        """Append to the recording: what passed, sealed before it touches the disk. Raises `EvidenceError`."""
        if self.failed:
            self._check()
        live = self._of(session_id)
        if len(data) > MAX_EVENT:
            raise EvidenceError(f"a recorded piece has {len(data)} bytes, the limit is {MAX_EVENT}")
        live.events.append(encode(Event(SCHEMA, live.seq, int(self._clock() * 1e9), direction, exchange, data)))
        live.seq += 1
        self._gather(live, len(data) + 32)

    def head(self, session_id: str) -> str:
        """The SHA-256 of the session's newest journal entry (hex), which chains to all before: for receipts."""
        return self._of(session_id).head.hex()

    async def close(self, session_id: str, reason: str) -> Seal:
        """End a session: archive and seal it, and log that. Raises `EvidenceError`."""
        closing = self._closing.get(session_id)
        if closing is None:
            self._check()
            live = self._of(session_id)
            for exchange in list(live.tally.unsettled):
                self.note(session_id, "outcome", {"exchange": exchange, "outcome": "unknown", "detail": "the session ended first"})
            self.note(session_id, "close", {"reason": reason})
            self.flush()
            del self._live[session_id]
            self._index.hold(_summary(live))
            closing = self._closing[session_id] = asyncio.ensure_future(self._close(session_id))
            closing.add_done_callback(lambda _: self._closing.pop(session_id, None))
        return await asyncio.shield(closing)

    async def _close(self, session_id: str) -> Seal:
        try:
            seal, digest = await asyncio.get_running_loop().run_in_executor(self._archivist, self._seal, session_id)
        except Exception as error:
            self._fail(error)
        self._leaf("close", ending := {"session": session_id, "head": seal.journal.head, "seal": digest})
        self._roster.add({"kind": "close", **ending})
        self._index.release(session_id)
        await self.commit()
        return seal

    # -- to the disk -----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand all that gathered to the operating system: it survives the death of this process. Raises `EvidenceError`."""
        self._check()
        try:
            if self._dirty:
                for session_id, live in self._dirty.items():
                    self._spool.add(session_id, live.entries, live.events, live.spool_key(self._spool))
                    live.entries, live.events = [], []
                self._dirty.clear()
                self._gathered = 0
                self._spool.write()
                self._written += 1
            if self._log.write():
                self._unsigned = self._log.head()
                self._written += 1
            if self._spool.size >= SPOOL_BYTES or (self._spool.index and self._clock() - self._spool_began >= SPOOL_SECONDS):
                self._rotate()
        except Exception as error:
            self._fail(error)

    async def commit(self) -> None:
        """Flush, and wait until that is on disk: one fdatasync at a time, shared by all who came meanwhile.
        Raises `EvidenceError`."""
        self.flush()
        target = self._written
        while self._durable < target:
            if self._syncing is None:
                self._syncing = asyncio.ensure_future(self._sync())
            await asyncio.shield(self._syncing)
        self._check()

    async def _sync(self) -> None:
        covers, head = self._written, self._unsigned
        key_files, self._key_files = self._key_files, []
        self._unsigned = None
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._syncer, self._make_durable, list(self._spools), key_files, head)
            self._durable = covers
        except Exception as error:
            self._fail(error)
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

    def _new_spool(self) -> None:
        self._spool_number += 1
        self._spool = Spool.create(self.folder / "spool" / f"{self._spool_number:06}.spool")
        self._spool_began = self._clock()
        self._spools.append(self._spool)

    def _rotate(self) -> None:
        full = self._spool
        self._new_spool()
        job = self._archivist.submit(self._archive, full)
        job.add_done_callback(self._archived)
        self._archiving = [each for each in self._archiving if not each.done()] + [job]
        if len(self._archiving) > MAX_BACKLOG:
            try:
                self._archiving[0].result(BACKLOG_SECONDS)
            except Exception as error:
                self._fail(error)

    # -- in the archivist's thread -----------------------------------------------------------------------

    def _archive(self, spool: Spool) -> None:
        """Move what a full spool file holds into the folders of its sessions, then remove it."""
        for session_id in list(spool.index):
            self._archives[session_id].take(spool)
            self._archives[session_id].spill()
        self._spools.remove(spool)
        spool.remove()

    def _seal(self, session_id: str) -> tuple[Seal, str]:
        archive = self._archives[session_id]
        for spool in list(self._spools):
            archive.take(spool)
        sealed = archive.seal("sealed", [], self._keys.signer)
        for spool in list(self._spools):
            spool.index.pop(session_id, None)
        del self._archives[session_id]
        return sealed

    def _archived(self, job: Future[None]) -> None:
        if not job.cancelled() and (error := job.exception()) is not None:
            self.failed = self.failed or f"evidence cannot be archived: {error}"

    # -- reading ---------------------------------------------------------------------------------------

    def sessions(self, limit: int = 100) -> list[SessionSummary]:
        """The newest sessions first, live ones too, at most `limit` (and never more than the newest 10,000)."""
        return self._index.newest(limit, lambda session_id: _summary(live) if (live := self._live.get(session_id)) else None)

    def timeline(self, session_id: str, renderers: Mapping[str, Renderer]) -> Iterator[Moment]:
        """What happened and what passed, in order, live sessions too; `renderers` turn recorded bytes into lines, by protocol.
        Publish a `viewed` leaf before you show it. Raises `EvidenceError` (no such session) or `VerificationError`."""
        if session_id in self._live:
            self.flush()
        return replay(self.folder / "sessions" / check_id(session_id), session_id, self._keys.secret(session_id), self._spools, renderers)

    # -- the global log --------------------------------------------------------------------------------

    def publish(self, kind: str, facts: Mapping[str, object]) -> None:
        """Add a leaf to the global log, durable after the next `commit`: `policy-change`, `viewed`, … Ids and hashes only,
        nothing personal: leaves are never deleted. Raises `EvidenceError`."""
        self._check()
        self._leaf(kind, facts)

    async def shred(self, session_id: str, by: str, reason: str) -> None:
        """Destroy the key of a closed session's recording, for good, and log that. Its integrity can still be verified.
        Raises `EvidenceError` when the session is open or has no key any more."""
        self._check()
        if session_id in self._live or session_id in self._closing:
            raise EvidenceError(f"session {session_id} is still open")
        try:
            if not self._keys.shred(session_id):
                raise EvidenceError(f"there is no key of a session {session_id}")
        except OSError as error:
            self._fail(error)
        self._leaf("key-shredded", {"session": session_id, "by": by, "reason": reason})
        await self.commit()

    # -- small -----------------------------------------------------------------------------------------

    def _leaf(self, kind: str, facts: Mapping[str, object]) -> None:
        self._log.append(kind, self._clock(), facts)

    def _gather(self, live: _Live, size: int) -> None:
        self._dirty[live.session.id] = live
        self._gathered += size
        if self._gathered >= GATHER_BYTES:
            self.flush()

    def _of(self, session_id: str) -> _Live:
        try:
            return self._live[session_id]
        except KeyError:
            raise EvidenceError(f"there is no open session {session_id}") from None

    def _check(self) -> None:
        if self.failed:
            raise EvidenceError(self.failed)

    def _fail(self, error: BaseException) -> NoReturn:
        self.failed = self.failed or f"evidence cannot be written: {getattr(error, 'strerror', None) or error or type(error).__name__}"
        raise EvidenceError(self.failed) from error


def _opening(session: Session) -> dict[str, object]:
    principal, resource = session.principal, session.resource
    return {
        "principal": principal.id,
        "kind": principal.kind,
        "groups": sorted(principal.groups),
        "owner": principal.on_behalf_of.id if principal.on_behalf_of else "",
        "proof": principal.proof,
        "resource": resource.name,
        "resource_kind": resource.kind,
        "protocol": session.protocol,
        "client": session.client,
        "durability": resource.durability.value,
    }


def _summary(live: _Live) -> SessionSummary:
    return summarize(live.session.id, "live", live.tally)
