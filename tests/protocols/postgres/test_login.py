"""The handshakes as dialogues: bytes in, events or bytes out."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramMechanism

from interlock.errors import ProtocolError, UpstreamError
from interlock.exchange import Credential
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.login import (
    SETTINGS,
    Cancel,
    Claimed,
    ClientLogin,
    LoginRequest,
    Refused,
    Sasl,
    Say,
    StartTLS,
    UpstreamLogin,
    read_ssl_answer,
    split_database,
)
from interlock.protocols.stream import OldProtocol

ALICE = {"user": "alice", "database": "orders-db"}


def login(*, secure: bool = True, tls_offered: bool = True, plaintext_allowed: bool = False) -> ClientLogin:
    return ClientLogin(secure=secure, tls_offered=tls_offered, plaintext_allowed=plaintext_allowed)


def ask(parameters: dict[str, str], version: int = wire.PROTOCOL_3_0) -> LoginRequest:
    client = login()
    client.receive(wire.startup(parameters, version))
    (event,) = client.receive(wire.password("token"))
    assert isinstance(event, LoginRequest)
    return event


def refusal(parameters: dict[str, str], version: int = wire.PROTOCOL_3_0, client: ClientLogin | None = None) -> dict[str, str]:
    (event,) = (client or login()).receive(wire.startup(parameters, version))
    assert isinstance(event, Refused)
    fields = wire.read_error(event.data)
    assert fields["S"] == "FATAL"
    assert fields["M"] == event.reason
    return fields


# Towards the client


def test_psql_under_tls_from_first_byte_to_ready() -> None:
    client = login(secure=False)
    assert client.receive(wire.gssenc_request()) == [Say(b"N")]
    assert client.receive(wire.ssl_request()) == [StartTLS(b"S")]
    client.secured()
    assert client.receive(wire.startup({**ALICE, "application_name": "psql", "client_encoding": "UTF8"})) == [
        Say(wire.authentication_cleartext())
    ]
    assert client.receive(wire.password("token")) == [
        LoginRequest("alice", "orders-db", {"client_encoding": "UTF8", "application_name": "psql"}, wire.PROTOCOL_3_0, "token")
    ]
    welcome = client.accept({"server_version": "18.4"}, 7, b"abcd")
    assert welcome == wire.authentication_ok() + wire.parameter_status("server_version", "18.4") + wire.backend_key(
        7, b"abcd"
    ) + wire.ready("I")


@given(st.integers(1, 50))
def test_any_chunking_gives_the_same_login(chunk: int) -> None:
    client, events = login(), []
    for packet in (wire.startup(ALICE), wire.password("token")):
        for at in range(0, len(packet), chunk):
            events += client.receive(packet[at : at + chunk])
    assert [type(event) for event in events] == [Say, LoginRequest]


def test_a_password_right_behind_the_startup_is_taken() -> None:
    events = login().receive(wire.startup(ALICE) + wire.password("token"))
    assert [type(event) for event in events] == [Say, LoginRequest]


def test_without_tls_the_client_is_told_no_and_what_to_do() -> None:
    client = login(secure=False, tls_offered=False)
    assert client.receive(wire.ssl_request()) == [Say(b"N")]
    fields = refusal(ALICE, client=client)
    assert fields["C"] == "28000"
    assert "sslmode=require" in fields["H"]


def test_plaintext_only_where_the_operator_allows_it() -> None:
    assert refusal(ALICE, client=login(secure=False))["C"] == "28000"
    assert login(secure=False, plaintext_allowed=True).receive(wire.startup(ALICE)) == [Say(wire.authentication_cleartext())]


@pytest.mark.parametrize("packet", [wire.ssl_request(), wire.gssenc_request()])
def test_a_request_comes_once_and_never_inside_tls(packet: bytes) -> None:
    client = login(secure=False, tls_offered=False)
    client.receive(packet)
    with pytest.raises(ProtocolError):
        client.receive(packet)
    with pytest.raises(ProtocolError):
        login(secure=True).receive(packet)


def test_direct_tls_comes_before_everything_else() -> None:
    client = login(secure=False)
    client.secured()
    with pytest.raises(ProtocolError):
        client.receive(wire.ssl_request())
    late = login(secure=False)
    late.receive(wire.startup(ALICE)[:5])
    with pytest.raises(RuntimeError):
        late.secured()


def test_bytes_behind_the_ssl_request_are_refused() -> None:
    # CVE-2021-23214, CVE-2021-43766: they would be read as if TLS had protected them.
    with pytest.raises(ProtocolError):
        login(secure=False).receive(wire.ssl_request() + wire.startup(ALICE))


def test_bytes_between_the_answer_and_the_tls_handshake_are_refused() -> None:
    client = login(secure=False)
    client.receive(wire.ssl_request())
    with pytest.raises(ProtocolError):
        client.receive(wire.startup(ALICE))


def test_a_cancel_request_is_all_there_is() -> None:
    client = login(secure=False)
    (event,) = client.receive(wire.cancel_request(7, b"secretkey"))
    assert event == Cancel(7, b"secretkey")
    assert "secretkey" not in repr(event)
    with pytest.raises(ProtocolError):
        client.receive(wire.startup(ALICE))


def test_the_secret_is_not_in_the_repr() -> None:
    assert "token" not in repr(ask(ALICE))


def test_the_database_defaults_to_the_user_and_names_the_resource() -> None:
    assert ask({"user": "alice"}).database == "alice"
    assert ask({"user": "alice", "database": ""}).database == "alice"
    assert split_database("orders-db") == ("orders-db", "")
    assert split_database("orders-db/other/x") == ("orders-db", "other/x")


def test_a_user_is_needed() -> None:
    assert refusal({"database": "orders-db"})["C"] == "28000"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("replication", "database"),
        ("replication", "true"),
        ("session_preload_libraries", "evil"),
        ("role", "postgres"),
        ("session_authorization", "postgres"),
        ("client_encoding", "SQL_ASCII"),
        ("client_encoding", "SJIS"),
        ("standard_conforming_strings", "off"),
        ("backslash_quote", "on"),
        ("options", "-c role=postgres"),
        ("options", "-crole=postgres"),
        ("options", "--role=postgres"),
        ("options", "-c search_path"),
        ("options", "-c"),
        ("options", "-B 100"),
        ("options", "-c search_path=a -c client_encoding=SJIS"),
        ("options", "x"),
        ("log_statement", "none"),
    ],
)
def test_settings_outside_the_list_are_refused(name: str, value: str) -> None:
    assert refusal({**ALICE, name: value})["C"] == "42501"


def test_a_refused_setting_is_named() -> None:
    assert "'role'" in refusal({**ALICE, "ROLE": "postgres"})["M"]


@pytest.mark.parametrize("value", ["UTF8", "utf-8", "'utf-8'", "unicode", "UNICODE"])
def test_ways_to_say_utf8(value: str) -> None:
    assert ask({**ALICE, "client_encoding": value}).parameters == {"client_encoding": "UTF8"}


def test_what_drivers_send_is_taken() -> None:
    sent = {
        "DateStyle": "ISO",
        "TimeZone": "Europe/Berlin",
        "extra_float_digits": "2",
        "search_path": "shop, public",
        "options": "-c statement_timeout=5s -cgeqo=off --lock-timeout=1s -c application_name=a\\ b",
        "replication": "false",
        "standard_conforming_strings": "on",
    }
    assert ask({**ALICE, **sent}).parameters == {
        "client_encoding": "UTF8",
        "statement_timeout": "5s",
        "geqo": "off",
        "lock_timeout": "1s",
        "application_name": "a b",
        "datestyle": "ISO",
        "timezone": "Europe/Berlin",
        "extra_float_digits": "2",
        "search_path": "shop, public",
    }


def test_nothing_dangerous_is_on_the_list() -> None:
    assert not SETTINGS & {
        "role",
        "session_authorization",
        "standard_conforming_strings",
        "client_encoding",
        "row_security",
        "backslash_quote",
    }


@pytest.mark.parametrize("version", [2 << 16, 4 << 16, 0])
def test_other_major_versions_are_refused(version: int) -> None:
    assert "unsupported frontend protocol" in refusal(ALICE, version)["M"]


def test_protocol_3_2_gets_a_long_key() -> None:
    assert ask(ALICE, wire.PROTOCOL_3_2).cancel_key_bytes == 32
    assert ask(ALICE, wire.PROTOCOL_3_0).cancel_key_bytes == 4


def test_newer_minors_and_unknown_protocol_options_are_negotiated() -> None:
    greased = {**ALICE, "_pq_.test_protocol_negotiation": "x"}
    (event,) = login().receive(wire.startup(greased, (3 << 16) | 9999))
    assert event == Say(
        wire.negotiate_protocol_version(wire.PROTOCOL_3_2, ["_pq_.test_protocol_negotiation"]) + wire.authentication_cleartext()
    )
    (event,) = login().receive(wire.startup(greased))
    assert event == Say(
        wire.negotiate_protocol_version(wire.PROTOCOL_3_0, ["_pq_.test_protocol_negotiation"]) + wire.authentication_cleartext()
    )


@pytest.mark.parametrize(
    "data", [wire.query("select 1"), wire.password("a") + wire.password("b"), wire.password("a") + b"Q", wire.terminate()]
)
def test_only_one_password_is_taken(data: bytes) -> None:
    client = login()
    client.receive(wire.startup(ALICE))
    with pytest.raises(ProtocolError):
        client.receive(data)


def test_nothing_is_read_after_the_password() -> None:
    client = login()
    client.receive(wire.startup(ALICE) + wire.password("token"))
    with pytest.raises(ProtocolError):
        client.receive(wire.query("select 1"))


@given(st.lists(st.binary(max_size=60), max_size=4), st.booleans())
def test_a_hostile_client_only_gets_protocol_errors(reads: list[bytes], started: bool) -> None:
    client = login()
    if started:
        client.receive(wire.startup(ALICE))
    try:
        for data in reads:
            client.receive(data)
    except ProtocolError as error:
        assert error.fault == "client"


# Other proofs than a token


def claims(*, secure: bool = True, proof_in_clear: bool = False) -> ClientLogin:
    return ClientLogin(secure=secure, tls_offered=True, plaintext_allowed=False, claims=True, proof_in_clear=proof_in_clear)


def test_a_login_by_sasl() -> None:
    client = claims()
    assert client.receive(wire.startup(ALICE)) == [Claimed("alice")]
    assert client.ask_sasl(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]) == [
        Say(wire.authentication_sasl(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]))
    ]
    assert client.receive(wire.sasl_initial("SCRAM-SHA-256", b"first")) == [Sasl("SCRAM-SHA-256", b"first")]
    assert client.sasl(b"challenge", done=False) == [Say(wire.authentication_sasl_continue(b"challenge"))]
    assert client.receive(wire.sasl_response(b"final")) == [Sasl("", b"final")]
    said, request = client.sasl(b"proof", done=True)
    assert said == Say(wire.authentication_sasl_final(b"proof"))
    assert isinstance(request, LoginRequest) and (request.user, request.secret) == ("alice", "")
    with pytest.raises(ProtocolError):
        client.receive(wire.sasl_response(b"more"))


def test_a_login_that_is_proved_already() -> None:
    client = claims()
    client.receive(wire.startup({**ALICE, "_pq_.test": "x"}))
    said, request = client.trust()
    assert said == Say(wire.negotiate_protocol_version(wire.PROTOCOL_3_0, ["_pq_.test"]))
    assert isinstance(request, LoginRequest) and request.secret == ""


def test_in_clear_a_proof_may_come_but_no_token() -> None:
    (event,) = claims(secure=False).receive(wire.startup(ALICE))
    assert isinstance(event, Refused)
    client = claims(secure=False, proof_in_clear=True)
    assert client.receive(wire.startup(ALICE)) == [Claimed("alice")]
    (event,) = client.ask_secret()
    assert isinstance(event, Refused) and wire.read_error(event.data)["C"] == "28000"


def test_nothing_comes_before_it_is_asked_for() -> None:
    client = claims()
    client.receive(wire.startup(ALICE) + wire.password("token"))
    with pytest.raises(ProtocolError):
        client.trust()
    with pytest.raises(ProtocolError):
        client.ask_sasl(["SCRAM-SHA-256"])


def test_the_driver_keeps_to_the_order() -> None:
    with pytest.raises(RuntimeError):
        claims().trust()
    with pytest.raises(RuntimeError):
        claims().ask_secret()
    with pytest.raises(RuntimeError):
        claims().sasl(b"", done=True)


@pytest.mark.parametrize(
    "data", [wire.password("token"), wire.sasl_initial("x", b"y") * 2, wire.query("select 1"), b"p\0\0\0\x09x\0\xff\xff\xff\xff"]
)
def test_odd_answers_in_sasl(data: bytes) -> None:
    client = claims()
    client.receive(wire.startup(ALICE))
    client.ask_sasl(["SCRAM-SHA-256"])
    with pytest.raises(ProtocolError):
        client.receive(data)


# Towards upstream

CREDENTIAL = Credential("svc", "s3cret-pass")


def upstream(*, secure: bool = True, binding: bytes | None = None, version: int = wire.PROTOCOL_3_0) -> UpstreamLogin:
    return UpstreamLogin(
        CREDENTIAL, "shop", {"client_encoding": "UTF8"}, secure=secure, nonce="n" * 24, channel_binding=binding, version=version
    )


WELCOME = wire.authentication_ok() + wire.parameter_status("a", "b") + wire.backend_key(7, b"abcd") + wire.ready("I")


class Server:
    """PostgreSQL's side of SCRAM."""

    def __init__(self, password: str = CREDENTIAL.password, mechanism: str = "SCRAM-SHA-256", binding: bytes | None = None) -> None:
        chosen = ScramMechanism(mechanism)
        info = chosen.make_auth_info(password)
        self.scram = chosen.make_server(lambda user: info, channel_binding=("tls-server-end-point", binding) if binding else None)

    def first(self, message: bytes) -> bytes:
        reader = wire.Reader(message, "SASLInitialResponse", "client")
        self.mechanism, first = reader.string(), reader.value()
        assert first is not None
        self.scram.set_client_first(first.decode())
        return wire.authentication_sasl_continue(self.scram.get_server_first().encode())

    def final(self, message: bytes) -> bytes:
        self.scram.set_client_final(message[5:].decode())
        return wire.authentication_sasl_final(self.scram.get_server_final().encode())


