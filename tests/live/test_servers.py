"""The servers that the live tests stand on are what they claim to be."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import asyncpg
import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from tests.tls_front import TlsFront


def test_psql_reads_the_shop(postgres: EmbeddedPostgres, psql: Path) -> None:
    command: list[str | Path] = [psql, "-X", "-At", "-c", "SELECT count(*) FROM customers"]
    done = subprocess.run(command, env=postgres.environment(), capture_output=True, text=True, timeout=30)
    assert (done.stdout.strip(), done.stderr) == ("400", "")


def test_asyncpg_reads_the_shop_over_verified_tls(postgres: EmbeddedPostgres, postgres_tls: TlsFront) -> None:
    async def read() -> int:
        connection = await asyncpg.connect(
            host="localhost",
            port=postgres_tls.port,
            user=postgres.user,
            password=postgres.password,
            database="shop",
            ssl=ssl.create_default_context(cafile=str(postgres_tls.ca)),
            direct_tls=False,
        )
        try:
            return int(await connection.fetchval("SELECT count(*) FROM orders"))
        finally:
            await connection.close()

    assert asyncio.run(read()) == 1_600


def test_libpq_verifies_the_certificate_in_full(postgres: EmbeddedPostgres, postgres_tls: TlsFront) -> None:
    login = f"host=localhost port={postgres_tls.port} dbname=shop user={postgres.user} password={postgres.password}"
    with psycopg.connect(f"{login} sslmode=verify-full sslrootcert={postgres_tls.ca}") as connection:
        assert connection.pgconn.ssl_in_use
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"{login} sslmode=disable")
