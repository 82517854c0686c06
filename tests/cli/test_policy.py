"""`interlock policy`, from files and from a gateway."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Running
from tests.cli.transcript import play, run


def test_the_transcript(house: Path) -> None:
    play("policy", house)


def test_with_a_token_the_gateway_is_asked(gateway: Running) -> None:
    caller = {"INTERLOCK_URL": gateway.url, "INTERLOCK_TOKEN": gateway.tokens["bob"]}

    said = run(["policy", "explain", "--as", "claude", "--on", "orders-db", "--action", "connect", "--json"], caller)

    assert json.loads(said.out)["decision"]["verdict"] == "deny"
    assert said.err == ""


def test_what_the_gateway_may_not_tell_is_not_answered_from_files(gateway: Running) -> None:
    caller = {"INTERLOCK_URL": gateway.url, "INTERLOCK_TOKEN": gateway.tokens["claude"]}

    said = run(["policy", "explain", "--as", "alice", "--on", "orders-db", "--action", "connect"], caller)

    assert (said.code, said.out) == (1, "")