def test_a_cleartext_password_wants_a_verified_server() -> None:
    ours = UpstreamLogin(CREDENTIAL, "shop", {}, secure=True, verified=False, nonce="n" * 24)
    with pytest.raises(UpstreamError, match="verified"):
        ours.receive(wire.authentication_cleartext())


@pytest.mark.parametrize(
    "said",
    [
        wire.authentication_cleartext(),
        wire.authentication_md5(b"salt"),
        wire.authentication_ok(),
        wire.authentication_sasl(["SCRAM-SHA-256"]),
    ],
)
def test_bound_or_not_at_all(said: bytes) -> None:
    ours = UpstreamLogin(CREDENTIAL, "shop", {}, secure=True, nonce="n" * 24, channel_binding=b"h" * 32, bound=True)
    with pytest.raises(UpstreamError):
        ours.receive(said)


def test_where_there_is_no_binding_data_a_bound_login_fails() -> None:
    ours = UpstreamLogin(CREDENTIAL, "shop", {}, secure=True, nonce="n" * 24, bound=True)
    with pytest.raises(UpstreamError, match="PLUS"):
        ours.receive(wire.authentication_sasl(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]))


@pytest.mark.parametrize("code", ["0A000", "08P01"])
def test_a_server_that_does_not_know_3_2(code: str) -> None:
    refused = wire.error("FATAL", code, "unsupported frontend protocol 3.2")
    with pytest.raises(OldProtocol):
        upstream(version=wire.PROTOCOL_3_2).receive(refused)
    for login in (upstream(), upstream(version=wire.PROTOCOL_3_2)):
        if login is not None and login.start()[4:8] == wire.startup({}, wire.PROTOCOL_3_2)[4:8]:
            login.receive(wire.negotiate_protocol_version(wire.PROTOCOL_3_0))  # it said which it speaks: that is not it
        with pytest.raises(UpstreamError) as caught:
            login.receive(refused)
        assert not isinstance(caught.value, OldProtocol)


