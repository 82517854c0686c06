"""The store: one SQLite file, opened with its migrations applied.

Write-ahead logging with `synchronous=FULL`: a revocation or an approval that was acknowledged survives a
power cut. Writers take the lock at once (`BEGIN IMMEDIATE`), so a transaction that read first cannot fail
half-way or decide on stale rows. https://sqlite.org/wal.html, https://sqlite.org/lang_transaction.html
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from alembic.config import Config as AlembicConfig
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from interlock.errors import StoreError
from interlock.store.tables import METADATA

FILE_NAME: Final = "state.db"
CONNECTIONS: Final = 4
"""At most so many connections to the file; the next user waits."""
WAIT_S: Final = 5.0
"""How long a user waits for a connection, or for another writer, in seconds; then `StoreError`."""

_WRITES: Final = "interlock_writes"


class Store:
    """The open control store. Every failure of the database is a `StoreError`."""

    def __init__(self, engine: AsyncEngine, watch: AsyncConnection) -> None:
        self._engine = engine
        self._watch = watch
        self._watching = asyncio.Lock()

    @classmethod
    async def open(cls, folder: Path) -> Store:
        """Open (or make) `<folder>/state.db`, readable by its owner only, and bring it to this version's schema."""
        path = _make_file(folder)
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{path}", pool_size=CONNECTIONS, max_overflow=0, pool_timeout=WAIT_S, connect_args={"timeout": WAIT_S}
        )
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
        with _failures("cannot open the store"):
            try:
                async with engine.connect() as connection:
                    await connection.execution_options(**{_WRITES: True})
                    await connection.run_sync(_migrate)
                    await connection.commit()
                return cls(engine, await engine.connect())
            except BaseException:
                await engine.dispose()
                raise

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one moment of the store; nothing it writes is kept."""
        with _failures("the store cannot be read"):
            async with self._engine.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that holds the write lock; committed when the block ends, undone when it raises."""
        with _failures("the store cannot be written"):
            async with self._engine.connect() as connection:
                await connection.execution_options(**{_WRITES: True})
                async with connection.begin():
                    yield connection

    async def data_version(self) -> int:
        """A number that differs from the last one if anybody else has committed since; under a millisecond.
        https://sqlite.org/pragma.html#pragma_data_version"""
        with _failures("the store cannot be read"):
            async with self._watching:  # one connection: the number means something on the same one only
                number = (await self._watch.execute(text("PRAGMA data_version"))).scalar_one()
                await self._watch.rollback()
        return int(number)

    async def close(self) -> None:
        await self._watch.close()
        await self._engine.dispose()


def _make_file(folder: Path) -> Path:
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # before SQLite makes it: its -wal and -shm take over the mode
        path.chmod(0o600)
    except OSError as error:
        raise StoreError(f"cannot open the store {path}: {error.strerror}", hint="the data folder must be writable") from error
    return path


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's events begin transactions, not the driver
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")


def _migrate(connection: Connection) -> None:
    """Run the revisions that lie in this package. A store of a later version is refused, not guessed at."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, script, fn=lambda revision, _context: script._upgrade_revs("head", revision)) as environment:
        environment.configure(connection=connection, target_metadata=METADATA)
        environment.run_migrations()


@contextlib.contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except CommandError:
        raise StoreError(f"{what}: it is of a later version of interlock", hint="start the version that made it, or a newer one") from None
    except SQLAlchemyError as error:
        # Only the kind of failure: the text of a database error may repeat values.
        raise StoreError(
            f"{what} ({type(getattr(error, 'orig', None) or error).__name__})", hint="look at the data folder and its free space"
        ) from error
