"""The door: who gets in, what is listed, and that nobody meets another one's answer. With the official client, in both eras."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from mcp import Client

from tests.net.mcp_house import MODES, House, Mode, text, word

PING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
ALL = {"odd__" + name for name in (
    "echo", "person", "leak", "fail", "error", "send", "hang", "crash", "sample", "elicit", "chatter", "env", "garbage", "slow",
)}  # fmt: skip


def post(gateway: House, token: str, *, url: str = "", json: Any = PING, **headers: str) -> httpx2.Response:
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.post(url or gateway.url, json=json, headers={**HEADERS, **bearer, **headers}, timeout=20)


def token(gateway: House, principal: str, *audiences: str) -> str:
    return asyncio.run(gateway.token(principal, *audiences))


# -- who gets in -----------------------------------------------------------------------------------------


def test_a_good_token_is_served(gateway: House) -> None:
    assert post(gateway, token(gateway, "alice")).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YTpi", "Bearer ilk_nonsense", "Bearer a.b.c", "ilk_x"])
def test_without_a_good_token_nobody(gateway: House, header: str) -> None:
    answer = post(gateway, "", Authorization=header)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert answer.json()["error"] == "invalid_token"


def test_a_token_for_another_door_does_not_open_this_one(gateway: House) -> None:
    answer = post(gateway, token(gateway, "alice", "postgres", "console"))
    assert answer.status_code == 401 and "www-authenticate" in answer.headers


def test_a_token_in_the_address_is_not_accepted(gateway: House) -> None:
    good = token(gateway, "alice")
    for name in ("access_token", "token", "authorization"):
        assert post(gateway, "", url=f"{gateway.url}?{name}={good}").status_code == 401


def test_a_revoked_token_is_refused_at_the_next_request(gateway: House) -> None:
    good = asyncio.run(gateway.fresh_token("alice"))
    assert post(gateway, good).status_code == 200
    asyncio.run(gateway.ask(gateway.app.identity.revoke_token(good.split("_")[1])))
    assert post(gateway, good).status_code == 401


@pytest.mark.parametrize("header", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_a_rebound_browser_is_refused(gateway: House, header: dict[str, str]) -> None:
    assert post(gateway, token(gateway, "alice"), **header).status_code in (403, 421)


def test_an_origin_of_the_gateway_itself_is_served(gateway: House) -> None:
    assert post(gateway, token(gateway, "alice"), Origin=f"http://127.0.0.1:{gateway.app.http.port}").status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS"])
def test_requests_only_no_streams_that_outlive_a_token(gateway: House, method: str) -> None:
    headers = {**HEADERS, "Authorization": f"Bearer {token(gateway, 'alice')}"}
    answer = httpx2.request(method, gateway.url, headers=headers, timeout=10)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_a_body_that_is_too_large_is_refused(gateway: House, version: str) -> None:
    huge = {**PING, "params": {"cursor": "x" * (5 * 1024 * 1024)}}
    assert post(gateway, token(gateway, "alice"), json=huge, **{"MCP-Protocol-Version": version}).status_code == 413


# -- what is listed ----------------------------------------------------------------------------------------


async def listed(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("principal", "tools"),
    [
        ("eve", set()),
        ("carol", {"list_resources", "odd__echo"}),
        ("robo", {"list_resources", "odd__echo"}),  # an agent has no more than its owner
        ("alice", {"list_resources", *ALL}),
        ("claude", {"list_resources", *ALL}),
    ],
)
def test_each_sees_what_they_may_call(gateway: House, mode: Mode, principal: str, tools: set[str]) -> None:
    async def go() -> None:
        async with gateway.client(principal, mode) as client:
            assert await listed(client) == tools

    asyncio.run(go())


@pytest.mark.parametrize("principal", ["eve", "carol", "robo"])
def test_what_is_not_listed_cannot_be_called(gateway: House, principal: str) -> None:
    """And one cannot tell what is there from what is not."""

    async def go() -> None:
        async with gateway.client(principal) as client:
            may = await listed(client)
            said = set()
            for name in sorted({*ALL, "odd__none", "none__echo", "none", "odd__", "__echo"} - {"odd__send"}):
                result = await client.call_tool(name, {"text": "hello"} if name == "odd__echo" else {})
                if name in may:
                    assert text(result) == "hello"
                else:
                    assert result.is_error
                    said.add(text(result))
            assert said == {"refused: no such tool, or no right to use it\nlist the tools again"}

    asyncio.run(go())


def test_a_rule_that_speaks_is_heard(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            result = await client.call_tool("odd__wipe", {})
            assert result.is_error and text(result) == "refused: nobody wipes\nrule: no-wipe\nask: #dba"
            assert word(result) == {"status": "refused", "code": "denied", "reason": "nobody wipes", "rules": ["no-wipe"], "ask": "#dba"}

    asyncio.run(go())


def test_a_listing_is_masked_too(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("alice") as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert tools["odd__person"].description == "one person, such as k***@l***.***"

    asyncio.run(go())


# -- one for each ------------------------------------------------------------------------------------------


def test_nobody_gets_another_ones_answer(gateway: House) -> None:
    """Two bearers, the same JSON-RPC ids, in any order."""
    tokens = {name: token(gateway, name) for name in ("alice", "carol")}

    async def go() -> None:
        async with httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=16)) as http:

            async def one(principal: str, number: int) -> None:
                mine = f"{principal} asks {number}"
                call = {"name": "odd__echo", "arguments": {"text": mine}}
                answer = await http.post(
                    gateway.url,
                    json={"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call},
                    headers={**HEADERS, "Authorization": f"Bearer {tokens[principal]}", "MCP-Protocol-Version": "2025-11-25"},
                )
                assert answer.status_code == 200
                assert f'"id":{number}' in answer.text and answer.text.count(" asks ") == 2 and mine in answer.text

            await asyncio.gather(*(one(principal, number) for number in range(120) for principal in tokens))

    asyncio.run(go())
