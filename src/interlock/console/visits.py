"""Visits: who is at the console, and what they ask of the gate.

A sign-in, or a bearer token that calls the API, becomes one session of protocol `console` on resource
`interlock`. Every action in it is an operation: admitted, journaled, settled. All in memory: after a restart
people sign in again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from interlock.errors import IdentityError, InterlockError
from interlock.evidence import Renderer
from interlock.exchange import Effect, Held, Operation, Outcome, Permit, Principal, Refusal, Session
from interlock.gate import Gate, connect_operation
from interlock.identity import Proof
from interlock.resources import OWN

PROTOCOL: Final = "console"
"""Of the console's own sessions; also the audience that a token must have."""
VISITS_MAX: Final = 1_000
COOKIE_IDLE_S: Final = 3600.0
"""A sign-in ends after so long without a request, in seconds (an open, visible page asks by itself)."""
BEARER_IDLE_S: Final = 300.0
"""Calls of one bearer token share a session until so long after the last one, in seconds."""
VIEWED_MAX: Final = 10_000

_log = structlog.get_logger("interlock.console")

Explainer = Callable[[str, str, str], Mapping[str, object] | Awaitable[Mapping[str, object]]]
"""(principal, resource, text) → what policy would say of a text, as plain JSON values. Raises `InterlockError`."""


@dataclass(frozen=True, slots=True)
class Console:
    """What the console works with. `renderers` turn recordings into lines, by protocol; `public_url` is where
    people reach it (empty: loopback only); `key` (32 bytes) keys form tokens; `explain` reads statements."""

    gate: Gate
    renderers: Mapping[str, Renderer]
    explain: Explainer
    public_url: str
    version: str
    key: bytes = field(repr=False)
    clock: Callable[[], float] = time.time


