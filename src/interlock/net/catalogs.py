"""What each database says of itself, kept for all sessions on it and read anew after definitions change.

A catalog is asked for like everything else: as principal `interlock`, through the gate, on a connection of its own.
Sessions that are open when a new one is learned get it at once.
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from interlock.facts.sql.catalog import Catalog

FRESH_S = 60.0
"""How old a catalog may be when a session opens, in seconds: changes made past the gateway are seen then."""

Key = tuple[str, str]
"""Resource name, and the place inside it (a database)."""


@dataclass(slots=True)
class _Known:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    catalog: Catalog | None = None
    learned_at: float = 0.0
    sessions: weakref.WeakSet[Learner] = field(default_factory=weakref.WeakSet)


class Learner:
    """Somebody who wants each new catalog of a database."""

    def __init__(self, learn: Callable[[Catalog], None]) -> None:
        self.learn = learn


class Catalogs:
    """`load` asks one database everything and numbers the answer; `clock` is monotonic seconds."""

    def __init__(self, load: Callable[[Key, int], Awaitable[Catalog]], clock: Callable[[], float]) -> None:
        self._load = load
        self._clock = clock
        self._known: dict[Key, _Known] = {}
        self._versions = itertools.count(1)

    async def get(self, key: Key) -> Catalog:
        """The catalog, at most `FRESH_S` old."""
        known = self._known.setdefault(key, _Known())
        if known.catalog is not None and self._clock() - known.learned_at < FRESH_S:
            return known.catalog
        return await self.relearn(key)

    async def relearn(self, key: Key) -> Catalog:
        """A catalog that is younger than this call. Concurrent callers share one reading."""
        known = self._known.setdefault(key, _Known())
        asked_at = self._clock()
        async with known.lock:
            if known.catalog is None or known.learned_at < asked_at:
                begun = self._clock()
                known.catalog = await self._load(key, next(self._versions))
                known.learned_at = begun
                for session in list(known.sessions):
                    session.learn(known.catalog)
            return known.catalog

    def follow(self, key: Key, learner: Learner) -> None:
        """Tell this session of every new catalog, for as long as it keeps the learner."""
        self._known.setdefault(key, _Known()).sessions.add(learner)
