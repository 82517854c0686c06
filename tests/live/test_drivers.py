"""Drivers through the gateway, each the way it likes to speak: asyncpg, psycopg (pipelines, binary, cursors), SQLAlchemy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from interlock.demo.database import EmbeddedPostgres
from tests.live.gateway import WAIT_S, Gateway


@pytest.fixture(scope="module", autouse=True)
def tables(postgres: EmbeddedPostgres, gateway: Gateway) -> Iterator[None]:
    postgres.run(
        """CREATE TABLE items (id int PRIMARY KEY, name text, price numeric, made timestamptz DEFAULT now(), raw bytea, tags text[]);
        CREATE TABLE persons (id int PRIMARY KEY, name text, email text UNIQUE);
        INSERT INTO persons SELECT n, 'person ' || n, 'person' || n || '@hidden.example' FROM generate_series(1, 50) n;"""
    )
    postgres.run("CREATE SCHEMA elsewhere AUTHORIZATION interlock", superuser=True)
    gateway.learn()
    yield
    postgres.run("DROP SCHEMA elsewhere CASCADE; DROP TABLE items, persons")


@pytest.fixture(autouse=True)
def empty(gateway: Gateway) -> None:
    gateway.sql("DELETE FROM items")


def masked(value: object) -> bool:
    return "hidden" not in str(value) and str(value) not in ("", "None")


# -- asyncpg -----------------------------------------------------------------------------------------------------------


def with_asyncpg(gateway: Gateway, play: Callable[[Any], Awaitable[None]], principal: str = "alice") -> None:
    async def run() -> None:
        connection = await asyncpg.connect(gateway.dsn(principal), timeout=WAIT_S)
        try:
            await play(connection)
        finally:
            await connection.close(timeout=WAIT_S)

    asyncio.run(run())


def test_asyncpg_values_of_many_types(gateway: Gateway) -> None:
    async def play(connection: Any) -> None:
        await connection.execute("INSERT INTO items VALUES ($1, $2, 12.50, DEFAULT, $3, $4)", 1, "one", b"\0\1", ["a", "b"])
        row = await connection.fetchrow("SELECT id, name, price, raw, tags FROM items WHERE id = $1", 1)
        assert (row["id"], row["name"], str(row["price"]), row["raw"], row["tags"]) == (1, "one", "12.50", b"\0\1", ["a", "b"])
        assert await connection.fetchval("SELECT count(*) FROM items") == 1

    with_asyncpg(gateway, play)


def test_asyncpg_masks_what_it_reads_in_binary(gateway: Gateway) -> None:
    async def play(connection: Any) -> None:
        for _ in range(3):  # the statement is cached: the second time it is neither parsed nor described
            rows = await connection.fetch("SELECT id, email, upper(email) AS shout FROM persons WHERE id < $1 ORDER BY id", 4)
            assert [row["id"] for row in rows] == [1, 2, 3]
            assert all(masked(row["email"]) and masked(row["shout"]) for row in rows)

    with_asyncpg(gateway, play)


def test_asyncpg_transactions_and_errors(gateway: Gateway) -> None:
    async def play(connection: Any) -> None:
        with pytest.raises(asyncpg.UniqueViolationError) as caught:
            async with connection.transaction():
                await connection.execute("INSERT INTO items (id) VALUES (7)")
                await connection.execute("INSERT INTO persons SELECT 100, 'x', email FROM persons WHERE id = 7")
        assert caught.value.constraint_name == "persons_email_key" and "hidden" not in str(caught.value.detail)
        assert await connection.fetchval("SELECT count(*) FROM items WHERE id = 7") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DROP TABLE persons")
        assert await connection.fetchval("SELECT 1") == 1

    with_asyncpg(gateway, play)


def test_asyncpg_executemany_cursors_and_copies(gateway: Gateway) -> None:
    async def play(connection: Any) -> None:
        await connection.executemany("INSERT INTO items (id, name) VALUES ($1, $2)", [(n, f"item {n}") for n in range(300)])
        seen = 0
        async with connection.transaction():
            async for _ in connection.cursor("SELECT id FROM items ORDER BY id", prefetch=50):
                seen += 1
        assert seen == 300
        out = bytearray()

        async def take(data: bytes) -> None:
            out.extend(data)

        await connection.copy_from_query("SELECT id, name FROM items WHERE id < 3 ORDER BY id", output=take, format="csv")
        assert bytes(out) == b"0,item 0\n1,item 1\n2,item 2\n"
        out.clear()
        await connection.copy_from_table("persons", output=take)
        assert b"hidden" not in out and out.count(b"\n") == 50
        await connection.copy_records_to_table("items", records=[(1000 + n, f"copied {n}") for n in range(100)], columns=["id", "name"])
        assert await connection.fetchval("SELECT count(*) FROM items WHERE id >= 1000") == 100

    with_asyncpg(gateway, play)


def test_asyncpg_pool_resets_its_connections(gateway: Gateway) -> None:
    async def run() -> None:
        async with asyncpg.create_pool(gateway.dsn(), min_size=2, max_size=2) as pool:
            for _ in range(3):
                found = await asyncio.gather(*(pool.fetchval("SELECT count(*) FROM persons") for _ in range(6)))
                assert found == [50] * 6

    asyncio.run(run())


def test_asyncpg_timeout_cancels_upstream(gateway: Gateway) -> None:
    async def play(connection: Any) -> None:
        with pytest.raises(TimeoutError):
            await connection.execute("SELECT pg_sleep(60)", timeout=0.3)
        assert await connection.fetchval("SELECT 1") == 1

    with_asyncpg(gateway, play)


# -- psycopg -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True])
def test_psycopg_rows_in_both_formats(gateway: Gateway, binary: bool) -> None:
    with gateway.connect() as connection, connection.cursor(binary=binary) as cursor:
        cursor.execute("INSERT INTO items VALUES (%s, %s, 12.50, now(), %b, %s)", (1, "one", b"\0\1", ["a", "b"]))
        row = cursor.execute("SELECT id, name, price, raw, tags FROM items").fetchone()
        assert row is not None and (row[0], row[1], str(row[2]), row[3], row[4]) == (1, "one", "12.50", b"\0\1", ["a", "b"])
        for id_, email, shout in cursor.execute("SELECT id, email, email || '!' FROM persons WHERE id < %s", (5,)).fetchall():
            assert id_ < 5 and masked(email) and masked(shout)


def test_psycopg_prepares_what_it_repeats(gateway: Gateway) -> None:
    with gateway.connect(prepare_threshold=0) as connection:
        for n in range(1, 20):
            assert connection.execute("SELECT name FROM persons WHERE id = %s", (n,)).fetchone() == (f"person {n}",)
            assert masked(connection.execute("SELECT email FROM persons WHERE id = %s", (n,)).fetchone())


def test_psycopg_pipeline(gateway: Gateway) -> None:
    with gateway.connect() as connection, connection.pipeline() as pipeline:
        cursors = [connection.execute("INSERT INTO items (id) VALUES (%s) RETURNING id", (n,)) for n in range(50)]
        pipeline.sync()
        assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(50)]
        emails = [connection.execute("SELECT email FROM persons WHERE id = %s", (n,)) for n in range(1, 20)]
        pipeline.sync()
        assert all(masked(cursor.fetchone()) for cursor in emails)


def test_a_refusal_in_a_pipeline_commits_nothing(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        with pytest.raises(psycopg.Error):
            with connection.pipeline() as pipeline:
                connection.execute("INSERT INTO items (id) VALUES (1)")
                connection.execute("DROP TABLE persons")
                connection.execute("INSERT INTO items (id) VALUES (2)")
                pipeline.sync()
        assert gateway.sql("SELECT count(*) FROM items") == "0"
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_error_in_a_pipeline_is_upstreams_own(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            with connection.pipeline():
                connection.execute("INSERT INTO items (id) VALUES (1)")
                connection.execute("SELECT 1 / (id - 1) FROM items")
                connection.execute("INSERT INTO items (id) VALUES (2)")
        assert gateway.sql("SELECT count(*) FROM items") == "0"
        connection.execute("INSERT INTO items (id) VALUES (3)")


def test_a_hold_in_a_pipeline(gateway: Gateway) -> None:
    gateway.sql("INSERT INTO items (id) VALUES (1)")

    def delete(said: list[int]) -> None:
        with gateway.connect() as connection:
            with connection.pipeline():
                connection.execute("INSERT INTO items (id) VALUES (2)")
                cursor = connection.execute("DELETE FROM items")
            said.append(cursor.rowcount)

    said: list[int] = []
    thread = threading.Thread(target=delete, args=(said,))
    thread.start()
    request = gateway.held("DELETE FROM items")
    gateway.decide(request, True)
    thread.join(WAIT_S)
    assert said == [2] and gateway.sql("SELECT count(*) FROM items") == "0"


def test_psycopg_executemany(gateway: Gateway) -> None:
    with gateway.connect() as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO items (id, name) VALUES (%s, %s)", [(n, f"item {n}") for n in range(500)])
    assert gateway.sql("SELECT count(*) FROM items") == "500"


def test_psycopg_server_side_cursor(gateway: Gateway) -> None:
    with gateway.connect(autocommit=False) as connection:
        with connection.cursor("reader") as cursor:
            cursor.execute("SELECT id, email FROM persons ORDER BY id")
            cursor.itersize = 7
            rows = list(cursor)
        assert [row[0] for row in rows] == list(range(1, 51)) and all(masked(row[1]) for row in rows)
        with connection.cursor("scroller", scrollable=True) as cursor:
            cursor.execute("SELECT id FROM persons ORDER BY id")
            cursor.scroll(40)
            assert cursor.fetchone() == (41,)


@pytest.mark.parametrize("form", ["text", "csv", "binary"])
def test_psycopg_copy_both_ways(gateway: Gateway, form: str) -> None:
    with gateway.connect() as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY items (id, name) FROM STDIN (FORMAT {form})") as copy:
            if form == "csv":
                copy.write(b"".join(b'%d,"item, %d"\n' % (n, n) for n in range(2_000)))
            else:
                copy.set_types(["int4", "text"])
                for n in range(2_000):
                    copy.write_row((n, f"item, {n}"))
        assert cursor.execute("SELECT count(*), max(name) FROM items").fetchone() == (2_000, "item, 999")
        with cursor.copy(f"COPY items (id, name) TO STDOUT (FORMAT {form})") as copy:
            data = b"".join(bytes(piece) for piece in copy)
        assert len(data) > 2_000 * 8 and b"item, 1999" in data
        with cursor.copy(f"COPY (SELECT id, email FROM persons) TO STDOUT (FORMAT {form})") as copy:
            assert b"hidden" not in b"".join(bytes(piece) for piece in copy)


def test_a_copy_that_the_client_gives_up(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        with pytest.raises(ZeroDivisionError), connection.cursor().copy("COPY items (id) FROM STDIN") as copy:
            copy.write_row((1,))
            copy.write_row((1 // 0,))
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (0,)


def test_psycopg_two_phases_of_meaning(gateway: Gateway, postgres: EmbeddedPostgres) -> None:
    """A prepared statement is judged anew after its names changed."""
    postgres.run("CREATE VIEW elsewhere.persons AS SELECT id, upper(email) AS name FROM public.persons")
    gateway.learn()
    with gateway.connect("bob", prepare_threshold=0) as connection:
        look = "SELECT name FROM persons WHERE id = 1"
        for _ in range(2):
            assert connection.execute(look).fetchone() == ("person 1",)
        connection.execute("SET search_path = elsewhere")
        assert masked(connection.execute(look).fetchone())
        connection.execute("RESET search_path")
        assert connection.execute(look).fetchone() == ("person 1",)
        with pytest.raises(ZeroDivisionError), connection.transaction():
            connection.execute("SET LOCAL search_path = elsewhere")
            assert masked(connection.execute(look).fetchone())
            raise ZeroDivisionError
        assert connection.execute(look).fetchone() == ("person 1",)


# -- SQLAlchemy --------------------------------------------------------------------------------------------------------


def test_sqlalchemy_over_psycopg(gateway: Gateway) -> None:
    engine = sqlalchemy.create_engine(gateway.dsn().replace("postgresql:", "postgresql+psycopg:"))
    try:
        items = sqlalchemy.Table("items", sqlalchemy.MetaData(), autoload_with=engine)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.insert(items), [{"id": n, "name": f"item {n}"} for n in range(20)])
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(items)).scalar() == 20
            rows = connection.execute(sqlalchemy.text("SELECT id, email FROM persons WHERE id < :n"), {"n": 4}).all()
            assert len(rows) == 3 and all(masked(row.email) for row in rows)
        with pytest.raises(sqlalchemy.exc.ProgrammingError), engine.begin() as connection:
            connection.execute(sqlalchemy.insert(items), [{"id": 99, "name": "never"}])
            connection.execute(sqlalchemy.text("DROP TABLE persons"))
        assert gateway.sql("SELECT count(*) FROM items") == "20"
    finally:
        engine.dispose()


def test_sqlalchemy_over_asyncpg(gateway: Gateway) -> None:
    async def run() -> None:
        engine = create_async_engine(gateway.dsn().replace("postgresql:", "postgresql+asyncpg:"))
        try:
            async with engine.begin() as connection:
                await connection.execute(sqlalchemy.text("INSERT INTO items (id, name) VALUES (:id, :name)"), [{"id": 1, "name": "one"}])
            async with engine.connect() as connection:
                rows = (await connection.execute(sqlalchemy.text("SELECT id, email FROM persons WHERE id < :n"), {"n": 4})).all()
                assert len(rows) == 3 and all(masked(row.email) for row in rows)
                names = await connection.run_sync(lambda sync: sqlalchemy.inspect(sync).get_table_names())
                assert {"items", "persons"} <= set(names)
        finally:
            await engine.dispose()

    asyncio.run(run())
