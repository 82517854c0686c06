"""The support desk answers the official SDK's client, over stdio as in the demo."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, Tool

from interlock.demo.tickets import TICKETS, Desk, serve


def test_a_client_over_stdio_lists_and_calls_the_tools() -> None:
    async def talk() -> tuple[set[str], CallToolResult]:
        launch = StdioServerParameters(command=sys.executable, args=["-m", "interlock.demo.tickets"])
        async with Client(launch, read_timeout_seconds=30) as client:
            tools = (await client.list_tools()).tools
            return {tool.name for tool in tools}, await client.call_tool("get_ticket", {"id": 1})

    names, ticket = asyncio.run(talk())
    assert names == {"search_tickets", "get_ticket", "add_comment", "delete_ticket"}
    assert not ticket.is_error
    assert ticket.structured_content is not None
    assert re.search(r"\S+@\S+", ticket.structured_content["text"])


def test_destructive_tools_say_so() -> None:
    async def tools() -> list[Tool]:
        async with Client(serve(Desk())) as client:
            return (await client.list_tools()).tools

    destructive = {tool.name for tool in asyncio.run(tools()) if tool.annotations and tool.annotations.destructive_hint}
    assert destructive == {"delete_ticket"}


def test_search_finds_by_all_words_and_is_bounded() -> None:
    desk = Desk()
    assert {found.title for found in desk.search("charged TWICE")} == {"Charged twice"}
    assert desk.search("no such words anywhere") == []
    assert len(desk.search("")) == 20 < TICKETS


def test_comment_and_delete_change_the_desk() -> None:
    desk = Desk()
    assert not _call(desk, "add_comment", id=3, text="We are on it.").is_error
    assert desk.tickets[3].comments == ["We are on it."]
    assert not _call(desk, "delete_ticket", id=3).is_error
    assert 3 not in desk.tickets
    assert _call(desk, "get_ticket", id=3).is_error
    assert _call(desk, "add_comment", id=4, text="x" * 2_001).is_error


def test_tickets_hold_what_must_be_masked() -> None:
    texts = " ".join(ticket.text for ticket in Desk().tickets.values())
    assert re.search(r"@example\.(com|org)", texts)
    assert re.search(r"\b4000 00\d\d \d{4} \d{4}\b", texts)
    assert re.search(r"555.01\d\d|\+44|\+49|\+33", texts)


def _call(desk: Desk, tool: str, **arguments: Any) -> CallToolResult:
    async def call() -> CallToolResult:
        async with Client(serve(desk)) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(call())
