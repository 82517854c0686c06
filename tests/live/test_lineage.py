"""Lineage against a real PostgreSQL: the golden queries have as many columns as RowDescription says, each origin that it
reports is among the sources, and no value changes with a base column that is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.pq import ExecStatus

from interlock.demo.database import EmbeddedPostgres
from interlock.facts.sql import Catalog, Statement, filters, read, trace
from tests.facts.sql.golden import FOLDER, PATH, cases

DATABASE = "lineage"
CATALOG = (
    """SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')""",
    """SELECT attrelid::int8, attnum::int, attname, atttypid::int8, CASE WHEN attgenerated <> '' THEN pg_get_expr(adbin, adrelid) END
       FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0 AND NOT attisdropped""",
    """SELECT n.nspname, p.proname, p.provolatile::text, l.lanname, p.oid < 16384 FROM pg_proc p
       JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang""",
    "SELECT inhrelid::int8, inhparent::int8 FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE relkind IN ('r', 'p', 'f')",
)
CHANGES = {
    "public.users.email": "UPDATE users SET email = 'p' || email",
    "public.users.name": "UPDATE users SET name = 'p' || name",
    "public.users.phone": "UPDATE users SET phone = 'p' || phone",
    "public.users.meta": "UPDATE users SET meta = jsonb_build_object('k', 'pp' || id, 'n', id + 50)",
    "public.orders.status": "UPDATE orders SET status = 'p' || status",
    "public.orders.amount": "UPDATE orders SET amount = amount + 1000",
    "public.log.note": "UPDATE log SET note = 'p' || note",
    "hr.staff.email": "UPDATE hr.staff SET email = 'p' || email",
}
SKIPPED = ("xmlelement", "random", "pg_stat", "ctid", "xmin", "relname", "nextval", "now()")
"""Not built into the server, or telling of rows and moments rather than of values."""
QUERIES = [case["sql"] for case in cases("lineage") if not any(word in case["sql"] for word in SKIPPED)]


@dataclass
class Database:
    connection: psycopg.Connection[tuple[Any, ...]]
    catalog: Catalog

    def rows(self, query: str, change: str | None) -> list[tuple[Any, ...]]:
        """What a query returns after a change, of which nothing stays."""
        with self.connection.transaction(force_rollback=True):
            if change is not None:
                self.connection.execute(change)
                self.connection.execute("REFRESH MATERIALIZED VIEW m_users")
            cursor = self.connection.execute(query)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    postgres.run(f"CREATE DATABASE {DATABASE}", superuser=True)
    with psycopg.connect(postgres.dsn(DATABASE, superuser=True), autocommit=True) as connection:
        connection.execute((FOLDER / "schema.sql").read_text())
        connection.execute("SET search_path = ''")
        rows = [connection.execute(query).fetchall() for query in CATALOG]
        connection.execute("SET search_path = public")
        yield Database(connection, Catalog.build(rows[0], rows[1], rows[2], rows[3]))
    postgres.run(f"DROP DATABASE {DATABASE}", superuser=True)


def statement(query: str) -> Statement:
    return read(query.replace("postgres.public", f"{DATABASE}.public")).statements[0]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:60])
def test_columns_and_origins(database: Database, query: str) -> None:
    asked = statement(query)
    server = database.connection.pgconn
    prepared = server.prepare(b"", asked.text.encode())
    assert prepared.status == ExecStatus.COMMAND_OK, prepared.error_message
    described = server.describe_prepared(b"")
    traced = trace(asked, database.catalog, PATH)
    if traced is None:
        return
    assert len(traced) == described.nfields
    for at, sources in enumerate(traced):
        origin = database.catalog.column_name(described.ftable(at), described.ftablecol(at))
        assert origin is None or sources is None or origin in sources


@pytest.mark.parametrize("query", [query for query in QUERIES if "$1" not in query], ids=lambda query: query[:60])
def test_values_change_only_with_their_sources(database: Database, query: str) -> None:
    asked = statement(query)
    traced = trace(asked, database.catalog, PATH)
    if traced is None or any(sources is None for sources in traced):
        return
    deciding = {column for column, _ in filters(asked, database.catalog, PATH)}
    before = database.rows(asked.text, None)
    for column, change in CHANGES.items():
        if column in deciding:
            continue
        after = database.rows(asked.text, change)
        assert len(after) == len(before)
        for at, sources in enumerate(traced):
            assert sources is not None
            assert column in sources or [row[at] for row in after] == [row[at] for row in before]
