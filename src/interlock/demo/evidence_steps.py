"""The story's last act: what was recorded is sealed, replayed and verified, and one changed byte is found."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

from interlock.demo.clients import ConsoleApi
from interlock.demo.stage import Stage, Step, claim
from interlock.evidence import verify

_POLL_S = 0.05
_COPIES_MAX = 5
"""A copy may catch the gateway between a leaf of the log and the signature over it; the next one does not."""


async def replayed(stage: Stage) -> str:
    bob = stage.console("bob")
    try:
        await _sealed(bob, stage.held_session)
        replay = await bob.get(f"/api/sessions/{stage.held_session}/timeline")
    finally:
        await bob.close()
    session, moments = replay["session"], replay["moments"]
    stage.teller.says(f"  session {session['id']} of {session['principal']} on {session['resource']}, {session['state']}:")
    told = [line for moment in moments for line in _told(moment)]
    stage.teller.shows("\n".join(told))
    everything = "\n".join(told)
    claim("DELETE FROM orders" in everything, "the replay shows the statement")
    claim("held" in everything and "no-where" in everything, "the replay shows that it was held, and by which rule")
    claim("by bob" in everything, "the replay shows who approved it")
    return f"{len(moments)} moments, from connect to close"


async def verified(stage: Stage) -> str:
    """A copy is verified and changed: the gateway goes on writing into the original."""
    with tempfile.TemporaryDirectory(prefix="interlock-verify-") as folder:
        copy = Path(folder) / "evidence"
        key = (stage.evidence / "public.key").read_text()
        for _ in range(_COPIES_MAX):
            await asyncio.to_thread(_copy, stage.evidence, copy)
            sound = await asyncio.to_thread(verify, copy, key)
            if sound.ok:
                break
        claim(sound.ok, f"the evidence verifies: {'; '.join(map(str, sound.failures))}")
        stage.teller.proven(f"{sound.lines()[-1]} — with nothing but the public key {key.strip()}")

        segment = copy / "sessions" / stage.held_session / "000000.seg"
        place, was, becomes = _flip(segment)
        stage.teller.types("mallory", f"changes one byte of {segment.relative_to(copy)}: byte {place}, {was:#04x} → {becomes:#04x}")
        damaged = await asyncio.to_thread(verify, copy, key)
    stage.teller.shows("\n".join(map(str, damaged.failures)), "red")
    claim(not damaged.ok, "one changed byte is noticed")
    claim(
        {failure.session for failure in damaged.failures} == {stage.held_session},
        "verify points at the session that was changed, and no other",
    )
    claim(any(segment.name in failure.detail for failure in damaged.failures), "verify points at the place")
    return f"verified offline with the public key; one byte changed in {segment.name} of session {stage.held_session} is found there"


async def _sealed(bob: ConsoleApi, session: str) -> None:
    """Sealing happens beside the data path, right after the session's end; the step's deadline bounds the wait."""
    while (await bob.get(f"/api/sessions/{session}"))["state"] != "sealed":  # noqa: ASYNC110 - it is far away, over HTTP
        await asyncio.sleep(_POLL_S)


def _told(moment: dict[str, Any]) -> list[str]:
    """A moment of the replay in a few words; the whole is at the console."""
    facts = moment["facts"]
    match moment["kind"]:
        case "recorded" if moment["exchange"]:
            arrow = "→" if moment["direction"] == "up" else "←"
            return [f"{arrow} {line}" for line in moment["lines"]]
        case "held":
            return [f"  held for {', '.join(facts['groups'])} as {facts['approval']} by rule {', '.join(facts['rules'])}"]
        case "approval":
            return [f"  {facts['approval']} {facts['state']} by {', '.join(facts['by'])}"]
        case "intent":
            return [f"  {facts['verdict']} by {', '.join(facts['rules'])}: {', '.join(facts['effects'])}"]
        case _:
            return []


def _copy(evidence: Path, copy: Path) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(evidence, copy, ignore=shutil.ignore_patterns("spool"))


def _flip(path: Path) -> tuple[int, int, int]:
    """Change one byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    place = len(data) // 2
    was = data[place]
    data[place] ^= 0x01
    path.write_bytes(data)
    return place, was, data[place]


REPLAYED = Step("replayed", "the recording of alice's session is replayed", replayed)
VERIFIED = Step("verified", "the evidence is verified offline; one byte is changed, and found", verified)
