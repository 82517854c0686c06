"""The MCP door: streamable HTTP at `/mcp`, for any MCP client with a gateway token (audience `mcp`).

An agent finds the resources it may use, asks databases without a driver, and calls the tools of upstream servers.
Every call is an operation of the bearer on its resource, through the same gate as psql. The SDK speaks the protocol
in both eras; what goes up and comes down is taken from `Cleared` bytes only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, Tool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from interlock import __version__
from interlock.errors import IdentityError, InterlockError, ResourceError
from interlock.exchange import Held, Outcome, Permit, Principal, Refusal, Resource, Session, Verdict
from interlock.gate import Gate, connect_operation
from interlock.identity import Proof
from interlock.net.database_tools import DatabaseTools
from interlock.net.mcp_results import pending, refused
from interlock.net.mcp_upstream import McpUpstream
from interlock.net.sessions import Conversations
from interlock.protocols import mcp

PATIENCE_S = 20.0
"""How long a held call keeps its client waiting; then it gets a pending result that the same call redeems."""
PROGRESS_S = 2.0
"""How often a waiting client hears that it still waits."""
IDLE_S = 600.0
"""A bearer's session on a resource is sealed after so long without a call."""
SESSIONS_MAX = 1_000
SEPARATOR = "__"
BODY_BYTES_MAX = 4 * 1024 * 1024

_log = structlog.get_logger("interlock.mcp")
Context = ServerRequestContext[Any, Any]


