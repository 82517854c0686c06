"""Whether an address takes a connection."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from interlock.exchange import Resource
from interlock.net.probe import reachable


def probe(kind: str, **settings: object) -> str:
    return asyncio.run(reachable(Resource("r", kind, settings=settings)))


def test_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert probe("postgres", host="127.0.0.1", port=port) == ""
        assert probe("mcp", url=f"http://127.0.0.1:{port}/mcp") == ""


def test_nobody_listens() -> None:
    assert probe("postgres", host="127.0.0.1", port=1) == "127.0.0.1:1: Connection refused"


def test_no_such_name() -> None:
    assert probe("postgres", host="nowhere.invalid", port=1).startswith("nowhere.invalid:1: ")


@pytest.mark.parametrize(("program", "why"), [(sys.executable, ""), ("no-such-program", "there is no program no-such-program")])
def test_a_program_is_looked_for(program: str, why: str) -> None:
    assert probe("mcp", command=(program, "-m", "server")) == why
