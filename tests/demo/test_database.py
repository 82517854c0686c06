"""The embedded PostgreSQL starts as any user, keeps strangers out and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from interlock.demo import database
from interlock.demo.database import EmbeddedPostgres
from interlock.errors import UpstreamError

HOLDER = """
import time
from interlock.demo.database import EmbeddedPostgres
with EmbeddedPostgres() as server:
    print(server.port, server._folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as running:
        yield running


def test_the_plain_role_owns_what_it_makes_and_is_no_superuser(server: EmbeddedPostgres) -> None:
    server.run("CREATE TABLE mine (a int); DROP TABLE mine;")
    rights = "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = current_user;"
    assert server.run(rights).strip() == "f|f|f|f|f"
    with pytest.raises(UpstreamError, match="permission denied"):
        server.run("COPY (SELECT 1) TO PROGRAM 'true';")
    with pytest.raises(UpstreamError, match="permission denied for database"):
        server.run("SELECT 1;", "postgres")


def test_a_wrong_password_is_refused_and_the_method_is_scram(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn().replace(server.password, "wrong"))
    stored = server.run("SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolcanlogin;", superuser=True)
    assert stored.split() == ["t", "t"]


def test_it_listens_on_the_loopback_only(server: EmbeddedPostgres) -> None:
    assert server.run("SHOW listen_addresses; SHOW unix_socket_directories;", superuser=True).split() == ["127.0.0.1"]


def test_its_folder_is_private_and_the_password_file_is_gone(server: EmbeddedPostgres) -> None:
    assert server._folder is not None
    assert server._folder.stat().st_mode & 0o077 == 0
    assert not (server._folder / "password").exists()


def test_stop_removes_everything_and_may_be_called_twice(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path).start()
    folder = server._folder
    assert folder is not None
    server.stop()
    server.stop()
    assert not folder.exists()
    assert not _accepts(server.port)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_orphans_however_the_holder_ends(end: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as holder:
        assert holder.stdout is not None
        port, folder = holder.stdout.readline().split()
        assert _accepts(int(port))
        holder.send_signal(end)
        holder.wait(20)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (_accepts(int(port)) or Path(folder).exists()):
        time.sleep(0.05)
    assert not _accepts(int(port))
    assert not Path(folder).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as somebody else")
def test_root_need_not_open_the_folder_of_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A checkout below /root: the server's programs are copied, no permission is changed."""
    monkeypatch.setattr(database, "_reachable", lambda path: False)
    with EmbeddedPostgres(tmp_path) as server:
        assert server._folder is not None
        assert list(server._folder.glob("server/*/pginstall/bin/postgres"))
        assert server._folder.parent == Path("/tmp")
        assert server.run("SELECT 1;").strip() == "1"
    assert server._folder is None


def test_a_taken_port_is_said_in_the_servers_words(server: EmbeddedPostgres) -> None:
    with pytest.raises(UpstreamError, match="Address already in use"):
        EmbeddedPostgres(port=server.port).start()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
