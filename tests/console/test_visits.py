from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from interlock.console.visits import Console, Problem, Visits, form_token
from interlock.errors import LimitError
from interlock.exchange import Session
from tests.console.house import House, explain, house, lines


def visits(h: House) -> Visits:
    return Visits(Console(h.gate, {"lines": lines}, explain, "https://gate.example", "0", b"k" * 32, lambda: h.now[0]))


def ends(h: House, session: Session) -> list[str]:
    return [str(moment.facts["reason"]) for moment in h.gate.evidence.timeline(session.id, {}) if moment.kind == "close"]


def test_a_sign_in_is_one_session_and_each_action_an_operation(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            desk = visits(h)
            visit, cookie = await desk.sign_in(await h.token("bob"), "127.0.0.1:5")
            assert desk.cookie(cookie) is visit and desk.cookie("other") is None
            async with desk.act(visit, "console.view", "list things") as act:
                act.said = "3 things"
            with pytest.raises(Problem) as refused:
                async with desk.act(visit, "console.issue", "make a token"):
                    raise AssertionError("not permitted, and yet it ran")
            assert (refused.value.status, refused.value.code) == (403, "denied")
            with pytest.raises(LimitError):
                async with desk.act(visit, "console.view", "list more"):
                    raise LimitError("too many")
            told = [
                (
                    moment.kind,
                    moment.facts.get("title", ""),
                    moment.facts.get("verdict") or moment.facts.get("outcome"),
                    moment.facts.get("detail"),
                )
                for moment in h.gate.evidence.timeline(visit.session.id, {})
                if moment.kind in ("intent", "outcome")
            ]
            assert told == [
                ("intent", "connect to the console", "allow", None),
                ("intent", "list things", "allow", None),
                ("outcome", "", "done", "3 things"),
                ("intent", "make a token", "deny", None),
                ("intent", "list more", "allow", None),
                ("outcome", "", "failed", "too many"),
            ]

    asyncio.run(run())


def test_what_is_done_is_durable_before_it_is_done(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            desk = visits(h)
            visit = await desk.bearer(await h.token("bob"), "")
            h.gate.evidence._writer.failed = "the disk is gone"
            with pytest.raises(Problem) as refused:
                async with desk.act(visit, "console.view", "list things"):
                    raise AssertionError("ran without a journal")
            assert refused.value.status == 503
            h.gate.evidence._writer.failed = ""

    asyncio.run(run())


def test_who_may_not_connect_has_no_session(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            desk = visits(h)
            with pytest.raises(Problem) as refused:
                await desk.sign_in(await h.token("eve"), "")
            assert (refused.value.status, refused.value.ask) == (403, "the platform team")
            assert h.gate.sessions == {}
            [summary] = h.gate.evidence.sessions()
            assert (summary.principal, summary.state) == ("eve", "sealed")

    asyncio.run(run())


def test_calls_of_one_token_share_a_session_until_trust_ends(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            desk = visits(h)
            token, other = await h.token("bob"), await h.token("bob")
            first = await desk.bearer(token, "")
            assert await desk.bearer(token, "") is first
            assert await desk.bearer(other, "") is not first
            await h.identity.revoke_token(token.split("_")[1])
            assert desk.over(first)
            with pytest.raises(Problem) as refused:
                await desk.bearer(token, "")
            assert refused.value.status == 401

    asyncio.run(run())


def test_an_ended_visit_says_why_and_is_sealed(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            desk = visits(h)
            visit, cookie = await desk.sign_in(await h.token("bob"), "")
            h.gate.end(visit.session.id, "ended by olga")
            same = desk.cookie(cookie)
            assert same is visit and desk.over(same) == "ended by olga"
            await asyncio.gather(*desk._tasks)
            assert visit.session.id not in h.gate.sessions
            assert ends(h, visit.session) == ["ended by olga"]

    asyncio.run(run())


def test_an_action_that_ends_its_own_session_is_settled_before_the_seal(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            desk = visits(h)
            visit = await desk.bearer(await h.token("olga"), "")
            async with desk.act(visit, "console.revoke", "revoke all of olga") as act:
                await h.identity.revoke_principal("olga")
                act.said = "revoked"
            await asyncio.gather(*desk._tasks)
            moments = list(h.gate.evidence.timeline(visit.session.id, {}))
            assert ("done", "revoked") in [(moment.facts.get("outcome"), moment.facts.get("detail")) for moment in moments]
            assert moments[-1].kind == "close"

    asyncio.run(run())


def test_idle_visits_and_signed_out_ones_are_closed(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            desk = visits(h)
            visit, cookie = await desk.sign_in(await h.token("bob"), "")
            visit.busy = 1
            desk._idle(visit)
            assert desk.cookie(cookie) is visit  # something runs
            visit.busy = 0
            desk._idle(visit)
            assert desk.cookie(cookie) is None
            again, cookie = await desk.sign_in(await h.token("bob"), "")
            desk.sign_out(again)
            assert desk.cookie(cookie) is None
            await asyncio.gather(*desk._tasks)
            assert ends(h, visit.session) == ["idle"] and ends(h, again.session) == ["signed out"]
            assert h.gate.limits.sessions("bob") == 0

    asyncio.run(run())


def test_the_number_of_visits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            monkeypatch.setattr("interlock.console.visits.VISITS_MAX", 1)
            desk = visits(h)
            await desk.sign_in(await h.token("bob"), "")
            with pytest.raises(Problem) as full:
                await desk.sign_in(await h.token("alice"), "")
            assert full.value.status == 503
            first = await desk.bearer(await h.token("bob"), "")
            await desk.bearer(await h.token("alice"), "")
            assert first.session.ended == "other callers came"

    asyncio.run(run())


def test_a_held_action_waits_for_people_and_is_redeemed_by_asking_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            desk = visits(h)
            ann, bob = await desk.bearer(await h.token("ann"), ""), await desk.bearer(await h.token("bob"), "")
            with pytest.raises(Problem) as held:
                async with desk.act(ann, "console.replay", "replay session x"):
                    raise AssertionError("held, and yet it ran")
            assert held.value.code == "held" and held.value.held is not None and held.value.ask == "dba"
            await h.gate.approvals.answer(held.value.held.id, bob.principal, True)
            with pytest.raises(Problem):
                async with desk.act(ann, "console.replay", "replay session y"):
                    raise AssertionError("approved was another one")
            ran = False
            async with desk.act(ann, "console.replay", "replay session x"):
                ran = True
            assert ran

    asyncio.run(run())


def test_form_tokens_belong_to_one_cookie_and_one_key() -> None:
    token = form_token(b"k" * 32, "cookie")
    assert token == form_token(b"k" * 32, "cookie")
    assert len({token, form_token(b"k" * 32, "other"), form_token(b"x" * 32, "cookie")}) == 3
