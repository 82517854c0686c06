"""`interlock demo`: the story on real servers, told by `interlock.demo.story`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlock.errors import ConfigError

Once = Annotated[bool, typer.Option("--once", help="End after the story; exit code 0 only if every step did what it claims.")]
Steps = Annotated[bool, typer.Option("--json", help="Print the steps as JSON.")]
Ready = Annotated[
    Path | None, typer.Option("--ready-file", help="Write addresses and tokens there, as JSON, once all is up.", show_default=False)
]
Keep = Annotated[bool, typer.Option("--keep", help="Keep the demo's folder at the end: configuration, data and log.")]


def demo(once: Once = False, json: Steps = False, ready_file: Ready = None, keep: Keep = False) -> None:
    """Show it: a real PostgreSQL, a real MCP server, a gateway, and the story of alice, bob and an agent. Then stay up to be tried."""
    try:
        from interlock.demo import story
    except ImportError as error:
        raise ConfigError(f"the demo cannot be loaded: {error.name} is missing", hint="install interlock[demo]") from error
    raise typer.Exit(story.main(once=once, json=json, ready_file=ready_file, keep=keep))
