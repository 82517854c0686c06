"""When a database's catalog is read, by which connection, and how long that is kept."""

from __future__ import annotations

import asyncio

import pytest

from interlock.errors import UpstreamError
from interlock.facts.sql.catalog import Catalog, Marks
from interlock.facts.sql.transfers import Transfer, unite
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


# -- what sessions put into columns --------------------------------------------------------------------------------------

COPIED = frozenset({"public.customers.email"})


class Book:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, int], frozenset[str]] = {}

    def marks(self, key: Key) -> Marks:
        return self.kept

    async def add(self, key: Key, marks: Marks) -> None:
        self.kept = unite(self.kept, marks)

    async def seen(self, key: Key, catalog: Catalog) -> None:
        assert catalog.oids


class Writer:
    """A session that puts something somewhere."""

    def __init__(self, catalogs: Catalogs) -> None:
        self.catalogs = catalogs
        self.deriving: tuple[Transfer, ...] = ()
        self.committed: tuple[Transfer, ...] = ()
        self.catalog = Catalog()
        self.learner = Learner(self._learn, lambda: self.deriving, lambda: (self.committed, frozenset()))
        catalogs.follow(KEY, self.learner)

    def _learn(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def send(self, *transfers: Transfer) -> None:
        self.deriving = transfers
        self.catalogs.foretell(KEY)

    async def commit(self) -> None:
        self.committed = self.deriving
        await self.catalogs.relearn(KEY, learner=self.learner)
        self.committed = ()
        self.send()

    def holds(self, name: str) -> frozenset[str]:
        return self.catalog.derived.get(f"public.{name}", frozenset())


class Shop(Database):
    """A database of tables with one column `a`, and two sessions on it."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = {16_400: "notes"}
        self.book = Book()
        self.catalogs = Catalogs(self.reader, lambda: self.now, self.book)
        self.one, self.two = Writer(self.catalogs), Writer(self.catalogs)

    async def reader(self, key: Key) -> Reading:
        return Reading(self)

    async def look(self) -> None:
        self.now += 1
        await self.catalogs.relearn(KEY)


class Reading(Connection):
    def __init__(self, shop: Shop) -> None:
        super().__init__(shop)
        self._shop = shop

    async def user(self, system: Catalog, version: int) -> Catalog:
        tables = self._shop.tables.items()
        return Catalog.build(
            [(oid, "public", name, "r", None) for oid, name in tables], [(oid, 1, "a", 25) for oid, _ in tables], version=version
        )


KNOWN = Transfer(marks=(((16_400, 1), COPIED),))
MADE = Transfer(name="loot", path=("public",), columns=((1, COPIED),))


def test_what_is_being_written_is_known_before_it_is_committed() -> None:
    async def play() -> None:
        shop = Shop()
        await shop.look()
        shop.one.send(KNOWN)
        assert shop.two.holds("notes.a") == COPIED
        shop.one.send()  # rolled back
        assert shop.two.holds("notes.a") == frozenset()
        shop.one.send(KNOWN)
        await shop.one.commit()
        assert shop.two.holds("notes.a") == COPIED and shop.book.kept == {(16_400, 1): COPIED}

    asyncio.run(play())


def test_a_relation_that_somebody_may_have_made_is_unknown_until_he_has_told() -> None:
    async def play() -> None:
        shop = Shop()
        await shop.look()
        shop.one.send(MADE)
        shop.tables |= {17_000: "loot", 17_001: "plain"}
        await shop.look()
        assert shop.two.holds("loot.a") == shop.two.holds("plain.a") == {"*"}
        await shop.one.commit()
        assert shop.two.holds("loot.a") == COPIED
        assert shop.two.holds("plain.a") == frozenset()

    asyncio.run(play())


def test_what_appears_behind_something_opaque_is_unknown_for_good() -> None:
    async def play() -> None:
        shop = Shop()
        await shop.look()
        shop.one.send(Transfer(opaque=True))
        shop.one.send()
        shop.tables |= {17_000: "loot"}
        await shop.look()
        shop.tables |= {17_001: "later"}
        await shop.look()
        assert shop.two.holds("loot.a") == {"*"} and shop.two.holds("later.a") == frozenset()
        assert shop.book.kept == {(17_000, 0): {"*"}}

    asyncio.run(play())


def test_a_session_that_ends_in_the_middle_may_have_committed() -> None:
    async def play() -> None:
        shop = Shop()
        await shop.look()
        shop.one.send(KNOWN, MADE)
        await shop.catalogs.leave(KEY, shop.one.learner)
        assert shop.book.kept == {(16_400, 1): COPIED}
        shop.tables |= {17_000: "loot"}  # upstream was not done when the line was cut
        await shop.look()
        assert shop.two.holds("loot.a") == shop.two.holds("notes.a") == COPIED

    asyncio.run(play())
