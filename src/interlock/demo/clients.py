"""The clients of the story, as anybody has them: psql as it is, the official MCP SDK, and HTTP for the console."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from interlock.errors import UpstreamError

OUTPUT_CHARACTERS_MAX = 1_000_000
"""More than that no statement of the story prints."""
CALL_S = 45.0
"""How long a call over HTTP may take, in seconds; held calls wait for a person."""


class Psql:
    """The wheel's psql, unmodified, as one user with one token. It has no configuration file and is not interactive."""

    def __init__(self, program: Path, host: str, port: int, user: str, token: str, database: str) -> None:
        self._command = [str(program), "-X", "--set=VERBOSITY=verbose", "--pset=pager=off", "--pset=null=∅", "-h", host, "-p", str(port)]
        self._command += ["-U", user, "-d", database]
        own = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        self._environment = own | {"PGPASSWORD": token, "PGCONNECT_TIMEOUT": "10", "PGCLIENTENCODING": "UTF8"}

    async def run(self, *statements: str, quiet: bool = False) -> str:
        """All that psql prints for these statements, each sent on its own, in one session."""
        commands = [part for statement in statements for part in ("-c", statement)]
        async with self.open(*(("--tuples-only", "--no-align") if quiet else ()), *commands) as session:
            session.write_eof()
            return await session.rest()

    @contextlib.asynccontextmanager
    async def open(self, *options: str) -> AsyncIterator[PsqlSession]:
        """A psql whose input stays open: for what is typed piece by piece. It is gone when the block ends."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *options,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            yield PsqlSession(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class PsqlSession:
    """A running psql. `said` is all that it printed so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self.said = ""

    def write(self, text: str) -> None:
        self._stdin.write(text.encode())

    def write_eof(self) -> None:
        self._stdin.close()

    async def until(self, pattern: str) -> re.Match[str]:
        """Read on until this occurs. Raises `UpstreamError` when psql ends first."""
        while (match := re.search(pattern, self.said)) is None:
            if not await self._read():
                raise UpstreamError(f"psql ended without saying {pattern!r}: {self.said.strip()[-500:]}")
        return match

    async def rest(self) -> str:
        """Read until psql ends; all that it printed."""
        while await self._read():
            pass
        await self._process.wait()
        return self.said

    async def _read(self) -> bool:
        piece = await self._stdout.read(65536)
        self.said += piece.decode("utf-8", "replace")
        if len(self.said) > OUTPUT_CHARACTERS_MAX:
            raise UpstreamError("psql printed far more than it should")
        return bool(piece)


class ConsoleApi:
    """The console's REST API, with one person's token."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=CALL_S, trust_env=False)

    async def get(self, path: str) -> Any:
        """The answer's JSON. Raises `UpstreamError` for anything but success."""
        return _success(await self._http.get(path))

    async def delete(self, path: str) -> Any:
        return _success(await self._http.delete(path))

    async def answer(self, approval: str, approve: bool, note: str) -> tuple[int, Any]:
        """Say yes or no to a request: the HTTP status, and the answer's JSON."""
        response = await self._http.post(f"/api/approvals/{approval}", json={"approve": approve, "note": note})
        return response.status_code, response.json()

    async def close(self) -> None:
        await self._http.aclose()


def _success(response: httpx2.Response) -> Any:
    if response.status_code != 200:
        raise UpstreamError(f"the console answered {response.status_code} to {response.request.url.path}: {response.text[:300]}")
    return response.json()


@contextlib.asynccontextmanager
async def mcp_client(url: str, token: str) -> AsyncIterator[Client]:
    """The official SDK's client over streamable HTTP, with a bearer token: what every MCP host has inside."""
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=CALL_S, trust_env=False) as http:
        async with Client(streamable_http_client(url, http_client=http), read_timeout_seconds=CALL_S) as client:
            yield client


def text_of(result: Any) -> str:
    """The text of a tool's result."""
    return "\n".join(block.text for block in result.content if block.type == "text")


def tools_of(listed: Sequence[Any]) -> list[str]:
    return sorted(tool.name for tool in listed)
