"""The gate's words as tool results: what happened, the rule, whom to ask, what to do next. `_meta.interlock` says the
same for machines."""

from __future__ import annotations

from mcp_types import CallToolResult, TextContent

from interlock.errors import ResourceError
from interlock.exchange import Held, Refusal


def unknown_tool() -> ResourceError:
    """What a client hears of a tool that is not there, and of one that nothing permits it."""
    return ResourceError("no such tool, or no right to use it", hint="list the tools again")


def unknown_resource() -> ResourceError:
    """The same of a resource."""
    return ResourceError("no such resource, or no right to use it", hint="list_resources names what you may use")


def refused(refusal: Refusal, hint: str = "") -> CallToolResult:
    """A refusal as a tool result that says the rule and whom to ask."""
    lines = [f"refused: {refusal.reason}"]
    if refusal.rules:
        lines.append(f"rule: {', '.join(refusal.rules)}")
    if refusal.ask:
        lines.append(f"ask: {refusal.ask}")
    if hint:
        lines.append(hint)
    data = {"status": "refused", "code": refusal.code, "reason": refusal.reason, "rules": list(refusal.rules), "ask": refusal.ask}
    return CallToolResult(content=[TextContent(type="text", text="\n".join(lines))], is_error=True, _meta={"interlock": data})


def waiting_words(held: Held) -> str:
    """What is waited for, and how it is approved."""
    where = f"  or at {held.link}" if held.link else ""
    return f"held: approval {held.id} is needed from {', '.join(sorted(held.groups))}. Approve with: interlock approve {held.id}{where}"


def pending(held: Held) -> CallToolResult:
    """What a client gets whose call outlasted its patience."""
    text = f"{waiting_words(held)}\nNothing was sent yet. Once it is approved, repeat exactly the same call."
    data = {
        "status": "pending",
        "approval": held.id,
        "groups": sorted(held.groups),
        "link": held.link,
        "expires_at": held.expires_at,
    }
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True, _meta={"interlock": data})
