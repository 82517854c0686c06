"""What each database says of itself, kept for all sessions on it and read anew after definitions change.

A catalog is asked for like everything else: as principal `interlock`, through the gate, on a connection of its own,
which is kept from the first change of definitions until the last session on that database ends.
Sessions that are open when a new one is learned get it at once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from interlock.errors import UpstreamError
from interlock.facts.sql.catalog import Catalog

FRESH_S = 60.0
"""How old a catalog may be when a session opens, in seconds: changes made past the gateway are seen then."""
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


class Learner:
    """Somebody who wants each new catalog of a database."""

    def __init__(self, learn: Callable[[Catalog], None]) -> None:
        self.learn = learn


@dataclass(slots=True)
class _Known:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    system: Catalog | None = None
    catalog: Catalog | None = None
    learned_at: float = 0.0
    reader: Reader | None = None
    sessions: set[Learner] = field(default_factory=set)


class Catalogs:
    """`connect` gives a reader of one database; `clock` is monotonic seconds."""

    def __init__(self, connect: Callable[[Key], Awaitable[Reader]], clock: Callable[[], float]) -> None:
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

    async def relearn(self, key: Key, *, whole: bool = False) -> Catalog:
        """A catalog that is younger than this call; `whole`: what no user changes is asked again, too. Concurrent
        callers share one reading."""
        known = self._known.setdefault(key, _Known())
        asked_at = self._clock()
        async with known.lock:
            if known.catalog is None or known.learned_at < asked_at:
                begun = self._clock()
                if whole:
                    known.system = None
                known.catalog = await self._read(key, known)
                known.learned_at = begun
                for session in list(known.sessions):
                    session.learn(known.catalog)
            if not known.sessions:
                await _hang_up(known)
            return known.catalog

    def follow(self, key: Key, learner: Learner) -> None:
        """Tell this session of every new catalog, until `leave`."""
        self._known.setdefault(key, _Known()).sessions.add(learner)

    async def leave(self, key: Key, learner: Learner) -> None:
        """The session is over. Nobody is left on that database: nor are we, so that it can be dropped or copied."""
        known = self._known.setdefault(key, _Known())
        known.sessions.discard(learner)
        if not known.sessions and known.reader is not None:
            async with known.lock:
                if not known.sessions:
                    await _hang_up(known)

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


async def _hang_up(known: _Known) -> None:
    reader, known.reader = known.reader, None
    if reader is not None:
        await reader.close()
