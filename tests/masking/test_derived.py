"""Marks of columns, on a real store: in force at once, for every process, after a restart, and when the store fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from interlock.exchange import Resource
from interlock.masking import Derived
from interlock.masking.derived import Described
from interlock.store import Bus, Store

KEY = ("db", "shop")
EMAIL = frozenset({"public.customers.email"})
RESOURCE = Resource("db", "postgres", classes={"customers.email": "email"})


def play(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Derived, Store]]:
    store = await Store.open(folder)
    bus = Bus(store)
    await bus.start()
    derived = Derived(store, bus)
    await derived.load()
    try:
        yield derived, store
    finally:
        await bus.stop()
        await store.close()


def customers(oid: int, email: str = "email", table: str = "customers") -> Described:
    columns = tuple((at, name, frozenset({f"public.{table}.{name}"})) for at, name in ((1, "id"), (2, email)))
    return oid, "public", table, columns


def test_marks_outlive_the_process(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as (derived, _):
            await derived.add(KEY, {(1, 2): EMAIL})
            await derived.add(KEY, {(1, 2): frozenset({"public.customers.phone"}), (3, 0): frozenset("*")})
            first = derived.marks(KEY)
            assert first == {(1, 2): EMAIL | {"public.customers.phone"}, (3, 0): {"*"}}
            assert derived.marks(("db", "elsewhere")) == {}
        async with opened(tmp_path) as (derived, _):
            assert derived.marks(KEY) == first
            await derived.forget(KEY, [3])
        async with opened(tmp_path) as (derived, _):
            assert derived.oids(KEY) == {1}

    play(run())


def test_other_processes_hear_of_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as (one, _), opened(tmp_path) as (other, _):
            heard = asyncio.Event()
            other.on_change = heard.set
            await one.add(KEY, {(1, 2): EMAIL})
            await asyncio.wait_for(heard.wait(), 10)
            assert other.marks(KEY) == {(1, 2): EMAIL}

    play(run())


def test_what_cannot_be_stored_is_unknown(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as (derived, store):
            async with store.write():  # somebody keeps the store to himself, longer than anyone waits
                await derived.add(KEY, {(1, 2): EMAIL})
            assert derived.marks(KEY) == {(1, 2): EMAIL | {"*"}}
            await derived.add(KEY, {(1, 3): frozenset({"x" * 500})})
            assert "*" in derived.marks(KEY)[1, 3]

    play(run())


def test_classes_stick_to_the_column(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as (derived, _):
            await derived.classify(KEY, RESOURCE, [customers(1)])
            await derived.classify(KEY, RESOURCE, [customers(1, "contact", "clients")])
            assert derived.marks(KEY) == {(1, 2): EMAIL}

    play(run())


def test_whoever_takes_the_name_is_unknown_until_the_map_changes(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as (derived, _):
            await derived.classify(KEY, RESOURCE, [customers(1)])
        async with opened(tmp_path) as (derived, _):
            await derived.classify(KEY, RESOURCE, [customers(9)])
            assert derived.marks(KEY)[9, 1] == {"*"} and derived.marks(KEY)[9, 2] == EMAIL
            again = Resource("db", "postgres", classes={"customers.email": "email", "customers.id": "number", "other.x": "y"})
            await derived.classify(KEY, again, [customers(9)])
            assert "*" not in derived.marks(KEY)[9, 1]
            await derived.classify(KEY, again, [customers(9), customers(10, table="other")])
            assert (10, 1) not in derived.marks(KEY)

    play(run())
