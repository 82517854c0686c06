"""Requests as rows of the store. Every function works inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from interlock.approval.request import Request, State, Vote, new_id, unseal
from interlock.errors import ApprovalError, StoreError
from interlock.exchange import Principal, Resource
from interlock.store import Bus, Topic
from interlock.store.tables import APPROVAL_ANSWERS, APPROVALS, REVOCATIONS

MAX_LISTED: Final = 200
"""So many requests are read at once."""
_OPEN: Final = (State.PENDING, State.APPROVED)


class Records:
    """Reads and moves rows; every move is announced on the bus (pull after the commit)."""

    def __init__(self, bus: Bus, key: bytes) -> None:
        self._bus = bus
        self._key = key

    async def find(self, connection: AsyncConnection, where: ColumnElement[bool], now: float, *, limit: int = MAX_LISTED) -> list[Request]:
        """The newest first. A request whose time is over reads as expired, whether or not the row says so."""
        rows = (await connection.execute(select(APPROVALS).where(where).order_by(APPROVALS.c.asked_at.desc()).limit(limit))).all()
        votes = await self._votes(connection, [row.id for row in rows])
        return [self._read(row, votes.get(row.id, ()), now) for row in rows]

    async def one(self, connection: AsyncConnection, request: str, now: float) -> Request:
        """Raises `ApprovalError` when there is none of this id."""
        found = await self.find(connection, APPROVALS.c.id == request, now)
        if not found:
            raise ApprovalError(f"there is no request {request[:16]}")
        return found[0]

    async def add(self, connection: AsyncConnection, values: dict[str, Any]) -> None:
        await connection.execute(insert(APPROVALS).values(**values))
        await self._bus.announce(connection, Topic.APPROVALS, values["id"])

    async def free_id(self, connection: AsyncConnection) -> str:
        """An id that no request has had. One in 600 million is drawn; the store holds the lock meanwhile."""
        for _ in range(20):
            name = new_id()
            if (await connection.execute(select(APPROVALS.c.id).where(APPROVALS.c.id == name))).one_or_none() is None:
                return name
        raise StoreError("no free request id was found")

    async def waiting(self, connection: AsyncConnection, principal: str) -> int:
        mine = (APPROVALS.c.principal == principal) & (APPROVALS.c.state == State.PENDING)
        return int((await connection.execute(select(func.count()).select_from(APPROVALS).where(mine))).scalar_one())

    async def put_vote(self, connection: AsyncConnection, request: str, vote: Vote, proof: str) -> None:
        values = {"approve": vote.approve, "groups": pack(vote.groups), "note": vote.note, "proof": proof, "at": vote.at}
        row = upsert(APPROVAL_ANSWERS).values(request=request, approver=vote.approver, **values)
        await connection.execute(row.on_conflict_do_update(index_elements=["request", "approver"], set_=values))
        await self._bus.announce(connection, Topic.APPROVALS, request)

    async def move(
        self, connection: AsyncConnection, request: str, sources: tuple[State, ...], target: State, now: float, **values: Any
    ) -> bool:
        """Change the state, only if it is one of `sources`; says whether it did."""
        values |= {"used_at": now} if target is State.USED else {"decided_at": now}
        row = update(APPROVALS).where(APPROVALS.c.id == request, APPROVALS.c.state.in_(sources)).values(state=target, **values)
        moved = (await connection.execute(row.returning(APPROVALS.c.id))).one_or_none() is not None
        if moved:
            await self._bus.announce(connection, Topic.APPROVALS, request)
        return moved

    async def expire(self, connection: AsyncConnection, now: float) -> None:
        """Write down whose time is over."""
        over = APPROVALS.c.state.in_(_OPEN) & (APPROVALS.c.expires_at <= now)
        rows = await connection.execute(update(APPROVALS).where(over).values(state=State.EXPIRED).returning(APPROVALS.c.id))
        for name in rows.scalars().all():
            await self._bus.announce(connection, Topic.APPROVALS, name)

    async def _votes(self, connection: AsyncConnection, requests: list[str]) -> dict[str, list[Vote]]:
        """The votes of each request, in the order of their casting; void if the voter was revoked since."""
        since = (
            (REVOCATIONS.c.kind == "principal")
            & (REVOCATIONS.c.subject == APPROVAL_ANSWERS.c.approver)
            & (REVOCATIONS.c.at >= APPROVAL_ANSWERS.c.at)
        )
        query = select(APPROVAL_ANSWERS, REVOCATIONS.c.at.label("cut")).select_from(APPROVAL_ANSWERS.outerjoin(REVOCATIONS, since))
        rows = await connection.execute(query.where(APPROVAL_ANSWERS.c.request.in_(requests)).order_by(APPROVAL_ANSWERS.c.at))
        votes: dict[str, list[Vote]] = {}
        for row in rows:
            vote = Vote(row.approver, row.approve, frozenset(json.loads(row.groups)), row.note, row.at, row.cut is not None)
            votes.setdefault(row.request, []).append(vote)
        return votes

    def _read(self, row: Row[Any], votes: Iterable[Vote], now: float) -> Request:
        text, facts, reasons = unseal(self._key, row.id, row.sealed)
        state = State(row.state)
        return Request(
            id=row.id,
            principal=row.principal,
            kind=row.kind,
            owner=row.owner,
            resource=row.resource,
            digest=row.digest,
            title=row.title,
            text=text,
            facts=facts,
            rules=tuple(json.loads(row.rules)),
            reasons=reasons,
            groups=frozenset(json.loads(row.groups)),
            session_id=row.session,
            policy=row.policy,
            state=State.EXPIRED if state in _OPEN and now >= row.expires_at else state,
            asked_at=row.asked_at,
            expires_at=row.expires_at,
            decided_at=row.decided_at,
            used_at=row.used_at,
            note=row.note,
            votes=tuple(votes),
        )


def same(principal: Principal, resource: Resource, digest: str, state: State) -> ColumnElement[bool]:
    """Requests for the identical operation by the identical principal, owner included."""
    columns = APPROVALS.c
    who = (columns.principal == principal.id) & (columns.owner == owner_of(principal)) & (columns.kind == principal.kind)
    return who & (columns.resource == resource.name) & (columns.digest == digest) & (columns.state == state)


def owner_of(principal: Principal) -> str:
    return principal.on_behalf_of.id if principal.on_behalf_of else ""


def pack(groups: Iterable[str]) -> str:
    return json.dumps(sorted(groups))
