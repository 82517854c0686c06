"""MCP requests → `Operation`s. Policy sees each argument by name and type; the approver sees the whole call."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from interlock.errors import ProtocolError
from interlock.exchange import Effect, Fact, Operation, Resource

ARGUMENTS_BYTES_MAX = 1024 * 1024
"""The longest arguments of one call, as JSON."""
_encode = msgspec.json.Encoder(order="sorted").encode


def call(resource: Resource, tool: str, arguments: Mapping[str, object]) -> Operation:
    """One `tools/call`. The content is canonical JSON (sorted keys), so an identical call has the identical
    digest. Raises `ProtocolError` (fault client) for arguments that are too large or not JSON."""
    try:
        content = _encode({"name": tool, "arguments": dict(arguments)})
    except (TypeError, ValueError) as error:
        raise ProtocolError("the arguments are not JSON", fault="client") from error
    if len(content) > ARGUMENTS_BYTES_MAX:
        raise ProtocolError(f"the arguments have more than {ARGUMENTS_BYTES_MAX} bytes", fault="client")
    facts: dict[str, Fact] = {"arguments": frozenset(arguments)}
    for name, value in arguments.items():
        if isinstance(value, (bool, int, str)):
            facts[f"argument.{name}"] = value
    title = f"{tool}({', '.join(sorted(arguments))})"
    return Operation("mcp.call", resource, (Effect("mcp.call", "Tool", tool),), facts, content, title, text=content.decode())


def listing(resource: Resource) -> Operation:
    """`tools/list` of an upstream server."""
    return Operation("mcp.list", resource, (Effect("mcp.list"),), {}, b'{"method":"tools/list"}', "tools/list")
