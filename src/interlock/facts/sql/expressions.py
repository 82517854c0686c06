"""From which base columns an expression's value comes, and which columns decide (predicates, order, groups).

`value` unites the sources of everything inside an expression. `condition` notes columns that decide something as `uses`:
`equal` where a bare column is compared for equality with constants or parameters (or with NULL), `other` for all else. A
value decides, too, where the statement could fail, wait, or leave something behind because of it (`totals.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from interlock.facts.sql import functions, totals
from interlock.facts.sql.catalog import Catalog, SearchPath
from interlock.facts.sql.grammar import Node
from interlock.facts.sql.names import constant, strings
from interlock.facts.sql.scope import ANYTHING, NOTHING, Column, Rows, Scope, Sources, Written, union
from interlock.facts.sql.vocabulary import Call

SYSTEM_COLUMN_NAMES = frozenset({"ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"})
WORK_LIMIT = 100_000
"""Most nodes that are visited for one statement, views included; beyond it everything is unknown."""

_PICKING = frozenset({"min", "max", "mode", "percentile_cont", "percentile_disc"})
"""Aggregates whose result tells which value is the least, most frequent…"""


class TooMuch(Exception):
    """The statement takes more work than `WORK_LIMIT`."""


class Expressions:
    """Half of the tracer: expressions. The other half, `Tracer`, knows queries and gives `subquery`."""

    def __init__(self, catalog: Catalog, search_path: SearchPath) -> None:
        self.catalog = catalog
        self.search_path = search_path
        self.uses: set[tuple[str, str]] = set()
        self.stored: set[tuple[str, Sources]] = set()
        self.written: list[Written] = []
        self.hidden_calls: set[Call] = set()
        self.work = 0

    def subquery(self, node: Node, scope: Scope) -> Rows:
        raise NotImplementedError

    # Values

    def value(self, node: Any, scope: Scope) -> Sources:
        """The sources of a node, a list of nodes, or the fields of one."""
        self.work += 1
        if self.work > WORK_LIMIT:
            raise TooMuch
        if isinstance(node, list):
            return union(*[self.value(item, scope) for item in node if isinstance(item, (dict, list))])
        found: Sources = NOTHING
        for key, inside in node.items():
            if isinstance(inside, (dict, list)):
                method = _VALUES.get(key)
                if method is not None:
                    found |= method(self, inside, scope)
                    continue
                sources = self.value(inside, scope)
                if key[:1].isupper() and key not in totals.NODES:
                    self.decide(sources)
                found |= sources
        return found

    def _column(self, fields: Node, scope: Scope) -> Sources:
        return self.column(fields, scope).sources

    def column(self, fields: Node, scope: Scope) -> Column:
        """A ColumnRef: a column, a whole row, or a function in attribute notation (`t.f` is `f(t)`)."""
        parts = strings(fields["fields"])
        if "A_Star" in fields["fields"][-1]:
            rows = self.qualified(parts, scope) if parts else Rows(tuple(c for i in scope.items for c in i.rows.columns))
            return Column("*", rows.everything() if rows else ANYTHING)
        name = parts[-1]
        if len(parts) == 1:
            found = scope.column(name)
            if found is not None:
                return found
            rows = scope.table(name)
            if rows is not None:
                return Column(name, rows.everything())
            system = self._system_column(name, scope)
            return Column(name, system if system is not None else ANYTHING)
        rows = self.qualified(parts[:-1], scope)
        if rows is None:
            return Column(name, ANYTHING)
        columns = rows.named(name)
        if columns:
            return Column(name, union(*(column.sources for column in columns)), len(columns) == 1 and columns[0].direct)
        if rows.rest is not None:
            return Column(name, rows.rest)
        if name in SYSTEM_COLUMN_NAMES:
            return Column(name, _beside(rows, name), True)
        return Column(name, self._attribute_call(name, rows.everything()))

    def qualified(self, parts: tuple[str, ...], scope: Scope) -> Rows | None:
        """The rows that `alias`, `schema.table` or `database.schema.table` names."""
        return scope.table(parts[-1], parts[-2] if len(parts) > 1 else None)

    def _system_column(self, name: str, scope: Scope | None) -> Sources | None:
        if name not in SYSTEM_COLUMN_NAMES or scope is None or not scope.items:
            return None
        return union(*(_beside(item.rows, name) for item in scope.items))

    def _attribute_call(self, name: str, argument: Sources) -> Sources:
        """`t.f` where f is no column of t: a call of f on the whole row."""
        call = Call((name,))
        self.hidden_calls.add(call)
        return argument if functions.computed_from_arguments(call, self.catalog, self.search_path) else argument | ANYTHING

    def _indirection(self, fields: Node, scope: Scope) -> Sources:
        argument = fields["arg"]
        subscripts = self.value([part for part in fields["indirection"] if "A_Indices" in part], scope)
        words = strings(fields["indirection"])
        if words and "ColumnRef" in argument:
            rows = self.whole_row(argument["ColumnRef"], scope)
            if rows is not None and rows.rest is None:
                columns = rows.named(words[0])
                if columns:
                    return union(subscripts, *(column.sources for column in columns))
        sources = union(subscripts, self.value(argument, scope))
        for word in words:
            if self.catalog.function(None, word, self.search_path):
                sources |= self._attribute_call(word, sources)
        return sources

    def whole_row(self, fields: Node, scope: Scope) -> Rows | None:
        """The rows that a ColumnRef names as a whole (`u` in `FROM users u`), None where it names a column."""
        parts = strings(fields["fields"])
        if len(parts) != len(fields["fields"]) or (len(parts) == 1 and scope.column(parts[0]) is not None):
            return None
        return self.qualified(parts, scope) if len(parts) == 1 else None

    def _call(self, fields: Node, scope: Scope) -> Sources:
        call = Call(strings(fields["funcname"])[-2:])
        arguments = self.value(fields.get("args", []), scope)
        deciding = self.value([fields[key] for key in ("agg_order", "agg_filter") if key in fields], scope)
        if "over" in fields:
            deciding |= self.window(fields["over"], scope)
        if fields.get("agg_distinct") or fields.get("agg_within_group") or call.name[-1] in _PICKING or not self._is_total(call):
            self.decide(arguments)
        elif call.name[-1] in totals.ONE_ARGUMENT:
            at = totals.ONE_ARGUMENT[call.name[-1]]
            self.decide(self.value([argument for place, argument in enumerate(fields.get("args", [])) if place != at], scope))
        self.decide(deciding)
        sources = arguments | deciding
        return sources if functions.computed_from_arguments(call, self.catalog, self.search_path) else sources | ANYTHING

    def _is_total(self, call: Call) -> bool:
        if call.name[-1] not in totals.FUNCTIONS:
            return False
        reached = functions.reaches(call, self.catalog, self.search_path)
        return all(function.builtin for function in reached)

    def window(self, fields: Node, scope: Scope) -> Sources:
        """The sources of a window's partition and order, by definition or by name."""
        sources = self.value(
            [fields[key] for key in ("partitionClause", "orderClause", "startOffset", "endOffset") if key in fields], scope
        )
        for key in ("name", "refname"):
            if key in fields:
                sources |= scope.windows.get(fields[key], NOTHING)
        return sources

    def _operation(self, fields: Node, scope: Scope) -> Sources:
        sources = self.value({key: fields[key] for key in ("lexpr", "rexpr") if key in fields}, scope)
        name = strings(fields["name"])
        if fields["kind"] == "AEXPR_NULLIF" or name[-1] not in totals.OPERATORS:
            self.decide(sources)
        elif name[-1] in totals.PATTERNS and "rexpr" in fields:
            self.decide(self.value(fields["rexpr"], scope))
        reached = self.catalog.function(name[-2] if len(name) > 1 else None, name[-1], self.search_path)
        return sources | ANYTHING if reached and not functions.harmless(reached) else sources

    def _case(self, fields: Node, scope: Scope) -> Sources:
        whens = [when["CaseWhen"] for when in fields.get("args", [])]
        deciding = self.value([fields.get("arg", {}), *(when["expr"] for when in whens)], scope)
        self.decide(deciding)
        return deciding | self.value([fields.get("defresult", {}), *(when["result"] for when in whens)], scope)

    def _cast(self, fields: Node, scope: Scope) -> Sources:
        sources = self.value(fields["arg"], scope)
        if not totals.is_cast(strings(fields["typeName"]["names"])) or "arrayBounds" in fields["typeName"]:
            self.decide(sources)
        return sources

    def _boolean(self, fields: Node, scope: Scope) -> Sources:
        """AND and OR run their second half, which may fail or wait, depending on the first."""
        sources = self.value(fields["args"], scope)
        if fields["boolop"] != "NOT_EXPR":
            self.decide(sources)
        return sources

    def _extreme(self, fields: Node, scope: Scope) -> Sources:
        sources = self.value(fields["args"], scope)
        self.decide(sources)
        return sources

    def _sublink(self, fields: Node, scope: Scope) -> Sources:
        sources = self._query_value(fields["subselect"], scope)
        if "testexpr" in fields:
            sources |= self.value(fields["testexpr"], scope)
            self.decide(sources)
        return sources

    def _select_value(self, fields: Node, scope: Scope) -> Sources:
        return self._query_value({"SelectStmt": fields}, scope)

    def _query_value(self, query: Node, scope: Scope) -> Sources:
        """A subquery as a value: its columns, and whatever decides which rows it has (so that EXISTS tells no more)."""
        around, self.uses = self.uses, set()
        try:
            rows = self.subquery(query, scope)
            return rows.everything() | {column for column, _ in self.uses}
        finally:
            self.uses |= around

    # Deciding

    def decide(self, sources: Sources, how: str = "other") -> None:
        for column in sources:
            self.uses.add((column, how))

    def store(self, sources: Sources, places: Sources) -> None:
        """Values of these columns go where they are known as `places` (nothing: where no column is known yet)."""
        for column in sources:
            self.stored.add((column, places))

    def condition(self, node: Any, scope: Scope) -> None:
        """Note what a predicate uses."""
        if not node:
            return
        ((kind, fields),) = node.items()
        if kind == "BoolExpr":
            for argument in fields["args"]:
                self.condition(argument, scope)
            return
        if kind == "NullTest" and "ColumnRef" in fields["arg"]:  # a mask shows NULL as NULL
            self.decide(self._column(fields["arg"]["ColumnRef"], scope), "equal")
            return
        if kind == "A_Expr":
            column = self._equality(fields, scope)
            if column is not None:
                self.decide(column.sources, "equal" if column.direct else "other")
                return
        self.decide(self.value(node, scope))

    def _equality(self, fields: Node, scope: Scope) -> Column | None:
        """The column of `column = constant`, `constant = column`, `column IN (constants)`, `column = ANY (constants)`."""
        if strings(fields["name"]) != ("=",) or fields["kind"] not in ("AEXPR_OP", "AEXPR_IN", "AEXPR_OP_ANY"):
            return None
        sides = [fields.get("lexpr", {}), fields.get("rexpr", {})]
        if fields["kind"] == "AEXPR_OP":
            sides.sort(key=lambda side: "ColumnRef" not in side)
        if "ColumnRef" not in sides[0] or not _is_given(sides[1]):
            return None
        return self.column(sides[0]["ColumnRef"], scope)


