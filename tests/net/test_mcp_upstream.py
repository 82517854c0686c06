"""One upstream server, without a gate: started, watched, started again; bounded in every way."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from interlock.errors import UpstreamError
from interlock.exchange import Cleared, Credential, Resource
from interlock.net import mcp_upstream
from interlock.net.mcp_upstream import McpUpstream
from interlock.protocols import mcp
from tests.net.mcp_house import text

ODD = Path(__file__).parent / "odd_server.py"


class Piece:
    """Bytes as the gate would clear them; the upstream reads `data` only."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def cleared(tool: str, **arguments: object) -> Cleared:
    return cast(Cleared, Piece(mcp.call(Resource("odd", "mcp"), tool, arguments).content))


@contextlib.asynccontextmanager
async def odd(command: tuple[str, ...] = (sys.executable, str(ODD)), call_s: float = 2.0) -> AsyncIterator[McpUpstream]:
    upstream = McpUpstream(Resource("odd", "mcp", settings={"command": command}), dict, lambda: Credential(""), call_s=call_s)
    upstream.start()
    try:
        yield upstream
    finally:
        await upstream.stop()


def test_tools_and_calls() -> None:
    async def go() -> None:
        async with odd() as upstream:
            tools = await upstream.tools(cast(Cleared, Piece(b"{}")))
            assert {tool.name for tool in tools} == set(upstream.known) >= {"echo", "leak"}
            assert text(await upstream.call(cleared("echo", text="x"))) == "x"

    asyncio.run(go())


def test_an_error_of_the_protocol_is_a_result_without_its_data() -> None:
    async def go() -> None:
        async with odd() as upstream:
            result = await upstream.call(cleared("error"))
            assert result.is_error and text(result).startswith("refused for") and result.structured_content is None

    asyncio.run(go())


def test_a_crash_fails_all_that_wait_and_the_server_comes_back() -> None:
    async def go() -> None:
        async with odd() as upstream:
            await upstream.ready()
            waiting = [asyncio.create_task(upstream.call(cleared("hang"))) for _ in range(3)]
            await asyncio.sleep(0.1)
            with pytest.raises(UpstreamError, match="was lost"):
                await upstream.call(cleared("crash"))
            for error in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(error, UpstreamError)
            assert text(await upstream.call(cleared("echo", text="back"))) == "back"

    asyncio.run(go())


def test_a_server_that_hangs_is_given_up() -> None:
    async def go() -> None:
        async with odd(call_s=0.3) as upstream:
            with pytest.raises(UpstreamError, match=r"did not answer within 0\.3 s"):
                await upstream.call(cleared("hang"))
            assert text(await upstream.call(cleared("echo", text="x"))) == "x"

    asyncio.run(go())


def test_a_server_that_dies_in_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_upstream, "WATCH_S", 0.1)
    monkeypatch.setattr(mcp_upstream, "BACKOFF_S", (0.05,))

    async def go() -> None:
        async with odd() as upstream:
            first = (await upstream.call(cleared("echo"))).structured_content
            with contextlib.suppress(UpstreamError):
                await upstream.call(cleared("crash"))
            await upstream.ready()
            second = (await upstream.call(cleared("echo"))).structured_content
            assert first == second == {"calls": 1}  # a new process counts anew

    asyncio.run(go())


@pytest.mark.parametrize("command", [("/nonexistent/server",), (sys.executable, "-c", "pass"), (sys.executable, "-c", "print('no JSON')")])
def test_nobody_waits_long_for_a_server_that_keeps_failing(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_upstream, "BACKOFF_S", (0.01, 30.0))

    async def go() -> None:
        async with odd(command) as upstream:
            with pytest.raises(UpstreamError, match="is not running"):
                await upstream.ready(3.0)
            async with asyncio.timeout(5):
                with pytest.raises(UpstreamError, match="is not running"):
                    await upstream.call(cleared("echo"))

    asyncio.run(go())


ENDLESS = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request.get("method") == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "e", "version": "1"}}
    elif request.get("method") == "tools/list":
        result = {"tools": [], "nextCursor": "more"}
    else:
        result = {}
    if "id" in request:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"""


def test_a_listing_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_upstream, "READY_S", 3.0)

    async def go() -> None:
        async with odd((sys.executable, "-c", ENDLESS)) as upstream:
            with pytest.raises(UpstreamError, match="is not running"):
                await upstream.ready(3.0)

    asyncio.run(go())


MODERN = """
import anyio
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, ElicitRequest, ElicitRequestFormParams, InputRequiredResult, ListToolsResult, TextContent, Tool

async def tools(context, params):
    return ListToolsResult(tools=[Tool(name=name, input_schema={"type": "object"}) for name in ("input", "elicit", "chatter")])

async def call(context, params):
    wanted = ElicitRequestFormParams(message="kira.canary@lakeside.example", requested_schema={"type": "object", "properties": {}})
    if params.name == "input":
        return InputRequiredResult(input_requests={"who": ElicitRequest(params=wanted)}, request_state="x")
    if params.name == "elicit":
        await context.session.elicit_form(wanted.message, wanted.requested_schema)
    await context.session.report_progress(1, 2, "kira.canary@lakeside.example")
    return CallToolResult(content=[TextContent(type="text", text="no more")])

async def main():
    server = Server("modern", on_list_tools=tools, on_call_tool=call)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
anyio.run(main)
"""


def test_a_modern_server_that_asks_its_client_is_refused_without_waiting() -> None:
    """Revision 2026-07-28: questions are answers of their own kind (`input_required`), which go no further than here."""

    async def go() -> None:
        async with odd((sys.executable, "-c", MODERN), call_s=10.0) as upstream:
            await upstream.ready()
            async with asyncio.timeout(5):
                with pytest.raises(UpstreamError, match="asks its client for input"):
                    await upstream.call(cleared("input"))
                assert (await upstream.call(cleared("elicit"))).is_error
                assert text(await upstream.call(cleared("chatter"))) == "no more"

    asyncio.run(go())
