"""What a database says of itself: the questions, and the `Catalog` that their answers make.

The questions are asked in two rounds. The first uses plain columns of pg_catalog only, since nothing is known
yet about functions; the second asks for view definitions with what the first has taught.
Source: PostgreSQL documentation, chapter 53 "System Catalogs".
"""

from __future__ import annotations

from collections.abc import Sequence

from interlock.errors import UpstreamError
from interlock.exchange import Reply
from interlock.facts.sql.catalog import Catalog

FIRST = (
    """SELECT c.oid, n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')""",
    """SELECT a.attrelid, a.attnum, a.attname, a.atttypid FROM pg_catalog.pg_attribute a
       JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
       WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')""",
    """SELECT DISTINCT n.nspname, p.proname, p.provolatile, l.lanname, p.oid < 16384 AS builtin FROM pg_catalog.pg_proc p
       JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang
       UNION ALL
       SELECT n.nspname, o.oprname, p.provolatile, l.lanname, p.oid < 16384 FROM pg_catalog.pg_operator o
       JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
       JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE n.nspname <> 'pg_catalog'""",
)
SECOND = (
    """SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.pg_class c
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('v', 'm') AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema'""",
)
DESCRIBE = """SELECT n.nspname AS schema, c.relname AS relation, CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END AS kind,
       a.attname AS column, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 1, 2, a.attnum"""
"""What an agent asks to learn a schema."""
Relations = list[tuple[int, str, str, str, str | None]]


def build(first: Sequence[Reply], second: Sequence[Reply], version: int) -> Catalog:
    """The catalog of the answers to `FIRST` and (may be empty) `SECOND`. Raises `UpstreamError` if one failed."""
    for answer in (*first, *second):
        if answer.failed:
            raise UpstreamError(f"the catalog cannot be read: {answer.failed}", hint=answer.hint)
        if answer.truncated:
            raise UpstreamError("the catalog is larger than the gateway's bound")
    views = {int(oid): text for answer in second for oid, text in answer.rows if oid is not None}
    relations: Relations = [
        (int(oid or 0), schema or "", name or "", kind or "", views.get(int(oid or 0))) for oid, schema, name, kind in first[0].rows
    ]
    columns = [(int(relation or 0), int(attnum or 0), name or "", int(type_ or 0)) for relation, attnum, name, type_ in first[1].rows]
    functions = [
        (schema or "", name or "", volatility or "v", language or "", builtin == "t")
        for schema, name, volatility, language, builtin in first[2].rows
    ]
    return Catalog.build(relations, columns, functions, version=version)