def test_the_startup_is_ours() -> None:
    packet = wire.StartupFramer().feed(upstream().start())
    assert packet == wire.StartupMessage(wire.PROTOCOL_3_0, {"client_encoding": "UTF8", "user": "svc", "database": "shop"})


@pytest.mark.parametrize(
    ("offered", "binding", "mechanism"),
    [
        (["SCRAM-SHA-256"], None, "SCRAM-SHA-256"),
        (["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], None, "SCRAM-SHA-256"),
        (["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], b"h" * 32, "SCRAM-SHA-256-PLUS"),
    ],
)
def test_scram_to_ready(offered: list[str], binding: bytes | None, mechanism: str) -> None:
    ours, server = upstream(binding=binding), Server(mechanism=mechanism, binding=binding)
    final = ours.receive(server.first(ours.receive(wire.authentication_sasl(offered))))
    assert server.mechanism == mechanism
    assert ours.receive(server.final(final) + WELCOME + wire.notice("NOTICE", "00000", "hello")[:4]) == b""
    assert ours.ready is not None
    assert (ours.ready.parameters, ours.ready.pid, ours.ready.key) == ({"a": "b"}, 7, b"abcd")
    assert ours.ready.rest == wire.notice("NOTICE", "00000", "hello")[:4]
    assert "abcd" not in repr(ours.ready)


def test_a_server_that_does_not_know_the_password_is_left() -> None:
    ours, server = upstream(), Server()
    final = ours.receive(server.first(ours.receive(wire.authentication_sasl(["SCRAM-SHA-256"]))))
    server.final(final)
    with pytest.raises(UpstreamError, match="prove"):
        ours.receive(wire.authentication_sasl_final(b"v=" + b"A" * 43 + b"="))


def test_ok_before_the_servers_proof_is_no_login() -> None:
    ours, server = upstream(), Server()
    ours.receive(server.first(ours.receive(wire.authentication_sasl(["SCRAM-SHA-256"]))))
    with pytest.raises(UpstreamError, match="proving"):
        ours.receive(WELCOME)


def test_scram_cannot_be_swapped_for_a_password_half_way() -> None:
    ours = upstream()
    ours.receive(wire.authentication_sasl(["SCRAM-SHA-256"]))
    with pytest.raises(UpstreamError):
        ours.receive(wire.authentication_cleartext())


def test_iterations_that_would_stall_us_are_refused() -> None:
    ours, server = upstream(), Server()
    first = server.first(ours.receive(wire.authentication_sasl(["SCRAM-SHA-256"])))
    costly = wire.authentication_sasl_continue(first[9:].replace(b"i=4096", b"i=9000000"))
    with pytest.raises(UpstreamError, match="iterations"):
        ours.receive(costly)


def test_passwords_in_the_clear_and_md5_only_under_tls() -> None:
    assert upstream().receive(wire.authentication_cleartext()) == wire.password("s3cret-pass")
    inner = hashlib.md5(b"s3cret-passsvc", usedforsecurity=False).hexdigest()
    digest = hashlib.md5(inner.encode() + b"salt", usedforsecurity=False).hexdigest()
    assert upstream().receive(wire.authentication_md5(b"salt")) == wire.password("md5" + digest)
    for request in (wire.authentication_cleartext(), wire.authentication_md5(b"salt")):
        with pytest.raises(UpstreamError, match="without TLS"):
            upstream(secure=False).receive(request)


@pytest.mark.parametrize("code", [2, 7, 8, 9, 11, 12, 99])
def test_other_methods_are_refused(code: int) -> None:
    with pytest.raises(UpstreamError):
        upstream().receive(wire.message(b"R", code.to_bytes(4)))


def test_no_common_mechanism() -> None:
    with pytest.raises(UpstreamError, match="SCRAM-SHA-256"):
        upstream().receive(wire.authentication_sasl(["SCRAM-SHA-1"]))


def test_upstreams_no_is_told_without_our_secret() -> None:
    with pytest.raises(UpstreamError, match="28P01") as caught:
        upstream().receive(wire.error("FATAL", "28P01", "password authentication failed"))
    assert "s3cret" not in str(caught.value)


def test_a_password_scram_cannot_prepare_is_not_told() -> None:
    ours = UpstreamLogin(Credential("svc", "bell\x07"), "shop", {}, secure=True, nonce="n" * 24)
    with pytest.raises(UpstreamError, match="stored credential"):
        ours.receive(wire.authentication_sasl(["SCRAM-SHA-256"]))


def test_an_older_protocol_is_taken_when_offered_a_newer() -> None:
    ours = upstream(version=wire.PROTOCOL_3_2)
    ours.receive(wire.negotiate_protocol_version(wire.PROTOCOL_3_0) + WELCOME)
    assert ours.ready is not None
    assert ours.ready.version == wire.PROTOCOL_3_0
    with pytest.raises(UpstreamError):
        upstream().receive(wire.negotiate_protocol_version(wire.PROTOCOL_3_2))


@pytest.mark.parametrize("early", [wire.ready("I"), wire.backend_key(1, b"abcd"), wire.parameter_status("a", "b"), wire.data_row([b"x"])])
def test_nothing_counts_before_we_are_in(early: bytes) -> None:
    with pytest.raises(ProtocolError):
        upstream().receive(early)


@given(st.lists(st.binary(max_size=60) | st.just(wire.authentication_sasl(["SCRAM-SHA-256"])) | st.just(WELCOME), max_size=4))
def test_a_hostile_upstream_only_raises_our_errors(reads: list[bytes]) -> None:
    ours = upstream()
    try:
        for data in reads:
            ours.receive(data)
    except (ProtocolError, UpstreamError):
        pass


def test_the_answer_to_ssl_request_is_one_byte() -> None:
    # CVE-2021-23222: what follows it would be read as if TLS had protected it.
    assert read_ssl_answer(b"S")
    assert not read_ssl_answer(b"N")
    for odd in (b"", b"SS", b"E", b"S" + WELCOME):
        with pytest.raises(ProtocolError):
            read_ssl_answer(odd)


# Both, talking to each other


@given(st.integers(1, 80))
def test_our_client_logs_in_to_our_server_in_any_chunking(chunk: int) -> None:
    server, ours = login(), upstream(version=wire.PROTOCOL_3_2)
    to_server, asked = ours.start(), []
    while ours.ready is None:
        events = [event for at in range(0, len(to_server), chunk) for event in server.receive(to_server[at : at + chunk])]
        asked += [event for event in events if isinstance(event, LoginRequest)]
        to_client = b"".join(event.data for event in events if isinstance(event, Say))
        if asked:
            to_client += server.accept({"server_version": "18.4"}, 7, b"k" * asked[0].cancel_key_bytes)
        to_server = b"".join(ours.receive(to_client[at : at + chunk]) for at in range(0, len(to_client), chunk)) if to_client else b""
    assert [(request.user, request.database, request.secret) for request in asked] == [("svc", "shop", CREDENTIAL.password)]
    assert (ours.ready.pid, ours.ready.key, ours.ready.version, ours.ready.rest) == (7, b"k" * 32, wire.PROTOCOL_3_2, b"")


def test_our_client_is_told_why_it_is_not_let_in() -> None:
    with pytest.raises(UpstreamError, match="28P01"):
        upstream().receive(login().deny("the token is not good", hint="Make one with `interlock token`."))
