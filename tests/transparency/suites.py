"""The suites: each runs direct and through the gateway, and says for both what each test came to.

Everything from outside is pinned: Python packages and source archives by hash (`requirements.txt`, `sdists.txt`), npm
packages by the lock in `clients/`, PostgreSQL's own suite by apt's signed lists.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.transparency import junit, suite_dump, suite_pg_regress
from tests.transparency.places import DEBIAN_15, Place, debian_15, gateway

HERE = Path(__file__).parent
CLIENTS = HERE / "clients"
CLIENT_S = 120
JDBC = Path("/usr/share/java/postgresql.jar")

Both = tuple[Mapping[str, str], Mapping[str, str]]
"""Test → what it came to, direct and through the gateway. They are the same where the gateway cannot be told from
its absence; `passed` is the word for a test that has no other outcome."""


@dataclass(frozen=True)
class Ground:
    """What a suite works with: a folder for downloads, which outlives the run, and one for logs and results."""

    cache: Path
    output: Path

    def results(self, suite: str, which: str) -> Path:
        folder = self.output / suite / which
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    @contextlib.contextmanager
    def places(self, suite: str, databases: Sequence[str], setup: Sequence[tuple[str, str]] = ()) -> Iterator[tuple[Place, Place, Path]]:
        """A fresh server, prepared by (database, statement) pairs, and a gateway in front of it that knows these databases."""
        with debian_15() as (server, folder):
            for database, statement in setup:
                sql(server, database, statement)
            with gateway(server, databases, self.results(suite, "gateway") / "log") as through:
                yield server, through, folder

    def python(self) -> str:
        """The interpreter of an environment that holds the drivers and their tests' needs."""
        venv = self.cache / "venv"
        stamp = venv / "requirements.txt"
        wanted = (HERE / "requirements.txt").read_text()
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(venv, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            pip = [venv / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*map(str, pip), "--require-hashes", "-r", str(HERE / "requirements.txt")], check=True)
            stamp.write_text(wanted)
        return str(venv / "bin/python")

    def source(self, name: str) -> Path:
        """The unpacked source archive that `sdists.txt` pins."""
        line = next(line for line in (HERE / "sdists.txt").read_text().splitlines() if line.startswith(f"{name}=="))
        folder = self.cache / line.split()[0].replace("==", "-")
        if not folder.exists():
            pinned = self.cache / "wanted.txt"
            pinned.write_text(line + "\n")
            get = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "--require-hashes"]
            subprocess.run([*get, "-d", str(self.cache), "-r", str(pinned)], check=True)
            with tarfile.open(folder.with_name(folder.name + ".tar.gz")) as archive:
                archive.extractall(self.cache, filter="data")
        return folder

    def node_modules(self) -> Path:
        folder = self.cache / "node"
        folder.mkdir(exist_ok=True)
        lock = (CLIENTS / "package-lock.json").read_text()
        if not (folder / "node_modules").exists() or (folder / "package-lock.json").read_text() != lock:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(CLIENTS / name, folder / name)
            subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
        return folder / "node_modules"