@dataclass(slots=True)
class _Bearer:
    """One bearer's session on one upstream server."""

    session: Session
    connect: Permit
    used_at: float
    calls: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class McpDoor:
    """Build once; `lifespan` runs it; `app` is the ASGI application for `/mcp`."""

    def __init__(self, gate: Gate, conversations: Conversations, public_url: str) -> None:
        self._gate = gate
        self._databases = DatabaseTools(gate, conversations, PATIENCE_S)
        registry = gate.registry
        self._upstreams = {
            resource.name: McpUpstream(resource, _environment(gate, resource), _credential(gate, resource))
            for resource in registry.all()
            if resource.kind == "mcp"
        }
        self._bearers: dict[tuple[str, str, str], _Bearer] = {}
        self._opening: dict[tuple[str, str, str], asyncio.Lock] = {}
        server: Server[Any] = Server(
            "interlock",
            version=__version__,
            instructions="Every call is decided by policy, recorded, and may be masked or held for a person's approval. "
            "Begin with list_resources. A held call answers with an approval id: repeat exactly the same call once it is approved.",
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
    async def lifespan(self) -> Any:
        for upstream in self._upstreams.values():
            upstream.start()
        sweeper = asyncio.create_task(self._sweep())
        try:
            async with self._manager.run():
                yield
        finally:
            sweeper.cancel()
            await asyncio.gather(sweeper, return_exceptions=True)
            for key in list(self._bearers):
                await self._close(key, "the gateway stops")
            for upstream in self._upstreams.values():
                await upstream.stop()

    # -- who asks ------------------------------------------------------------------------------------------

    async def _authenticated(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Verify the bearer on every request; nothing of an unidentified request is read further."""
        if scope["type"] != "http":
            return
        header = Request(scope).headers.get("authorization", "")
        scheme, _, secret = header.partition(" ")
        try:
            if scheme.lower() != "bearer" or not secret:
                raise IdentityError("a bearer token with audience mcp is needed")
            scope["interlock.principal"] = await self._gate.identify(Proof.of(secret.strip(), "mcp"))
        except IdentityError as error:
            answer = JSONResponse({"error": "invalid_token", "error_description": error.message}, 401)
            answer.headers["WWW-Authenticate"] = 'Bearer realm="interlock", error="invalid_token"'
            await answer(scope, receive, send)
            return
        await self._manager.handle_request(scope, receive, send)

    # -- what may be asked -----------------------------------------------------------------------------------

    async def _list_tools(self, context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        principal = _principal(context)
        tools = self._databases.tools(principal)
        for upstream in self._upstreams.values():
            try:
                tools += await self._tools_of(principal, upstream, context)
            except InterlockError as error:
                _log.info("tools not listed", resource=upstream.resource.name, principal=principal.id, reason=error.message)
        return ListToolsResult(tools=tools)

    async def _tools_of(self, principal: Principal, upstream: McpUpstream, context: Context) -> list[Tool]:
        """The server's tools that this principal may call, or have approved, under the resource's name."""
        resource = upstream.resource
        if self._gate.foresee(principal, [mcp.listing(resource)])[0].verdict is not Verdict.ALLOW:
            return []
        bearer = await self._bearer(principal, resource, _client_of(context))
        permit = (await self._gate.admit(bearer.session, [mcp.listing(resource)]))[0]
        if isinstance(permit, (Held, Refusal)):
            return []
        tools = await self._settled(permit, upstream.tools(permit.apply(permit.exchange.operation.content)))
        foreseen = self._gate.foresee(principal, [mcp.call(resource, tool.name, {}) for tool in tools])
        return [
            tool.model_copy(update={"name": f"{resource.name}{SEPARATOR}{tool.name}"})
            for tool, decision in zip(tools, foreseen, strict=True)
            if decision.verdict is not Verdict.DENY
        ]

    async def _call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        principal, client = _principal(context), _client_of(context)
        arguments = params.arguments or {}
        try:
            if params.name in self._databases.names:
                return await self._while_waiting(context, self._databases.call(principal, params.name, arguments, client))
            name, _, tool = params.name.partition(SEPARATOR)
            upstream = self._upstreams.get(name)
            if upstream is None or not tool:
                raise ResourceError("no such tool, or no right to use it", hint="list the tools again")
            return await self._while_waiting(context, self._forward(principal, upstream, tool, arguments, client))
        except InterlockError as error:
            return refused(Refusal("failed", error.message), error.hint)

    async def _forward(
        self, principal: Principal, upstream: McpUpstream, tool: str, arguments: dict[str, Any], client: str
    ) -> CallToolResult:
        """One call of an upstream tool: decide, hold, send, mask, settle."""
        bearer = await self._bearer(principal, upstream.resource, client)
        answer = (await self._gate.admit(bearer.session, [mcp.call(upstream.resource, tool, arguments)]))[0]
        if isinstance(answer, Held):
            answer = await self._gate.wait(answer, patience_s=PATIENCE_S)
        if isinstance(answer, Held):
            return pending(answer)
        if isinstance(answer, Refusal):
            return refused(answer)
        permit = answer
        cleared_up = permit.apply(permit.exchange.operation.content)
        self._gate.flush()
        try:
            result = await upstream.call(cleared_up)
            document = msgspec.json.encode(result.model_dump(mode="json", by_alias=True, exclude_none=True))
            cleared = self._gate.release(permit, mcp.JsonShape(tool, document)).apply(document)
        except BaseException as error:
            self._gate.settle(permit, Outcome.FAILED, type(error).__name__)
            raise
        self._gate.settle(permit, Outcome.FAILED if result.is_error else Outcome.DONE)
        self._gate.flush()
        return CallToolResult.model_validate_json(cleared.data)

    async def _settled(self, permit: Permit, work: Awaitable[list[Tool]]) -> list[Tool]:
        try:
            tools = await work
        except BaseException as error:
            self._gate.settle(permit, Outcome.FAILED, type(error).__name__)
            raise
        self._gate.settle(permit, Outcome.DONE)
        return tools

    async def _while_waiting(self, context: Context, work: Awaitable[CallToolResult]) -> CallToolResult:
        """Do the work; a client that asked for progress hears that it still waits."""
        task = asyncio.ensure_future(work)
        waited = 0.0
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=PROGRESS_S)
                if done:
                    return task.result()
                waited += PROGRESS_S
                with suppress(Exception):
                    await context.session.report_progress(waited, None, "waiting: the call may be held for approval")
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    # -- sessions --------------------------------------------------------------------------------------------

    async def _bearer(self, principal: Principal, resource: Resource, client: str) -> _Bearer:
        """The bearer's session on the resource; the first use connects, which policy decides."""
        key = (principal.id, principal.proof, resource.name)
        async with self._opening.setdefault(key, asyncio.Lock()):
            bearer = self._bearers.get(key)
            if bearer is not None and not bearer.session.ended:
                bearer.used_at = time.monotonic()
                return bearer
            if bearer is not None:
                await self._close(key, bearer.session.ended)
            if len(self._bearers) >= SESSIONS_MAX:
                raise ResourceError("too many MCP sessions are open", hint="try again later")
            session = self._gate.open(principal, resource.name, "mcp", client)
            answer = (await self._gate.admit(session, [connect_operation(resource)]))[0]
            if isinstance(answer, Held):
                answer = await self._gate.wait(answer)
            if isinstance(answer, (Held, Refusal)):
                reason = answer.reason if isinstance(answer, Refusal) else "not approved"
                await self._gate.close(session, f"refused: {reason}")
                raise ResourceError(reason)
            self._bearers[key] = bearer = _Bearer(session, answer, time.monotonic())
            return bearer

    async def _close(self, key: tuple[str, str, str], reason: str) -> None:
        bearer = self._bearers.pop(key, None)
        self._opening.pop(key, None)
        if bearer is not None:
            await self._gate.close(bearer.session, reason)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for key, bearer in list(self._bearers.items()):
                if bearer.session.ended:
                    await self._close(key, bearer.session.ended)
                elif now - bearer.used_at > IDLE_S:
                    await self._close(key, "idle")


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


def _environment(gate: Gate, resource: Resource) -> Callable[[], Any]:
    return lambda: gate.registry.environment(resource)


def _credential(gate: Gate, resource: Resource) -> Callable[[], Any]:
    return lambda: gate.registry.credential(resource)
