from __future__ import annotations

import asyncio
from pathlib import Path

from interlock.exchange import Held, Refusal
from tests.console.house import House, house

# Request, and which of bob (dba: view, replay, approve), olga (ops: view, revoke, issue), alice (staff: view) and eve (nothing) may.
MATRIX = [
    ("GET", "/api/whoami", None, "bob olga alice"),
    ("GET", "/api/resources", None, "bob olga alice"),
    ("GET", "/api/sessions", None, "bob olga alice"),
    ("GET", "/api/sessions/{session}", None, "bob olga alice"),
    ("GET", "/api/sessions/{session}/timeline", None, "bob"),
    ("DELETE", "/api/sessions/{session}", None, "olga"),
    ("GET", "/api/approvals", None, "bob olga alice"),
    ("GET", "/api/approvals/{approval}", None, "bob olga alice"),
    ("POST", "/api/approvals/{approval}", {"approve": True}, "bob"),
    ("GET", "/api/policy", None, "bob olga alice"),
    ("POST", "/api/policy/explain", {"as": "alice", "on": "orders-db", "action": "connect"}, "bob olga alice"),
    ("GET", "/api/tokens", None, "bob olga alice"),
    ("POST", "/api/tokens", {"principal": "alice", "audiences": ["mcp"]}, "olga"),
    ("DELETE", "/api/tokens/{token}", None, "olga"),
    ("POST", "/api/principals/eve/revoke", None, "olga"),
]


async def held_delete(h: House) -> tuple[str, Held]:
    session = await h.session("alice")
    held = await h.ask(session, "DELETE FROM customers", where=False)
    assert isinstance(held, Held)
    return session.id, held


