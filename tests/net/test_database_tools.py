"""The gateway's own tools, before any database is reached (tests/live/test_mcp.py reaches one)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.net.mcp_house import House, text

UNKNOWN = "refused: no such resource, or no right to use it"


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("query", {}, "resource must be a text"),
        ("query", {"resource": 7, "sql": "select 1"}, "resource must be a text"),
        ("query", {"resource": "x", "sql": "select 1", "maxrows": 1}, "query takes no 'maxrows'"),
        ("query", {"resource": "x", "sql": "select 1", "max_rows": 0}, "max_rows must be a whole number from 1 to 10000"),
        ("query", {"resource": "x", "sql": "select 1", "max_rows": True}, "max_rows must be"),
        ("query", {"resource": "x", "sql": "select 1", "max_rows": "9"}, "max_rows must be"),
        ("query", {"resource": "x", "sql": ""}, "sql must be a text"),
        ("query", {"resource": "x", "sql": "select 1"}, UNKNOWN),
        ("query", {"resource": "odd", "sql": "select 1"}, UNKNOWN),  # it is there, but no database
        ("query", {"resource": "interlock", "sql": "select 1"}, UNKNOWN),
        ("describe_database", {"resource": "odd"}, UNKNOWN),
        ("describe_database", {"resource": "x"}, UNKNOWN),
        ("list_resources", {"all": True}, "list_resources takes no 'all'"),
    ],
)
def test_refusals(gateway: House, tool: str, arguments: dict[str, Any], says: str) -> None:
    async def go() -> None:
        async with gateway.client("alice") as client:
            result = await client.call_tool(tool, arguments)
            assert result.is_error and says in text(result)

    asyncio.run(go())


@pytest.mark.parametrize(
    ("principal", "names"), [("alice", ["odd", "gone"]), ("carol", ["odd", "gone"]), ("ward", ["odd", "gone"]), ("eve", [])]
)
def test_resources_are_listed_for_those_who_may_connect_or_have_it_approved(gateway: House, principal: str, names: list[str]) -> None:
    """Never the gateway itself, which is no resource for an agent."""

    async def go() -> None:
        async with gateway.client(principal) as client:
            result = await client.call_tool("list_resources", {})
            assert result.structured_content == json.loads(text(result))
            assert [each["name"] for each in json.loads(text(result))["resources"]] == names

    asyncio.run(go())
