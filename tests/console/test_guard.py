from __future__ import annotations

import asyncio

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from interlock.console.guard import Guard


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(f"in: {Request(scope).method}")(scope, receive, send)


def ask(public_url: str, method: str = "GET", **headers: str) -> httpx2.Response:
    async def run() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=Guard(inner, public_url)), base_url="http://localhost") as client:
            return await client.request(method, "/", headers=headers)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("gate.example", 200),
        ("GATE.example", 200),
        ("localhost:1", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("evil.example", 421),
        ("gate.example.evil.example", 421),
        ("gate.example:99", 421),
        ("localhost.evil.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_only_known_names_are_served(host: str, status: int) -> None:
    assert ask("https://gate.example", Host=host).status_code == status


def test_without_a_public_url_only_loopback_is_served() -> None:
    assert ask("", Host="localhost:8080").status_code == 200
    assert ask("", Host="").status_code == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost"}, 200),
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Authorization": "Bearer x"}, 200),
        ({"Authorization": "Bearer x", "Origin": "http://evil.example"}, 403),
    ],
)
def test_what_changes_something_comes_from_our_pages_or_a_program(headers: dict[str, str], status: int) -> None:
    assert ask("", "POST", **headers).status_code == status
    assert ask("", "DELETE", **headers).status_code == status


def test_every_answer_tells_the_browser_to_be_strict() -> None:
    for answer in (ask(""), ask("", "POST"), ask("", Host="evil.example")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "strict-transport-security" not in answer.headers
    assert "strict-transport-security" in ask("https://gate.example", Host="gate.example").headers
