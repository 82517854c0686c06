"""Whether a resource's address takes a connection, for `interlock check --reach`. Not one byte is sent."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

from interlock.exchange import Resource

PROBE_S = 5.0
"""How long an address may take, in seconds."""


async def reachable(resource: Resource) -> str:
    """Empty if it can be reached, else why not. For a resource that is a program: whether there is such a program."""
    settings = resource.settings
    if "command" in settings:
        program = cast(Sequence[str], settings["command"])[0]
        return "" if shutil.which(program) else f"there is no program {program}"
    if "url" in settings:
        url = urlsplit(str(settings["url"]))
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    else:
        host, port = str(settings["host"]), int(str(settings["port"]))
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await writer.wait_closed()
    except TimeoutError:
        return f"{host}:{port} did not answer within {PROBE_S:.0f} s"
    except OSError as error:
        return f"{host}:{port}: {os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or type(error).__name__}"
    return ""
