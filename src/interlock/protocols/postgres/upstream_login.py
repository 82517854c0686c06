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
from interlock.protocols.stream import OldProtocol

LOGIN_BYTES_MAX = 65_535
"""The longest message of a handshake."""
ITERATIONS_MAX = 1_000_000
"""SCRAM iterations that we compute for upstream: about a second; more would stall the process."""

_NOT_SPOKEN = ("0A000", "08P01")
"""How servers and poolers that do not know NegotiateProtocolVersion refuse a newer protocol."""


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
    """The client's part: SCRAM-SHA-256(-PLUS) anywhere; md5 under TLS (`secure`) only; a cleartext password (or a token in
    its place) only where upstream's certificate is `verified` too.

    `nonce` is a random printable text without commas, 24 characters or more. `channel_binding` is the
    `tls-server-end-point` data of RFC 5929 (a hash of upstream's certificate) for SCRAM-SHA-256-PLUS; `bind` hands it in
    later. `bound`: log in by that mechanism, or not at all. Raises `OldProtocol` when `version` is not taken.
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
        verified: bool = True,
        channel_binding: bytes | None = None,
        bound: bool = False,
        version: int = wire.PROTOCOL_3_0,
    ) -> None:
        self.ready: UpstreamReady | None = None
        self._credential = credential
        self._startup = {**parameters, "user": credential.username, "database": database}
        self._secure = secure
        self._nonce = nonce
        self._verified = secure and verified
        self._binding = channel_binding
        self._bound = bound
        self._answered = False
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

    def bind(self, channel_binding: bytes | None) -> None:
        """The login goes on inside TLS, with this `tls-server-end-point` data."""
        self._binding = channel_binding

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
                if not self._answered and self._version > wire.PROTOCOL_3_0 and fields.get("C") in _NOT_SPOKEN:
                    raise OldProtocol("upstream does not speak protocol 3.2, nor says which it speaks")
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
        self._answered = True
        match code:
            case 0:
                if not self._proved:
                    raise UpstreamError("upstream ended SCRAM without proving that it knows the password")
                if self._bound and (self._scram is None or self._binding is None):
                    raise UpstreamError("upstream logs in without channel binding, which this resource requires")
                self._in = True
                return b""
            case 3 if self._scram is None:
                self._not_where_bound()
                if not self._verified:
                    hint = "Use `tls: verify`, or SCRAM-SHA-256, for this resource."
                    raise UpstreamError("upstream asks for a cleartext password without TLS with a verified certificate", hint=hint)
                return wire.password(self._credential.password)
            case 5 if self._scram is None and len(body) == 4:
                self._not_where_bound()
                if not self._secure:
                    raise UpstreamError("upstream asks for an md5 password without TLS", hint="Use TLS or SCRAM-SHA-256 for this resource.")
                return wire.password(_md5(self._credential, body))
            case 10 if self._scram is None:
                return self._scram_first(wire.read_sasl_mechanisms(body))
            case 11 | 12 if self._scram is not None:
                return self._scram_next(self._scram, code, body)
            case _:
                raise UpstreamError(f"upstream asks for an authentication method ({code}) that the gateway does not use here")

    def _not_where_bound(self) -> None:
        if self._bound:
            raise UpstreamError("upstream asks for a password where SCRAM with channel binding is required")

    def _scram_first(self, offered: tuple[str, ...]) -> bytes:
        plus = self._binding is not None and "SCRAM-SHA-256-PLUS" in offered
        mechanism = "SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256"
        if mechanism not in offered or (self._bound and not plus):
            raise UpstreamError(f"upstream offers no {'SCRAM-SHA-256-PLUS' if self._bound else 'SCRAM-SHA-256'}")
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
