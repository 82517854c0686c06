"""The untyped packets that open a connection. Source: PostgreSQL documentation, "Message Formats": SSLRequest,
GSSENCRequest, CancelRequest, StartupMessage; limits as in PostgreSQL's `ProcessStartupPacket`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock.errors import ProtocolError
from interlock.protocols.postgres.builders import CANCEL_REQUEST, GSSENC_REQUEST, SSL_REQUEST
from interlock.protocols.postgres.messages import Reader

STARTUP_BYTES_MAX = 10_000
"""The longest first packet, as PostgreSQL's MAX_STARTUP_PACKET_LENGTH."""


@dataclass(frozen=True, slots=True)
class SSLRequest:
    """The client asks for TLS: answer one byte, `S` or `N`."""


@dataclass(frozen=True, slots=True)
class GSSENCRequest:
    """The client asks for GSSAPI encryption: answer `N`."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """The client wants the query of another connection cancelled; no answer, then the connection ends."""

    pid: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartupMessage:
    """The client opens a session: protocol `version` (major << 16 | minor) and parameters. `parameters` is empty
    unless the major version is 3, whose format alone is known."""

    version: int
    parameters: Mapping[str, str]


Startup = SSLRequest | GSSENCRequest | CancelRequest | StartupMessage


class StartupFramer:
    """Cuts the untyped packets that open a connection. At most `STARTUP_BYTES_MAX` bytes are kept."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.rest = b""
        """What followed a StartupMessage in the same read; it belongs to the `Framer`."""

    def feed(self, data: bytes) -> Startup | None:
        """The request that `data` completes, or None while it is incomplete.

        Bytes behind an SSLRequest, GSSENCRequest or CancelRequest are a `ProtocolError`: they would slip
        from the unprotected into the protected stream (CVE-2021-23214, CVE-2021-43766).
        """
        self._data += data
        if len(self._data) < 4:
            return None
        length = int.from_bytes(self._data[:4])
        if not 8 <= length <= STARTUP_BYTES_MAX:
            raise ProtocolError(f"a first packet of {length} bytes is not PostgreSQL's", fault="client")
        if len(self._data) < length:
            return None
        packet, rest = bytes(self._data[:length]), bytes(self._data[length:])
        self._data.clear()
        request = read_startup(packet)
        if rest and not isinstance(request, StartupMessage):
            raise ProtocolError(f"bytes follow {type(request).__name__} before it was answered", fault="client")
        self.rest = rest
        return request


def read_startup(packet: bytes) -> Startup:
    """One untyped packet, with its length. Parameters are unique UTF-8 C strings that end where the packet ends."""
    reader = Reader(packet, "startup packet", "client", at=4)
    code = reader.int32()
    if code == SSL_REQUEST:
        reader.end()
        return SSLRequest()
    if code == GSSENC_REQUEST:
        reader.end()
        return GSSENCRequest()
    if code == CANCEL_REQUEST:
        pid, key = reader.int32(), reader.rest()
        if not 4 <= len(key) <= 256:
            reader.fail("a cancel key has 4 to 256 bytes")
        return CancelRequest(pid, key)
    if code >> 16 != 3:
        return StartupMessage(code, {})
    parameters: dict[str, str] = {}
    while name := reader.string():
        if name in parameters:
            reader.fail("a parameter occurs twice")
        parameters[name] = reader.string()
    reader.end()
    return StartupMessage(code, parameters)
