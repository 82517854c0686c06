"""Both handshakes in the driver's words (`protocols.stream`); what they say on the wire is in `login.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interlock.errors import UpstreamError
from interlock.exchange import Credential, Refusal
from interlock.protocols.postgres import login, reply, wire
from interlock.protocols.stream import Cancel, Close, DoorEvent, Login, Reached, ReachEvent, Say, StartTls


class Door:
    """The server's role. See `login.ClientLogin`."""

    def __init__(self, tls_offered: bool, plaintext_allowed: bool) -> None:
        self._login = login.ClientLogin(secure=False, tls_offered=tls_offered, plaintext_allowed=plaintext_allowed)
        self.cancel_key_bytes = 4

    def receive(self, data: bytes) -> list[DoorEvent]:
        return [self._event(event) for event in self._login.receive(data)]

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
            case login.Cancel():
                return Cancel(event.pid, event.key)
            case login.Refused():
                return Close(event.data, event.reason)
            case login.LoginRequest():
                self.cancel_key_bytes = event.cancel_key_bytes
                resource, place = login.split_database(event.database)
                return Login(event.user, resource, place, event.parameters, event.secret)


class Reach:
    """The client's role. See `login.UpstreamLogin`; with `tls` it asks for it first and insists on it."""

    def __init__(self, credential: Credential, place: str, settings: Mapping[str, str], tls: bool, nonce: str) -> None:
        self._tls = tls
        self._user = credential.username
        self._login = login.UpstreamLogin(credential, place, settings, secure=tls, nonce=nonce)
        self._waits_for_tls = False

    def start(self) -> Sequence[ReachEvent]:
        if self._tls:
            self._waits_for_tls = True
            return [Say(wire.ssl_request())]
        return [Say(self._login.start())]

    def tls_started(self) -> Sequence[ReachEvent]:
        return [Say(self._login.start())]

    def receive(self, data: bytes) -> Sequence[ReachEvent]:
        if self._waits_for_tls:
            self._waits_for_tls = False
            if not login.read_ssl_answer(data):
                raise UpstreamError("upstream offers no TLS", hint="set `tls: disable` for this resource if that is meant")
            return [StartTls(b"")]
        events: list[ReachEvent] = []
        answer = self._login.receive(data)
        if answer:
            events.append(Say(answer))
        ready = self._login.ready
        if ready is not None:
            events.append(Reached(ready.parameters, ready.pid, ready.key, self._user, ready.rest))
        return events


def refuse(refusal: Refusal) -> bytes:
    """A refusal that ends the connection: at login, or when trust ends in mid-session."""
    return wire.error_fields(reply.speak(refusal) | {"S": "FATAL", "V": "FATAL"})
