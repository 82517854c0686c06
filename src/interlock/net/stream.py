"""One conversation: a client end, an upstream link, and the relay between them.

The relay decides nothing and waits for nothing; this driver carries its bytes, asks the gate its questions,
waits for approvals and catalogs, applies back-pressure, and ends both sides when either ends. Any failure
ends the session: the client is told in its own protocol, nothing half-done is forwarded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from interlock.errors import InterlockError
from interlock.exchange import (
    Cleared,
    Durability,
    Held,
    Outcome,
    Permit,
    Receipt,
    Refusal,
    Release,
    Session,
    Shape,
)
from interlock.facts.sql.catalog import Catalog
from interlock.gate import Gate
from interlock.net.link import Link
from interlock.protocols.stream import StreamProtocol, StreamRelay

BACKLOG_BYTES_MAX = 1024 * 1024
"""Client bytes that may wait inside the relay before the gateway stops reading."""
LATE_BYTES_MAX = 1024 * 1024
"""Bytes that may wait for the disk (`strict`) before the gateway stops reading from both sides."""
NOTICE_EVERY_S = 15.0
"""How often a client that waits for an approval is told so."""
HANG_UP_S = 5.0
"""How long a conversation that is over may take to cancel what runs upstream, and to write what is left, in seconds each."""

_log = structlog.get_logger("interlock.stream")


class End(Protocol):
    """The client's end: a `Link`, or memory for questions of our own."""

    on_blocked: Callable[[bool], None] | None
    on_closed: Callable[[], None] | None
    closed: bool

    def start(self, receiver: Callable[[bytes], None]) -> None: ...
    def send(self, cleared: Sequence[Cleared]) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


class SessionPort:
    """The gate, as one session's relay may use it."""

    def __init__(self, gate: Gate, session: Session) -> None:
        self._gate = gate
        self._session = session

    def say(self, data: bytes) -> Cleared:
        return self._gate.say(self._session, data)

    def release(self, permit: Permit, shape: Shape) -> Release:
        return self._gate.release(permit, shape)

    def settle(self, permit: Permit, outcome: Outcome, detail: str = "") -> Receipt:
        return self._gate.settle(permit, outcome, detail)

    def scrub(self, text: str, known: str = "") -> str:
        return self._gate.scrub(self._session, text, known)


