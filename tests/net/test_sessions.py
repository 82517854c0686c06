"""Opening and closing conversations. Cancel keys, approvals and revocation are played by psql in `tests/live`."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from tests.live.gateway import WAIT_S, Gateway

HOLD = """
@id("ask-first") @hold("dba") @reason("a look first")
forbid (principal == User::"dana", action == Action::"connect", resource);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as running:
        yield running


@pytest.fixture
def gateway(server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path, server) as running:
        yield running


def keys(gateway: Gateway) -> list[tuple[int, bytes]]:
    """The cancel keys of people's conversations."""

    async def read() -> list[tuple[int, bytes]]:
        opened = gateway.app.conversations._open.items()
        return [(pid, key) for pid, same in opened for key, each in same.items() if each.session.client != "catalog"]

    return gateway.run(read())


def test_each_conversation_has_a_key_of_its_own_and_takes_it_along(gateway: Gateway) -> None:
    with gateway.connect() as one, gateway.connect() as two:
        found = keys(gateway)
        assert {one.info.backend_pid, two.info.backend_pid} == {pid for pid, _ in found}
        assert len({key for _, key in found}) == 2 and all(len(key) >= 4 for _, key in found)
    gateway.until(lambda: not keys(gateway))


def test_a_connection_that_people_must_agree_to(gateway: Gateway) -> None:
    before = gateway.app.policy.current.version
    gateway.policy.write_text(gateway.policy.read_text() + HOLD)
    gateway.until(lambda: gateway.app.policy.current.version != before)
    got: list[object] = []

    def connect() -> None:
        with gateway.connect("dana") as connection:
            got.append(connection.execute("SELECT 1").fetchone())

    thread = threading.Thread(target=connect)
    thread.start()
    request = gateway.until(lambda: next((each for each in gateway.pending() if each.title == "connect"), None))
    assert not got
    gateway.decide(request, True)
    thread.join(WAIT_S)
    assert got == [(1,)]


def test_a_client_that_leaves_while_people_are_asked(gateway: Gateway) -> None:
    before = gateway.app.policy.current.version
    gateway.policy.write_text(gateway.policy.read_text() + HOLD)
    gateway.until(lambda: gateway.app.policy.current.version != before)
    psql = subprocess.Popen([gateway.server.psql, "-X"], env=gateway.environment("dana"), stdin=subprocess.DEVNULL)
    request = gateway.until(lambda: next((each for each in gateway.pending() if each.title == "connect"), None))
    psql.kill()
    psql.wait(WAIT_S)
    gateway.until(lambda: gateway.sessions() == 0)
    gateway.until(lambda: gateway.run(gateway.app.approvals.get(request.id)).state == "withdrawn")


def test_the_gateway_tells_its_clients_that_it_stops(server: EmbeddedPostgres, tmp_path: Path) -> None:
    with Gateway(tmp_path, server) as gateway:
        connection = gateway.connect()
    with pytest.raises(psycopg.OperationalError, match="the gateway stops"):
        connection.execute("SELECT 1")


def test_more_sessions_than_a_principal_may_have(server: EmbeddedPostgres, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    with Gateway(tmp_path / "few", server, sessions=2) as gateway:
        with gateway.connect(), gateway.connect():
            with pytest.raises(psycopg.OperationalError, match="sessions"):
                gateway.connect()
        gateway.until(lambda: gateway.sessions() == 0)
        gateway.connect().close()


def test_a_refusal_to_connect_leaves_nothing_open(gateway: Gateway) -> None:
    with pytest.raises(psycopg.OperationalError, match="no rule permits connect"):
        gateway.connect("nobody")
    assert gateway.sessions() == 0
