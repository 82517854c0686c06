"""PostgreSQL messages → `Operation`s: what a text asks, in the meaning that its names have right now.

A statement's syntax is read once (`facts.sql.postgres.read` caches by text); its *meaning* (which table is
`customers`, which columns does `*` stand for) depends on the catalog and the search_path, so it is taken for
each portal anew and cached under both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from interlock.exchange import Column, Effect, Fact, Operation, Resource
from interlock.facts.sql import lineage, postgres
from interlock.facts.sql.catalog import Catalog
from interlock.facts.sql.postgres import Statement, Unparsable
from interlock.facts.sql.transfers import Transfer, known_marks, transfers, unite
from interlock.protocols.postgres.names import Names
from interlock.protocols.postgres.shape import is_free, shape_of
from interlock.protocols.stream import Foreseen

Sources = tuple[frozenset[str] | None, ...] | None
"""Lineage per output column; see `facts.sql.lineage.trace`."""

CACHED_TEXTS_MAX = 2_000
CACHED_TEXT_CHARS_MAX = 8_192
CACHED_SHAPES_MAX = 500
NOTHING = (Effect("sql.transaction"),)
"""The effect of a text without statements (`;`): no more than a word on the transaction."""
NAMING = frozenset({"prepare", "deallocate", "declare", "close", "discard"})
"""Statements that give or take names which EXECUTE and FETCH use."""
UNREAD = Effect("sql.opaque")
"""What EXECUTE and FETCH are by syntax alone."""
UNSEEN = Transfer(opaque=True)
USING = frozenset({"execute", "fetch", "move"})
"""Statements whose meaning is what a name stands for at the moment when they run."""
PLANNED = frozenset({"select", "insert", "update", "delete", "merge"})
"""Statements that are planned when a portal is bound; all others take their meaning when they run."""
MOVING = frozenset({"search_path", "role", "session_authorization"})
"""Settings that decide what an unqualified name means."""
CURSOR_OPT_HOLD = 0x20
"""DECLARE … WITH HOLD (PostgreSQL, nodes/parsenodes.h): the cursor outlives its transaction."""
Meant = tuple[int, tuple[str, ...] | None, frozenset[str]]
"""A meaning in short: the catalog's version, the search_path, and the names that it is not known of."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What names mean: the catalog, and the search_path (None where upstream does not report it: then
    unqualified names stay unresolved, and what comes of them is masked)."""

    catalog: Catalog
    search_path: tuple[str, ...] | None

    @property
    def path(self) -> tuple[str, ...]:
        return self.search_path or ()

    @property
    def key(self) -> Meant:
        return self.catalog.version, self.search_path, self.catalog.hidden

    def after(self, statement: Statement) -> Meaning:
        """What is still known behind a statement that changes definitions."""
        return replace(self, catalog=self.catalog.without(postgres.names_changed(statement)))

    def holding(self, puts: Sequence[Transfer]) -> Meaning:
        """What columns mean behind a statement that put these values into them."""
        marks = known_marks(puts)
        return replace(self, catalog=self.catalog.derive(unite(self.catalog.marks, marks))) if marks else self


@dataclass(frozen=True, slots=True)
class Asked:
    """A text as the gate and the relay need it. `statements` are in the order of the text; `sources` has the
    lineage of each, `puts` what each puts where it is not known to be. `changes`: afterwards the same names may mean
    something else; `moves`: because of a setting
    (search_path, role), which upstream reports no earlier than ReadyForQuery. `behind` has the texts that its EXECUTE
    and FETCH stand for. `refuse` is a reason for which the text is never forwarded, whatever policy says."""

    text: str
    title: str
    effects: tuple[Effect, ...]
    facts: Mapping[str, Fact]
    statements: tuple[Statement, ...] = ()
    sources: tuple[Sources, ...] = ()
    puts: tuple[tuple[Transfer, ...], ...] = ()
    meant: Meant = (0, None, frozenset())
    behind: tuple[str, ...] = ()
    changes: bool = False
    moves: bool = False
    position: int = 0
    error: str = ""
    refuse: str = ""

    def has(self, kinds: frozenset[str]) -> bool:
        return any(statement.kind in kinds for statement in self.statements)

    @property
    def returns_rows(self) -> bool:
        return any(statement.returns_rows for statement in self.statements)


@dataclass(slots=True)
class Portal:
    """A bound statement, or a cursor: what it asks in the meaning it was planned in, its values, and its columns
    once upstream has described them. `described_in` is the pipeline in which somebody asks for them."""

    asked: Asked
    values: bytes = b""
    columns: tuple[Column, ...] | None = None
    described_in: int = -1
    outlives: bool = False


@dataclass(slots=True)
class Named:
    """What names stand for in this session: prepared statements, and portals with SQL's cursors among them."""

    statements: Names[Asked] = field(default_factory=Names)
    portals: Names[Portal] = field(default_factory=Names)

    def fork(self) -> Named:
        """A view for reading ahead inside one text."""
        return Named(Names(self.statements), Names(self.portals))


