"""A gateway for benchmarks: its own process, a real PostgreSQL, parsing, policy, masking and recording all on."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from interlock.demo.database import EmbeddedPostgres

RESOURCE = "bench-db"
PRINCIPAL = "bench"
START_S = 30.0
_CONFIG = """
data: ./data
postgres: {{host: 127.0.0.1, port: {port}}}
http: {{host: 127.0.0.1, port: {http}}}
plaintext_loopback: true
policy: ./policy.cedar
principals:
  - {{id: {principal}, kind: user, groups: [bench]}}
resources:
  - name: {resource}
    kind: postgres
    labels: {{env: bench}}
    host: {host}
    port: {upstream}
    database: {database}
    tls: disable
    username: {user}
    password: env:BENCH_PASSWORD
    durability: {durability}
    classes: {{customers.email: email, customers.phone: phone, customers.card: card}}
masking: {{transforms: {{"*": redact}}}}
"""
_POLICY = """
@id("bench")
permit (principal in Group::"bench", action in [Action::"session", Action::"sql", Action::"filter"], resource in Label::"env:bench");
"""


@contextlib.contextmanager
def gateway(server: EmbeddedPostgres, durability: str, package: Path | None = None) -> Iterator[tuple[int, str, int]]:
    """A running `interlock serve` in front of the server: its port, a token of `PRINCIPAL` for `RESOURCE`, and its process id.
    `package` is the folder to take the package from (`build/compiled`), None for the installed one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port, http = free_port(), free_port()
        config = folder / "interlock.yaml"
        config.write_text(
            _CONFIG.format(
                port=port,
                http=http,
                principal=PRINCIPAL,
                resource=RESOURCE,
                host=server.host,
                upstream=server.port,
                database="shop",
                user=server.user,
                durability=durability,
            )
        )
        (folder / "policy.cedar").write_text(_POLICY)
        ours = {**os.environ, "BENCH_PASSWORD": server.password}
        if package is not None:
            ours["PYTHONPATH"] = str(package)
        command = [sys.executable, "-m", "interlock"]
        issued = subprocess.run(
            [*command, "token", "issue", PRINCIPAL, "--for", "postgres", "--config", str(config)], env=ours, capture_output=True, text=True
        )
        if issued.returncode:
            raise RuntimeError(f"no token: {issued.stderr}")
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([*command, "serve", "--config", str(config)], env=ours, stdout=log, stderr=log)
            try:
                wait_for(port, process, folder / "log")
                yield port, issued.stdout.strip().splitlines()[0], process.pid
            finally:
                process.terminate()
                process.wait(15)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the process listens. Raises `RuntimeError` with its log when it does not."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"it did not start:\n{log.read_text()}")
