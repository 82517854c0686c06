"""The gateway's log: one JSON object per line, and no values of variables."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import logging, structlog
from interlock.cli import logs
logs.configure()
log = structlog.get_logger("interlock.test")
log.info("served", port=1, name="\\x1b[2J")
log.debug("not said")
logging.getLogger("library").warning("careful %s", "now")
logging.getLogger("library").info("not said")
try:
    password = "s3" + "cret"
    raise ValueError("broken")
except ValueError:
    log.exception("failed")
    logging.getLogger("library").exception("failed, too")
"""


def test_lines_of_json_on_standard_error() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert done.stdout == ""
    assert [(line["event"], line["level"]) for line in lines] == [
        ("served", "info"),
        ("careful now", "warning"),
        ("failed", "error"),
        ("failed, too", "error"),
    ]
    assert lines[0]["name"] == "\x1b[2J" and "\x1b" not in done.stderr
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert "broken" in done.stderr and "s3cret" not in done.stderr
