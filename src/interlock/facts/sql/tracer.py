"""Follows columns through a statement: CTEs, set operations, output lists, RETURNING (FROM: `tables.py`).

PostgreSQL's own rules for what a name sees: docs 7.2 "Table Expressions", 7.8 "WITH Queries"; src/backend/parser/parse_clause.c.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.facts.sql.grammar import Node
from interlock.facts.sql.names import constant, strings
from interlock.facts.sql.naming import output_name
from interlock.facts.sql.scope import ANYTHING, NOTHING, OPAQUE, Column, Item, Named, Rows, Scope, Sources, Written, union
from interlock.facts.sql.tables import Tables

_ROUNDS = 50
"""Most rounds until a recursive CTE's sources must be stable (each round adds at least one base column)."""
_WRITES = ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")


class Tracer(Tables):
    """Traces one statement."""

    def query(self, node: Node, parent: Scope | None, ctes: Mapping[str, Rows]) -> Rows:
        """The rows of a query (SELECT, VALUES, or a write with RETURNING) inside `parent`."""
        ((kind, fields),) = node.items()
        if kind == "SelectStmt":
            return self._select(fields, parent, ctes)
        if kind in _WRITES:
            return self._write(kind, fields, parent, ctes)
        return OPAQUE

    # WITH

    def _with(self, fields: Node, parent: Scope | None, ctes: Mapping[str, Rows]) -> Mapping[str, Rows]:
        clause = fields.get("withClause")
        if clause is None:
            return ctes
        entries = [entry["CommonTableExpr"] for entry in clause["ctes"]]
        known = dict(ctes)
        if clause.get("recursive"):
            known |= {entry["ctename"]: OPAQUE for entry in entries}
        for entry in entries:
            known[entry["ctename"]] = self._cte(entry, parent, known, recursive=bool(clause.get("recursive")))
        return known

    def _cte(self, entry: Node, parent: Scope | None, ctes: Mapping[str, Rows], *, recursive: bool) -> Rows:
        query, names = entry["ctequery"], strings(entry.get("aliascolnames", []))
        fields = query.get("SelectStmt", {})
        if not recursive or "larg" not in fields:
            return self._cte_extras(entry, self.query(query, parent, ctes).renamed(names))
        inner = self._with(fields, parent, ctes)
        rows = self._select(fields["larg"], parent, inner).renamed(names)
        for _ in range(_ROUNDS):
            seen = self._cte_extras(entry, rows)
            after = self.query(query, parent, {**ctes, entry["ctename"]: seen}).renamed(names)
            if after == rows:
                return seen
            rows = after
        return OPAQUE

    def _cte_extras(self, entry: Node, rows: Rows) -> Rows:
        """The columns that SEARCH and CYCLE add."""
        extra: list[Column] = []
        for clause, listed, added in (
            ("search_clause", "search_col_list", ("search_seq_column",)),
            ("cycle_clause", "cycle_col_list", ("cycle_mark_column", "cycle_path_column")),
        ):
            if clause in entry:
                of = union(*(c.sources for name in strings(entry[clause][listed]) for c in rows.named(name)))
                extra += [Column(entry[clause][name], of) for name in added]
        return Rows((*rows.columns, *extra), rows.rest)

    # SELECT

    def _select(self, fields: Node, parent: Scope | None, ctes: Mapping[str, Rows]) -> Rows:
        ctes = self._with(fields, parent, ctes)
        if "larg" in fields:
            return self._set_operation(fields, parent, ctes)
        scope = Scope(parent, ctes)
        if "valuesLists" in fields:
            rows = self._values(fields, scope)
            self._order(fields, rows, scope)
            return rows
        for item in fields.get("fromClause", []):
            scope.items.append(self.from_item(item, scope))
        self.condition(fields.get("whereClause"), scope)
        for definition in fields.get("windowClause", []):
            window = definition["WindowDef"]
            scope.windows[window["name"]] = self.window(window, scope)
            self.decide(scope.windows[window["name"]])
        rows = self.targets(fields.get("targetList", []), scope)
        self._order(fields, rows, scope)
        return rows

    def _order(self, fields: Node, rows: Rows, scope: Scope) -> None:
        """DISTINCT, GROUP BY, HAVING, ORDER BY, LIMIT: what they use."""
        self.condition(fields.get("havingClause"), scope)
        distinct = fields.get("distinctClause", [])
        if distinct:
            self.decide(rows.everything() if distinct == [{}] else NOTHING)
        for key in ("groupClause", "sortClause", "distinctClause"):
            for item in fields.get(key, []):
                self.decide(self._ordering(item.get("SortBy", {}).get("node", item), rows, scope, output_first=key != "groupClause"))
        self.decide(self.value([fields[key] for key in ("limitCount", "limitOffset") if key in fields], scope))

    def _ordering(self, node: Node, rows: Rows, scope: Scope, *, output_first: bool) -> Sources:
        """An item of ORDER BY or GROUP BY: a position, an output name, or an expression."""
        if "GroupingSet" in node:
            inside = node["GroupingSet"].get("content", [])
            return union(*(self._ordering(item, rows, scope, output_first=output_first) for item in inside))
        if "RowExpr" in node:
            return union(*(self._ordering(item, rows, scope, output_first=output_first) for item in node["RowExpr"].get("args", [])))
        if "A_Const" in node:
            position = int(constant(node) or 0) if "ival" in node["A_Const"] else 0
            return rows.columns[position - 1].sources if 0 < position <= len(rows.columns) else rows.rest or NOTHING
        if "ColumnRef" in node and len(node["ColumnRef"]["fields"]) == 1 and "String" in node["ColumnRef"]["fields"][0]:
            name = strings(node["ColumnRef"]["fields"])[0]
            named = union(*(column.sources for column in rows.named(name)))
            if rows.named(name) and (output_first or scope.column(name) is None):
                return named
        return self.value(node, scope) if node else NOTHING

    def _set_operation(self, fields: Node, parent: Scope | None, ctes: Mapping[str, Rows]) -> Rows:
        left = self._select(fields["larg"], parent, ctes)
        right = self._select(fields["rarg"], parent, ctes)
        if left.rest is not None or right.rest is not None or len(left.columns) != len(right.columns):
            rows = Rows((), left.everything() | right.everything() | ANYTHING)
        else:
            pairs = zip(left.columns, right.columns, strict=True)
            rows = Rows(tuple(Column(one.name, one.sources | other.sources) for one, other in pairs))
        if not fields.get("all") or fields["op"] != "SETOP_UNION":
            self.decide(rows.everything())
        self._order(fields, rows, Scope(parent, ctes))
        return rows

    def _values(self, fields: Node, scope: Scope) -> Rows:
        lists = [row["List"].get("items", []) for row in fields["valuesLists"]]
        if len({len(row) for row in lists}) != 1:
            return OPAQUE
        sources = [union(*(self.value(row[at], scope) for row in lists)) for at in range(len(lists[0]))]
        return Rows(tuple(Column(f"column{at}", one) for at, one in enumerate(sources, 1)))

    def targets(self, targets: list[Node], scope: Scope) -> Rows:
        """An output list (SELECT or RETURNING), with `*`, `t.*` and `(t).*` expanded."""
        columns: list[Column] = []
        rest: Sources | None = None
        for entry in targets:
            target = entry["ResTarget"]
            node = target["val"]
            expanded = self._star(node, scope)
            if expanded is not None:
                columns += expanded.columns
                rest = union(rest or NOTHING, expanded.rest) if expanded.rest is not None else rest
            elif "ColumnRef" in node:
                column = self.column(node["ColumnRef"], scope)
                columns.append(Column(target.get("name") or column.name, column.sources, column.direct))
            else:
                columns.append(Column(target.get("name") or output_name(node), self.value(node, scope)))
        if rest is None:
            return Rows(tuple(columns))
        # After an expansion of unknown length no position is certain any more: any name may have any source.
        everything = union(rest, *(column.sources for column in columns))
        return Rows((), everything | ANYTHING)

    def _star(self, node: Node, scope: Scope) -> Rows | None:
        """The columns that a `*` stands for, None where the node is no star."""
        if "ColumnRef" in node and "A_Star" in node["ColumnRef"]["fields"][-1]:
            parts = strings(node["ColumnRef"]["fields"])
            if parts:
                return self.qualified(parts, scope) or OPAQUE
            rests = [item.rows.rest for item in scope.items if item.rows.rest is not None]
            return Rows(tuple(column for item in scope.items for column in item.rows.columns), union(*rests) if rests else None)
        if "A_Indirection" in node and "A_Star" in node["A_Indirection"]["indirection"][-1]:
            argument = node["A_Indirection"]["arg"]
            if "ColumnRef" in argument and len(node["A_Indirection"]["indirection"]) == 1:
                rows = self.whole_row(argument["ColumnRef"], scope)
                if rows is not None:
                    return rows
            return Rows((), self.value(node, scope) | ANYTHING)
        return None

    # Writes

    def _write(self, kind: str, fields: Node, parent: Scope | None, ctes: Mapping[str, Rows]) -> Rows:
        """The RETURNING list. A column that the statement itself assigns has also the sources of the assigned value."""
        ctes = self._with(fields, parent, ctes)
        scope = Scope(parent, ctes)
        target = self.table(fields["relation"], Scope(parent))
        others: list[Item] = []
        for key in ("fromClause", "usingClause"):
            for item in fields.get(key, []):
                others.append(self.from_item(item, Scope(parent, ctes, others)))
        if "sourceRelation" in fields:
            others.append(self.from_item(fields["sourceRelation"], Scope(parent, ctes)))
        scope.items = [target, *others]
        for key in ("whereClause", "joinCondition"):
            self.condition(fields.get(key), scope)
        assigned = self._assigned(kind, fields, target, scope)
        written = _with_assigned(target.rows, assigned)
        self._store_assigned(fields["relation"], target, assigned)
        returning = fields.get("returningClause")
        if returning is None:
            return Rows(())
        versions = {"old": "old", "new": "new"}
        for option in returning.get("options", []):
            which = "old" if option["ReturningOption"].get("option") == "RETURNING_OPTION_OLD" else "new"
            versions[which] = option["ReturningOption"]["value"]
        own = tuple(named._replace(rows=written) for named in target.names)
        own += (Named(versions["old"], None, target.rows), Named(versions["new"], None, written))
        mine = Item(written, own)
        scope.items = [*others, mine] if kind == "MergeStmt" else [mine, *others]
        return self.targets(returning["exprs"], scope)

    def _store_assigned(self, relation: Node, target: Item, assigned: Mapping[str, Sources]) -> None:
        """What is written through a view lies in the table behind it, and goes by that column's name only."""
        self.written.append(Written(relation, target.rows, assigned))
        found = self.catalog.find(relation.get("schemaname"), relation["relname"], self.search_path)
        own = f"{found.qualified}." if found is not None and found.kind == "v" else ""
        for name, sources in assigned.items():
            places = union(*(column.sources for column in target.rows.named(name))) if name else NOTHING
            self.store(sources, frozenset(place for place in places if not own or not place.startswith(own)))

    def _assigned(self, kind: str, fields: Node, target: Item, scope: Scope) -> dict[str, Sources]:
        """Sources by assigned column; under the empty name those which may have gone to any column."""
        found: dict[str, Sources] = {"": NOTHING}
        if kind == "InsertStmt":
            self._inserted(fields, target, scope, found)
            proposed = _with_assigned(target.rows, found)
            scope = Scope(scope.parent, scope.ctes, [target, Item(proposed, (Named("excluded", None, proposed),))])
            conflict = fields.get("onConflictClause", {})
            self._set(conflict.get("targetList", []), scope, found)
            self.condition(conflict.get("whereClause"), scope)
        self._set(fields.get("targetList", []), scope, found)
        for entry in fields.get("mergeWhenClauses", []):
            clause = entry["MergeWhenClause"]
            self.condition(clause.get("condition"), scope)
            if "values" in clause:
                self._merged(clause, target, scope, found)
            else:
                self._set(clause.get("targetList", []), scope, found)
        return found

    def _inserted(self, fields: Node, target: Item, scope: Scope, found: dict[str, Sources]) -> None:
        if "selectStmt" not in fields:
            return
        rows = self.query(fields["selectStmt"], scope.parent, scope.ctes)
        columns = [entry["ResTarget"] for entry in fields.get("cols", [])]
        names = [column["name"] for column in columns] or [column.name for column in target.rows.columns]
        if not names and target.rows.rest is not None:
            names = [f"\0{at}" for at, _ in enumerate(rows.columns, 1)]
        if rows.rest is not None or len(rows.columns) > len(names):
            found[""] |= rows.everything() | ANYTHING
        for name, column in zip(names, rows.columns, strict=False):
            found[name] = found.get(name, NOTHING) | column.sources

    def _merged(self, clause: Node, target: Item, scope: Scope, found: dict[str, Sources]) -> None:
        names = [entry["ResTarget"]["name"] for entry in clause.get("targetList", [])] or [c.name for c in target.rows.columns]
        if len(clause["values"]) > len(names):
            found[""] |= self.value(clause["values"], scope)
        for name, value in zip(names, clause["values"], strict=False):
            found[name] = found.get(name, NOTHING) | self.value([value], scope)

    def _set(self, targets: list[Node], scope: Scope, found: dict[str, Sources]) -> None:
        for entry in targets:
            target = entry["ResTarget"]
            if "val" in target:
                found[target["name"]] = found.get(target["name"], NOTHING) | self.value(target["val"], scope)


def _with_assigned(rows: Rows, assigned: Mapping[str, Sources]) -> Rows:
    """A table's columns with the sources of what a statement assigns to them."""
    anywhere = assigned.get("", NOTHING)
    return Rows(
        tuple(column._replace(sources=column.sources | assigned.get(column.name, NOTHING) | anywhere) for column in rows.columns),
        rows.rest,
    )
