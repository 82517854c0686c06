"""Both handshakes in the driver's words. What they say on the wire is tested in `test_login.py`."""

from __future__ import annotations

import pytest

from interlock.errors import ProtocolError, UpstreamError
from interlock.exchange import Credential, Refusal
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.door import Canceller, Door, Reach, refuse
from interlock.protocols.stream import Cancel, Close, Leg, Login, Reached, Say, StartTls

STARTUP = wire.startup({"user": "alice", "database": "orders-db/annex", "application_name": "test"})
LOGIN_DONE = wire.authentication_ok() + wire.parameter_status("TimeZone", "UTC") + wire.backend_key(7, b"key4") + wire.ready("I")


def test_a_login_in_clear_where_that_is_allowed() -> None:
    door = Door(tls_offered=False, plaintext_allowed=True)
    assert door.receive(STARTUP) == [Say(wire.authentication_cleartext())]
    (login,) = door.receive(wire.password("token"))
    assert isinstance(login, Login)
    assert (login.claimed, login.resource, login.place, login.secret) == ("alice", "orders-db", "annex", "token")
    assert "token" not in repr(login)
    said = door.welcome(Reached({"TimeZone": "UTC"}, 1, b"upstream", "interlock"), 7, b"mine")
    assert b"mine" in said and b"upstream" not in said


def test_in_clear_where_it_is_not() -> None:
    (event,) = Door(tls_offered=True, plaintext_allowed=False).receive(STARTUP)
    assert isinstance(event, Close) and b"TLS" in event.data


def test_tls_first() -> None:
    door = Door(tls_offered=True, plaintext_allowed=False)
    assert door.receive(wire.ssl_request()) == [StartTls(b"S")]
    assert door.tls_started() == []
    assert door.receive(STARTUP) == [Say(wire.authentication_cleartext())]


def test_cancel_requests() -> None:
    assert Door(False, True).receive(wire.cancel_request(7, b"key4")) == [Cancel(7, b"key4")]
    assert "key4" not in repr(Cancel(7, b"key4"))


def test_the_key_is_as_long_as_the_protocol_version_allows() -> None:
    for version, length in ((wire.PROTOCOL_3_0, 4), (wire.PROTOCOL_3_2, 32)):
        door = Door(False, True)
        door.receive(wire.startup({"user": "alice"}, version))
        door.receive(wire.password("token"))
        assert door.cancel_key_bytes == length


def test_reaching_upstream_hands_on_what_comes_behind_the_login() -> None:
    reach = Reach(Credential("interlock", "secret"), "shop", {}, Leg(), "nonce")
    (first,) = reach.start()
    assert isinstance(first, Say) and b"interlock" in first.data
    notice = wire.notice("NOTICE", "00000", "hello")
    (reached,) = reach.receive(LOGIN_DONE + notice)
    assert reached == Reached({"TimeZone": "UTC"}, 7, b"key4", "interlock", notice)
    assert "key4" not in repr(reached)


@pytest.mark.parametrize("what", ["reach", "cancel"])
def test_tls_is_asked_for_first_and_insisted_on(what: str) -> None:
    def make() -> Reach | Canceller:
        return (
            Reach(Credential("interlock", "secret"), "shop", {}, Leg(tls=True), "nonce")
            if what == "reach"
            else Canceller(7, b"key4", Leg(tls=True))
        )

    one = make()
    assert one.start() == [Say(wire.ssl_request())]
    assert one.receive(b"S") == [StartTls(b"")]
    (packet,) = one.tls_started()
    assert isinstance(packet, Say) and (b"interlock" in packet.data or packet.data == wire.cancel_request(7, b"key4"))
    for answer in (b"N", b"E", b"Sx"):
        other = make()
        other.start()
        with pytest.raises((UpstreamError, ProtocolError)):
            other.receive(answer)


def test_a_cancel_request_has_no_answer() -> None:
    cancel = Canceller(7, b"key4", Leg())
    assert cancel.start() == [Say(wire.cancel_request(7, b"key4"))]
    with pytest.raises(ProtocolError):
        cancel.receive(b"E")


def test_a_refusal_at_the_door_is_final() -> None:
    fields = wire.read_error(refuse(Refusal("denied", "no rule permits it", ("r1",), "#dba")))
    assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "42501", "no rule permits it")
