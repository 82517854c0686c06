"""Result-bearing query shapes × ways to ask × clients, over columns of every type that can be masked.

Asked as `sifter`, who may use every column in every way and may see none of the classed ones. Each client goes through a
tap that keeps every byte of the gateway's answers; the oracle is that no canary is among them, in text or in binary.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import asyncpg
import psycopg

from interlock.protocols.postgres import wire
from tests.live.client import Client
from tests.live.vault import CLASSED, RESOURCE, Vault, leaked

WHO = "sifter"
ALL = ", ".join(CLASSED)
SHAPES = {
    "star": "SELECT * FROM people",
    "columns": f"SELECT id, {ALL} FROM people",
    "reversed order": f"SELECT {', '.join(reversed(CLASSED))}, name FROM people",
    "aliases": "SELECT email AS name, salary AS id, token AS city FROM people",
    "table": "TABLE people",
    "only": f"SELECT {ALL} FROM ONLY people",
    "child": "SELECT * FROM staff",
    "partition": "SELECT * FROM visits_1",
    "partitioned": "SELECT visitor, id FROM visits",
    "generated": "SELECT * FROM gen",
    "view": "SELECT * FROM v_people",
    "view of view": "SELECT c, id FROM v_deep",
    "matview": "SELECT * FROM m_people",
    "schema": "SELECT * FROM other.notes",
    "whole row": "SELECT p FROM people p",
    "row constructor": f"SELECT ROW({ALL}) FROM people",
    "whole row as text": "SELECT p::text FROM people p",
    "row_to_json": "SELECT row_to_json(p) FROM people p",
    "to_jsonb": "SELECT to_jsonb(p) FROM people p",
    "json_agg": "SELECT json_agg(p) FROM people p",
    "json field": "SELECT profile -> 'secret', profile ->> 'secret', extra -> 'secret', profile #>> '{deep,0}' FROM people",
    "json subscript": "SELECT profile['secret'], profile['deep'][0] FROM people",
    "json_build": "SELECT json_build_object('a', reverse(email), 'b', salary) FROM people",
    "json constructor": "SELECT JSON_OBJECT('a': reverse(email)), JSON_ARRAY(salary) FROM people",
    "json_table": "SELECT j.* FROM people, JSON_TABLE(profile, '$' COLUMNS (a text PATH '$.secret', n int PATH '$.deep[0]')) j",
    "jsonb_each": "SELECT e.key, e.value FROM people, jsonb_each(profile) e",
    "json elements": "SELECT x FROM people, jsonb_array_elements(profile -> 'deep') x",
    "arrays": "SELECT tags, tags[1], tags[1:1], ARRAY[email], ARRAY[salary] FROM people",
    "array_agg": "SELECT array_agg(email), array_agg(salary), array_agg(token), array_agg(birth), array_agg(addr) FROM people",
    "array of rows": "SELECT array_agg(p) FROM people p",
    "array subquery": "SELECT ARRAY(SELECT salary FROM people), ARRAY(SELECT reverse(email) FROM people)",
    "unnest": "SELECT unnest(tags) FROM people",
    "unnest ordinality": "SELECT o, x FROM people p, unnest(p.tags) WITH ORDINALITY u(x, o)",
    "string_agg": "SELECT string_agg(reverse(email), ',') FROM people",
    "extremes": "SELECT min(salary), max(score), min(birth), max(seen), min(email), max(addr) FROM people",
    "sums": "SELECT sum(salary), avg(salary), sum(score) FROM people WHERE id = 1",
    "percentile": "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY salary), mode() WITHIN GROUP (ORDER BY email) FROM people",
    "grouped": "SELECT email, salary, count(*) FROM people GROUP BY email, salary",
    "grouping sets": "SELECT email, salary FROM people GROUP BY GROUPING SETS ((email), (salary), ())",
    "distinct": "SELECT DISTINCT email, salary FROM people",
    "ordered": "SELECT email, birth FROM people ORDER BY salary DESC",
    "window": "SELECT lag(salary) OVER w, first_value(email) OVER w, nth_value(token, 1) OVER w FROM people WINDOW w AS (ORDER BY id)",
    "subselect": "SELECT x.* FROM (SELECT reverse(email) AS name, salary AS id FROM people) x",
    "scalar subquery": "SELECT (SELECT reverse(email) FROM people p WHERE p.id = n.id), (SELECT max(salary) FROM people) FROM notes n",
    "lateral": "SELECT l.* FROM people p, LATERAL (SELECT p.salary, reverse(p.email), p.photo) l",
    "cte": f"WITH x AS (SELECT {ALL} FROM people) SELECT * FROM x",
    "cte materialized": "WITH x AS MATERIALIZED (SELECT id, reverse(email) AS name, token FROM people) SELECT name, token FROM x",
    "recursive": (
        "WITH RECURSIVE r(n, a, b) AS (SELECT 1, email::text, salary FROM people UNION ALL SELECT n + 1, reverse(a), b FROM r WHERE n < 3) "
        "SELECT a, b FROM r"
    ),
    "join": "SELECT a.email, b.salary, n.body FROM people a JOIN people b USING (id) JOIN notes n USING (id)",
    "join star": "SELECT * FROM notes JOIN people USING (id)",
    "natural join": "SELECT * FROM people NATURAL JOIN notes",
    "full join": "SELECT email, a.salary FROM people a FULL JOIN gen USING (email)",
    "union": "SELECT name, id FROM people UNION ALL SELECT reverse(email), salary FROM people",
    "union dates": "SELECT birth, token FROM people UNION SELECT birth, token FROM staff",
    "except": "SELECT salary FROM people EXCEPT SELECT 1",
    "values": "SELECT * FROM (VALUES ((SELECT salary FROM people LIMIT 1), (SELECT reverse(email) FROM people LIMIT 1))) v(id, name)",
    "case": "SELECT CASE WHEN id > 1 THEN salary ELSE id END, CASE id WHEN 1 THEN reverse(email) ELSE name END FROM people",
    "coalesce": "SELECT coalesce(email, name), greatest(salary, id), nullif(score, 1), least(birth, now()::date) FROM people",
    "text functions": "SELECT upper(email), reverse(email), email || 'x', left(email, 9), translate(email, '@', '#') FROM people",
    "encodings": (
        "SELECT encode(photo, 'hex'), encode(photo, 'base64'), convert_from(photo, 'UTF8'), email::bytea, "
        "encode(convert_to(email, 'UTF8'), 'hex') FROM people"
    ),
    "casts": "SELECT salary::text, salary::bigint, score::float8, birth::timestamp, token::text, addr::text, tags::text FROM people",
    "numbers": "SELECT salary + 0, -salary, salary * 1.0, score + 0, salary::numeric, to_char(salary, 'FM999999999') FROM people",
    "dates": "SELECT birth + 0, to_char(birth, 'YYYY-MM-DD'), date_trunc('second', seen), seen::date, birth::text FROM people",
    "network": "SELECT host(addr), addr + 0, set_masklen(addr, 24), network(addr) FROM people",
    "ranges": "SELECT int4range(salary, NULL), daterange(birth, NULL), numrange(score, NULL) FROM people",
    "composite field": "SELECT (p).email, (p).salary, (SELECT x FROM people x LIMIT 1).token FROM people p",
    "collate": 'SELECT email COLLATE "C", phone COLLATE "C" FROM people',
    "for update": "SELECT email, salary FROM people FOR SHARE",
    "limit": "SELECT email, salary FROM people ORDER BY id LIMIT 2 OFFSET 1",
    "returning": "UPDATE people SET city = city RETURNING id, email, salary, token, photo, tags, people",
    "returning old new": "UPDATE people SET city = city RETURNING old.salary, reverse(new.email), old.birth",
    "returning cte": "WITH u AS (UPDATE people SET city = city RETURNING reverse(email) AS name, salary AS id) SELECT name, id FROM u",
    "merge": "MERGE INTO people USING notes ON people.id = notes.id WHEN MATCHED THEN UPDATE SET city = city RETURNING email, salary",
    "statistics": "SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE tablename IN ('people', 'gen')",
}
_WRITES = ("UPDATE", "MERGE", "WITH u")


class Tap:
    """Stands between a client and the gateway, and keeps what the gateway answers."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._seen = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def take(self) -> bytes:
        """All that came since the last time."""
        with self._lock:
            seen = bytes(self._seen)
            self._seen.clear()
            return seen

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                gateway = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._pipe, args=(client, gateway, False), daemon=True).start()
                threading.Thread(target=self._pipe, args=(gateway, client, True), daemon=True).start()

    def _pipe(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if keep:
                    with self._lock:
                        self._seen += data
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Found:
    """What one client was told for one shape."""

    client: str
    shape: str
    leaks: tuple[str, ...]
    failed: str
    rows: int


Ask = Callable[[str], int]
"""Asks one query and gives the number of rows (or of bytes, for COPY)."""


def sweep(vault: Vault, shapes: dict[str, str], only: tuple[str, ...] = ()) -> Iterator[Found]:
    """Every client asks for every shape; what it then saw is searched."""
    tap = Tap(vault.port)
    try:
        for name, make in CLIENTS.items():
            if only and name not in only:
                continue
            with make(vault, tap.port) as ask:
                tap.take()
                for shape, sql in shapes.items():
                    failed, rows = "", 0
                    try:
                        rows = ask(sql)
                    except Exception as error:  # whatever a driver makes of a refusal
                        failed = f"{type(error).__name__}: {error}".splitlines()[0]
                    yield Found(name, shape, tuple(leaked(tap.take())), failed, rows)
    finally:
        tap.close()


# -- clients ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _raw(vault: Vault, port: int, talk: Callable[[str], bytes]) -> Iterator[Ask]:
    client = Client.connect(port)
    assert client.login(WHO, vault.token(WHO), RESOURCE)

    def ask(sql: str) -> int:
        client.messages.clear()
        client.send(talk(sql))
        if not client.until("Z"):
            raise ConnectionError("no answer")
        if errors := client.errors():
            client.send(wire.query("ROLLBACK"))
            client.until("Z")
            raise ValueError(errors[0].get("M"))
        return sum(message.kind in "Dd" for message in client.messages)

    yield ask
    client.close()


def _extended(formats: list[int], *, describe: bool) -> Callable[[str], bytes]:
    def talk(sql: str) -> bytes:
        described = wire.describe("P", "") if describe else b""
        return wire.parse("", sql) + wire.bind("", "", result_formats=formats) + described + wire.execute("") + wire.sync()

    return talk


def _cursor(kind: str) -> Callable[[str], bytes]:
    def talk(sql: str) -> bytes:
        if sql.startswith(_WRITES):  # no cursor over a write
            return wire.query(sql)
        return wire.query(f"BEGIN; DECLARE c {kind} FOR {sql}; FETCH 1 c; FETCH ALL c; CLOSE c; COMMIT")

    return talk


def _copied(options: str) -> Callable[[str], bytes]:
    return lambda sql: wire.query(f"COPY ({sql}) TO STDOUT ({options})")


@contextlib.contextmanager
def _psql(vault: Vault, port: int, prefix: str) -> Iterator[Ask]:
    place = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": WHO, "PGPASSWORD": vault.token(WHO), "PGDATABASE": RESOURCE}

    def ask(sql: str) -> int:
        words = f"COPY ({sql}) TO STDOUT" if prefix == "copy" else sql
        lines = (
            [f"\\copy ({sql}) TO STDOUT CSV HEADER"]
            if prefix == "\\copy"
            else [f"{prefix} {words}" if prefix not in ("", "copy") else words]
        )
        done = subprocess.run(
            [vault.server.psql, "-X", "-v", "ON_ERROR_STOP=1", *[part for line in lines for part in ("-c", line)]],
            env={**os.environ, **place},
            capture_output=True,
            text=True,
            timeout=30,
        )
        if done.returncode:
            raise ValueError(done.stderr.strip())
        return done.stdout.count("\n")

    yield ask


@contextlib.contextmanager
def _psycopg(vault: Vault, port: int, how: str) -> Iterator[Ask]:
    with vault.connect(WHO, port=port, prepare_threshold=0 if how == "prepared" else 5) as connection:

        def ask(sql: str) -> int:
            text = sql.encode()
            if how == "server cursor" and not sql.startswith(_WRITES):
                with connection.transaction(), psycopg.ServerCursor(connection, "s", scrollable=False) as cursor:
                    cursor.itersize = 2
                    return len(cursor.execute(text).fetchall())
            if how == "copy":
                with connection.cursor() as plain, plain.copy(b"COPY (" + text + b") TO STDOUT (FORMAT binary)") as copy:
                    return sum(1 for _ in copy.rows())
            if how == "pipeline":
                with connection.pipeline(), connection.cursor(binary=True) as one, connection.cursor() as other:
                    one.execute(text, prepare=True)
                    other.execute("SELECT 1")
                    return len(one.fetchall())
            with connection.cursor(binary=how in ("binary", "prepared")) as cursor:
                raw = psycopg.RawCursor(connection) if how == "raw" else cursor
                found = raw.execute(text, prepare=how == "prepared").fetchall()
                if how == "prepared":
                    found = cursor.execute(text, prepare=True).fetchall()
                return len(found)

        yield ask


@contextlib.contextmanager
def _asyncpg(vault: Vault, port: int, how: str) -> Iterator[Ask]:
    loop = asyncio.new_event_loop()
    place = {"host": "127.0.0.1", "port": port, "user": WHO, "password": vault.token(WHO), "database": RESOURCE, "ssl": False}
    connection = loop.run_until_complete(asyncpg.connect(**place))

    async def run(sql: str) -> int:
        if how == "cursor" and not sql.startswith(_WRITES):
            async with connection.transaction():
                return len([row async for row in connection.cursor(sql, prefetch=2)])
        if how == "copy":
            parts: list[bytes] = []

            async def keep(data: bytes) -> None:
                parts.append(data)

            await connection.copy_from_query(sql, output=keep, format="binary")
            return len(parts)
        if how == "simple":
            await connection.execute(sql)
            return 1
        await connection.fetch(sql)
        return len(await connection.fetch(sql))  # the second time without Describe

    yield lambda sql: loop.run_until_complete(asyncio.wait_for(run(sql), 20))
    loop.run_until_complete(connection.close())
    loop.close()


CLIENTS: dict[str, Callable[[Vault, int], contextlib.AbstractContextManager[Ask]]] = {
    "raw simple": lambda v, p: _raw(v, p, wire.query),
    "raw extended text": lambda v, p: _raw(v, p, _extended([], describe=True)),
    "raw extended binary": lambda v, p: _raw(v, p, _extended([1], describe=True)),
    "raw binary without describe": lambda v, p: _raw(v, p, _extended([1], describe=False)),
    "raw cursor": lambda v, p: _raw(v, p, _cursor("CURSOR")),
    "raw binary cursor": lambda v, p: _raw(v, p, _cursor("BINARY CURSOR")),
    "raw copy text": lambda v, p: _raw(v, p, _copied("FORMAT text")),
    "raw copy csv": lambda v, p: _raw(v, p, _copied("FORMAT csv, HEADER, FORCE_QUOTE *")),
    "raw copy binary": lambda v, p: _raw(v, p, _copied("FORMAT binary")),
    "asyncpg": lambda v, p: _asyncpg(v, p, "fetch"),
    "asyncpg simple": lambda v, p: _asyncpg(v, p, "simple"),
    "asyncpg cursor": lambda v, p: _asyncpg(v, p, "cursor"),
    "asyncpg copy": lambda v, p: _asyncpg(v, p, "copy"),
    "psycopg text": lambda v, p: _psycopg(v, p, "text"),
    "psycopg binary": lambda v, p: _psycopg(v, p, "binary"),
    "psycopg prepared": lambda v, p: _psycopg(v, p, "prepared"),
    "psycopg raw cursor": lambda v, p: _psycopg(v, p, "raw"),
    "psycopg server cursor": lambda v, p: _psycopg(v, p, "server cursor"),
    "psycopg copy": lambda v, p: _psycopg(v, p, "copy"),
    "psycopg pipeline": lambda v, p: _psycopg(v, p, "pipeline"),
    "psql": lambda v, p: _psql(v, p, ""),
    "psql copy": lambda v, p: _psql(v, p, "\\copy"),
}
