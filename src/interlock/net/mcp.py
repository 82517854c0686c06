"""The MCP door: streamable HTTP at `/mcp`, for any MCP client with a gateway token (audience `mcp`).

An agent finds the resources it may use, asks databases without a driver, and calls the tools of upstream servers.
Every call is an operation of the bearer on its resource, through the same gate as psql. The SDK speaks the protocol
in both eras, statelessly: no request can meet another one's answer. What goes up and comes down is taken from
`Cleared` bytes only.

    mcp (who asks, dispatch) ─┬─ database_tools ── sessions (a conversation per question, as psql has)
                              └─ mcp_tools ── mcp_sessions (one per bearer and server) ── mcp_upstream
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from interlock import __version__
from interlock.errors import IdentityError, InterlockError
from interlock.exchange import Principal, Refusal, Resource
from interlock.gate import Gate
from interlock.identity import Proof
from interlock.net.database_tools import DatabaseTools
from interlock.net.mcp_results import pending, refused
from interlock.net.mcp_sessions import Bearers
from interlock.net.mcp_tools import UpstreamTools
from interlock.net.mcp_upstream import CALL_S, McpUpstream
from interlock.net.mcp_waiting import Context, Waiting, while_waiting
from interlock.net.sessions import Conversations, Parked, Refused

PATIENCE_S = 20.0
"""How long a held call keeps its client waiting; then it gets a pending result that the same call redeems."""
BODY_BYTES_MAX = 4 * 1024 * 1024
"""The largest request."""
_INSTRUCTIONS = (
    "Every call is decided by policy, recorded, and may be masked or held for a person's approval. "
    "Begin with list_resources. A held call answers with an approval id: repeat exactly the same call once it is approved."
)

_log = structlog.get_logger("interlock.mcp")


class McpDoor:
    """Build once; `lifespan` runs it; `app` is the ASGI application for `/mcp`. `patience_s` and `call_s`: how long
    people and upstream servers may take, in seconds."""

    def __init__(
        self,
        gate: Gate,
        conversations: Conversations,
        public_url: str,
        *,
        patience_s: float = PATIENCE_S,
        call_s: float = CALL_S,
    ) -> None:
        self._gate = gate
        self._databases = DatabaseTools(gate, conversations, patience_s)
        self._bearers = Bearers(gate, patience_s)
        self._upstreams = [_upstream(gate, resource, call_s) for resource in gate.registry.all() if resource.kind == "mcp"]
        self._tools = UpstreamTools(gate, self._upstreams, self._bearers, patience_s)
        server: Server[Any] = Server(
            "interlock",
            version=__version__,
            instructions=_INSTRUCTIONS,
            get_tool_input_schema=self._schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        hosts = ["127.0.0.1:*", "localhost:*", "[::1]:*", *_host_of(public_url)]
        self._manager = StreamableHTTPSessionManager(
            app=server,
            stateless=True,
            security_settings=TransportSecuritySettings(
                enable_dns_rebinding_protection=True,
                allowed_hosts=hosts,
                allowed_origins=[f"http://{h}" for h in hosts] + [f"https://{h}" for h in hosts],
            ),
            max_request_body_size=BODY_BYTES_MAX,
        )
        self.app: ASGIApp = self._authenticated

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        for upstream in self._upstreams:
            upstream.start()
        watch = asyncio.create_task(self._bearers.watch(), name="mcp sessions")
        try:
            async with self._manager.run():
                yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await self._bearers.close_all("the gateway stops")
            await asyncio.gather(*(upstream.stop() for upstream in self._upstreams))

    async def _authenticated(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Verify the bearer on every request; nothing of an unidentified request is read further. Requests only: a
        stream that a client leaves open would outlive its token."""
        if scope["type"] != "http":
            return
        request = Request(scope)
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer" or not secret:
                raise IdentityError("a bearer token with audience mcp is needed")
            scope["interlock.principal"] = await self._gate.identify(Proof.of(secret.strip(), "mcp"))
        except IdentityError as error:
            answer = JSONResponse({"error": "invalid_token", "error_description": error.message}, 401)
            answer.headers["WWW-Authenticate"] = 'Bearer realm="interlock", error="invalid_token"'
            await answer(scope, receive, send)
            return
        if request.method != "POST":
            await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
            return
        await self._manager.handle_request(scope, receive, send)

    async def _list_tools(self, context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        principal = _principal(context)
        try:
            own = self._databases.tools(principal)
            return ListToolsResult(tools=[*own, *await self._tools.tools(principal, _client_of(context))])
        except Exception as error:
            _log.error("tools not listed", principal=principal.id, exc_info=error)
            return ListToolsResult(tools=[])

    async def _call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """Whatever happens, the client gets a result in the gateway's own words; an exception would carry its own."""
        principal, client, waiting = _principal(context), _client_of(context), Waiting()
        arguments = params.arguments or {}
        tools = self._databases if params.name in self._databases.schemas else self._tools
        try:
            return await while_waiting(context, waiting, tools.call(principal, params.name, arguments, client, waiting))
        except Refused as error:
            return refused(error.refusal)
        except Parked as error:
            return pending(error.held)
        except InterlockError as error:
            return refused(Refusal("failed", error.message), error.hint)
        except Exception as error:
            _log.error("call failed", principal=principal.id, tool=params.name[:128], exc_info=error)
            return refused(Refusal("failed", "the gateway failed; nothing more is forwarded"))

    def _schema(self, name: str) -> Mapping[str, Any] | None:
        return self._databases.schemas.get(name) or self._tools.schema(name)


def _principal(context: Context) -> Principal:
    principal = context.request.scope.get("interlock.principal") if isinstance(context.request, Request) else None
    if not isinstance(principal, Principal):
        raise IdentityError("nobody is identified")
    return principal


def _client_of(context: Context) -> str:
    client = context.request.client if isinstance(context.request, Request) else None
    return f"{client.host}:{client.port}" if client else "mcp"


def _host_of(public_url: str) -> list[str]:
    host = public_url.partition("://")[2].partition("/")[0]
    return [host] if host else []


def _upstream(gate: Gate, resource: Resource, call_s: float) -> McpUpstream:
    registry = gate.registry
    return McpUpstream(resource, lambda: registry.environment(resource), lambda: registry.credential(resource), call_s=call_s)
