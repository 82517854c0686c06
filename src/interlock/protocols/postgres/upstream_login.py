"""The client's part of the handshake, towards upstream, without I/O.

Source: PostgreSQL documentation, "Message Flow" (Start-up, SSL Session Encryption) and "SASL Authentication";
RFC 5802 and 7677 for SCRAM-SHA-256, RFC 5929 for its channel binding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from scramp import ScramClient, ScramException

from interlock.errors import ProtocolError, UpstreamError
from interlock.exchange import Credential
from interlock.protocols.postgres import wire

LOGIN_BYTES_MAX = 65_535
"""The longest message of a handshake."""
ITERATIONS_MAX = 1_000_000
"""SCRAM iterations that we compute for upstream: about a second; more would stall the process."""


def read_ssl_answer(data: bytes) -> bool:
    """Whether upstream begins TLS. Anything but the one byte is refused: it would be taken for protected bytes (CVE-2021-23222)."""
    if data not in (b"S", b"N"):
        raise ProtocolError("upstream's answer to SSLRequest is not one byte S or N", fault="upstream")
    return data == b"S"


@dataclass(frozen=True, slots=True)
class UpstreamReady:
    """Upstream let us in: its reported settings, and what cancels its queries. `rest` are bytes that came behind
    ReadyForQuery; they belong to the relay."""

    parameters: Mapping[str, str]
    pid: int
    key: bytes = field(repr=False)
    version: int = wire.PROTOCOL_3_0
    rest: bytes = b""


class UpstreamLogin:
    """The client's part: SCRAM-SHA-256(-PLUS) anywhere; md5 and cleartext passwords under TLS (`secure`) only.

    `nonce` is a random printable text without commas, 24 characters or more. `channel_binding` is the
    `tls-server-end-point` data of RFC 5929 (a hash of upstream's certificate) for SCRAM-SHA-256-PLUS.
    Send `start`, then what `receive` returns, until `ready` is set. Raises `UpstreamError` when upstream says
    no or cannot prove that it knows the password, `ProtocolError` (fault upstream) when it breaks the protocol.
    """

    def __init__(
        self,
        credential: Credential,
        database: str,
        parameters: Mapping[str, str],
        *,
        secure: bool,
        nonce: str,
        channel_binding: bytes | None = None,
        version: int = wire.PROTOCOL_3_0,
    ) -> None:
        self.ready: UpstreamReady | None = None
        self._credential = credential
        self._startup = {**parameters, "user": credential.username, "database": database}
        self._secure = secure
        self._nonce = nonce
        self._binding = channel_binding
        self._version = version
        self._framer = wire.Framer("upstream", LOGIN_BYTES_MAX)
        self._scram: ScramClient | None = None
        self._proved = True
        self._in = False
        self._reported: dict[str, str] = {}
        self._key: tuple[int, bytes] = (0, b"")

    def start(self) -> bytes:
        """The StartupMessage."""
        return wire.startup(self._startup, self._version)

    def receive(self, data: bytes) -> bytes:
        """What to send to upstream in answer to these bytes; empty while there is nothing to say."""
        messages = self._framer.feed(data)
        answer = b""
        for at, (kind, message) in enumerate(messages):
            answer += self._take(kind, message)
            if kind == ord("Z"):
                rest = b"".join(later for _, later in messages[at + 1 :]) + self._framer.take_rest()
                self.ready = UpstreamReady(self._reported, *self._key, self._version, rest)
                break
        return answer

    def _take(self, kind: int, message: bytes) -> bytes:
        match chr(kind):
            case "R" if not self._in:
                return self._authenticate(*wire.read_authentication(message))
            case "E":
                fields = wire.read_error(message)
                raise UpstreamError(f"upstream refused the login: {fields.get('M', '')} (SQLSTATE {fields.get('C', '')})")
            case "v" if not self._in:
                version, _ = wire.read_negotiate(message)
                if not wire.PROTOCOL_3_0 <= version <= self._version:
                    raise UpstreamError("upstream speaks another protocol version than 3.0 and 3.2")
                self._version = version
            case "S" if self._in:
                name, value = wire.read_parameter_status(message)
                self._reported[name] = value
            case "K" if self._in:
                self._key = wire.read_backend_key(message)
            case "Z" if self._in:
                wire.read_ready(message)
            case "N":
                pass
            case _:
                raise ProtocolError(f"upstream sent {wire.BACKEND[kind].name} during the login", fault="upstream")
        return b""

    def _authenticate(self, code: int, body: bytes) -> bytes:
        match code:
            case 0:
                if not self._proved:
                    raise UpstreamError("upstream ended SCRAM without proving that it knows the password")
                self._in = True
                return b""
            case 3 if self._scram is None:
                self._only_under_tls("a cleartext password")
                return wire.password(self._credential.password)
            case 5 if self._scram is None and len(body) == 4:
                self._only_under_tls("an md5 password")
                return wire.password(_md5(self._credential, body))
            case 10 if self._scram is None:
                return self._scram_first(wire.read_sasl_mechanisms(body))
            case 11 | 12 if self._scram is not None:
                return self._scram_next(self._scram, code, body)
            case _:
                raise UpstreamError(f"upstream asks for an authentication method ({code}) that the gateway does not use here")

    def _only_under_tls(self, what: str) -> None:
        if not self._secure:
            raise UpstreamError(f"upstream asks for {what} without TLS", hint="Use TLS or SCRAM-SHA-256 for this resource.")

    def _scram_first(self, offered: tuple[str, ...]) -> bytes:
        plus = self._binding is not None and "SCRAM-SHA-256-PLUS" in offered
        mechanism = "SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256"
        if mechanism not in offered:
            raise UpstreamError("upstream offers no SCRAM-SHA-256")
        binding = None if self._binding is None else ("tls-server-end-point", self._binding)
        self._proved = False
        try:
            self._scram = ScramClient(
                [mechanism], self._credential.username, self._credential.password, channel_binding=binding, c_nonce=self._nonce
            )
            return wire.sasl_initial(mechanism, self._scram.get_client_first().encode())
        except ScramException:
            # Its text may quote the password's characters.
            raise UpstreamError("the stored credential cannot be used with SCRAM-SHA-256") from None

    def _scram_next(self, scram: ScramClient, code: int, body: bytes) -> bytes:
        try:
            text = body.decode()
            if code == 12:
                scram.set_server_final(text)
                self._proved = True
                return b""
            scram.set_server_first(text)
            if int(scram.iterations) > ITERATIONS_MAX:
                raise UpstreamError(f"upstream asks for more than {ITERATIONS_MAX} SCRAM iterations")
            return wire.sasl_response(scram.get_client_final().encode())
        except (ScramException, UnicodeDecodeError):
            raise UpstreamError("SCRAM with upstream failed: it broke off, or could not prove that it knows the password") from None


def _md5(credential: Credential, salt: bytes) -> str:
    inner = hashlib.md5((credential.password + credential.username).encode(), usedforsecurity=False).hexdigest()
    return "md5" + hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest()
