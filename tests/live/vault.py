"""A database full of canaries, a gateway in front of it, and how to see whether anything happened to either.

`people` has one classed column of each type; `id`, `name` and `city` are free. The gateway logs in as the superuser:
what policy and masks do not stop, nothing stops. The oracle speaks to the server directly.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import os
import struct
import threading
import uuid
from collections.abc import Coroutine, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from interlock.app import App, running
from interlock.config import load
from interlock.demo.database import EmbeddedPostgres

T = TypeVar("T")
RESOURCE = "vault"
DATABASE = "shop"
WAIT_S = 30.0

WORDS = ("quokka", "zephyrine", "obsidianux")
"""In every classed text of the rows 1, 2, 3; nowhere else on the server."""
NUMBERS = (73917461, 82649376, 94185723)
"""In every classed number."""
UUID = "c0ffee17-5afe-4b1d-9e37-7ab1e0ddba11"
DAY = date(1937, 11, 23)
MOMENT = "1941-05-17 03:33:33"
ADDRESS = "203.0.113.77"

CLASSED = ("email", "phone", "card", "salary", "score", "birth", "seen", "token", "profile", "extra", "addr", "photo", "tags")
_SCHEMA = f"""
ALTER ROLE postgres RESET ALL; ALTER DATABASE shop RESET ALL; DROP ROLE IF EXISTS burglar; DROP EXTENSION IF EXISTS dblink, file_fdw;
SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA IF EXISTS other CASCADE; CREATE SCHEMA other;
CREATE TABLE people (
    id int PRIMARY KEY, name text NOT NULL, city text,
    email text, phone varchar(40), card char(24), salary int, score numeric(12,2), birth date, seen timestamp,
    token uuid, profile jsonb, extra json, addr inet, photo bytea, tags text[]);
INSERT INTO people SELECT i, (ARRAY['Ann','Bob','Cyd'])[i], (ARRAY['Oslo','Rome','Lima'])[i],
    w || i || '@vault.example', 'tel-' || w, 'card-' || w, n, n / 100.0, '{DAY}', '{MOMENT}',
    '{UUID}', jsonb_build_object('secret', w, 'deep', jsonb_build_array(n)), json_build_object('secret', w),
    '{ADDRESS}', convert_to('photo-' || w, 'UTF8'), ARRAY['tag-' || w, 'x']
  FROM unnest(ARRAY['{WORDS[0]}','{WORDS[1]}','{WORDS[2]}'], ARRAY[{NUMBERS[0]},{NUMBERS[1]},{NUMBERS[2]}]) WITH ORDINALITY AS t(w, n, i);
CREATE UNIQUE INDEX people_email ON people (email);
CREATE INDEX people_reversed ON people (reverse(email));
CREATE TABLE notes (id int PRIMARY KEY, body text, n int);
INSERT INTO notes VALUES (1, 'first', 10), (2, 'second', 20), (3, 'third', 30);
CREATE TABLE other.notes AS SELECT id, email AS body, salary AS n FROM people;
CREATE TABLE other.people (id int, email text);
CREATE VIEW v_people AS SELECT id, name, email AS contact, lower(email) AS lowered FROM people;
CREATE VIEW v_deep AS SELECT id, contact AS c FROM v_people;
CREATE MATERIALIZED VIEW m_people AS SELECT id, email AS contact FROM people;
CREATE TABLE visits (id int, visitor text, day int) PARTITION BY RANGE (day);
CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (0) TO (10);
INSERT INTO visits SELECT id, email, id FROM people;
CREATE TABLE staff () INHERITS (people);
INSERT INTO staff SELECT * FROM people;
UPDATE staff SET id = id + 100;
CREATE TABLE gen (id int, email text, mirrored text GENERATED ALWAYS AS (reverse(email)) STORED);
INSERT INTO gen (id, email) SELECT id, email FROM people;
CREATE TABLE logged (id int, body text CHECK (length(body) > 2));
CREATE SEQUENCE counter;
CREATE FUNCTION leak() RETURNS text LANGUAGE sql STABLE AS $$ SELECT email FROM public.people WHERE id = 1 $$;
CREATE FUNCTION touch() RETURNS int LANGUAGE sql AS $$ UPDATE public.notes SET n = n + 1; SELECT 1 $$;
CREATE FUNCTION spy(a int, b int) RETURNS text LANGUAGE sql STABLE AS $$ SELECT string_agg(email, ',') FROM public.people $$;
CREATE OPERATOR <~> (FUNCTION = spy, LEFTARG = int, RIGHTARG = int);
CREATE FUNCTION peek(people) RETURNS text LANGUAGE sql STABLE AS $$ SELECT $1.email $$;
CREATE DOMAIN checked AS text CHECK (length(VALUE) > 0);
CREATE PROCEDURE wipe() LANGUAGE sql AS $$ DELETE FROM public.notes $$;
ANALYZE people; ANALYZE gen;
"""
_STATE = r"""
SELECT concat_ws('/',
    (SELECT string_agg(p::text, '|' ORDER BY id) FROM people p), (SELECT string_agg(n::text, '|' ORDER BY id) FROM notes n),
    (SELECT count(*) FROM logged), (SELECT count(*) FROM visits), (SELECT last_value || is_called::text FROM counter),
    (SELECT string_agg(relname || relkind::text || coalesce(relacl::text, ''), ',' ORDER BY oid) FROM pg_class
        WHERE relnamespace::regnamespace::text NOT LIKE 'pg\_%' AND relnamespace <> 'information_schema'::regnamespace),
    (SELECT string_agg(attrelid::text || attname, ',' ORDER BY attrelid, attnum) FROM pg_attribute WHERE attrelid >= 16384),
    (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_roles), (SELECT count(*) FROM pg_database),
    (SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM pg_cast), (SELECT count(*) FROM pg_rewrite),
    (SELECT count(*) FROM pg_trigger), (SELECT count(*) FROM pg_operator), (SELECT count(*) FROM pg_extension),
    (SELECT count(*) FROM pg_db_role_setting), (SELECT count(*) FROM pg_policy), pg_stat_file('/tmp/interlock-bypass', true) IS NULL)