class Conversation:
    """A session after its login. `hang_up` cancels what runs upstream; `relearn` reads the catalog anew."""

    def __init__(
        self,
        gate: Gate,
        protocol: StreamProtocol,
        session: Session,
        connect: Permit,
        relay: StreamRelay,
        client: End,
        upstream: Link,
        *,
        cancel: Callable[[], Awaitable[None]],
        relearn: Callable[[], Awaitable[Catalog]],
        on_over: Callable[[Conversation], None],
        patience_s: float | None = None,
    ) -> None:
        self.session = session
        self.parked: Held | None = None
        """The held operation that outlasted `patience_s`: its request stays open, the same question redeems it."""
        self._patience_s = patience_s
        self.relay = relay
        self.over = asyncio.Event()
        self.cancel_key = (0, b"")
        self.relearn = relearn
        """A catalog that is younger than the call."""
        self.foretell: Callable[[], None] = lambda: None
        """Others must know what this session puts into columns, before it can."""
        self._deriving = relay.deriving
        self._gate = gate
        self._protocol = protocol
        self._connect = connect
        self._client = client
        self._upstream = upstream
        self._cancel = cancel
        self._on_over = on_over
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._strict = session.resource.durability is Durability.STRICT
        self._client_full = False
        self._upstream_full = False
        self._late: list[Cleared] = []
        self._late_up: list[Cleared] = []
        self._late_bytes = 0
        self._late_task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Let bytes flow. The welcome must have been said."""
        self.session.on_end = lambda reason: self.end(Refusal("revoked", reason, fatal=True))
        self._client.on_blocked = self._client_blocked
        self._upstream.on_blocked = self._upstream_blocked
        self._client.on_closed = lambda: self.close("the client disconnected")
        self._upstream.on_closed = lambda: self.close("upstream disconnected")
        if self.session.ended:
            self.end(Refusal("revoked", self.session.ended, fatal=True))
            return
        if self._upstream.closed or self._client.closed:
            self.close("the connection was lost")
            return
        self._upstream.start(self._from_upstream)
        self._client.start(self._from_client)

    async def cancel(self) -> None:
        """The client's cancel request: withdraw what is held, or cancel what runs upstream. Returns once upstream has
        taken it: a client that waits for the end of its request must not find its *next* statement cancelled."""
        if self._task is not None and self.relay.held is not None:
            self._task.cancel()
        else:
            await self._cancel_upstream()

    # -- bytes ---------------------------------------------------------------------------------------------

    def _from_client(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self.relay.receive_client(data)
            self._drive()
        except Exception as error:
            self._fail(error)

    def _from_upstream(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self.relay.receive_upstream(data)
            self._drive()
        except Exception as error:
            self._fail(error)

    def _drive(self) -> None:
        """Carry what the relay has made ready, and begin what it waits for."""
        relay = self.relay
        while self._task is None and (questions := relay.questions):
            answers = self._gate.admit_at_once(self.session, questions)
            if answers is None:
                break
            relay.answer(answers)
        if relay.deriving is not self._deriving:
            self._deriving = relay.deriving
            self.foretell()
        up = relay.to_upstream()
        if up:
            self._send_up(up)
        down = relay.to_client()
        if down:
            self._send_down(down)
        if relay.ended:
            self.close(relay.ended)
            return
        if relay.terminated:
            self.close("the client said goodbye")
            return
        if self._task is None and (relay.questions or relay.held is not None or relay.wants_catalog):
            self._task = asyncio.get_running_loop().create_task(self._attend())
        self._throttle()

    def _send_up(self, cleared: list[Cleared]) -> None:
        if not self._strict:
            self._gate.flush()  # intents are on disk since they were permitted; this is data that flows under them
            self._upstream.send(cleared)
            return
        self._late_up += cleared
        self._send_late(cleared)

    def _send_down(self, cleared: list[Cleared]) -> None:
        if not self._strict:
            self._gate.flush()
            self._client.send(cleared)
            return
        self._late += cleared
        self._send_late(cleared)

    def _send_late(self, cleared: list[Cleared]) -> None:
        self._late_bytes += sum(len(piece.data) for piece in cleared)
        if self._late_task is None:
            self._late_task = asyncio.get_running_loop().create_task(self._send_durably())

    async def _send_durably(self) -> None:
        """`strict`: whatever goes up or down is on disk first."""
        try:
            while self._late or self._late_up:
                down, up = self._late, self._late_up
                self._late, self._late_up, self._late_bytes = [], [], 0
                await self._gate.durable(self.session)
                self._upstream.send(up)
                self._client.send(down)
                self._throttle()
        except Exception as error:
            self._fail(error)
        finally:
            self._late_task = None

    # -- what is waited for ----------------------------------------------------------------------------------

    async def _attend(self) -> None:
        """Ask the gate, wait for people, learn a catalog: until the relay needs nothing more."""
        relay = self.relay
        try:
            while not self._closing:
                if questions := relay.questions:
                    relay.answer(await self._gate.admit(self.session, questions))
                elif (held := relay.held) is not None:
                    relay.resolve(await self._hold(held))
                elif relay.wants_catalog:
                    relay.learn(await self.relearn())
                else:
                    break
                self._drive()
        except Exception as error:
            self._fail(error)
        finally:
            self._task = None
        if not self._closing and (relay.questions or relay.held is not None or relay.wants_catalog):
            self._drive()

    async def _hold(self, held: Held) -> Permit | Refusal:
        """Wait for the approval, telling the client now and then. Cancelled by the client: withdrawn."""
        groups = ", ".join(sorted(held.groups))
        hint = f"Approve with: interlock approve {held.id}" + (f"  or at {held.link}" if held.link else "")
        self.relay.notice(f"held: waiting for approval {held.id} by {groups}", hint)
        self._drive_down()
        waiting = asyncio.ensure_future(self._gate.wait(held, patience_s=self._patience_s))
        try:
            while True:
                done, _ = await asyncio.wait({waiting}, timeout=NOTICE_EVERY_S)
                if done:
                    answer = waiting.result()
                    if isinstance(answer, Held):
                        self.parked = answer
                        return Refusal("approval-pending", f"request {held.id} waits for {groups}; ask the same again once it is approved")
                    return answer
                self.relay.notice(f"still waiting for approval {held.id} by {groups}")
                self._drive_down()
        except asyncio.CancelledError as error:
            cancelled = error
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await self._gate.withdraw(held)  # `wait` may not even have begun
        if self._closing:
            raise cancelled
        return Refusal("approval-expired", f"the wait for approval {held.id} was cancelled; the request is withdrawn")

    def _drive_down(self) -> None:
        down = self.relay.to_client()
        if down:
            self._send_down(down)

    async def _cancel_upstream(self) -> None:
        try:
            await self._cancel()
        except (OSError, TimeoutError, InterlockError) as error:
            _log.warning("cancel failed", session=self.session.id, error=type(error).__name__)

    # -- back-pressure -----------------------------------------------------------------------------------------

    def _client_blocked(self, blocked: bool) -> None:
        self._client_full = blocked
        self._throttle()

    def _upstream_blocked(self, blocked: bool) -> None:
        self._upstream_full = blocked
        self._throttle()

    def _throttle(self) -> None:
        """Each side is read only while what it says can go on."""
        late = self._late_bytes > LATE_BYTES_MAX
        if self._upstream_full or late or self.relay.backlog_bytes > BACKLOG_BYTES_MAX:
            self._client.pause()
        else:
            self._client.resume()
        if self._client_full or late:
            self._upstream.pause()
        else:
            self._upstream.resume()

    # -- ends ----------------------------------------------------------------------------------------------------

    def end(self, refusal: Refusal) -> None:
        """End now: tell the client why, in its protocol; cancel what runs upstream. Never raises: whoever ends
        sessions must be able to end the next one, too."""
        if self._closing:
            return
        words = self._protocol.refuse(refusal)
        try:
            said = self._gate.say(self.session, words)
        except InterlockError:  # evidence has failed: the session ends for just that, and its client may know
            said = self._gate.say(None, words)
        self._client.send([said])
        self.close(refusal.reason)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, InterlockError):
            reason = error.message
            _log.warning("session failed", session=self.session.id, error=type(error).__name__, reason=reason)
        else:
            reason = "the gateway failed; nothing more is forwarded"
            _log.error("session failed", session=self.session.id, exc_info=error)
        self.end(Refusal("failed", reason, fatal=True))

    def close(self, reason: str) -> None:
        """Both sides are over. What is held is withdrawn, what runs upstream is cancelled, evidence is sealed."""
        if self._closing:
            return
        self._closing = True
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._spawn(self._finish(reason))

    async def _finish(self, reason: str) -> None:
        failed: BaseException | None = None
        try:
            if self.relay.busy and not self._upstream.closed:
                await asyncio.wait_for(self._cancel_upstream(), HANG_UP_S)
            if self._late_task is not None:
                await asyncio.wait({self._late_task}, timeout=HANG_UP_S)
        except TimeoutError:
            _log.warning("cancel timed out", session=self.session.id)
        except BaseException as unknown:
            failed = unknown
        self._client.close()
        self._upstream.close()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._gate.close(self.session, reason)
        except InterlockError as error:
            _log.error("session not sealed", session=self.session.id, reason=error.message)
        self.over.set()
        self._on_over(self)
        if failed is not None:
            raise failed

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
