"""`interlock connect`: where, as whom, and never with the token in sight."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import CONFIG, Running
from tests.cli.transcript import play, run


def test_the_transcript(house: Path) -> None:
    (house / "interlock.yaml").write_text(CONFIG.replace("{port: 0}", "{port: 6432}"))
    play("connect", house)


def test_the_gateway_says_who_i_am(gateway: Running) -> None:
    said = run(["connect", "orders-db", "--print"], {"INTERLOCK_URL": gateway.url, "INTERLOCK_TOKEN": gateway.tokens["alice"]})

    assert "PGUSER=alice PGDATABASE=orders-db" in said.out
    assert gateway.tokens["alice"] not in said.out


def test_what_i_may_not_connect_to_is_not_there(gateway: Running) -> None:
    caller = {"INTERLOCK_URL": gateway.url, "INTERLOCK_TOKEN": gateway.tokens["bob"]}

    assert run(["connect", "orders-db"], caller).err == run(["connect", "no-such-db"], caller).err.replace("no-such-db", "orders-db")


def test_psql_gets_the_token_in_its_environment_only(house: Path, tmp_path: Path) -> None:
    """A psql of our own tells what it was given."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "psql").write_text('#!/bin/sh\necho "arguments: $*"\nenv | grep -E "^(PG|INTERLOCK_TOKEN)" | sort\n')
    (tools / "psql").chmod(stat.S_IRWXU)
    ours = {"PATH": f"{tools}:/usr/bin:/bin", "INTERLOCK_TOKEN": "t0ken", "PGSERVICE": "elsewhere"}

    done = subprocess.run(
        [sys.executable, "-m", "interlock", "connect", "orders-db", "--as", "alice", "--", "-c", "SELECT 1"],
        env={name: value for name, value in os.environ.items() if name != "PATH"} | ours,
        cwd=house,
        capture_output=True,
        text=True,
    )

    assert done.stdout.splitlines() == [
        "arguments: -c SELECT 1",
        "PGAPPNAME=interlock connect",
        "PGDATABASE=orders-db",
        "PGHOST=127.0.0.1",
        "PGPASSWORD=t0ken",
        "PGPORT=0",
        "PGSSLMODE=disable",
        "PGUSER=alice",
    ]


def test_with_tls_the_certificate_is_checked(house: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (house / name).touch()
    tls = "tls: {certificate: cert.pem, key: key.pem}"
    listening = f"postgres: {{host: 0.0.0.0, port: 6432, {tls}}}\nhttp: {{port: 0, {tls}}}\n"
    plain = "plaintext_loopback: true\npostgres: {port: 0}\nhttp: {port: 0}\n"
    (house / "interlock.yaml").write_text(CONFIG.replace(plain, listening))

    said = run(
        ["connect", "orders-db", "--as", "alice", "--print", "--config", str(house / "interlock.yaml")],
        {"INTERLOCK_TOKEN": "t", "INTERLOCK_CA": "/ca.pem", "INTERLOCK_URL": "https://gateway.example:7080"},
    )

    assert "PGHOST=gateway.example PGPORT=6432" in said.out
    assert "PGSSLMODE=verify-full PGSSLROOTCERT=/ca.pem" in said.out
