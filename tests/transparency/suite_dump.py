"""pg_dump, direct and through the gateway, compared byte by byte; and what pg_restore makes of it, dumped again.

The schema is the one that PostgreSQL's regression suite leaves behind (a thousand objects of every kind), or any other.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

from tests.transparency.places import DEBIAN_15, Place

DUMP_S = 600
_VOLATILE = re.compile(rb"(?m)^\\(?:un)?restrict .*$")
"""psql's guard words, random in each dump."""


def dump(place: Place, database: str, *options: str) -> bytes:
    command = [str(DEBIAN_15 / "bin/pg_dump"), "--no-sync", *options, database]
    done = subprocess.run(command, env=place.environment(), capture_output=True, timeout=DUMP_S)
    if done.returncode:
        raise RuntimeError(f"pg_dump failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
    return _VOLATILE.sub(b"", done.stdout)


def restore(place: Place, database: str, archive: Path) -> str:
    """Restore an archive in one transaction; gives the errors, empty if there are none."""
    command = [str(DEBIAN_15 / "bin/pg_restore"), "--no-owner", "--exit-on-error", "--single-transaction", "-d", database, str(archive)]
    done = subprocess.run(command, env=place.environment(), capture_output=True, timeout=DUMP_S)
    return "" if done.returncode == 0 else done.stderr.decode(errors="replace")[-2000:]


def run(direct: Place, through: Place, database: str, empty: str, folder: Path) -> dict[str, tuple[str, str]]:
    """Step → outcome (direct, through). `empty` is an empty database on the server, for the restore."""
    found: dict[str, tuple[str, str]] = {}
    for name, options in (("plain", ()), ("inserts", ("--inserts", "--rows-per-insert=50")), ("schema only", ("--schema-only",))):
        found[f"dump, {name}"] = (_digest(dump(direct, database, *options)), _digest(dump(through, database, *options)))
    archive = folder / "archive"
    archive.write_bytes(dump(through, database, "--format=custom"))
    failed = restore(through, empty, archive)
    found["restore"] = ("", failed)
    found["dump of what was restored"] = (_digest(dump(direct, database, "--no-owner")), _digest(dump(direct, empty, "--no-owner")))
    return found


def _digest(data: bytes) -> str:
    return f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:16]}"
