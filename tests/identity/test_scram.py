"""The server's half of SCRAM, against an independent client, and against clients that cheat."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient

from interlock.errors import IdentityError
from interlock.identity.issuers import REFUSED
from interlock.identity.scram import ITERATIONS, PLAIN, PLUS, ScramLogin, Verifier, stand_in

SECRET = "ilc_aaaaaaaaaaaa_secret"
VERIFIER = Verifier.of(SECRET, b"0123456789abcdef")
BINDING = b"h" * 32


def client(mechanism: str = PLAIN, binding: bytes | None = None, secret: str = SECRET) -> ScramClient:
    return ScramClient([mechanism], "alice", secret, channel_binding=("tls-server-end-point", binding) if binding else None)


def play(login: ScramLogin, peer: ScramClient, mechanism: str = PLAIN) -> None:
    """A whole login; the client checks our signature."""
    peer.set_server_first(login.first(mechanism, peer.get_client_first().encode()).decode())
    peer.set_server_final(login.final(peer.get_client_final().encode()).decode())


def why_not(login: ScramLogin, peer: ScramClient, mechanism: str = PLAIN) -> str:
    with pytest.raises(IdentityError) as caught:
        play(login, peer, mechanism)
    assert caught.value.message == REFUSED
    return caught.value.reason


def test_an_independent_client_gets_in() -> None:
    play(ScramLogin("one", VERIFIER, None), client())
    play(ScramLogin("one", VERIFIER, BINDING), client(PLUS, BINDING), PLUS)


def test_verifiers_are_written_as_postgres_writes_them() -> None:
    # RFC 7677, section 3: the example exchange of user `user` with password `pencil`.
    known = Verifier.of("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    assert known.text.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert base64.b64encode(known.stored_key) == b"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    assert base64.b64encode(known.server_key) == b"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    assert Verifier.read(known.text) == known
    assert ITERATIONS >= 4096
    for text in ("", "md5abc", known.text + "x", known.text.replace("4096", "1")):
        with pytest.raises(ValueError):
            Verifier.read(text)


def test_nothing_of_a_verifier_is_in_its_repr() -> None:
    assert repr(VERIFIER) == f"Verifier(iterations={ITERATIONS})"


def test_a_wrong_secret_and_none_at_all_go_the_same_way() -> None:
    assert "does not fit" in why_not(ScramLogin("one", VERIFIER, None), client(secret="wrong"))
    assert "no connection secret" in why_not(ScramLogin(None, stand_in("mallory", b"k" * 32), None), client())
    assert "no connection secret" in why_not(ScramLogin(None, VERIFIER, None), client())  # even if the proof fitted


def test_a_stand_in_looks_the_same_each_time_and_differs_by_name() -> None:
    first, again, other = stand_in("a", b"k" * 32), stand_in("a", b"k" * 32), stand_in("b", b"k" * 32)
    assert first.salt == again.salt != other.salt and len(first.salt) == len(VERIFIER.salt)
    assert first.iterations == VERIFIER.iterations and first.stored_key != again.stored_key
    assert stand_in("a", b"x" * 32).salt != first.salt


def test_binding_to_another_certificate() -> None:
    assert "another certificate" in why_not(ScramLogin("one", VERIFIER, BINDING), client(PLUS, b"e" * 32), PLUS)


def test_a_client_that_was_told_of_no_binding() -> None:
    """RFC 5802, section 6: `y` where PLUS was offered means that somebody took it out of the offer."""
    login = ScramLogin("one", VERIFIER, BINDING)
    with pytest.raises(IdentityError):
        login.first(PLAIN, b"y,,n=,r=abc")
    assert ScramLogin("one", VERIFIER, None).first(PLAIN, b"y,,n=,r=abc")


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        (PLUS, b"n,,n=,r=abc"),
        (PLAIN, b"p=tls-server-end-point,,n=,r=abc"),
        (PLUS, b"p=tls-unique,,n=,r=abc"),
        (PLAIN, b"n,a=bob,n=,r=abc"),
        (PLAIN, b"n,,n=,r="),
        (PLAIN, b"n,,m=x,n=,r=abc"),
        (PLAIN, b"n,,n=,r=a,b"),
        (PLAIN, b"n,,n=,r=" + b"a" * 513),
        (PLAIN, b"n,,n=,r=\xff"),
        ("SCRAM-SHA-1", b"n,,n=,r=abc"),
        ("", b""),
    ],
)
def test_odd_first_messages(mechanism: str, message: bytes) -> None:
    with pytest.raises(IdentityError):
        ScramLogin("one", VERIFIER, BINDING).first(mechanism, message)


def test_plus_is_not_offered_without_tls() -> None:
    assert ScramLogin("one", VERIFIER, None).mechanisms == (PLAIN,)
    with pytest.raises(IdentityError):
        ScramLogin("one", VERIFIER, None).first(PLUS, b"p=tls-server-end-point,,n=,r=abc")


def test_each_step_once_and_in_order() -> None:
    login, peer = ScramLogin("one", VERIFIER, None), client()
    with pytest.raises(IdentityError):
        login.final(b"c=biws,r=abc,p=" + base64.b64encode(bytes(32)))
    peer.set_server_first(login.first(PLAIN, peer.get_client_first().encode()).decode())
    with pytest.raises(IdentityError):
        login.first(PLAIN, b"n,,n=,r=abc")
    final = peer.get_client_final().encode()
    login.final(final)
    with pytest.raises(IdentityError):  # a replay
        login.final(final)
    with pytest.raises(IdentityError):  # in another login
        other = ScramLogin("one", VERIFIER, None)
        other.first(PLAIN, b"n,,n=alice,r=abc")
        other.final(final)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_hostile_messages_are_refused_and_nothing_else(first: bytes, final: bytes) -> None:
    login = ScramLogin("one", VERIFIER, None)
    with pytest.raises(IdentityError):
        login.first(PLAIN, first)
    with pytest.raises(IdentityError):
        login.final(final)


@given(st.integers(0, 200), st.integers(1, 255))
def test_any_changed_byte_of_the_final_message_is_refused(place: int, change: int) -> None:
    login, peer = ScramLogin("one", VERIFIER, None), client()
    peer.set_server_first(login.first(PLAIN, peer.get_client_first().encode()).decode())
    final = bytearray(peer.get_client_final().encode())
    at = place % (len(final) - 2)  # the last digit of base64 has unused bits, then comes padding
    final[at] ^= change
    with pytest.raises(IdentityError):
        login.final(bytes(final))
