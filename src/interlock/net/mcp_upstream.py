"""Upstream MCP servers: one supervised connection per resource, over stdio (a child process) or HTTP.

The launch line comes from the configuration only; of the gateway's own environment the child gets no more than the SDK's
short list (PATH, HOME and the like) and what the configuration names. A server that dies is started again, ever more
slowly. What a server asks of its client (sampling, elicitation, roots) is refused, and what it says beside a result
(logging, progress) is dropped: neither would pass the gate.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import httpx2
import msgspec
import structlog
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED, CallToolResult, TextContent, Tool

from interlock.errors import InterlockError, UpstreamError
from interlock.exchange import Cleared, Credential, Resource

CALL_S = 60.0
"""How long upstream may take for one request, in seconds."""
READY_S = 15.0
"""How long a caller waits for a server that is (re)starting, in seconds."""
LIST_READY_S = 3.0
"""How long a listing waits for it: the other servers' tools are listed meanwhile."""
WATCH_S = 10.0
"""How often a server is asked what tools it has: it notices one that died in silence."""
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
"""Waits between starts of a server that keeps dying."""
FAILURES_MAX = 2
"""Nobody waits for a server that failed so often in a row."""
STABLE_S = 60.0
"""A server that lived so long begins anew with the shortest wait."""
TOOLS_MAX, PAGES_MAX = 1_000, 100
"""More tools, or more pages of them, are not one server's."""

_log = structlog.get_logger("interlock.mcp")


class McpUpstream:
    """One server. `start` begins to supervise it; `call` and `tools` wait until it is up. `call_s`: how long one
    request may take, in seconds."""

    def __init__(
        self,
        resource: Resource,
        environment: Callable[[], Mapping[str, str]],
        credential: Callable[[], Credential],
        *,
        call_s: float = CALL_S,
    ) -> None:
        self.resource = resource
        self.known: Mapping[str, Tool] = {}
        """The tools that the server has, as it said last."""
        self._environment = environment
        self._credential = credential
        self._call_s = call_s
        self._client: Client | None = None
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name=f"mcp {self.resource.name}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def ready(self, wait_s: float = READY_S) -> None:
        """Returns once the server is up. Raises `UpstreamError` when it is not after `wait_s`; at once for a server
        that keeps failing."""
        self.start()
        try:
            async with asyncio.timeout(wait_s if self._failures < FAILURES_MAX else 0):
                await self._up.wait()
        except TimeoutError:
            raise UpstreamError(f"{self.resource.name} is not running", hint="try again later") from None

    async def tools(self, cleared: Cleared) -> list[Tool]:
        """All tools of the server. `cleared` is the permitted listing; it carries no argument."""
        await self.ready(LIST_READY_S)
        return await self._list(self._connected())

    async def call(self, cleared: Cleared) -> CallToolResult:
        """Make the permitted call, exactly as it was cleared. An error of the protocol (JSON-RPC) comes back as a
        result that is one. Raises `UpstreamError` when there is no answer."""
        document = msgspec.json.decode(cleared.data)
        await self.ready()
        session = self._connected().session
        try:
            result = await self._within(session.call_tool(document["name"], document["arguments"], allow_input_required=True))
        except MCPError as error:
            return CallToolResult(content=[TextContent(type="text", text=error.error.message)], is_error=True)
        if not isinstance(result, CallToolResult):
            raise UpstreamError(f"{self.resource.name} asks its client for input, which this gateway does not carry")
        return result

    def _connected(self) -> Client:
        if self._client is None:
            raise UpstreamError(f"{self.resource.name} was lost", hint="try again later")
        return self._client

    async def _list(self, client: Client) -> list[Tool]:
        tools: list[Tool] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            try:
                page = await self._within(client.list_tools(cursor=cursor))
            except MCPError:
                raise UpstreamError(f"{self.resource.name} does not list its tools") from None
            tools += page.tools
            cursor = page.next_cursor
            if len(tools) > TOOLS_MAX:
                break
            if cursor is None:
                self.known = {tool.name: tool for tool in tools}
                return tools
        raise UpstreamError(f"{self.resource.name} lists too many tools")

    async def _within(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The answer to one request. Raises `MCPError` when that is an error, `UpstreamError` when there is none."""
        name = self.resource.name
        try:
            async with asyncio.timeout(self._call_s):
                return await work
        except TimeoutError:
            raise UpstreamError(f"{name} did not answer within {self._call_s:g} s") from None
        except MCPError as error:
            if error.error.code != CONNECTION_CLOSED:
                raise
            self._lose()
            raise UpstreamError(f"{name} was lost before it answered") from None
        except (OSError, EOFError, anyio.ClosedResourceError, anyio.BrokenResourceError, httpx2.HTTPError):
            self._lose()
            raise UpstreamError(f"{name} was lost before it answered") from None
        except InterlockError:
            raise
        except Exception as error:  # its text may quote the answer
            _log.warning("mcp answer not understood", resource=name, error=type(error).__name__)
            raise UpstreamError(f"{name} gave an answer that cannot be read") from None

    def _lose(self) -> None:
        """The connection is gone: whoever comes now waits for the next one."""
        self._lost.set()
        self._up.clear()
        self._client = None

    async def _supervise(self) -> None:
        while True:
            began = time.monotonic()
            try:
                async with self._connect() as client:
                    self._lost.clear()
                    await self._list(client)
                    self._client = client
                    self._up.set()
                    await self._watch(client)
                _log.warning("mcp server lost", resource=self.resource.name)
            except (Exception, BaseExceptionGroup) as error:  # an SDK task group wraps what went wrong
                _log.warning("mcp server failed", resource=self.resource.name, error=type(error).__name__)
            finally:
                self._lose()
            self._failures = 1 if time.monotonic() - began > STABLE_S else self._failures + 1
            await asyncio.sleep(BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1])

    async def _watch(self, client: Client) -> None:
        """Until the server is lost."""
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(WATCH_S):
                    await self._lost.wait()
            except TimeoutError:
                await self._list(client)

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Client]:
        settings = self.resource.settings
        if "url" in settings:
            secret = self._credential().password
            headers = {"Authorization": f"Bearer {secret}"} if secret else {}
            async with httpx2.AsyncClient(headers=headers, timeout=self._call_s, trust_env=False, follow_redirects=False) as http:
                async with Client(streamable_http_client(str(settings["url"]), http_client=http), cache=None) as client:
                    yield client
            return
        command = cast("list[str]", settings["command"])
        parameters = StdioServerParameters(
            command=command[0], args=list(command[1:]), env=dict(self._environment()), cwd=str(settings.get("folder", "."))
        )
        with open(os.devnull, "w") as nowhere:  # noqa: ASYNC230 - /dev/null never blocks
            async with Client(stdio_client(parameters, errlog=nowhere), cache=None) as client:
                yield client
