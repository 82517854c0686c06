"""When a database's catalog is read, by which connection, and how long that is kept."""

from __future__ import annotations

import asyncio

import pytest

from interlock.errors import UpstreamError
from interlock.facts.sql.catalog import Catalog
from interlock.net.catalogs import FRESH_S, TRIES, Catalogs, Key, Learner

KEY = ("db", "shop")


class Database:
    """Counts who asks it what; `failures` readings of the user's part fail first."""

    def __init__(self, failures: int = 0) -> None:
        self.now = 0.0
        self.connections = self.open = self.system = self.user = 0
        self.failures = failures
        self.gate = asyncio.Event()
        self.gate.set()
        self.catalogs = Catalogs(self.connect, lambda: self.now)

    async def connect(self, key: Key) -> Connection:
        assert key == KEY
        self.connections += 1
        self.open += 1
        return Connection(self)


class Connection:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def system(self) -> Catalog:
        self._database.system += 1
        return Catalog()

    async def user(self, system: Catalog, version: int) -> Catalog:
        database = self._database
        database.user += 1
        await database.gate.wait()
        if database.failures:
            database.failures -= 1
            raise UpstreamError("an object was dropped meanwhile")
        return Catalog.build([], [], version=version, base=system)

    async def close(self) -> None:
        self._database.open -= 1


def test_without_sessions_no_connection_is_kept() -> None:
    async def play() -> None:
        database = Database()
        first = await database.catalogs.get(KEY)
        assert await database.catalogs.get(KEY) is first
        assert (database.connections, database.open, database.system, database.user) == (1, 0, 1, 1)

    asyncio.run(play())


def test_changes_are_read_on_one_connection_until_the_last_session_ends() -> None:
    async def play() -> None:
        database = Database()
        seen: list[int] = []
        learners = [Learner(lambda catalog: seen.append(catalog.version)) for _ in range(2)]
        for learner in learners:
            database.catalogs.follow(KEY, learner)
        versions = [(await database.catalogs.relearn(KEY)).version]
        for _ in range(3):
            database.now += 1
            versions.append((await database.catalogs.relearn(KEY)).version)
        assert versions == sorted(set(versions))
        assert seen == [version for version in versions for _ in learners]
        assert (database.connections, database.open, database.system, database.user) == (1, 1, 1, 4)
        await database.catalogs.leave(KEY, learners[0])
        assert database.open == 1
        await database.catalogs.leave(KEY, learners[1])
        assert database.open == 0

    asyncio.run(play())


def test_those_who_wait_together_share_the_next_reading() -> None:
    async def play() -> None:
        database = Database()
        database.gate.clear()
        waiting = [asyncio.create_task(database.catalogs.relearn(KEY))]
        await asyncio.sleep(0)
        database.now += 1  # these ask after the first reading has begun: it may be too old for them
        waiting += [asyncio.create_task(database.catalogs.relearn(KEY)) for _ in range(5)]
        await asyncio.sleep(0)
        database.now += 1
        database.gate.set()
        found = await asyncio.gather(*waiting)
        assert database.user == 2
        assert len({catalog.version for catalog in found[1:]}) == 1

    asyncio.run(play())


def test_the_systems_part_is_read_again_when_a_session_opens_later() -> None:
    async def play() -> None:
        database = Database()
        await database.catalogs.get(KEY)
        database.now += FRESH_S
        await database.catalogs.get(KEY)
        assert (database.system, database.user) == (2, 2)

    asyncio.run(play())


def test_a_spoilt_reading_is_tried_anew_on_another_connection() -> None:
    async def play() -> None:
        database = Database(failures=TRIES - 1)
        await database.catalogs.get(KEY)
        assert (database.connections, database.open) == (TRIES, 0)

    asyncio.run(play())


def test_a_reading_that_keeps_failing_fails_and_leaves_nothing_open() -> None:
    async def play() -> None:
        database = Database(failures=TRIES)
        with pytest.raises(UpstreamError):
            await database.catalogs.get(KEY)
        assert database.open == 0
        await database.catalogs.get(KEY)

    asyncio.run(play())
