"""The HTTP listener: one port for MCP and console."""

from __future__ import annotations

import asyncio
import socket

import httpx2
import pytest

from interlock.config import ListenerConfig
from interlock.errors import ConfigError
from interlock.net.http import HttpListener
from interlock.net.mcp import McpDoor
from tests.net.mcp_house import House


def test_the_address_with_and_without_slash_is_the_same(gateway: House) -> None:
    for url in (gateway.url, gateway.url + "/"):
        assert httpx2.post(url, json={}, follow_redirects=False).status_code == 401


def test_other_addresses_are_not_the_mcp_door(gateway: House) -> None:
    answer = httpx2.post(gateway.url.replace("/mcp", "/mcpx"), json={})
    assert answer.status_code >= 403 and "www-authenticate" not in answer.headers


def test_the_server_does_not_name_itself(gateway: House) -> None:
    assert "server" not in httpx2.post(gateway.url, json={}).headers


def test_a_header_cannot_say_who_connects(gateway: House) -> None:
    async def go() -> None:
        token = await gateway.fresh_token("alice")
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "odd__echo", "arguments": {"text": "x"}}}
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json, text/event-stream",
            "X-Forwarded-For": "203.0.113.9",
            "Forwarded": "for=203.0.113.9",
        }
        async with httpx2.AsyncClient() as http:
            assert (await http.post(gateway.url, json=call, headers=headers)).status_code == 200
        proof = f"token:{token.split('_')[1]}"
        clients = [each.client for each in gateway.app.gate.sessions.values() if each.principal.proof == proof]
        assert clients and all(client.startswith("127.0.0.1:") for client in clients)

    asyncio.run(go())


def test_a_port_that_is_taken_is_said(gateway: House) -> None:
    async def start(port: int) -> None:
        door = McpDoor(gateway.app.gate, gateway.app.conversations, "")
        await HttpListener(ListenerConfig("127.0.0.1", port), door, []).start()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="cannot listen on"):
            asyncio.run(gateway.ask(start(taken.getsockname()[1])))
