"""Which values a statement puts where: INSERT, UPDATE, MERGE, CREATE TABLE AS, SELECT INTO, LIKE, ALTER TYPE … USING.

A written column holds, beside its own values, those of other columns, and so has their data classes. `transfers` tells it
of one statement by syntax and catalog; `land` turns what was committed into `Marks`, once a catalog knows the new relations.
Upper bounds, as in `lineage.py`. Materialized views and views are read through their definition. Not followed: what a
client itself sends (COPY FROM STDIN, literals, parameters), triggers and rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from interlock.facts.sql.catalog import Catalog, Marks, Relation, SearchPath
from interlock.facts.sql.grammar import Node
from interlock.facts.sql.lineage import follow
from interlock.facts.sql.postgres import Statement
from interlock.facts.sql.scope import ANYTHING, NOTHING, UNKNOWN, Rows, Sources, Written, union
from interlock.facts.sql.tracer import Tracer

SOURCES_MAX = 64
"""Most columns that one column is said to hold values of; more are unknown."""
_SYSTEM = ("pg_catalog.", "information_schema.")
_WHOLE = 0
_MOVES = ("RenameStmt", "AlterObjectSchemaStmt")


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one statement puts into one relation. Where the catalog knows it, `marks` says all. Otherwise it goes by its name
    (as written; `path` is the search_path) with the sources by column name, by place (from 1), or for any column (0).
    `opaque`: what it makes and fills cannot be seen at all. `moves`: names of new relations may have changed hands."""

    marks: tuple[tuple[tuple[int, int], Sources], ...] = ()
    schema: str | None = None
    name: str = ""
    path: SearchPath = ()
    columns: tuple[tuple[str | int, Sources], ...] = ()
    opaque: bool = False
    moves: bool = False


@dataclass(frozen=True, slots=True)
class Landed:
    """Where transfers went. `found`: the new relations that they account for. `elsewhere`: what may be in any other."""

    marks: Marks
    found: frozenset[int]
    elsewhere: Sources


def transfers(statement: Statement, catalog: Catalog, search_path: SearchPath) -> tuple[Transfer, ...]:
    """What the statement adds to that which the catalog knows of its columns; empty where that is nothing."""
    ((node, fields),) = statement.tree.items()
    match node:
        case "PrepareStmt" | "DeclareCursorStmt":
            return ()
        case "ExplainStmt" if not any(option["DefElem"]["defname"] == "analyze" for option in fields.get("options", [])):
            return ()
        case "ExplainStmt" | "CopyStmt" if statement.inner is not None:
            return transfers(statement.inner, catalog, search_path)
        case "TransactionStmt":
            return (Transfer(opaque=True),) if statement.transaction == "commit_prepared" else ()
        case "CreateStmt":
            return (_made(fields["relation"], search_path, _like(fields, catalog, search_path)),)
    if not statement.writes and statement.kind != "ddl":
        return ()
    tracer = Tracer(catalog, search_path)
    rows = follow(statement, tracer)
    if rows is None:
        written = (_names(name, search_path) for name in statement.writes)
        return (Transfer(opaque=True), *(Transfer(schema=s, name=n, path=p, columns=((_WHOLE, ANYTHING),)) for s, n, p in written))
    found = [_written(one, catalog, search_path) for one in tracer.written]
    target = fields.get("into", {}).get("rel") if node == "CreateTableAsStmt" else _into(fields)
    exists = target is not None and fields.get("if_not_exists") and tracer.catalog.find(*_names(_name(target), search_path))
    if target is not None and fields.get("objtype") != "OBJECT_MATVIEW" and not exists:
        found.append(_made(target, search_path, _by_place(rows)))
    if node in _MOVES:
        relation = fields.get("relation")
        known = relation is not None and catalog.find(*_names(_name(relation), search_path)) is not None
        found.append(Transfer(moves=True, opaque=relation is not None and not known))
    return tuple(transfer for transfer in found if transfer is not None)


def known_marks(some: Iterable[Transfer]) -> Marks:
    """The marks of those whose relation is known."""
    marks: dict[tuple[int, int], Sources] = {}
    for transfer in some:
        for place, sources in transfer.marks:
            marks[place] = marks.get(place, NOTHING) | sources
    return marks


def unite(*many: Marks) -> dict[tuple[int, int], Sources]:
    united: dict[tuple[int, int], Sources] = {}
    for marks in many:
        for place, sources in marks.items():
            united[place] = united.get(place, NOTHING) | sources
    return united


