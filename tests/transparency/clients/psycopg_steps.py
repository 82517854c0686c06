"""psycopg 3: pipelines, binary, server-side cursors, COPY in three formats, two-phase commit, notifications.

One line per step: name, tab, outcome. Run with `PG*` in the environment.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import ipaddress
import os
import threading
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

ROWS = 3_000


def step(name: str, work: Callable[[], object]) -> None:
    try:
        outcome = repr(work())
    except psycopg.Error as error:
        outcome = f"{error.sqlstate} {error}"
    print(name, outcome.replace("\n", "\\n"), sep="\t", flush=True)


def main() -> None:
    connection = psycopg.connect(os.environ.get("DSN", ""), autocommit=True)
    connection.execute("CREATE TABLE steps (id int PRIMARY KEY, name text, value jsonb)")
    connection.prepare_threshold = 2
    try:
        for binary in (False, True):
            play(connection, f"{'binary' if binary else 'text'}: ", binary)
        rest(connection)
    finally:
        connection.rollback()
        connection.execute("DROP TABLE steps")
        connection.close()


def play(connection: psycopg.Connection[Any], kind: str, binary: bool) -> None:
    def ask(query: Any, *values: object) -> list[Any]:
        cursor = connection.cursor(binary=binary)
        cursor.execute(query, values or None)
        return [*cursor.fetchall(), [(column.name, column.type_code, column.internal_size) for column in cursor.description or ()]]

    values: list[object] = [
        True, 7, 2**40, 1.5, decimal.Decimal("12345678901234567890.123"), "text ü", b"\0\xff", datetime.date(2000, 2, 29),
        datetime.time(12, 30, 15, 5), datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(days=3, seconds=5),
        uuid.UUID(int=7), ipaddress.ip_address("10.0.0.1"), [1, None, 3], ["a", 'b"c', None], Jsonb({"a": [1, 2]}), Range(1, 9), None,
    ]  # fmt: skip
    for number, value in enumerate(values):
        step(f"{kind}value {number}", lambda value=value: ask("SELECT %s AS v", value))  # type: ignore[misc]
    step(f"{kind}prepared by itself", lambda: [ask("SELECT %s::int + 1", n)[0] for n in range(6)])
    step(f"{kind}composite", lambda: ask("SELECT ROW(1, 'a', NULL), ARRAY[ROW(1, 2)], int4range(1, 5), '{}'::jsonb"))
    step(f"{kind}error", lambda: ask("SELECT 1 / %s::int", 0))

    def portions() -> object:
        with connection.transaction(), connection.cursor("portions", binary=binary, scrollable=True) as cursor:
            cursor.execute("SELECT g, 'n' || g FROM generate_series(1, 500) g")
            first = cursor.fetchmany(10)
            cursor.scroll(480)
            rest = cursor.fetchall()
            cursor.scroll(-500)
            return first, rest, cursor.fetchone()

    step(f"{kind}server-side cursor", portions)

    def copied() -> object:
        form = "BINARY" if binary else "TEXT"
        with connection.transaction(force_rollback=True):
            cursor = connection.cursor()
            with cursor.copy(f"COPY steps (id, name) FROM STDIN (FORMAT {form})") as copy:
                copy.set_types(["int4", "text"])
                for n in range(ROWS):
                    copy.write_row((n, None if n % 7 == 0 else f"name\t{n}\\"))
            with cursor.copy(f"COPY (SELECT id, name FROM steps ORDER BY id) TO STDOUT (FORMAT {form})") as copy:
                copy.set_types(["int4", "text"])
                rows = list(copy.rows())
            return len(rows), rows[:3], rows[-1]

    step(f"{kind}copy", copied)


def rest(connection: psycopg.Connection[Any]) -> None:
    def pipeline() -> object:
        with connection.pipeline(), connection.transaction(force_rollback=True):
            cursors = [connection.execute("INSERT INTO steps VALUES (%s, %s) RETURNING id", (n, str(n))) for n in range(200)]
            return sum(row[0] for cursor in cursors if (row := cursor.fetchone()))

    def broken_pipeline() -> object:
        with connection.pipeline() as pipe:
            connection.execute("INSERT INTO steps VALUES (9000, 'kept?')")
            connection.execute("SELECT 1 / 0")
            connection.execute("INSERT INTO steps VALUES (9001, 'not')")
            pipe.sync()
        return None

    def many() -> object:
        with connection.transaction(force_rollback=True):
            cursor = connection.cursor()
            cursor.executemany("INSERT INTO steps VALUES (%s, %s) RETURNING id", [(n, "x") for n in range(50)], returning=True)
            found = [cursor.fetchone()]
            while cursor.nextset():
                found.append(cursor.fetchone())
            return found

    def two_phases() -> object:
        with psycopg.connect(os.environ.get("DSN", "")) as other:
            other.tpc_begin(other.xid(1, "transparency", "branch"))
            other.execute("INSERT INTO steps VALUES (9100, 'prepared')")
            other.tpc_prepare()
            before = connection.execute("SELECT count(*) FROM steps WHERE id = 9100").fetchone()
            other.tpc_rollback()
            return before

    def stream() -> object:
        cursor = connection.cursor()
        return sum(row[0] for row in cursor.stream("SELECT generate_series(1, 1000)", size=64))

    def cancelled() -> object:
        timer = threading.Timer(0.2, connection.cancel_safe)
        timer.start()
        try:
            return connection.execute("SELECT pg_sleep(20)").fetchone()
        finally:
            timer.join()

    def notified() -> object:
        connection.execute("LISTEN steps")
        connection.execute("NOTIFY steps, 'said'")
        heard = next(connection.notifies(timeout=5, stop_after=1))
        return heard.channel, heard.payload, heard.pid == connection.info.backend_pid

    async def at_once() -> object:
        async def ask(n: int) -> int:
            async with await psycopg.AsyncConnection.connect(os.environ.get("DSN", "")) as one:
                row = await (await one.execute("SELECT %s::int", (n,))).fetchone()
                assert row is not None
                return int(row[0])

        return sum(await asyncio.gather(*(ask(n) for n in range(30))))

    step("pipeline", pipeline)
    step("pipeline that breaks", broken_pipeline)
    step("what the broken pipeline left", lambda: connection.execute("SELECT * FROM steps").fetchall())
    step("executemany returning", many)
    step("two-phase commit", two_phases)
    step("stream", stream)
    step("cancel", cancelled)
    step("notify", notified)
    step("duplicate", lambda: connection.execute("INSERT INTO steps VALUES (1, 'a'), (1, 'b')"))
    step("multiple statements", lambda: connection.execute("SELECT 1; SELECT 2").fetchall())
    step(
        "status of parameters",
        lambda: [connection.info.parameter_status(name) for name in ("server_version", "TimeZone", "DateStyle", "is_superuser")],
    )
    step("30 connections", lambda: asyncio.run(at_once()))


if __name__ == "__main__":
    main()
