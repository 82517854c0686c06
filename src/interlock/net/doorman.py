"""How a client comes in: TLS as it likes to begin it, then the way in which it proves who it is.

What a claimed name is asked for (`postgres.auth`), the first that fits:
  a TLS client certificate that names it    nothing more
  `scram`                                   SCRAM, whether or not there is such a name
  `both`                                    SCRAM where the name has a connection secret, or without TLS; else a token
  `token`                                   a token, under TLS
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import structlog

from interlock.config import ListenerConfig
from interlock.errors import IdentityError, ProtocolError
from interlock.identity import Proof, ScramLogin
from interlock.net.link import Link
from interlock.net.sessions import Conversations
from interlock.net.tls import server_binding, server_context
from interlock.protocols.stream import Cancel, Claim, Close, DoorEvent, Login, Sasl, Say, StartTls, StreamProtocol

TLS_HANDSHAKE = 0x16
"""The first byte of a TLS ClientHello (RFC 8446, section 5.1: ContentType handshake); no protocol here begins with it."""

_log = structlog.get_logger("interlock.listener")


class Doorman:
    """One for each listener. `plaintext_allowed`: tokens may come without TLS. Raises `ConfigError`."""

    def __init__(self, conversations: Conversations, protocol: StreamProtocol, config: ListenerConfig, plaintext_allowed: bool) -> None:
        self.conversations = conversations
        self.gate = conversations.gate
        self.protocol = protocol
        self.auth = config.auth
        self.plaintext_allowed = plaintext_allowed
        self.in_clear = config.scram_without_tls
        self.config = config.tls
        self.tls: ssl.SSLContext | None = server_context(config.tls, (protocol.alpn,)) if config.tls else None
        self.binding = server_binding(config.tls) if config.tls else None

    def knock(self, link: Link) -> Knock:
        return Knock(self, link)


class Knock:
    """One client at the door."""

    def __init__(self, doorman: Doorman, link: Link) -> None:
        self._doorman = doorman
        self._link = link
        claims = doorman.auth != "token" or (doorman.config is not None and doorman.config.client_ca is not None)
        self.door = doorman.protocol.door(doorman.tls is not None, doorman.plaintext_allowed, claims, doorman.in_clear)
        self._scram: ScramLogin | None = None
        self._name = ""
        self._proof: Proof | None = None
        self._over = False

    async def login(self) -> tuple[Login, Proof] | None:
        """What the client asks for, and what it has shown; None when there is nothing more to do. Raises
        `ProtocolError`, `IdentityError`, `StoreError` and `OSError`."""
        if await self._link.peek() == TLS_HANDSHAKE:
            await self._direct_tls()
        while data := await self._link.read():
            events = list(self.door.receive(data))
            while events and not self._over:
                event = events.pop(0)
                if isinstance(event, Login):
                    return event, self._proof or Proof.of(event.secret, self._doorman.protocol.name, event.claimed)
                events = [*await self._act(event), *events]
            if self._over:
                break
        return None

    async def _direct_tls(self) -> None:
        """The client begins with TLS. It must name the protocol, so that no other protocol's client can be led here (ALPACA)."""
        alpn = self._doorman.protocol.alpn
        if self._doorman.tls is None:
            raise ProtocolError("the client begins with TLS, and there is none here", fault="client")
        await self._link.accept_tls(self._doorman.tls)
        if self._link.alpn != alpn:
            raise ProtocolError(f"direct TLS without ALPN {alpn}", fault="client")
        self.door.tls_started()

    async def _act(self, event: DoorEvent) -> Sequence[DoorEvent]:
        """Do what the door says; what it says then."""
        match event:
            case Say(data):
                self._say(data)
            case StartTls(data):
                assert self._doorman.tls is not None
                self._say(data)
                await self._link.start_tls(self._doorman.tls, server_side=True)
                return self.door.tls_started()
            case Claim(claimed):
                return await self._choose(claimed)
            case Sasl():
                return self._sasl(event)
            case Cancel(pid, key):
                self._over = True
                await self._doorman.conversations.cancel(pid, key)
            case Close(data, reason):
                self._over = True
                _log.info("login refused", client=self._link.peer, reason=reason)
                self._say(data)
        return ()

    def _say(self, data: bytes) -> None:
        self._link.send([self._doorman.gate.say(None, data)])

    async def _choose(self, claimed: str) -> Sequence[DoorEvent]:
        """How this name shall prove itself."""
        if self._certified(claimed):
            return self.door.trust()
        doorman, secure = self._doorman, self._link.secure
        if doorman.auth != "token":
            self._name = claimed
            scram = await doorman.gate.identity.scram(claimed, doorman.protocol.name, doorman.binding if secure else None)
            if doorman.auth == "scram" or scram.id is not None or not (secure or doorman.plaintext_allowed):
                self._scram = scram
                return self.door.ask_sasl(scram.mechanisms)
        return self.door.ask_secret()

    def _certified(self, claimed: str) -> bool:
        """Whether the client's certificate proves the name. One of another name proves nothing; none at all is refused where
        one is required, even to whom may come without TLS."""
        config = self._doorman.config
        if config is None or config.client_ca is None:
            return False
        certificate = self._link.peer_certificate
        if certificate is None:
            if config.client_certificate == "required":
                raise IdentityError("a client certificate is required", hint="connect with TLS, sslcert and sslkey")
            return False
        proof = Proof.of_certificate(certificate, config.principal_from, self._doorman.protocol.name, claimed)
        if not proof.names_claimed:
            return False
        self._proof = proof
        return True

    def _sasl(self, word: Sasl) -> Sequence[DoorEvent]:
        scram = self._scram
        if scram is None:
            raise ProtocolError("SASL was not asked for", fault="client")
        try:
            if word.mechanism:
                return self.door.sasl(scram.first(word.mechanism, word.data), done=False)
            last = scram.final(word.data)
        except IdentityError as error:
            _log.warning("identify", audience=self._doorman.protocol.name, claimed=self._name, reason=error.reason)
            raise
        assert scram.id is not None
        self._proof = Proof("scram", scram.id, self._doorman.protocol.name, self._name)
        return self.door.sasl(last, done=True)
