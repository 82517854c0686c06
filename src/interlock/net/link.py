"""One connection, as bytes in and `Cleared` bytes out.

During a login the driver awaits `read`; afterwards it sets `receiver` and bytes are handed over as they come,
without a task or future per read. Reading pauses while the other side cannot take more.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import cast

from interlock.errors import ProtocolError
from interlock.exchange import Cleared

LOGIN_BYTES_MAX = 128 * 1024
"""What a peer may send ahead during login; more pauses it."""
HANG_UP_S = 5.0
"""How long a peer may take to read what is left when a connection is closed, in seconds."""


class Link(asyncio.Protocol):
    """One TCP (or TLS, or Unix) connection. `closed` is set once it is gone, whatever the reason."""

    def __init__(self, on_connect: Callable[[Link], None] | None = None) -> None:
        self.receiver: Callable[[bytes], None] | None = None
        self.on_blocked: Callable[[bool], None] | None = None
        self.on_closed: Callable[[], None] | None = None
        self.closed = False
        self.peer = ""
        self._on_connect = on_connect
        self._transport: asyncio.Transport | None = None
        self._ahead = bytearray()
        self._arrived: asyncio.Future[None] | None = None
        self._paused = False

    # -- asyncio.Protocol ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        first = self._transport is None
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name or "local")
        if first and self._on_connect is not None:
            self._on_connect(self)

    def data_received(self, data: bytes) -> None:
        if self.receiver is not None:
            self.receiver(data)
            return
        self._ahead += data
        if len(self._ahead) > LOGIN_BYTES_MAX:
            self.pause()
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._wake()
        if self.on_closed is not None:
            self.on_closed()

    def pause_writing(self) -> None:
        if self.on_blocked is not None:
            self.on_blocked(True)

    def resume_writing(self) -> None:
        if self.on_blocked is not None:
            self.on_blocked(False)

    # -- the driver's side -----------------------------------------------------------------------------------

    async def read(self) -> bytes:
        """The next bytes; empty once the peer is gone. For logins only."""
        await self._wait()
        data = bytes(self._ahead)
        self._ahead.clear()
        self.resume()
        return data

    def start(self, receiver: Callable[[bytes], None]) -> None:
        """From now on hand bytes over as they come, beginning with those that came early."""
        self.receiver = receiver
        self.resume()
        if self._ahead:
            data = bytes(self._ahead)
            self._ahead.clear()
            receiver(data)

    def send(self, cleared: Sequence[Cleared]) -> None:
        """The only place where bytes are written to a connection."""
        if self._transport is not None and not self.closed:
            self._transport.writelines([piece.data for piece in cleared])

    async def peek(self) -> int | None:
        """The first byte that waits to be read, left where it is; None once the peer is gone. For logins only."""
        await self._wait()
        return self._ahead[0] if self._ahead else None

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, hostname: str | None = None) -> None:
        """Upgrade. Raises `ProtocolError` when bytes came before it: read under TLS afterwards, they would pass for
        protected ones (CVE-2021-23214, CVE-2021-23222)."""
        if self._ahead:
            raise ProtocolError("bytes came before the TLS handshake", fault="client" if server_side else "upstream")
        await self._upgrade(context, server_side, hostname)

    async def accept_tls(self, context: ssl.SSLContext) -> None:
        """The client began with TLS: what it sent already is the beginning of the handshake, and goes there."""
        upgrade = asyncio.get_running_loop().create_task(self._upgrade(context, True, None))
        try:
            # After one turn of the loop the transport belongs to TLS, and has not been read from again.
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(self._feed_tls)
            await upgrade
        finally:
            upgrade.cancel()

    async def _upgrade(self, context: ssl.SSLContext, server_side: bool, hostname: str | None) -> None:
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        upgraded = await loop.start_tls(self._transport, self, context, server_side=server_side, server_hostname=hostname)
        if upgraded is None:
            raise ConnectionResetError("the peer went away during the TLS handshake")
        self._transport = upgraded

    def _feed_tls(self) -> None:
        """Hand what came early to the protocol that took the transport over (TLS), as the event loop would."""
        transport = cast(asyncio.Transport, self._transport)
        protocol = cast(asyncio.BufferedProtocol, transport.get_protocol())
        if cast(object, protocol) is self:
            transport.abort()
            return
        early = bytes(self._ahead)
        self._ahead.clear()
        self._paused = False
        while early:
            room = memoryview(cast(bytearray, protocol.get_buffer(len(early))))
            piece, early = early[: len(room)], early[len(room) :]
            room[: len(piece)] = piece
            protocol.buffer_updated(len(piece))

    @property
    def secure(self) -> bool:
        return self._tls is not None

    @property
    def alpn(self) -> str | None:
        """The application protocol that both sides agreed on in the TLS handshake, if any (RFC 7301)."""
        return self._tls.selected_alpn_protocol() if self._tls is not None else None

    @property
    def peer_certificate(self) -> bytes | None:
        """The certificate (DER) that the peer showed in the TLS handshake. Whether it was verified is the context's affair."""
        return self._tls.getpeercert(binary_form=True) if self._tls is not None else None

    @property
    def _tls(self) -> ssl.SSLObject | None:
        return self._transport.get_extra_info("ssl_object") if self._transport is not None else None

    def pause(self) -> None:
        if not self._paused and self._transport is not None and not self.closed:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self._transport is not None and not self.closed:
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """Send what is written, then end; a peer that does not read it ends after `HANG_UP_S` all the same."""
        if self._transport is not None and not self.closed:
            self._transport.close()
            asyncio.get_running_loop().call_later(HANG_UP_S, self.abort)

    def abort(self) -> None:
        if self._transport is not None and not self.closed:
            self._transport.abort()

    async def _wait(self) -> None:
        while not self._ahead and not self.closed:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
