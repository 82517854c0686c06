"""What a statement asks for: one walk over its tree collects effects as written, function calls, missing WHEREs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from interlock.facts.sql.grammar import Node
from interlock.facts.sql.names import Name, analyzes, constant, object_name, relation_name, role_name, strings
from interlock.facts.sql.predicate import always
from interlock.facts.sql.vocabulary import (
    ADMIN,
    ADMINISTERED,
    DDL_BY_OBJECT,
    DDL_ELSEWHERE,
    DDL_NEW_RELATION,
    DDL_ON_RELATION,
    FUNCTIONS,
    MAINTENANCE,
    ON_TABLES,
    PLAIN,
    TABLES,
    Asked,
    Call,
)

_WRITES = frozenset({"sql.insert", "sql.update", "sql.delete"})


class Collector:
    """Walks one statement. `asked` keeps the order of the text; CTE names in scope are never taken for tables."""

    def __init__(self, *, dry: bool = False) -> None:
        self.dry = dry
        self.asked: dict[Asked, None] = {}
        self.calls: dict[Call, None] = {}
        self.operators: set[Name] = set()
        self.attributes: set[str] = set()
        self.has_where = True

    def walk(self, node: Any, ctes: frozenset[str] = frozenset()) -> None:
        """Visit everything below; nodes with a meaning of their own have a method in `_VISITORS`."""
        if isinstance(node, list):
            for item in node:
                if isinstance(item, (dict, list)):
                    self.walk(item, ctes)
            return
        for key, value in node.items():
            if isinstance(value, (dict, list)):
                visitor = _VISITORS.get(key)
                if visitor is not None:
                    visitor(self, value, ctes)
                else:
                    self.walk(value, ctes)

    def ask(self, action: str, kind: str = "Resource", name: Name = (), *, new: bool = False) -> None:
        if self.dry and action in _WRITES:
            action = "sql.select"
        self.asked[Asked(action, kind, name, new)] = None

    def statement(self, node: Node) -> None:
        """Visit a whole statement; every statement asks for something."""
        ((kind, fields),) = node.items()
        self._statement(kind, fields)
        if not self.asked:
            self.ask("sql.select" if kind == "SelectStmt" else "sql.opaque")

    def _statement(self, kind: str, fields: Node) -> None:
        if kind in PLAIN:
            self.asked[PLAIN[kind]] = None
        elif kind in _VISITORS:
            _VISITORS[kind](self, fields, frozenset())
            return
        elif kind in DDL_ON_RELATION:
            self.ask("sql.ddl", "Table", relation_name(fields[DDL_ON_RELATION[kind]]))
            if any(command["AlterTableCmd"]["subtype"] == "AT_ChangeOwner" for command in fields.get("cmds", [])):
                self.ask("sql.admin", "Table", relation_name(fields["relation"]))
        elif kind in DDL_NEW_RELATION:
            self.ask("sql.ddl", "Table", relation_name(fields[DDL_NEW_RELATION[kind]]), new=True)
        elif kind in DDL_BY_OBJECT:
            self._ddl_by_object(kind, fields)
            return
        elif kind in ADMIN:
            self._admin(kind, fields)
        elif kind in MAINTENANCE:
            self._maintenance(fields.get(MAINTENANCE[kind]))
        elif kind in DDL_ELSEWHERE:
            self.ask("sql.ddl")
            if fields.get("kind") in ("OBJECT_OPERATOR", "OBJECT_AGGREGATE"):  # other ways to call a function
                self.ask("sql.opaque")
        elif kind not in _UTILITIES:
            self.ask("sql.opaque")
        if kind in ("CreateTrigStmt", "RuleStmt", "CreateEventTrigStmt"):
            self.ask("sql.opaque")
        utility = _UTILITIES.get(kind)
        if utility is not None:
            utility(self, fields)
        self.walk({key: value for key, value in fields.items() if key not in _NAMED_FIELDS})

    # Queries and writes

    def _with(self, fields: Node, ctes: frozenset[str]) -> frozenset[str]:
        """Visit the WITH list; the names that the body sees."""
        clause = fields.get("withClause")
        if clause is None:
            return ctes
        entries = [entry["CommonTableExpr"] for entry in clause.get("ctes", [])]
        if clause.get("recursive"):
            ctes = ctes | {entry["ctename"] for entry in entries}
        for entry in entries:
            self.walk(entry["ctequery"], ctes)
            ctes = ctes | {entry["ctename"]}
        return ctes

    def _select(self, fields: Node, ctes: frozenset[str]) -> None:
        ctes = self._with(fields, ctes)
        into = fields.get("intoClause")
        if into is not None:
            self.ask("sql.ddl", "Table", relation_name(into["rel"]), new=True)
        for side in ("larg", "rarg"):
            if side in fields:
                self._select(fields[side], ctes)
        self.walk({key: value for key, value in fields.items() if key not in ("withClause", "intoClause", "larg", "rarg")}, ctes)

    def _insert(self, fields: Node, ctes: frozenset[str]) -> None:
        self._write("sql.insert", fields, ctes)
        if fields.get("onConflictClause", {}).get("action") == "ONCONFLICT_UPDATE":
            self.ask("sql.update", "Table", relation_name(fields["relation"]))

    def _update(self, fields: Node, ctes: frozenset[str]) -> None:
        self._write("sql.update", fields, ctes)
        self.has_where &= not always(fields.get("whereClause"))

    def _delete(self, fields: Node, ctes: frozenset[str]) -> None:
        self._write("sql.delete", fields, ctes)
        self.has_where &= not always(fields.get("whereClause"))

    def _merge(self, fields: Node, ctes: frozenset[str]) -> None:
        actions = {"CMD_INSERT": "sql.insert", "CMD_UPDATE": "sql.update", "CMD_DELETE": "sql.delete"}
        clauses = [clause["MergeWhenClause"] for clause in fields.get("mergeWhenClauses", [])]
        self._write("sql.select", fields, ctes)
        for clause in clauses:
            if clause["commandType"] in actions:
                self.ask(actions[clause["commandType"]], "Table", relation_name(fields["relation"]))
            if clause["commandType"] in ("CMD_UPDATE", "CMD_DELETE"):
                other_rows = clause.get("matchKind") == "MERGE_WHEN_NOT_MATCHED_BY_SOURCE"
                self.has_where &= not always(clause.get("condition") if other_rows else fields.get("joinCondition"))

    def _write(self, action: str, fields: Node, ctes: frozenset[str]) -> None:
        ctes = self._with(fields, ctes)
        target = relation_name(fields["relation"])
        self.ask(action, "Table", target)
        if "returningClause" in fields:
            self.ask("sql.select", "Table", target)
        self.walk({key: value for key, value in fields.items() if key not in ("withClause", "relation")}, ctes)

    def _range(self, fields: Node, ctes: frozenset[str]) -> None:
        name = relation_name(fields)
        if len(name) > 1 or name[0] not in ctes:
            self.ask("sql.select", "Table", name)

    def _call(self, fields: Node, ctes: frozenset[str]) -> None:
        name = strings(fields["funcname"])
        self.calls[Call(name[-2:], tuple(constant(argument) for argument in fields.get("args", [])))] = None
        self.walk(fields, ctes)

    def _column(self, fields: Node, ctes: frozenset[str]) -> None:
        if len(fields["fields"]) > 1:
            self.attributes.update(strings(fields["fields"])[1:])

    def _indirection(self, fields: Node, ctes: frozenset[str]) -> None:
        self.attributes.update(strings(fields["indirection"]))
        self.walk(fields, ctes)

    def _operator(self, fields: Node, ctes: frozenset[str]) -> None:
        if fields["kind"] not in ("AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN", "AEXPR_BETWEEN_SYM", "AEXPR_NOT_BETWEEN_SYM"):
            self.operators.add(strings(fields["name"]))
        self.walk(fields, ctes)

    def _sublink(self, fields: Node, ctes: frozenset[str]) -> None:
        self.operators |= {strings(fields["operName"])} if "operName" in fields else set()
        self.walk(fields, ctes)

    def _sort(self, fields: Node, ctes: frozenset[str]) -> None:
        self.operators |= {strings(fields["useOp"])} if "useOp" in fields else set()
        self.walk(fields, ctes)

    def _table_as(self, fields: Node, ctes: frozenset[str]) -> None:
        self.ask("sql.ddl", "Table", relation_name(fields["into"]["rel"]), new=True)
        if "ExecuteStmt" in fields["query"]:
            self.ask("sql.opaque")
        self.walk(fields["query"], ctes)

    # Statements about other things

    def _copy(self, fields: Node, _: frozenset[str]) -> None:
        incoming = fields.get("is_from", False)
        if "relation" in fields:
            self.ask("sql.insert" if incoming else "sql.select", "Table", relation_name(fields["relation"]))
        if fields.get("is_program"):
            self.ask("sql.program")
        elif "filename" in fields:
            self.ask("sql.file")
        self.walk({key: fields[key] for key in ("query", "whereClause") if key in fields})

    def _explain(self, fields: Node, _: frozenset[str]) -> None:
        inner = Collector(dry=not analyzes(fields))
        inner.statement(fields["query"])
        self._absorb(inner)

    def _inner(self, fields: Node, _: frozenset[str]) -> None:
        inner = Collector()
        inner.statement(fields["query"])
        self._absorb(inner)

    def _absorb(self, inner: Collector) -> None:
        self.asked |= inner.asked
        self.calls |= inner.calls
        self.operators |= inner.operators
        self.attributes |= inner.attributes
        self.has_where &= inner.has_where

    def _set(self, fields: Node, _: frozenset[str]) -> None:
        name = fields.get("name", "*")
        if name in ("role", "session_authorization"):
            role = constant(fields["args"][0]) if fields.get("args") else None
            self.ask("sql.role", *(("Role", (role,)) if role and role != "none" else ("Resource", ())))
        elif name in ("TRANSACTION", "TRANSACTION SNAPSHOT"):
            self.ask("sql.transaction")
        else:
            self.ask("sql.set", "Setting", (name.lower(),))

    def _ddl_by_object(self, kind: str, fields: Node) -> None:
        of = fields.get(DDL_BY_OBJECT[kind], "")
        if of in ("OBJECT_COLUMN", "OBJECT_ATTRIBUTE") and kind == "RenameStmt":
            of = fields.get("relationType", of)
        admin = of in ADMINISTERED or kind in ("AlterOwnerStmt", "SecLabelStmt")
        objects = fields.get("objects") or [fields[key] for key in ("relation", "object") if key in fields][:1] or [{}]
        for target in objects:
            name = relation_name(target) if "relname" in target else object_name(target)
            if of in ON_TABLES and "relname" not in target:
                name = name[:-1]
            on = "Table" if of in TABLES or of in ON_TABLES else "Function" if of in FUNCTIONS else "Resource"
            if admin:
                self.ask("sql.admin", *((on, name[-2:]) if on != "Resource" and name else ("Resource", ())))
            elif of == "OBJECT_SCHEMA":
                self.ask("sql.ddl", "Schema", name[-1:] or (fields.get("subname", ""),))
            else:
                self.ask("sql.ddl", *((on, name[-2:]) if on != "Resource" and name else ("Resource", ())))

    def _admin(self, kind: str, fields: Node) -> None:
        roles = fields.get("roles") if kind != "ReassignOwnedStmt" else [*fields.get("roles", []), {"RoleSpec": fields["newrole"]}]
        if kind == "CreateRoleStmt":
            self.ask("sql.admin", "Role", (fields["role"],))
        elif kind in ("AlterRoleStmt", "AlterRoleSetStmt") and "role" in fields:
            self.ask("sql.admin", "Role", (role_name(fields["role"]),))
        elif kind == "GrantRoleStmt":
            for role in fields["granted_roles"]:
                self.ask("sql.admin", "Role", (role["AccessPriv"].get("priv_name", ""),))
        elif kind == "AlterSystemStmt":
            self.ask("sql.admin", "Setting", (fields["setstmt"].get("name", "*").lower(),))
        elif kind in ("DropRoleStmt", "DropOwnedStmt", "ReassignOwnedStmt") and roles:
            for role in roles:
                self.ask("sql.admin", "Role", (role_name(role["RoleSpec"]),))
        else:
            self.ask("sql.admin")
        if kind in ("AlterRoleSetStmt", "AlterDatabaseSetStmt"):
            self.ask("sql.set", "Setting", (fields["setstmt"].get("name", "*").lower(),))

    def _maintenance(self, on: Any) -> None:
        relations = on if isinstance(on, list) else [] if on is None else [on]
        for relation in relations:
            inside = relation.get("VacuumRelation", {}).get("relation", relation)
            self.ask("sql.maintenance", "Table", relation_name(inside))
        if not relations:
            self.ask("sql.maintenance")

    def _grant(self, fields: Node) -> None:
        tables = fields.get("objtype") in ("OBJECT_TABLE", "OBJECT_SEQUENCE") and fields.get("targtype") == "ACL_TARGET_OBJECT"
        names = [relation_name(item["RangeVar"]) for item in fields.get("objects", []) if "RangeVar" in item] if tables else []
        for name in names:
            self.ask("sql.admin", "Table", name)
        if not names:
            self.ask("sql.admin")

    def _truncate(self, fields: Node) -> None:
        for relation in fields["relations"]:
            self.ask("sql.truncate", "Table", relation_name(relation["RangeVar"]))

    def _lock(self, fields: Node) -> None:
        for relation in fields["relations"]:
            self.ask("sql.lock", "Table", relation_name(relation["RangeVar"]))

    def _channel(self, fields: Node) -> None:
        self.ask("sql.notify", "Channel", (fields["conditionname"],))

    def _call_procedure(self, fields: Node) -> None:
        self.ask("sql.opaque", "Function", strings(fields["funccall"]["funcname"])[-2:])

    def _create_function(self, fields: Node) -> None:
        self.ask("sql.ddl", "Function", strings(fields["funcname"])[-2:], new=True)
        self.ask("sql.opaque")

    def _alter_function(self, fields: Node) -> None:
        self.ask("sql.ddl", "Function", strings(fields["func"]["objname"])[-2:])

    def _create_schema(self, fields: Node) -> None:
        self.ask("sql.ddl", "Schema", (fields.get("schemaname") or role_name(fields.get("authrole", {})),))
        for element in fields.get("schemaElts", []):
            self.statement(element)

    def _foreign_table(self, fields: Node) -> None:
        self.ask("sql.ddl", "Table", relation_name(fields["base"]["relation"]), new=True)


_VISITORS: Mapping[str, Callable[[Collector, Any, frozenset[str]], None]] = MappingProxyType(
    {
        "SelectStmt": Collector._select, "InsertStmt": Collector._insert, "UpdateStmt": Collector._update,
        "DeleteStmt": Collector._delete, "MergeStmt": Collector._merge, "RangeVar": Collector._range, "FuncCall": Collector._call,
        "A_Expr": Collector._operator, "ColumnRef": Collector._column, "A_Indirection": Collector._indirection,
        "SubLink": Collector._sublink, "SortBy": Collector._sort,
        "CreateTableAsStmt": Collector._table_as, "CopyStmt": Collector._copy,
        "ExplainStmt": Collector._explain, "PrepareStmt": Collector._inner, "DeclareCursorStmt": Collector._inner,
        "VariableSetStmt": Collector._set,
    }
)  # fmt: skip
_UTILITIES: Mapping[str, Callable[[Collector, Node], None]] = MappingProxyType(
    {
        "GrantStmt": Collector._grant, "TruncateStmt": Collector._truncate, "LockStmt": Collector._lock,
        "ListenStmt": Collector._channel, "NotifyStmt": Collector._channel, "CallStmt": Collector._call_procedure,
        "CreateFunctionStmt": Collector._create_function, "AlterFunctionStmt": Collector._alter_function,
        "CreateSchemaStmt": Collector._create_schema, "CreateForeignTableStmt": Collector._foreign_table,
    }
)  # fmt: skip
_NAMED_FIELDS = frozenset({"relations", "rels", "objects", "schemaElts", "setstmt", "inhRelations", "constraints_set"})
"""Fields whose tables were taken by the statement's own method, or are not read."""
