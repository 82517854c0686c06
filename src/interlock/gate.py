"""The gate: the stations in one visible order; any failure becomes a `Refusal`.

    identify ▶ look up ▶ decide ▶ hold ▶ decide again ▶ reserve ▶ journal ▶ Permit        (up)
    reply ▶ mask (classes → reveal? → lens) ▶ record ▶ Release ▶ settle                   (down)

This module alone makes `Permit`, `Release` and `Cleared` (it claims the mint on import). It is the policy
enforcement point of NIST SP 800-207; stations decide, nothing here parses bytes of a protocol.

The hot path waits once per read batch: for the journal commit in `admit`. Everything else is dictionary
look-ups on state that is pushed (`identity.standing`, the current policy).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

import structlog

from interlock.approval import Answer, Approvals
from interlock.errors import IdentityError, InterlockError, LimitError, ResourceError
from interlock.evidence import Evidence
from interlock.exchange import (
    Cleared,
    Credential,
    Decision,
    Durability,
    Effect,
    Exchange,
    Held,
    Lens,
    Operation,
    Outcome,
    Permit,
    Principal,
    Receipt,
    Refusal,
    Release,
    Resource,
    Session,
    Shape,
    Verdict,
    claim_mint,
)
from interlock.identity import Identity, Proof
from interlock.limits import Limits
from interlock.masking import Derived, Masking
from interlock.policy import PolicyFile
from interlock.resources import Registry

_MINT = claim_mint()
_log = structlog.get_logger("interlock.gate")

Answered = Permit | Held | Refusal
"""What `admit` says of one operation."""


class Gate:
    """One per process. `clock` gives UTC seconds; `digest_key` (32 bytes) keys the operation digests that
    approvals bind to; `contact` is whom a refusal names; `session_max_s` ends any session."""

    def __init__(
        self,
        *,
        identity: Identity,
        registry: Registry,
        policy: PolicyFile,
        approvals: Approvals,
        limits: Limits,
        masking: Masking,
        evidence: Evidence,
        derived: Derived | None = None,
        clock: Callable[[], float],
        digest_key: bytes,
        contact: str,
        session_max_s: float = 12 * 3600,
        console_url: str = "",
    ) -> None:
        self.identity = identity
        self.registry = registry
        self.policy = policy
        self.approvals = approvals
        self.limits = limits
        self.masking = masking
        self.evidence = evidence
        self.derived = derived
        self.sessions: dict[str, Session] = {}
        self._clock = clock
        self._key = digest_key
        self._contact = contact
        self._session_max_s = session_max_s
        self._console_url = console_url
        self._open: dict[str, dict[int, Exchange]] = {}
        self._exchanges = 0

    # -- up ------------------------------------------------------------------------------------------

    async def identify(self, proof: Proof) -> Principal:
        """Who shows this proof. Raises `IdentityError` with one public sentence for every failure."""
        try:
            return await self.identity.verify(proof)
        except IdentityError as error:
            _log.warning("identify", audience=proof.audience, claimed=proof.claimed, reason=getattr(error, "reason", ""))
            raise

    def open(self, principal: Principal, resource_name: str, protocol: str, client: str) -> Session:
        """Begin a session of one principal on one resource; its first operation must be `connect`.

        Raises `ResourceError` (unknown, or not of this protocol), `LimitError` (too many sessions) or
        `EvidenceError`. Nothing is decided yet: connecting is an operation and goes through `admit`.
        """
        resource = self.registry.find(resource_name)
        self.limits.open_session(principal)
        session = Session(secrets.token_hex(8), principal, resource, protocol, client, self._clock())
        try:
            self.evidence.open(session, {"client": client, "policy": self.policy.current.version})
        except BaseException:
            self.limits.close_session(principal)
            raise
        self.sessions[session.id] = session
        self._open[session.id] = {}
        return session

    async def admit(self, session: Session, operations: Sequence[Operation]) -> list[Answered]:
        """Decide a batch: one answer per operation, in order. One journal commit for all of them, before
        any permit is handed out. Never raises for an operation's sake: what fails is refused."""
        answers: list[Answered] = []
        gone: BaseException | None = None
        try:
            await self._admit(session, operations, answers)
            await self._secure(session)
        except Exception as error:
            return self._unrecorded(session, operations, error)
        except BaseException as left:
            gone = left
        if gone is not None:  # whoever asked has gone before the answer: nobody would wait for people
            for held in [answer for answer in answers if isinstance(answer, Held)]:
                await self.withdraw(held)
            raise gone
        return answers

    async def _admit(self, session: Session, operations: Sequence[Operation], answers: list[Answered]) -> None:
        for operation in operations:
            exchange = self._begin(session, operation)
            try:
                answer = self._judge(exchange)
                answers.append(await self._hold(exchange, answer) if isinstance(answer, Decision) else answer)
            except Exception as error:
                answers.append(self._refuse(exchange, _refusal_of(error, self._contact)))

    def admit_at_once(self, session: Session, operations: Sequence[Operation]) -> list[Answered] | None:
        """As `admit`, where there is nothing to wait for: a `write-through` resource, and nothing to hold. None,
        and no effect, everywhere else. Spares the busiest sessions a task per batch."""
        if session.resource.durability is not Durability.WRITE_THROUGH:
            return None
        try:
            decisions = self.foresee(session.principal, operations)
        except Exception:
            return None  # `admit` refuses, and says so
        if any(d.verdict is Verdict.HOLD and not op.rehearsal for d, op in zip(decisions, operations, strict=True)):
            return None
        answers: list[Answered] = []
        for operation, decision in zip(operations, decisions, strict=True):
            exchange = self._begin(session, operation)
            try:
                answer = self._judge(exchange, decision)  # nothing was awaited: the policy is the one that was foreseen
                assert not isinstance(answer, Decision)
                answers.append(answer)
            except Exception as error:
                answers.append(self._refuse(exchange, _refusal_of(error, self._contact)))
        try:
            self.evidence.flush()
        except Exception as error:
            return self._unrecorded(session, operations, error)
        return answers

    async def wait(self, held: Held, *, patience_s: float | None = None) -> Answered:
        """Wait for people. Approved: decide again, as the policy of this moment says. With `patience_s` the
        same `Held` comes back when patience ends (the request stays open); cancelling withdraws it."""
        exchange = held.exchange
        session = exchange.session
        timeout_s = max(0.0, held.expires_at - self._clock())
        patient = patience_s is None or patience_s >= timeout_s
        answer: Answer | None = None
        gone: BaseException | None = None
        try:
            answer = await self.approvals.wait(held.id, timeout_s if patient or patience_s is None else patience_s)
        except BaseException as left:
            gone = left
        if gone is not None:
            await self.withdraw(held)
            raise gone
        try:
            if answer is None:
                self._settle(exchange, Outcome.SUSPENDED, "still waiting for approval; the same operation redeems it")
                return held
            answered = self._judge_again(exchange, held, answer)
            await self._secure(session)
            return answered
        except Exception as error:
            return self._refuse(exchange, _refusal_of(error, self._contact))

    async def withdraw(self, held: Held) -> None:
        """Nobody waits for this answer any more. Does nothing to a request that is over. Shielded: whoever cancels
        twice must not leave a request open."""
        await asyncio.shield(self.approvals.withdraw(held.id, "the client gave up or went away"))
        if held.exchange.session.id in self.sessions:
            self._settle(held.exchange, Outcome.CANCELLED, "withdrawn while held")

    def foresee(self, principal: Principal, operations: Iterable[Operation]) -> list[Decision]:
        """What would be decided, without effects: for listings and explanations."""
        policy, now = self.policy.current, self._clock()
        return [policy.decide(principal, op.resource, op.effects, op.facts, now=now) for op in operations]

    def credential(self, permit: Permit) -> Credential:
        """The resource's credential, for a live `connect` permit only."""
        _connecting(permit, "credentials are").check()
        return self.registry.credential(permit.exchange.operation.resource)

    def login(self, permit: Permit, data: bytes) -> Cleared:
        """Clear the gateway's own login towards upstream under a `connect` permit. It holds credentials: it is
        never recorded."""
        _connecting(permit, "logging in is").check()
        return Cleared(_MINT, data)

    def cancel(self, permit: Permit, data: bytes) -> Cleared:
        """Clear a cancel request towards upstream under a `connect` permit. It holds a key, so it is never recorded;
        it can only stop what runs, so it stays good when trust has ended."""
        _connecting(permit, "cancelling is")
        return Cleared(_MINT, data)

    # -- down ----------------------------------------------------------------------------------------

    def say(self, session: Session | None, data: bytes) -> Cleared:
        """Clear connection-level bytes towards the client: login, refusals, notices, protocol state. They
        carry no value of a resource. Recorded once there is a session."""
        if session is not None and session.id in self.sessions:
            self.evidence.record(session.id, "down", 0, data)
        return Cleared(_MINT, data)

    def release(self, permit: Permit, shape: Shape) -> Release:
        """Leave for a reply of this shape. Raises `MaskingError` or `PolicyError`: then refuse the reply."""
        exchange = permit.exchange
        exchange.shape, exchange.hidden = shape, {}
        return _Release(self, exchange, self._lens(exchange, shape))

    def scrub(self, session: Session, text: str, known: str = "") -> str:
        """Free text from upstream (errors, notices) as this principal may see it. `known` is what the client
        itself said: to quote it tells nothing new."""
        resource = session.resource
        hidden = self.masking.detected(resource).union(resource.classes.values())
        revealed = self._revealed(session.principal, resource, hidden)
        return self.masking.scrub(text, resource, revealed, known)

    def shown(self, viewer: Principal, resource: Resource, text: str) -> str:
        """Recorded text of somebody's session as another person may see it: what detectors find in it is masked,
        unless this viewer may reveal it. The classes of columns were masked, or revealed, when it was recorded."""
        revealed = self._revealed(viewer, resource, self.masking.detected(resource))
        return self.masking.scrub(text, resource, revealed, known=text)

    def settle(self, permit: Permit, outcome: Outcome, detail: str = "") -> Receipt:
        """End an exchange; its permit is spent from here on."""
        exchange = permit.exchange
        self._settle(exchange, outcome, detail)
        return Receipt(exchange.session.id, exchange.id, exchange.outcome or outcome, self.evidence.head(exchange.session.id))

    def flush(self) -> None:
        """Hand what was recorded to the operating system; call before bytes go to a client."""
        self.evidence.flush()

    async def durable(self, session: Session) -> None:
        """For `strict` resources: what was recorded is on disk before a byte goes down."""
        if session.resource.durability is Durability.STRICT:
            await self.evidence.commit()

    # -- the end of sessions ---------------------------------------------------------------------------

    async def close(self, session: Session, reason: str) -> None:
        """The client connection is over: settle what is open, seal the recording."""
        if self.sessions.pop(session.id, None) is None:
            return
        session.ended = session.ended or reason
        for exchange in list(self._open.pop(session.id, {}).values()):
            if exchange.operation.kind == "connect":
                self._settle(exchange, Outcome.DONE, reason)
            else:
                self._settle(exchange, Outcome.UNKNOWN, "the session ended first")
        self.limits.close_session(session.principal)
        await self.evidence.close(session.id, session.ended)

    def end(self, session_id: str, reason: str) -> bool:
        """End one session now, as an operator asks; False when there is no such live session."""
        session = self.sessions.get(session_id)
        if session is None:
            return False
        if not session.ended:
            self._end(session, reason)
        return True

    def sweep(self) -> None:
        """End every session whose trust is gone: revoked, changed, over its maximum. Called on each push
        from the store and at least twice a second; costs a few look-ups per session."""
        now = self._clock()
        for session in list(self.sessions.values()):
            reason = self._trust(session, now)
            if reason and not session.ended:
                self._end(session, reason)

    # -- stations ----------------------------------------------------------------------------------------

    def _begin(self, session: Session, operation: Operation) -> Exchange:
        self._exchanges += 1
        return Exchange(self._exchanges, session, operation, self._clock(), digest=self._digest(operation))

    def _judge(self, exchange: Exchange, foreseen: Decision | None = None) -> Answered | Decision:
        """The answer to one operation, or the decision to hold it. `foreseen`: what policy said of it a moment ago."""
        session, operation = exchange.session, exchange.operation
        now = exchange.asked_at
        if operation.content:
            self.evidence.record(session.id, "up", exchange.id, operation.content)
        reason = session.ended or self._trust(session, now)
        if reason:
            return self._refuse(exchange, Refusal("revoked", reason, ask=self._contact, fatal=True))
        if operation.refuse:
            return self._refuse(exchange, Refusal("denied", operation.refuse, ask=self._contact))
        self.limits.operation(session.principal, now)
        decision = foreseen
        if decision is None:
            policy = self.policy.current
            decision = policy.decide(session.principal, operation.resource, operation.effects, operation.facts, now=now)
        exchange.decision = decision
        match decision.verdict:
            case Verdict.ALLOW:
                return self._permit(exchange)
            case Verdict.HOLD:
                return self._permit(exchange) if operation.rehearsal else decision
            case Verdict.DENY:
                return self._refuse(exchange, self._denied(decision))

    async def _hold(self, exchange: Exchange, decision: Decision) -> Answered:
        session, operation = exchange.session, exchange.operation
        earlier = await self.approvals.redeem(session.principal, operation.resource, exchange.digest, decision.policy)
        if earlier is not None:
            exchange.approved_by, exchange.approval = earlier.approved_by, earlier.id
            return self._decide_approved(exchange, earlier.groups)
        asking = asyncio.ensure_future(
            self.approvals.request(
                principal=session.principal,
                resource=operation.resource,
                groups=decision.groups,
                digest=exchange.digest,
                title=operation.title,
                text=operation.text or operation.title,
                facts={**operation.facts, "effects": frozenset(_words(operation.effects))},  # people read effects first
                rules=decision.rules,
                reasons=decision.reasons,
                session_id=session.id,
                policy=decision.policy,
            )
        )
        gone: BaseException | None = None
        try:
            await asyncio.shield(asking)
        except asyncio.CancelledError as left:
            gone = left
        request = await asking
        if gone is not None:  # the request may be there already, and nobody would know its id
            await asyncio.shield(self.approvals.withdraw(request.id, "the client gave up or went away"))
            raise gone
        exchange.approval = request.id
        self._note(exchange, "held", groups=sorted(decision.groups), rules=list(decision.rules), approval=request.id)
        link = f"{self._console_url}/approvals/{request.id}" if self._console_url else ""
        return Held(request.id, exchange, decision.groups, request.expires_at, link)

    def _judge_again(self, exchange: Exchange, held: Held, answer: Answer) -> Answered:
        exchange.approved_by = answer.approved_by
        self.evidence.note(
            exchange.session.id,
            "approval",
            {"exchange": exchange.id, "approval": held.id, "state": answer.state, "by": list(answer.approved_by)},
        )
        if answer.state != "approved":
            return self._refuse(exchange, _unapproved(exchange, held, answer, self._contact))
        reason = exchange.session.ended or self._trust(exchange.session, self._clock())
        if reason:
            return self._refuse(exchange, Refusal("revoked", reason, ask=self._contact, fatal=True))
        return self._decide_approved(exchange, answer.groups)

    def _decide_approved(self, exchange: Exchange, groups: frozenset[str]) -> Answered:
        """What runs is what the policy of this moment allows, with these groups' approval."""
        operation = exchange.operation
        decision = self.policy.current.decide(
            exchange.session.principal, operation.resource, operation.effects, operation.facts, approved=groups, now=self._clock()
        )
        exchange.decision = decision
        if decision.verdict is Verdict.ALLOW:
            return self._permit(exchange)
        return self._refuse(exchange, self._denied(decision))

    def _permit(self, exchange: Exchange) -> Permit:
        decision = exchange.decision
        self._note(exchange, "intent", verdict="allow", rules=list(decision.rules) if decision else [])
        self._open[exchange.session.id][exchange.id] = exchange
        return _Permit(self, exchange)

    def _refuse(self, exchange: Exchange, refusal: Refusal) -> Refusal:
        exchange.outcome, exchange.detail = Outcome.REFUSED, refusal.reason
        try:
            self._note(exchange, "intent", verdict="deny", rules=list(refusal.rules), code=refusal.code, reason=refusal.reason)
        except InterlockError as error:
            _log.error("refusal not journaled", session=exchange.session.id, reason=error.message)
        return refusal

    def _unrecorded(self, session: Session, operations: Sequence[Operation], error: Exception) -> list[Answered]:
        """Nothing is permitted that is not recorded, and the session is over."""
        self._end(session, "evidence cannot be written")
        return [_refusal_of(error, self._contact, fatal=True) for _ in operations]

    def _denied(self, decision: Decision) -> Refusal:
        return Refusal("denied", "; ".join(decision.reasons) or "no rule permits it", decision.rules, ask=self._contact)

    def _lens(self, exchange: Exchange, shape: Shape) -> Lens | None:
        resource = exchange.operation.resource
        classes = frozenset().union(*self.masking.classes(shape, resource), self.masking.detected(resource))
        revealed = self._revealed(exchange.session.principal, resource, classes)
        return self.masking.lens(shape, resource, revealed)

    def _revealed(self, principal: Principal, resource: Resource, classes: frozenset[str]) -> frozenset[str]:
        return self.policy.current.reveal(principal, resource, classes, now=self._clock())

    def _settle(self, exchange: Exchange, outcome: Outcome, detail: str) -> None:
        if exchange.outcome is not None:
            return
        exchange.outcome, exchange.detail = outcome, detail
        self._open.get(exchange.session.id, {}).pop(exchange.id, None)
        self.evidence.note(
            exchange.session.id,
            "outcome",
            {
                "exchange": exchange.id,
                "outcome": outcome.value,
                "detail": detail,
                "rows": exchange.rows,
                "bytes": exchange.bytes_down,
                "masked": exchange.masked,
            },
        )

    def _note(self, exchange: Exchange, kind: str, **facts: object) -> None:
        operation, decision = exchange.operation, exchange.decision
        entry: dict[str, object] = {
            "exchange": exchange.id,
            "operation": operation.kind,
            "title": operation.title,
            "digest": exchange.digest,
            "effects": _words(operation.effects),
            "asker": operation.asker.value,
            "policy": decision.policy if decision else "",
            "reasons": list(decision.reasons) if decision else [],
        }
        if exchange.approval:
            entry |= {"approval": exchange.approval, "approved_by": list(exchange.approved_by)}
        self.evidence.note(exchange.session.id, kind, entry | facts)

    def _digest(self, operation: Operation) -> str:
        """What an approval binds to: resource, kind and exact content, keyed so that it tells nothing."""
        mac = blake2b(key=self._key, digest_size=16)
        for part in (operation.resource.name.encode(), operation.kind.encode(), operation.identity or operation.content):
            mac.update(len(part).to_bytes(8, "big"))
            mac.update(part)
        return mac.hexdigest()

    def _trust(self, session: Session, now: float) -> str:
        """Why this session may no longer go on; empty while it may."""
        if now - session.opened_at > self._session_max_s:
            return "the session reached its maximum length; connect again"
        return self.identity.standing(session.principal, now)

    def _end(self, session: Session, reason: str) -> None:
        session.ended = reason
        _log.info("session ended", session=session.id, principal=session.principal.id, reason=reason)
        if session.on_end is not None:
            session.on_end(reason)

    async def _secure(self, session: Session) -> None:
        if session.resource.durability is Durability.WRITE_THROUGH:
            self.evidence.flush()
        else:
            await self.evidence.commit()