def test_each_request_is_decided_for_each_caller(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            for method, path, body, who in MATRIX:
                for caller in ("bob", "olga", "alice", "eve"):
                    h.now[0] += 1  # a token that is as old as a revocation is not good
                    session, held = await held_delete(h)
                    token = (await h.token("ann")).split("_")[1]
                    client = await h.program(caller)
                    answer = await client.request(method, path.format(session=session, approval=held.id, token=token), json=body)
                    assert (answer.status_code == 200) == (caller in who.split()), (method, path, caller, answer.text)
                    if answer.status_code != 200:
                        assert answer.status_code == 403
                        assert answer.json()["code"] == "denied" and answer.json()["ask"] == "the platform team"
                    await h.gate.approvals.withdraw(held.id, "next")
                    await h.gate.close(h.gate.sessions[session], "next")

    asyncio.run(run())


def test_no_request_without_a_good_token(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            wrong_door = await h.token("bob", "postgres", "mcp")
            secret = await h.token("bob")
            await h.identity.revoke_token(secret.split("_")[1])
            for headers in (
                {"Authorization": f"Bearer {wrong_door}"},
                {"Authorization": f"Bearer {secret}"},
                {"Authorization": "Bearer ilk_x"},
                {"Authorization": "Basic Ym9iOmJvYg=="},
                {"Cookie": "interlock=guessed", "Origin": "http://localhost:8080"},
                {"Origin": "http://localhost:8080"},
            ):
                for method, path, body, _ in MATRIX:
                    answer = await h.client(**headers).request(method, path.format(session="x", approval="x", token="x"), json=body)
                    assert answer.status_code == 401 and "error" in answer.json(), (path, headers, answer.text)
            assert h.gate.sessions == {}

    asyncio.run(run())


def test_trust_ends_between_two_calls(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            bob, olga = await h.program("bob"), await h.program("olga")
            assert (await bob.get("/api/sessions")).status_code == 200
            assert (await olga.post("/api/principals/bob/revoke")).json() == {"revoked": "bob"}
            assert (await bob.get("/api/sessions")).status_code == 401
            assert (await olga.post("/api/principals/olga/revoke")).json() == {"revoked": "olga"}  # even one's own
            assert (await olga.get("/api/whoami")).status_code == 401

    asyncio.run(run())


def test_health_needs_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            answer = await h.client().get("/api/health")
            assert (answer.status_code, answer.json()) == (200, {"ok": True})
            h.gate.evidence._writer.failed = "the disk is gone"
            assert (await h.client().get("/api/health")).status_code == 503
            h.gate.evidence._writer.failed = ""

    asyncio.run(run())


def test_who_and_where(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            claude = await h.program("claude")
            me = (await claude.get("/api/whoami")).json()
            assert (me["principal"], me["kind"], me["owner"], me["gateway"]) == ("claude", "agent", "bob", "1.2.3")
            assert (await claude.get("/api/resources")).json() == {
                "resources": [{"name": "orders-db", "kind": "lines", "labels": ["env:test"], "verdict": "allow"}]
            }

    asyncio.run(run())


def test_an_approval_releases_what_waits(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            _, held = await held_delete(h)
            waiting = asyncio.create_task(h.gate.wait(held))
            bob, alice = await h.program("bob"), await h.program("alice")
            mine = (await alice.get(f"/api/approvals/{held.id}")).json()
            assert mine["text"] == "DELETE FROM customers" and not mine["may_answer"] and mine["effects"] == ["sql.delete public.customers"]
            other = (await (await h.program("olga")).get(f"/api/approvals/{held.id}")).json()
            assert other["text"] is None
            answer = await bob.post(f"/api/approvals/{held.id}", json={"approve": True, "note": "ok"})
            assert answer.status_code == 200 and answer.json()["missing"] == []
            permit = await asyncio.wait_for(waiting, 10)
            assert not isinstance(permit, Held | Refusal) and permit.exchange.approved_by == ("bob",)
            assert (await bob.get("/api/approvals")).json() == {"approvals": []}
            [used] = (await bob.get("/api/approvals?all=1")).json()["approvals"]
            assert (used["state"], used["votes"][0]["note"]) == ("used", "ok")
            again = await bob.post(f"/api/approvals/{held.id}", json={"approve": True})
            assert again.status_code == 409 and "over" in again.json()["error"]

    asyncio.run(run())


def test_a_refusal_reaches_who_waits(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            _, held = await held_delete(h)
            waiting = asyncio.create_task(h.gate.wait(held))
            await (await h.program("bob")).post(f"/api/approvals/{held.id}", json={"approve": False, "note": "not today"})
            refusal = await asyncio.wait_for(waiting, 10)
            assert isinstance(refusal, Refusal) and "not today" in refusal.reason

    asyncio.run(run())


def test_nobody_answers_their_own_or_their_agents_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            bob = await h.program("bob")
            for asker in ("bob", "claude"):
                held = await h.ask(await h.session(asker), f"DELETE FROM {asker}", where=False)
                assert isinstance(held, Held)
                assert not (await bob.get(f"/api/approvals/{held.id}")).json()["may_answer"]
                answer = await bob.post(f"/api/approvals/{held.id}", json={"approve": True})
                assert answer.status_code == 409 and "own" in answer.json()["error"]

    asyncio.run(run())


def test_a_killed_session_ends_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await h.session("alice")
            told: list[str] = []
            session.on_end = told.append
            olga = await h.program("olga")
            assert (await olga.delete(f"/api/sessions/{session.id}")).json() == {"ended": session.id}
            assert told == ["ended by olga at the console"]
            answer = await h.ask(session, "SELECT 1")
            assert isinstance(answer, Refusal) and answer.fatal
            await h.gate.close(session, session.ended)
            assert (await olga.delete(f"/api/sessions/{session.id}")).status_code == 409
            assert (await olga.delete("/api/sessions/none")).status_code == 404

    asyncio.run(run())


def test_tokens_are_issued_listed_and_revoked(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            olga = await h.program("olga")
            made = (await olga.post("/api/tokens", json={"principal": "bob", "audiences": ["console"], "ttl_s": 60})).json()
            bob = h.client(made["token"])
            assert (await bob.get("/api/whoami")).json()["principal"] == "bob"
            listed = (await olga.get("/api/tokens")).text
            assert made["id"] in listed and made["token"] not in listed
            assert (await olga.delete(f"/api/tokens/{made['id']}")).json() == {"revoked": made["id"]}
            assert (await bob.get("/api/whoami")).status_code == 401
            assert (await olga.delete("/api/tokens/none")).status_code == 404
            for wrong in ({"principal": "nobody", "audiences": ["mcp"]}, {"principal": "bob", "audiences": ["moon"]}, {"principal": "bob"}):
                assert (await olga.post("/api/tokens", json=wrong)).status_code == 400
            recorded = b"".join(moment.data for each in h.gate.evidence.sessions() for moment in h.gate.evidence.timeline(each.id, {}))
            assert b"issue a token for bob" in recorded and made["token"].encode() not in recorded

    asyncio.run(run())


def test_policy_and_explanations(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            bob = await h.program("bob")
            policy = (await bob.get("/api/policy")).json()
            [rule] = [each for each in policy["rules"] if each["id"] == "no-where"]
            assert (rule["effect"], rule["hold"], rule["reason"]) == ("forbid", ["dba"], "DELETE without WHERE") and not policy["error"]
            ask = {"as": "eve", "on": "orders-db"}
            said = (await bob.post("/api/policy/explain", json={**ask, "action": "connect"})).json()
            assert said["decision"]["verdict"] == "deny" and "staff-connect" in str(said["effects"])
            said = (await bob.post("/api/policy/explain", json={**ask, "text": "SELECT 1"})).json()
            assert said["asked"] == ["eve", "orders-db", "SELECT 1"]
            for wrong, status in (({}, 400), ({"text": "x", "action": "y"}, 400), ({"action": "no.such"}, 200)):
                assert (await bob.post("/api/policy/explain", json={**ask, **wrong})).status_code == status
            for wrong in ({"as": "nobody", "on": "orders-db", "action": "connect"}, {"as": "eve", "on": "none", "action": "connect"}):
                assert (await bob.post("/api/policy/explain", json=wrong)).status_code == 404
            (tmp_path / "policy.cedar").write_text("nonsense")
            h.gate.policy.reload()
            assert "policy.cedar" in (await bob.get("/api/policy")).json()["error"]

    asyncio.run(run())


def test_numbers_are_bounded(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            bob = await h.program("bob")
            for query in ("limit=0", "limit=x", "limit=-1", "limit=1e3", "limit=99999999999", "limit=²", "limit="):
                assert (await bob.get(f"/api/sessions?{query}")).status_code == 400, query

    asyncio.run(run())


def test_bodies_are_bounded_and_exact(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            bob = await h.program("bob")
            for body in (b"", b"{", b"[]", b'{"approve": 1}', b'{"approve": true, "extra": 1}'):
                answer = await bob.post("/api/approvals/ap-x", content=body)
                assert answer.status_code == 400 and answer.json()["code"] == "request"
            assert (await bob.post("/api/approvals/ap-x", content=b"x" * 70_000)).status_code == 413
            assert (await bob.get("/api/nothing")).status_code == 404
            assert (await bob.get("/api/approvals/ap-x")).status_code == 404
            assert (await bob.get("/api/sessions/..%2f..%2fkeys/timeline")).status_code == 404

    asyncio.run(run())


def test_a_cookie_may_read_and_needs_its_form_token_to_change(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            browser = await h.browser("olga")
            session = await h.session("alice")
            assert (await browser.get("/api/whoami")).json()["principal"] == "olga"
            answer = await browser.delete(f"/api/sessions/{session.id}")
            assert (answer.status_code, answer.json()["code"]) == (403, "csrf") and not session.ended
            page = (await browser.get("/sessions")).text
            token = page.split('name="csrf" value="')[1].split('"')[0]
            assert (await browser.delete(f"/api/sessions/{session.id}", headers={"X-CSRF-Token": token})).status_code == 200

    asyncio.run(run())


def test_a_held_request_says_what_it_waits_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await h.session("alice")
            ann, bob = await h.program("ann"), await h.program("bob")
            path = f"/api/sessions/{session.id}/timeline"
            answer = await ann.get(path)
            assert (answer.status_code, answer.json()["code"], answer.json()["rule"]) == (403, "held", "two-pairs-of-eyes")
            request = answer.json()["approval"]
            assert answer.json()["link"].endswith(f"/approvals/{request}")
            await bob.post(f"/api/approvals/{request}", json={"approve": True})
            assert (await ann.get(path)).status_code == 200
            assert (await ann.get(path)).status_code == 403  # an approval is spent

    asyncio.run(run())
