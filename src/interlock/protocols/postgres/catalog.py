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

from collections.abc import Sequence

from interlock.errors import UpstreamError
from interlock.exchange import Reply
from interlock.facts.sql.catalog import Catalog

SETTINGS = {"search_path": "", "lock_timeout": "1s"}
"""The settings of the session that asks."""
_RELATIONS = """SELECT c.oid, n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND c.oid {made}"""
_COLUMNS = """SELECT a.attrelid, a.attnum, a.attname, a.atttypid, {generated} FROM pg_catalog.pg_attribute a
       JOIN pg_catalog.pg_class c ON c.oid = a.attrelid {defaults}
       WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND c.oid {made}"""
_FUNCTIONS = """SELECT DISTINCT n.nspname, p.proname, p.provolatile, l.lanname, p.oid < 16384 AS builtin FROM pg_catalog.pg_proc p
       JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang
       WHERE p.oid {made}
       UNION ALL
       SELECT n.nspname, o.oprname, p.provolatile, l.lanname, p.oid < 16384 FROM pg_catalog.pg_operator o
       JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
       JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE n.nspname <> 'pg_catalog' AND o.oid {made}"""
_LOCKED = """EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r
           JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
           JOIN pg_catalog.pg_locks l ON l.relation = d.refobjid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
           WHERE r.ev_class = c.oid AND l.mode = 'AccessExclusiveLock')"""
_VIEWS = f"""SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.pg_class c
       WHERE c.relkind IN ('v', 'm') AND c.oid >= 16384 AND NOT {_LOCKED}"""  # noqa: S608 - nothing but this module's words
_DEFAULTS = "LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum AND a.attgenerated <> ''"

SYSTEM = (
    _RELATIONS.format(made="< 16384"),
    _COLUMNS.format(made="< 16384", generated="NULL", defaults=""),
    _FUNCTIONS.format(made="< 16384"),
)
USER = (
    _RELATIONS.format(made=">= 16384"),
    _COLUMNS.format(made=">= 16384", generated="pg_catalog.pg_get_expr(f.adbin, f.adrelid)", defaults=_DEFAULTS),
    _FUNCTIONS.format(made=">= 16384"),
    """SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i
       JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'p', 'f')""",
    _VIEWS,
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
    relations, columns, functions, *rest = (answer.rows for answer in answers)
    inherits, views = rest or ((), ())
    definitions = {_number(oid): text for oid, text in views}
    return Catalog.build(
        [(_number(oid), _text(schema), _text(name), _text(kind), definitions.get(_number(oid))) for oid, schema, name, kind in relations],
        [(_number(oid), _number(attnum), _text(name), _number(type_), generated) for oid, attnum, name, type_, generated in columns],
        [
            (_text(schema), _text(name), volatility or "v", _text(language), builtin == "t")
            for schema, name, volatility, language, builtin in functions
        ],
        [(_number(child), _number(parent)) for child, parent in inherits],
        version=version,
        base=base,
    )


def _number(cell: str | None) -> int:
    return int(cell or 0)


def _text(cell: str | None) -> str:
    return cell or ""
