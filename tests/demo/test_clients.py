"""The story's psql, on a real server without any gateway: what it says is what psql says, and it never outlives its block."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import pytest

from interlock.demo.clients import Psql
from interlock.demo.database import DATABASE, EmbeddedPostgres
from interlock.errors import UpstreamError


@pytest.fixture(scope="module")
def psql() -> Iterator[Psql]:
    with EmbeddedPostgres() as server:
        yield Psql(server.psql, server.host, server.port, server.user, server.password, DATABASE)


def test_statements_share_a_session_and_an_error_ends_none(psql: Psql) -> None:
    said = asyncio.run(psql.run("CREATE TEMP TABLE t AS SELECT 7 AS seven", "SELEC 1", "SELECT seven, NULL AS nothing FROM t"))
    assert "ERROR:  42601: syntax error" in said
    assert said.index("ERROR") < said.index(" seven | nothing") < said.index("     7 | ∅")


def test_an_open_session_is_read_piece_by_piece(psql: Psql) -> None:
    async def talk() -> str:
        async with psql.open() as session:
            session.write("SELECT 'first' AS a;\n")
            assert (await session.until("f(ir)st")).group(1) == "ir"
            session.write("SELECT 'second' AS b;\n")
            session.write_eof()
            return await session.rest()

    assert "second" in asyncio.run(talk())


def test_waiting_for_what_never_comes_ends_with_psql(psql: Psql) -> None:
    async def talk() -> None:
        async with psql.open() as session:
            session.write("SELECT 1;\n")
            session.write_eof()
            await session.until("never")

    with pytest.raises(UpstreamError, match="ended without saying 'never'"):
        asyncio.run(talk())


def test_psql_is_gone_when_its_block_ends(psql: Psql) -> None:
    async def talk() -> int | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2), psql.open() as session:
                session.write("SELECT pg_sleep(60);\n")
                await session.rest()
        return session._process.returncode

    assert asyncio.run(talk()) == -signal.SIGKILL
