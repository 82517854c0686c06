"""The store: its file, its schema, and transactions that cannot half-happen."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from sqlalchemy import delete, func, insert, select

from interlock.errors import StoreError
from interlock.store import Store
from interlock.store.tables import REVOCATIONS


def revocation(subject: str) -> dict[str, object]:
    return {"kind": "proof", "subject": subject, "at": 1.0}


async def count(store: Store) -> int:
    async with store.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(REVOCATIONS))).scalar_one())


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path / "data")
        async with store.write() as connection:
            await connection.execute(insert(REVOCATIONS).values(revocation("a")))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
        await store.close()
        assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}

    asyncio.run(run())


def test_opening_again_keeps_what_was_written(tmp_path: Path) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path)
        async with store.write() as connection:
            await connection.execute(insert(REVOCATIONS).values(revocation("a")))
        await store.close()
        store = await Store.open(tmp_path)
        assert await count(store) == 1
        await store.close()

    asyncio.run(run())


def test_a_transaction_that_raises_is_undone(tmp_path: Path) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path)
        with pytest.raises(RuntimeError):
            async with store.write() as connection:
                await connection.execute(insert(REVOCATIONS).values(revocation("a")))
                raise RuntimeError
        assert await count(store) == 0
        await store.close()

    asyncio.run(run())


def test_what_a_reader_writes_is_not_kept(tmp_path: Path) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path)
        async with store.write() as connection:
            await connection.execute(insert(REVOCATIONS).values(revocation("a")))
        async with store.read() as connection:
            await connection.execute(delete(REVOCATIONS))
        assert await count(store) == 1
        await store.close()

    asyncio.run(run())


def test_read_then_write_is_atomic_across_connections(tmp_path: Path) -> None:
    """Twenty writers each read the count and write it down: without the lock at BEGIN two would read the same."""

    async def run() -> None:
        stores = [await Store.open(tmp_path), await Store.open(tmp_path)]

        async def add(store: Store) -> None:
            async with store.write() as connection:
                number = (await connection.execute(select(func.count()).select_from(REVOCATIONS))).scalar_one()
                await asyncio.sleep(0)
                await connection.execute(insert(REVOCATIONS).values(revocation(f"{number}")))

        await asyncio.gather(*(add(stores[turn % 2]) for turn in range(20)))
        assert await count(stores[0]) == 20
        for store in stores:
            await store.close()

    asyncio.run(run())


def test_a_database_error_says_nothing_of_the_values(tmp_path: Path) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path)
        with pytest.raises(StoreError) as caught:
            async with store.write() as connection:
                await connection.execute(insert(REVOCATIONS).values(revocation("hush")))
                await connection.execute(insert(REVOCATIONS).values(revocation("hush")))
        assert caught.value.message == "the store cannot be written (IntegrityError)"
        assert await count(store) == 0
        await store.close()

    asyncio.run(run())


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, but longer than a header would be" * 10)

    with pytest.raises(StoreError, match="cannot open the store"):
        asyncio.run(Store.open(tmp_path))


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path)
        async with store.write() as connection:
            await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        await store.close()
        with pytest.raises(StoreError, match="later version"):
            await Store.open(tmp_path)

    asyncio.run(run())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="cannot open the store"):
        asyncio.run(Store.open(tmp_path / "file"))


def test_a_user_that_is_cancelled_leaves_the_store_usable(tmp_path: Path) -> None:
    """Clients go away at any moment: no connection and no lock may stay behind, and nothing is half written."""

    async def run() -> None:
        store = await Store.open(tmp_path)
        finished = 0

        async def add(turn: int) -> None:
            nonlocal finished
            async with store.write() as connection:
                for part in ("a", "b"):
                    await connection.execute(insert(REVOCATIONS).values(revocation(f"{turn}{part}")))
            finished += 1

        for turn in range(60):
            task = asyncio.create_task(add(turn))
            for _ in range(turn):
                await asyncio.sleep(0.0001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        before = await count(store)
        assert before % 2 == 0 and before >= 2 * finished
        await asyncio.gather(*(add(turn) for turn in range(100, 120)))
        assert await count(store) == before + 40
        await store.close()

    asyncio.run(run())
