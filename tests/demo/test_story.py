"""The story is played as a user plays it: as a process of its own, judged by its exit code, its JSON and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from interlock.demo.setup import shipped_policy

STORY = [sys.executable, "-m", "interlock.demo"]
STEPS = ["start", "masked", "no-way-around", "held-and-approved", "blocked", "mcp", "mcp-tickets", "predicates"]
STEPS += ["replayed", "verified", "revoked"]
WRONG_POLICIES = {
    "masked": ("// The demo's policy", '@id("oops") permit (principal, action == Action::"reveal", resource == DataClass::"email");\n//'),
    "held-and-approved": ("when { !context.has_where };", "when { false };"),
    "blocked": (
        '@id("no-ddl") @reason',
        '@id("oops") permit (principal, action == Action::"sql.ddl", resource);\n@id("no-ddl") @hold("dba") @reason',
    ),
}
"""By the step that must fail: what is replaced in the policy, and by what."""
UNDER_ANOTHER_POLICY = """
import sys
from pathlib import Path
from interlock.demo.story import main
sys.exit(main(once=True, json=True, ready_file=None, policy=Path(sys.argv[1]).read_text()))
"""


@dataclass
class Demo:
    process: subprocess.Popen[str]
    ready: dict[str, Any]


def _environment(tmp_path: Path) -> dict[str, str]:
    """All that the demo puts anywhere lands in `tmp_path`, where a test sees what is left."""
    return os.environ | {"TMPDIR": str(tmp_path)}


def _run(tmp_path: Path, *command: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(command, env=_environment(tmp_path), capture_output=True, text=True, timeout=170, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_once_every_step_does_what_it_claims_and_nothing_stays_behind(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready.json"
    code, told, errors = _run(tmp_path, *STORY, "--once", "--json", "--ready-file", str(ready_file))
    assert (code, told["ok"], errors) == (0, True, ""), told
    assert [step["name"] for step in told["steps"]] == STEPS
    assert all(step["ok"] and step["seconds"] >= 0 and step["detail"] for step in told["steps"])

    ready = json.loads(ready_file.read_text())
    assert ready_file.stat().st_mode & 0o077 == 0
    assert set(ready) == {"postgres", "mcp_url", "console_url", "resources", "tokens", "upstream_dsn"}
    assert set(ready["tokens"]) == {"alice", "bob", "claude"}
    ready_file.unlink()
    _assert_nothing_left(tmp_path, ready)


@pytest.mark.parametrize("step", WRONG_POLICIES)
def test_a_wrong_policy_breaks_the_claim_and_the_story_says_which(tmp_path: Path, step: str) -> None:
    right, wrong = WRONG_POLICIES[step]
    assert shipped_policy().count(right) == 1
    policy = tmp_path / "wrong.cedar"
    policy.write_text(shipped_policy().replace(right, wrong))
    code, told, _ = _run(tmp_path, sys.executable, "-c", UNDER_ANOTHER_POLICY, str(policy))
    assert (code, told["ok"]) == (1, False)
    played = {each["name"]: each["ok"] for each in told["steps"]}
    assert list(played) == STEPS[: STEPS.index(step) + 1]
    assert [name for name, ok in played.items() if not ok] == [step]
    assert "does not hold" in told["steps"][-1]["detail"]
    assert "@" not in json.dumps(told)


def test_a_policy_with_a_mistake_opens_no_door(tmp_path: Path) -> None:
    policy = tmp_path / "broken.cedar"
    policy.write_text(shipped_policy() + "permit (")
    code, told, _ = _run(tmp_path, sys.executable, "-c", UNDER_ANOTHER_POLICY, str(policy))
    assert (code, told["ok"]) == (1, False)
    assert [(step["name"], step["ok"]) for step in told["steps"]] == [("start", False)]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_in_the_middle_no_process_stays_behind(tmp_path: Path, end: signal.Signals) -> None:
    ready_file = tmp_path / "ready.json"
    command = [*STORY, "--ready-file", str(ready_file)]
    with subprocess.Popen(command, env=_environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as demo:
        ready = _wait_for(ready_file, demo)
        with psycopg.connect(_address(ready), connect_timeout=10) as alice:
            assert alice.execute("SELECT count(*) FROM customers").fetchone() == (20_000,)
        children = _descendants(demo.pid)
        assert any("interlock.demo.tickets" in line for line in children.values())
        demo.send_signal(end)
        _, errors = demo.communicate(timeout=30)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(_alive(pid, line) for pid, line in children.items()):
        time.sleep(0.05)
    assert [line for pid, line in children.items() if _alive(pid, line)] == []
    if end != signal.SIGKILL:  # which leaves the folder of the gateway's data, and nothing else
        assert demo.returncode == 130
        assert errors == ""
        ready_file.unlink()
        _assert_nothing_left(tmp_path, ready)


def _assert_nothing_left(tmp_path: Path, ready: dict[str, Any]) -> None:
    assert [path.name for path in tmp_path.iterdir()] == []
    for port in (
        ready["postgres"]["port"],
        int(ready["console_url"].rpartition(":")[2]),
        int(ready["upstream_dsn"].rpartition(":")[2].partition("/")[0]),
    ):
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def _address(ready: dict[str, Any]) -> str:
    return f"postgresql://alice:{ready['tokens']['alice']}@{ready['postgres']['host']}:{ready['postgres']['port']}/orders-db"


def _wait_for(ready_file: Path, demo: subprocess.Popen[str]) -> dict[str, Any]:
    deadline = time.monotonic() + 90
    while not ready_file.exists():
        assert demo.poll() is None and time.monotonic() < deadline, "the demo did not get ready"
        time.sleep(0.05)
    return dict(json.loads(ready_file.read_text()))


def _descendants(root: int) -> dict[int, str]:
    """The processes below one, by id, with their command lines (Linux: /proc)."""
    parents = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found: dict[int, str] = {}
    fresh = {root}
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh}
        found |= {pid: _line(pid) for pid in fresh}
    return found


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _alive(pid: int, line: str) -> bool:
    return bool(line) and _line(pid) == line
