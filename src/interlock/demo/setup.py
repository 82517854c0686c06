"""The demo's folder: a configuration and a policy like anybody's, beside the data that the gateway makes there.

```
<folder>/
  interlock.yaml         from interlock.yaml in this package, with the ports that were free
  policy/demo.cedar      from policy/demo.cedar in this package
  orders-db.password     what the gateway logs in with; random, new at each start
  data/                  the gateway's: state, keys, evidence
```
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from string import Template

from interlock.demo.database import HOST, EmbeddedPostgres

KEPT = Path("demo-data")
"""Where `--keep` leaves everything, below the current folder."""


@contextlib.contextmanager
def demo_folder(keep: bool) -> Iterator[Path]:
    """`./demo-data`, which stays, or a temporary folder, which goes. Mode 0700: keys and evidence lie in it."""
    if keep:
        KEPT.mkdir(mode=0o700, exist_ok=True)
        yield KEPT.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="interlock-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_config(folder: Path, server: EmbeddedPostgres, postgres_port: int, http_port: int, policy: str | None = None) -> Path:
    """Write configuration and policy (the demo's own, unless another text is given) into the folder; the configuration's path."""
    ports = _free_ports(postgres_port, http_port)
    (folder / "policy").mkdir(exist_ok=True)
    (folder / "policy" / "demo.cedar").write_text(policy or shipped_policy(), encoding="utf-8")
    password = folder / "orders-db.password"
    password.unlink(missing_ok=True)
    with open(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(server.password)
    path = folder / "interlock.yaml"
    template = Template((resources.files(__package__) / "interlock.yaml").read_text(encoding="utf-8"))
    filled = template.substitute(postgres_port=ports[0], http_port=ports[1], upstream_port=server.port, python=f'"{sys.executable}"')
    path.write_text(filled, encoding="utf-8")
    return path


def shipped_policy() -> str:
    """The demo's policy, as the package has it."""
    return (resources.files(__package__) / "policy" / "demo.cedar").read_text(encoding="utf-8")


def _free_ports(*wanted: int) -> list[int]:
    """These ports where they are free, others where they are not. All are held until all are found, so that they differ."""
    with contextlib.ExitStack() as held:
        return [held.enter_context(_bound(port)).getsockname()[1] for port in wanted]


def _bound(port: int) -> socket.socket:
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((HOST, port))
        probe.listen()  # two may bind with SO_REUSEADDR, only one may listen
    except OSError:
        probe.close()
        probe = socket.socket()
        probe.bind((HOST, 0))
    return probe
