"""What a change of definitions does with values: it may try them (a CHECK, an index over an expression, a type), copy them
(a type changed USING another column) or take their name and thereby their data class away (RENAME, SET SCHEMA, DETACH).

Views and materialized views are read through their definition, so nothing is lost with them; but until other sessions have
read it, an old name must not come to mean classed values.
Source: PostgreSQL documentation, SQL commands ALTER TABLE, CREATE INDEX, CREATE POLICY, CREATE STATISTICS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from interlock.facts.sql.catalog import Relation
from interlock.facts.sql.grammar import Node
from interlock.facts.sql.names import strings
from interlock.facts.sql.scope import NOTHING, Rows, Scope, Written, union
from interlock.facts.sql.tracer import Tracer

_LEAVING = frozenset({"AT_DropInherit", "AT_DetachPartition", "AT_DetachPartitionFinalize"})
_ON_RELATIONS = frozenset(f"OBJECT_{kind}" for kind in ("TABLE", "FOREIGN_TABLE", "VIEW", "MATVIEW"))


def follow(tracer: Tracer, node: str, fields: Node) -> None:
    """Note in the tracer what a statement of this kind uses and stores. Statements without such a thing are no error."""
    match node:
        case "IndexStmt" | "AlterTableStmt":
            _on_table(tracer, node, fields, fields["relation"])
        case "CreatePolicyStmt" | "AlterPolicyStmt":
            _on_table(tracer, node, fields, fields["table"])
        case "CreateStatsStmt":
            for relation in fields.get("relations", []):
                if "RangeVar" in relation:
                    _on_table(tracer, node, {"exprs": fields.get("exprs", [])}, relation["RangeVar"])
        case "RenameStmt":
            _rename(tracer, fields)
        case "AlterObjectSchemaStmt" if fields.get("objectType") in _ON_RELATIONS:
            _forget(tracer, fields["relation"])
        case _:
            for query in _find(fields, "SelectStmt"):
                tracer.query({"SelectStmt": query}, None, {})


def _on_table(tracer: Tracer, node: str, fields: Node, target: Node) -> None:
    if tracer.catalog.find(target.get("schemaname"), target["relname"], tracer.search_path) is None and not tracer.catalog.hides(
        target["relname"]
    ):
        return  # it is made in the same breath, and holds nothing that was not judged when it came in
    scope = Scope()
    scope.items.append(tracer.table(target, scope))
    rows = scope.items[0].rows
    for command in [entry["AlterTableCmd"] for entry in fields.get("cmds", [])] if node == "AlterTableStmt" else []:
        _command(tracer, command, target, rows, scope)
    for reference in _find(fields, "ColumnRef"):
        tracer.decide(tracer.column(reference, scope).sources)
    for query in _find(fields, "SelectStmt"):
        tracer.decide(tracer.query({"SelectStmt": query}, scope, {}).everything())


def _command(tracer: Tracer, command: Node, target: Node, rows: Rows, scope: Scope) -> None:
    kind, definition = command["subtype"], command.get("def", {})
    if kind == "AT_AlterColumnType":
        own = union(*(column.sources for column in rows.named(command["name"])))
        tracer.decide(own)
        using = definition.get("ColumnDef", {}).get("raw_default")
        if using is not None:
            sources = tracer.value(using, scope)
            tracer.store(sources, own)
            tracer.written.append(Written(target, rows, {command["name"]: sources}))
    elif kind == "AT_AddInherit":
        parent = tracer.table(definition.get("RangeVar", definition), Scope()).rows
        for column in rows.columns:
            tracer.store(column.sources, union(*(above.sources for above in parent.named(column.name))))
    elif kind in _LEAVING:
        _forget(tracer, definition["PartitionCmd"]["name"] if "PartitionCmd" in definition else target)
    for constraint in _find(definition, "Constraint"):
        if "pktable" in constraint:  # a foreign key tells whether a value is there
            there = tracer.table(constraint["pktable"], Scope()).rows
            names = strings(constraint.get("pk_attrs", []))
            columns = [column for column in there.columns if not names or column.name in names]
            tracer.decide(union(*(column.sources for column in columns), there.rest or NOTHING))


def _rename(tracer: Tracer, fields: Node) -> None:
    kind = fields.get("renameType")
    if kind == "OBJECT_COLUMN" and fields.get("relationType") in _ON_RELATIONS:
        _forget(tracer, fields["relation"], fields["subname"])
    elif kind in _ON_RELATIONS:
        _forget(tracer, fields["relation"])
    elif kind == "OBJECT_SCHEMA":
        for relation in tracer.catalog.in_schema(fields["subname"]):
            _forget_relation(tracer, relation)


def _forget(tracer: Tracer, target: Node, column: str = "") -> None:
    """A table's columns (or one) will have another name: their classes stay behind."""
    relation = tracer.catalog.find(target.get("schemaname"), target["relname"], tracer.search_path)
    if relation is not None:
        _forget_relation(tracer, relation, column)
    elif tracer.catalog.hides(target["relname"]):
        tracer.store(tracer.table(target, Scope()).rows.everything(), NOTHING)


def _forget_relation(tracer: Tracer, relation: Relation, column: str = "") -> None:
    rows = tracer.relation(relation)
    tracer.store(union(*(one.sources for one in rows.columns if column in ("", one.name))), NOTHING)


def _find(node: Any, kind: str) -> Iterator[Node]:
    """Every node of a kind; not those inside of one that was found."""
    if isinstance(node, list):
        for item in node:
            yield from _find(item, kind)
    elif isinstance(node, dict):
        for key, inside in node.items():
            if key == kind:
                yield inside
            else:
                yield from _find(inside, kind)
