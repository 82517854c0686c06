"""Client messages → steps: what each one asks, which name it gives or takes, and what it must wait for. Pure.

A *pipeline* is what stands between two Syncs: after an error upstream skips the rest of it, and no more.
Source: PostgreSQL documentation, "Message Flow" (Extended Query, Pipelining).
"""

from __future__ import annotations

from dataclasses import dataclass

from interlock.errors import ProtocolError
from interlock.exchange import Cleared, Effect, Held, Operation, Permit, Refusal, Resource
from interlock.facts.sql import postgres
from interlock.facts.sql.postgres import Statement
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.expect import Want
from interlock.protocols.postgres.names import NAMES_MAX, Rename
from interlock.protocols.postgres.operation import NAMING, PLANNED, USING, Asked, Meaning, Named, Portal, Reader

QUERY, PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, SYNC, TERMINATE = b"QPBDECSX"
COPY_DATA, FUNCTION_CALL, FLUSH = b"dFH"
COPY = frozenset(b"dcf")
UNREPORTED = "send Sync behind a change of search_path or role: until then it is not known what names mean"
LOOSE_END = "end the transaction by itself: search_path or role changed in it, and what follows would be judged by the old one"


@dataclass(slots=True)
class Step:
    """One client message on its way up. `want` is None where upstream gives no answer of its own. `fence`: nothing
    behind it is translated until it is answered. `describe`: our own Describe of this portal goes first. `cleared`: a
    message that asks nothing by itself; it is recorded as it comes, so that values are on record before what uses them."""

    kind: int
    message: bytes
    want: Want | None = None
    operation: Operation | None = None
    asked: Asked | None = None
    portal: Portal | None = None
    rename: Rename[Asked] | Rename[Portal] | None = None
    said: str = ""
    fence: bool = False
    describe: str | None = None
    cleared: Cleared | None = None
    answer: Permit | Held | Refusal | None = None


