"""The door: whoever is silent, half-open or one too many costs little and blocks nobody."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from interlock.demo.database import EmbeddedPostgres
from interlock.errors import ConfigError
from interlock.protocols.postgres import wire
from tests.live.gateway import WAIT_S, Gateway

STARTUP = wire.startup({"user": "alice", "database": "orders-db"})
ASKS = wire.authentication_cleartext()


@dataclass
class NoServer:
    """Nothing is upstream: none of these clients gets that far."""

    password: str = "unused"
    port: int = 1


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Logins have two seconds; five connections fit."""
    with Gateway(tmp_path_factory.mktemp("door"), cast(EmbeddedPostgres, NoServer()), connections=5) as gateway:
        yield gateway


def knock(door: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", door.port), timeout=WAIT_S)


def answers(client: socket.socket) -> bytes:
    client.sendall(STARTUP)
    return client.recv(1000)


def test_a_silent_client_is_hung_up_on_and_blocks_nobody(door: Gateway) -> None:
    with knock(door) as silent, knock(door) as half, knock(door) as tls:
        half.sendall(STARTUP[:10])
        tls.sendall(wire.ssl_request())
        assert tls.recv(1) == b"N"
        with knock(door) as other:
            assert answers(other) == ASKS
        for client in (silent, half, tls):
            assert client.recv(1) == b""


def test_a_client_that_shows_no_password_is_hung_up_on(door: Gateway) -> None:
    with knock(door) as client:
        assert answers(client) == ASKS
        assert client.recv(1) == b""


def test_more_connections_than_configured_are_hung_up_on_at_once(door: Gateway) -> None:
    clients = [knock(door) for _ in range(5)]
    try:
        assert all(answers(client) == ASKS for client in clients)
        with knock(door) as one_too_many:
            assert refused(one_too_many)
    finally:
        for client in clients:
            client.close()
    door.until(lambda: admits(door))


def refused(client: socket.socket) -> bool:
    try:
        return answers(client) == b""
    except ConnectionError:
        return True


def admits(door: Gateway) -> bool:
    with knock(door) as client:
        return not refused(client)


@pytest.mark.parametrize(
    "nonsense", [b"GET / HTTP/1.1\r\n\r\n", bytes(64), wire.query("SELECT 1"), wire.ssl_request() + STARTUP, b"\xff\xff\xff\xff"]
)
def test_nonsense_ends_the_connection(door: Gateway, nonsense: bytes) -> None:
    with knock(door) as client:
        client.sendall(nonsense)
        assert client.recv(1000) in (b"", b"N")


def test_upstream_that_is_not_there(door: Gateway) -> None:
    with knock(door) as client:
        assert answers(client) == ASKS
        client.sendall(wire.password(door.token("alice")))
        said = client.recv(1000)
        assert b"FATAL" in said and b"cannot be reached" in said
        assert client.recv(1) == b""


def test_a_taken_port_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(ConfigError, match="cannot listen"):
            with Gateway(tmp_path, cast(EmbeddedPostgres, NoServer()), listen=taken.getsockname()[1]):
                pass
