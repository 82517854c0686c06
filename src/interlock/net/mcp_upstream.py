"""Upstream MCP servers: one supervised connection per resource, over stdio (a child process) or HTTP.

The launch line comes from the configuration only, the environment is clean but for what the configuration names,
and secrets are put in at start. A server that dies is started again, ever more slowly.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
import msgspec
import structlog
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Tool

from interlock.errors import InterlockError, UpstreamError
from interlock.exchange import Cleared, Credential, Resource

CALL_S = 60.0
"""How long upstream may take for one request, in seconds."""
READY_S = 15.0
"""How long a caller waits for a server that is (re)starting, in seconds."""
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
"""Waits between starts of a server that keeps dying."""
TOOLS_MAX = 1_000
"""More tools than that are not one server's."""

_log = structlog.get_logger("interlock.mcp")


class McpUpstream:
    """One server. `start` begins to supervise it; `call` and `tools` wait until it is up."""

    def __init__(self, resource: Resource, environment: Callable[[], Mapping[str, str]], credential: Callable[[], Credential]) -> None:
        self.resource = resource
        self._environment = environment
        self._credential = credential
        self._client: Client | None = None
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name=f"mcp {self.resource.name}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def tools(self, cleared: Cleared) -> list[Tool]:
        """All tools of the server. `cleared` is the permitted listing; it carries no argument."""
        client = await self._ready()
        tools: list[Tool] = []
        cursor: str | None = None
        while True:
            page = await self._within(client.list_tools(cursor=cursor))
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                return tools
            if len(tools) > TOOLS_MAX:
                raise UpstreamError(f"{self.resource.name} lists more than {TOOLS_MAX} tools")

    async def call(self, cleared: Cleared) -> CallToolResult:
        """Make the permitted call, exactly as it was cleared."""
        document = msgspec.json.decode(cleared.data)
        client = await self._ready()
        result = await self._within(client.session.call_tool(document["name"], document["arguments"]))
        if not isinstance(result, CallToolResult):
            raise UpstreamError(f"{self.resource.name} asks the client for input, which this version does not carry")
        return result

    async def _ready(self) -> Client:
        self.start()
        try:
            async with asyncio.timeout(READY_S):
                await self._up.wait()
        except TimeoutError:
            raise UpstreamError(f"{self.resource.name} is not running") from None
        assert self._client is not None
        return self._client

    async def _within(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            async with asyncio.timeout(CALL_S):
                return await work
        except TimeoutError:
            raise UpstreamError(f"{self.resource.name} did not answer within {CALL_S:.0f} s") from None
        except InterlockError:
            raise
        except (OSError, EOFError) as error:
            self._lost.set()
            raise UpstreamError(f"{self.resource.name} was lost: {type(error).__name__}") from error

    async def _supervise(self) -> None:
        failures = 0
        while True:
            try:
                async with self._connect() as client:
                    self._client = client
                    self._lost.clear()
                    self._up.set()
                    failures = 0
                    await self._watch(client)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # an SDK task group wraps what went wrong
                _log.warning("mcp server failed", resource=self.resource.name, error=type(error).__name__)
            finally:
                self._up.clear()
                self._client = None
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1

    async def _watch(self, client: Client) -> None:
        """Until the server is lost: a ping now and then notices one that died in silence."""
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(10.0):
                    await self._lost.wait()
            except TimeoutError:
                async with asyncio.timeout(CALL_S):
                    await client.list_tools()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Client]:
        settings = self.resource.settings
        if "url" in settings:
            secret = self._credential().password
            headers = {"Authorization": f"Bearer {secret}"} if secret else {}
            async with httpx2.AsyncClient(headers=headers, timeout=CALL_S, trust_env=False) as http:
                async with Client(streamable_http_client(str(settings["url"]), http_client=http)) as client:
                    yield client
            return
        command = cast("list[str]", settings["command"])
        parameters = StdioServerParameters(
            command=command[0], args=list(command[1:]), env=dict(self._environment()), cwd=str(settings.get("folder", "."))
        )
        with open(os.devnull, "w") as nowhere:  # noqa: ASYNC230 - /dev/null never blocks
            async with Client(stdio_client(parameters, errlog=nowhere)) as client:
                yield client
