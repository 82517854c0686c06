"""Databases as MCP tools: an agent asks them without a driver, through the very conversation that psql has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from mcp_types import CallToolResult, TextContent, Tool

from interlock.errors import ProtocolError, UpstreamError
from interlock.exchange import Principal, Refusal, Reply, Verdict
from interlock.gate import Gate, connect_operation
from interlock.net.mcp_results import pending, unknown_resource
from interlock.net.mcp_waiting import Waiting
from interlock.net.memory import MemoryEnd
from interlock.net.sessions import Conversations, Refused
from interlock.protocols import PROTOCOLS

ROWS_DEFAULT = 100
ROWS_MAX = 10_000
REPLY_BYTES_MAX = 8 * 1024 * 1024
"""The largest answer of one query, as it came over the wire."""
ANSWER_S = 45.0
"""How long a query may run after it was permitted, in seconds."""

_TEXT = {"type": "string"}
_RESOURCE = {"type": "string", "description": "a resource's name, as list_resources gives it"}
_ROWS = {
    "type": "object",
    "properties": {
        "columns": {"type": "array", "items": _TEXT},
        "rows": {"type": "array", "items": {"type": "array", "items": {"type": ["string", "null"]}}},
        "truncated": {"type": "boolean"},
        "tag": _TEXT,
    },
    "required": ["columns", "rows", "truncated", "tag"],
}
_TOOLS = (
    Tool(
        name="list_resources",
        description="List the resources (databases, MCP servers) that you may use through this gateway.",
        input_schema={"type": "object", "properties": {}, "additionalProperties": False},
    ),
    Tool(
        name="describe_database",
        description="Describe a database: its tables and views with their columns and types.",
        input_schema={"type": "object", "properties": {"resource": _RESOURCE}, "required": ["resource"], "additionalProperties": False},
        output_schema=_ROWS,
    ),
    Tool(
        name="query",
        description="Run one SQL statement on a database. Sensitive values come back masked; dangerous statements are refused or held.",
        input_schema={
            "type": "object",
            "properties": {
                "resource": _RESOURCE,
                "sql": {"type": "string", "description": "exactly one SQL statement"},
                "max_rows": {"type": "integer", "minimum": 1, "maximum": ROWS_MAX, "default": ROWS_DEFAULT},
            },
            "required": ["resource", "sql"],
            "additionalProperties": False,
        },
        output_schema=_ROWS,
    ),
)


class DatabaseTools:
    """The gateway's own tools. `patience_s` is how long a held query keeps its client waiting."""

    schemas: Mapping[str, dict[str, Any]] = {tool.name: tool.input_schema for tool in _TOOLS}

    def __init__(self, gate: Gate, conversations: Conversations, patience_s: float) -> None:
        self._gate = gate
        self._conversations = conversations
        self._patience_s = patience_s

    def tools(self, principal: Principal) -> list[Tool]:
        """The tools that lead anywhere for this principal: none for one who may use nothing."""
        kinds = {kind for _, kind in self._usable(principal)}
        databases = any(kind in PROTOCOLS for kind in kinds)
        return [tool for tool in _TOOLS if databases or (kinds and tool.name == "list_resources")]

    async def call(self, principal: Principal, tool: str, arguments: dict[str, Any], client: str, waiting: Waiting) -> CallToolResult:
        """A refused or failing statement is a result with `is_error`. Raises `Refused`, `Parked` or `InterlockError`."""
        _check(tool, arguments)
        if tool == "list_resources":
            return self._list(principal)
        resource = _text(arguments, "resource")
        if tool == "describe_database":
            protocol = PROTOCOLS.get(self._gate.registry.find(resource).kind)
            if protocol is None:
                raise unknown_resource()
            return await self._ask(principal, resource, protocol.describe, ROWS_MAX, client, waiting)
        rows = arguments.get("max_rows", ROWS_DEFAULT)
        if not isinstance(rows, int) or isinstance(rows, bool) or not 1 <= rows <= ROWS_MAX:
            raise ProtocolError(f"max_rows must be a whole number from 1 to {ROWS_MAX}", fault="client")
        return await self._ask(principal, resource, _text(arguments, "sql"), rows, client, waiting)

    def _usable(self, principal: Principal) -> list[tuple[str, str]]:
        resources = [resource for resource in self._gate.registry.all() if resource.kind in PROTOCOLS or resource.kind == "mcp"]
        decisions = self._gate.foresee(principal, [connect_operation(resource) for resource in resources])
        return [(r.name, r.kind) for r, decision in zip(resources, decisions, strict=True) if decision.verdict is not Verdict.DENY]

    def _list(self, principal: Principal) -> CallToolResult:
        labels = {resource.name: sorted(resource.labels) for resource in self._gate.registry.all()}
        found = [{"name": name, "kind": kind, "labels": labels[name]} for name, kind in self._usable(principal)]
        return _result({"resources": found})

    async def _ask(self, principal: Principal, resource: str, sql: str, rows: int, client: str, waiting: Waiting) -> CallToolResult:
        """One question in a conversation of its own, so that no setting, temporary table or transaction outlives it."""
        protocol = PROTOCOLS.get(self._gate.registry.find(resource).kind)
        if protocol is None:
            raise unknown_resource()
        end = MemoryEnd(protocol.asker(REPLY_BYTES_MAX))
        try:
            conversation, *_ = await self._conversations.open(
                protocol, principal, resource, "", end, f"mcp {client}", {}, patience_s=self._patience_s
            )
        except Refused as error:
            if error.refusal.code == "denied" and not error.refusal.rules:
                raise unknown_resource() from None
            raise
        waiting.held = lambda: conversation.relay.held
        conversation.start()
        try:
            reply = await end.ask(sql, rows, self._patience_s + ANSWER_S)
        except TimeoutError:
            raise UpstreamError(f"{resource} did not answer within {ANSWER_S:g} s; the query is cancelled") from None
        except UpstreamError:
            if ended := conversation.session.ended:
                raise Refused(Refusal("revoked", ended, fatal=True)) from None
            raise
        finally:
            waiting.held = lambda: None
            conversation.close("the question was answered")
            await conversation.over.wait()
        if conversation.parked is not None:
            return pending(conversation.parked)
        if reply.failed:
            return _failed(reply)
        return _result(_table(reply))


def _table(reply: Reply) -> dict[str, object]:
    return {
        "columns": [column.name for column in reply.columns],
        "rows": [list(row) for row in reply.rows],
        "truncated": reply.truncated,
        "tag": reply.tag,
    }


def _result(data: dict[str, object]) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=msgspec.json.encode(data).decode())], structured_content=data)


def _failed(reply: Reply) -> CallToolResult:
    """An error of the database, or the gate's refusal in its words."""
    lines = [part for part in (f"{reply.failed} (SQLSTATE {reply.code})", reply.detail, reply.hint) if part]
    data = {"status": "failed", "sqlstate": reply.code, "reason": reply.failed, "detail": reply.detail, "hint": reply.hint}
    return CallToolResult(content=[TextContent(type="text", text="\n".join(lines))], is_error=True, _meta={"interlock": data})


def _check(tool: str, arguments: dict[str, Any]) -> None:
    """A misspelt argument must not be overlooked: whoever asks for `maxrows: 1` does not want a hundred."""
    known = DatabaseTools.schemas[tool]["properties"]
    if unknown := sorted(set(arguments) - set(known)):
        raise ProtocolError(f"{tool} takes no {unknown[0][:64]!r}", fault="client", hint=f"it takes: {', '.join(known) or 'nothing'}")


def _text(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise ProtocolError(f"{name} must be a text", fault="client")
    return value
