"""The gate with its real stations, and a made-up protocol in memory: what goes up, what comes down, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import EvidenceError, InterlockError, LimitError, MaskingError, ResourceError
from interlock.exchange import Durability, Effect, Held, Operation, Outcome, Permit, Refusal, claim_mint
from interlock.gate import connect_operation
from tests.gatehouse import CUSTOMERS, House, LineShape, house, operation

Story = Callable[[House], Awaitable[None]]


def play(folder: Path, story: Story, **options: Any) -> None:
    async def run() -> None:
        async with house(folder, **options) as built:
            await asyncio.wait_for(story(built), 20)

    asyncio.run(run())


def refusal(answer: Permit | Held | Refusal) -> Refusal:
    assert isinstance(answer, Refusal), answer
    return answer


def moments(built: House, session_id: str) -> list[tuple[str, dict[str, object]]]:
    return [(moment.kind, dict(moment.facts)) for moment in built.gate.evidence.timeline(session_id, {})]


def test_an_allowed_operation_goes_up_once_and_as_it_was_permitted(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        permit = await built.permit(session, "select orders")
        with pytest.raises(InterlockError, match="not what was permitted"):
            permit.apply(b"select customers")
        assert permit.apply(b"select orders").data == b"select orders"
        with pytest.raises(InterlockError, match="sent already"):
            permit.apply(b"select orders")
        receipt = built.gate.settle(permit, Outcome.DONE)
        assert (receipt.outcome, receipt.session) == (Outcome.DONE, session.id)
        assert receipt.head == built.gate.evidence.head(session.id)
        with pytest.raises(InterlockError, match="spent"):
            permit.apply(b"select orders")

    play(tmp_path, story)


def test_data_flows_only_under_an_operation_that_says_so(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, connect = await built.session("alice")
        (permit,) = await built.gate.admit(session, [operation(session.resource, "insert orders", flows=True)])
        assert not isinstance(permit, Held | Refusal)
        permit.apply(b"insert orders")
        assert permit.apply(b"a row").data == b"a row"
        assert connect.apply(b"sync").data == b"sync"

    play(tmp_path, story)


def test_nobody_else_can_make_proofs() -> None:
    with pytest.raises(RuntimeError, match="mint is taken"):
        claim_mint()


def test_a_denied_operation_names_rule_reason_and_whom_to_ask(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        answers = await built.ask(session, "select orders", "select secrets", "select customers")
        assert not isinstance(answers[0], Held | Refusal) and not isinstance(answers[2], Held | Refusal)
        no = refusal(answers[1])
        assert (no.code, no.rules, no.reason, no.ask) == ("denied", ("no-secrets",), "nobody reads secrets", "#dba")

    play(tmp_path, story)


def test_default_is_no(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session = built.gate.open(await built.principal("eve"), "lines-db", "lines", "test")
        (answer,) = await built.gate.admit(session, [connect_operation(session.resource)])
        assert refusal(answer).code == "denied"

    play(tmp_path, story)


def test_an_agent_may_do_only_what_its_owner_may_too(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("claude")
        await built.permit(session, "select orders")
        stray = built.gate.open(await built.principal("stray"), "lines-db", "lines", "test")
        (answer,) = await built.gate.admit(stray, [connect_operation(stray.resource)])
        assert refusal(answer).code == "denied"

    play(tmp_path, story)


def test_the_intent_is_on_disk_before_the_permit_is_handed_out(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        permit = await built.permit(session, "select orders")
        spooled = b"".join(path.read_bytes() for path in (tmp_path / "evidence" / "spool").iterdir())
        assert permit.exchange.digest.encode() in spooled
        assert b"select orders" in spooled  # the title, without literals
        assert built.gate.evidence.failed == ""

    play(tmp_path, story)


def test_held_then_approved_runs(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        held = await built.held(session, "delete orders")
        assert (held.groups, held.link) == (frozenset({"dba"}), f"http://console/approvals/{held.id}")
        waiting = asyncio.ensure_future(built.gate.wait(held))
        await asyncio.sleep(0)
        await built.gate.approvals.answer(held.id, await built.principal("bob"), True)
        permit = await waiting
        assert not isinstance(permit, Held | Refusal)
        assert permit.apply(b"delete orders").data == b"delete orders"
        kinds = [kind for kind, _ in moments(built, session.id)]
        assert kinds.index("held") < kinds.index("approval") < len(kinds) - 1 - kinds[::-1].index("intent")

    play(tmp_path, story)


def test_nobody_approves_their_own_nor_their_agents_request(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("claude")
        held = await built.held(session, "delete orders")
        with pytest.raises(InterlockError):
            await built.gate.approvals.answer(held.id, await built.principal("alice"), True)
        with pytest.raises(InterlockError):
            await built.gate.approvals.answer(held.id, await built.principal("claude"), True)

    play(tmp_path, story)


def test_held_then_refused_is_refused(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        held = await built.held(session, "delete orders")
        await built.gate.approvals.answer(held.id, await built.principal("bob"), False, "not today")
        no = refusal(await built.gate.wait(held))
        assert no.code == "approval-refused" and "bob" in no.reason and "not today" in no.reason

    play(tmp_path, story)


def test_silence_never_approves(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        held = await built.held(session, "delete orders")
        built.now[0] += 301
        assert refusal(await built.gate.wait(held)).code == "approval-expired"

    play(tmp_path, story)


def test_what_runs_is_what_the_policy_of_that_moment_allows(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        held = await built.held(session, "delete orders")
        policy = tmp_path / "policy.cedar"
        policy.write_text(
            policy.read_text() + '@id("freeze") @reason("frozen") forbid (principal, action == Action::"sql.delete", resource);'
        )
        assert built.gate.policy.reload() == ""
        await built.gate.approvals.answer(held.id, await built.principal("bob"), True)
        assert refusal(await built.gate.wait(held)).rules == ("freeze",)

    play(tmp_path, story)


def test_a_bad_policy_file_keeps_the_old_policy(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        version = built.gate.policy.current.version
        (tmp_path / "policy.cedar").write_text("permit (principal, action, resource")
        assert built.gate.policy.reload() != ""
        assert built.gate.policy.current.version == version

    play(tmp_path, story)


def test_patience_parks_the_request_and_the_same_operation_redeems_it_once(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        held = await built.held(session, "delete orders")
        assert await built.gate.wait(held, patience_s=0.01) is held
        await built.gate.approvals.answer(held.id, await built.principal("bob"), True)
        assert isinstance((await built.ask(session, "delete customers"))[0], Held), "another operation redeems nothing"
        permit = await built.permit(session, "delete orders")
        assert permit.exchange.approved_by == ("bob",)
        assert isinstance((await built.ask(session, "delete orders"))[0], Held), "an approval is good for one run"

    play(tmp_path, story)


def test_a_client_that_goes_away_withdraws_its_request(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        held = await built.held(session, "delete orders")
        waiting = asyncio.ensure_future(built.gate.wait(held))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (await built.gate.approvals.get(held.id)).state == "withdrawn"

    play(tmp_path, story)


def test_a_client_that_goes_away_while_people_are_being_asked_leaves_no_request(tmp_path: Path) -> None:
    """Wherever in the asking it is cut off."""

    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        for steps in range(0, 60, 2):
            asking = asyncio.ensure_future(built.ask(session, f"delete orders{steps}"))
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            asking.cancel()
            (answer,) = await asyncio.gather(asking, return_exceptions=True)
            if not isinstance(answer, BaseException):  # it was there before the client left: then its wait is cut off
                assert isinstance(answer[0], Held)
                await built.gate.withdraw(answer[0])
            assert await built.gate.approvals.pending() == []

    play(tmp_path, story)


def test_a_rehearsal_is_not_held(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        (answer,) = await built.gate.admit(session, [operation(session.resource, "delete orders", rehearsal=True)])
        assert not isinstance(answer, Held | Refusal)
        assert await built.gate.approvals.pending() == []

    play(tmp_path, story)


def test_replies_come_down_masked_and_recorded(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        permit = await built.permit(session, "select customers")
        release = built.gate.release(permit, CUSTOMERS)
        cleared = release.apply(b"Ann|ann@example.com\nBen|ben@example.com\n")
        assert cleared.data == b"Ann|[email]\nBen|[email]\n"
        built.gate.settle(permit, Outcome.DONE)
        outcome = next(facts for kind, facts in reversed(moments(built, session.id)) if kind == "outcome")
        assert outcome["masked"] == {"email": 2}

    play(tmp_path, story)
    seen = b"".join(path.read_bytes() for path in (tmp_path / "evidence").rglob("*") if path.is_file())
    assert b"ann@example.com" not in seen


def test_who_may_reveal_sees_the_value(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("fay")
        permit = await built.permit(session, "select customers")
        assert built.gate.release(permit, CUSTOMERS).apply(b"Ann|ann@example.com\n").data == b"Ann|ann@example.com\n"

    play(tmp_path, story)


def test_a_mask_that_cannot_run_lets_nothing_out(tmp_path: Path) -> None:
    class Broken(LineShape):
        def split(self, piece: bytes) -> Any:
            raise ValueError("broken")

    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        permit = await built.permit(session, "select customers")
        with pytest.raises(MaskingError):
            built.gate.release(permit, Broken(CUSTOMERS.columns)).apply(b"Ann|ann@example.com\n")

    play(tmp_path, story)


def test_revoking_ends_open_sessions_and_everything_under_way(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        ended: list[str] = []
        session.on_end = ended.append
        permit = await built.permit(session, "select customers")
        release = built.gate.release(permit, CUSTOMERS)
        await built.identity.revoke_token(session.principal.proof)
        assert ended and "revoked" in ended[0]
        with pytest.raises(InterlockError, match="revoked"):
            release.apply(b"Ann|x\n")
        with pytest.raises(InterlockError, match="revoked"):
            permit.apply(b"select customers")
        no = refusal((await built.ask(session, "select orders"))[0])
        assert (no.code, no.fatal) == ("revoked", True)

    play(tmp_path, story)


def test_revoking_an_owner_ends_the_agents_sessions(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("claude")
        await built.identity.revoke_principal("alice")
        assert session.ended

    play(tmp_path, story)


def test_a_session_has_a_maximum(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        built.now[0] += 12 * 3600 + 1
        built.gate.sweep()
        assert "maximum" in session.ended

    play(tmp_path, story)


def test_limits_refuse(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        for _ in range(3):
            await built.session("alice")
        with pytest.raises(LimitError):
            await built.session("alice")

    play(tmp_path, story)


def test_a_failing_station_is_a_refusal_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")

        def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError("a secret detail")

        monkeypatch.setattr(built.identity, "standing", broken)
        no = refusal((await built.ask(session, "select orders"))[0])
        assert no.code == "failed" and "secret" not in no.reason

    play(tmp_path, story)


def test_evidence_that_cannot_be_written_refuses_and_ends_the_session(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        await built.gate.evidence.stop()  # from here on nothing can be recorded
        (answer,) = await built.ask(session, "select orders")
        assert refusal(answer).fatal and session.ended
        with pytest.raises(EvidenceError):
            built.gate.open(session.principal, "lines-db", "lines", "test")

    play(tmp_path, story)


@pytest.mark.parametrize("durability", list(Durability))
def test_every_durability_level_serves(tmp_path: Path, durability: Durability) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        await built.permit(session, "select orders")
        await built.gate.durable(session)

    play(tmp_path, story, durability=durability)


def test_credentials_are_for_a_live_connect_permit_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES_PASSWORD", "the upstream secret")

    async def story(built: House) -> None:
        session, connect = await built.session("alice")
        credential = built.gate.credential(connect)
        assert credential.password == "the upstream secret" and "secret" not in repr(credential)
        assert built.gate.login(connect, b"password").data == b"password"
        other = await built.permit(session, "select orders")
        for use in (built.gate.credential, lambda permit: built.gate.login(permit, b"x")):
            with pytest.raises(ResourceError):
                use(other)
        built.gate.end(session.id, "over")
        with pytest.raises(InterlockError, match="over"):
            built.gate.credential(connect)

    play(tmp_path, story)
    seen = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"the upstream secret" not in seen


def test_foreseeing_has_no_effect(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        before = built.gate.evidence.head(session.id)
        operations = [operation(session.resource, text) for text in ("select orders", "delete orders", "select secrets")]
        verdicts = [decision.verdict.value for decision in built.gate.foresee(session.principal, operations)]
        assert verdicts == ["allow", "hold", "deny"]
        assert built.gate.evidence.head(session.id) == before and await built.gate.approvals.pending() == []

    play(tmp_path, story)


def test_closing_settles_what_is_open(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        permit = await built.permit(session, "select orders")
        await built.gate.close(session, "the client disconnected")
        assert permit.exchange.outcome is Outcome.UNKNOWN
        summary = next(s for s in built.gate.evidence.sessions() if s.id == session.id)
        assert summary.state == "sealed" and summary.reason == "the client disconnected"
        await built.gate.close(session, "again")

    play(tmp_path, story)


def test_an_operation_of_another_kind_of_resource_is_decided_alike(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        strange = replace(operation(session.resource, "select orders"), effects=(Effect("sql.unparsed"),))
        assert refusal((await built.gate.admit(session, [strange]))[0]).code == "denied"
        empty = Operation("lines", session.resource, (), {}, b"", "nothing")
        assert refusal((await built.gate.admit(session, [empty]))[0])

    play(tmp_path, story)


def test_a_write_through_batch_needs_no_waiting_unless_people_are_asked(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        ask = [operation(session.resource, text) for text in ("select orders", "select secrets")]
        answers = built.gate.admit_at_once(session, ask)
        assert answers is not None and refusal(answers[1]).rules == ("no-secrets",)
        assert not isinstance(answers[0], Held | Refusal)
        spooled = b"".join(path.read_bytes() for path in (tmp_path / "evidence" / "spool").iterdir())
        assert answers[0].exchange.digest.encode() in spooled
        assert built.gate.admit_at_once(session, [operation(session.resource, "delete orders")]) is None
        assert await built.gate.approvals.pending() == []

    play(tmp_path, story, durability=Durability.WRITE_THROUGH)


def test_a_durable_batch_always_waits_for_the_disk(tmp_path: Path) -> None:
    async def story(built: House) -> None:
        session, _ = await built.session("alice")
        assert built.gate.admit_at_once(session, [operation(session.resource, "select orders")]) is None

    play(tmp_path, story)
