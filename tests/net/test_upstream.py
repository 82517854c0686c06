"""Reaching resources: what goes wrong there is said in one sentence, in time, and nothing is left open."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import psycopg
import pytest

from interlock.demo.database import EmbeddedPostgres
from interlock.protocols.postgres import wire
from tests.live.gateway import Gateway
from tests.tls_front import make_certificates, tls_front


@contextmanager
def upstream(serve: Callable[[socket.socket], None]) -> Iterator[EmbeddedPostgres]:
    """Something that listens where a database should be."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        try:
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()
        except OSError:
            pass  # closed: the test is over

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield cast(EmbeddedPostgres, NoServer(listener.getsockname()[1]))
    finally:
        listener.close()


class NoServer:
    def __init__(self, port: int) -> None:
        self.port = port
        self.password = "unused"


def says(*answers: bytes) -> Callable[[socket.socket], None]:
    """Answer each packet with the next of these, then hang up."""

    def serve(client: socket.socket) -> None:
        with client:
            for answer in answers:
                if not client.recv(10_000):
                    return
                client.sendall(answer)
            client.recv(10_000)

    return serve


def silent(client: socket.socket) -> None:
    with client:
        while client.recv(10_000):
            pass


def refusal(folder: Path, server: EmbeddedPostgres, tls: str = "disable", host: str = "127.0.0.1") -> str:
    """What a client hears that wants to get there."""
    with Gateway(folder, server, upstream_tls=tls, host=host) as gateway:
        with pytest.raises(psycopg.OperationalError) as caught:
            gateway.connect()
        assert gateway.sessions() == 0
        return str(caught.value)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((), "closed the connection during the login"),
        ((b"N",), "offers no TLS"),
        ((wire.error("FATAL", "3D000", 'database "shop" does not exist'),), "does not exist"),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "FATAL"),
        ((wire.authentication_cleartext(),), "without TLS"),
        ((wire.authentication_ok() + wire.data_row([b"x"]),), "during the login"),
    ],
)
def test_what_upstream_says_instead(tmp_path: Path, answers: tuple[bytes, ...], reason: str) -> None:
    with upstream(says(*answers)) as server:
        assert reason in refusal(tmp_path, server, "require" if answers == (b"N",) else "disable")


def test_upstream_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.net.upstream.CONNECT_S", 0.5)
    with upstream(silent) as server:
        assert "did not answer within" in refusal(tmp_path, server)


def test_upstream_with_a_certificate_of_somebody_else(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    own, other = make_certificates(ours), make_certificates(theirs)
    with tls_front("127.0.0.1", 1, other) as front:
        server = cast(EmbeddedPostgres, NoServer(front.port))
        assert "TLS with orders-db failed" in refusal(tmp_path, server, f"verify\n    ca: {own.ca}", "localhost")
