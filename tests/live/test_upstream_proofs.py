"""How the gateway proves itself to upstream: Debian's PostgreSQL 15 (with TLS), PostgreSQL 18 behind a TLS front, and PgBouncer."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from interlock.net import upstream
from interlock.protocols.postgres.login import SETTINGS
from tests.live.gateway import WAIT_S, Gateway
from tests.tls_front import Certificates, direct_front, make_client_certificate, tls_front
from tests.transparency.places import DEBIAN_15, debian_15

PGBOUNCER = Path("/usr/sbin/pgbouncer")


@dataclass
class Debian:
    """A server with TLS of its own, of which tests choose how role `interlock` logs in."""

    port: int
    password: str
    superuser_password: str
    folder: Path

    def admin(self, *statements: str) -> None:
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=self.superuser_password, autocommit=True
        ) as server:
            for statement in statements:
                server.execute(statement.encode())

    def login_by(self, method: str, kind: str = "hostssl") -> None:
        lines = f"host all postgres 127.0.0.1/32 scram-sha-256\n{kind} all interlock 127.0.0.1/32 {method}\n"
        (self.folder / "data/pg_hba.conf").write_text(lines)
        self.admin("SELECT pg_reload_conf()")
        time.sleep(0.3)  # the postmaster re-reads it when it gets the signal


@pytest.fixture(scope="module")
def debian(certificates: Certificates) -> Iterator[Debian]:
    if not (DEBIAN_15 / "bin/postgres").exists():
        pytest.skip("Debian's postgresql-15 is not installed")
    with debian_15() as (place, folder):
        owner = pwd.getpwnam("postgres")
        for path in (certificates.ca, certificates.certificate, certificates.key):
            shutil.copy(path, folder / path.name)
            (folder / path.name).chmod(0o600)
            os.chown(folder / path.name, owner.pw_uid, owner.pw_gid)
        server = Debian(place.port, "a password", place.password, folder)
        server.admin(
            f"CREATE ROLE interlock LOGIN PASSWORD '{server.password}'",
            "CREATE DATABASE shop OWNER interlock",
            f"ALTER SYSTEM SET ssl_cert_file = '{folder}/server.pem'",
            f"ALTER SYSTEM SET ssl_key_file = '{folder}/server.key'",
            f"ALTER SYSTEM SET ssl_ca_file = '{folder}/ca.pem'",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        )
        yield server


def gateway(folder: Path, server: Debian | EmbeddedPostgres, tls: str, port: int = 0) -> Gateway:
    return Gateway(folder, cast(EmbeddedPostgres, server), host="localhost", port=port, upstream_tls=tls)


def verify(certificates: Certificates, *more: str) -> str:
    return "\n    ".join(("verify", f"ca: {certificates.ca}", *more))


def answers(gateway: Gateway, query: str = "SELECT 1") -> object:
    with gateway, gateway.connect() as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def refusal(gateway: Gateway) -> str:
    with gateway:
        with pytest.raises(psycopg.OperationalError) as caught:
            gateway.connect()
        return str(caught.value)


# -- PostgreSQL 15 with TLS ----------------------------------------------------------------------------------------------


def test_bound_to_upstreams_certificate(debian: Debian, certificates: Certificates, tmp_path: Path) -> None:
    """The server checks our binding against its own certificate; with `require` we use no other way. It speaks 3.0 only."""
    debian.login_by("scram-sha-256")
    assert answers(gateway(tmp_path, debian, verify(certificates, "channel_binding: require"))) == 1


def test_no_binding_no_login(debian: Debian, certificates: Certificates, tmp_path: Path) -> None:
    for method in ("password", "trust"):
        debian.login_by(method)
        (tmp_path / method).mkdir()
        assert "channel binding" in refusal(gateway(tmp_path / method, debian, verify(certificates, "channel_binding: require")))


def test_a_cleartext_password_goes_to_a_verified_server_only(debian: Debian, certificates: Certificates, tmp_path: Path) -> None:
    debian.login_by("password")
    for name in ("verified", "encrypted"):
        (tmp_path / name).mkdir()
    assert answers(gateway(tmp_path / "verified", debian, verify(certificates))) == 1
    assert "verified certificate" in refusal(gateway(tmp_path / "encrypted", debian, "require"))


@pytest.mark.parametrize("kept", ["file", "env"])
def test_a_client_certificate_upstream(debian: Debian, certificates: Certificates, tmp_path: Path, kept: str) -> None:
    debian.login_by("cert")
    (tmp_path / "gateway").mkdir()
    made = make_client_certificate(certificates, tmp_path, "interlock")
    os.environ["ITS_CERTIFICATE"], os.environ["ITS_KEY"] = made.certificate.read_text(), made.key.read_text()
    certificate, key = ("env:ITS_CERTIFICATE", "env:ITS_KEY") if kept == "env" else (f"file:{made.certificate}", f"file:{made.key}")
    shown = (f"client_certificate: {certificate}", f"client_key: {key}")
    assert answers(gateway(tmp_path / "gateway", debian, verify(certificates, *shown))) == 1


def test_without_the_certificate_or_with_another_one(debian: Debian, certificates: Certificates, tmp_path: Path) -> None:
    debian.login_by("cert")
    for name in ("none", "other", "broken"):
        (tmp_path / name).mkdir()
    assert "refused the login" in refusal(gateway(tmp_path / "none", debian, verify(certificates)))
    made = make_client_certificate(certificates, tmp_path, "somebody")
    shown = (f"client_certificate: file:{made.certificate}", f"client_key: file:{made.key}")
    assert "refused the login" in refusal(gateway(tmp_path / "other", debian, verify(certificates, *shown)))
    shown = (f"client_certificate: file:{made.certificate}", f"client_key: file:{certificates.key}")
    assert "cannot be used" in refusal(gateway(tmp_path / "broken", debian, verify(certificates, *shown)))


# -- PostgreSQL 18 -------------------------------------------------------------------------------------------------------


def test_direct_tls_upstream(postgres: EmbeddedPostgres, certificates: Certificates, tmp_path: Path) -> None:
    with direct_front(postgres.host, postgres.port, certificates) as front:
        made = gateway(tmp_path, postgres, verify(certificates, "tls_negotiation: direct"), front.port)
        with made, made.connect() as connection:
            assert connection.execute("SELECT count(*) FROM customers").fetchone() == (400,)
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("SET statement_timeout = 200")
                connection.execute("SELECT pg_sleep(60)")


@pytest.mark.parametrize("front", ["other", "asks"])
def test_who_does_not_speak_direct_tls(postgres: EmbeddedPostgres, certificates: Certificates, tmp_path: Path, front: str) -> None:
    make = direct_front(postgres.host, postgres.port, certificates, "http/1.1") if front == "other" else None
    with make or tls_front(postgres.host, postgres.port, certificates) as server:
        said = refusal(gateway(tmp_path, postgres, verify(certificates, "tls_negotiation: direct"), server.port))
        assert "direct TLS" in said or "TLS with orders-db failed" in said or "cannot be reached" in said


def test_a_front_that_ends_tls_cannot_be_bound_to(postgres: EmbeddedPostgres, certificates: Certificates, tmp_path: Path) -> None:
    with tls_front(postgres.host, postgres.port, certificates) as front:
        said = refusal(gateway(tmp_path, postgres, verify(certificates, "channel_binding: require"), front.port))
        assert "SCRAM-SHA-256-PLUS" in said


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long the cancel keys are that servers give us; looked at in passing."""
    seen: list[int] = []
    reach = upstream.reach

    async def look(*arguments: Any) -> Any:
        link, reached = await reach(*arguments)
        seen.append(len(reached.key))
        return link, reached

    monkeypatch.setattr(upstream, "reach", look)
    return seen


