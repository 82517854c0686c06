"""The console's own recordings as lines: what was asked of it (one JSON object per action)."""

from __future__ import annotations

import json
from typing import Literal


def render(direction: Literal["up", "down", "gate"], data: bytes) -> list[str]:
    """`end session 1f2e…`, with what else was said in JSON. Never raises."""
    try:
        asked = json.loads(data)
        title = asked.pop("ask")
        return [f"{title} {json.dumps(asked)}" if asked else str(title)]
    except (ValueError, AttributeError, KeyError, TypeError):
        return [f"(unreadable bytes: {len(data)})"] if data else []
