"""MCP (Model Context Protocol): tool calls as operations, results as shapes. Pure; the wire itself is still the
official SDK's, driven by `net/mcp.py`.

    client ──tools/call──▶ net/mcp ──Operation(mcp.call, arguments)──▶ gate ──Permit──▶ upstream server
    client ◀──result────── net/mcp ◀──Release(masked leaves)────────── gate ◀──────── result

`operation` turns a call into an `Operation`, `reply` a result into a `Shape` whose cells are the leaves of its JSON,
`schema` says what a tool's results look like once they may be masked.
Specification: https://modelcontextprotocol.io, revisions 2025-11-25 and 2026-07-28.
"""

from interlock.protocols.mcp.operation import call, listing
from interlock.protocols.mcp.reply import JsonShape, render
from interlock.protocols.mcp.schema import loosened

__all__ = ["JsonShape", "call", "listing", "loosened", "render"]
