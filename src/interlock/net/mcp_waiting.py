"""While a call runs or is held: a client that asked for progress hears what it waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp_types import CallToolResult

from interlock.exchange import Held
from interlock.net.mcp_results import waiting_words

PROGRESS_S = 2.0
"""How often a waiting client hears that it still waits, in seconds."""
_ending: set[asyncio.Task[CallToolResult]] = set()
Context = ServerRequestContext[Any, Any]


@dataclass(slots=True)
class Waiting:
    """What one call waits for; whoever does the call says it."""

    held: Callable[[], Held | None] = lambda: None


async def while_waiting(context: Context, waiting: Waiting, work: Coroutine[Any, Any, CallToolResult]) -> CallToolResult:
    """Do the work. Cancelled by the client, or because it went away: so is the work."""
    task = asyncio.ensure_future(work)
    began = time.monotonic()
    try:
        while True:
            done, _ = await asyncio.wait({task}, timeout=PROGRESS_S)
            if done:
                return task.result()
            held = waiting.held()
            with suppress(Exception):  # whether the client listens is its own affair
                await context.session.report_progress(time.monotonic() - began, None, waiting_words(held) if held else "running")
    finally:
        if not task.done():
            # Cancelled once, and left to end by itself: the SDK cancels again and again, and the second time would
            # hit the withdrawal of what was held.
            _ending.add(task)
            task.add_done_callback(_ending.discard)
            task.cancel()
