"""`Evidence`: the recorder of one gateway process. Appending is cheap and in memory; `Writer` brings it to the disk.

```
note, record ─▶ per session: entries in clear, events ─flush─▶ spool ─commit─▶ fdatasync, shared by all who wait
                                                                  │ 64 MB, 60 s, close
                                                                  ▼
                                               sessions/<id>/: journal.msgpack, 000000.seg …, seal.json ─▶ log/
```
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from interlock.errors import EvidenceError
from interlock.exchange import Session

from .disk import replace
from .event import SCHEMA, Direction, Entry, Event, encode, entry_hash, last_word
from .index import ROSTER_LIMIT, Index, SessionSummary, summarize
from .keys import Keys, check_id
from .log import Log, Roster
from .recover import discard, lock, recover
from .replay import Moment, Renderer, replay
from .seal import Seal
from .writer import Live, Writer

GATHER_BYTES = 1024 * 1024
"""What may wait in memory for a flush; more is flushed at once."""
MAX_EVENT = 64 * 1024 * 1024
"""Bytes of one recorded piece, or of one journal entry."""
MIN_FREE_BYTES = 64 * 1024 * 1024
"""Free space below which no session is opened, so that open ones can still be closed."""


class Evidence:
    """Journal, recording, seals and log of one gateway process; made by `Evidence.start`.

    Any write error ends it for good: `failed` tells why and every later call raises `EvidenceError`.
    Not safe for threads: call it from the event loop that started it.
    """

    def __init__(self, folder: Path, keys: Keys, clock: Callable[[], float]) -> None:
        self.folder = folder
        self._keys = keys
        self._clock = clock
        self._live: dict[str, Live] = {}
        self._dirty: dict[str, Live] = {}
        self._gathered = 0
        self._closing: dict[str, asyncio.Task[Seal]] = {}
        self._roster = Roster(ROSTER_LIMIT)
        self._index = Index(folder / "sessions", self._roster)
        self._log = Log(folder / "log", keys)
        self._writer = Writer(folder, keys, self._log, clock)
        self._lock = -1

    @property
    def failed(self) -> str:
        """Why nothing can be recorded any more; empty while all is well."""
        return self._writer.failed

    # -- begin and end ---------------------------------------------------------------------------------

    @classmethod
    async def start(cls, folder: Path, keys: Keys, *, clock: Callable[[], float] = time.time) -> Evidence:
        """Open `folder` for this process: recover what a crash left open, begin a fresh spool, log the start.

        `clock` gives UTC seconds. Raises `EvidenceError` when the folder is taken, cannot be written, or was rolled back.
        """
        evidence = cls(folder, keys, clock)
        try:
            await asyncio.to_thread(evidence._begin)
        except BaseException:
            evidence._let_go()
            raise
        return evidence

    def _begin(self) -> None:
        try:
            for name in ("spool", "sessions", "log"):
                (self.folder / name).mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = lock(self.folder)
            replace(self.folder / "public.key", f"{self._keys.signer.verifier}\n".encode(), mode=0o644)
            self._log.load(self._roster.add)
            self._log.sign(self._log.head())
            done = recover(self.folder, self._keys, self._log, self._roster, self._clock())
            self._log.append("gateway-start", self._clock(), {})
            self._log.write()
            self._log.sign(self._log.head())
            discard(done)
            self._writer.begin()
        except OSError as error:
            raise EvidenceError(f"the evidence folder {self.folder} cannot be used: {error}") from error

    async def stop(self) -> None:
        """Close every session, archive, sign the log, and let go of the folder. After a failure: only let go."""
        failed: BaseException | None = None
        try:
            if not self.failed:
                for session_id in list(self._live):
                    await self.close(session_id, "the gateway stopped")
                await asyncio.gather(*self._closing.values())
                self.publish("gateway-stop", {})
                await self.commit()
        except EvidenceError:
            pass  # `self.failed` tells; what is in the spool is recovered at the next start
        except BaseException as error:
            failed = error
        await asyncio.to_thread(self._let_go)
        if failed is not None:
            raise failed

    def _let_go(self) -> None:
        self._writer.end()
        self._log.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self._writer.failed = self.failed or "the evidence recorder was stopped"

    # -- sessions --------------------------------------------------------------------------------------

    def open(self, session: Session, facts: Mapping[str, object]) -> None:
        """Begin a session's journal and recording. Durable, with its log leaf, after the next `commit`.
        Raises `EvidenceError`."""
        self._writer.check()
        try:
            room = os.statvfs(self.folder)
        except OSError as error:
            self._writer.fail(error)
        if room.f_bavail * room.f_frsize < MIN_FREE_BYTES:
            raise EvidenceError("the disk for evidence is almost full: no session can begin")
        if session.id in self._live or (self.folder / "sessions" / check_id(session.id)).exists():
            raise EvidenceError(f"there is a session {session.id} already")
        live = self._live[session.id] = self._writer.open(session)
        self.note(session.id, "open", {**facts, **_opening(session)})
        leaf = {"session": session.id, "entry": live.head.hex()}
        self._leaf("open", leaf)
        self._roster.add({"kind": "open", **leaf})

    def note(self, session_id: str, kind: str, facts: Mapping[str, object]) -> None:
        """Append a journal entry: plain facts, no literals, no data. `intent`, `held` and `outcome` carry `exchange`.
        Raises `EvidenceError`."""
        self._writer.check()
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
            self._writer.check()
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
            self._writer.check()
            live = self._of(session_id)
            for exchange, stage in list(live.tally.unsettled.items()):
                self.note(session_id, "outcome", last_word(exchange, stage, "the session ended first"))
            self.note(session_id, "close", {"reason": reason})
            self.flush()
            del self._live[session_id]
            self._index.hold(_summary(live))
            closing = self._closing[session_id] = asyncio.ensure_future(self._close(session_id))
            closing.add_done_callback(lambda _: self._closing.pop(session_id, None))
        return await asyncio.shield(closing)

    async def _close(self, session_id: str) -> Seal:
        seal, digest = await self._writer.seal(session_id)
        ending = {"session": session_id, "head": seal.journal.head, "seal": digest}
        self._leaf("close", ending)
        self._roster.add({"kind": "close", **ending})
        self._index.release(session_id)
        await self.commit()
        return seal

    # -- to the disk -----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand all that gathered to the operating system: it survives the death of this process. Raises `EvidenceError`."""
        dirty, self._dirty, self._gathered = self._dirty, {}, 0
        self._writer.flush(dirty.values())

    async def commit(self) -> None:
        """Flush, and wait until that is on disk. Raises `EvidenceError`."""
        self.flush()
        await self._writer.commit()

    # -- reading ---------------------------------------------------------------------------------------

    def sessions(self, limit: int = 100) -> list[SessionSummary]:
        """The newest sessions first, live ones too, at most `limit` (and never more than the newest 10,000)."""
        return self._index.newest(limit, self._live_line)

    def session(self, session_id: str) -> SessionSummary:
        """One session, however old. Raises `EvidenceError` when there is none of this id."""
        found = self._index.one(check_id(session_id), self._live_line)
        if found is None:
            raise EvidenceError(f"there is no session {session_id}")
        return found

    def _live_line(self, session_id: str) -> SessionSummary | None:
        live = self._live.get(session_id)
        return _summary(live) if live else None

    def timeline(self, session_id: str, renderers: Mapping[str, Renderer], *, after: int = -1) -> Iterator[Moment]:
        """What happened and what passed, in order, live sessions too; `renderers` turn recorded bytes into lines, by protocol.
        With `after`, only what is numbered higher (`Moment.seq`): for pages, and for following a live session.
        Publish a `viewed` leaf before you show it. Raises `EvidenceError` (no such session) or `VerificationError`."""
        if session_id in self._live:
            self.flush()
        folder = self.folder / "sessions" / check_id(session_id)
        return replay(folder, session_id, self._keys.secret(session_id), self._writer.spools, renderers, after)

    # -- the global log --------------------------------------------------------------------------------

    def publish(self, kind: str, facts: Mapping[str, object]) -> None:
        """Add a leaf to the global log, durable after the next `commit`: `policy-change`, `viewed`, … Ids and hashes only,
        nothing personal: leaves are never deleted. Raises `EvidenceError`."""
        self._writer.check()
        self._leaf(kind, facts)

    async def shred(self, session_id: str, by: str, reason: str) -> None:
        """Destroy the key of a closed session's recording, for good, and log that. Its integrity can still be verified.
        Raises `EvidenceError` when the session is open or has no key any more."""
        self._writer.check()
        if session_id in self._live or session_id in self._closing:
            raise EvidenceError(f"session {session_id} is still open")
        try:
            if not self._keys.shred(session_id):
                raise EvidenceError(f"there is no key of a session {session_id}")
        except OSError as error:
            self._writer.fail(error)
        self._leaf("key-shredded", {"session": session_id, "by": by, "reason": reason})
        await self.commit()

    # -- small -----------------------------------------------------------------------------------------

    def _leaf(self, kind: str, facts: Mapping[str, object]) -> None:
        self._log.append(kind, self._clock(), facts)

    def _gather(self, live: Live, size: int) -> None:
        self._dirty[live.session.id] = live
        self._gathered += size
        if self._gathered >= GATHER_BYTES:
            self.flush()

    def _of(self, session_id: str) -> Live:
        live = self._live.get(session_id)
        if live is None:
            raise EvidenceError(f"there is no open session {session_id}")
        return live


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


def _summary(live: Live) -> SessionSummary:
    return summarize(live.session.id, "live", live.tally)
