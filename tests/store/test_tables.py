"""The tables as declared, and as the migrations make them, are the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Connection, Integer, MetaData, Table

from interlock.store import Store
from interlock.store.tables import METADATA


def differences(connection: Connection, metadata: MetaData) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


def test_the_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path)
        async with store.read() as connection:
            assert await connection.run_sync(differences, METADATA) == []
            more = MetaData()
            Table("unknown", more, Column("id", Integer))
            assert await connection.run_sync(differences, more) != []
        await store.close()

    asyncio.run(run())
