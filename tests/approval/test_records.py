"""Requests as rows: moves that compare and set, and time that needs nobody to write it down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import true
from sqlalchemy.ext.asyncio import AsyncConnection

from interlock.approval.records import Records, same
from interlock.approval.request import State, Vote, seal
from interlock.errors import ApprovalError
from interlock.exchange import Principal, Resource
from interlock.store import Bus, Store, Topic

KEY = b"k" * 32
CLAUDE = Principal("claude", "agent", on_behalf_of=Principal("alice"))


def row(name: str, asked_at: float = 0.0, **more: Any) -> dict[str, Any]:
    values = {"id": name, "principal": "claude", "kind": "agent", "owner": "alice", "resource": "r", "digest": "d", "title": "t"}
    values |= {"sealed": seal(KEY, name, "text", {}, ()), "groups": '["dba"]', "rules": "[]", "session": "s", "policy": "p"}  # type: ignore[dict-item]
    return values | {"state": State.PENDING, "asked_at": asked_at, "expires_at": asked_at + 10} | more


def run(folder: Path, story: Callable[[Records, AsyncConnection], Coroutine[None, None, None]]) -> list[str]:
    """Plays the story in one transaction; returns whose changes were announced by it."""
    heard: list[str] = []

    async def play() -> None:
        store = await Store.open(folder)
        bus = Bus(store)
        bus.listen(Topic.APPROVALS, lambda change: heard.append(change.subject))
        async with store.write() as connection:
            await story(Records(bus, KEY), connection)
        await bus.pull()
        await store.close()

    asyncio.run(play())
    return heard


def test_a_move_happens_once(tmp_path: Path) -> None:
    async def story(records: Records, connection: AsyncConnection) -> None:
        await records.add(connection, row("ap-1"))
        assert await records.move(connection, "ap-1", (State.PENDING,), State.APPROVED, 1.0)
        assert not await records.move(connection, "ap-1", (State.PENDING,), State.REFUSED, 2.0)
        assert await records.move(connection, "ap-1", (State.APPROVED,), State.USED, 3.0)
        assert not await records.move(connection, "ap-2", (State.PENDING,), State.REFUSED, 4.0)
        request = await records.one(connection, "ap-1", 5.0)
        assert (request.state, request.decided_at, request.used_at) == (State.USED, 1.0, 3.0)

    assert run(tmp_path, story) == ["ap-1"] * 3


def test_time_is_over_whether_or_not_it_is_written_down(tmp_path: Path) -> None:
    async def story(records: Records, connection: AsyncConnection) -> None:
        for name, state in (("ap-1", State.PENDING), ("ap-2", State.APPROVED), ("ap-3", State.REFUSED), ("ap-4", State.USED)):
            await records.add(connection, row(name, state=state))
        await records.add(connection, row("ap-5", asked_at=5.0))
        expected = {"ap-1": "expired", "ap-2": "expired", "ap-3": "refused", "ap-4": "used", "ap-5": "pending"}
        assert {each.id: each.state for each in await records.find(connection, true(), 10.0)} == expected
        await records.expire(connection, 10.0)
        assert {each.id: each.state for each in await records.find(connection, true(), 0.0)} == expected

    assert sorted(run(tmp_path, story)) == ["ap-1", "ap-1", "ap-2", "ap-2", "ap-3", "ap-4", "ap-5"]


def test_the_newest_come_first_and_not_too_many(tmp_path: Path) -> None:
    async def story(records: Records, connection: AsyncConnection) -> None:
        for number in range(5):
            await records.add(connection, row(f"ap-{number}", asked_at=float(number)))
        assert [each.id for each in await records.find(connection, true(), 0.0, limit=3)] == ["ap-4", "ap-3", "ap-2"]

    run(tmp_path, story)


def test_a_person_has_one_vote_and_the_last_one_counts(tmp_path: Path) -> None:
    async def story(records: Records, connection: AsyncConnection) -> None:
        await records.add(connection, row("ap-1"))
        await records.put_vote(connection, "ap-1", Vote("bob", True, frozenset({"dba"}), "", 1.0), "token:b")
        await records.put_vote(connection, "ap-1", Vote("bob", False, frozenset({"dba"}), "no", 2.0), "token:b")
        assert (await records.one(connection, "ap-1", 3.0)).votes == (Vote("bob", False, frozenset({"dba"}), "no", 2.0),)

    run(tmp_path, story)


def test_the_same_means_owner_and_kind_too(tmp_path: Path) -> None:
    async def story(records: Records, connection: AsyncConnection) -> None:
        await records.add(connection, row("ap-1"))
        resource = Resource("r", "postgres")
        strangers = (Principal("claude"), Principal("claude", "agent", on_behalf_of=Principal("bob")), Principal("alice"))
        assert len(await records.find(connection, same(CLAUDE, resource, "d", State.PENDING), 0.0)) == 1
        for stranger in strangers:
            assert await records.find(connection, same(stranger, resource, "d", State.PENDING), 0.0) == []

    run(tmp_path, story)


def test_there_is_none_of_that_name(tmp_path: Path) -> None:
    async def story(records: Records, connection: AsyncConnection) -> None:
        with pytest.raises(ApprovalError, match="there is no request ap-1"):
            await records.one(connection, "ap-1", 0.0)

    run(tmp_path, story)
