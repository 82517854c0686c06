"""The bus: in order, once, in every process, and honest about silence."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from interlock.store import Bus, Change, Store, Topic
from interlock.store.bus import BATCH, SILENCE_S


async def announce(store: Store, bus: Bus, *subjects: str, topic: Topic = Topic.REVOKED) -> None:
    async with store.write() as connection:
        for subject in subjects:
            await bus.announce(connection, topic, subject)


def test_a_pull_tells_the_topics_listeners_in_order_and_once(tmp_path: Path) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path)
        bus = Bus(store, clock=lambda: 5.0)
        heard: list[Change] = []
        bus.listen(Topic.REVOKED, heard.append)
        await bus.start()
        await announce(store, bus, "a", "b")
        await announce(store, bus, "other", topic=Topic.POLICY)
        await bus.pull()
        await bus.pull()
        assert [(change.sequence, change.subject, change.at) for change in heard] == [(1, "a", 5.0), (2, "b", 5.0)]
        await bus.stop()
        await store.close()

    asyncio.run(run())


def test_more_than_one_batch_arrives(tmp_path: Path) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path)
        bus = Bus(store)
        heard: list[str] = []
        bus.listen(Topic.REVOKED, lambda change: heard.append(change.subject))
        await bus.start()
        names = [str(number) for number in range(BATCH + 1)]
        await announce(store, bus, *names)
        await bus.pull()
        assert heard == names
        await bus.stop()
        await store.close()

    asyncio.run(run())


def test_another_process_hears_without_pulling(tmp_path: Path) -> None:
    async def run() -> None:
        here, there = await Store.open(tmp_path), await Store.open(tmp_path)
        bus, other = Bus(here), Bus(there)
        heard = asyncio.Event()
        other.listen(Topic.REVOKED, lambda _: heard.set())
        await other.start()
        await announce(here, bus, "token")
        async with asyncio.timeout(20):
            await heard.wait()
        await other.stop()
        await here.close()
        await there.close()

    asyncio.run(run())


def test_what_was_before_the_start_is_not_told(tmp_path: Path) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path)
        bus = Bus(store)
        await announce(store, bus, "before")
        heard: list[str] = []
        bus.listen(Topic.REVOKED, lambda change: heard.append(change.subject))
        await bus.start()
        await announce(store, bus, "after")
        await bus.pull()
        assert heard == ["after"]
        await bus.stop()
        await store.close()

    asyncio.run(run())


def test_a_listener_that_fails_does_not_keep_others_from_hearing(tmp_path: Path) -> None:
    def fail(_change: Change) -> None:
        raise RuntimeError

    async def run() -> None:
        store = await Store.open(tmp_path)
        bus = Bus(store)
        heard: list[str] = []
        bus.listen(Topic.REVOKED, fail)
        bus.listen(Topic.REVOKED, lambda change: heard.append(change.subject))
        await bus.start()
        await announce(store, bus, "a")
        await bus.pull()
        assert heard == ["a"]
        await bus.stop()
        await store.close()

    asyncio.run(run())


def test_a_change_that_is_undone_is_not_told(tmp_path: Path) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path)
        bus = Bus(store)
        heard: list[Change] = []
        bus.listen(Topic.REVOKED, heard.append)
        await bus.start()
        with pytest.raises(RuntimeError):
            async with store.write() as connection:
                await bus.announce(connection, Topic.REVOKED, "a")
                raise RuntimeError
        await bus.pull()
        assert heard == []
        await bus.stop()
        await store.close()

    asyncio.run(run())


def test_silence_is_noticed_and_ends_with_the_next_look(tmp_path: Path) -> None:
    async def run() -> None:
        now = [0.0]
        store = await Store.open(tmp_path)
        bus = Bus(store, monotonic=lambda: now[0])
        await bus.pull()
        seen = []
        for now[0] in (SILENCE_S, SILENCE_S + 0.1):
            seen.append(bus.silent)
        await bus.pull()
        assert [*seen, bus.silent] == [False, True, False]
        await store.close()

    asyncio.run(run())


def test_a_dead_store_falls_silent(tmp_path: Path) -> None:
    """The poll goes on, but a look that fails does not count as one."""

    async def run() -> None:
        now = 0.0
        store = await Store.open(tmp_path)
        bus = Bus(store, monotonic=lambda: now)
        await bus.start()
        await store.close()
        now = SILENCE_S + 1
        await asyncio.sleep(0.35)
        assert bus.silent
        await bus.stop()

    asyncio.run(run())
