"""What each database says of itself, kept for all sessions on it and read anew after definitions change.

A catalog is asked for like everything else: as principal `interlock`, through the gate, on a connection of its own,
which is kept from the first change of definitions until the last session on that database ends.
Sessions that are open when a new one is learned get it at once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from interlock.errors import UpstreamError
from interlock.facts.sql.catalog import Catalog, Marks
from interlock.facts.sql.scope import ANYTHING
from interlock.facts.sql.transfers import Transfer, known_marks, land, unite

FRESH_S = 60.0
"""How old a catalog may be when a session opens, in seconds: changes made past the gateway are seen then."""
ABANDONED_MAX = 1_000
"""How many transfers of sessions that ended in the middle are remembered, the latest of each database."""
TRIES = 3
"""How often a reading is tried: an object that is dropped meanwhile, or a connection that was cut, spoils one."""

Key = tuple[str, str]
"""Resource name, and the place inside it (a database)."""


class Reader(Protocol):
    """A connection that reads one database's catalog."""

    async def system(self) -> Catalog:
        """What no user changes. Raises `InterlockError`."""
        ...

    async def user(self, system: Catalog, version: int) -> Catalog:
        """Everything, on top of what `system` said. Raises `InterlockError`."""
        ...

    async def close(self) -> None: ...


class Ledger(Protocol):
    """Keeps what is known of a database's columns beside their names. See `derivations.Derivations`."""

    def marks(self, key: Key) -> Marks: ...
    async def add(self, key: Key, marks: Marks) -> None: ...
    async def seen(self, key: Key, catalog: Catalog) -> None: ...


class Learner:
    """Somebody who wants each new catalog of a database. `deriving` tells what it puts into columns and nobody has learned
    yet, `derived` what of that is committed, with the names whose meaning it changed."""

    def __init__(
        self,
        learn: Callable[[Catalog], None],
        deriving: Callable[[], Sequence[Transfer]] = tuple,
        derived: Callable[[], tuple[Sequence[Transfer], frozenset[str]]] = lambda: ((), frozenset()),
    ) -> None:
        self.learn = learn
        self.deriving = deriving
        self.derived = derived


@dataclass(slots=True)
class _Known:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    system: Catalog | None = None
    catalog: Catalog | None = None
    learned_at: float = 0.0
    reader: Reader | None = None
    sessions: set[Learner] = field(default_factory=set)
    base: Catalog = field(default_factory=Catalog)
    settled: set[int] | None = None
    doubted: set[int] = field(default_factory=set)
    opaque: int = 0
    opaque_settled: int = 0
    abandoned: list[Transfer] = field(default_factory=list)


