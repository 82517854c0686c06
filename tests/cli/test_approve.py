"""`interlock approve`, against a running gateway."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from tests.cli.conftest import Running
from tests.cli.transcript import play, run


def test_the_transcript(gateway: Running) -> None:
    play("approve", gateway.folder, gateway.url, **gateway.tokens)


def test_a_person_is_asked_back(gateway: Running) -> None:
    """In a terminal: `n` leaves the request as it was."""
    bob = {"INTERLOCK_URL": gateway.url, "INTERLOCK_TOKEN": gateway.tokens["bob"]}
    alice = {"INTERLOCK_URL": gateway.url, "INTERLOCK_TOKEN": gateway.tokens["alice"]}
    held = run(["kill", "0000000000000000"], alice)
    request = held.err.split("approval ", 1)[1].split(":")[0]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "interlock", "approve", request],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | bob | {"NO_COLOR": "1"},
        cwd=gateway.folder,
    ) as process:
        os.close(theirs)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, b"n\n")
        assert process.wait(60) == 1
    os.close(ours)

    assert request.encode() in seen
    assert f"{request}  pending" in run(["approve"], bob).out
