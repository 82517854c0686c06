"""The command line as people use it: `serve` as a process on a real PostgreSQL, psql through `connect`, then what came of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.demo.database import EmbeddedPostgres
from tests.cli.conftest import CONFIG, POLICY
from tests.cli.transcript import Said, run

UPSTREAM = "host: 127.0.0.1\n    port: 1\n    database: shop\n    username: interlock\n    password: env:ORDERS_DB_PASSWORD"


@pytest.fixture(scope="module")
def house(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a gateway serves; its configuration is rewritten with the ports it got."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "password").write_text(postgres.password)
    (folder / "policy").mkdir()
    (folder / "policy" / "shop.cedar").write_text(POLICY)
    upstream = UPSTREAM.replace("127.0.0.1", postgres.host).replace("port: 1", f"port: {postgres.port}\n    tls: disable")
    upstream = upstream.replace("env:ORDERS_DB_PASSWORD", "file:./password")
    config = CONFIG.replace(UPSTREAM, upstream)
    (folder / "interlock.yaml").write_text(config)
    process = subprocess.Popen([sys.executable, "-m", "interlock", "serve"], cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        ready = next(line for line in map(json.loads, process.stderr) if line["event"] == "serving")
        for door in ("postgres", "http"):
            port = ready[door].rpartition(":")[2]
            config = config.replace(f"{door}: {{port: 0}}", f"{door}: {{port: {port}}}")
        (folder / "interlock.yaml").write_text(config)
        yield folder
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def interlock(house: Path, *arguments: str, token: str = "") -> Said:
    return run([arguments[0], "--config", str(house / "interlock.yaml"), *arguments[1:]], {"INTERLOCK_TOKEN": token} if token else {})


def token_of(house: Path, name: str) -> str:
    return run(["token", "issue", name, "--config", str(house / "interlock.yaml")]).out.strip()


def connect(house: Path, wheel: Path, token: str, sql: str) -> subprocess.Popen[str]:
    """`interlock connect orders-db -- -c SQL`, with the wheel's psql on the path."""
    environment = os.environ | {"PATH": f"{wheel.parent}:{os.environ['PATH']}", "INTERLOCK_TOKEN": token}
    command = [sys.executable, "-m", "interlock", "connect", "orders-db", "--", "--no-psqlrc", "-At", "-c", sql]
    return subprocess.Popen(command, cwd=house, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_query_comes_back_masked_and_is_replayed_and_verified(house: Path, psql: Path) -> None:
    out, err = connect(house, psql, token_of(house, "alice"), "SELECT id, email FROM customers ORDER BY id LIMIT 2").communicate(timeout=60)
    assert (out.splitlines(), err) == (["1|[email]", "2|[email]"], "")

    bob = token_of(house, "bob")
    sealed: list[dict[str, object]] = []
    deadline = time.monotonic() + 30
    while not sealed and time.monotonic() < deadline:
        listed = json.loads(interlock(house, "sessions", "--by", "alice", "--on", "orders-db", "--json", token=bob).out)
        sealed = [each for each in listed["sessions"] if each["state"] == "sealed"]
    session = str(sealed[0]["id"])

    replayed = interlock(house, "replay", session, token=bob).out
    assert "query: SELECT id, email FROM customers ORDER BY id LIMIT 2" in replayed
    assert "row: 1 | [email]" in replayed
    assert "masked email ×2" in replayed
    assert [line for line in interlock(house, "replay", session).out.splitlines() if "row: " in line] == [
        line for line in replayed.splitlines() if "row: " in line
    ]
    assert interlock(house, "verify", session).code == 0


def test_a_held_statement_runs_once_it_is_approved(house: Path, psql: Path) -> None:
    bob = token_of(house, "bob")
    with connect(house, psql, token_of(house, "alice"), "UPDATE orders SET status = status") as waiting:
        requests: list[dict[str, str]] = []
        deadline = time.monotonic() + 30
        while not requests and time.monotonic() < deadline:
            requests = json.loads(interlock(house, "approve", "--json", token=bob).out)["approvals"]
        assert interlock(house, "approve", requests[0]["id"], token=bob).code == 0
        out, err = waiting.communicate(timeout=60)

    assert out == "UPDATE 1600\n"
    assert requests[0]["id"] in err


def test_with_a_token_explanations_know_the_catalog(house: Path) -> None:
    asked = ["explain", "--config", str(house / "interlock.yaml"), "--as", "alice", "--on", "orders-db", "SELECT count(*) FROM orders"]

    assert run(["policy", *asked], {"INTERLOCK_TOKEN": token_of(house, "bob")}).out.startswith("allow ")
    assert run(["policy", *asked]).out.startswith("deny ")  # from the files: count(*) could be anybody's function


def test_kill_ends_what_is_running(house: Path, psql: Path) -> None:
    bob = token_of(house, "bob")
    with connect(house, psql, token_of(house, "alice"), "SELECT pg_sleep(60)") as sleeping:
        live: list[dict[str, object]] = []
        deadline = time.monotonic() + 30
        while not live and time.monotonic() < deadline:
            listed = json.loads(interlock(house, "sessions", "--live", "--by", "alice", "--on", "orders-db", "--json", token=bob).out)
            live = [each for each in listed["sessions"] if each["operations"] == 2]
        assert interlock(house, "kill", str(live[0]["id"]), token=bob).code == 0
        _, err = sleeping.communicate(timeout=30)

    assert sleeping.returncode != 0
    assert "ended by bob at the console" in err
