"""The bus: who changed what, pushed to everybody within a second.

A writer announces a change inside its own transaction; the row gets the next sequence number. After the
commit the writer's process pulls at once, and every other process that has the same store open notices by
polling `PRAGMA data_version` each 100 ms. All listeners hear all changes, in order, exactly once.

Listeners are plain functions that must not wait. Who has heard nothing for longer than `SILENCE_S`
must stop trusting what it knows: see `silent_s`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from interlock.store.store import Store
from interlock.store.tables import CHANGES

POLL_S: Final = 0.1
SILENCE_S: Final = 10.0
"""After so many seconds without a successful look at the store, nothing in memory is trusted any more."""
BATCH: Final = 1000
"""At most so many changes are read at once; the rest follows in the next batch."""
KEEP_S: Final = 7 * 86_400.0
"""How long announced changes stay in the store."""

_log = structlog.get_logger("interlock.bus")


class Topic(StrEnum):
    REVOKED = "revoked"
    PRINCIPALS = "principals"
    POLICY = "policy"
    APPROVALS = "approvals"
    DERIVED = "derived"


@dataclass(frozen=True, slots=True)
class Change:
    """`subject` says what changed, in the words of the topic's owner (`proof:…`, `principal:…`, an approval's
    id); `at` is when, in UTC seconds."""

    sequence: int
    topic: Topic
    subject: str
    at: float


Listener = Callable[[Change], None]


class Bus:
    """Publish and subscribe over one store. `start` before use, `stop` at the end. `clock` is UTC seconds."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._heard_at = monotonic()
        self._sequence = 0
        self._version = 0
        self._listeners: dict[Topic, list[Listener]] = {topic: [] for topic in Topic}
        self._pulling = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def listen(self, topic: Topic, listener: Listener) -> None:
        """Call `listener` for each change of the topic from now on."""
        self._listeners[topic].append(listener)

    def silent_s(self) -> float:
        """Seconds since the store was last seen working."""
        return self._monotonic() - self._heard_at

    @property
    def silent(self) -> bool:
        """Whether the link has been silent for so long that trust must end."""
        return self.silent_s() > SILENCE_S

    async def start(self) -> None:
        """Begin at the present moment: load state after this, and nothing in between is missed."""
        self._version = await self._store.data_version()
        async with self._store.write() as connection:
            await connection.execute(delete(CHANGES).where(CHANGES.c.at < self._clock() - KEEP_S))
            self._sequence = (await connection.execute(select(func.max(CHANGES.c.sequence)))).scalar_one() or 0
        self._heard_at = self._monotonic()
        self._task = asyncio.create_task(self._poll(), name="interlock-bus")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def announce(self, connection: AsyncConnection, topic: Topic, subject: str) -> None:
        """Put a change into the caller's own transaction; call `pull` after it is committed."""
        await connection.execute(insert(CHANGES).values(topic=topic.value, subject=subject, at=self._clock()))

    async def pull(self) -> None:
        """Hand all changes since the last pull to the listeners, before returning."""
        async with self._pulling:
            while True:
                async with self._store.read() as connection:
                    query = select(CHANGES).where(CHANGES.c.sequence > self._sequence).order_by(CHANGES.c.sequence).limit(BATCH)
                    rows = (await connection.execute(query)).all()
                for row in rows:
                    self._sequence = row.sequence
                    self._tell(Change(row.sequence, Topic(row.topic), row.subject, row.at))
                if len(rows) < BATCH:
                    break
            self._heard_at = self._monotonic()

    def _tell(self, change: Change) -> None:
        for listener in self._listeners[change.topic]:
            try:
                listener(change)
            except Exception:  # one listener's failure must not keep the others from a revocation
                _log.exception("listener failed", topic=change.topic.value, sequence=change.sequence)

    async def _poll(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(POLL_S)
            try:
                version = await self._store.data_version()
                if version != self._version:
                    await self.pull()
                    self._version = version
                self._heard_at = self._monotonic()
                failing = False
            except Exception as error:  # whatever it is, the next look may work; until then silence grows
                if not failing:
                    _log.error("store not reachable", error=type(error).__name__, silent_s=round(self.silent_s(), 1))
                failing = True