"""
_CONFIG = """
data: ./data
postgres: {{host: 127.0.0.1, port: 0}}
http: {{host: 127.0.0.1, port: 0}}
plaintext_loopback: true
policy: ./policy.cedar
principals:
  - {{id: reader, kind: user, groups: [readers]}}
  - {{id: writer, kind: user, groups: [readers, writers]}}
  - {{id: builder, kind: user, groups: [readers, writers, builders]}}
  - {{id: sifter, kind: user, groups: [readers, writers, builders, sifters]}}
  - {{id: rooted, kind: user, groups: [readers, writers, builders, sifters, rooted]}}
  - {{id: careful, kind: user, groups: [readers, careful]}}
  - {{id: agent, kind: agent, owner: writer, groups: [readers, writers]}}
  - {{id: stranger, kind: user}}
resources:
  - name: vault
    kind: postgres
    labels: {{env: dev}}
    host: {host}
    port: {port}
    database: {database}
    tls: disable
    username: postgres
    password: env:VAULT_PASSWORD
    durability: write-through
    classes: {{{classes}}}
masking: {{transforms: {{"*": redact}}}}
approval: {{timeout_s: 60, contact: "dba"}}
limits: {{login_s: 5, connections: 500, message_bytes: 4194304}}
"""
POLICY = """
@id("read") permit (principal in Group::"readers", action in [Action::"session", Action::"read"], resource in Label::"env:dev");
@id("look-up") permit (principal in Group::"readers", action == Action::"filter.equal", resource in Label::"env:dev");
@id("write") permit (principal in Group::"writers", action in Action::"write", resource in Label::"env:dev");
@id("talk") permit (principal in Group::"writers", action in [Action::"sql.notify", Action::"sql.lock"], resource in Label::"env:dev");
@id("build")
permit (principal in Group::"builders", action in [Action::"sql.ddl", Action::"sql.maintenance"], resource in Label::"env:dev");
@id("sift") permit (principal in Group::"sifters", action in Action::"filter", resource in Label::"env:dev");
@id("rooted") permit (principal in Group::"rooted", action in Action::"sql", resource in Label::"env:dev");
@id("careful") permit (principal in Group::"careful", action in Action::"write", resource in Label::"env:dev");
@id("where") @hold("dba") @reason("without WHERE")
forbid (principal in Group::"careful", action in [Action::"sql.delete", Action::"sql.update"], resource) when { !context.has_where };
"""


def forms(word: str) -> Iterator[bytes]:
    """How a text could travel."""
    for text in {word, word.upper(), word.capitalize(), word[::-1], word[::-1].upper(), codecs.encode(word, "rot13")}:
        raw = text.encode()
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        yield text.encode("utf-16-le")
        for shift in range(3):  # base64 at any alignment, without the characters that depend on neighbours
            yield base64.b64encode(b"\0" * shift + raw)[4:-4]
        yield b",".join(str(byte).encode() for byte in raw)


def _microseconds(moment: str) -> bytes:
    """A timestamp in binary: microseconds since 2000."""
    since = datetime.fromisoformat(moment).replace(tzinfo=UTC) - datetime(2000, 1, 1, tzinfo=UTC)
    return struct.pack("!q", round(since.total_seconds() * 1_000_000))


def canaries() -> frozenset[bytes]:
    """What must never reach a client, in text and in binary."""
    found = {form for word in WORDS for form in forms(word)}
    for number in NUMBERS:
        found |= {str(number).encode(), str(number)[::-1].encode(), struct.pack("!i", number), f"{number / 100:.2f}".encode()}
        whole = number // 100  # numeric(12,2) in binary: groups of four decimal digits
        found.add(struct.pack("!hhh", whole // 10_000, whole % 10_000, number % 100 * 100))
    found |= {
        UUID.encode(),
        UUID.replace("-", "").encode(),
        uuid.UUID(UUID).bytes,
        str(DAY).encode(),
        ADDRESS.encode(),
        bytes((203, 0, 113, 77)),
    }
    found.add(struct.pack("!i", (DAY - date(2000, 1, 1)).days))
    found |= {b"1941-05-17", b"03:33:33", _microseconds(MOMENT)}
    return frozenset(found)


CANARIES = canaries()


def leaked(data: bytes, own: bytes = b"") -> list[str]:
    """The canaries in what a client received, but for those that it sent itself."""
    return sorted(repr(canary) for canary in CANARIES if canary in data and canary not in own)


class Vault:
    """The server filled, the gateway running, the oracle connected. A context manager."""

    def __init__(self, server: EmbeddedPostgres, folder: Path) -> None:
        self.server = server
        os.environ["VAULT_PASSWORD"] = server.superuser_password
        (folder / "policy.cedar").write_text(POLICY)
        classes = [f"people.{column}: c-{column}" for column in CLASSED] + ["visits.visitor: c-email", "gen.email: c-email"]
        classes += ["other.notes.body: c-email", "other.notes.n: c-salary"]
        (folder / "interlock.yaml").write_text(
            _CONFIG.format(host=server.host, port=server.port, database=DATABASE, classes=", ".join(classes))
        )
        self._config = load(folder / "interlock.yaml")
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="vault-gateway", daemon=True)
        self._tokens: dict[str, str] = {}
        self.app: App

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with running(self._config) as self.app:
                self._ready.set()
                await self._stop.wait()
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._ready.set()

    def __enter__(self) -> Vault:
        self.direct = psycopg.connect(self.server.dsn(DATABASE, superuser=True), autocommit=True)
        self.direct.execute("SET lock_timeout = '5s'")
        self.direct.execute(_SCHEMA.encode())
        self._whole = self.state()
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S)
        self.direct.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    @property
    def port(self) -> int:
        return self.app.listeners["postgres"].port

    def token(self, principal: str) -> str:
        if principal not in self._tokens:
            self._tokens[principal] = self.run(self.app.identity.issue(principal, ["postgres"]))[0]
        return self._tokens[principal]

    def connect(self, principal: str = "reader", **more: Any) -> psycopg.Connection[tuple[Any, ...]]:
        place = {"host": "127.0.0.1", "port": self.port, "user": principal, "password": self.token(principal), "dbname": RESOURCE}
        return psycopg.connect(**{**place, "autocommit": True, **more})

    # -- the oracle ------------------------------------------------------------------------------------------------

    def ask(self, sql: str) -> str:
        """The first value of a query, straight from the server."""
        row = self.direct.execute(sql.encode()).fetchone()
        return "" if row is None or row[0] is None else str(row[0])

    def state(self) -> str:
        return self.ask(_STATE)

    def touched(self) -> bool:
        """Whether anything on the server is not as it was made."""
        try:
            return self.state() != self._whole
        except psycopg.Error:
            return True

    def mend(self) -> None:
        """Make everything anew, and let the gateway learn it."""
        self.direct.execute(_SCHEMA.encode())
        self._whole = self.state()
        self.run(self._forget())

    async def _forget(self) -> None:
        """As after a start on an empty store: or every table that was made anew would be unknown, and hide every hole."""
        key = (RESOURCE, DATABASE)
        derived = self.app.gate.derived
        assert derived is not None
        for kept in (derived._marks, derived._classified, derived._recreated):
            kept.pop(key, None)
        self.app.conversations.catalogs._known.pop(key, None)
        await self.app.conversations.catalogs.get(key)
