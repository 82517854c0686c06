"""What the files say: a catalog made of the class map, and recordings without a gateway."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from interlock.cli.offline import Recordings, explain
from interlock.config import load
from interlock.errors import EvidenceError
from interlock.evidence import Evidence, Keys
from interlock.exchange import Principal, Resource, Session


def test_names_that_the_class_map_knows_are_resolved(house: Path) -> None:
    said = explain(load(house / "interlock.yaml"), "alice", "orders-db", "SELECT name FROM customers, unknown", "")

    assert [effect["effect"] for effect in said["effects"]] == [
        "sql.select on orders-db/public.customers",
        "sql.select on orders-db/unknown",
    ]


def test_a_live_session_is_read_while_it_is_written(tmp_path: Path) -> None:
    async def look() -> None:
        evidence = await Evidence.start(tmp_path / "evidence", Keys.load_or_create(tmp_path / "keys"))
        try:
            bot = Principal("bot", "agent", on_behalf_of=Principal("ann"))
            evidence.open(Session("s1", bot, Resource("shop", "postgres"), "postgres", "192.0.2.1:5", 0.0), {"policy": "p"})
            evidence.record("s1", "up", 1, b"Q\x00\x00\x00\x0dSELECT 1\x00")
            evidence.note("s1", "intent", {"exchange": 1, "verdict": "deny", "title": "SELECT ?"})
            await evidence.commit()
            with Recordings(tmp_path) as recordings:
                (line,) = recordings.sessions(10)
                assert (line.state, line.principal, line.owner, line.refused) == ("live", "bot", "ann", 1)
                assert dataclasses.replace(line) == recordings.session("s1")
                moments = list(recordings.timeline("s1"))
            assert [moment["kind"] for moment in moments] == ["open", "recorded", "intent"]
            assert moments[1]["lines"] == ["query: SELECT 1"]
        finally:
            await evidence.stop()

    asyncio.run(look())


def test_without_the_keys_the_journal_can_still_be_read(tmp_path: Path) -> None:
    async def record() -> None:
        evidence = await Evidence.start(tmp_path / "evidence", Keys.load_or_create(tmp_path / "keys"))
        evidence.open(Session("s1", Principal("ann"), Resource("shop", "postgres"), "postgres", "192.0.2.1:5", 0.0), {})
        evidence.record("s1", "up", 1, b"Q\x00\x00\x00\x0dSELECT 1\x00")
        await evidence.close("s1", "client left")
        await evidence.stop()

    asyncio.run(record())
    (tmp_path / "keys").rename(tmp_path / "elsewhere")

    with Recordings(tmp_path) as recordings:
        assert [moment["kind"] for moment in recordings.timeline("s1")] == ["open", "close"]
    assert not (tmp_path / "keys").exists()


def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="there is no evidence"):
        Recordings(tmp_path)
    assert list(tmp_path.iterdir()) == []
