"""What the gateway reads of a database, while others use it; and cancelling."""

from __future__ import annotations

import threading

import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from tests.live.gateway import Gateway

READERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND query ~ 'pg_get_viewdef' AND pid <> pg_backend_pid()"


def test_a_locked_table_stops_nobody_elses_reading(gateway: Gateway, postgres: EmbeddedPostgres) -> None:
    """Deparsing a view locks the tables that it reads, and one transaction may hold such a table for hours."""
    postgres.run("CREATE TABLE locked (id int, email text); CREATE VIEW above AS SELECT id, email FROM locked")
    try:
        with gateway.connect("bob") as holder, gateway.connect("bob") as other:
            holder.execute("ALTER TABLE locked ADD COLUMN more int")
            other.autocommit = True
            other.execute("CREATE TABLE meanwhile (id int)")
            assert other.execute("SELECT count(*) FROM meanwhile").fetchone() == (0,)
            holder.rollback()
            other.execute("DROP TABLE meanwhile")
    finally:
        postgres.run("DROP TABLE locked CASCADE")


def test_the_reader_goes_with_the_last_session(gateway: Gateway, postgres: EmbeddedPostgres) -> None:
    gateway.until(lambda: gateway.sql(READERS) == "0")
    with gateway.connect("bob") as connection:
        connection.autocommit = True
        connection.execute("CREATE TABLE briefly (id int)")
        connection.execute("SELECT 1")  # waits until the new definitions are known
        assert gateway.sql(READERS) == "1"
        connection.execute("DROP TABLE briefly")
        connection.execute("SELECT 1")
        assert gateway.sql(READERS) == "1"
    gateway.until(lambda: gateway.sql(READERS) == "0")


def test_a_view_over_generated_and_inherited_columns_is_traced(gateway: Gateway, postgres: EmbeddedPostgres) -> None:
    """`customers.email` is classed; what is derived from it, by whatever way, is masked."""
    postgres.run(
        """CREATE TABLE base (id int, email text, shout text GENERATED ALWAYS AS (upper(email)) STORED);
        CREATE TABLE child () INHERITS (base);
        CREATE VIEW loud AS SELECT shout FROM child;
        INSERT INTO child VALUES (1, 'canary@hidden.example')"""
    )
    try:
        gateway.learn()
        with gateway.connect("alice") as connection:
            row = connection.execute("SELECT id, shout FROM base").fetchone()
            assert row is not None and row[0] == 1 and "HIDDEN" not in str(row[1])
            assert "HIDDEN" not in str(connection.execute("SELECT shout FROM loud").fetchone())
    finally:
        postgres.run("DROP TABLE base CASCADE")


@pytest.mark.parametrize("times", [25])
def test_a_cancel_request_never_hits_the_next_statement(gateway: Gateway, times: int) -> None:
    with gateway.connect("alice") as connection:
        connection.autocommit = True
        for _ in range(times):
            timer = threading.Timer(0.02, connection.cancel_safe)
            timer.start()
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("SELECT pg_sleep(20)")
            timer.join()  # the request is over, and with it all that it may do
            assert connection.execute("SELECT 1").fetchone() == (1,)