def _beside(rows: Rows, name: str) -> Sources:
    """The system column of the tables that these columns come from: `s.t.a` has `s.t.ctid` beside it."""
    tables = {source.rpartition(".")[0] for column in rows.columns for source in column.sources if "." in source}
    return frozenset(f"{table}.{name}" for table in tables) or ANYTHING


def _is_given(node: Node) -> bool:
    """Constants and parameters only."""
    if "ParamRef" in node or constant(node) is not None or node.get("A_Const", {}).get("isnull"):
        return True
    if "TypeCast" in node:
        return _is_given(node["TypeCast"]["arg"])
    inside = node.get("List", {}).get("items") or node.get("A_ArrayExpr", {}).get("elements")
    return bool(inside) and all(_is_given(item) for item in inside)


_VALUES: Mapping[str, Callable[[Expressions, Any, Scope], Sources]] = {
    "ColumnRef": Expressions._column,
    "A_Indirection": Expressions._indirection,
    "FuncCall": Expressions._call,
    "A_Expr": Expressions._operation,
    "CaseExpr": Expressions._case,
    "MinMaxExpr": Expressions._extreme,
    "TypeCast": Expressions._cast,
    "BoolExpr": Expressions._boolean,
    "SubLink": Expressions._sublink,
    "SelectStmt": Expressions._select_value,
}
