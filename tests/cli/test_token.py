"""`interlock token`, and what a gateway makes of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Running
from tests.cli.transcript import play, run


def test_the_transcript(house: Path) -> None:
    play("token", house)
    assert (house / "bob.token").stat().st_mode & 0o777 == 0o600


def test_a_running_gateway_takes_a_new_token_and_drops_a_revoked_one(gateway: Running) -> None:
    config = ["--config", str(gateway.folder / "interlock.yaml")]
    issued = json.loads(run(["token", "issue", "bob", "--json", *config]).out)
    caller = {"INTERLOCK_URL": gateway.url, "INTERLOCK_TOKEN": issued["token"]}
    assert run(["sessions"], caller).code == 0

    assert run(["token", "revoke", issued["id"], *config]).code == 0

    for _ in range(100):  # the bus looks ten times a second
        if run(["sessions"], caller).code == 1:
            return
    pytest.fail("a revoked token is still good")


def test_the_text_of_a_token_is_nowhere_in_the_data_folder(house: Path) -> None:
    text = run(["token", "issue", "alice", "--config", str(house / "interlock.yaml")]).out.strip()
    secret = text.rpartition("_")[2].encode()

    assert [path for path in (house / "data").rglob("*") if path.is_file() and secret in path.read_bytes()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_data_folder_is_left_alone(house: Path) -> None:
    (house / "data").mkdir()
    os.chown(house / "data", 65534, 65534)

    said = run(["token", "issue", "alice", "--config", str(house / "interlock.yaml")])

    assert said.code == 2
    assert "run this as the user who runs the gateway" in said.err
    assert list((house / "data").iterdir()) == []
