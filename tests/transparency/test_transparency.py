"""The small part of `make transparency` that needs no download: psql and psycopg on PostgreSQL 18, direct and through."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.demo.database import EmbeddedPostgres
from tests.transparency.places import Place, gateway
from tests.transparency.run import judge

HERE = Path(__file__).parent
DATABASE = "shop"
PSQL_S = 60


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[EmbeddedPostgres, Place, Place]]:
    with EmbeddedPostgres() as server:
        direct = Place(server.port, server.superuser_password)
        with gateway(direct, [DATABASE]) as through:
            yield server, direct, through


@pytest.mark.parametrize("script", sorted((HERE / "sql").glob("*.sql")), ids=lambda path: path.stem)
def test_psql_prints_the_same(places: tuple[EmbeddedPostgres, Place, Place], script: Path) -> None:
    server, direct, through = places
    printed = [psql(server, place, script) for place in (direct, through)]
    assert "ERROR" in printed[0] and printed[0].count("\n") > 50, "the script shows nothing"
    assert printed[1] == printed[0]


def psql(server: EmbeddedPostgres, place: Place, script: Path) -> str:
    """As pg_regress does it: every line echoed, errors in between."""
    command = [str(server.psql), "-X", "-a", "-q", "-f", str(script)]
    environment = place.environment(DATABASE)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PSQL_S)
    return re.sub(r"(process|PID) \d+", r"\1", done.stdout)


def test_psycopg_comes_to_the_same(places: tuple[EmbeddedPostgres, Place, Place]) -> None:
    _, direct, through = places
    found = []
    for place in (direct, through):
        script = [sys.executable, str(HERE / "clients/psycopg_steps.py")]
        done = subprocess.run(script, env=place.environment(DATABASE), capture_output=True, text=True, timeout=PSQL_S)
        assert done.returncode == 0, done.stderr
        found.append(dict(line.split("\t", 1) for line in done.stdout.splitlines()))
    assert len(found[0]) > 50
    assert found[1] == found[0]


def test_a_difference_must_have_a_reason() -> None:
    direct = {"same": "passed", "lost": "passed", "known[1]": "passed", "broken": "failed", "step": "42"}
    through = {"same": "passed", "lost": "failed", "known[1]": "failed", "broken": "passed", "step": "41"}
    verdict = judge("suite", (direct, through), {"*own[1]": "pinned", "los": "no"})
    assert (verdict.tests, verdict.direct, verdict.through) == (5, 4, 1)
    assert verdict.unexplained == ["lost", "step"]
    assert verdict.reviewed == {"known[1]": "pinned"}
