"""Bearers' sessions on upstream MCP servers: MCP over HTTP has no connection, so a session is one bearer (principal and
token) on one server, from its first call until it is idle. When its trust ends, so does everything it is doing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from interlock.errors import InterlockError, LimitError
from interlock.exchange import Held, Principal, Refusal, Resource, Session
from interlock.gate import Gate, connect_operation
from interlock.net.sessions import Parked, Refused

IDLE_S = 600.0
"""A bearer's session on a resource is sealed after so long without a call."""
SESSIONS_MAX = 1_000
SWEEP_S = 0.25
"""How often ended and idle sessions are looked for, in seconds."""

_log = structlog.get_logger("interlock.mcp")
_Key = tuple[str, str, str]
T = TypeVar("T")


class Bearer:
    """One bearer's session on one upstream server. `run` does its work, and stops it when trust ends."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.used_at = time.monotonic()
        self._work: set[asyncio.Task[Any]] = set()
        session.on_end = lambda _: self.stop()

    @property
    def busy(self) -> bool:
        return bool(self._work)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result. Raises `Refused` when the session ends first."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if self.session.ended and task.cancelled():
                raise Refused(Refusal("revoked", self.session.ended, fatal=True)) from None
            raise
        finally:
            self._work.discard(task)
            self.used_at = time.monotonic()

    def stop(self) -> None:
        for task in self._work:
            task.cancel()


class Bearers:
    """All bearers' sessions of this process. `patience_s`: how long a held connect keeps its client waiting."""

    def __init__(self, gate: Gate, patience_s: float, *, idle_s: float = IDLE_S) -> None:
        self._gate = gate
        self._patience_s = patience_s
        self._idle_s = idle_s
        self._bearers: dict[_Key, Bearer] = {}
        self._opening: dict[_Key, asyncio.Lock] = {}

    async def of(self, principal: Principal, resource: Resource, client: str) -> Bearer:
        """The bearer's session on the resource; the first use connects, which policy decides. Raises `Refused`,
        `Parked` or `InterlockError`."""
        key = (principal.id, principal.proof, resource.name)
        if (bearer := self._bearers.get(key)) is not None and not bearer.session.ended:
            bearer.used_at = time.monotonic()
            return bearer
        lock = self._opening.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if (bearer := self._bearers.get(key)) is not None and not bearer.session.ended:
                    return bearer
                await self._close(key, "ended")
                return await self._open(key, principal, resource, client)
        finally:
            if not lock.locked():
                self._opening.pop(key, None)

    async def _open(self, key: _Key, principal: Principal, resource: Resource, client: str) -> Bearer:
        if len(self._bearers) >= SESSIONS_MAX:
            raise LimitError("too many MCP sessions are open", hint="try again later")
        session = self._gate.open(principal, resource.name, "mcp", client)
        try:
            answer = (await self._gate.admit(session, [connect_operation(resource)]))[0]
            if isinstance(answer, Held):
                answer = await self._gate.wait(answer, patience_s=self._patience_s)
            if isinstance(answer, Held):
                raise Parked(answer)
            if isinstance(answer, Refusal):
                raise Refused(answer)
        except BaseException as error:
            await self._gate.close(session, str(error) or "the client went away before the session began")
            raise
        self._bearers[key] = bearer = Bearer(session)
        return bearer

    async def watch(self) -> None:
        """Close what has ended or is idle; runs until it is cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for key, bearer in list(self._bearers.items()):
                if bearer.session.ended or (not bearer.busy and now - bearer.used_at > self._idle_s):
                    await self._close(key, "idle")

    async def close_all(self, reason: str) -> None:
        for key in list(self._bearers):
            await self._close(key, reason)

    async def _close(self, key: _Key, reason: str) -> None:
        bearer = self._bearers.pop(key, None)
        if bearer is None:
            return
        bearer.stop()
        try:
            await self._gate.close(bearer.session, reason)
        except InterlockError as error:
            _log.error("session not sealed", session=bearer.session.id, reason=error.message)
