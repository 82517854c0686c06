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
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import Enum

from interlock.exchange import Cleared, Held, Operation, Outcome, Permit, Port, Refusal, Resource
from interlock.facts.sql.catalog import Catalog
from interlock.facts.sql.transfers import Transfer
from interlock.protocols.postgres import reply, wire
from interlock.protocols.postgres.answers import Answers
from interlock.protocols.postgres.expect import Expect, Want
from interlock.protocols.postgres.operation import Asked, Meaning
from interlock.protocols.postgres.puts import Puts
from interlock.protocols.postgres.translate import COPY, COPY_DATA, EXECUTE, FLUSH, SYNC, TERMINATE, Step, Translator

EXPECTED_MAX = 10_000
"""How many answers upstream may owe before the client has to wait."""
BATCH_MAX = 1_000
"""How many client messages are asked of the gate at once."""
POISON_QUERY = wire.query("interlock refused this statement")
"""Not SQL: upstream fails the transaction over it, as over any other error, and runs nothing."""
WHILE_COPYING = COPY | {SYNC, FLUSH, TERMINATE}
"""What a client sends while upstream takes COPY data (libpq sends Sync early)."""


class Phase(Enum):
    READY = "ready"
    ASKING = "asking"
    HELD = "held"
    FENCED = "fenced"
    LEARNING = "learning"


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
        self.answers = Answers(port, catalog, parameters, user, message_bytes_max, self._completed, self._idle)
        self._port = port
        self._connect = connect
        self._poison = wire.execute(poison)
        self._translator = Translator(self.resource, statement_bytes_max)
        self._client = wire.Framer("client", message_bytes_max)
        self._upstream = wire.Framer("upstream", message_bytes_max)
        self._inbox: deque[tuple[int, bytes]] = deque()
        self._inbox_bytes = 0
        self._steps: list[Step] = []
        self._up: list[Cleared] = []
        self._phase = Phase.READY
        self._skip = False
        self._unsynced = False
        self._puts = Puts()
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
        return next(answer for _, answer in self._live_holds())

    def resolve(self, answer: Permit | Refusal) -> None:
        """What became of `held`."""
        next(step for step, _ in self._live_holds()).answer = answer
        self._settle_held()

    @property
    def wants_catalog(self) -> bool:
        """Definitions changed: the driver must hand in a new catalog by `learn` before anything goes on."""
        return self._phase is Phase.LEARNING

    def learn(self, catalog: Catalog) -> None:
        self.answers.catalog = catalog
        self.answers.stale = False
        self._puts.learned()
        self._phase = Phase.READY
        self._pump()

    def refresh(self, catalog: Catalog) -> None:
        """Somebody else learned a newer catalog."""
        known = self.answers.catalog
        if catalog.version > known.version:  # our own changes are not in theirs before we commit
            self.answers.catalog = known.derive(catalog.marks, catalog.version) if known.hidden else catalog

    @property
    def deriving(self) -> tuple[Transfer, ...]:
        """What was put into columns by statements that went up, until a catalog was learned behind their commit. Another
        tuple whenever it changes."""
        return self._puts.all

    @property
    def derived(self) -> tuple[Transfer, ...]:
        """Those of them that are committed, while a catalog is wanted."""
        return self._puts.committed

    @property
    def changed(self) -> frozenset[str]:
        """The names whose meaning this session has changed and not learned yet."""
        return self.answers.catalog.hidden

    @property
    def busy(self) -> bool:
        """Whether upstream owes answers, or the gate or people are being asked."""
        return bool(self.answers.expected) or self._phase is not Phase.READY

    @property
    def backlog_bytes(self) -> int:
        """Client bytes in whole messages that wait; the driver stops reading above its bound. A message that is
        not whole yet must not count: it becomes whole by reading on, and is bounded by itself."""
        return self._inbox_bytes

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
        while self._inbox and len(self.answers.expected) < EXPECTED_MAX and self._phase in (Phase.READY, Phase.FENCED):
            if self._phase is Phase.FENCED and not (self.answers.copy_in is not None and self._inbox[0][0] in WHILE_COPYING):
                return
            steps = self._translate_batch()
            if not steps:
                return
            self._steps = steps
            if any(step.operation is not None for step in steps):
                self._phase = Phase.ASKING
                return
            self._run()

    def _translate_batch(self) -> list[Step]:
        """The next messages that can be judged now; none where the first must wait for upstream."""
        steps: list[Step] = []
        while self._inbox and len(steps) < BATCH_MAX:
            kind, message = self._inbox[0]
            if self._skip and kind not in (SYNC, TERMINATE):
                self._take()
                continue
            if self._phase is Phase.FENCED and kind not in WHILE_COPYING:
                break
            if kind in COPY and self._copy_undecided(steps):
                break
            if self._translator.must_wait(kind, message):
                if not steps and self.answers.expected:
                    self._fence()
                break
            step = self._step()
            steps.append(step)
            if kind == SYNC and self._skip:
                break
            if step.fence:
                # Upstream keeps its answers until Sync or Flush; take the Sync along if it is there.
                if kind == EXECUTE and self._inbox and self._inbox[0][0] == SYNC:
                    steps.append(self._step())
                break
        return steps

    def _step(self) -> Step:
        step = self._translator.translate(*self._take(), self._meaning)
        if step.kind == SYNC and (self.answers.stale or self._puts.open):
            step.fence = True  # it commits what ran before it
        if step.operation is None and step.kind not in COPY:
            step.cleared = self._connect.apply(step.message)
        return step

    def _take(self) -> tuple[int, bytes]:
        kind, message = self._inbox.popleft()
        self._inbox_bytes -= len(message)
        return kind, message

    def _copy_undecided(self, steps: list[Step]) -> bool:
        """Whether COPY data came before it is known if upstream takes it."""
        return any(s.operation is not None and s.operation.flows for s in steps) or (
            self.answers.copy_in is None and any(e.permit is not None and e.permit.exchange.operation.flows for e in self.answers.expected)
        )

    def _settle_held(self) -> None:
        if any(True for _ in self._live_holds()):
            self._phase = Phase.HELD
            return
        self._phase = Phase.READY
        self._run()
        self._pump()

    def _live_holds(self) -> Iterator[tuple[Step, Held]]:
        """The held steps that would run: none behind a refusal in the same pipeline, for that is skipped."""
        skip = self._skip
        for step in self._steps:
            if step.kind == SYNC:
                skip = False
            elif isinstance(step.answer, Refusal) and step.want is not Want.QUERY:
                skip = True
            elif isinstance(step.answer, Held) and not skip:
                yield step, step.answer

    # -- running the steps ---------------------------------------------------------------------------------

    def _run(self) -> None:
        steps, self._steps = self._steps, []
        fenced = self._phase is Phase.FENCED
        for step in steps:
            fenced |= self._run_step(step) and step.fence
        if fenced:
            self._fence()

    def _fence(self) -> None:
        """Wait until upstream has answered everything."""
        if self._unsynced and self.answers.copy_in is None:
            self._send(self._connect, wire.flush())
        self._phase = Phase.FENCED
        if not self.answers.expected:
            self._unfence()

    def _unfence(self) -> None:
        idle = self.answers.status == "I" and not self._unsynced
        self.answers.stale |= self._puts.answered(idle)
        if idle:
            self._translator.dirty = self._translator.moved = False
        self._phase = Phase.LEARNING if self.answers.stale and idle else Phase.READY

    def _run_step(self, step: Step) -> bool:
        """Send one message up, or what stands for it. False if it was skipped or refused."""
        if self._skip and step.kind != TERMINATE:
            if step.kind != SYNC:
                self._drop(step)
                return False
            self._skip = False
        if isinstance(step.answer, Refusal):
            self._refuse(step, _worded(step, step.answer))
            return False
        if step.kind in COPY:
            self._copy(step)
            return True
        own = step.answer
        assert not isinstance(own, Held)
        if step.describe is not None:
            self._send(self._connect, wire.describe("P", step.describe))
            self.answers.expected.append(Expect(Want.DESCRIBE, portal=step.portal, quiet=True))
        if step.cleared is not None:
            self._up.append(step.cleared)
        else:
            assert own is not None
            self._send(own, step.message)
        self.terminated |= step.kind == TERMINATE
        if step.kind == SYNC:
            self._translator.unreported = False
        if step.want is None or (step.kind == SYNC and self.answers.copy_in is not None):
            return True  # upstream ignores Sync while it takes COPY data
        self._unsynced = step.want not in (Want.QUERY, Want.SYNC)
        expect = Expect(step.want, own, asked=step.asked, portal=step.portal, rename=step.rename, said=step.said)
        self.answers.expected.append(expect)
        if step.asked is not None and step.fence:
            self._moved(step.asked, step.want)
            self._puts.sent(expect)
        return True

    def _moved(self, asked: Asked, want: Want) -> None:
        translator = self._translator
        if translator.moves(asked):
            translator.moved = True
            translator.unreported = want is Want.EXECUTE
        translator.dirty |= asked.changes

    def _refuse(self, step: Step, refusal: Refusal) -> None:
        if step.rename is not None:
            step.rename.drop()
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
        if step.rename is not None:
            step.rename.drop()
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

    # -- what upstream's answers tell ------------------------------------------------------------------------

    def _completed(self, asked: Asked, at: int) -> None:
        """The statement at this place of a text ran."""
        if at < len(asked.statements):
            statement = asked.statements[at]
            self._translator.ran(statement, self._meaning)
            if statement.changes_meaning and statement.kind not in ("set", "reset", "discard"):
                self.answers.stale = True
                self.answers.catalog = self._meaning.after(statement).catalog

    def _idle(self) -> None:
        """No transaction: its portals are gone, but for cursors WITH HOLD."""
        self._translator.named.portals.retain(lambda portal: portal.outlives)

    @property
    def _meaning(self) -> Meaning:
        return Meaning(self.answers.catalog, self.answers.search_path)


def _worded(step: Step, refusal: Refusal) -> Refusal:
    """A text that could not be parsed, and that no policy allows, is a syntax error to its author."""
    asked = step.asked
    if asked is not None and asked.error and refusal.code == "denied":
        return replace(refusal, code="unparsable", reason=asked.error, position=asked.position)
    return refusal
