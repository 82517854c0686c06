"""The PostgreSQL relay: two byte streams and what may pass between them. Pure; the driver does the waiting.

Client messages are framed into `_inbox`, translated into steps until one changes the meaning of names (a
fence), and the steps' operations are asked of the gate in one batch. Then the steps run in order: what is
permitted goes up, what is refused is replaced by a *poison* message that makes upstream fail the transaction
just as PostgreSQL's own error would (dropping the message and forwarding Sync would commit what came before),
and upstream's error is replaced by our refusal.

    READY ──operations──▶ ASKING ──answers──▶ READY          (run the steps)
                             └──one is held──▶ HELD ──▶ READY
    READY ──a fence ran──▶ FENCED ──all answered──▶ READY or LEARNING (a new catalog is needed) ──▶ READY

Source: PostgreSQL documentation, "Message Flow" (protocol 3.0 and 3.2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

from interlock.errors import ProtocolError
from interlock.exchange import Cleared, Effect, Held, Operation, Outcome, Permit, Port, Refusal, Resource
from interlock.facts.sql.catalog import Catalog
from interlock.protocols.postgres import reply, wire
from interlock.protocols.postgres.answers import Answers
from interlock.protocols.postgres.expect import Expect, Portal, Want
from interlock.protocols.postgres.operation import Asked, Meaning, Named, Reader

EXPECTED_MAX = 10_000
"""How many answers upstream may owe before the client has to wait."""
BATCH_MAX = 1_000
"""How many client messages are asked of the gate at once."""
NAMES_MAX = 10_000
"""How many prepared statements, portals and cursors a session may name (each)."""
POISON_QUERY = wire.query("interlock refused this statement")
"""Not SQL: upstream fails the transaction over it, as over any other error, and runs nothing."""

SYNC, TERMINATE, COPY_DATA = 0x53, 0x58, 0x64
COPY = frozenset(b"dcf")
T = TypeVar("T")


class Phase(Enum):
    READY = "ready"
    ASKING = "asking"
    HELD = "held"
    FENCED = "fenced"
    LEARNING = "learning"


@dataclass(slots=True)
class Step:
    """One client message on its way up. `want` is None where upstream gives no answer of its own."""

    kind: int
    message: bytes
    want: Want | None = None
    operation: Operation | None = None
    asked: Asked | None = None
    portal: Portal | None = None
    name: str = ""
    quiet: bool = False
    fence: bool = False
    never: str = ""
    undo: Callable[[], None] | None = None
    answer: Permit | Held | Refusal | None = None


class Relay:
    """One session. `poison` is a name nobody can guess (a portal that never exists); `user` is upstream's
    session user, which `"$user"` in a search_path means. `message_bytes_max` bounds every buffer."""

    def __init__(
        self,
        port: Port,
        connect: Permit,
        catalog: Catalog,
        *,
        parameters: Mapping[str, str],
        user: str,
        poison: str,
        message_bytes_max: int,
        statement_bytes_max: int,
    ) -> None:
        self.resource: Resource = connect.exchange.operation.resource
        self.answers = Answers(port, catalog, parameters, user, message_bytes_max, self._completed)
        self._port = port
        self._connect = connect
        self._poison = wire.execute(poison)
        self._reader = Reader(self.resource, statement_bytes_max)
        self._named = Named()
        self._portals: dict[str, Portal] = {}
        self._client = wire.Framer("client", message_bytes_max)
        self._upstream = wire.Framer("upstream", message_bytes_max)
        self._inbox: deque[tuple[int, bytes]] = deque()
        self._inbox_bytes = 0
        self._steps: list[Step] = []
        self._up: list[Cleared] = []
        self._phase = Phase.READY
        self._skip = False
        self._unsynced = False
        self._dirty = False
        self.terminated = False
        self.ended = ""
        """Why the session must end, once a refusal was final."""

    # -- the driver's side -------------------------------------------------------------------------------

    def receive_client(self, data: bytes) -> None:
        """Bytes of the client. Raises `ProtocolError` (fault client): end the session, forward nothing."""
        for kind, message in self._client.feed_runs(data):
            self._inbox.append((kind, message))
            self._inbox_bytes += len(message)
        self._pump()

    def receive_upstream(self, data: bytes) -> None:
        """Bytes of upstream. Raises `InterlockError`: end the session, nothing more goes down."""
        for kind, message in self._upstream.feed_runs(data):
            self.answers.reply(kind, message)
            if self.answers.discard_to_sync:
                self.answers.discard_to_sync = False
                self._skip = True
        self.answers.say_rest()
        if self._phase is Phase.FENCED and not self.answers.expected:
            self._unfence()
        self._pump()

    @property
    def questions(self) -> list[Operation]:
        """The operations that the gate must be asked now; empty unless the relay is asking."""
        if self._phase is not Phase.ASKING:
            return []
        return [step.operation for step in self._steps if step.operation is not None]

    def answer(self, answers: list[Permit | Held | Refusal]) -> None:
        """The gate's answers to `questions`, in order."""
        asking = [step for step in self._steps if step.operation is not None]
        for step, answer in zip(asking, answers, strict=True):
            step.answer = answer
        self._settle_held()

    @property
    def held(self) -> Held | None:
        """The operation that people must agree to before anything goes on."""
        if self._phase is not Phase.HELD:
            return None
        return next(step.answer for step in self._steps if isinstance(step.answer, Held))

    def resolve(self, answer: Permit | Refusal) -> None:
        """What became of `held`."""
        next(step for step in self._steps if isinstance(step.answer, Held)).answer = answer
        self._settle_held()

    @property
    def wants_catalog(self) -> bool:
        """Definitions changed: the driver must hand in a new catalog by `learn` before anything goes on."""
        return self._phase is Phase.LEARNING

    def learn(self, catalog: Catalog) -> None:
        self.answers.catalog = catalog
        self.answers.stale = False
        self._phase = Phase.READY
        self._pump()

    def refresh(self, catalog: Catalog) -> None:
        """Somebody else learned a newer catalog."""
        if catalog.version > self.answers.catalog.version:
            self.answers.catalog = catalog

    @property
    def busy(self) -> bool:
        """Whether upstream owes answers, or the gate or people are being asked."""
        return bool(self.answers.expected) or self._phase is not Phase.READY

    @property
    def backlog_bytes(self) -> int:
        """Client bytes that wait; the driver stops reading above its bound."""
        return self._inbox_bytes + self._client.pending

    def to_client(self) -> list[Cleared]:
        return self.answers.take()

    def to_upstream(self) -> list[Cleared]:
        cleared, self._up = self._up, []
        return cleared

    def notice(self, text: str, hint: str = "") -> None:
        """A word of the gate's to the client, in the middle of whatever goes on."""
        self.answers.say(wire.notice("NOTICE", "00000", text, hint=hint))
        self.answers.say_rest()

    # -- up: translate, ask, run ---------------------------------------------------------------------------

    def _pump(self) -> None:
        while self._phase is Phase.READY and self._inbox and len(self.answers.expected) < EXPECTED_MAX:
            self._steps = self._translate_batch()
            if any(step.operation is not None for step in self._steps):
                self._phase = Phase.ASKING
                return
            self._run()

    def _settle_held(self) -> None:
        if any(isinstance(step.answer, Held) for step in self._steps):
            self._phase = Phase.HELD
            return
        self._phase = Phase.READY
        self._run()
        self._pump()

    def _translate_batch(self) -> list[Step]:
        steps: list[Step] = []
        while self._inbox and len(steps) < BATCH_MAX:
            kind, message = self._inbox[0]
            if kind in COPY and self._copy_undecided(steps):
                break
            self._inbox.popleft()
            self._inbox_bytes -= len(message)
            step = self._translate(kind, message)
            steps.append(step)
            if step.fence:
                # Upstream keeps its answers until Sync or Flush; take the Sync along if it is there.
                if step.want is Want.EXECUTE and self._inbox and self._inbox[0][0] == SYNC:
                    self._inbox_bytes -= len(self._inbox[0][1])
                    steps.append(self._translate(*self._inbox.popleft()))
                break
        return steps

    def _copy_undecided(self, steps: list[Step]) -> bool:
        """Whether COPY data came before it is known if upstream takes it."""
        return any(s.operation is not None and s.operation.flows for s in steps) or (
            self.answers.copy_in is None and any(e.permit is not None and e.permit.exchange.operation.flows for e in self.answers.expected)
        )

    def _translate(self, kind: int, message: bytes) -> Step:
        match kind:
            case 0x51:  # Query
                asked = self._reader.read(wire.read_query(message), self._meaning, self._named)
                operation = self._reader.operation(asked, message)
                return Step(kind, message, Want.QUERY, operation, asked, fence=self._fences(asked), never=asked.refuse)
            case 0x50:  # Parse
                return self._parse(message)
            case 0x42:  # Bind
                return self._bind(message)
            case 0x45:  # Execute
                return self._execute(message)
            case 0x44:  # Describe
                what, name = wire.read_describe(message)
                portal = self._portals.get(name) if what == "P" else None
                return Step(kind, message, Want.DESCRIBE, portal=portal, name=what)
            case 0x43:  # Close
                return self._close(message)
            case 0x53:  # Sync
                return Step(kind, message, Want.SYNC)
            case 0x48 | 0x64 | 0x63 | 0x66 | 0x58:  # Flush, CopyData, CopyDone, CopyFail, Terminate
                return Step(kind, message)
            case 0x46:  # FunctionCall
                effects = (Effect("sql.opaque", "Function", "FunctionCall"),)
                operation = Operation("sql", self.resource, effects, {"has_where": False, "statement_count": 1}, message, "(function call)")
                return Step(kind, message, Want.QUERY, operation, never="function calls over the fast path are never forwarded")
            case _:
                raise ProtocolError(f"the client may not send {wire.FRONTEND[kind].name} now", fault="client")

    def _parse(self, message: bytes) -> Step:
        parsed = wire.read_parse(message)
        asked = self._reader.read(parsed.sql, self._meaning, self._named)
        operation = self._reader.operation(asked, message, rehearsal=True)
        step = Step(0x50, message, Want.PARSE, operation, asked, name=parsed.name, never=asked.refuse)
        _rename(self._named.statements, parsed.name, asked, step)
        return step

    def _bind(self, message: bytes) -> Step:
        bound = wire.read_bind(message)
        prepared = self._named.statements.get(bound.statement)
        step = Step(0x42, message, Want.BIND, name=bound.portal)
        if prepared is None:
            # Upstream does not know it either and says so itself; should it know it, the portal stays unknown here.
            _rename(self._portals, bound.portal, None, step)
            return step
        asked = self._reader.renew(prepared, self._meaning, self._named)
        head = 1 + 4 + len(bound.portal.encode()) + 1 + len(bound.statement.encode()) + 1
        step.portal = Portal(asked, values=message[head:])
        _rename(self._portals, bound.portal, step.portal, step)
        step.quiet = self._needs_describe(bound.portal, asked)
        return step

    def _needs_describe(self, name: str, asked: Asked) -> bool:
        """Each portal is described in its own pipeline, by the client or by us: a description that a driver
        keeps from before can belong to another meaning."""
        if not any(s.returns_rows for s in asked.statements):
            return False
        if self._inbox:
            kind, message = self._inbox[0]
            return not (kind == 0x44 and wire.read_describe(message) == ("P", name))
        return True

    def _execute(self, message: bytes) -> Step:
        name, _ = wire.read_execute(message)
        portal = self._portals.get(name)
        if portal is None:
            asked = Asked(
                "", "(unknown portal)", (Effect("sql.opaque", "Function", "unknown portal"),), {"has_where": False, "statement_count": 1}
            )
            return Step(
                0x45, message, Want.EXECUTE, self._reader.operation(asked, message), never=f'portal "{name}" is not known to the gateway'
            )
        operation = self._reader.operation(portal.asked, message, values=portal.values)
        return Step(
            0x45, message, Want.EXECUTE, operation, portal.asked, portal, fence=self._fences(portal.asked), never=portal.asked.refuse
        )

    def _fences(self, asked: Asked) -> bool:
        """Whether names may mean something else after it: then nothing is translated until it is answered.
        The end of a transaction takes back what was SET in it."""
        return asked.fence or (self._dirty and any(s.kind == "transaction" for s in asked.statements))

    def _close(self, message: bytes) -> Step:
        what, name = wire.read_close(message)
        step = Step(0x43, message, Want.CLOSE)
        if what == "S":
            _rename(self._named.statements, name, None, step)
        else:
            _rename(self._portals, name, None, step)
        return step

    # -- running the steps ---------------------------------------------------------------------------------

    def _run(self) -> None:
        steps, self._steps = self._steps, []
        fenced = False
        for step in steps:
            fenced |= self._run_step(step) and step.fence
        if fenced:
            self._dirty = True
            if self._unsynced:
                self._send(self._connect, wire.flush())
            self._phase = Phase.FENCED
            if not self.answers.expected:
                self._unfence()

    def _run_step(self, step: Step) -> bool:
        """Send one message up, or what stands for it. False if it was skipped or refused."""
        if self._skip:
            if step.kind != SYNC:
                self._drop(step)
                return False
            self._skip = False
        refusal = self._refusal(step)
        if refusal is not None:
            self._refuse(step, refusal)
            return False
        if step.kind in COPY:
            self._copy(step)
            return True
        permit = step.answer if step.answer is not None else self._connect
        assert not isinstance(permit, (Held, Refusal))
        self._send(permit, step.message)
        if step.kind == TERMINATE:
            self.terminated = True
        if step.kind == SYNC and self.answers.copy_in is not None:
            return True  # upstream ignores Sync while it takes COPY data
        if step.want is not None:
            self._unsynced = step.want not in (Want.QUERY, Want.SYNC)
            own = step.answer if permit is not self._connect else None
            assert not isinstance(own, (Held, Refusal))
            self.answers.expected.append(Expect(step.want, own, asked=step.asked, portal=step.portal, undo=step.undo))
        if step.quiet:
            self._send(self._connect, wire.describe("P", step.name))
            self.answers.expected.append(Expect(Want.DESCRIBE, portal=step.portal, quiet=True))
        return True

    def _refusal(self, step: Step) -> Refusal | None:
        if isinstance(step.answer, Refusal):
            asked = step.asked
            if asked is not None and asked.error and step.answer.code == "denied":
                return replace(step.answer, code="unparsable", reason=asked.error, position=asked.position)
            return step.answer
        if step.never:
            if step.answer is not None and not isinstance(step.answer, Held):
                self._port.settle(step.answer, Outcome.REFUSED, step.never)
            return Refusal("denied", step.never)
        return None

    def _refuse(self, step: Step, refusal: Refusal) -> None:
        if step.undo is not None:
            step.undo()
        if refusal.fatal:
            self.answers.say(wire.error_fields(reply.speak(refusal)))
            self.answers.say_rest()
            self.ended = refusal.reason
            self._skip = True
            return
        if step.want is Want.QUERY:
            if not self.answers.expected and self.answers.status == "I" and not self._unsynced:
                self.answers.say(wire.error_fields(reply.speak(refusal)) + wire.ready("I"))
                self.answers.say_rest()
                return
            self._send(self._connect, POISON_QUERY)
            self.answers.expected.append(Expect(Want.QUERY, refusal=refusal))
            return
        self._send(self._connect, self._poison)
        self._unsynced = True
        self.answers.expected.append(Expect(Want.EXECUTE, refusal=refusal))
        self._skip = True

    def _drop(self, step: Step) -> None:
        """Upstream discards everything up to Sync after an error, and so do we."""
        if step.undo is not None:
            step.undo()
        if step.answer is not None and not isinstance(step.answer, (Held, Refusal)):
            self._port.settle(step.answer, Outcome.SKIPPED, "skipped after an error")

    def _copy(self, step: Step) -> None:
        taking = self.answers.copy_in
        if taking is None or taking.permit is None:
            return  # as upstream does: COPY data after an error is ignored
        self._send(taking.permit, step.message)
        if step.kind != COPY_DATA:
            self.answers.copy_in = None

    def _send(self, permit: Permit, message: bytes) -> None:
        self._up.append(permit.apply(message))

    def _unfence(self) -> None:
        if self.answers.status == "I":
            self._dirty = False
        self._phase = Phase.LEARNING if self.answers.stale and self.answers.status == "I" else Phase.READY

    def _completed(self, asked: Asked, at: int) -> None:
        """A statement of a text ran: what it named exists from now on, what it dropped does not."""
        if at >= len(asked.statements):
            return
        statement, named = asked.statements[at], self._named
        match statement.kind:
            case "prepare" | "declare":
                inner = self._reader.inner(statement, self._meaning, named)
                names, name = (named.statements, statement.prepared) if statement.kind == "prepare" else (named.cursors, statement.cursor)
                if inner is not None and name is not None and len(names) < NAMES_MAX:
                    names[name] = inner
            case "deallocate":
                _forget(named.statements, statement.prepared)
            case "close":
                _forget(named.cursors, statement.cursor)
            case "discard":
                named.statements.clear()
                named.cursors.clear()
            case _:
                pass
        if statement.changes_meaning and statement.kind not in ("set", "reset", "discard"):
            self.answers.stale = True

    @property
    def _meaning(self) -> Meaning:
        return Meaning(self.answers.catalog, self.answers.search_path)


def _rename(names: dict[str, T], name: str, value: T | None, step: Step) -> None:
    """Give a name its new value at once, since later messages of the same pipeline use it; the step can
    take it back, should upstream refuse or skip the message."""
    before = names.get(name)

    def put(what: T | None) -> None:
        if what is None:
            names.pop(name, None)
        else:
            names[name] = what

    if value is not None and before is None and len(names) >= NAMES_MAX:
        step.never = f"a session may hold {NAMES_MAX} names"
    put(value)
    step.undo = lambda: put(before)


def _forget(names: dict[str, Asked], name: str | None) -> None:
    if name is None:
        names.clear()
    else:
        names.pop(name, None)
