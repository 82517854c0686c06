"""PostgreSQL messages → `Operation`s: what a text asks, in the meaning that its names have right now.

A statement's syntax is read once (`facts.sql.postgres.read` caches by text); its *meaning* (which table is
`customers`, which columns does `*` stand for) depends on the catalog and the search_path, so it is taken for
each portal anew and cached under both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock.exchange import Effect, Fact, Operation, Resource
from interlock.facts.sql import lineage, postgres
from interlock.facts.sql.catalog import Catalog
from interlock.facts.sql.postgres import Statement, Unparsable
from interlock.protocols.stream import Foreseen

Sources = tuple[frozenset[str] | None, ...] | None
"""Lineage per output column; see `facts.sql.lineage.trace`."""

CACHED_TEXTS_MAX = 2_000
CACHED_TEXT_CHARS_MAX = 8_192
NOTHING = (Effect("sql.transaction"),)
"""The effect of a text without statements (`;`): no more than a word on the transaction."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What names mean: the catalog, and the search_path (None where upstream does not report it: then
    unqualified names stay unresolved, and what comes of them is masked)."""

    catalog: Catalog
    search_path: tuple[str, ...] | None

    @property
    def path(self) -> tuple[str, ...]:
        return self.search_path or ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A text as the gate and the relay need it. `statements` are in the order of the text; `sources` has the
    lineage of each. `refuse` is a reason for which the text is never forwarded, whatever policy says."""

    text: str
    title: str
    effects: tuple[Effect, ...]
    facts: Mapping[str, Fact]
    statements: tuple[Statement, ...] = ()
    sources: tuple[Sources, ...] = ()
    fence: bool = False
    position: int = 0
    error: str = ""
    refuse: str = ""


@dataclass(slots=True)
class Named:
    """What SQL-level names stand for in this session: prepared statements and cursors, with their meaning."""

    statements: dict[str, Asked] = field(default_factory=dict)
    cursors: dict[str, Asked] = field(default_factory=dict)


class Reader:
    """Reads texts for one session. `statement_bytes_max` bounds a text's length."""

    def __init__(self, resource: Resource, statement_bytes_max: int) -> None:
        self._resource = resource
        self._bytes_max = statement_bytes_max
        self._cache: OrderedDict[tuple[str, int, tuple[str, ...] | None], Asked] = OrderedDict()

    def read(self, text: str, meaning: Meaning, named: Named) -> Asked:
        """What the text asks. Never raises for the text's sake: what cannot be parsed is an effect."""
        key = (text, meaning.catalog.version, meaning.search_path)
        found = self._cache.get(key)
        if found is not None:
            self._cache.move_to_end(key)
            return found
        try:
            if len(text.encode()) > self._bytes_max:
                return _unparsed(text, f"the statement is longer than {self._bytes_max} bytes", 0)
            statements = postgres.read(text).statements
        except Unparsable as error:
            return _unparsed(text, error.message, error.position)
        asked = self._mean(text, statements, meaning, named)
        if len(text) <= CACHED_TEXT_CHARS_MAX and not any(s.kind in ("execute", "fetch", "move") for s in statements):
            self._cache[key] = asked
            if len(self._cache) > CACHED_TEXTS_MAX:
                self._cache.popitem(last=False)
        return asked

    def _mean(self, text: str, statements: tuple[Statement, ...], meaning: Meaning, named: Named) -> Asked:
        effects: dict[Effect, None] = {}
        sources: list[Sources] = []
        for statement in statements:
            inner = self._named(statement, meaning, named)
            if inner is not None:
                effects.update(dict.fromkeys(inner.effects))
                sources.append(inner.sources[-1] if inner.sources else None)
                continue
            if statement.kind in ("execute", "fetch"):
                effects[Effect("sql.opaque", "Function", f"{statement.kind} {statement.prepared or statement.cursor or ''}".strip())] = None
                sources.append(None)
                continue
            effects.update(dict.fromkeys(postgres.effects(statement, meaning.catalog, meaning.path)))
            effects.update(dict.fromkeys(self._filters(statement, meaning)))
            sources.append(lineage.trace(statement, meaning.catalog, meaning.path))
        return Asked(
            text,
            "; ".join(s.normalized for s in statements) or "(empty)",
            tuple(effects) or NOTHING,
            _facts(statements, effects),
            statements,
            tuple(sources),
            fence=any(s.changes_meaning for s in statements) or any(e.action == "sql.opaque" for e in effects),
            refuse=_impossible(statements),
        )

    def _named(self, statement: Statement, meaning: Meaning, named: Named) -> Asked | None:
        """What an EXECUTE or FETCH inherits from the name it uses. A prepared statement is planned anew, in
        the meaning of now; a cursor keeps the plan of its DECLARE."""
        match statement.kind:
            case "execute":
                prepared = named.statements.get(statement.prepared or "")
                return None if prepared is None else self.renew(prepared, meaning, named)
            case "fetch" | "move":
                return named.cursors.get(statement.cursor or "")
            case _:
                return None

    def renew(self, asked: Asked, meaning: Meaning, named: Named) -> Asked:
        """The same text in the meaning of now. An EXECUTE inside an EXECUTE does not exist in PostgreSQL."""
        if asked.error or any(s.kind == "execute" for s in asked.statements):
            return asked
        key = (asked.text, meaning.catalog.version, meaning.search_path)
        found = self._cache.get(key)
        return found if found is not None else self._mean(asked.text, asked.statements, meaning, named)

    def inner(self, statement: Statement, meaning: Meaning, named: Named) -> Asked | None:
        """What PREPARE or DECLARE holds inside, as an asked text of its own."""
        if statement.inner is None:
            return None
        return self._mean(statement.inner.text, (statement.inner,), meaning, named)

    def _filters(self, statement: Statement, meaning: Meaning) -> list[Effect]:
        """Use of a classed column in a predicate is an effect of its own: it can tell the value bit by bit."""
        classed = self._resource.classes
        if not classed:
            return []
        found: list[Effect] = []
        for column, use in sorted(lineage.filters(statement, meaning.catalog, meaning.path)):
            if column in classed or column.split(".", 1)[-1] in classed:
                found.append(Effect("filter.equal" if use == "equal" else "filter", "Column", column))
        return found

    def operation(self, asked: Asked, content: bytes, *, values: bytes = b"", rehearsal: bool = False) -> Operation:
        """The operation of a text, or of one execution of it with bound `values`. `rehearsal`: a Parse, which
        prepares what a later Execute asks for."""
        copies = any(s.copy is not None and s.copy.direction == "stdin" for s in asked.statements)
        return Operation(
            "sql",
            self._resource,
            asked.effects,
            asked.facts,
            content,
            asked.title,
            text=asked.text,
            flows=copies,
            identity=asked.text.encode() + b"\0" + values,
            rehearsal=rehearsal,
        )


