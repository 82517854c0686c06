"""`interlock serve`: the gateway, until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from interlock.cli.options import ConfigPath, read_config
from interlock.config import Config

if TYPE_CHECKING:
    from interlock.app import App


def serve(config: ConfigPath = None) -> None:
    """Run the gateway until it is told to stop (SIGINT, SIGTERM).

    The log goes to standard error: JSON lines, or readable lines in a terminal. A changed policy is taken up within a second;
    a changed configuration needs a restart. A second signal ends it at once; what was open is closed at the next start.
    """
    settings = read_config(config)
    from interlock.cli import logs

    logs.configure()
    import uvloop

    uvloop.run(_serve(settings))


async def _serve(config: Config) -> None:
    import structlog

    from interlock.app import running

    log = structlog.get_logger("interlock.serve")
    told = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        loop.remove_signal_handler(number)  # the next one is the system's own: the end
        told.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    async with running(config) as app:
        log.info("serving", **_doors(app))
        await told.wait()
    log.info("stopped")


def _doors(app: App) -> dict[str, object]:
    """Where it listens, and under which policy."""
    config = app.config
    doors = {name: f"{config.postgres.host}:{listener.port}" for name, listener in app.listeners.items()}
    scheme = "https" if config.http.tls else "http"
    return {
        **doors,
        "http": f"{scheme}://{config.http.host}:{app.http.port}",
        "policy": app.policy.current.version,
        "resources": [resource.name for resource in config.resources],
        "data": str(config.data),
    }
