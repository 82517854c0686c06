"""Both handshakes, without I/O: `ClientLogin` plays the server towards the client; `UpstreamLogin`, given again
from `upstream_login.py`, plays the client towards upstream.

    client                    ClientLogin                     driver
      │──SSLRequest / GSSENC────▶│──StartTLS or Say(N)──────────▶│
      │──StartupMessage─────────▶│──Say(ask for the token)──────▶│
      │──PasswordMessage────────▶│──LoginRequest────────────────▶│ identify, open, connect upstream
      │◀─────────────────────────────accept(…) or deny(…)────────│

The client shows a gateway token as a cleartext password, so it is asked for under TLS only, unless the operator
allowed plaintext (a loopback). Where there are other ways (SASL, a TLS client certificate), the driver chooses one for the
name that is claimed. What the client may set at the start is an allow-list; the rest is refused by
name. Source: PostgreSQL documentation, "Message Flow" (Start-up, SSL Session Encryption).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from interlock.errors import ProtocolError
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.upstream_login import LOGIN_BYTES_MAX, UpstreamLogin, UpstreamReady, read_ssl_answer

SETTINGS = frozenset(
    {
        "application_name",
        "bytea_output",
        "client_min_messages",
        "datestyle",
        "default_transaction_deferrable",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "geqo",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "intervalstyle",
        "jit",
        "lock_timeout",
        "plan_cache_mode",
        "search_path",
        "statement_timeout",
        "timezone",
        "transaction_timeout",
        "xmloption",
    }
)
"""What a client may set when it connects: none of these changes how a text is read, who the user is, or what code runs."""


# What the driver must do


@dataclass(frozen=True, slots=True)
class Say:
    """Send these bytes to the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StartTLS:
    """Send these bytes to the client, then make the TLS handshake, then call `ClientLogin.secured`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """Somebody claims to be `user`: say `ask_secret`, `ask_sasl` or `trust`."""

    user: str


@dataclass(frozen=True, slots=True)
class Sasl:
    """A word of the client in SASL; the first one names the mechanism. Answer with `sasl`."""

    mechanism: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client wants another connection's query cancelled; close without an answer in any case."""

    pid: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Send these bytes to the client and close. `reason` is for the log."""

    data: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """Somebody who claims to be `user` asks for `database`, and shows `secret`.

    `parameters` are settings to hand to upstream, with lower-case names. `version` is the protocol that will
    be spoken with the client (3.0 or 3.2): with 3.2 the cancel key may have 32 bytes, with 3.0 it has 4.
    """

    user: str
    database: str
    parameters: Mapping[str, str]
    version: int
    secret: str = field(repr=False)

    @property
    def cancel_key_bytes(self) -> int:
        return 32 if self.version >= wire.PROTOCOL_3_2 else 4


Event = Say | StartTLS | Claimed | Sasl | Cancel | Refused | LoginRequest


def split_database(name: str) -> tuple[str, str]:
    """The resource, and the database inside it ("" for the resource's own), of `orders-db/otherdatabase`."""
    resource, _, database = name.partition("/")
    return resource, database


class _Denied(Exception):
    """A login that ends with an ErrorResponse: its SQLSTATE, a sentence, and what to do."""

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.hint = hint


def _no_tls() -> _Denied:
    return _Denied("28000", "the gateway takes tokens under TLS only", "Connect with sslmode=require or verify-full.")


class _Stage(Enum):
    FIRST = "first"
    TLS = "tls"
    CLAIMED = "claimed"
    SECRET = "secret"  # noqa: S105 - a stage, no secret
    SASL_FIRST = "first word in SASL"
    SASL = "more words in SASL"
    OVER = "over"


class ClientLogin:
    """The server's part of the handshake. `secure`: the connection is under TLS already. `tls_offered`: a TLS
    context is there. `plaintext_allowed`: a token may come without TLS (a loopback). With `claims` it says `Claimed`
    instead of asking for a token at once, and `proof_in_clear` lets clients without TLS come as far as that."""

    def __init__(
        self, *, secure: bool, tls_offered: bool, plaintext_allowed: bool, claims: bool = False, proof_in_clear: bool = False
    ) -> None:
        self._secure = secure
        self._tls_offered = tls_offered
        self._plaintext_allowed = plaintext_allowed
        self._claims = claims
        self._proof_in_clear = claims and proof_in_clear
        self._negotiation = b""
        self._stage = _Stage.FIRST
        self._begun = False
        self._asked: set[type] = set()
        self._first = wire.StartupFramer()
        self._framer = wire.Framer("client", LOGIN_BYTES_MAX)
        self._wanted: tuple[str, str, Mapping[str, str], int] = ("", "", {}, 0)

    def receive(self, data: bytes) -> list[Event]:
        """What to do about these bytes, in order. Raises `ProtocolError` (fault client): close."""
        if self._stage is _Stage.SECRET:
            return self._secret(data)
        if self._stage in (_Stage.SASL_FIRST, _Stage.SASL):
            return self._sasl(data)
        if self._stage is not _Stage.FIRST:
            raise ProtocolError("the client speaks out of turn", fault="client")
        self._begun = True
        request = self._first.feed(data)
        if request is None:
            return []
        match request:
            case wire.SSLRequest():
                self._once(request)
                if self._tls_offered:
                    self._stage = _Stage.TLS
                    return [StartTLS(b"S")]
                return [Say(b"N")]
            case wire.GSSENCRequest():
                self._once(request)
                return [Say(b"N")]
            case wire.CancelRequest(pid, key):
                self._stage = _Stage.OVER
                return [Cancel(pid, key)]
            case wire.StartupMessage():
                return self._startup(request)

    def secured(self) -> None:
        """The TLS handshake is done; what comes now was read under TLS. It was asked for, or came first of all (direct TLS)."""
        if self._stage is not _Stage.TLS and self._begun:
            raise RuntimeError("no TLS handshake was asked for")
        self._secure, self._stage = True, _Stage.FIRST

    def accept(self, parameters: Mapping[str, str], pid: int, key: bytes) -> bytes:
        """The login is good: `parameters` are what upstream reported, `pid` and `key` are the gateway's own."""
        reports = b"".join(wire.parameter_status(name, value) for name, value in parameters.items())
        return wire.authentication_ok() + reports + wire.backend_key(pid, key) + wire.ready("I")

    def deny(self, reason: str, *, code: str = "28P01", hint: str = "") -> bytes:
        """The login is not good: a FATAL error, then close. 28P01: the proof; 42501: the right to connect; 08001: upstream."""
        self._stage = _Stage.OVER
        return wire.error("FATAL", code, reason, hint=hint)

    def _once(self, request: wire.SSLRequest | wire.GSSENCRequest) -> None:
        if self._secure or type(request) in self._asked:
            raise ProtocolError(f"{type(request).__name__} where none may come", fault="client")
        self._asked.add(type(request))

    def _startup(self, message: wire.StartupMessage) -> list[Event]:
        try:
            self._negotiation = self._read(message)
        except _Denied as denied:
            return self._refused(denied)
        self._stage = _Stage.CLAIMED
        return [Claimed(self._wanted[0])] if self._claims else self.ask_secret()

    def ask_secret(self) -> list[Event]:
        """Ask for a token; turns the client away where it would travel in clear and may not."""
        self._expect(_Stage.CLAIMED)
        if not (self._secure or self._plaintext_allowed):
            return self._refused(_no_tls())
        self._stage = _Stage.SECRET
        asking: list[Event] = [Say(self._negotiation + wire.authentication_cleartext())]
        return asking + (self._secret(self._first.rest) if self._first.rest else [])

    def ask_sasl(self, mechanisms: Sequence[str]) -> list[Event]:
        """Offer these mechanisms."""
        self._expect(_Stage.CLAIMED)
        self._nothing_early()
        self._stage = _Stage.SASL_FIRST
        return [Say(self._negotiation + wire.authentication_sasl(mechanisms))]

    def sasl(self, data: bytes, *, done: bool) -> list[Event]:
        """Our next word; `done` is the last one of a good login."""
        self._expect(_Stage.SASL)
        if not done:
            return [Say(wire.authentication_sasl_continue(data))]
        return [Say(wire.authentication_sasl_final(data)), *self._request("")]

    def trust(self) -> list[Event]:
        """The client has proved who it is by other means."""
        self._expect(_Stage.CLAIMED)
        self._nothing_early()
        said: list[Event] = [Say(self._negotiation)] if self._negotiation else []
        return said + self._request("")

    def _expect(self, stage: _Stage) -> None:
        if self._stage is not stage:
            raise RuntimeError(f"the login is not at {stage.value}")

    def _nothing_early(self) -> None:
        if self._first.rest:
            raise ProtocolError("an answer came before it was asked for", fault="client")

    def _refused(self, denied: _Denied) -> list[Event]:
        return [Refused(self.deny(denied.reason, code=denied.code, hint=denied.hint), denied.reason)]

    def _read(self, message: wire.StartupMessage) -> bytes:
        """Take the StartupMessage in; gives the NegotiateProtocolVersion to answer with, if one is due."""
        if message.version >> 16 != 3:
            major, minor = message.version >> 16, message.version & 0xFFFF
            raise _Denied("0A000", f"unsupported frontend protocol {major}.{minor}: the gateway speaks 3.0 and 3.2")
        if not (self._secure or self._plaintext_allowed or self._proof_in_clear):
            raise _no_tls()
        given = dict(message.parameters)
        user = given.pop("user", "")
        if not user:
            raise _Denied("28000", "no user name is given")
        database = given.pop("database", "") or user
        unknown = [name for name in given if name.startswith("_pq_.")]
        for name in unknown:
            del given[name]
        self._wanted = user, database, _settings(given), min(message.version, wire.PROTOCOL_3_2)
        if unknown or message.version > wire.PROTOCOL_3_2:
            return wire.negotiate_protocol_version(self._wanted[3], unknown)
        return b""

    def _secret(self, data: bytes) -> list[Event]:
        message = self._answer(data)
        return [] if message is None else self._request(wire.read_password(message))

    def _sasl(self, data: bytes) -> list[Event]:
        message = self._answer(data)
        if message is None:
            return []
        if self._stage is _Stage.SASL:
            return [Sasl("", message[wire.HEADER :])]
        self._stage = _Stage.SASL
        return [Sasl(*wire.read_sasl_initial(message))]

    def _answer(self, data: bytes) -> bytes | None:
        """The one message that was asked for, None while it is incomplete."""
        messages = self._framer.feed(data)
        if not messages:
            return None
        if len(messages) > 1 or self._framer.pending or messages[0][0] != ord("p"):
            raise ProtocolError("exactly one PasswordMessage is expected", fault="client")
        return messages[0][1]

    def _request(self, secret: str) -> list[Event]:
        user, database, parameters, version = self._wanted
        self._stage = _Stage.OVER
        return [LoginRequest(user, database, parameters, version, secret)]


def _settings(given: Mapping[str, str]) -> dict[str, str]:
    """The settings for upstream, those inside `options` included. Raises `_Denied` for what is not allowed."""
    found = {"client_encoding": "UTF8"}
    pairs = [(name, value) for name, value in given.items() if name != "options"]
    for name, value in _options(given.get("options", "")) + pairs:
        name = name.lower()
        if name == "client_encoding":
            if re.sub(r"[^a-z0-9]", "", value.lower()) not in ("utf8", "unicode"):
                raise _Denied("42501", f"client_encoding {value!r} is not allowed", "Use UTF8.")
        elif name == "standard_conforming_strings":
            if value.lower() not in ("on", "true", "yes", "1"):
                raise _Denied("42501", "standard_conforming_strings must be on")
        elif name == "replication":
            if value.lower() not in ("off", "false", "no", "0"):
                raise _Denied("42501", "replication connections are not allowed")
        elif name in SETTINGS:
            found[name] = value
        else:
            raise _Denied("42501", f"the connection parameter {name!r} is not allowed", f"Allowed: {', '.join(sorted(SETTINGS))}.")
    return found


def _options(text: str) -> list[tuple[str, str]]:
    """The settings in `options` (`-c name=value`, `-cname=value`, `--name=value`; a backslash escapes a space)."""
    words = [re.sub(r"\\(.)", r"\1", word, flags=re.DOTALL) for word in re.findall(r"(?:\\.?|[^\s\\])+", text, re.DOTALL)]
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word == "-c" and at + 1 < len(words):
            at += 1
            setting = words[at]
        elif (word.startswith("-c") and len(word) > 2) or word.startswith("--"):
            setting = word[2:]
        else:
            raise _Denied("42501", f"the connection option {word!r} is not allowed", "Only -c name=value is read.")
        name, equals, value = setting.partition("=")
        if not equals:
            raise _Denied("42501", f"the connection option {word!r} has no value")
        found.append((name.replace("-", "_"), value))
        at += 1
    return found


__all__ = [
    "SETTINGS",
    "Cancel",
    "Claimed",
    "ClientLogin",
    "Event",
    "LoginRequest",
    "Refused",
    "Sasl",
    "Say",
    "StartTLS",
    "UpstreamLogin",
    "UpstreamReady",
    "read_ssl_answer",
    "split_database",
]