class Translator:
    """One session's. `dirty`: a change that the end of the transaction may take back; `moved`: of search_path or
    role; `unreported`: upstream has not reported the new values yet. The relay sets them."""

    def __init__(self, resource: Resource, statement_bytes_max: int) -> None:
        self.named = Named()
        self.dirty = False
        self.moved = False
        self.unreported = False
        self._resource = resource
        self._reader = Reader(resource, statement_bytes_max)
        self._pipeline = 0

    def must_wait(self, kind: int, message: bytes) -> bool:
        """Whether it uses a name that an earlier pipeline has given and upstream has not confirmed: should that
        fail, the name would still mean what it meant before."""
        named, pipeline = self.named, self._pipeline
        if not (named.statements.waiting or named.portals.waiting):
            return False
        match kind:
            case 0x42:
                return named.statements.unsure(pipeline, wire.read_bind(message).statement)
            case 0x45:
                name = wire.read_execute(message)[0]
                if named.portals.unsure(pipeline, name):
                    return True
                portal = named.portals.get(name)
                return portal is not None and portal.asked.has(USING) and self._any_unsure()
            case 0x51 | 0x50:
                return self._any_unsure() and _uses_names(wire.read_query(message) if kind == QUERY else wire.read_parse(message).sql)
            case _:
                return False

    def translate(self, kind: int, message: bytes, meaning: Meaning) -> Step:
        """Raises `ProtocolError` (fault client) for a message that may not come now."""
        match kind:
            case 0x51:
                asked = self._reader.read(wire.read_query(message), meaning, self.named)
                operation = self._reader.operation(asked, message, refuse=self._why_not(asked))
                return Step(kind, message, Want.QUERY, operation, asked, fence=self._fences(asked))
            case 0x50:
                return self._parse(message, meaning)
            case 0x42:
                return self._bind(message, meaning)
            case 0x45:
                return self._execute(message, meaning)
            case 0x44:
                what, name = wire.read_describe(message)
                portal = self.named.portals.get(name) if what == "P" else None
                if portal is not None:
                    portal.described_in = self._pipeline
                return Step(kind, message, Want.DESCRIBE, portal=portal, said=name)
            case 0x43:
                return self._close(message)
            case 0x53:
                self._pipeline += 1
                return Step(kind, message, Want.SYNC, fence=self.unreported)
            case 0x46:
                return self._function_call(message)
            case 0x48 | 0x64 | 0x63 | 0x66 | 0x58:  # Flush, CopyData, CopyDone, CopyFail, Terminate
                return Step(kind, message)
            case _:
                raise ProtocolError(f"the client may not send {wire.FRONTEND[kind].name} now", fault="client")

    def ran(self, statement: Statement, meaning: Meaning) -> None:
        """A statement ran: see `Reader.ran`."""
        self._reader.ran(statement, meaning, self.named)

    def _parse(self, message: bytes, meaning: Meaning) -> Step:
        parsed = wire.read_parse(message)
        asked = self._reader.read(parsed.sql, meaning, self.named)
        names = self.named.statements
        refuse = f"a session may hold {NAMES_MAX} prepared statements" if names.full and names.get(parsed.name) is None else ""
        operation = self._reader.operation(asked, message, rehearsal=True, refuse=refuse or self._why_not(asked))
        rename = names.rename(parsed.name, asked, self._pipeline)
        return Step(PARSE, message, Want.PARSE, operation, asked, rename=rename, said=parsed.name)

    def _bind(self, message: bytes, meaning: Meaning) -> Step:
        bound = wire.read_bind(message)
        prepared = self.named.statements.get(bound.statement)
        portal: Portal | None = None
        # An unknown statement upstream does not know either, and says so itself. Should it know it, the portal stays
        # unknown here and is never executed; the same for a portal that was planned in a meaning we do not know.
        if prepared is not None and not self.unreported and not self.named.portals.full:
            head = 1 + 4 + len(bound.portal.encode()) + 1 + len(bound.statement.encode()) + 1
            asked = self._reader.renew(prepared, meaning, self.named)
            if asked is not prepared:
                self.named.statements.renew(bound.statement, asked)
            portal = Portal(asked, message[head:])
        rename = self.named.portals.rename(bound.portal, portal, self._pipeline)
        said = f"{bound.portal} {bound.statement}"
        return Step(BIND, message, Want.BIND, asked=portal.asked if portal else None, portal=portal, rename=rename, said=said)

    def _execute(self, message: bytes, meaning: Meaning) -> Step:
        name, _ = wire.read_execute(message)
        portal = self.named.portals.get(name)
        if portal is None:
            return self._unknown_portal(message, name)
        asked = portal.asked
        if not all(statement.kind in PLANNED for statement in asked.statements):
            asked = self._reader.renew(asked, meaning, self.named)
        operation = self._reader.operation(asked, message, values=portal.values, refuse=self._why_not(asked))
        step = Step(EXECUTE, message, Want.EXECUTE, operation, asked, portal, said=name, fence=self._fences(asked))
        # Each portal is described in its own pipeline, by the client or by us: a description that a driver keeps
        # from before can belong to another meaning.
        if portal.columns is None and portal.described_in != self._pipeline and asked.returns_rows:
            portal.described_in = self._pipeline
            step.describe = name
        return step

    def _unknown_portal(self, message: bytes, name: str) -> Step:
        effects = (Effect("sql.opaque", "Function", "unknown portal"),)
        refuse = f'portal "{name}" does not exist, or the gateway does not know what it would run'
        return Step(EXECUTE, message, Want.EXECUTE, self._refused(message, "(unknown portal)", effects, refuse))

    def _function_call(self, message: bytes) -> Step:
        effects = (Effect("sql.opaque", "Function", "FunctionCall"),)
        refuse = "function calls over the fast path are never forwarded"
        return Step(FUNCTION_CALL, message, Want.QUERY, self._refused(message, "(function call)", effects, refuse))

    def _refused(self, message: bytes, title: str, effects: tuple[Effect, ...], refuse: str) -> Operation:
        return Operation("sql", self._resource, effects, {"has_where": False, "statement_count": 1}, message, title, refuse=refuse)

    def _close(self, message: bytes) -> Step:
        what, name = wire.read_close(message)
        step = Step(CLOSE, message, Want.CLOSE)
        if what == "S":
            step.rename = self.named.statements.rename(name, None, self._pipeline)
        else:
            step.rename = self.named.portals.rename(name, None, self._pipeline)
        return step

    def _why_not(self, asked: Asked) -> str:
        """Why this text cannot be judged in the state that the session is in; empty if it can."""
        if self.unreported:
            return UNREPORTED
        if self.moved and any(_ends_transaction(statement) for statement in asked.statements[:-1]):
            return LOOSE_END
        return ""

    def _fences(self, asked: Asked) -> bool:
        """Whether names may mean something else after it. The end of a transaction takes back what changed in it."""
        return asked.changes or asked.has(NAMING) or (self.dirty and any(_ends_transaction(s) for s in asked.statements))

    def moves(self, asked: Asked) -> bool:
        """Whether what unqualified names mean is not known after it until upstream reports."""
        return asked.moves or (self.moved and any(_ends_transaction(s) for s in asked.statements))

    def _any_unsure(self) -> bool:
        return self.named.statements.unsure(self._pipeline) or self.named.portals.unsure(self._pipeline)


def _uses_names(text: str) -> bool:
    try:
        return any(statement.kind in USING for statement in postgres.read(text).statements)
    except postgres.Unparsable:
        return False


def _ends_transaction(statement: Statement) -> bool:
    return statement.kind == "transaction" and statement.transaction not in ("begin", "start", "savepoint", "release")