@pytest.mark.parametrize("version", ["3.0", "3.2"])
def test_protocol_3_2_where_the_server_speaks_it(postgres: EmbeddedPostgres, tmp_path: Path, keys: list[int], version: str) -> None:
    """Whatever the client speaks."""
    with Gateway(tmp_path, postgres) as running, running.connect(max_protocol_version=version) as connection:
        with pytest.raises(psycopg.errors.QueryCanceled):
            cancelled(connection)
        assert set(keys) == {32}


@pytest.mark.parametrize("version", ["3.0", "3.2"])
def test_protocol_3_0_where_the_server_offers_that(debian: Debian, tmp_path: Path, keys: list[int], version: str) -> None:
    """PostgreSQL 15 answers a request for 3.2 with NegotiateProtocolVersion."""
    debian.login_by("scram-sha-256", "host")
    with gateway(tmp_path, debian, "disable") as running, running.connect(max_protocol_version=version) as connection:
        with pytest.raises(psycopg.errors.QueryCanceled):
            cancelled(connection)
        assert set(keys) == {4}


def cancelled(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    threading.Timer(0.5, connection.cancel_safe).start()
    connection.execute("SELECT pg_sleep(60)")


# -- PgBouncer 1.18: hangs up on protocol 3.2 ----------------------------------------------------------------------------


@pytest.fixture
def bouncer(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if not PGBOUNCER.exists():
        pytest.skip("PgBouncer is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    folder = tmp_path_factory.mktemp("bouncer")
    (folder / "users.txt").write_text(f'"{postgres.user}" "{postgres.password}"\n')
    ignored = ",".join(SETTINGS)
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={postgres.host} port={postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"auth_type = scram-sha-256\nauth_file = {folder}/users.txt\nunix_socket_dir =\nignore_startup_parameters = {ignored}\n"
    )
    user = ["--user", "postgres"] if os.geteuid() == 0 else []
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.geteuid() and str(path).startswith("/tmp/"):
            path.chmod(path.stat().st_mode | 0o055)
    for path in folder.iterdir():
        path.chmod(0o644)
    server = subprocess.Popen([PGBOUNCER, *user, folder / "pgbouncer.ini"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    yield port
    server.terminate()
    server.wait(WAIT_S)


def test_protocol_3_0_where_3_2_is_not_understood(postgres: EmbeddedPostgres, bouncer: int, tmp_path: Path) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(
            postgres.dsn().replace(f":{postgres.port}/", f":{bouncer}/"), min_protocol_version="3.2", max_protocol_version="3.2"
        )
    with Gateway(tmp_path, postgres, port=bouncer) as running, running.connect() as connection:
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (400,)
