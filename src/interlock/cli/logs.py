"""The gateway's own log, on standard error: one JSON object per line, or readable lines in a terminal.

What may be logged is decided where it is said: names, ids and reasons, never secrets, statements or data.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

_tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # values of variables may be secrets


def configure() -> None:
    """For structlog and for what libraries say through `logging` (warnings and worse)."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    readable = sys.stderr.isatty()
    renderer: list[Any] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [structlog.processors.ExceptionRenderer(_tracebacks), structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    named = structlog.stdlib.ExtraAdder(allow=())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared, named],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
