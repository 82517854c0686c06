"""Upstream servers' tools for those who may call them: `resource__tool`, each call through the gate, each result masked."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
import structlog
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool
from pydantic import BaseModel, ValidationError

from interlock.errors import InterlockError, MaskingError, UpstreamError
from interlock.exchange import Cleared, Held, Operation, Outcome, Permit, Principal, Refusal, Verdict
from interlock.gate import Gate
from interlock.net.mcp_results import pending, refused, unknown_resource, unknown_tool
from interlock.net.mcp_sessions import Bearer, Bearers
from interlock.net.mcp_upstream import McpUpstream
from interlock.net.mcp_waiting import Waiting
from interlock.net.sessions import Parked, Refused
from interlock.protocols import mcp

SEPARATOR = "__"
"""Between a resource's name and a tool's."""

_log = structlog.get_logger("interlock.mcp")
Model = TypeVar("Model", bound=BaseModel)


class UpstreamTools:
    """The tools of all upstream servers. `patience_s` is how long a held call keeps its client waiting."""

    def __init__(self, gate: Gate, upstreams: list[McpUpstream], bearers: Bearers, patience_s: float) -> None:
        self._gate = gate
        self._upstreams = {upstream.resource.name: upstream for upstream in upstreams}
        self._bearers = bearers
        self._patience_s = patience_s

    def schema(self, name: str) -> dict[str, object] | None:
        """What the tool `resource__tool` takes, as its server said last."""
        upstream, tool = self._find(name)
        found = upstream.known.get(tool) if upstream else None
        return found.input_schema if found else None

    async def tools(self, principal: Principal, client: str) -> list[Tool]:
        """The tools that this principal may call, or have approved. A server that does not answer has none now."""
        listings = await asyncio.gather(*(self._listed(principal, upstream, client) for upstream in self._upstreams.values()))
        return [tool for listing in listings for tool in listing]

    async def call(self, principal: Principal, name: str, arguments: dict[str, object], client: str, waiting: Waiting) -> CallToolResult:
        """One call: decide, hold, send, mask, settle. Raises `Refused`, `Parked` or `InterlockError`."""
        upstream, tool = self._find(name)
        if upstream is None:
            raise unknown_tool()
        try:
            bearer = await self._bearers.of(principal, upstream.resource, client)
        except Refused as error:
            raise (unknown_tool() if _says_nothing(error.refusal) else error) from None
        await upstream.ready()
        if tool not in upstream.known:
            raise unknown_tool()
        operation = mcp.call(upstream.resource, tool, arguments)
        return await bearer.run(self._forward(bearer, upstream, operation, waiting))

    def _find(self, name: str) -> tuple[McpUpstream | None, str]:
        """The longest resource name that fits: names may hold the separator themselves."""
        fitting = [resource for resource in self._upstreams if name.startswith(resource + SEPARATOR)]
        if not fitting:
            return None, ""
        resource = max(fitting, key=len)
        return self._upstreams[resource], name[len(resource) + len(SEPARATOR) :]

    async def _forward(self, bearer: Bearer, upstream: McpUpstream, operation: Operation, waiting: Waiting) -> CallToolResult:
        answer = (await self._gate.admit(bearer.session, [operation]))[0]
        if isinstance(answer, Held):
            held = answer
            waiting.held = lambda: held
            answer = await self._gate.wait(held, patience_s=self._patience_s)
            waiting.held = lambda: None
        if isinstance(answer, Held):
            return pending(answer)
        if isinstance(answer, Refusal):
            if _says_nothing(answer):
                raise unknown_tool()
            return refused(answer)
        return await self._sent(bearer, upstream, answer)

    async def _sent(self, bearer: Bearer, upstream: McpUpstream, permit: Permit) -> CallToolResult:
        gate, operation = self._gate, permit.exchange.operation
        try:
            result = await upstream.call(permit.apply(operation.content))
            if result.is_error:
                result = self._scrubbed(bearer, result, operation.text)
            tool = operation.effects[0].object
            shown = _read(CallToolResult, self._released(permit, tool, _document(result)))
        except asyncio.CancelledError:
            gate.settle(permit, Outcome.CANCELLED, bearer.session.ended or "the client gave up or went away")
            raise
        except UpstreamError as error:  # whether it ran, nobody knows
            gate.settle(permit, Outcome.UNKNOWN, error.message)
            raise
        except BaseException as error:
            gate.settle(permit, Outcome.FAILED, type(error).__name__)
            raise
        gate.settle(permit, Outcome.FAILED if result.is_error else Outcome.DONE)
        gate.flush()
        await gate.durable(bearer.session)
        return shown

    def _scrubbed(self, bearer: Bearer, result: CallToolResult, said: str) -> CallToolResult:
        """An error's sentences may quote any value: they are cleaned as a database's are."""
        content = [
            block.model_copy(update={"text": self._gate.scrub(bearer.session, block.text, said)})
            if isinstance(block, TextContent)
            else block
            for block in result.content
        ]
        return result.model_copy(update={"content": content})

    async def _listed(self, principal: Principal, upstream: McpUpstream, client: str) -> list[Tool]:
        resource = upstream.resource
        if self._gate.foresee(principal, [mcp.listing(resource)])[0].verdict is not Verdict.ALLOW:
            return []
        try:
            bearer = await self._bearers.of(principal, resource, client)
            return await bearer.run(self._list(principal, bearer, upstream))
        except (InterlockError, Refused, Parked) as error:
            _log.info("tools not listed", resource=resource.name, principal=principal.id, reason=str(error))
            return []

    async def _list(self, principal: Principal, bearer: Bearer, upstream: McpUpstream) -> list[Tool]:
        gate, resource = self._gate, upstream.resource
        permit = (await gate.admit(bearer.session, [mcp.listing(resource)]))[0]
        if isinstance(permit, Refusal):
            raise Refused(permit)
        if isinstance(permit, Held):  # policy changed since it was foreseen
            raise unknown_resource()
        try:
            tools = await upstream.tools(permit.apply(permit.exchange.operation.content))
            listed = _read(ListToolsResult, self._released(permit, "", _document(ListToolsResult(tools=tools)))).tools
        except BaseException as error:
            gate.settle(permit, Outcome.FAILED, type(error).__name__)
            raise
        gate.settle(permit, Outcome.DONE)
        foreseen = gate.foresee(principal, [mcp.call(resource, tool.name, {}) for tool in listed])
        return [
            _offered(resource.name, tool) for tool, decision in zip(listed, foreseen, strict=True) if decision.verdict is not Verdict.DENY
        ]

    def _released(self, permit: Permit, tool: str, document: bytes) -> Cleared:
        return self._gate.release(permit, mcp.JsonShape(tool, document)).apply(document)


def _says_nothing(refusal: Refusal) -> bool:
    """No rule spoke: then it is not even said that the thing is there."""
    return refusal.code == "denied" and not refusal.rules


def _offered(resource: str, tool: Tool) -> Tool:
    """A tool under the resource's name, with a schema that masked results keep."""
    schema = tool.output_schema
    return tool.model_copy(
        update={"name": f"{resource}{SEPARATOR}{tool.name}", "output_schema": mcp.loosened(schema) if schema is not None else None}
    )


def _document(model: BaseModel) -> bytes:
    return msgspec.json.encode(model.model_dump(mode="json", by_alias=True, exclude_none=True))


def _read(kind: type[Model], cleared: Cleared) -> Model:
    try:
        return kind.model_validate_json(cleared.data)
    except ValidationError:
        raise MaskingError("what is left of this answer after masking cannot be shown") from None
