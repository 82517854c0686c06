"""MCP requests → `Operation`s. Policy sees each argument by name and type; the approver sees the whole call."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from interlock.errors import ProtocolError
from interlock.exchange import Effect, Fact, Operation, Resource

ARGUMENTS_BYTES_MAX = 1024 * 1024
"""The longest arguments of one call, as JSON."""
TOOL_CHARS_MAX = 256
FACTS_MAX = 256
"""So many arguments policy may read by name; a call with more is no call of a tool."""
_LONG = 2**63
_encode = msgspec.json.Encoder(order="sorted").encode


def call(resource: Resource, tool: str, arguments: Mapping[str, object]) -> Operation:
    """One `tools/call`. The content is canonical JSON (sorted keys), so an identical call has the identical
    digest. Raises `ProtocolError` (fault client) for arguments that are too large or not JSON.

    Facts: `arguments`, the set of their names, and `argument.NAME` for each that is a truth value, a text, or a
    whole number of 64 bits.
    """
    if not 0 < len(tool) <= TOOL_CHARS_MAX or len(arguments) > FACTS_MAX:
        raise ProtocolError(f"a tool's name has 1 to {TOOL_CHARS_MAX} characters, a call at most {FACTS_MAX} arguments", fault="client")
    try:
        content = _encode({"name": tool, "arguments": dict(arguments)})
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError("the arguments are not JSON", fault="client") from error
    if len(content) > ARGUMENTS_BYTES_MAX:
        raise ProtocolError(f"the arguments have more than {ARGUMENTS_BYTES_MAX} bytes", fault="client")
    facts: dict[str, Fact] = {"arguments": frozenset(arguments)}
    for name, value in arguments.items():
        if isinstance(value, (bool, str)) or (isinstance(value, int) and -_LONG <= value < _LONG):
            facts[f"argument.{name}"] = value
    title = f"{tool}({', '.join(sorted(arguments))})"
    return Operation("mcp.call", resource, (Effect("mcp.call", "Tool", tool),), facts, content, title, text=content.decode())


def listing(resource: Resource) -> Operation:
    """`tools/list` of an upstream server."""
    return Operation("mcp.list", resource, (Effect("mcp.list"),), {}, b'{"method":"tools/list"}', "tools/list")
