"""The demo's folder is a configuration like anybody's: it loads, its policy is valid, its secret is private."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from interlock.config import load
from interlock.demo.database import EmbeddedPostgres
from interlock.demo.setup import demo_folder, shipped_policy, write_config
from interlock.policy import PolicyFile


@pytest.fixture
def server() -> EmbeddedPostgres:
    """Not started: the configuration only needs to know its port and password."""
    return EmbeddedPostgres(port=5999)


def test_configuration_and_policy_load_as_they_are_shipped(tmp_path: Path, server: EmbeddedPostgres) -> None:
    config = load(write_config(tmp_path, server, 0, 0))
    assert config.plaintext_loopback and config.data == tmp_path / "data"
    assert {resource.name: resource.kind for resource in config.resources} == {"orders-db": "postgres", "tickets": "mcp"}
    assert {principal.id: principal.owner for principal in config.principals} == {"alice": "", "bob": "", "claude": "alice"}
    assert config.resources[0].settings["port"] == 5999
    rules = PolicyFile(config.policy).current.rules
    assert rules["no-where"].hold == {"dba"}
    assert not any("reveal" in rule.text for name, rule in rules.items() if not name.startswith("interlock-"))


def test_the_password_is_in_a_private_file_and_nowhere_else(tmp_path: Path, server: EmbeddedPostgres) -> None:
    path = write_config(tmp_path, server, 0, 0)
    secret = tmp_path / "orders-db.password"
    assert secret.read_text() == server.password and secret.stat().st_mode & 0o077 == 0
    assert server.password not in path.read_text()
    write_config(tmp_path, EmbeddedPostgres(port=5998), 0, 0)
    assert secret.read_text() != server.password


def test_a_taken_port_gives_way_to_a_free_one(tmp_path: Path, server: EmbeddedPostgres) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = load(write_config(tmp_path, server, port, port))
    assert len({port, config.postgres.port, config.http.port}) == 3
    free = load(write_config(tmp_path, server, port, 0))
    assert free.postgres.port == port


def test_another_policy_takes_the_place_of_the_shipped_one(tmp_path: Path, server: EmbeddedPostgres) -> None:
    write_config(tmp_path, server, 0, 0, "// nothing\n")
    assert (tmp_path / "policy" / "demo.cedar").read_text() == "// nothing\n" != shipped_policy()


def test_a_kept_folder_stays_and_another_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with demo_folder(keep=True) as kept:
        assert kept.stat().st_mode & 0o077 == 0
    with demo_folder(keep=False) as gone:
        (gone / "file").touch()
    assert kept == tmp_path / "demo-data" and kept.exists() and not gone.exists()
