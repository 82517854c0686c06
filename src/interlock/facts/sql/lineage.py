"""Which base columns reach the output of a statement, and which columns its predicates use.

Both answers are upper bounds: they may name a column too much, never one too few. What cannot be followed is said to
be unknown (None in `trace`, the column `*` in `filters`), and so is everything that takes too much work.

Not followed, on purpose: which rows exist (`SELECT 1 FROM t WHERE email LIKE …` returns no column of t; `filters` tells),
triggers and rules, and what functions read that are not known to compute from their arguments alone (unknown).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.facts.sql import definitions
from interlock.facts.sql.catalog import Catalog, SearchPath
from interlock.facts.sql.expressions import TooMuch
from interlock.facts.sql.names import strings
from interlock.facts.sql.scope import UNKNOWN, Rows, Scope, Sources
from interlock.facts.sql.tracer import Tracer
from interlock.facts.sql.vocabulary import Call

if TYPE_CHECKING:
    from interlock.facts.sql.postgres import Statement

Lineage = tuple[Sources | None, ...]
_QUERIES = ("SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")
_EMPTY: Sources = frozenset()


def trace(statement: Statement, catalog: Catalog, search_path: SearchPath) -> Lineage | None:
    """Per output column the base columns (`schema.table.column`) that its value may depend on: through expressions, CASE
    conditions, functions, subqueries, CTEs, views. An empty set means none (`count(*)`, a literal), None unknown.

    Instead of a tuple None where even the number of columns is unknown. For PREPARE and DECLARE it is that of the inner
    statement; for EXECUTE, FETCH and CALL None (the caller knows the inner statement). Statements without rows: `()`.
    A view's column has the view's own column among its sources, beside those of the base tables.
    """
    ((node, fields),) = statement.tree.items()
    if node in ("PrepareStmt", "DeclareCursorStmt"):
        return trace(statement.inner, catalog, search_path) if statement.inner is not None else None
    if statement.kind == "explain":
        return (_EMPTY,)
    if statement.kind == "show":
        return (_EMPTY,) * (3 if fields["name"] == "all" else 1)
    if statement.kind in ("execute", "fetch", "call"):
        return None
    if statement.kind == "copy_to":
        return _copied(statement, catalog, search_path)
    if not statement.returns_rows:
        return ()
    return _outward(follow(statement, Tracer(catalog, search_path)))


def filters(statement: Statement, catalog: Catalog, search_path: SearchPath) -> frozenset[tuple[str, str]]:
    """The base columns that decide something in a statement, each with `equal` (a bare column is compared for equality
    with constants or parameters) or `other` (any other use in WHERE, JOIN, GROUP BY, HAVING, ORDER BY, DISTINCT, set
    operations, CASE, windows, FILTER, min, max…). Through views, to the base columns too. Column `*`: could not be traced."""
    tracer = Tracer(catalog, search_path)
    if follow(statement, tracer) is None:
        tracer.uses.add((UNKNOWN, "other"))
    return frozenset(tracer.uses)


def stores(statement: Statement, catalog: Catalog, search_path: SearchPath) -> frozenset[tuple[str, Sources]]:
    """The base columns whose values a statement puts elsewhere, each with the columns that these are then known as: INSERT,
    UPDATE, MERGE, and with no column at all what makes a table (SELECT INTO, CREATE TABLE AS) or takes a name away."""
    tracer = Tracer(catalog, search_path)
    if follow(statement, tracer) is None:
        tracer.store(frozenset((UNKNOWN,)), _EMPTY)
    return frozenset(tracer.stored)


def hidden_calls(statement: Statement, catalog: Catalog, search_path: SearchPath) -> frozenset[Call]:
    """Function calls in attribute notation: `t.f` is `f(t)` where t has no column f."""
    tracer = Tracer(catalog, search_path)
    follow(statement, tracer)
    return frozenset(tracer.hidden_calls)


def follow(statement: Statement, tracer: Tracer) -> Rows | None:
    """Trace a statement, or every query inside it; None where it is too much."""
    ((node, fields),) = statement.tree.items()
    try:
        if node in _QUERIES:
            rows = tracer.query(statement.tree, None, {})
            if statement.kind == "ddl":  # SELECT INTO
                tracer.store(rows.everything(), _EMPTY)
            return rows
        if statement.inner is not None:
            return follow(statement.inner, tracer)
        if node == "CopyStmt":
            target = fields["relation"]
            tracer.condition(fields.get("whereClause"), _table_scope(tracer, target))
            return Rows(())
        if node in ("CreateTableAsStmt", "ViewStmt"):
            rows = tracer.query(fields["query"], None, {})
            target = fields["view"] if node == "ViewStmt" else fields["into"]["rel"]
            used = bool(tracer.catalog.named(target["relname"])) or tracer.catalog.hides(target["relname"])
            if used or (node == "CreateTableAsStmt" and fields.get("objtype") != "OBJECT_MATVIEW"):
                # Under a name that is known, other sessions would read it with the old meaning for a moment.
                tracer.store(rows.everything(), _EMPTY)
            return rows
        definitions.follow(tracer, node, fields)
        return Rows(())
    except (TooMuch, RecursionError):
        return None


def _table_scope(tracer: Tracer, target: dict[str, object]) -> Scope:
    scope = Scope()
    scope.items.append(tracer.table(target, scope))
    return scope


def _outward(rows: Rows | None) -> Lineage | None:
    if rows is None or rows.rest is not None:
        return None
    return tuple(None if UNKNOWN in column.sources else column.sources for column in rows.columns)


def _copied(statement: Statement, catalog: Catalog, search_path: SearchPath) -> Lineage | None:
    if statement.inner is not None:
        return trace(statement.inner, catalog, search_path)
    target = statement.tree["CopyStmt"]["relation"]
    relation = catalog.find(target.get("schemaname"), target["relname"], search_path)
    if relation is None:
        return None
    rows = Tracer(catalog, search_path).relation(relation)
    names = strings(statement.tree["CopyStmt"].get("attlist", [])) or tuple(c.name for c in relation.columns if not c.generated)
    listed = [rows.named(name) for name in names]
    if rows.rest is not None or not all(len(found) == 1 for found in listed):
        return None
    return _outward(Rows(tuple(found[0] for found in listed)))
