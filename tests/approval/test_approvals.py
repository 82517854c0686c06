"""Requests, answers and uses, on a real store, with people racing each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from interlock.approval import Answer, Approvals, Request, State, approvals
from interlock.approval.approvals import MAX_PENDING, MAX_TEXT_BYTES
from interlock.errors import ApprovalError, LimitError
from interlock.exchange import Principal, Resource
from interlock.store import Bus, Store
from interlock.store.tables import APPROVALS, REVOCATIONS

DBA = frozenset({"dba"})
ALICE = Principal("alice", "user", frozenset({"engineering", "dba"}))
CLAUDE = Principal("claude", "agent", frozenset({"agents"}), on_behalf_of=ALICE)
BOB = Principal("bob", "user", DBA)
CAROL = Principal("carol", "user", frozenset({"dba", "security"}))
ORDERS = Resource("orders-db", "postgres")
TEXT = "DELETE FROM customers WHERE card = '4111111111111111'"


@dataclass
class House:
    store: Store
    bus: Bus
    approvals: Approvals
    now: list[float]

    async def ask(self, principal: Principal = ALICE, *, digest: str = "d1", groups: frozenset[str] = DBA, **more: Any) -> Request:
        values: dict[str, Any] = {"title": "DELETE FROM customers", "text": TEXT, "rules": ("no-where",), "reasons": ("no WHERE",)}
        facts = {"has_where": False, "tables": frozenset({"customers"})}
        values |= {"resource": ORDERS, "facts": facts, "session_id": "s1", "policy": "p1"} | more
        return await self.approvals.request(principal=principal, groups=groups, digest=digest, **values)

    async def redeem(self, principal: Principal = ALICE, digest: str = "d1", resource: Resource = ORDERS) -> Request | None:
        return await self.approvals.redeem(principal, resource, digest, "p2")

    async def state(self, request: Request) -> State:
        return (await self.approvals.get(request.id)).state


@asynccontextmanager
async def house(folder: Path, now: list[float] | None = None, timeout_s: float = 300) -> AsyncIterator[House]:
    clock = now or [1000.0]
    store = await Store.open(folder)
    bus = Bus(store, clock=lambda: clock[0])
    await bus.start()
    try:
        yield House(store, bus, Approvals(store, bus, b"k" * 32, timeout_s, lambda: clock[0]), clock)
    finally:
        await bus.stop()
        await store.close()


def run(folder: Path, story: Callable[[House], Coroutine[None, None, None]]) -> None:
    async def play() -> None:
        async with house(folder) as made:
            await story(made)

    asyncio.run(play())


def test_a_request_keeps_what_was_asked_and_hides_the_text_at_rest(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        request = await at.ask(CLAUDE)
        assert await at.approvals.get(request.id) == request
        assert (request.principal, request.kind, request.owner, request.text) == ("claude", "agent", "alice", TEXT)
        assert request.facts == {"has_where": False, "tables": frozenset({"customers"})}
        assert (request.rules, request.reasons, request.state) == (("no-where",), ("no WHERE",), State.PENDING)
        assert (request.asked_at, request.expires_at) == (1000.0, 1300.0)
        assert "4111" not in repr(request)

    run(tmp_path, story)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"4111" not in stored
    assert b"DELETE FROM customers" in stored, "the file was not looked at"


def test_the_same_question_is_the_same_request(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        first = await at.ask()
        assert (await at.ask(session_id="s2")).id == first.id
        others = [
            await at.ask(digest="d2"),
            await at.ask(CLAUDE),
            await at.ask(groups=DBA | {"security"}),
            await at.ask(resource=Resource("other", "postgres")),
        ]
        assert len({first.id, *(each.id for each in others)}) == 5
        await at.approvals.answer(first.id, BOB, False)
        assert (await at.ask()).id != first.id

    run(tmp_path, story)


def test_asking_at_the_same_time_makes_one_request(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        requests = await asyncio.gather(*(at.ask() for _ in range(8)))
        assert len({each.id for each in requests}) == 1

    run(tmp_path, story)


def test_what_nobody_could_answer_is_not_asked(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        with pytest.raises(ApprovalError, match="no group"):
            await at.ask(groups=frozenset())
        with pytest.raises(ApprovalError, match="longer than"):
            await at.ask(text="x" * (MAX_TEXT_BYTES + 1))
        for number in range(MAX_PENDING):
            await at.ask(digest=f"n{number}")
        with pytest.raises(LimitError, match=f"{MAX_PENDING} requests of alice"):
            await at.ask(digest="one more")
        await at.ask(CLAUDE)
        at.now[0] += 300
        await at.ask(digest="one more")

    run(tmp_path, story)


def test_an_approval_reaches_the_one_who_waits_and_is_spent_by_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals, "RECHECK_S", 1000.0)  # the push alone must do it

    async def story(at: House) -> None:
        request = await at.ask()
        waiting = asyncio.create_task(at.approvals.wait(request.id, 60))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        approved = await at.approvals.answer(request.id, BOB, True, "go\non")
        assert (approved.state, approved.approved_by) == (State.APPROVED, ("bob",))
        async with asyncio.timeout(20):
            assert await waiting == Answer(State.APPROVED, ("bob",), (), DBA, "go on")
        assert await at.state(request) is State.USED
        assert await at.redeem() is None

    run(tmp_path, story)


def test_one_approval_is_for_one_waiter(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        request = await at.ask()
        waiting = [asyncio.create_task(at.approvals.wait(request.id, 60)) for _ in range(5)]
        await asyncio.sleep(0.05)
        await at.approvals.answer(request.id, BOB, True)
        answers = await asyncio.gather(*waiting)
        assert sorted(answer.state for answer in answers if answer) == [State.APPROVED] + [State.USED] * 4

    run(tmp_path, story)


def test_a_refusal_ends_it(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        request = await at.ask(groups=frozenset({"dba", "security"}))
        await at.approvals.answer(request.id, CAROL, True)
        await at.approvals.answer(request.id, BOB, False, "not today")
        answer = await at.approvals.wait(request.id, 60)
        assert answer == Answer(State.REFUSED, ("carol",), ("bob",), frozenset({"dba", "security"}), "not today")
        with pytest.raises(ApprovalError, match="is over: refused"):
            await at.approvals.answer(request.id, CAROL, True)

    run(tmp_path, story)


def test_two_groups_need_two_people(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        request = await at.ask(groups=frozenset({"dba", "security"}))
        assert (await at.approvals.answer(request.id, CAROL, True)).state is State.PENDING
        with pytest.raises(ApprovalError, match="approved already"):
            await at.approvals.answer(request.id, CAROL, True)
        assert await at.redeem() is None
        assert (await at.approvals.answer(request.id, BOB, True)).state is State.APPROVED

    run(tmp_path, story)


def test_those_who_may_not_answer_change_nothing(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        request = await at.ask(CLAUDE)
        dba_agent = Principal("helper", "agent", DBA, on_behalf_of=BOB)
        for approver in (ALICE, CLAUDE, dba_agent, Principal("eve", "user", frozenset({"engineering"}))):
            for approve in (True, False):
                with pytest.raises(ApprovalError):
                    await at.approvals.answer(request.id, approver, approve)
        assert await at.state(request) is State.PENDING
        with pytest.raises(ApprovalError, match="there is no request ap-nobody"):
            await at.approvals.answer("ap-nobody", BOB, True)
        with pytest.raises(ApprovalError, match="at most"):
            await at.approvals.answer(request.id, BOB, True, "x" * 501)

    run(tmp_path, story)


@pytest.mark.parametrize("second", [True, False])
def test_of_two_answers_at_once_one_wins(tmp_path: Path, second: bool) -> None:
    """Two processes with their own connections; the loser is told that it is over."""

    async def play() -> None:
        async with house(tmp_path) as here, house(tmp_path, here_now := [1000.0]) as there:
            assert here_now == here.now
            for turn in range(5):
                request = await here.ask(digest=f"d{turn}")
                answers = await asyncio.gather(
                    here.approvals.answer(request.id, BOB, True),
                    there.approvals.answer(request.id, CAROL, second),
                    return_exceptions=True,
                )
                won = [answer for answer in answers if isinstance(answer, Request)]
                lost = [answer for answer in answers if isinstance(answer, ApprovalError)]
                assert (len(won), len(lost)) == (1, 1)
                assert await here.state(request) is won[0].state

    asyncio.run(play())


def test_silence_never_approves(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        request = await at.ask()
        at.now[0] += 300
        assert await at.state(request) is State.EXPIRED
        assert await at.approvals.wait(request.id, 60) == Answer(State.EXPIRED, (), (), DBA)
        with pytest.raises(ApprovalError, match="is over: expired"):
            await at.approvals.answer(request.id, BOB, True)
        assert await at.approvals.pending() == []
        assert await at.redeem() is None

    run(tmp_path, story)


def test_a_waiter_notices_the_time_by_itself(tmp_path: Path) -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        store = await Store.open(tmp_path)
        bus = Bus(store)
        at = House(store, bus, Approvals(store, bus, b"k" * 32, 0.2, loop.time), [])
        request = await at.ask()
        answer = await at.approvals.wait(request.id, request.expires_at - loop.time())
        assert answer is not None and answer.state is State.EXPIRED
        await store.close()

    asyncio.run(play())


def test_patience_may_end_before_the_request(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        request = await at.ask()
        assert await at.approvals.wait(request.id, 0.05) is None
        assert await at.state(request) is State.PENDING

    run(tmp_path, story)


def test_withdrawing(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        pending, approved, refused = await at.ask(), await at.ask(digest="d2"), await at.ask(digest="d3")
        await at.approvals.answer(approved.id, BOB, True)
        await at.approvals.answer(refused.id, BOB, False)
        for request in (pending, approved, refused):
            await at.approvals.withdraw(request.id, "the client went away")
        assert [await at.state(each) for each in (pending, approved, refused)] == [State.WITHDRAWN, State.WITHDRAWN, State.REFUSED]
        answer = await at.approvals.wait(pending.id, 60)
        assert answer is not None and answer.note == "the client went away"
        assert await at.redeem(digest="d2") is None

    run(tmp_path, story)


def test_an_approval_is_redeemed_once_for_exactly_this(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        request = await at.ask(CLAUDE)
        assert await at.redeem(CLAUDE) is None
        await at.approvals.answer(request.id, BOB, True)
        other_owner = Principal("claude", "agent", on_behalf_of=BOB)
        assert await at.redeem(ALICE) is None
        assert await at.redeem(other_owner) is None
        assert await at.redeem(Principal("claude")) is None
        assert await at.redeem(CLAUDE, "d2") is None
        assert await at.redeem(CLAUDE, resource=Resource("other", "postgres")) is None
        redeemed = await asyncio.gather(*(at.redeem(CLAUDE) for _ in range(6)))
        used = [each for each in redeemed if each is not None]
        assert [(each.id, each.approved_by, each.groups) for each in used] == [(request.id, ("bob",), DBA)]
        assert await at.state(request) is State.USED

    run(tmp_path, story)


def test_an_approval_does_not_wait_for_ever(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        request = await at.ask()
        at.now[0] += 299
        approved = await at.approvals.answer(request.id, BOB, True)
        assert approved.expires_at == 1299.0 + 300
        at.now[0] += 300
        assert await at.redeem() is None
        assert await at.state(request) is State.EXPIRED

    run(tmp_path, story)


def test_a_revoked_approver_counts_no_more(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        approved, pending = await at.ask(), await at.ask(digest="d2", groups=frozenset({"dba", "security"}))
        await at.approvals.answer(approved.id, BOB, True)
        await at.approvals.answer(pending.id, BOB, True)
        at.now[0] += 1
        async with at.store.write() as connection:
            await connection.execute(insert(REVOCATIONS).values(kind="principal", subject="bob", at=at.now[0]))
        assert await at.redeem() is None
        assert await at.state(approved) is State.WITHDRAWN
        assert (await at.approvals.answer(pending.id, CAROL, True)).state is State.PENDING, "bob's word is void: dba is missing again"
        at.now[0] += 1
        assert (await at.approvals.answer(pending.id, BOB, True)).state is State.APPROVED, "what he says afterwards counts"

    run(tmp_path, story)


def test_the_inbox_shows_what_a_person_may_answer(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        mine, agents, other = await at.ask(ALICE), await at.ask(CLAUDE), await at.ask(BOB, groups=frozenset({"security"}))

        async def inbox(person: Principal | None) -> set[str]:
            return {each.id for each in await at.approvals.pending(person)}

        assert await inbox(None) == {mine.id, agents.id, other.id}
        assert await inbox(ALICE) == set()
        assert await inbox(BOB) == {mine.id, agents.id}
        assert await inbox(CAROL) == {mine.id, agents.id, other.id}
        await at.approvals.answer(mine.id, BOB, True)
        assert await inbox(CAROL) == {agents.id, other.id}
        assert {each.id for each in await at.approvals.history()} == {mine.id, agents.id, other.id}

    run(tmp_path, story)


def test_another_process_answers(tmp_path: Path) -> None:
    async def play() -> None:
        async with house(tmp_path) as here, house(tmp_path) as there:
            request = await here.ask()
            waiting = asyncio.create_task(here.approvals.wait(request.id, 60))
            await there.approvals.answer(request.id, BOB, True)
            async with asyncio.timeout(20):
                answer = await waiting
            assert answer is not None and answer.state is State.APPROVED

    asyncio.run(play())


def test_a_text_that_was_exchanged_in_the_store_is_not_shown(tmp_path: Path) -> None:
    async def story(at: House) -> None:
        harmless, harmful = await at.ask(digest="d1", text="SELECT 1"), await at.ask(digest="d2")
        async with at.store.write() as connection:
            row = (await connection.execute(APPROVALS.select().where(APPROVALS.c.id == harmless.id))).one()
            await connection.execute(update(APPROVALS).where(APPROVALS.c.id == harmful.id).values(sealed=row.sealed))
        with pytest.raises(Exception, match="cannot be opened"):
            await at.approvals.answer(harmful.id, BOB, True)

    run(tmp_path, story)
