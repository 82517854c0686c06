"""Where suites run: a server, and a gateway in front of it whose policy permits everything.

The gateway is `interlock serve` in a process of its own. Its resources are named like the server's databases and
its principal like the server's user, so that a suite notices nothing but another port and another password.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
START_S = 30.0
STOP_S = 20.0
DEBIAN_15 = Path("/usr/lib/postgresql/15")
USER = "postgres"
POLICY = """
@id("all") @reason("transparency is proved with nothing refused and nothing masked")
permit (principal, action, resource);
"""
_CONFIG = """
data: ./data
policy: ./policy.cedar
plaintext_loopback: true
postgres: {{host: 127.0.0.1, port: {port}}}
http: {{host: 127.0.0.1, port: {http}}}
principals:
  - {{id: {user}, kind: user}}
limits: {{sessions_per_principal: 1000, statement_bytes: 16777216, message_bytes: 268435456}}
resources:
"""
_RESOURCE = """
  - name: {name}
    kind: postgres
    labels: {{env: test}}
    host: {host}
    port: {upstream}
    database: {name}
    tls: disable
    username: {user}
    password: env:UPSTREAM_PASSWORD
    durability: write-through
"""


@dataclass(frozen=True, slots=True, repr=False)
class Place:
    """Where a suite connects: the server itself, or a gateway in front of it."""

    port: int
    password: str
    user: str = USER

    def environment(self, database: str = "", **more: str) -> dict[str, str]:
        """The process environment plus `PG*`, without the caller's own."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        ours |= {"PGHOST": HOST, "PGPORT": str(self.port), "PGUSER": self.user, "PGPASSWORD": self.password, "PGSSLMODE": "disable"}
        return ours | ({"PGDATABASE": database} if database else {}) | more

    def dsn(self, database: str) -> str:
        return f"postgresql://{self.user}:{self.password}@{HOST}:{self.port}/{database}"


@contextlib.contextmanager
def debian_15() -> Iterator[tuple[Place, Path]]:
    """A fresh Debian PostgreSQL 15 on a free port with superuser `postgres`, and a folder its processes may read."""
    owner = pwd.getpwnam("postgres")
    folder = Path(tempfile.mkdtemp(prefix="transparency-"))
    place = Place(free_port(), secrets.token_urlsafe(18))
    try:
        (folder / "password").write_text(place.password)
        for path in (folder, folder / "password"):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        folder.chmod(0o755)
        run = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", "--"] if os.geteuid() == 0 else []
        initdb = [DEBIAN_15 / "bin/initdb", f"--pgdata={folder / 'data'}", "--username=postgres", f"--pwfile={folder / 'password'}"]
        initdb += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        subprocess.run([*run, *map(str, initdb)], check=True, capture_output=True, cwd=folder)
        settings = {
            "listen_addresses": HOST,
            "port": str(place.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "max_prepared_transactions": "2",
            "max_connections": "200",
        }
        command = [DEBIAN_15 / "bin/postgres", "-D", folder / "data", *(f"--{name}={value}" for name, value in settings.items())]
        with (folder / "server.log").open("wb") as log:
            server = subprocess.Popen([*run, *map(str, command)], stdout=log, stderr=log, cwd=folder)
        try:
            _await_port(place.port, server, folder / "server.log")
            ready = [str(DEBIAN_15 / "bin/pg_isready"), "-q", "-h", HOST, "-p", str(place.port)]
            while subprocess.run(ready).returncode:  # it listens before it lets anybody in
                time.sleep(0.05)
            yield place, folder
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown
            server.wait(STOP_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def gateway(server: Place, databases: Sequence[str], log: Path | None = None) -> Iterator[Place]:
    """A running gateway in front of the server, with a token for everything. `log` keeps what it says."""
    with tempfile.TemporaryDirectory(prefix="transparency-gateway-") as name:
        folder = Path(name)
        port = free_port()
        config = folder / "interlock.yaml"
        text = _CONFIG.format(port=port, http=free_port(), user=server.user)
        text += "".join(_RESOURCE.format(name=each, host=HOST, upstream=server.port, user=server.user) for each in databases)
        config.write_text(text)
        (folder / "policy.cedar").write_text(POLICY)
        ours = {**os.environ, "UPSTREAM_PASSWORD": server.password}
        command = [sys.executable, "-m", "interlock"]
        issue = [*command, "token", "issue", server.user, "--for", "postgres", "--config", str(config)]
        issued = subprocess.run(issue, env=ours, capture_output=True, text=True)
        if issued.returncode:
            raise RuntimeError(f"no token: {issued.stderr}")
        log = log or folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen([*command, "serve", "--config", str(config)], env=ours, stdout=out, stderr=out)
        try:
            _await_port(port, process, log)
            yield Place(port, issued.stdout.strip().splitlines()[0], server.user)
        finally:
            process.terminate()
            process.wait(STOP_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}:\n{log.read_text(errors='replace')}")