def foresee(resource: Resource, text: str, catalog: Catalog, search_path: tuple[str, ...] | None, statement_bytes_max: int) -> Foreseen:
    """What a text would ask in a fresh session, without one: for explanations."""
    reader = Reader(resource, statement_bytes_max)
    asked = reader.read(text, Meaning(catalog, search_path), Named())
    return Foreseen(reader.operation(asked, text.encode(errors="replace")), asked.error, asked.position, asked.refuse)


def _facts(statements: tuple[Statement, ...], effects: Mapping[Effect, None]) -> dict[str, Fact]:
    return {
        "has_where": all(s.has_where for s in statements),
        "statement_count": len(statements),
        "tables": frozenset(e.object for e in effects if e.kind == "Table"),
        "functions": frozenset(e.object for e in effects if e.kind == "Function"),
        "statement_kinds": frozenset(s.kind for s in statements),
    }


def _unparsed(text: str, why: str, position: int) -> Asked:
    facts: dict[str, Fact] = {"has_where": False, "statement_count": 0}
    return Asked(text, "(unparsable)", (Effect("sql.unparsed"),), facts, position=position, error=why, fence=True)


def _impossible(statements: tuple[Statement, ...]) -> str:
    """Texts that the gateway cannot follow, and so never forwards."""
    for statement in statements:
        if statement.pins:
            return f"the gateway pins {', '.join(sorted(statement.pins))}; it cannot be changed in a session"
        if statement.copy is not None and statement.copy.direction == "stdout":
            if statement.copy.unknown:
                return f"the gateway does not know the COPY option {', '.join(sorted(statement.copy.unknown))}, and cannot mask what comes"
            if (statement.copy.encoding or "UTF8").upper().replace("-", "") not in ("UTF8", "UNICODE"):
                return "COPY TO STDOUT in another encoding than UTF8 cannot be masked"
    for statement in statements[:-1]:
        if statement.kind in ("set", "reset", "discard") and statement.changes_meaning:
            return "send SET, RESET or DISCARD of search_path or role by itself: what follows it in the same text would be judged by the old meaning"
    return ""
