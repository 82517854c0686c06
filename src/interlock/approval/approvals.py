"""The approval station: requests wait in the store until people answer, time ends, or the asker goes away.

Every step is one transaction that holds the store's write lock, so that two answers, an answer and the
time-out, or two uses of one approval cannot both win. Silence never approves. History is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import true
from sqlalchemy.ext.asyncio import AsyncConnection

from interlock.approval.quorum import check_vote, may_speak_for, missing
from interlock.approval.records import MAX_LISTED, Records, owner_of, pack, same
from interlock.approval.request import Answer, Request, State, Vote, seal
from interlock.errors import ApprovalError, LimitError
from interlock.exchange import Fact, Principal, Resource
from interlock.store import Bus, Change, Store, Topic
from interlock.store.tables import APPROVALS

MAX_PENDING: Final = 20
"""So many requests of one principal may wait at once; more would bury the approvers."""
MAX_TEXT_BYTES: Final = 256 * 1024
"""What is longer than this, nobody reads before approving it: it cannot be held, so it is refused."""
MAX_TITLE: Final = 500
MAX_NOTE: Final = 500
"""Characters of a person's note."""
RECHECK_S: Final = 5.0
"""A waiter looks at the store so often even when no push arrives, in seconds."""


class Approvals:
    """`clock` is UTC seconds, `key` 32 bytes, `timeout_s` how long a request waits for people and how long an
    approval may then be used."""

    def __init__(self, store: Store, bus: Bus, key: bytes, timeout_s: float, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._bus = bus
        self._key = key
        self._records = Records(bus, key)
        self._timeout_s = timeout_s
        self._clock = clock
        self._waiters: dict[str, set[asyncio.Event]] = {}
        bus.listen(Topic.APPROVALS, self._on_change)

    async def request(
        self,
        *,
        principal: Principal,
        resource: Resource,
        groups: frozenset[str],
        digest: str,
        title: str,
        text: str,
        facts: Mapping[str, Fact],
        rules: tuple[str, ...],
        reasons: tuple[str, ...],
        session_id: str,
        policy: str,
    ) -> Request:
        """Ask people. The same question of the same principal, while it waits, is the same request. Raises
        `ApprovalError` (nobody could answer it), `LimitError` (too many wait) or `StoreError`."""
        if not groups:
            raise ApprovalError("no group could approve this")
        if len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
            raise ApprovalError(f"what is longer than {MAX_TEXT_BYTES} bytes cannot be put before people")
        async with self._store.write() as connection:
            now = self._clock()
            await self._records.expire(connection, now)
            for known in await self._records.find(connection, same(principal, resource, digest, State.PENDING), now):
                if known.groups == groups:
                    return known
            if await self._records.waiting(connection, principal.id) >= MAX_PENDING:
                raise LimitError(f"{MAX_PENDING} requests of {principal.id} wait for approval", hint="wait until some are answered")
            name = await self._records.free_id(connection)
            row = {
                "id": name,
                "principal": principal.id,
                "kind": principal.kind,
                "owner": owner_of(principal),
                "resource": resource.name,
                "digest": digest,
                "title": title[:MAX_TITLE],
                "sealed": seal(self._key, name, text, facts, reasons),
                "groups": pack(groups),
                "rules": json.dumps(rules),
                "session": session_id,
                "policy": policy,
                "state": State.PENDING,
                "asked_at": now,
                "expires_at": now + self._timeout_s,
            }
            await self._records.add(connection, row)
            request = await self._records.one(connection, name, now)
        await self._bus.pull()
        return request

    async def answer(self, request_id: str, approver: Principal, approve: bool, note: str = "") -> Request:
        """A person's word on a request; returns it as it stands afterwards. The caller has identified the
        approver. Raises `ApprovalError`: unknown, over, or not for this person to answer (see `quorum`)."""
        if len(note) > MAX_NOTE:
            raise ApprovalError(f"a note has at most {MAX_NOTE} characters")
        note = "".join(letter if letter.isprintable() else " " for letter in note)
        async with self._store.write() as connection:
            now = self._clock()
            await self._records.expire(connection, now)
            request = await self._records.one(connection, request_id, now)
            if request.state is not State.PENDING:
                raise ApprovalError(f"{request_id} is over: {request.state}")
            vote = Vote(approver.id, approve, check_vote(request, approver, approve), note, now)
            await self._records.put_vote(connection, request_id, vote, approver.proof)
            request = await self._records.one(connection, request_id, now)
            if not approve:
                await self._records.move(connection, request_id, (State.PENDING,), State.REFUSED, now, note=note)
            elif not missing(request):
                await self._records.move(
                    connection, request_id, (State.PENDING,), State.APPROVED, now, note=note, expires_at=now + self._timeout_s
                )
            request = await self._records.one(connection, request_id, now)
        await self._bus.pull()
        return request

    async def wait(self, request_id: str, timeout_s: float) -> Answer | None:
        """Until the request is over; None if it is still pending after `timeout_s`. `APPROVED` is given to one
        waiter only, and spends the approval: another one hears `USED`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        event = asyncio.Event()
        self._waiters.setdefault(request_id, set()).add(event)
        try:
            request = await self.get(request_id)
            to_the_end = timeout_s >= request.expires_at - self._clock()
            while request.state is State.PENDING:
                left = max(0.0, request.expires_at - self._clock()) if to_the_end else deadline - loop.time()
                if left <= 0 and not to_the_end:
                    return None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left + 0.001, RECHECK_S)):
                        await event.wait()
                event.clear()
                request = await self.get(request_id)
            return await self._take(request)
        finally:
            self._waiters[request_id].discard(event)
            if not self._waiters[request_id]:
                del self._waiters[request_id]

    async def withdraw(self, request_id: str, why: str) -> None:
        """The asker has gone, or does not want it any more. What is over stays as it is."""
        async with self._store.write() as connection:
            await self._records.move(
                connection, request_id, (State.PENDING, State.APPROVED), State.WITHDRAWN, self._clock(), note=why[:MAX_NOTE]
            )
        await self._bus.pull()

    async def redeem(self, principal: Principal, resource: Resource, digest: str, policy: str) -> Request | None:
        """Spend an approval for exactly this, if there is one; None if not. For clients that ask again instead
        of waiting. Whose approver was revoked in between counts no more. `policy` is kept for the history;
        the gate decides again, under the policy of that moment."""
        async with self._store.write() as connection:
            for request in await self._records.find(connection, same(principal, resource, digest, State.APPROVED), self._clock()):
                if await self._use(connection, request, policy):
                    break
            else:
                return None
        await self._bus.pull()
        return request

    async def pending(self, for_principal: Principal | None = None) -> list[Request]:
        """What waits, newest first, at most `MAX_LISTED`; for a person: what this person may answer."""
        async with self._store.read() as connection:
            requests = await self._records.find(connection, APPROVALS.c.state == State.PENDING, self._clock())
        return [each for each in requests if each.state is State.PENDING and (for_principal is None or _may_answer(each, for_principal))]

    async def history(self, limit: int = MAX_LISTED) -> list[Request]:
        """The newest first, in whatever state, at most `MAX_LISTED`."""
        async with self._store.read() as connection:
            return await self._records.find(connection, true(), self._clock(), limit=min(limit, MAX_LISTED))

    async def get(self, request_id: str) -> Request:
        """Raises `ApprovalError` when there is none of this id."""
        async with self._store.read() as connection:
            return await self._records.one(connection, request_id, self._clock())

    async def _take(self, request: Request) -> Answer:
        """The answer for one waiter; an approval is spent by giving it."""
        if request.state is State.APPROVED:
            async with self._store.write() as connection:
                if not await self._use(connection, request, request.policy):
                    request = await self._records.one(connection, request.id, self._clock())
            await self._bus.pull()
        return Answer(request.state, request.approved_by, request.refused_by, request.groups, request.note)

    async def _use(self, connection: AsyncConnection, request: Request, policy: str) -> bool:
        """Spend an approval, if it is still one under the write lock and all its votes still count."""
        now = self._clock()
        request = await self._records.one(connection, request.id, now)
        if request.state is not State.APPROVED:
            return False
        if missing(request):
            await self._records.move(connection, request.id, (State.APPROVED,), State.WITHDRAWN, now, note="an approver was revoked")
            return False
        return await self._records.move(connection, request.id, (State.APPROVED,), State.USED, now, used_policy=policy)

    def _on_change(self, change: Change) -> None:
        for event in self._waiters.get(change.subject, ()):
            event.set()


def _may_answer(request: Request, person: Principal) -> bool:
    try:
        return bool(may_speak_for(request, person))
    except ApprovalError:
        return False
