"""TLS without asking first (PostgreSQL 17's `sslnegotiation=direct`), by drivers and by hand."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator

import asyncpg
import psycopg
import pytest
import uvloop

from interlock.demo.database import EmbeddedPostgres
from interlock.protocols.postgres import wire
from tests.live.gateway import WAIT_S, Gateway
from tests.tls_front import Certificates

STARTUP = wire.startup({"user": "alice", "database": "orders-db"})


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def secure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, certificates: Certificates
) -> Iterator[Gateway]:
    tls = f", tls: {{certificate: {certificates.certificate}, key: {certificates.key}}}"
    loop = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with Gateway(tmp_path_factory.mktemp("secure"), postgres, client_tls=tls, plaintext=False, loop=loop) as running:
        yield running


def direct(certificates: Certificates) -> dict[str, str]:
    return {"sslmode": "verify-full", "sslrootcert": str(certificates.ca), "host": "localhost", "sslnegotiation": "direct"}


def context(certificates: Certificates, *alpn: str) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(certificates.ca))
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


def test_libpq_direct(secure: Gateway, certificates: Certificates) -> None:
    with secure.connect(**direct(certificates)) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM customers").fetchone() == (True,)
        assert connection.info.get_parameters()["sslnegotiation"] == "direct"


def test_libpq_asking_first_still_works(secure: Gateway, certificates: Certificates) -> None:
    with secure.connect(**{**direct(certificates), "sslnegotiation": "postgres"}) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_libpq_cancels_through_direct_tls(secure: Gateway, certificates: Certificates) -> None:
    with secure.connect(**direct(certificates)) as connection:
        with pytest.raises(psycopg.errors.QueryCanceled):
            asyncio.run(cancelled(connection))


async def cancelled(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    sleeping = asyncio.create_task(asyncio.to_thread(connection.execute, "SELECT pg_sleep(60)"))
    await asyncio.sleep(0.5)
    connection.cancel_safe()
    await sleeping


def test_asyncpg_direct(secure: Gateway, certificates: Certificates) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(
            host="localhost",
            port=secure.port,
            user="alice",
            password=secure.token("alice"),
            database="orders-db",
            ssl=context(certificates, "postgresql"),
            direct_tls=True,
            timeout=WAIT_S,
        )
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close(timeout=WAIT_S)

    asyncio.run(run())


@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("postgres",)])
def test_without_the_protocols_name_nobody_gets_in(secure: Gateway, certificates: Certificates, alpn: tuple[str, ...]) -> None:
    """A browser, or another protocol's client, that is led here (ALPACA)."""
    try:
        with socket.create_connection(("localhost", secure.port), timeout=WAIT_S) as plain:
            with context(certificates, *alpn).wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(STARTUP)
                assert client.recv(100) == b""
    except (ConnectionError, ssl.SSLError):
        pass  # hung up on, which is as good


def test_tls_is_not_asked_for_inside_tls(secure: Gateway, certificates: Certificates) -> None:
    with socket.create_connection(("localhost", secure.port), timeout=WAIT_S) as plain:
        with context(certificates, "postgresql").wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(wire.ssl_request())
            assert client.recv(100) == b""


def test_a_hello_in_small_pieces(secure: Gateway, certificates: Certificates) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context(certificates, "postgresql").wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("localhost", secure.port), timeout=WAIT_S) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    plain.sendall(bytes([byte]))
                incoming.write(plain.recv(65_536))
        client.write(STARTUP)
        plain.sendall(outgoing.read())
        while True:
            try:
                assert client.read(100) == wire.authentication_cleartext()
                break
            except ssl.SSLWantReadError:
                incoming.write(plain.recv(65_536))


def test_direct_tls_where_there_is_none(gateway: Gateway, certificates: Certificates) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=WAIT_S) as plain:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            context(certificates, "postgresql").wrap_socket(plain, server_hostname="localhost")


def test_a_hello_that_never_ends(secure: Gateway) -> None:
    with socket.create_connection(("localhost", secure.port), timeout=WAIT_S) as plain:
        plain.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert plain.recv(100) == b""  # after `login_s`
