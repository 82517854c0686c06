"""A folder with a configuration, and a gateway that runs on it as a process: real stations, a real port, no database."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.transcript import run

CONFIG = """\
data: ./data
policy: ./policy
plaintext_loopback: true
postgres: {port: 0}
http: {port: 0}
principals:
  - {id: alice, kind: user, groups: [engineering]}
  - {id: bob, kind: user, groups: [dba]}
  - {id: claude, kind: agent, owner: alice, groups: [agents]}
resources:
  - name: orders-db
    kind: postgres
    labels: {env: dev}
    host: 127.0.0.1
    port: 1
    database: shop
    username: interlock
    password: env:ORDERS_DB_PASSWORD
    classes: {customers.email: email}
  - {name: tickets, kind: mcp, url: "http://127.0.0.1:1/mcp"}
"""

POLICY = """\
@id("eng-read")
permit (principal in Group::"engineering", action in [Action::"session", Action::"read"], resource in Label::"env:dev");

@id("eng-write")
permit (principal in Group::"engineering", action in Action::"write", resource in Label::"env:dev");

@id("no-where") @hold("dba") @reason("DELETE or UPDATE without WHERE")
forbid (principal, action in [Action::"sql.delete", Action::"sql.update"], resource)
when { !context.has_where };

@id("people-look")
permit (
    principal is User,
    action in [Action::"connect", Action::"console.view", Action::"console.replay"],
    resource == Resource::"interlock"
);

@id("people-kill")
permit (principal is User, action == Action::"console.revoke", resource == Resource::"interlock");

@id("kill-agreed") @hold("dba") @reason("ending sessions is agreed upon first")
forbid (principal in Group::"engineering", action == Action::"console.revoke", resource == Resource::"interlock");

@id("dba-approve")
permit (principal in Group::"dba", action == Action::"approve", resource == Resource::"interlock");
"""


def write_house(folder: Path) -> Path:
    (folder / "policy").mkdir()
    (folder / "policy" / "shop.cedar").write_text(POLICY)
    (folder / "interlock.yaml").write_text(CONFIG)
    return folder


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with `interlock.yaml` and `policy/`, nothing running."""
    return write_house(tmp_path)


@dataclass(frozen=True)
class Running:
    """A gateway at `url`, its folder, and tokens of alice, bob and claude."""

    folder: Path
    url: str
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = write_house(tmp_path_factory.mktemp("gateway"))
    config = ["--config", str(folder / "interlock.yaml")]
    tokens = {name: run(["token", "issue", name, *config]).out.strip() for name in ("alice", "bob", "claude")}
    with serving(folder) as (_, lines):
        ready = next(line for line in map(json.loads, lines) if line["event"] == "serving")
        yield Running(folder, ready["http"], tokens)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """`interlock serve` as a process, and the lines of its log."""
    process = subprocess.Popen(
        [sys.executable, "-m", "interlock", "serve"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        yield process, iter(process.stderr)
    finally:
        process.kill()
        process.communicate()
