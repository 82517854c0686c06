"""A whole gateway with an upstream MCP server, on a thread of its own, and the official client that calls it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar
from unittest import mock

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from interlock.app import App, running
from interlock.approval import Request
from interlock.config import load
from interlock.identity import Proof
from interlock.net.mcp import McpDoor

PATIENCE_S = 2.0
CALL_S = 3.0
Mode = Literal["auto", "legacy"]
MODES: tuple[Mode, ...] = ("auto", "legacy")
T = TypeVar("T")


class House:
    """`app` runs on the house's own loop: reach it through `ask` only."""

    def __init__(self, folder: Path, config: str, policy: str) -> None:
        (folder / "policy.cedar").write_text(policy)
        (folder / "interlock.yaml").write_text(config)
        self._config = load(folder / "interlock.yaml")
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._tokens: dict[tuple[str, ...], str] = {}
        self.app: App

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            with mock.patch("interlock.app.McpDoor", functools.partial(McpDoor, patience_s=PATIENCE_S, call_s=CALL_S)):
                async with running(self._config) as self.app:
                    self._ready.set()
                    await self._stop.wait()
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._ready.set()

    def __enter__(self) -> House:
        self._thread.start()
        assert self._ready.wait(60)
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.app.http.port}/mcp"

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def token(self, principal: str, *audiences: str) -> str:
        """The same one each time: a bearer's sessions stay open for a while, and are counted."""
        key = (principal, *audiences)
        if key not in self._tokens:
            self._tokens[key] = await self.fresh_token(principal, *audiences)
        return self._tokens[key]

    async def fresh_token(self, principal: str, *audiences: str) -> str:
        return (await self.ask(self.app.identity.issue(principal, audiences or ("mcp",))))[0]

    async def answer(self, request: Request, approve: bool, person: str = "bob") -> None:
        proof = Proof.of(await self.token(person, "console"), "console")
        approver = await self.ask(self.app.identity.verify(proof))
        await self.ask(self.app.approvals.answer(request.id, approver, approve, "because"))

    async def held(self, principal: str) -> Request:
        """The one request of the principal that waits, as soon as there is one."""
        async with asyncio.timeout(20):
            while True:
                found = [each for each in await self.ask(self.app.approvals.pending()) if each.principal == principal]
                if found:
                    return found[0]
                await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def client(self, principal: str, mode: Mode = "auto", *, token: str = "") -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {token or await self.token(principal)}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            async with Client(streamable_http_client(self.url, http_client=http), mode=mode) as client:
                yield client


@contextlib.contextmanager
def house(folder: Path, config: str, policy: str) -> Iterator[House]:
    with House(folder, config, policy) as built:
        yield built


def text(result: CallToolResult) -> str:
    return "\n".join(getattr(block, "text", "") for block in result.content)


def word(result: CallToolResult) -> dict[str, Any]:
    """What the gateway says to machines."""
    return dict((result.meta or {})["interlock"])
