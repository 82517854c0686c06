from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from interlock.console import actions
from interlock.exchange import Refusal
from tests.console.house import POLICY, House, house

REVEAL = POLICY + '@id("fraud") permit (principal in Group::"dba", action == Action::"reveal", resource == DataClass::"email");'


async def told(h: House) -> str:
    """A session that has ended; its id."""
    session = await h.session("alice")
    await h.run(session, "SELECT email FROM customers WHERE email = 'ada@example.com'", "columns: email\nrow: [masked]")
    refused = await h.ask(session, "DELETE FROM customers", where=True)
    assert not isinstance(refused, Refusal)
    await h.gate.close(session, "bye")
    return session.id


def leaves(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "evidence" / "log" / "leaves.jsonl").read_text().splitlines()]


def test_a_timeline_tells_all_in_order_and_masks_for_who_looks(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await told(h)
            answer = (await (await h.program("bob")).get(f"/api/sessions/{session}/timeline")).json()
            assert answer["session"]["state"] == "sealed" and answer["next"] is None
            moments = answer["moments"]
            assert [each["seq"] for each in moments] == list(range(len(moments)))
            assert moments[0]["kind"] == "open" and moments[-1]["kind"] == "close"
            up = [line for each in moments if each["direction"] == "up" for line in each["lines"]]
            assert up[0].startswith("SELECT email FROM customers WHERE email = '") and "ada@example.com" not in str(moments)
            assert ["columns: email", "row: [masked]"] in [each["lines"] for each in moments]
            assert {"email": 2} in [each["facts"].get("masked") for each in moments]

    asyncio.run(run())


def test_who_may_reveal_sees_what_was_sent(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path, REVEAL) as h:
            session = await told(h)
            answer = await (await h.program("bob")).get(f"/api/sessions/{session}/timeline")
            assert "ada@example.com" in answer.text

    asyncio.run(run())


def test_looking_is_logged_before_anything_is_shown(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await told(h)
            bob, alice = await h.program("bob"), await h.program("alice")
            assert (await alice.get(f"/api/sessions/{session}/timeline")).status_code == 403
            assert not [leaf for leaf in leaves(tmp_path) if leaf["kind"] == "viewed"]
            for _ in range(2):
                await bob.get(f"/api/sessions/{session}/timeline")
            visit = (await bob.get("/api/whoami")).json()["session"]
            [leaf] = [leaf for leaf in leaves(tmp_path) if leaf["kind"] == "viewed"]
            assert (leaf["session"], leaf["viewer"]) == (session, visit)
            looks = [m.facts["title"] for m in h.gate.evidence.timeline(visit, {}) if m.kind == "intent"]
            assert looks.count(f"replay session {session}") == 2

    asyncio.run(run())


def test_a_timeline_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await told(h)
            bob = await h.program("bob")
            whole = (await bob.get(f"/api/sessions/{session}/timeline")).json()["moments"]
            pieces: list[Any] = []
            after: int | None = -1
            while after is not None:
                answer = (await bob.get(f"/api/sessions/{session}/timeline?limit=2&after={after}")).json()
                assert len(answer["moments"]) <= 2
                pieces += answer["moments"]
                after = answer["next"]
            assert pieces == whole
            monkeypatch.setattr(actions, "TIMELINE_CHARS_MAX", 10)
            assert len((await bob.get(f"/api/sessions/{session}/timeline")).json()["moments"]) < len(whole)

    asyncio.run(run())


def test_a_live_session_is_seen_while_it_runs(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await h.session("alice")
            bob = await h.program("bob")
            before = (await bob.get(f"/api/sessions/{session.id}/timeline")).json()
            await h.run(session, "SELECT 1", "row: 1")
            after = (await bob.get(f"/api/sessions/{session.id}/timeline?after={before['moments'][-1]['seq']}")).json()
            assert after["session"]["state"] == "live"
            assert [each["lines"] for each in after["moments"] if each["kind"] == "recorded"] == [["SELECT 1"], ["row: 1"]]
            assert (await bob.get(f"/api/sessions/{session.id}/verify")).status_code == 409
            live = (await bob.get("/api/sessions?live=1")).json()["sessions"]
            assert session.id in [each["id"] for each in live]
            assert len((await bob.get("/api/sessions?limit=1")).json()["sessions"]) == 1

    asyncio.run(run())


def test_verification_points_at_a_changed_byte(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await told(h)
            bob = await h.program("bob")
            assert (await bob.get(f"/api/sessions/{session}/verify")).json()["ok"] is True
            journal = tmp_path / "evidence" / "sessions" / session / "journal.msgpack"
            data = bytearray(journal.read_bytes())
            data[len(data) // 2] ^= 1
            journal.write_bytes(data)
            report = (await bob.get(f"/api/sessions/{session}/verify")).json()
            assert report["ok"] is False and any(claim["status"] == "failed" for claim in report["claims"])

    asyncio.run(run())


def test_the_consoles_own_sessions_are_recorded_and_readable(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            session = await told(h)
            bob = await h.program("bob")
            await bob.get(f"/api/sessions/{session}/timeline")
            visit = (await bob.get("/api/whoami")).json()["session"]
            moments = (await bob.get(f"/api/sessions/{visit}/timeline")).json()["moments"]
            # The console's own protocol has a renderer without being told of one.
            assert [f"replay session {session}"] in [each["lines"] for each in moments]

    asyncio.run(run())
