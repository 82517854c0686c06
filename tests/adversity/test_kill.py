"""kill -9 of the gateway while clients work: whatever reached upstream is in the journal, and the recording verifies."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from tests.adversity.cutter import wire
from tests.adversity.house import Found, Process

CLIENTS = 4


def work(gateway: Process, name: str) -> None:
    """Insert one mark after the other, until the gateway is gone: one way of speaking per client."""
    try:
        with gateway.connect() as connection:
            for n in range(100_000):
                mark = f"{name}-{n}"
                match n % 3:
                    case 0:
                        connection.execute(f"INSERT INTO marks VALUES ('{mark}')")
                    case 1:
                        connection.execute("INSERT INTO marks VALUES (%s)", (mark,))
                    case _:
                        with connection.pipeline():
                            connection.execute("INSERT INTO marks VALUES (%s)", (mark,), prepare=True)
                            connection.execute("SELECT count(*) FROM marks WHERE id = %s", (mark,))
    except psycopg.OperationalError:
        pass  # that is what a killed gateway looks like


@pytest.mark.parametrize("durability", ["strict-request", "strict", "write-through"])
def test_everything_that_reached_upstream_is_in_the_journal(postgres: EmbeddedPostgres, tmp_path: Path, durability: str) -> None:
    postgres.run("TRUNCATE marks")
    gateway = Process(tmp_path, postgres, durability)
    clients = [threading.Thread(target=work, args=(gateway, f"client{n}")) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    while int(postgres.run("SELECT count(*) FROM marks")) < 100:
        time.sleep(0.05)
    gateway.kill()
    for client in clients:
        client.join()
    while postgres.run("SELECT count(*) FROM pg_stat_activity WHERE usename = 'interlock' AND pid <> pg_backend_pid()").strip() != "0":
        time.sleep(0.05)  # what was on its way arrives

    Process(tmp_path, postgres, durability).stop()  # recovers
    found = Found(gateway.data)
    marks = set(postgres.run("SELECT id FROM marks").split())
    intents: set[tuple[str, int]] = set()
    sent: dict[str, tuple[str, int]] = {}
    outcomes: set[tuple[str, int]] = set()
    closed: dict[str, bool] = {}
    for session, moment in found.moments():
        place = (session, moment.exchange)
        if moment.kind == "intent" and moment.facts.get("verdict") == "allow":
            intents.add(place)
        elif moment.kind == "outcome":
            outcomes.add(place)
        elif moment.kind == "close":
            closed[session] = bool(moment.facts.get("recovered"))
        elif moment.direction == "up":
            for mark in marks_in(moment.data):
                sent[mark] = place
    assert len(marks) >= 100
    assert marks <= sent.keys(), "upstream holds what no recording knows"
    assert len(intents) >= len(marks), "upstream holds what no journal knows"
    assert intents <= outcomes, "each intent has come to an end"
    assert sum(closed.values()) >= CLIENTS, "the sessions were closed as recovered"
    states = found.sessions()
    assert "unsealed" not in states.values()
    assert {states[session] for session, recovered in closed.items() if recovered} == {"recovered"}
    report = found.verified()
    assert report.ok, [claim for claim in report.claims if claim.status == "failed"]
    assert any("recovered" in f"{claim.name} {claim.detail}" for claim in report.claims)


@pytest.mark.parametrize("durability", ["strict-request", "write-through"])
def test_values_are_on_record_before_they_go_up(postgres: EmbeddedPostgres, tmp_path: Path, durability: str) -> None:
    """Upstream has run it and the gateway has not heard of it: the worst moment to be killed."""
    postgres.run("TRUNCATE marks")
    with wire(postgres.host, postgres.port) as line:
        gateway = Process(tmp_path, postgres, durability, line.port)
        with gateway.connect() as bound, gateway.connect() as copied, copied.cursor() as cursor:
            copying = cursor.copy("COPY marks FROM STDIN")
            copy = copying.__enter__()
            copied.pgconn.flush()
            while b"COPY marks" not in postgres.run("SELECT query FROM pg_stat_activity WHERE wait_event = 'ClientRead'").encode():
                time.sleep(0.02)
            line.stalled = True

            def finish() -> None:
                copy.write(b"client8-1\n")
                copying.__exit__(None, None, None)

            ends = [
                threading.Thread(target=quietly, args=(bound.execute, "INSERT INTO marks VALUES (%s)", ("client7-1",))),
                threading.Thread(target=quietly, args=(finish,)),
            ]
            for end in ends:
                end.start()
            while len(postgres.run("SELECT id FROM marks").split()) < 2:
                time.sleep(0.02)
            gateway.kill()
            for end in ends:
                end.join()
        line.stalled = False
    Process(tmp_path, postgres, durability).stop()
    sent = {mark for _, moment in Found(gateway.data).moments() if moment.direction == "up" for mark in marks_in(moment.data)}
    assert sent == {"client7-1", "client8-1"}


def quietly(work: Callable[..., object], *arguments: object) -> None:
    """What a killed gateway does to its clients is no concern of this test."""
    with suppress(psycopg.Error):
        work(*arguments)


def marks_in(data: bytes) -> list[str]:
    """The marks in a message, whether they stand in its text or among its values."""
    return [mark.decode() for mark in re.findall(rb"client\d-\d+", data)]
