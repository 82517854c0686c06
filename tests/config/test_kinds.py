"""What each kind of resource may say of itself, and what it may not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from interlock.config.kinds import KINDS
from interlock.config.yaml_file import read_yaml
from interlock.errors import ConfigError


def settings(folder: Path, kind: str, text: str) -> Mapping[str, object]:
    (folder / "ca.pem").touch()
    path = folder / "interlock.yaml"
    path.write_text(text)
    table = read_yaml(path)
    found = KINDS[kind](table)
    table.finish()
    return found


def test_postgres_verifies_certificates_unless_told_otherwise(tmp_path: Path) -> None:
    assert settings(tmp_path, "postgres", "host: db\ndatabase: shop\nusername: u\n") == {
        "host": "db",
        "port": 5432,
        "database": "shop",
        "username": "u",
        "password": "",
        "tls": "verify",
    }


def test_postgres_by_certificate(tmp_path: Path) -> None:
    base = "host: db\ndatabase: shop\nusername: u\n"
    more = "tls_negotiation: direct\nchannel_binding: require\nclient_certificate: env:C\nclient_key: file:key.pem\n"
    found = settings(tmp_path, "postgres", base + more)
    assert (found["tls_negotiation"], found["channel_binding"]) == ("direct", "require")
    assert (found["client_certificate"], found["client_key"]) == ("env:C", f"file:{tmp_path}/key.pem")


def test_mcp_runs_in_the_files_folder_unless_told_otherwise(tmp_path: Path) -> None:
    assert settings(tmp_path, "mcp", "command: [a]\n") == {"command": ("a",), "folder": str(tmp_path), "environment": {}}


@pytest.mark.parametrize(
    ("kind", "text", "line", "message", "hint"),
    [
        ("postgres", "host: h\ndatabase: d\nusername: u\nhots: x\n", 4, "hots is not a known key", "did you mean host?"),
        ("postgres", "host: h\ndatabase: d\nusername: u\nurl: x\n", 4, "url is not a known key", "known here"),
        ("postgres", "host: a b\ndatabase: d\nusername: u\n", 1, "host is not written as expected", "a host name or an address"),
        ("postgres", "host: h\nusername: u\n", 1, "database is missing", "add a line"),
        ("postgres", "host: h\ndatabase: d\nusername: u\ntls: off\n", 4, "tls must be text", ""),
        ("postgres", "host: h\ndatabase: d\nusername: u\ntls: prefer\n", 4, "tls must be one of: verify, require, disable", ""),
        ("postgres", "host: h\ndatabase: d\nusername: u\ntls: require\nca: ca.pem\n", 5, "has no effect", "tls: verify"),
        ("postgres", "host: h\ndatabase: d\nusername: u\nclient_key: env:K\n", 4, "needs client_certificate", ""),
        ("postgres", "host: h\ndatabase: d\nusername: u\nclient_key: k.pem\nclient_certificate: env:C\n", 4, "must say where", ""),
        ("postgres", "host: h\ndatabase: d\nusername: u\ntls: disable\ntls_negotiation: direct\n", 5, "has no effect", "use TLS"),
        ("postgres", "host: h\ndatabase: d\nusername: u\nport: 0\n", 4, "port is 0", "from 1 to 65535"),
        ("mcp", "token: env:T\n", 1, "either command or url", ""),
        ("mcp", "command: [a]\nurl: http://x\n", 1, "either command or url", ""),
        ("mcp", "command: []\n", 1, "command is empty", "[python, -m, my_server]"),
        ("mcp", "command: python\n", 1, "must be a list", ""),
        ("mcp", "command: [a]\nenvironment: {K: v}\n", 2, "environment.K must say where", "plain:VALUE"),
        ("mcp", "url: file:///etc/passwd\n", 1, "not an http(s) address", "https://"),
        ("mcp", "url: http://x\nenvironment: {K: env:V}\n", 2, "environment is not a known key", ""),
    ],
)
def test_a_mistake_is_named_with_its_line_and_remedy(tmp_path: Path, kind: str, text: str, line: int, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, kind, text)

    assert caught.value.place == f"{tmp_path / 'interlock.yaml'}:{line}"
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("value", ["hunter2", "env:9hunter2", "plain:hunter2", "[hunter2]", "'file:'"])
def test_a_literal_secret_is_refused_and_not_repeated(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="where the secret is kept") as caught:
        settings(tmp_path, "postgres", f"host: h\ndatabase: d\nusername: u\npassword: {value}\n")

    assert "env:NAME or file:PATH" in caught.value.hint
    assert "hunter2" not in str(caught.value) + caught.value.hint
