"""What the tests of this room share: keys, sessions, and a recorder that lives for one coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from interlock.evidence import Evidence, Keys, Report, verify
from interlock.exchange import Principal, Resource, Session


class Clock:
    """Moves only when told; UTC seconds."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def keys_of(root: Path) -> Keys:
    return Keys.load_or_create(root / "keys")


def session_of(name: str, *, agent: bool = False) -> Session:
    ann = Principal("ann", groups=frozenset({"dba", "eng"}))
    principal = Principal("bot", "agent", on_behalf_of=ann) if agent else ann
    return Session(name, principal, Resource("shop", "postgres"), "postgres", "192.0.2.1:5000", 1_700_000_000.0)


def play(evidence: Evidence, session: Session, *, exchanges: int = 3, size: int = 40) -> None:
    """A session as the gate tells it: each exchange allowed, sent, answered and settled; then one that is refused."""
    evidence.open(session, {"policy": "p1"})
    for number in range(1, exchanges + 1):
        evidence.record(session.id, "up", number, f"select {number} ".encode() * (size // 10 + 1))
        evidence.note(session.id, "intent", {"exchange": number, "verdict": "allow", "policy": "p1", "title": "select ?"})
        evidence.record(session.id, "down", number, b"row %d " % number * (size // 6 + 1))
        evidence.note(session.id, "outcome", {"exchange": number, "outcome": "done", "rows": 1, "masked": {"email": 2}})
    evidence.record(session.id, "up", exchanges + 1, b"drop table x")
    evidence.note(session.id, "intent", {"exchange": exchanges + 1, "verdict": "deny", "policy": "p1"})


@asynccontextmanager
async def recorder(root: Path) -> AsyncIterator[Evidence]:
    evidence = await Evidence.start(root / "evidence", keys_of(root), clock=Clock())
    try:
        yield evidence
    finally:
        await evidence.stop()


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def vkey(root: Path) -> str:
    return (root / "evidence" / "public.key").read_text()


def check(root: Path, *, secrets: bool = False) -> Report:
    return verify(root / "evidence", vkey(root), secrets=keys_of(root).secret if secrets else None)


def files_below(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())