class _Permit:
    """See `exchange.Permit`. Sent once; then only data that flows under the operation."""

    __slots__ = ("_gate", "_sent", "exchange")

    def __init__(self, gate: Gate, exchange: Exchange) -> None:
        self.exchange = exchange
        self._gate = gate
        self._sent = not exchange.operation.content

    def check(self) -> None:
        exchange = self.exchange
        if exchange.outcome is not None:
            raise InterlockError("this permit is spent: its exchange has ended")
        if exchange.session.ended:
            raise InterlockError(f"the session has ended: {exchange.session.ended}")

    def apply(self, piece: bytes) -> Cleared:
        self.check()
        operation = self.exchange.operation
        if not self._sent:
            if piece is not operation.content and piece != operation.content:
                raise InterlockError("these bytes are not what was permitted")
            self._sent = True
        elif operation.flows:
            self._gate.evidence.record(self.exchange.session.id, "up", self.exchange.id, piece)
        else:
            raise InterlockError("this permit was sent already")
        return Cleared(_MINT, piece)


class _Release:
    """See `exchange.Release`. Checks trust, masks, records and counts, piece by piece."""

    __slots__ = ("_exchange", "_gate", "_lens")

    def __init__(self, gate: Gate, exchange: Exchange, lens: Lens | None) -> None:
        self._gate = gate
        self._exchange = exchange
        self._lens = lens

    def apply(self, piece: bytes) -> Cleared:
        exchange, gate = self._exchange, self._gate
        session = exchange.session
        if session.ended:
            raise InterlockError(f"the session has ended: {session.ended}")
        seen = piece if self._lens is None else self._lens.apply(piece)
        exchange.bytes_down += len(seen)
        if self._lens is not None:
            exchange.masked, exchange.hidden = dict(self._lens.masked), self._lens.hidden
        gate.evidence.record(session.id, "down", exchange.id, seen)
        return Cleared(_MINT, seen)


