"""Waiting: the work's own end wins, and whoever goes away takes it along."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mcp_types import CallToolResult

from interlock.net import mcp_waiting
from interlock.net.mcp_waiting import Context, Waiting, while_waiting

DONE = CallToolResult(content=[])


class Listener:
    """What of a request's context is used: whoever listens to progress."""

    def __init__(self, fails: bool = False) -> None:
        self.heard: list[str] = []
        self.enough = asyncio.Event()
        self._fails = fails
        self.session = self

    async def report_progress(self, progress: float, total: float | None, message: str) -> None:
        self.heard.append(message)
        if len(self.heard) >= 2:
            self.enough.set()
        if self._fails:
            raise ConnectionError("nobody listens")


def context(listener: Listener) -> Context:
    return cast(Context, SimpleNamespace(session=listener))


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_waiting, "PROGRESS_S", 0.01)


@pytest.mark.parametrize("fails", [False, True])
def test_progress_is_told_until_the_work_is_done(fails: bool) -> None:
    async def go() -> None:
        listener = Listener(fails)

        async def work() -> CallToolResult:
            await listener.enough.wait()
            return DONE

        assert await while_waiting(context(listener), Waiting(), work()) is DONE
        assert listener.heard[:2] == ["running", "running"]

    asyncio.run(go())


def test_the_works_failure_is_the_callers() -> None:
    async def work() -> CallToolResult:
        raise LookupError("no")

    async def go() -> None:
        with pytest.raises(LookupError):
            await while_waiting(context(Listener()), Waiting(), work())

    asyncio.run(go())


def test_cancelled_however_often_the_work_ends_in_its_own_time() -> None:
    async def go() -> None:
        ended: list[str] = []
        begun, over = asyncio.Event(), asyncio.Event()

        async def work() -> CallToolResult:
            try:
                begun.set()
                await asyncio.sleep(60)
            finally:
                for step in ("withdrawn", "settled"):
                    await asyncio.sleep(0.01)
                    ended.append(step)
                over.set()
            return DONE

        waiting: asyncio.Task[Any] = asyncio.create_task(while_waiting(context(Listener()), Waiting(), work()))
        await begun.wait()
        for _ in range(5):
            waiting.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(over.wait(), 10)
        assert ended == ["withdrawn", "settled"]

    asyncio.run(go())
