"""The gate's words as tool results: what happened, the rule, whom to ask, what to do next. `_meta.interlock` says the
same for machines."""

from __future__ import annotations

from mcp_types import CallToolResult, TextContent

from interlock.exchange import Held, Refusal


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


def pending(held: Held) -> CallToolResult:
    """What a client gets whose call outlasted its patience."""
    groups = sorted(held.groups)
    text = (
        f"held: approval {held.id} is needed from {', '.join(groups)}. Nothing was sent yet.\n"
        f"Approve with: interlock approve {held.id}" + (f"  or at {held.link}" if held.link else "") + "\n"
        "Then repeat exactly the same call."
    )
    data = {"status": "pending", "approval": held.id, "groups": groups, "link": held.link, "expires_at": held.expires_at}
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True, _meta={"interlock": data})
