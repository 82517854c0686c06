"""One connection: bounds, back-pressure, and what may not be buffered across a TLS handshake."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest

from interlock.errors import ProtocolError
from interlock.net.link import LOGIN_BYTES_MAX, Link


def with_link(play: Callable[[Link, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
    """A link and the peer at its other end."""

    async def run() -> None:
        met: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        server = await asyncio.get_running_loop().create_server(lambda: Link(met.set_result), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        link = await met
        async with asyncio.timeout(20):
            await play(link, reader, writer)
        writer.close()
        link.abort()
        server.close()

    asyncio.run(run())


async def until(look: Callable[[], bool]) -> None:
    while not look():  # noqa: ASYNC110 - what is looked at sets no event
        await asyncio.sleep(0.01)


def test_reads_and_the_end() -> None:
    async def play(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"one")
        assert await link.read() == b"one"
        writer.close()
        assert await link.read() == b""
        assert link.closed

    with_link(play)


def test_a_peer_that_talks_before_it_is_asked_is_bounded() -> None:
    async def play(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = 0

        async def talk() -> None:
            nonlocal sent
            while True:
                writer.write(bytes(64 * 1024))
                await writer.drain()
                sent += 64 * 1024

        talking = asyncio.create_task(talk())
        last = -1
        while sent != last:  # until nothing moves any more
            last = sent
            await asyncio.sleep(0.3)
        assert len(await link.read()) <= LOGIN_BYTES_MAX + 256 * 1024
        talking.cancel()

    with_link(play)


def test_what_came_early_is_handed_over_first() -> None:
    async def play(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"early ")
        await until(lambda: bool(link._ahead))
        got: list[bytes] = []
        link.start(got.append)
        writer.write(b"late")
        await until(lambda: b"".join(got) == b"early late")

    with_link(play)


def test_a_paused_link_reads_on_when_it_is_resumed() -> None:
    async def play(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got: list[bytes] = []
        link.start(got.append)
        link.pause()
        link.pause()
        writer.write(b"x")
        await asyncio.sleep(0.1)
        assert not got
        link.resume()
        await until(lambda: got == [b"x"])

    with_link(play)


def test_bytes_before_the_tls_handshake_are_an_error() -> None:
    async def play(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"injected")
        await until(lambda: bool(link._ahead))
        with pytest.raises(ProtocolError, match="before the TLS handshake"):
            await link.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), server_side=True)

    with_link(play)


def test_closing_waits_for_a_slow_reader_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.net.link.HANG_UP_S", 0.2)

    async def play(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert link._transport is not None
        link._transport.write(bytes(32 * 1024 * 1024))  # the peer reads none of it
        link.close()
        await until(lambda: link.closed)

    with_link(play)
