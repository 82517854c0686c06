"""Both handshakes in the driver's words (`protocols.stream`); what they say on the wire is in `login.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interlock.errors import ProtocolError, UpstreamError
from interlock.exchange import Credential, Refusal
from interlock.protocols.postgres import login, reply, wire
from interlock.protocols.stream import Cancel, Claim, Close, DoorEvent, Leg, Login, Reached, ReachEvent, Sasl, Say, StartTls


class Door:
    """The server's role. See `login.ClientLogin`."""

    def __init__(self, tls_offered: bool, plaintext_allowed: bool, claims: bool = False, proof_in_clear: bool = False) -> None:
        self._login = login.ClientLogin(
            secure=False, tls_offered=tls_offered, plaintext_allowed=plaintext_allowed, claims=claims, proof_in_clear=proof_in_clear
        )
        self.cancel_key_bytes = 4

    def receive(self, data: bytes) -> list[DoorEvent]:
        return [self._event(event) for event in self._login.receive(data)]

    def ask_secret(self) -> list[DoorEvent]:
        return [self._event(event) for event in self._login.ask_secret()]

    def ask_sasl(self, mechanisms: Sequence[str]) -> list[DoorEvent]:
        return [self._event(event) for event in self._login.ask_sasl(mechanisms)]

    def sasl(self, data: bytes, *, done: bool) -> list[DoorEvent]:
        return [self._event(event) for event in self._login.sasl(data, done=done)]

    def trust(self) -> list[DoorEvent]:
        return [self._event(event) for event in self._login.trust()]

    def tls_started(self) -> list[DoorEvent]:
        self._login.secured()
        return []

    def welcome(self, reached: Reached, pid: int, key: bytes) -> bytes:
        return self._login.accept(reached.parameters, pid, key)

    def refuse(self, refusal: Refusal) -> bytes:
        return refuse(refusal)

    def _event(self, event: login.Event) -> DoorEvent:
        match event:
            case login.Say():
                return Say(event.data)
            case login.StartTLS():
                return StartTls(event.data)
            case login.Claimed():
                return Claim(event.user)
            case login.Sasl():
                return Sasl(event.mechanism, event.data)
            case login.Cancel():
                return Cancel(event.pid, event.key)
            case login.Refused():
                return Close(event.data, event.reason)
            case login.LoginRequest():
                self.cancel_key_bytes = event.cancel_key_bytes
                resource, place = login.split_database(event.database)
                return Login(event.user, resource, place, event.parameters, event.secret)


class Reach:
    """The client's role. See `login.UpstreamLogin`; where TLS is demanded it asks for it first and insists on it. `newest`:
    protocol 3.2, or what the server offers instead."""

    def __init__(self, credential: Credential, place: str, settings: Mapping[str, str], leg: Leg, nonce: str, newest: bool = False) -> None:
        self._user = credential.username
        self._login = login.UpstreamLogin(
            credential,
            place,
            settings,
            secure=leg.tls,
            verified=leg.verified,
            nonce=nonce,
            bound=leg.bound,
            version=wire.PROTOCOL_3_2 if newest else wire.PROTOCOL_3_0,
        )
        self._opening = _Opening(leg, self._login.start())
        self.heard = False

    def start(self) -> Sequence[ReachEvent]:
        return self._opening.start()

    def tls_started(self, binding: bytes | None = None) -> Sequence[ReachEvent]:
        self._login.bind(binding)
        return self._opening.tls_started()

    def receive(self, data: bytes) -> Sequence[ReachEvent]:
        if self._opening.asking:
            return self._opening.receive(data)
        self.heard = True
        events: list[ReachEvent] = []
        answer = self._login.receive(data)
        if answer:
            events.append(Say(answer))
        ready = self._login.ready
        if ready is not None:
            events.append(Reached(ready.parameters, ready.pid, ready.key, self._user, ready.rest))
        return events


class Canceller:
    """The client's role on a connection that cancels another one's work: one packet, and no answer."""

    heard = False

    def __init__(self, pid: int, key: bytes, leg: Leg) -> None:
        self._opening = _Opening(leg, wire.cancel_request(pid, key))

    def start(self) -> Sequence[ReachEvent]:
        return self._opening.start()

    def tls_started(self, binding: bytes | None = None) -> Sequence[ReachEvent]:
        return self._opening.tls_started()

    def receive(self, data: bytes) -> Sequence[ReachEvent]:
        if not self._opening.asking:
            raise ProtocolError("upstream answers a cancel request", fault="upstream")
        return self._opening.receive(data)


class _Opening:
    """The first packet, under TLS if that is demanded: then it is asked for first, and insisted on."""

    def __init__(self, leg: Leg, packet: bytes) -> None:
        self.asking = leg.tls and not leg.direct
        self._direct = leg.tls and leg.direct
        self._packet = packet

    def start(self) -> Sequence[ReachEvent]:
        if self._direct:
            return [StartTls(b"")]
        return [Say(wire.ssl_request() if self.asking else self._packet)]

    def receive(self, data: bytes) -> Sequence[ReachEvent]:
        self.asking = False
        if not login.read_ssl_answer(data):
            raise UpstreamError("upstream offers no TLS", hint="set `tls: disable` for this resource if that is meant")
        return [StartTls(b"")]

    def tls_started(self) -> Sequence[ReachEvent]:
        return [Say(self._packet)]


def refuse(refusal: Refusal) -> bytes:
    """A refusal that ends the connection: at login, or when trust ends in mid-session."""
    return wire.error_fields(reply.speak(refusal) | {"S": "FATAL", "V": "FATAL"})
