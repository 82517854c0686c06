"""`interlock sessions`, `replay` and `kill`, against a running gateway and against its folder."""

from __future__ import annotations

from tests.cli.conftest import Running
from tests.cli.transcript import play


def test_the_transcript(gateway: Running) -> None:
    play("sessions", gateway.folder, gateway.url, **gateway.tokens)
