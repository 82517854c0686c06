"""PostgreSQL 15's own regression suite: the SQL of Debian's source package, the driver of `postgresql-client-15`.

Needs `postgresql-15` and `postgresql-server-dev-15` (for `regress.so`). The database is made anew on the server for
each run, exactly as pg_regress itself would, so that both runs find the same one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.transparency.places import DEBIAN_15, HOST, Place

DATABASE = "regression"
DRIVER = DEBIAN_15 / "lib/pgxs/src/test/regress/pg_regress"
RUN_S = 1800
_SETTINGS = {
    "lc_messages": "C",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    "bytea_output": "hex",
    "timezone_abbreviations": "Default",
}
_LINE = re.compile(r"^(?:test|    )\s+(\S+)\s+\.\.\. (ok|FAILED|failed \(ignored\))", re.MULTILINE)


def prepare(cache: Path) -> Path:
    """The suite's folder, with SQL, expected output and `regress.so`. Downloads once."""
    folder = cache / "pg15"
    regress = folder / "src/test/regress"
    if not (regress / "regress.so").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        archive = _source(cache)
        subprocess.run(["tar", "xjf", archive, "-C", folder, "--strip-components=1", "--wildcards", "*/src/test/regress/*"], check=True)
        include = subprocess.run(
            [DEBIAN_15 / "bin/pg_config", "--includedir-server"], check=True, capture_output=True, text=True
        ).stdout.strip()
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", f"-I{include}", "-o", regress / "regress.so", regress / "regress.c"], check=True)
    return regress


def _source(cache: Path) -> Path:
    """The newest source package of PostgreSQL 15 that the mirror holds; apt checks its signature and hash."""
    own = cache / "apt"
    for part in ("parts", "lists/partial"):
        (own / part).mkdir(parents=True, exist_ok=True)
    system = Path("/etc/apt/sources.list.d/debian.sources").read_text()
    (own / "parts/source.sources").write_text(re.sub(r"(?m)^Types: deb$", "Types: deb-src", system))
    options = [f"Dir::Etc::SourceParts={own / 'parts'}", "Dir::Etc::SourceList=/dev/null", f"Dir::State::lists={own / 'lists'}"]
    flags = [flag for option in options for flag in ("-o", option)]
    subprocess.run(["apt-get", *flags, "-q", "update"], check=True, capture_output=True)
    shown = subprocess.run(["apt-cache", *flags, "showsrc", "postgresql-15"], check=True, capture_output=True, text=True).stdout
    versions = sorted(set(re.findall(r"(?m)^Version: (\S+)$", shown)), reverse=True)
    for version in versions:
        get = ["apt-get", *flags, "-q", "source", "--download-only", f"postgresql-15={version}"]
        if subprocess.run(get, cwd=cache, capture_output=True).returncode == 0:
            return next(cache.glob(f"postgresql-15_{version.partition('-')[0]}.orig.tar.*"))
    raise RuntimeError(f"no source package of PostgreSQL 15 can be had: {', '.join(versions)}")


def create_database(server: Place) -> None:
    """What pg_regress does without `--use-existing`, on the server itself."""
    statements = [f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE} TEMPLATE=template0"]
    statements += [f"ALTER DATABASE {DATABASE} SET {name} TO '{value}'" for name, value in _SETTINGS.items()]
    psql = [str(DEBIAN_15 / "bin/psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", *(word for each in statements for word in ("-c", each))]
    subprocess.run(psql, env=server.environment("postgres"), check=True, capture_output=True)


def run(place: Place, suite: Path, output: Path, tests: list[str]) -> dict[str, bool]:
    """Test name → passed. `output` keeps results and `regression.diffs`; empty `tests` is the whole schedule."""
    (output / "results").mkdir(parents=True, exist_ok=True)
    command = [
        str(DRIVER),
        f"--inputdir={suite}",
        f"--outputdir={output}",
        f"--dlpath={suite}",
        f"--bindir={DEBIAN_15 / 'bin'}",
        "--use-existing",
    ]
    command += [f"--dbname={DATABASE}", f"--host={HOST}", f"--port={place.port}", f"--user={place.user}", "--max-concurrent-tests=20"]
    command += tests or [f"--schedule={suite / 'parallel_schedule'}"]
    done = subprocess.run(command, env=place.environment(), capture_output=True, text=True, timeout=RUN_S, cwd=output)
    (output / "printed").write_text(done.stdout + done.stderr)
    return {name: word == "ok" for name, word in _LINE.findall(done.stdout)}
