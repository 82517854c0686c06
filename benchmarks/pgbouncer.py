"""pgbouncer beside the gateway: session pooling, SCRAM on both sides, no TLS; what a proxy that inspects nothing costs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gateway import free_port, wait_for
from interlock.demo.database import DATABASE, EmbeddedPostgres

_CONFIG = """
[databases]
{database} = host={host} port={upstream} dbname={database} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = session
default_pool_size = 200
max_client_conn = 400
ignore_startup_parameters = extra_float_digits
{run_as}
"""


@contextlib.contextmanager
def pgbouncer(server: EmbeddedPostgres) -> Iterator[tuple[int, int] | None]:
    """Its port and process id; None where it is not installed (Debian: package `pgbouncer`)."""
    command = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if command is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        root = os.geteuid() == 0  # pgbouncer does not run as root: it becomes nobody, who must read its files
        folder.chmod(0o755 if root else 0o700)
        (folder / "users").write_text(f'"{server.user}" "{server.password}"\n')
        config = _CONFIG.format(
            database=DATABASE,
            host=server.host,
            upstream=server.port,
            user=server.user,
            password=server.password,
            port=port,
            folder=folder,
            run_as="user = nobody" if root else "",
        )
        (folder / "pgbouncer.ini").write_text(config)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([command, "-q", str(folder / "pgbouncer.ini")], stdout=log, stderr=log)
            try:
                wait_for(port, process, folder / "log")
                yield port, process.pid
            finally:
                process.terminate()
                process.wait(15)