def land(some: Sequence[Transfer], catalog: Catalog, new: Set[int], changed: frozenset[str]) -> Landed:
    """Where committed transfers went. `new`: relations that nobody has accounted for yet; `changed`: names (without
    schemas) whose meaning these statements changed."""
    marks = dict(known_marks(some))
    found: set[int] = set()
    elsewhere = ANYTHING if any(transfer.opaque for transfer in some) else NOTHING
    moved = any(transfer.moves for transfer in some)
    for transfer in some:
        if not transfer.name:
            continue
        everything = union(*(sources for _, sources in transfer.columns))
        targets = _targets(transfer, catalog, new)
        if moved or not targets:
            names = changed | {transfer.name}
            whole = [relation for relation in catalog.relations if relation.name in names and relation.schema != "pg_catalog"]
            elsewhere |= everything
        else:
            whole = []
            found |= {relation.oid for relation in targets}
        for relation in whole:
            _mark(marks, relation, ((_WHOLE, everything),))
        for relation in targets:
            _mark(marks, relation, transfer.columns)
    return Landed(marks, frozenset(found), elsewhere)


def _targets(transfer: Transfer, catalog: Catalog, new: Set[int]) -> list[Relation]:
    """The relations that the name may have meant: every new one of that name, and the one that it means now. All temporary
    ones, for it is not known whose they are."""
    found = catalog.find(transfer.schema, transfer.name, transfer.path)
    named = [relation for relation in catalog.named(transfer.name) if transfer.schema in (None, "pg_temp", relation.schema)]
    fresh = [relation for relation in named if relation.oid in new]
    return fresh + [one for one in named if one not in fresh and (one == found or one.schema.startswith("pg_temp_"))]


def _mark(marks: dict[tuple[int, int], Sources], relation: Relation, columns: Iterable[tuple[str | int, Sources]]) -> None:
    for key, sources in columns:
        numbers = [key] if isinstance(key, int) else [column.attnum for column in relation.columns if column.name == key]
        for number in numbers or (_WHOLE,) if sources else ():
            place = relation.oid, number
            marks[place] = _bounded(marks.get(place, NOTHING) | sources)


def _written(written: Written, catalog: Catalog, search_path: SearchPath) -> Transfer | None:
    schema, name, path = _names(_name(written.relation), search_path)
    relation = catalog.find(schema, name, path)
    anywhere = _plain(written.assigned.get("", NOTHING))
    if relation is None:
        columns = [(int(key[1:]) if key.startswith("\0") else key, _plain(sources)) for key, sources in written.assigned.items() if key]
        given = tuple((key, sources) for key, sources in (*columns, (_WHOLE, anywhere)) if sources)
        return Transfer(schema=schema, name=name, path=path, columns=given) if given else None
    marks: dict[tuple[int, int], Sources] = {}
    for column in written.rows.columns:
        sources = anywhere | _plain(written.assigned.get(column.name, NOTHING))
        own = f"{relation.qualified}.{column.name}"
        for place in column.sources if relation.kind == "v" else (own,):
            more = sources - catalog.derived.get(place, NOTHING) - {place}
            where = catalog.place(place)
            if more and where is not None:
                marks[where] = _bounded(marks.get(where, NOTHING) | more)
    return Transfer(marks=tuple(sorted(marks.items()))) if marks else None


def _made(relation: Node, search_path: SearchPath, columns: tuple[tuple[str | int, Sources], ...]) -> Transfer:
    schema, name, path = _names(_name(relation), search_path)
    return Transfer(schema=schema, name=name, path=path, columns=columns)


def _by_place(rows: Rows) -> tuple[tuple[str | int, Sources], ...]:
    if rows.rest is not None:
        return ((_WHOLE, ANYTHING),)
    return tuple((at, sources) for at, column in enumerate(rows.columns, 1) if (sources := _plain(column.sources)))


def _like(fields: Node, catalog: Catalog, search_path: SearchPath) -> tuple[tuple[str | int, Sources], ...]:
    """A table made LIKE another is meant for the same kind of values."""
    columns: list[tuple[str | int, Sources]] = []
    for clause in (element["TableLikeClause"] for element in fields.get("tableElts", []) if "TableLikeClause" in element):
        relation = catalog.find(*_names(_name(clause["relation"]), search_path))
        if relation is None:
            return ((_WHOLE, ANYTHING),)
        columns += [(column.name, _plain(column.sources)) for column in Tracer(catalog, search_path).relation(relation).columns]
    return tuple(columns)


def _into(fields: Node) -> Node | None:
    while "larg" in fields:
        fields = fields["larg"]
    clause: Node | None = fields.get("intoClause", {}).get("rel")
    return clause


def _plain(sources: Sources) -> Sources:
    return _bounded(frozenset(source for source in sources if not source.startswith(_SYSTEM)))


def _bounded(sources: Sources) -> Sources:
    return sources if len(sources) <= SOURCES_MAX and UNKNOWN not in sources else ANYTHING | _few(sources)


def _few(sources: Sources) -> Sources:
    return frozenset(sorted(sources - ANYTHING)[:SOURCES_MAX])


def _name(relation: Node) -> tuple[str, ...]:
    return (relation["schemaname"], relation["relname"]) if "schemaname" in relation else (relation["relname"],)


def _names(name: tuple[str, ...], search_path: SearchPath) -> tuple[str | None, str, SearchPath]:
    return (name[-2] if len(name) > 1 else None), name[-1], search_path
