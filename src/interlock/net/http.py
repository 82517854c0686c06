"""The HTTP listener: MCP and console behind one port, on uvicorn (which owns the socket).

Off the data path's hot loop for now: the MCP door hands the SDK only what was cleared.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from interlock.config import ListenerConfig
from interlock.errors import ConfigError
from interlock.net.mcp import McpDoor

STOP_S = 5.0
"""How long open requests may take to end when the gateway stops, in seconds."""


REQUESTS_MAX = 1_000
"""So many requests may be open at once; more are answered 503."""


class _Server(uvicorn.Server):
    """Embedded: signals belong to whoever runs the gateway."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpListener:
    """`start` binds the port; `routes` are the console's."""

    def __init__(self, config: ListenerConfig, door: McpDoor, routes: Sequence[BaseRoute]) -> None:
        self._config = config
        self._door = door
        app = Starlette(routes=[Mount("/mcp", app=door.app), *routes], lifespan=self._lifespan)
        self._server = _Server(
            uvicorn.Config(
                _without_slash_redirect(app),
                host=config.host,
                port=config.port,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # whoever connects is the client; a header cannot say otherwise
                ws="none",
                lifespan="on",
                limit_concurrency=REQUESTS_MAX,
                timeout_graceful_shutdown=int(STOP_S),
                ssl_certfile=config.tls.certificate if config.tls else None,
                ssl_keyfile=config.tls.key if config.tls else None,
            )
        )
        self._task: asyncio.Task[None] | None = None
        self.port = config.port

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with self._door.lifespan():
            yield

    async def start(self) -> None:
        """Returns once requests are served. Raises `ConfigError` when the port cannot be had."""
        self._task = asyncio.create_task(self._serve(), name="http")
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise ConfigError(f"cannot listen on {self._config.host}:{self._config.port}", hint="choose another http port")
            await asyncio.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._server.serve()
        except SystemExit:
            raise ConfigError(f"cannot listen on {self._config.host}:{self._config.port}", hint="choose another http port") from None


def _without_slash_redirect(app: Starlette) -> Any:
    """MCP clients speak to `/mcp` itself, and do not follow a redirect of a POST."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/mcp":
            scope = {**scope, "path": "/mcp/", "raw_path": b"/mcp/"}
        await app(scope, receive, send)

    return serve
