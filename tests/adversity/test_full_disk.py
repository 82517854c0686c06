"""The disk for evidence is full: nothing more is permitted, sessions end, and upstream holds nothing that is not on record."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from tests.adversity.house import Found, Process
from tests.adversity.test_kill import marks_in


def test_without_a_journal_nothing_goes_up(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    postgres.run("TRUNCATE marks")
    gateway = Process(tmp_path, postgres)
    with gateway.connect() as connection:
        connection.execute("INSERT INTO marks VALUES ('client0-0')")
        gateway.fill_disk(20_000)
        with pytest.raises(psycopg.OperationalError) as caught:
            for n in range(1, 1_000):
                connection.execute("INSERT INTO marks VALUES (%s)", (f"client0-{n}" + " " * 500,))
        assert "evidence" in str(caught.value)
    with pytest.raises(psycopg.OperationalError):
        gateway.connect()
    gateway.kill()
    Process(tmp_path, postgres).stop()
    found = Found(gateway.data)
    marks = {mark.strip() for mark in postgres.run("SELECT id FROM marks").split()}
    sent = {mark for _, moment in found.moments() if moment.direction == "up" for mark in marks_in(moment.data)}
    assert 1 < len(marks) < 999
    assert marks <= sent
    assert found.verified().ok
