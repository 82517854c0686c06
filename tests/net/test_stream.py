"""Conversations under load and under `strict`: nothing stands still, nothing is gathered without bound, order is kept."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from interlock.net.stream import BACKLOG_BYTES_MAX
from interlock.protocols.postgres import wire
from tests.live.gateway import WAIT_S, Gateway


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as running:
        running.run("CREATE TABLE notes (id int, note text); CREATE TABLE people (id int, email text)")
        yield running


@pytest.fixture(scope="module", params=["strict-request", "strict"])
def gateway(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("stream"), server, durability=request.param) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(gateway: Gateway) -> None:
    gateway.sql("TRUNCATE notes, people")


class Raw:
    """A client that says what it likes."""

    def __init__(self, gateway: Gateway) -> None:
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), timeout=WAIT_S)
        self.framer = wire.Framer("upstream", 64 * 1024 * 1024)
        self.seen: list[tuple[int, bytes]] = []
        self.socket.sendall(wire.startup({"user": "alice", "database": "orders-db"}))
        self.until(ord("R"))
        self.socket.sendall(wire.password(gateway.token("alice")))
        self.until(ord("Z"))

    def until(self, kind: int) -> list[tuple[int, bytes]]:
        """Everything up to a message of this kind."""
        while True:
            for at, (seen, _) in enumerate(self.seen):
                if seen == kind:
                    found, self.seen = self.seen[: at + 1], self.seen[at + 1 :]
                    return found
            data = self.socket.recv(256 * 1024)
            assert data, "the gateway hung up"
            self.seen += self.framer.feed(data)


def test_a_flood_that_comes_before_it_is_asked_for_passes(gateway: Gateway) -> None:
    client = Raw(gateway)
    line = b"1\t" + b"x" * 9_997 + b"\n"
    lines = 3 * BACKLOG_BYTES_MAX // len(line)
    with client.socket:
        client.socket.sendall(wire.query("COPY notes FROM STDIN") + wire.copy_data(line) * lines + wire.copy_done())
        answer = client.until(ord("Z"))
    assert wire.read_command_tag(next(message for kind, message in answer if kind == ord("C"))) == f"COPY {lines}"
    assert gateway.sql("SELECT count(*), sum(length(note)) FROM notes") == f"{lines}|{lines * 9_997}"


def test_many_statements_at_once_are_answered_in_order(gateway: Gateway) -> None:
    client = Raw(gateway)
    with client.socket:
        client.socket.sendall(b"".join(wire.query(f"SELECT {n}") for n in range(2_500)))
        seen = 0
        while seen < 2_500:
            for kind, message in client.until(ord("Z")):
                if kind == ord("D"):
                    assert message.endswith(str(seen).encode())
                    seen += 1


def test_a_message_in_pieces_larger_than_the_backlog(gateway: Gateway) -> None:
    message = wire.query("SELECT '" + "x" * 990_000 + "'")
    client = Raw(gateway)
    with client.socket:
        for at in range(0, len(message), 100_000):
            client.socket.sendall(message[at : at + 100_000])
        answer = client.until(ord("Z"))
        assert any(kind == ord("D") for kind, _ in answer), answer


def test_a_client_that_reads_slowly_gets_everything(gateway: Gateway) -> None:
    client = Raw(gateway)
    with client.socket:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        client.socket.sendall(wire.query("SELECT repeat('x', 1000) FROM generate_series(1, 4000)"))
        assert sum(kind == ord("D") for kind, _ in client.until(ord("Z"))) == 4_000


def test_everyday_use(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        with connection.pipeline():
            for n in range(100):
                connection.execute("INSERT INTO notes VALUES (%s, %s)", (n, f"note {n}"))
        with connection.cursor().copy("COPY notes FROM STDIN") as copy:
            for n in range(100, 200):
                copy.write_row((n, f"note {n}"))
        with connection.cursor().copy("COPY notes TO STDOUT") as copy:
            assert sum(bytes(piece).count(b"\n") for piece in copy) == 200
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DROP TABLE notes")
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (200,)


def test_an_error_repeats_the_names_that_the_client_said(gateway: Gateway) -> None:
    client = Raw(gateway)
    with client.socket:
        client.socket.sendall(wire.bind("", "missing_statement") + wire.sync())
        errors = [wire.read_error(message) for kind, message in client.until(ord("Z")) if kind == ord("E")]
    assert [(error["C"], error["M"]) for error in errors] == [("26000", 'prepared statement "missing_statement" does not exist')]


def test_whoever_waits_hears_of_it(gateway: Gateway) -> None:
    said: list[str] = []

    def hear(diagnostic: Any) -> None:
        said.append(diagnostic.message_primary)

    with gateway.connect() as connection:
        connection.add_notice_handler(hear)
        connection.execute("SET statement_timeout = '10s'")
        thread = threading.Thread(target=lambda: connection.execute("DELETE FROM notes"))
        thread.start()
        gateway.decide(gateway.held("DELETE FROM notes"), True)
        thread.join(WAIT_S)
    assert said and said[0].startswith("held: waiting for approval") and "dba" in said[0]


def test_an_operator_ends_a_session(gateway: Gateway) -> None:
    with gateway.connect() as connection:

        async def end() -> bool:
            (session,) = [each for each in gateway.app.gate.sessions.values() if each.principal.id == "alice"]
            return gateway.app.gate.end(session.id, "ended by bob")

        assert gateway.run(end())
        with pytest.raises(psycopg.OperationalError, match="ended by bob"):
            connection.execute("SELECT 1")
    gateway.until(lambda: gateway.sessions() == 0)
