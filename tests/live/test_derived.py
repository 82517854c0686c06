"""Values that were copied, renamed or recreated through the gateway: their data classes go with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from tests.live.gateway import POLICY, Gateway

LOOK = """
@id("dba-filters") permit (principal in Group::"dba", action in [Action::"filter", Action::"filter.equal"], resource);
"""


def fresh(server: EmbeddedPostgres) -> None:
    server.run(
        """DO $$ DECLARE t regclass; BEGIN
            FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
                EXECUTE 'DROP TABLE ' || t || ' CASCADE';
            END LOOP; END $$;
        CREATE TABLE customers (id int PRIMARY KEY, name text, email text, phone text, card text, note text);
        CREATE TABLE notes (id int PRIMARY KEY, note text);
        INSERT INTO customers VALUES (1, 'Jane', 'jane sekret canary', 'x', 'y', 'fine');
        INSERT INTO notes VALUES (1, 'plain')"""
    )


SECRET = "jane sekret canary"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as own:
        yield own


@pytest.fixture
def gateway(tmp_path: Path, server: EmbeddedPostgres) -> Iterator[Gateway]:
    fresh(server)
    house = Gateway(tmp_path, server)
    house.policy.write_text(POLICY + LOOK)
    with house as running:
        yield running


def seen(gateway: Gateway, query: str) -> str:
    """Everything that psql, psycopg and asyncpg are told, by text and binary, and by COPY."""
    told = [gateway.psql("-c", query, principal="bob"), gateway.psql("-c", f"COPY ({query}) TO STDOUT", principal="bob")]
    for binary in (False, True):
        with gateway.connect("bob") as connection, connection.cursor(binary=binary) as cursor:
            told.append(str(cursor.execute(query).fetchall()))

    async def ask() -> str:
        connection = await asyncpg.connect(gateway.dsn("bob"))
        try:
            return str(await connection.fetch(query))
        finally:
            await connection.close()

    told.append(asyncio.run(ask()))
    for one in told:
        assert "ERROR" not in one, one
    return "\n".join(told)


@pytest.mark.parametrize(
    ("steps", "query"),
    [
        (["CREATE TABLE loot AS SELECT id, email AS e FROM customers"], "SELECT e, upper(e) FROM loot"),
        (["SELECT id, email AS e INTO loot FROM customers"], "SELECT * FROM loot"),
        (["CREATE MATERIALIZED VIEW loot AS SELECT email AS e FROM customers"], "SELECT e FROM loot"),
        (["CREATE TABLE loot (LIKE customers)", "INSERT INTO loot SELECT * FROM customers"], "SELECT email FROM loot"),
        (["INSERT INTO notes SELECT 2, email FROM customers"], "SELECT note FROM notes"),
        (
            ["INSERT INTO notes VALUES (1, '') ON CONFLICT (id) DO UPDATE SET note = (SELECT email FROM customers)"],
            "SELECT note FROM notes",
        ),
        (["UPDATE notes SET note = email FROM customers WHERE notes.id = customers.id"], "SELECT note, note || '' FROM notes"),
        (
            ["MERGE INTO notes n USING customers c ON n.id = c.id WHEN MATCHED THEN UPDATE SET note = c.email"],
            "SELECT (n).note FROM notes n",
        ),
        (["WITH x AS (INSERT INTO notes SELECT 3, email FROM customers RETURNING 1) SELECT count(*) FROM x"], "SELECT note FROM notes"),
        (["BEGIN; CREATE TABLE loot (a text); INSERT INTO loot SELECT email FROM customers; COMMIT"], "SELECT a FROM loot"),
        (
            ["BEGIN", "CREATE TABLE loot AS SELECT email AS e FROM customers", "ALTER TABLE loot RENAME TO prey", "COMMIT"],
            "SELECT e FROM prey",
        ),
        (["ALTER TABLE customers RENAME COLUMN email TO contact"], "SELECT contact FROM customers"),
        (["ALTER TABLE customers RENAME TO people2"], "SELECT email FROM people2"),
        (
            [
                "ALTER TABLE customers RENAME TO people2",
                "CREATE TABLE loot AS SELECT email AS e FROM people2",
                "ALTER TABLE loot RENAME e TO f",
            ],
            "SELECT f FROM loot",
        ),
        (["DO $$ BEGIN CREATE TABLE loot AS SELECT email AS e FROM customers; END $$", "CREATE TABLE other (a int)"], "SELECT e FROM loot"),
        (["CREATE TABLE loot AS SELECT email AS e FROM customers", "CREATE VIEW seen AS SELECT e AS f FROM loot"], "SELECT f FROM seen"),
        (["PREPARE p AS INSERT INTO notes SELECT 4, email FROM customers", "EXECUTE p"], "SELECT note FROM notes"),
    ],
    ids=lambda value: value[0][:40] if isinstance(value, list) else None,
)
def test_copies_keep_the_class(gateway: Gateway, steps: list[str], query: str) -> None:
    with gateway.connect("alice") as other:  # a session that is open meanwhile sees it at once
        other.execute("SELECT 1")
        with gateway.connect("bob") as writer:
            for step in steps:
                writer.execute(step)
            assert SECRET not in str(writer.execute(query).fetchall())
            assert SECRET not in str(other.execute(query).fetchall())
    told = seen(gateway, query)
    assert SECRET not in told and SECRET.upper() not in told
    assert SECRET in gateway.sql(query), "the oracle: it is there"


def test_what_was_rolled_back_marks_nothing(gateway: Gateway) -> None:
    with gateway.connect("bob") as writer:
        for end in ("ROLLBACK", "COMMIT"):
            writer.execute("BEGIN")
            writer.execute("UPDATE notes SET note = email FROM customers WHERE notes.id = customers.id")
            assert SECRET not in str(writer.execute("SELECT note FROM notes").fetchall())
            writer.execute(end)
            assert ("plain" in seen(gateway, "SELECT note FROM notes")) is (end == "ROLLBACK")
            assert SECRET not in seen(gateway, "SELECT note FROM notes")


def test_failed_writes_and_plain_values_mark_nothing(gateway: Gateway) -> None:
    with gateway.connect("bob") as writer:
        with pytest.raises(psycopg.errors.UniqueViolation):
            writer.execute("INSERT INTO notes SELECT 1, email FROM customers")
        writer.execute("INSERT INTO notes VALUES (7, %s)", ["mine"])
        writer.execute("CREATE TABLE clean AS SELECT id, name FROM customers")
    assert "plain" in seen(gateway, "SELECT note FROM notes")
    assert "Jane" in seen(gateway, "SELECT name FROM clean")


def test_a_recreated_table_is_unknown(gateway: Gateway) -> None:
    with gateway.connect("bob") as writer:
        assert "fine" in str(writer.execute("SELECT note FROM customers").fetchall())
        writer.execute("DROP TABLE customers")
        writer.execute("CREATE TABLE customers (id int, email text, note text)")
        writer.execute("INSERT INTO customers VALUES (1, 'a', 'restored')")
    assert "restored" not in seen(gateway, "SELECT note FROM customers")


def test_a_restart_forgets_nothing(tmp_path: Path, server: EmbeddedPostgres) -> None:
    fresh(server)
    for turn in range(2):
        house = Gateway(tmp_path, server)
        house.policy.write_text(POLICY + LOOK)
        with house as gateway:
            if not turn:
                with gateway.connect("bob") as writer:
                    writer.execute("CREATE TABLE loot AS SELECT email AS e, name FROM customers")
                    writer.execute("ALTER TABLE customers RENAME email TO contact")
                gateway.sql("ALTER TABLE customers RENAME contact TO mail")
            told = seen(gateway, "SELECT e, name FROM loot")
            assert SECRET not in told and "Jane" in told
            gateway.learn()
            assert SECRET not in seen(gateway, "SELECT mail FROM customers")


def test_who_hangs_up_in_the_middle_launders_nothing(gateway: Gateway) -> None:
    writer = gateway.connect("bob")
    writer.pgconn.send_query(b"CREATE TABLE loot AS SELECT email AS e FROM customers, pg_sleep(0)")
    writer.pgconn.finish()
    gateway.until(lambda: gateway.sessions() == 0 or None)
    if "loot" in gateway.sql("SELECT relname FROM pg_class WHERE relname = 'loot'"):
        assert SECRET not in seen(gateway, "SELECT e FROM loot")


def test_a_null_in_place_of_a_mask_is_told(gateway: Gateway) -> None:
    gateway.sql("CREATE TABLE people (email int, name text); INSERT INTO people SELECT i, 'Jane' FROM generate_series(1, 300) i")
    gateway.learn()
    words = 'interlock: values of column "email" (email) are hidden as NULL because type int4 cannot hold a mask'
    for step in ("SELECT * FROM people", "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM people; FETCH ALL FROM c"):
        assert gateway.psql("-c", step).count(words) == 1
    assert words not in gateway.psql("-c", "SELECT name FROM people")
    for binary in (False, True):
        with gateway.connect() as connection:
            told: list[str] = []
            connection.add_notice_handler(lambda notice, told=told: told.append(str(notice.message_primary)))  # type: ignore[misc]
            with connection.cursor(binary=binary) as cursor:
                assert set(cursor.execute("SELECT email FROM people").fetchall()) == {(None,)}
            assert told == [words]
            with connection.cursor() as cursor, cursor.copy("COPY people (email) TO STDOUT (FORMAT binary)") as copy:
                assert b"".join(copy)
            assert len(told) == 2 and "hidden as NULL" in told[1]
