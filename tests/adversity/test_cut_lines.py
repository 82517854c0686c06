"""Either side goes away in the middle: nothing half-done is forwarded, nothing runs on, everything is on record."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from interlock.evidence import Moment
from tests.adversity.cutter import Wire, wire
from tests.live.gateway import WAIT_S, Gateway


@pytest.fixture(scope="module")
def line(postgres: EmbeddedPostgres) -> Iterator[Wire]:
    with wire(postgres.host, postgres.port) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(postgres: EmbeddedPostgres, line: Wire, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("cut"), postgres, port=line.port) as running:
        yield running


def last_session(gateway: Gateway) -> list[Moment]:
    """What the journal says of the newest session of alice."""

    async def read() -> list[Moment]:
        newest = next(line for line in gateway.app.evidence.sessions() if line.principal == "alice")
        return [moment for moment in gateway.app.evidence.timeline(newest.id, {}) if moment.kind != "recorded"]

    return gateway.run(read())


def running(gateway: Gateway, text: str) -> bool:
    found = f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%{text}%' AND pid <> pg_backend_pid()"
    return gateway.sql(found) != "0"


def test_upstream_goes_away_in_the_middle_of_a_row(gateway: Gateway, line: Wire) -> None:
    with gateway.connect() as connection:
        line.passed, line.cut_after = 0, 100_003
        try:
            rows = []
            with pytest.raises(psycopg.OperationalError):
                for row in connection.cursor().stream("SELECT n, repeat('x', 1000) FROM generate_series(1, 100000) n"):
                    rows.append(row)
        finally:
            line.cut_after = 0
        assert 0 < len(rows) < 110
        assert all(len(text) == 1000 for _, text in rows), "whole rows only"
    gateway.until(lambda: gateway.sessions() == 0)
    journal = last_session(gateway)
    outcomes = [moment.facts["outcome"] for moment in journal if moment.kind == "outcome"]
    assert "unknown" in outcomes
    assert journal[-1].kind == "close" and "upstream" in str(journal[-1].facts["reason"])


def test_upstream_is_told_to_end_a_session(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        gateway.server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'interlock'", superuser=True)
        with pytest.raises(psycopg.OperationalError, match="administrator"):
            connection.execute("SELECT 1")
    gateway.until(lambda: gateway.sessions() == 0)
    with gateway.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_client_that_dies_takes_its_query_with_it(gateway: Gateway) -> None:
    psql = subprocess.Popen([gateway.server.psql, "-X", "-c", "SELECT pg_sleep(99)"], env=gateway.environment(), stdout=subprocess.DEVNULL)
    gateway.until(lambda: running(gateway, "pg_sleep(99)"))
    psql.kill()
    psql.wait(WAIT_S)
    gateway.until(lambda: not running(gateway, "pg_sleep(99)"))
    gateway.until(lambda: gateway.sessions() == 0)


def test_a_client_that_dies_withdraws_what_it_asked_people_for(gateway: Gateway) -> None:
    gateway.sql("INSERT INTO notes VALUES (1, 'stays')")
    command: list[str | Path] = [gateway.server.psql, "-X", "-c", "DELETE FROM notes"]
    psql = subprocess.Popen(command, env=gateway.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    request = gateway.held("DELETE FROM notes")
    psql.kill()
    psql.wait(WAIT_S)
    gateway.until(lambda: gateway.run(gateway.app.approvals.get(request.id)).state == "withdrawn")
    assert gateway.sql("SELECT count(*) FROM notes WHERE id = 1") == "1"
    gateway.until(lambda: gateway.sessions() == 0)
    assert "cancelled" in [moment.facts["outcome"] for moment in last_session(gateway) if moment.kind == "outcome"]


def test_policy_changes_between_the_question_and_the_answer(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    with Gateway(tmp_path, postgres) as gateway:
        gateway.sql("INSERT INTO notes VALUES (2, 'stays')")
        command: list[str | Path] = [gateway.server.psql, "-X", "-c", "DELETE FROM notes", "-c", "SELECT 'goes on'"]
        psql = subprocess.Popen(command, env=gateway.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        request = gateway.held("DELETE FROM notes")
        before = gateway.app.policy.current.version
        more = '@id("never") @reason("not even so") forbid (principal, action == Action::"sql.delete", resource);'
        gateway.policy.write_text(gateway.policy.read_text() + more)
        gateway.until(lambda: gateway.app.policy.current.version != before)
        gateway.decide(request, True)
        out, _ = psql.communicate(timeout=WAIT_S)
        assert "ERROR:  not even so" in out and "goes on" in out
        assert gateway.sql("SELECT count(*) FROM notes WHERE id = 2") == "1"


def test_upstream_that_cannot_be_reached(gateway: Gateway, line: Wire) -> None:
    line.passed, line.cut_after = 0, 1
    try:
        with pytest.raises(psycopg.OperationalError, match="closed the connection during the login"):
            gateway.connect()
    finally:
        line.cut_after = 0
    assert gateway.sessions() == 0