def _connecting(permit: Permit, what: str) -> _Permit:
    """The permit, if it is one of ours for a connect. Raises `ResourceError` otherwise."""
    if permit.exchange.operation.kind != "connect" or not isinstance(permit, _Permit):
        raise ResourceError(f"{what} only for a permitted connect")
    return permit


def connect_operation(resource: Resource, title: str = "connect") -> Operation:
    """The operation every session begins with. It stays open for the whole session: connection-level
    messages (Sync, Flush, Terminate, a poison message) flow under its permit."""
    return Operation("connect", resource, (Effect("connect"),), {}, b"", title, flows=True)


def _refusal_of(error: BaseException, contact: str, *, fatal: bool = False) -> Refusal:
    """Any failure of a station, as a refusal. Unexpected ones say nothing of their inside."""
    match error:
        case LimitError():
            return Refusal("limit", error.message, ask=contact, fatal=fatal)
        case InterlockError():
            return Refusal("failed", error.message, ask=contact, fatal=fatal)
        case _:
            _log.error("station failed", error=type(error).__name__, exc_info=error)
            return Refusal("failed", "the gateway could not decide this; nothing was sent upstream", ask=contact, fatal=fatal)


@lru_cache(maxsize=4096)
def _words(effects: tuple[Effect, ...]) -> list[str]:
    return [f"{effect.action} {effect.object}".rstrip() for effect in effects]


def _unapproved(exchange: Exchange, held: Held, answer: Answer, contact: str) -> Refusal:
    rules = exchange.decision.rules if exchange.decision else ()
    groups = ", ".join(sorted(held.groups))
    match answer.state:
        case "refused":
            said = f": {answer.note}" if answer.note else ""
            return Refusal("approval-refused", f"request {held.id} was refused by {', '.join(answer.refused_by)}{said}", rules, contact)
        case "expired":
            return Refusal("approval-expired", f"nobody of {groups} answered request {held.id} in time", rules, contact)
        case "used":
            reason = f"request {held.id} was approved once and has been used by an equal operation; ask again"
            return Refusal("approval-refused", reason, rules, contact)
        case _:
            return Refusal("approval-refused", f"request {held.id} was withdrawn", rules, contact)