class Reader:
    """Reads texts for one session. `statement_bytes_max` bounds a text's length."""

    def __init__(self, resource: Resource, statement_bytes_max: int) -> None:
        self._resource = resource
        self._classed: dict[str, set[str]] = {}
        for name, data_class in resource.classes.items():
            self._classed.setdefault(name.casefold(), set()).add(data_class)
        self._bytes_max = statement_bytes_max
        self._cache: OrderedDict[tuple[str, Meant], Asked] = OrderedDict()
        self._shapes: dict[tuple[str, Meant], Asked] = {}

    def read(self, text: str, meaning: Meaning, named: Named) -> Asked:
        """What the text asks. Never raises for the text's sake: what cannot be parsed is an effect."""
        key = (text, meaning.key)
        found = self._cache.get(key)
        if found is not None:
            self._cache.move_to_end(key)
            return found
        shape = shape_of(text)
        found = self._shapes.get((shape, meaning.key)) if shape else None
        if found is not None:
            return replace(found, text=text)
        try:
            if len(text.encode()) > self._bytes_max:
                return _unparsed(text, f"the statement is longer than {self._bytes_max} bytes", 0)
            statements = postgres.read(text).statements
        except Unparsable as error:
            return _unparsed(text, error.message, error.position)
        asked = self._mean(text, statements, meaning, named)
        if shape and is_free(statements):
            if len(self._shapes) >= CACHED_SHAPES_MAX:
                self._shapes.clear()
            self._shapes[shape, meaning.key] = asked
        if len(text) <= CACHED_TEXT_CHARS_MAX and not asked.has(USING):
            self._cache[key] = asked
            if len(self._cache) > CACHED_TEXTS_MAX:
                self._cache.popitem(last=False)
        return asked

    def renew(self, asked: Asked, meaning: Meaning, named: Named) -> Asked:
        """The same text in the meaning of now."""
        if asked.error or (asked.meant == meaning.key and not asked.has(USING)):
            return asked
        return self._mean(asked.text, asked.statements, meaning, named)

    def ran(self, statement: Statement, meaning: Meaning, named: Named) -> None:
        """A statement ran: what it named exists from now on, what it took away does not."""
        match statement.kind:
            case "prepare" if statement.prepared is not None and statement.inner is not None:
                named.statements.put(statement.prepared, self._mean(statement.inner.text, (statement.inner,), meaning, named))
            case "declare" if statement.cursor is not None and statement.inner is not None:
                inner = self._mean(statement.inner.text, (statement.inner,), meaning, named)
                options = int(statement.tree["DeclareCursorStmt"].get("options", 0))
                named.portals.put(statement.cursor, Portal(inner, outlives=bool(options & CURSOR_OPT_HOLD)))
            case "deallocate":
                _forget(named.statements, statement.prepared)
            case "close":
                _forget(named.portals, statement.cursor)
            case "discard" if statement.tree["DiscardStmt"].get("target") == "DISCARD_ALL":
                named.statements.clear()
                named.portals.clear()
            case _:
                pass

    def operation(self, asked: Asked, content: bytes, *, values: bytes = b"", rehearsal: bool = False, refuse: str = "") -> Operation:
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
            text="\n".join((asked.text, *asked.behind)),
            flows=copies,
            identity="\0".join((asked.text, *asked.behind)).encode() + b"\0" + values,
            rehearsal=rehearsal,
            refuse=refuse or asked.refuse,
        )

    def _mean(self, text: str, statements: tuple[Statement, ...], meaning: Meaning, named: Named) -> Asked:
        """What statements mean that run one after the other: names given by one are there for the next, and what
        comes behind a change of definitions has no lineage that could be trusted."""
        names = len(statements) > 1 and any(s.kind in NAMING for s in statements)
        if names:
            named = named.fork()
        meant = meaning.key
        effects: dict[Effect, None] = {}
        sources: list[Sources] = []
        puts: list[tuple[Transfer, ...]] = []
        behind: list[Asked] = []
        changed = False
        for statement in statements:
            if statement.kind in USING:
                used = self._used(statement, meaning, named)
                behind.append(used)
                asks, source = used.effects, used.sources[-1] if used.sources else None
                changes = used.changes
                puts.append((*(transfer for one in used.puts for transfer in one), *self._unseen(asks)))
                if statement.calls or statement.operators:  # the arguments of EXECUTE run here and now
                    asks += tuple(e for e in postgres.effects(statement, meaning.catalog, meaning.path) if e != UNREAD)
                    if not postgres.computes_only(statement, meaning.catalog, meaning.path):
                        source = None
            else:
                asks = (*postgres.effects(statement, meaning.catalog, meaning.path), *self._filters(statement, meaning))
                source = lineage.trace(statement, meaning.catalog, meaning.path)
                changes = False
                puts.append(self._puts(statement, meaning, asks))
            effects.update(dict.fromkeys(asks))
            sources.append(None if changed else source)
            if statement.changes_meaning or changes:
                changed = True
                meaning = meaning.after(statement)
            meaning = meaning.holding(puts[-1])
            if names:
                self.ran(statement, meaning, named)
        return Asked(
            text,
            "; ".join(s.normalized for s in statements) or "(empty)",
            tuple(effects) or NOTHING,
            _facts(statements, effects, behind),
            statements,
            tuple(sources),
            tuple(puts),
            meant,
            tuple(used.text for used in behind),
            changes=changed or any(puts) or any(e.action == "sql.opaque" for e in effects),
            moves=any(_moves(s) for s in statements) or any(used.moves for used in behind),
            refuse=_impossible(statements),
        )

    def _used(self, statement: Statement, meaning: Meaning, named: Named) -> Asked:
        """What an EXECUTE or FETCH inherits from the name it uses: a prepared statement is planned anew, in the
        meaning of now; a cursor keeps the plan of its DECLARE, and the values it was bound with."""
        name = statement.prepared or statement.cursor or ""
        used: Asked | None = None
        if statement.kind == "execute":
            prepared = named.statements.get(name)
            # An EXECUTE inside an EXECUTE does not exist in PostgreSQL.
            used = None if prepared is None or prepared.has(USING) else self.renew(prepared, meaning, named)
        else:
            portal = named.portals.get(name)
            if portal is not None:
                used = portal.asked
                if portal.values:
                    used = replace(used, text=f"{used.text} [{portal.values.hex()}]")
        if used is None or used.error:
            what = f"{statement.kind} {name}".strip()
            return Asked(f"({what}: unknown)", what, (Effect("sql.opaque", "Function", what),), {"has_where": False})
        return used

    def _puts(self, statement: Statement, meaning: Meaning, asks: Sequence[Effect]) -> tuple[Transfer, ...]:
        """What the statement puts where it is not known to be; of no interest where nothing has a class."""
        if not self._classed:
            return ()
        return (*transfers(statement, meaning.catalog, meaning.path), *self._unseen(asks))

    def _unseen(self, asks: Sequence[Effect]) -> tuple[Transfer, ...]:
        """PostgreSQL's own functions make no relations; what others do cannot be seen."""
        opaque = any(e.action == "sql.opaque" and not e.object.startswith("pg_catalog.") for e in asks)
        return (UNSEEN,) if opaque and self._classed else ()

    def _filters(self, statement: Statement, meaning: Meaning) -> list[Effect]:
        """Use of a classed column in a predicate is an effect of its own: it can tell the value bit by bit. So is to put its
        values where they would not have its class."""
        if not self._classed:
            return []
        uses = sorted(lineage.filters(statement, meaning.catalog, meaning.path))
        found = [Effect("filter.equal" if use == "equal" else "filter", "Column", column) for column, use in uses if self._classes(column)]
        for column, places in sorted(lineage.stores(statement, meaning.catalog, meaning.path), key=lambda stored: stored[0]):
            kept: frozenset[str] = frozenset().union(*(self._classes(place) for place in places))
            if self._classes(column) - kept:
                found.append(Effect("filter", "Column", column))
        return found

    def _classes(self, column: str) -> frozenset[str]:
        """The data classes that the resource's map gives to `schema.table.column`; `*` could be any column."""
        parts = column.casefold().split(".")
        if len(parts) != 3:
            return frozenset("*")
        schema, table, name = parts
        names = (f"{table}.{name}", f"{schema}.{table}.{name}", f"{table}.*", f"{schema}.{table}.*")
        return frozenset().union(*(self._classed[key] for key in names if key in self._classed))


