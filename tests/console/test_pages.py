from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest

from interlock.console.pages import _local
from interlock.exchange import Held, Refusal
from tests.console.house import URL, form_token, house

EVIL = "SELECT '<script>alert(1)</script>\x1b[2J\u202e' FROM customers"


def test_signing_in_and_out(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            client = h.client(Origin=URL)
            assert (await client.get("/approvals/ap-1?x=1")).headers["location"] == "/signin?next=%2Fapprovals%2Fap-1%3Fx%3D1"
            page = await client.get("/signin?next=/approvals")
            form = {"csrf": form_token(page.text), "token": await h.token("bob"), "next": "/approvals"}
            answer = await client.post("/signin", data=form)
            assert (answer.status_code, answer.headers["location"]) == (303, "/approvals")
            [cookie] = [each for each in answer.headers.get_list("set-cookie") if each.startswith("interlock=")]
            assert "HttpOnly" in cookie and "SameSite=strict" in cookie and form["token"] not in cookie
            page = await client.get("/approvals")
            assert page.status_code == 200 and "default-src 'self'" in page.headers["content-security-policy"]
            assert (await client.post("/signout", data={"csrf": form_token(page.text)})).headers["location"] == "/signin"
            assert (await client.get("/approvals")).status_code == 303
            client.cookies.set("interlock", cookie.split(";")[0].split("=", 1)[1])
            assert (await client.get("/approvals")).status_code == 303  # nor with the cookie kept

    asyncio.run(run())


def test_sign_in_refuses_without_saying_more_than_it_should(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            client = h.client(Origin=URL)
            csrf = form_token((await client.get("/signin")).text)
            wrong = await client.post("/signin", data={"csrf": csrf, "token": "ilk_x"})
            assert wrong.status_code == 401 and "is not accepted" in wrong.text
            csrf = form_token(wrong.text)
            eve = await client.post("/signin", data={"csrf": csrf, "token": await h.token("eve")})
            assert eve.status_code == 403 and "no rule permits connect" in eve.text and "platform team" in eve.text
            door = await client.post("/signin", data={"csrf": form_token(eve.text), "token": await h.token("bob", "mcp")})
            assert door.status_code == 401
            for wrong_token in ("", csrf, "x"):  # none, an older page's, any
                assert (await client.post("/signin", data={"csrf": wrong_token, "token": await h.token("bob")})).status_code == 403
            assert h.gate.sessions == {}

    asyncio.run(run())


def test_a_link_from_elsewhere_is_asked_again_from_our_own_page(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            answer = await h.client().get("/approvals/ap-1", headers={"Sec-Fetch-Site": "cross-site"})
            assert answer.status_code == 200 and 'content="0; url=/approvals/ap-1"' in answer.text

    asyncio.run(run())


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/approvals/ap-1?x=1", True),
        ("//evil.example", False),
        ("/\\evil.example", False),
        ("https://evil.example", False),
        ("javascript:alert(1)", False),
        ("", False),
        ("/a\nb", False),
    ],
)
def test_one_comes_back_to_our_own_pages_only(target: str, kept: bool) -> None:
    assert _local(target) == (target if kept else "/")


def test_forms_need_their_token(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            browser, session = await h.browser("olga"), await h.session("alice")
            for form in ({}, {"csrf": "x"}, {"csrf": form_token((await h.client(Origin=URL).get("/signin")).text)}):
                assert (await browser.post(f"/sessions/{session.id}/end", data=form)).status_code == 403
            assert not session.ended
            foreign = await browser.post(f"/sessions/{session.id}/end", headers={"Origin": "http://evil.example"})
            assert foreign.status_code == 403 and not session.ended
            token = form_token((await browser.get(f"/sessions/{session.id}")).text)
            assert (await browser.post(f"/sessions/{session.id}/end", data={"csrf": token})).status_code == 303
            assert "ended by olga at the console" in session.ended

    asyncio.run(run())


def test_nothing_shown_can_act(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await h.session("alice")
            await h.run(session, EVIL, f"columns: <b>x</b>\nrow: {EVIL}")
            held = await h.ask(session, f"DELETE {EVIL}", where=False)
            assert isinstance(held, Held)
            bob = await h.browser("bob")
            for path in (
                f"/sessions/{session.id}",
                "/approvals",
                f"/approvals/{held.id}",
                "/approvals?all=1",
                f"/sessions?q={quote(EVIL)}",
            ):
                page = await bob.get(path)
                assert page.status_code == 200
                assert "<script>alert" not in page.text and "&lt;script&gt;alert(1)" in page.text
                assert "\x1b" not in page.text and "\u202e" not in page.text and "⟨U+202E⟩" in page.text
                assert "<b>x" not in page.text and " style=" not in page.text and " onclick" not in page.text

    asyncio.run(run())


def test_the_list_finds_and_sorts(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            old, agent = await h.session("alice"), await h.session("claude")
            await h.gate.close(old, "bye")
            bob = await h.browser("bob")

            async def shown(query: str) -> list[str]:
                page = (await bob.get(f"/sessions?{query}")).text
                return [part.split('"')[0] for part in page.split('<a href="/sessions/')[1:]]

            assert await shown("") == [agent.id, old.id]
            assert await shown("q=ALICE orders") == [old.id]
            assert await shown("q=alice nowhere") == []
            assert await shown("state=live") == [agent.id]
            assert len(await shown("own=1")) == 3

    asyncio.run(run())


def test_a_session_tells_its_story(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await h.session("alice")
            await h.run(session, "SELECT name, email FROM customers", "columns: name | email\nrow: ada | [masked]\nrow: grace | [masked]")
            bob = await h.browser("bob")
            page = (await bob.get(f"/sessions/{session.id}")).text
            assert "name  │ email" in page and "grace │ [masked]" in page and "email masked × 2" in page and "staff-sql" in page
            assert 'data-refresh="5"' in page and "End session" not in page  # bob may not
            await h.gate.close(session, "bye")
            page = (await bob.get(f"/sessions/{session.id}?verify=1")).text
            assert "data-refresh" not in page and "the seal is signed by the gateway" in page
            assert (await bob.get("/sessions/none")).status_code == 404

    asyncio.run(run())


def test_who_may_not_replay_sees_that_there_is_a_session(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await h.session("alice")
            await h.run(session, "SELECT secret", "row: 1")
            page = await (await h.browser("olga")).get(f"/sessions/{session.id}")
            assert page.status_code == 200 and "no rule permits console.replay" in page.text and "SELECT secret" not in page.text
            assert "End session" in page.text
            ann, bob = await h.browser("ann"), await h.program("bob")
            page = await ann.get(f"/sessions/{session.id}")
            assert "/approvals/ap-" in page.text and "SELECT secret" not in page.text
            [request] = [each for each in (await bob.get("/api/approvals")).json()["approvals"] if each["principal"] == "ann"]
            await bob.post(f"/api/approvals/{request['id']}", json={"approve": True})
            page = await ann.get(f"/sessions/{session.id}")
            assert "SELECT secret" in page.text and "data-refresh" not in page.text  # by itself it would ask again and again

    asyncio.run(run())


def test_answering_on_the_page(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await h.session("alice")
            held = await h.ask(session, "DELETE FROM customers", where=False)
            assert isinstance(held, Held)
            waiting = asyncio.create_task(h.gate.wait(held))
            alice, bob = await h.browser("alice"), await h.browser("bob")
            assert 'value="approve"' not in (await alice.get(f"/approvals/{held.id}")).text
            page = (await bob.get(f"/approvals/{held.id}")).text
            assert page.index("sql.delete public.customers") < page.index("<pre")  # what it would do comes before its words
            form = {"csrf": form_token(page), "note": "as agreed"}
            assert (await bob.post(f"/approvals/{held.id}", data=form)).status_code == 400
            answer = await bob.post(f"/approvals/{held.id}", data={**form, "answer": "approve"})
            assert (answer.status_code, answer.headers["location"]) == (303, f"/approvals/{held.id}")
            permit = await asyncio.wait_for(waiting, 10)
            assert not isinstance(permit, Held | Refusal)
            page = (await bob.get(f"/approvals/{held.id}")).text
            assert "as agreed" in page and 'value="approve"' not in page
            over = await bob.post(f"/approvals/{held.id}", data={**form, "answer": "refuse"})
            assert over.status_code == 409 and "is over" in over.text

    asyncio.run(run())


def test_trust_that_ends_ends_the_page(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            bob = await h.browser("bob")
            await h.identity.revoke_principal("bob")
            page = await bob.get("/sessions")
            assert page.status_code == 401 and "rights of bob were changed or revoked" in page.text

    asyncio.run(run())


def test_policy_and_what_is_not_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            bob = await h.browser("bob")
            (tmp_path / "policy.cedar").write_text("permit <nonsense>")
            h.gate.policy.reload()
            page = (await bob.get("/policy")).text
            assert "no-where" in page and "the version above stays in force" in page and "<nonsense>" not in page
            assert (await bob.get("/")).headers["location"] == "/sessions"
            missing = await bob.get("/nowhere")
            assert missing.status_code == 404 and "text/html" in missing.headers["content-type"]
            for name in ("console.css", "console.js", "icon.svg"):
                assert (await bob.get(f"/static/{name}")).status_code == 200
            assert (await bob.get("/static/../pages.py")).status_code in (303, 404)

    asyncio.run(run())


def test_pages_load_nothing_from_elsewhere() -> None:
    folder = Path(__file__).parents[2] / "src" / "interlock" / "console"
    for file in [*(folder / "templates").iterdir(), *(folder / "static").iterdir()]:
        text = file.read_text()
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text, file.name
        assert "|safe" not in text.replace(" ", "") and "<style" not in text and " style=" not in text and "javascript:" not in text
        assert "<script>" not in text, file.name
