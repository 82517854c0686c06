"""PostgreSQL text → statements with facts, and facts + catalog → effects.

`read` looks at syntax only, so its results are cached by text for all sessions. What a name means depends on the
session: `effects` and `filters` take a catalog and a search path.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock

from interlock.exchange import Effect
from interlock.facts.sql import functions
from interlock.facts.sql.catalog import Catalog, SearchPath
from interlock.facts.sql.copying import Copy, copy_options
from interlock.facts.sql.grammar import Node, Raw, Unparsable, parse
from interlock.facts.sql.lineage import filters, hidden_calls, trace
from interlock.facts.sql.names import Name, constant
from interlock.facts.sql.statements import Collector
from interlock.facts.sql.vocabulary import (
    ADMIN,
    DDL_BY_OBJECT,
    DDL_ELSEWHERE,
    DDL_NEW_RELATION,
    DDL_ON_RELATION,
    KINDS,
    MAINTENANCE,
    Asked,
    Call,
)

__all__ = ["Asked", "Call", "Copy", "Name", "Script", "Statement", "Unparsable", "effects", "filters", "read", "trace"]

CACHE_ENTRIES = 2_000
"""Most texts whose reading is kept."""
CACHE_BYTES = 4_000_000
"""Most bytes of parse trees (as JSON) that are kept; in memory a tree takes several times as much."""
CACHE_TEXT = 100_000
"""Trees larger than this (bytes of JSON) are not kept."""

_KNOWING = frozenset({"sql.select", "sql.insert", "sql.update", "sql.delete", "sql.truncate", "sql.set", "sql.maintenance", "sql.lock"})
"""Effects that change no definitions."""
_UNNAMING = frozenset(
    {"IndexStmt", "CommentStmt", "VacuumStmt", "GrantStmt", "GrantRoleStmt", "CreateEnumStmt", "AlterEnumStmt", "CreateDomainStmt"}
)
"""They change definitions, but not what a name means."""
_MEANING = frozenset({"search_path", "role", "session_authorization", "row_security", "transform_null_equals", "*"})
_PINNED = {"standard_conforming_strings": ("on", "true", "yes", "1"), "client_encoding": ("utf8", "unicode")}
_FILE_VIEWS = frozenset({"pg_catalog.pg_hba_file_rules", "pg_catalog.pg_ident_file_mappings", "pg_catalog.pg_file_settings"})
"""They read the server's files when they are read."""
_ROWS = frozenset({"select", "explain", "show", "fetch", "execute", "call"})
_DDL = frozenset(DDL_ON_RELATION) | frozenset(DDL_NEW_RELATION) | frozenset(DDL_BY_OBJECT) | DDL_ELSEWHERE


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, by syntax alone. Names are as written (folded as PostgreSQL folds), without the database's name.

    - `kind`: select insert update delete merge truncate copy_to copy_from ddl grant admin transaction set reset show
      explain prepare execute deallocate declare fetch move close listen notify unlisten do call lock vacuum
      maintenance discard other
    - `text` is `source[start:end]`; `normalized` has `?` for each constant, no comments, at most 4,000 characters
    - `asked`: the effects as written, of the whole tree: CTEs, subqueries, EXPLAIN ANALYZE, PREPARE, DECLARE, COPY
    - `reads`, `writes`: tables, CTE names excluded; `calls`: functions; `operators`: also those of pg_catalog;
      `attributes`: names after a dot in expressions (`t.f` may be the call `f(t)`)
    - `has_where`: False if any UPDATE, DELETE or MERGE in it lacks a condition that narrows (see `predicate.py`)
    - `changes_meaning`: afterwards the same text may mean something else (search_path, role, DDL, DO, CALL…). An
      effect `sql.opaque` found by `effects`, a ROLLBACK and the end of SET LOCAL may change it as well.
    - `inner`: the statement inside EXPLAIN, PREPARE, DECLARE or COPY (query); `prepared`: the name in PREPARE, EXECUTE,
      DEALLOCATE (empty: all); `cursor`: the name in DECLARE, FETCH, MOVE, CLOSE (empty: all)
    - `transaction`: begin start commit rollback savepoint release rollback_to prepare commit_prepared rollback_prepared
    - `pins`: settings that must not change and that it tries to (`standard_conforming_strings`, `client_encoding`; `*`
      is a set_config or an update of pg_settings with a name that cannot be read); refuse it where this is not empty
    """

    kind: str
    text: str = field(repr=False)
    start: int
    end: int
    normalized: str
    asked: tuple[Asked, ...]
    calls: tuple[Call, ...] = field(default=(), repr=False)
    operators: frozenset[Name] = frozenset()
    attributes: frozenset[str] = frozenset()
    has_where: bool = True
    returns_rows: bool = False
    changes_meaning: bool = False
    inner: Statement | None = None
    prepared: str | None = None
    cursor: str | None = None
    transaction: str = ""
    copy: Copy | None = field(default=None, repr=False)
    pins: tuple[str, ...] = ()
    tree: Node = field(default_factory=dict, repr=False, compare=False)

    @property
    def reads(self) -> tuple[Name, ...]:
        return tuple(asked.name for asked in self.asked if asked.action == "sql.select" and asked.kind == "Table")

    @property
    def writes(self) -> tuple[Name, ...]:
        writing = ("sql.insert", "sql.update", "sql.delete", "sql.truncate")
        return tuple(dict.fromkeys(asked.name for asked in self.asked if asked.action in writing))

    @property
    def tables(self) -> tuple[Name, ...]:
        return tuple(dict.fromkeys(asked.name for asked in self.asked if asked.kind == "Table"))

    @property
    def functions(self) -> tuple[Name, ...]:
        return tuple(dict.fromkeys(call.name for call in self.calls))


@dataclass(frozen=True, slots=True)
class Script:
    """A text's statements, in order; none for an empty text."""

    statements: tuple[Statement, ...]

    @property
    def statement_count(self) -> int:
        return len(self.statements)


