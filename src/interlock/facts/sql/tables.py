"""What stands in FROM: tables, views, joins, subqueries, functions; each becomes an `Item` of a scope."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.facts.sql import functions
from interlock.facts.sql.catalog import Relation
from interlock.facts.sql.expressions import Expressions, TooMuch
from interlock.facts.sql.grammar import Node, Unparsable, parse
from interlock.facts.sql.names import strings
from interlock.facts.sql.naming import output_name
from interlock.facts.sql.relations import SCALAR_FUNCTIONS, TWO_COLUMN_FUNCTIONS, base_rows
from interlock.facts.sql.scope import ANYTHING, NOTHING, OPAQUE, Column, Item, Named, Rows, Scope, Sources, union
from interlock.facts.sql.vocabulary import Call

VIEW_DEPTH = 16
"""Deepest nesting of views that is followed."""
FIRST_USER_OID = 16_384
"""Objects below are PostgreSQL's own (FirstNormalObjectId): its views over catalogs are taken as tables."""


class Tables(Expressions):
    """The part of the tracer that knows FROM. `depth` counts views around. `Tracer` gives `query`."""

    depth = 0

    def query(self, node: Node, parent: Scope | None, ctes: Mapping[str, Rows]) -> Rows:
        raise NotImplementedError

    def subquery(self, node: Node, scope: Scope) -> Rows:
        return self.query(node, scope, scope.ctes)

    def from_item(self, node: Node, scope: Scope) -> Item:
        ((kind, fields),) = node.items()
        self.work += 1
        if kind == "RangeVar":
            return self.table(fields, scope)
        if kind == "JoinExpr":
            return self._join(fields, scope)
        if kind == "RangeSubselect":
            around = scope if fields.get("lateral") else scope.parent
            return _aliased(self.query(fields["subquery"], around, scope.ctes), fields)
        if kind == "RangeFunction":
            return self._function(fields, scope)
        if kind == "RangeTableSample":
            self.decide(self.value(fields.get("args", []), scope))
            return self.from_item(fields["relation"], scope)
        if kind == "JsonTable":
            sources = self.value([{"": fields["context_item"]}, *fields.get("passing", [])], scope)
            self.decide(sources)
            return _aliased(Rows(tuple(Column(name, sources) for name in _json_columns(fields["columns"]))), fields, "json_table")
        if kind == "RangeTableFunc":
            sources = self.value(fields, scope)
            self.decide(sources)
            names = [column["RangeTableFuncCol"]["colname"] for column in fields.get("columns", [])]
            return _aliased(Rows(tuple(Column(name, sources) for name in names)), fields, "xmltable")
        return Item(OPAQUE, ())

    def table(self, fields: Node, scope: Scope) -> Item:
        schema, name = fields.get("schemaname"), fields["relname"]
        if schema is None and name in scope.ctes:
            return _aliased(scope.ctes[name], fields, name)
        relation = self.catalog.find(schema, name, self.search_path)
        return _aliased(self.relation(relation), fields, name, relation.schema if relation else schema)

    def relation(self, relation: Relation | None) -> Rows:
        """The rows of a table or view. A view's column has its own name among its sources, and those of its query."""
        if relation is None:
            return OPAQUE
        known = self.catalog.memo.get(relation.oid)
        if known is None:
            known = base_rows(relation, self.catalog)
            own = relation.oid < FIRST_USER_OID and relation.schema in ("pg_catalog", "information_schema")
            if relation.kind in ("v", "m") and known.rest is None and not own:
                known = self._with_query(known, relation)
            self.catalog.memo[relation.oid] = known
        return known

    def _with_query(self, own: Rows, view: Relation) -> Rows:
        behind = self._view(view)
        if behind.rest is not None or len(behind.columns) != len(own.columns):
            return Rows(tuple(column._replace(sources=column.sources | ANYTHING) for column in own.columns))
        pairs = zip(own.columns, behind.columns, strict=True)
        return Rows(tuple(Column(column.name, column.sources | inside.sources, inside.direct) for column, inside in pairs))

    def _view(self, relation: Relation) -> Rows:
        """The rows of a view's query. It is read with an empty path: definitions must be fetched with qualified names."""
        if relation.definition is None:
            return OPAQUE
        tracer = type(self)(self.catalog, ("pg_catalog",))
        tracer.depth, tracer.work = self.depth + 1, self.work
        if tracer.depth > VIEW_DEPTH:
            raise TooMuch
        try:
            raws, _ = parse(relation.definition)
            rows = tracer.query(raws[0].tree, None, {}) if len(raws) == 1 else OPAQUE
        except Unparsable:
            rows = OPAQUE
        self.work = tracer.work
        return rows

    def _function(self, fields: Node, scope: Scope) -> Item:
        """A function (or ROWS FROM several) in FROM; it sees the items before it."""
        columns: list[Column] = []
        rest: Sources | None = None
        alias = fields.get("alias", {})
        for entry in fields["functions"]:
            call, definitions = (*entry["List"]["items"], {})[:2]
            sources = self.value(call, scope)
            names = [item["ColumnDef"]["colname"] for item in definitions.get("List", {}).get("items", [])]
            if not names:
                names = self._result_names(call, alias.get("aliasname"))
            columns += [Column(name, sources) for name in names]
            rest = rest if names else union(rest or NOTHING, sources)
        names = [item["ColumnDef"]["colname"] for item in fields.get("coldeflist", [])]
        if names and len(fields["functions"]) == 1:
            columns, rest = [Column(name, union(rest or NOTHING, *(c.sources for c in columns))) for name in names], None
        if rest is not None:
            rest = union(rest, *(column.sources for column in columns))
            columns = []
        elif fields.get("ordinality"):  # it is the last one: of unknown place where the number of columns is not known
            columns.append(Column("ordinality", NOTHING))
        return _aliased(Rows(tuple(columns), rest), fields, output_name(fields["functions"][0]["List"]["items"][0]))

    def _result_names(self, call: Node, alias: str | None) -> list[str]:
        """The column names of a function's result, none where its shape is not known."""
        fields = call.get("FuncCall")
        if fields is None:
            return [alias or output_name(call)] if "SQLValueFunction" in call else []
        name = strings(fields["funcname"])[-1]
        reached = functions.reaches(Call(strings(fields["funcname"])[-2:]), self.catalog, self.search_path)
        if not reached or not all(function.builtin for function in reached):
            return []
        if name in TWO_COLUMN_FUNCTIONS:
            return ["key", "value"]
        if name == "unnest" and not all("TypeCast" in argument or "ParamRef" in argument for argument in fields.get("args", [])):
            return []
        if name in SCALAR_FUNCTIONS:
            count = max(1, len(fields.get("args", []))) if name == "unnest" else 1
            return [SCALAR_FUNCTIONS[name] or (alias if alias and count == 1 else name)] * count
        return []

    def _join(self, fields: Node, scope: Scope) -> Item:
        left = self.from_item(fields["larg"], scope)
        scope.items.append(left)
        right = self.from_item(fields["rarg"], scope)
        scope.items.pop()
        self.condition(fields.get("quals"), Scope(scope.parent, scope.ctes, [left, right]))
        merged = strings(fields.get("usingClause", []))
        rest = (
            union(left.rows.rest or NOTHING, right.rows.rest or NOTHING)
            if left.rows.rest is not None or right.rows.rest is not None
            else None
        )
        if fields.get("isNatural"):
            merged = tuple(column.name for column in left.rows.columns if right.rows.named(column.name))
            rest = rest if rest is None else rest | ANYTHING
        columns = [Column(name, self._merge(name, left.rows, right.rows)) for name in merged]
        using = tuple(columns)
        columns += [column for side in (left, right) for column in side.rows.columns if column.name not in merged]
        rows = Rows(tuple(columns), rest)
        if "alias" in fields:
            return _aliased(rows, fields)
        names = (*left.names, *right.names)
        if "join_using_alias" in fields:
            names = (*names, Named(fields["join_using_alias"]["aliasname"], None, Rows(using)))
        return Item(rows, names)

    def _merge(self, name: str, left: Rows, right: Rows) -> Sources:
        """A column that USING or NATURAL makes of two; equality of two columns decides."""
        sides = [column.sources for rows in (left, right) for column in rows.named(name)]
        rests = [rows.rest for rows in (left, right) if rows.rest is not None and not rows.named(name)]
        sources = union(*sides, *rests)
        self.decide(sources)
        return sources


def _aliased(rows: Rows, fields: Node, name: str = "", schema: str | None = None) -> Item:
    """An item under its alias, or under its own name where it has none."""
    alias = fields.get("alias")
    if alias is None:
        return Item(rows, (Named(name, schema, rows),) if name else ())
    rows = rows.renamed(strings(alias.get("colnames", [])))
    return Item(rows, (Named(alias["aliasname"], None, rows),))


def _json_columns(columns: list[Node]) -> list[str]:
    names: list[str] = []
    for entry in columns:
        column = entry["JsonTableColumn"]
        names += _json_columns(column["columns"]) if column["coltype"] == "JTC_NESTED" else [column["name"]]
    return names
