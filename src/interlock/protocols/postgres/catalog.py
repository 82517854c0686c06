"""What a database says of itself: the questions, and the `Catalog` that their answers make.

`SYSTEM` asks for what initdb made (OIDs below 16384), which no user changes: it is asked once and kept. It uses plain
columns of pg_catalog only, since nothing is known yet about functions. `USER` asks for the rest, again after each
change of definitions, and so it has to be quick. The session that asks has an empty search_path (names in definitions
come back qualified) and a lock_timeout: deparsing a view locks the tables it reads, so that one transaction which has
altered a table would otherwise stop everybody's reading. A view over locked tables goes without its definition
until the lock is gone; what comes from it is unknown and masked.
Source: PostgreSQL documentation, chapter 53 "System Catalogs"; 54.12 "pg_locks".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from interlock.errors import UpstreamError
from interlock.exchange import Reply
from interlock.facts.sql.catalog import Catalog

SETTINGS = {"search_path": "", "lock_timeout": "1s"}
"""The settings of the session that asks."""
_CHUNKS = 64
"""The user's part comes as JSON, many rows in one, because it is read after every change of definitions and must
not cost a message per column. The system's part cannot: nothing is known yet about the functions that make JSON."""


def _plain(columns: str, by: str, rest: str) -> str:
    return f"SELECT {columns} {rest}"


def _chunked(columns: str, by: str, rest: str) -> str:
    return f"SELECT pg_catalog.json_agg(pg_catalog.json_build_array({columns})) {rest} GROUP BY {by}::pg_catalog.int8 % {_CHUNKS}"


_KINDS = "c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')"
_CLASS = "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
_ATTRIBUTE = "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid"
_OWN = "a.attnum > 0 AND NOT a.attisdropped"
_PROC = """FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
       JOIN pg_catalog.pg_language l ON l.oid = p.prolang"""
_OPERATOR = """FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
       JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode JOIN pg_catalog.pg_language l ON l.oid = p.prolang"""
_DEFAULTS = "LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum AND a.attgenerated <> ''"
_LOCKED = """EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r
           JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
           JOIN pg_catalog.pg_locks l ON l.relation = d.refobjid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
           WHERE r.ev_class = c.oid AND l.mode = 'AccessExclusiveLock')"""


def _questions(ask: Callable[[str, str, str], str], made: str, generated: str, defaults: str) -> tuple[str, ...]:
    """Relations, columns, functions, operators outside pg_catalog, of the OIDs that `made` says."""
    function = "n.nspname, p.proname, p.provolatile, l.lanname, p.oid < 16384"
    return (
        ask("c.oid, n.nspname, c.relname, c.relkind", "c.oid", f"{_CLASS} WHERE {_KINDS} AND c.oid {made}"),
        ask(
            f"a.attrelid, a.attnum, a.attname, a.atttypid, {generated}",
            "a.attrelid",
            f"{_ATTRIBUTE} {defaults} WHERE {_OWN} AND {_KINDS} AND c.oid {made}",
        ),
        ask(function, "p.oid", f"{_PROC} WHERE p.oid {made}"),
        ask(function.replace("p.proname", "o.oprname"), "o.oid", f"{_OPERATOR} WHERE n.nspname <> 'pg_catalog' AND o.oid {made}"),
    )


SYSTEM = _questions(_plain, "< 16384", "NULL", "")
USER = (
    *_questions(_chunked, ">= 16384", "pg_catalog.pg_get_expr(f.adbin, f.adrelid)", _DEFAULTS),
    _chunked(
        "i.inhrelid, i.inhparent",
        "i.inhrelid",
        "FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'p', 'f')",
    ),
    _chunked(
        "c.oid, pg_catalog.pg_get_viewdef(c.oid)",
        "c.oid",
        f"FROM pg_catalog.pg_class c WHERE c.relkind IN ('v', 'm') AND c.oid >= 16384 AND NOT {_LOCKED}",
    ),
)
DESCRIBE = """SELECT n.nspname AS schema, c.relname AS relation, CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END AS kind,
       a.attname AS column, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 1, 2, a.attnum"""
"""What an agent asks to learn a schema."""


def build(base: Catalog | None, answers: Sequence[Reply], version: int) -> Catalog:
    """The catalog of the answers to `USER`, on top of `base`; or, without `base`, of the answers to `SYSTEM`.
    Raises `UpstreamError` if one failed."""
    for answer in answers:
        if answer.failed:
            raise UpstreamError(f"the catalog cannot be read: {answer.failed}", hint=answer.hint)
        if answer.truncated:
            raise UpstreamError("the catalog is larger than the gateway's bound")
    relations, columns, functions, operators, *rest = (_rows(answer, packed=base is not None) for answer in answers)
    inherits, views = rest or ([], [])
    definitions = {int(oid): text for oid, text in views}
    return Catalog.build(
        [(int(oid), schema, name, kind, definitions.get(int(oid))) for oid, schema, name, kind in relations],
        [(int(oid), int(attnum), name, int(type_), generated) for oid, attnum, name, type_, generated in columns],
        [
            (schema, name, volatility, language, builtin in (True, "t"))
            for schema, name, volatility, language, builtin in functions + operators
        ],
        [(int(child), int(parent)) for child, parent in inherits],
        version=version,
        base=base,
    )


def _rows(answer: Reply, *, packed: bool) -> list[Any]:
    if not packed:
        return list(answer.rows)
    return [row for line in answer.rows for row in json.loads(line[0] or "[]")]