class Problem(Exception):
    """Why an action did not happen, for whoever asked. `status` is HTTP's (RFC 9110 §15)."""

    def __init__(
        self, status: int, code: str, reason: str, *, rules: tuple[str, ...] = (), ask: str = "", held: Held | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.rules = rules
        self.ask = ask
        self.held = held


@dataclass(slots=True, eq=False)
class Visit:
    """One session at the console. `busy` counts actions that run: an ended session is closed after the last.
    `viewed` are the recordings of which the log already says that this visit saw them."""

    session: Session
    idle_s: float
    csrf: str = ""
    busy: int = 0
    viewed: set[str] = field(default_factory=set)
    timer: asyncio.TimerHandle | None = None

    @property
    def principal(self) -> Principal:
        return self.session.principal


@dataclass(slots=True)
class Act:
    """An action that was permitted. `said` goes to the journal with its outcome: ids and counts, never data."""

    said: str = ""


class Visits:
    """All visits of this process. Use from its event loop only."""

    def __init__(self, context: Console) -> None:
        self.https = context.public_url.startswith("https:")
        self._context = context
        self._gate = context.gate
        self._cookies: OrderedDict[bytes, Visit] = OrderedDict()
        self._bearers: OrderedDict[str, Visit] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- who -------------------------------------------------------------------------------------------

    async def sign_in(self, secret: str, client: str) -> tuple[Visit, str]:
        """A visit for a pasted token, and the value of its cookie. Raises `Problem`."""
        if len(self._cookies) >= VISITS_MAX:
            raise Problem(503, "limit", "too many people are signed in; try again later")
        visit = await self._open(await self._identify(secret), client, COOKIE_IDLE_S)
        cookie = secrets.token_urlsafe(32)
        visit.csrf = form_token(self._context.key, cookie)
        self._cookies[_name(cookie)] = visit
        return visit, cookie

    async def bearer(self, secret: str, client: str) -> Visit:
        """The visit that this token's calls share, identified anew for each call. Raises `Problem`."""
        principal = await self._identify(secret)
        visit = self._bearers.get(principal.proof)
        if visit is None or self.over(visit):
            while len(self._bearers) >= VISITS_MAX:
                self._forget(next(iter(self._bearers.values())), "other callers came")
            visit = await self._open(principal, client, BEARER_IDLE_S)
            self._bearers[principal.proof] = visit
        self._bearers.move_to_end(principal.proof)
        self._touch(visit)
        return visit

    def cookie(self, cookie: str) -> Visit | None:
        """The visit of a cookie, if there is one; it may be `over`."""
        visit = self._cookies.get(_name(cookie))
        if visit is not None and not self.over(visit):
            self._touch(visit)
        return visit

    def over(self, visit: Visit) -> str:
        """Why the visit cannot go on; empty while it can."""
        return visit.session.ended or self._gate.identity.standing(visit.principal, self._context.clock())

    def sign_out(self, visit: Visit) -> None:
        self._forget(visit, "signed out")

    async def _identify(self, secret: str) -> Principal:
        try:
            return await self._gate.identify(Proof.of(secret, PROTOCOL))
        except IdentityError as error:
            raise Problem(401, "identity", f"{error.message}: {error.hint}" if error.hint else error.message) from None

    async def _open(self, principal: Principal, client: str, idle_s: float) -> Visit:
        session = self._gate.open(principal, OWN.name, PROTOCOL, client)
        visit = Visit(session, idle_s)
        try:
            answer = (await self._gate.admit(session, [connect_operation(session.resource, "connect to the console")]))[0]
            _permitted(answer)
        except BaseException as error:
            await self._gate.close(session, f"refused: {error}" if isinstance(error, Problem) else "the console failed")
            raise
        session.on_end = lambda _: self._ended(visit)
        self._touch(visit)
        return visit

    # -- what ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def act(self, visit: Visit, action: str, title: str, content: Mapping[str, object] | None = None) -> AsyncIterator[Act]:
        """Do something under a permit for `action`. `title` (ids only) and `content` (exact, sealed in the
        recording) are what an approval of this action binds to. Raises `Problem` when it is not permitted."""
        data = json.dumps({**(content or {}), "ask": title}, sort_keys=True).encode()
        operation = Operation(PROTOCOL, visit.session.resource, (Effect(action),), {}, data, title, title)
        visit.busy += 1
        try:
            permit = _permitted((await self._gate.admit(visit.session, [operation]))[0])
            act = Act()
            try:
                permit.apply(data)  # raises when the session has ended while the journal was written
                yield act
            except BaseException as error:
                self._gate.settle(permit, Outcome.FAILED, error.message if isinstance(error, InterlockError) else type(error).__name__)
                raise
            self._gate.settle(permit, Outcome.DONE, act.said)
            self._gate.flush()
        finally:
            visit.busy -= 1
            if visit.session.ended:
                self._ended(visit)

    # -- the end ---------------------------------------------------------------------------------------

    def _touch(self, visit: Visit) -> None:
        if visit.timer is not None:
            visit.timer.cancel()
        visit.timer = asyncio.get_running_loop().call_later(visit.idle_s, self._idle, visit)

    def _idle(self, visit: Visit) -> None:
        if visit.busy:
            self._touch(visit)
        else:
            self._forget(visit, "idle")

    def _ended(self, visit: Visit) -> None:
        """Trust is gone. Its cookie is kept until it is idle, so that its holder hears why."""
        if not visit.busy:
            self._close(visit, visit.session.ended)

    def _forget(self, visit: Visit, reason: str) -> None:
        for name in [name for name, each in self._cookies.items() if each is visit]:
            del self._cookies[name]
        if self._bearers.get(visit.principal.proof) is visit:
            del self._bearers[visit.principal.proof]
        if visit.timer is not None:
            visit.timer.cancel()
        self._close(visit, reason)

    def _close(self, visit: Visit, reason: str) -> None:
        visit.session.ended = visit.session.ended or reason
        task = asyncio.ensure_future(self._seal(visit, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _seal(self, visit: Visit, reason: str) -> None:
        try:
            await self._gate.close(visit.session, reason)
        except InterlockError as error:
            _log.error("console session not sealed", session=visit.session.id, reason=error.message)


def form_token(key: bytes, cookie: str) -> str:
    """The token that a form must bring back, bound to a cookie which other sites cannot read."""
    return hashlib.blake2b(cookie.encode("utf-8", "surrogatepass"), key=key, digest_size=20, person=b"ilk-form").hexdigest()


def _permitted(answer: Permit | Held | Refusal) -> Permit:
    if isinstance(answer, Refusal):
        status = {"revoked": 401, "limit": 429, "failed": 503}.get(answer.code, 403)
        raise Problem(status, answer.code, answer.reason, rules=answer.rules, ask=answer.ask)
    if isinstance(answer, Held):
        groups = ", ".join(sorted(answer.groups))
        rules = answer.exchange.decision.rules if answer.exchange.decision else ()
        raise Problem(403, "held", f"this waits for {groups} to approve {answer.id}; then ask again", rules=rules, ask=groups, held=answer)
    return answer


def _name(cookie: str) -> bytes:
    """Cookies are kept as hashes, so that a dump of memory opens no session."""
    return hashlib.blake2b(cookie.encode("utf-8", "surrogatepass"), digest_size=32).digest()