def foresee(resource: Resource, text: str, catalog: Catalog, search_path: tuple[str, ...] | None, statement_bytes_max: int) -> Foreseen:
    """What a text would ask in a fresh session, without one: for explanations."""
    reader = Reader(resource, statement_bytes_max)
    asked = reader.read(text, Meaning(catalog, search_path), Named())
    return Foreseen(reader.operation(asked, text.encode(errors="replace")), asked.error, asked.position, asked.refuse)


def _facts(statements: tuple[Statement, ...], effects: Mapping[Effect, None], behind: Sequence[Asked]) -> dict[str, Fact]:
    kinds = {statement.kind for used in behind for statement in used.statements}
    return {
        "has_where": all(s.has_where for s in statements) and all(used.facts.get("has_where") for used in behind),
        "statement_count": len(statements),
        "tables": frozenset(e.object for e in effects if e.kind == "Table"),
        "functions": frozenset(e.object for e in effects if e.kind == "Function"),
        "statement_kinds": frozenset(s.kind for s in statements) | kinds,
    }


def _unparsed(text: str, why: str, position: int) -> Asked:
    facts: dict[str, Fact] = {"has_where": False, "statement_count": 0}
    return Asked(
        text, "(unparsable)", (Effect("sql.unparsed"),), facts, puts=((UNSEEN,),), position=position, error=why, changes=True, moves=True
    )


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
    if any(_moves(statement) for statement in statements[:-1]):
        return "send a change of search_path or role by itself: what follows it in the same text would be judged by the old one"
    return ""


def _moves(statement: Statement) -> bool:
    """Whether it changes a setting that names depend on."""
    if statement.kind in ("set", "reset", "discard"):
        return statement.changes_meaning
    settings = [call.arguments[0] if call.arguments else None for call in statement.calls if call.name[-1] == "set_config"]
    return any(name is None or name.lower() in MOVING for name in settings)


def _forget(names: Names[Asked] | Names[Portal], name: str | None) -> None:
    if name:
        names.put(name, None)
    else:
        names.clear()