class _Cache:
    """Readings by text, least recently used out first; bounded in number and in bytes. Safe for threads."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[Script, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, text: str) -> Script | None:
        with self._lock:
            entry = self._entries.get(text)
            if entry is None:
                return None
            self._entries.move_to_end(text)
            return entry[0]

    def put(self, text: str, script: Script, size: int) -> None:
        with self._lock:
            if size > CACHE_TEXT or text in self._entries:
                return
            self._entries[text] = script, size
            self._bytes += size
            while self._bytes > CACHE_BYTES or len(self._entries) > CACHE_ENTRIES:
                self._bytes -= self._entries.popitem(last=False)[1][1]


_cache = _Cache()


def read(text: str) -> Script:
    """The statements of a text (at most 1 MB). Raises `Unparsable`, and nothing else, for any text."""
    script = _cache.get(text)
    if script is not None:
        return script
    raws, size = parse(text)
    try:
        script = Script(tuple(_statement(raw.tree, text, raw) for raw in raws))
    except RecursionError:
        raise Unparsable("the text nests too deeply") from None
    _cache.put(text, script, size + len(text))
    return script


def _statement(tree: Node, text: str, raw: Raw) -> Statement:
    ((node, fields),) = tree.items()
    kind = _kind(node, fields)
    collector = Collector()
    collector.statement(tree)
    asked = tuple(collector.asked)
    calls = tuple(collector.calls)
    if node == "SelectStmt" and len(calls) == 1 and calls[0].name[-1] == "set_config":
        setting = _setting_of_a_row(fields)
        calls = calls if setting is None else (calls[0]._replace(arguments=(setting, *calls[0].arguments[1:])),)
    inner = fields.get("query") if node in ("ExplainStmt", "PrepareStmt", "DeclareCursorStmt", "CopyStmt") else None
    inside = None if inner is None else _statement(inner, text, raw)
    return Statement(
        kind=kind,
        text=text[raw.start : raw.end],
        start=raw.start,
        end=raw.end,
        normalized=raw.summary,
        asked=asked,
        calls=calls,
        operators=frozenset(collector.operators),
        attributes=frozenset(collector.attributes),
        has_where=collector.has_where,
        returns_rows=kind in _ROWS or "returningClause" in fields,
        changes_meaning=_changes_meaning(node, asked, calls),
        inner=inside,
        prepared=fields.get("name", "") if node in ("PrepareStmt", "ExecuteStmt", "DeallocateStmt") else _explained(inside),
        cursor=fields.get("portalname", "") if node in ("DeclareCursorStmt", "FetchStmt", "ClosePortalStmt") else None,
        transaction=fields["kind"].removeprefix("TRANS_STMT_").lower() if node == "TransactionStmt" else "",
        copy=copy_options(fields) if node == "CopyStmt" else None,
        pins=_pins(node, fields, calls, asked),
        tree=tree,
    )


def _explained(inner: Statement | None) -> str | None:
    return inner.prepared if inner is not None and inner.kind == "execute" else None


def _kind(node: str, fields: Node) -> str:
    if node in KINDS:
        return "ddl" if node == "SelectStmt" and _into(fields) else KINDS[node]
    if node == "CopyStmt":
        return "copy_from" if fields.get("is_from") else "copy_to"
    if node == "VariableSetStmt":
        return "reset" if fields["kind"].startswith("VAR_RESET") else "set"
    if node == "FetchStmt":
        return "move" if fields.get("ismove") else "fetch"
    if node in ADMIN:
        return "admin"
    if node in MAINTENANCE:
        return "maintenance"
    if node in _DDL or node.startswith(("Create", "Alter", "Drop")):
        return "ddl"
    return "other"


def _into(fields: Node) -> bool:
    """Whether a SELECT makes a table; in a set operation the INTO stands in the leftmost query."""
    while "larg" in fields:
        fields = fields["larg"]
    return "intoClause" in fields


def _changes_meaning(node: str, asked: tuple[Asked, ...], calls: tuple[Call, ...]) -> bool:
    if node == "DiscardStmt" or any(call.name[-1] == "set_config" for call in calls):
        return True
    if node in ("ExecuteStmt", "FetchStmt"):
        return False
    actions = {one.action for one in asked}
    if not actions.isdisjoint(("sql.ddl", "sql.admin", "sql.role", "sql.opaque", "sql.program")):
        return True
    return any(one.action == "sql.set" and one.name[0] in _MEANING for one in asked)


def _pins(node: str, fields: Node, calls: tuple[Call, ...], asked: tuple[Asked, ...]) -> tuple[str, ...]:
    """Pinned settings that the statement tries to change. RESET ALL is none: it goes back to the values of the login."""
    found: list[str] = []
    setting = fields if node == "VariableSetStmt" else fields.get("setstmt")
    if isinstance(setting, dict) and setting.get("name"):
        arguments = setting.get("args", [])
        value = constant(arguments[0]) if len(arguments) == 1 else None
        found += _pin(setting["name"].lower(), value)
    for call in calls:
        if call.name[-1] == "set_config":
            name, value = (*call.arguments, None, None)[:2]
            found += ["*"] if name is None else _pin(name.lower(), value)
    if any(one.action == "sql.update" and one.name[-1] == "pg_settings" for one in asked):
        found.append("*")
    return tuple(dict.fromkeys(found))


def _setting_of_a_row(fields: Node) -> str | None:
    """pg_dump asks `SELECT set_config(name, 'value', false) FROM pg_settings WHERE name = 'setting'`, to set it only where
    it exists. In exactly this form the name is known; in any other it is not."""
    match fields:
        case {
            "targetList": [
                {"ResTarget": {"val": {"FuncCall": {"args": [{"ColumnRef": {"fields": [{"String": {"sval": "name"}}]}}, _, _]}}}}
            ],
            "fromClause": [{"RangeVar": {"relname": "pg_settings"} as table}],
            "whereClause": {
                "A_Expr": {
                    "kind": "AEXPR_OP",
                    "name": [{"String": {"sval": "="}}],
                    "lexpr": {"ColumnRef": {"fields": [{"String": {"sval": "name"}}]}},
                    "rexpr": value,
                }
            },
            **others,
        } if others.keys() <= {"limitOption", "op"} and table.get("schemaname", "pg_catalog") == "pg_catalog" and "alias" not in table:
            return constant(value)
        case _:
            return None


def _pin(name: str, value: str | None) -> list[str]:
    allowed = _PINNED.get(name)
    if allowed is None or (value is not None and value.lower().replace("-", "").replace("_", "") in allowed):
        return []
    return [name]


def effects(statement: Statement, catalog: Catalog, search_path: SearchPath) -> tuple[Effect, ...]:
    """What the statement would do, with names resolved to `schema.table`; a name that cannot be resolved stays as
    written. Functions and operators that are not known to be harmless add their own effects."""
    found: dict[Effect, None] = {}
    for asked in statement.asked:
        found[_resolve(asked, catalog, search_path)] = None
    calls: Iterable[Call] = statement.calls
    if any(_is_suspect(name, catalog, search_path) for name in statement.attributes):
        calls = (*calls, *hidden_calls(statement, catalog, search_path))
    if not _FILE_VIEWS.isdisjoint(effect.object for effect in found):
        found[Effect("sql.file")] = None
    for call in calls:
        beyond = functions.asks(call, catalog, search_path)
        if beyond is not None:
            found[_resolve(beyond, catalog, search_path)] = None
    for operator in statement.operators:
        reached = catalog.function(operator[-2] if len(operator) > 1 else None, operator[-1], search_path)
        if reached and not functions.harmless(reached):
            found[Effect("sql.opaque", "Function", ".".join(operator))] = None
    return tuple(found)


def computes_only(statement: Statement, catalog: Catalog, search_path: SearchPath) -> bool:
    """Whether every call and operator that is written in it computes from its arguments and nothing else."""
    operators = (catalog.function(name[-2] if len(name) > 1 else None, name[-1], search_path) for name in statement.operators)
    return all(functions.computed_from_arguments(call, catalog, search_path) for call in statement.calls) and not any(
        reached and not functions.harmless(reached) for reached in operators
    )


def names_changed(statement: Statement) -> frozenset[str]:
    """The names, without schemas, that may mean something else after a change of definitions; `*` where it could be any."""
    if not _UNNAMING.isdisjoint(statement.tree):
        return frozenset()
    asked = [one for one in statement.asked if one.action not in _KNOWING]
    if any(one.kind not in ("Table", "Function") or not one.name for one in asked):
        return frozenset("*")
    return frozenset((*(one.name[-1] for one in asked), *_names_inside(statement.tree)))


def _names_inside(node: object) -> Iterator[str]:
    """Every relation that is named outside of queries, and new names."""
    if isinstance(node, list):
        for item in node:
            yield from _names_inside(item)
    elif isinstance(node, dict):
        for key, inside in node.items():
            if key in ("relname", "newname") and isinstance(inside, str):
                yield inside
            elif isinstance(inside, (dict, list)) and key not in ("query", "SelectStmt"):
                yield from _names_inside(inside)


def _is_suspect(name: str, catalog: Catalog, search_path: SearchPath) -> bool:
    reached = catalog.function(None, name, search_path)
    return bool(reached) and not functions.harmless(reached)


def _resolve(asked: Asked, catalog: Catalog, search_path: SearchPath) -> Effect:
    action, kind, name, new = asked
    if kind == "Table" and not new:
        relation = catalog.find(name[0] if len(name) > 1 else None, name[-1], search_path)
        if relation is not None:
            return Effect(action, kind, relation.qualified)
    elif kind == "Function" and not new and len(name) == 1:
        schemas = {function.schema for function in catalog.function(None, name[0], search_path)}
        if len(schemas) == 1:
            name = (schemas.pop(), *name)
    if new and len(name) == 1:
        name = next(((schema, *name) for schema in search_path if schema != "pg_catalog"), name)
    return Effect(action, kind, ".".join(name))


def settings(statement: Statement) -> Mapping[str, str | None]:
    """The settings that SET or RESET names, with the new value where it is one constant (None: default or a list)."""
    fields = statement.tree.get("VariableSetStmt")
    if fields is None:
        return {}
    arguments = fields.get("args", [])
    return {fields.get("name", "*").lower(): constant(arguments[0]) if len(arguments) == 1 else None}
