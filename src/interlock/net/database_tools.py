"""Databases as MCP tools: an agent asks them without a driver, through the very conversation that psql has."""

from __future__ import annotations

from typing import Any

import msgspec
from mcp_types import CallToolResult, TextContent, Tool

from interlock.errors import ProtocolError
from interlock.exchange import Principal, Reply, Verdict
from interlock.gate import Gate, connect_operation
from interlock.net.mcp_results import pending, refused
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

    names = frozenset(tool.name for tool in _TOOLS)

    def __init__(self, gate: Gate, conversations: Conversations, patience_s: float) -> None:
        self._gate = gate
        self._conversations = conversations
        self._patience_s = patience_s

    def tools(self, principal: Principal) -> list[Tool]:
        """The tools that lead anywhere for this principal."""
        databases = any(kind in PROTOCOLS for _, kind in self._usable(principal))
        return [tool for tool in _TOOLS if databases or tool.name == "list_resources"]

    async def call(self, principal: Principal, tool: str, arguments: dict[str, Any], client: str) -> CallToolResult:
        """Raises `InterlockError`; a refusal or a failing statement is a result with `is_error`."""
        if tool == "list_resources":
            return self._list(principal)
        resource = _text(arguments, "resource")
        if tool == "describe_database":
            question = PROTOCOLS[self._gate.registry.find(resource).kind].describe
            return await self._ask(principal, resource, question, ROWS_MAX, client)
        rows = arguments.get("max_rows", ROWS_DEFAULT)
        if not isinstance(rows, int) or isinstance(rows, bool) or not 1 <= rows <= ROWS_MAX:
            raise ProtocolError(f"max_rows must be a whole number from 1 to {ROWS_MAX}", fault="client")
        return await self._ask(principal, resource, _text(arguments, "sql"), rows, client)

    def _usable(self, principal: Principal) -> list[tuple[str, str]]:
        resources = self._gate.registry.all()
        decisions = self._gate.foresee(principal, [connect_operation(resource) for resource in resources])
        return [(r.name, r.kind) for r, decision in zip(resources, decisions, strict=True) if decision.verdict is not Verdict.DENY]

    def _list(self, principal: Principal) -> CallToolResult:
        labels = {resource.name: sorted(resource.labels) for resource in self._gate.registry.all()}
        found = [{"name": name, "kind": kind, "labels": labels[name]} for name, kind in self._usable(principal)]
        return _result({"resources": found})

    async def _ask(self, principal: Principal, resource: str, sql: str, rows: int, client: str) -> CallToolResult:
        protocol = PROTOCOLS.get(self._gate.registry.find(resource).kind)
        if protocol is None:
            raise ProtocolError(f"{resource} is no database", fault="client", hint="list_resources names the databases")
        end = MemoryEnd(protocol.asker(REPLY_BYTES_MAX))
        try:
            conversation, *_ = await self._conversations.open(
                protocol, principal, resource, "", end, f"mcp {client}", {}, patience_s=self._patience_s
            )
        except Refused as error:
            return refused(error.refusal)
        conversation.start()
        try:
            reply = await end.ask(sql, rows, self._patience_s + ANSWER_S)
        finally:
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


def _text(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise ProtocolError(f"{name} must be a text", fault="client")
    return value