class Catalogs:
    """`connect` gives a reader of one database; `clock` is monotonic seconds."""

    def __init__(self, connect: Callable[[Key], Awaitable[Reader]], clock: Callable[[], float], ledger: Ledger | None = None) -> None:
        self._ledger = ledger
        self._connect = connect
        self._clock = clock
        self._known: dict[Key, _Known] = {}
        self._versions = itertools.count(1)

    async def get(self, key: Key) -> Catalog:
        """The catalog, at most `FRESH_S` old."""
        known = self._known.setdefault(key, _Known())
        if known.catalog is not None and self._clock() - known.learned_at < FRESH_S:
            return known.catalog
        return await self.relearn(key, whole=True)

    async def relearn(self, key: Key, *, whole: bool = False, learner: Learner | None = None) -> Catalog:
        """A catalog that is younger than this call; `whole`: what no user changes is asked again, too. Concurrent
        callers share one reading. What `learner` has put into columns, and committed, is in force with it."""
        known = self._known.setdefault(key, _Known())
        asked_at = self._clock()
        async with known.lock:
            if known.catalog is None or known.learned_at < asked_at:
                begun, opaque = self._clock(), known.opaque if not _deriving(known, learner) else known.opaque_settled
                if whole:
                    known.system = None
                known.base = await self._read(key, known)
                known.learned_at = begun
                self._doubt(known)
                await self._settle(key, known, learner)
                known.opaque_settled = opaque
                catalog = self._publish(key, known, known.base.version)
            elif learner is not None and learner.deriving():
                await self._settle(key, known, learner)
                catalog = self._publish(key, known, next(self._versions))
            else:
                catalog = known.catalog
            if not known.sessions:
                await _hang_up(known)
            return catalog

    def foretell(self, key: Key) -> None:
        """A session puts something else into columns than before: others see these as what they may become."""
        known = self._known.get(key)
        if known is None or known.catalog is None:
            return
        known.opaque += any(transfer.opaque for session in known.sessions for transfer in session.deriving())
        if self._marks(key, known) != known.catalog.marks:
            self._publish(key, known, next(self._versions))

    def foretell_all(self) -> None:
        """Another process has learned what columns hold."""
        for key in list(self._known):
            self.foretell(key)

    def _publish(self, key: Key, known: _Known, version: int) -> Catalog:
        known.catalog = known.base.derive(self._marks(key, known), version)
        for session in list(known.sessions):
            session.learn(known.catalog)
        return known.catalog

    def _marks(self, key: Key, known: _Known) -> Marks:
        kept = self._ledger.marks(key) if self._ledger is not None else {}
        open_now = known_marks(transfer for session in known.sessions for transfer in session.deriving())
        if not open_now and not known.doubted:
            return kept
        return unite(kept, open_now, {(oid, 0): ANYTHING for oid in known.doubted})

    def _doubt(self, known: _Known) -> None:
        """Relations that were not there before, until it is known who made them of what."""
        if known.settled is not None:
            known.doubted |= known.base.oids - known.settled
        known.settled = set(known.base.oids)
        known.doubted &= known.settled

    async def _settle(self, key: Key, known: _Known, learner: Learner | None) -> None:
        """Put what was committed where it belongs, and account for new relations once nobody else may have made them."""
        done, changed = learner.derived() if learner is not None else ((), frozenset())
        landed = land(done, known.base, known.doubted, changed)
        abandoned = land([one for one in known.abandoned if one.name], known.base, known.doubted, frozenset()) if known.doubted else None
        marks = landed.marks if abandoned is None else unite(landed.marks, abandoned.marks)
        known.doubted -= landed.found
        if landed.elsewhere:
            marks = unite(marks, {(oid, 0): landed.elsewhere for oid in known.doubted})
        if not _deriving(known, learner):
            if known.opaque != known.opaque_settled:
                marks = unite(marks, {(oid, 0): ANYTHING for oid in known.doubted})
            known.doubted.clear()
        if self._ledger is not None:
            await self._ledger.add(key, marks)
            await self._ledger.seen(key, known.base)

    def follow(self, key: Key, learner: Learner) -> None:
        """Tell this session of every new catalog, until `leave`."""
        self._known.setdefault(key, _Known()).sessions.add(learner)

    async def leave(self, key: Key, learner: Learner) -> None:
        """The session is over. Nobody is left on that database: nor are we, so that it can be dropped or copied."""
        known = self._known.setdefault(key, _Known())
        left = tuple(learner.deriving())
        if left and known.catalog is not None:
            await self._abandon(key, known, left)
        known.sessions.discard(learner)
        if not known.sessions and known.reader is not None:
            async with known.lock:
                if not known.sessions:
                    await _hang_up(known)

    async def _abandon(self, key: Key, known: _Known, left: Sequence[Transfer]) -> None:
        """The session ended before anybody knows whether upstream has committed: taken as if it had, or will."""
        known.abandoned = [*known.abandoned, *left][-ABANDONED_MAX:]
        known.opaque += any(transfer.opaque for transfer in left)
        known.learned_at = -FRESH_S  # the next session reads what became of it
        if self._ledger is not None:
            await self._ledger.add(key, known_marks(left))

    async def _read(self, key: Key, known: _Known) -> Catalog:
        for left in reversed(range(TRIES)):
            try:
                if known.reader is None:
                    known.reader = await self._connect(key)
                if known.system is None:
                    known.system = await known.reader.system()
                return await known.reader.user(known.system, next(self._versions))
            except BaseException as error:
                await _hang_up(known)
                if not left or not isinstance(error, UpstreamError):
                    raise
        raise AssertionError("unreachable")


def _deriving(known: _Known, but: Learner | None) -> bool:
    """Whether another session may have made relations that it has not told of."""
    return any(session.deriving() for session in known.sessions if session is not but)


async def _hang_up(known: _Known) -> None:
    reader, known.reader = known.reader, None
    if reader is not None:
        await reader.close()