def sql(server: Place, database: str, statement: str) -> None:
    psql = [str(DEBIAN_15 / "bin/psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement]
    subprocess.run(psql, env=server.environment(database), check=True)


def pg_regress(ground: Ground, tests: Sequence[str] = ()) -> Both:
    """PostgreSQL 15's regression suite, all of its schedule in parallel as its makefile runs it."""
    source = suite_pg_regress.prepare(ground.cache)
    with ground.places("pg_regress", [suite_pg_regress.DATABASE, "postgres"]) as (server, through, folder):
        suite = folder / "regress"
        shutil.copytree(source, suite)
        found = []
        for which, place in (("direct", server), ("through", through)):
            suite_pg_regress.create_database(server)
            output = folder / which
            (output / "results").mkdir(parents=True)
            for path in (suite, output, *suite.rglob("*"), *output.rglob("*")):
                path.chmod(0o777 if path.is_dir() else 0o755)
            found.append(suite_pg_regress.run(place, suite, output, list(tests)))
            shutil.copytree(output, ground.results("pg_regress", which), dirs_exist_ok=True)
        direct, after = found
        return words(direct), words(after)


def dump(ground: Ground) -> Both:
    """pg_dump and pg_restore of a schema with most kinds of objects."""
    databases = ["postgres", "shop", "restored"]
    setup = [("postgres", "CREATE DATABASE shop"), ("postgres", "CREATE DATABASE restored")]
    with ground.places("dump", databases, setup) as (server, through, folder):
        psql = [str(DEBIAN_15 / "bin/psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(HERE / "schema.sql")]
        subprocess.run(psql, env=server.environment("shop"), check=True, capture_output=True)
        outcomes = suite_dump.run(server, through, "shop", "restored", folder)
        return {name: one for name, (one, _) in outcomes.items()}, {name: other for name, (_, other) in outcomes.items()}


def asyncpg(ground: Ground) -> Both:
    """asyncpg's own tests, against its published wheel."""
    source = ground.source("asyncpg")
    tests = ground.cache / "asyncpg-tests"  # without the package beside it, which is not compiled
    if not tests.exists():
        shutil.copytree(source / "tests", tests / "tests")
    with ground.places("asyncpg", ["postgres", "testdb", "asyncpg_intro_test"]) as (server, through, _):
        return pytest_both(ground, "asyncpg", tests, ["tests", "--deselect", "tests/test__sourcecode.py"], server, through, "postgres")


def pg8000(ground: Ground) -> Both:
    """pg8000's own tests of its three interfaces."""
    with ground.places("pg8000", ["postgres"], [("postgres", "CREATE EXTENSION hstore")]) as (server, through, _):
        tests = ["test/native", "test/dbapi", "test/legacy", "-k", "not benchmark and not auth"]
        return pytest_both(ground, "pg8000", ground.source("pg8000"), tests, server, through, "postgres")


def sqlalchemy(driver: str) -> Callable[[Ground], Both]:
    """SQLAlchemy's PostgreSQL dialect and its suite for dialects, over one driver."""

    def suite(ground: Ground) -> Both:
        name = f"sqlalchemy-{driver}"
        setup = [("postgres", "CREATE DATABASE test"), ("test", "CREATE EXTENSION hstore"), ("test", "CREATE EXTENSION citext")]
        setup += [("test", "CREATE SCHEMA test_schema"), ("test", "CREATE SCHEMA test_schema_2")]
        setup += [("postgres", "ALTER DATABASE test SET default_text_search_config TO 'pg_catalog.english'")]
        tests = ["test/dialect/postgresql", "test/dialect/test_suite.py", "--dburi", f"postgresql+{driver}://{{dsn}}"]
        with ground.places(name, ["test", "postgres"], setup) as (server, through, _):
            return pytest_both(ground, name, ground.source("sqlalchemy"), tests, server, through, "test")

    return suite


def pytest_both(ground: Ground, name: str, folder: Path, arguments: Sequence[str], server: Place, through: Place, database: str) -> Both:
    found = []
    for which, place in (("direct", server), ("through", through)):
        given = [
            argument.format(dsn=place.dsn(database).partition("://")[2]) if "{dsn}" in argument else argument for argument in arguments
        ]
        found.append(words(junit.run(folder, given, place.environment(database), ground.results(name, which), ground.python())))
    return found[0], found[1]


def client(name: str, command: Callable[[Ground], list[str]]) -> Callable[[Ground], Both]:
    """A script of ours that uses a third party's driver: each step's outcome is compared as text."""

    def suite(ground: Ground) -> Both:
        with ground.places(name, ["postgres"]) as (server, through, _):
            return steps(ground, name, command(ground), server), steps(ground, name, command(ground), through)

    return suite


def steps(ground: Ground, name: str, command: Sequence[str], place: Place) -> dict[str, str]:
    environment = place.environment("postgres", NODE_PATH=str(ground.cache / "node/node_modules"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=CLIENT_S)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
    return dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)


def words(found: Mapping[str, bool]) -> dict[str, str]:
    return {name: "passed" if passed else "failed" for name, passed in found.items()}


def _node(script: str) -> Callable[[Ground], list[str]]:
    def command(ground: Ground) -> list[str]:
        ground.node_modules()
        return ["node", str(CLIENTS / script)]

    return command


SUITES: Mapping[str, Callable[[Ground], Both]] = {
    "pg_regress": pg_regress,
    "asyncpg": asyncpg,
    "sqlalchemy-asyncpg": sqlalchemy("asyncpg"),
    "sqlalchemy-psycopg": sqlalchemy("psycopg"),
    "pg8000": pg8000,
    "psycopg": client("psycopg", lambda ground: [ground.python(), str(CLIENTS / "psycopg_steps.py")]),
    "node-pg": client("node-pg", _node("node_pg.js")),
    "node-postgres": client("node-postgres", _node("node_postgres.js")),
    "pgjdbc": client("pgjdbc", lambda _: ["java", "-cp", str(JDBC), str(CLIENTS / "Jdbc.java")]),
    "dump": dump,
}


def missing() -> list[str]:
    """Debian packages that are not here, by what shows their absence."""
    needs = {
        "postgresql-15": DEBIAN_15 / "bin/postgres",
        "postgresql-client-15": suite_pg_regress.DRIVER,
        "postgresql-server-dev-15": DEBIAN_15 / "lib/pgxs/src/makefiles/pgxs.mk",
        "libpostgresql-jdbc-java": JDBC,
    }
    absent = [package for package, file in needs.items() if not file.exists()]
    return absent + [
        package for package, tool in (("default-jdk-headless", "java"), ("npm", "npm"), ("gcc", "gcc")) if not shutil.which(tool)
    ]


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interlock-transparency"
