"""`interlock verify`: the verdict is the exit code."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from interlock.evidence import Evidence, Keys
from interlock.exchange import Principal, Resource, Session
from tests.cli.transcript import play, run


@pytest.fixture
def recorded(house: Path) -> Path:
    """A house with one sealed session, `s1`."""

    async def record() -> None:
        evidence = await Evidence.start(house / "data" / "evidence", Keys.load_or_create(house / "data" / "keys"))
        evidence.open(Session("s1", Principal("alice"), Resource("orders-db", "postgres"), "postgres", "127.0.0.1:1", 0.0), {"policy": "p"})
        evidence.record("s1", "up", 1, b"Q\x00\x00\x00\x0dSELECT 1\x00")
        evidence.note("s1", "intent", {"exchange": 1, "verdict": "allow", "title": "SELECT ?"})
        evidence.note("s1", "outcome", {"exchange": 1, "outcome": "done", "rows": 1})
        await evidence.close("s1", "client left")
        await evidence.stop()

    asyncio.run(record())
    return house


def test_the_transcript(recorded: Path) -> None:
    play("verify", recorded)


def test_one_changed_byte_is_found(recorded: Path) -> None:
    journal = recorded / "data" / "evidence" / "sessions" / "s1" / "journal.msgpack"
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 1
    journal.write_bytes(data)

    said = run(["verify", str(recorded / "data" / "evidence"), "--quiet"])

    assert said.code == 4
    assert "failed  session s1: the journal is whole and unchanged" in said.out
    assert said.out.splitlines()[-1].startswith("FAILED: ")


def test_it_needs_neither_configuration_nor_keys(recorded: Path, tmp_path: Path) -> None:
    key = (recorded / "data" / "evidence" / "public.key").rename(tmp_path / "mine.key")
    for name in ("interlock.yaml", "data/keys/wrap.key", "data/keys/journal.key", "data/keys/signing.key"):
        (recorded / name).unlink()

    assert run(["verify", str(recorded / "data" / "evidence"), "--key", str(key)]).code == 0
