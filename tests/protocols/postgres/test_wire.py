from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import ProtocolError
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.wire import Framer, Rule, Size, StartupFramer

LIMIT = 100_000

# Every typed message of "Message Formats", protocol 3.2, by sender.
SPECIFIED_FRONTEND = {
    "Bind": "B",
    "Close": "C",
    "CopyData": "d",
    "CopyDone": "c",
    "CopyFail": "f",
    "Describe": "D",
    "Execute": "E",
    "Flush": "H",
    "FunctionCall": "F",
    "Parse": "P",
    "Password": "p",
    "Query": "Q",
    "Sync": "S",
    "Terminate": "X",
}
SPECIFIED_BACKEND = {
    "Authentication": "R",
    "BackendKeyData": "K",
    "BindComplete": "2",
    "CloseComplete": "3",
    "CommandComplete": "C",
    "CopyData": "d",
    "CopyDone": "c",
    "CopyInResponse": "G",
    "CopyOutResponse": "H",
    "CopyBothResponse": "W",
    "DataRow": "D",
    "EmptyQueryResponse": "I",
    "ErrorResponse": "E",
    "FunctionCallResponse": "V",
    "NegotiateProtocolVersion": "v",
    "NoData": "n",
    "NoticeResponse": "N",
    "NotificationResponse": "A",
    "ParameterDescription": "t",
    "ParameterStatus": "S",
    "ParseComplete": "1",
    "PortalSuspended": "s",
    "ReadyForQuery": "Z",
    "RowDescription": "T",
}


def test_the_tables_list_each_message_of_the_specification_and_no_other() -> None:
    assert {row.name: chr(kind) for kind, row in wire.FRONTEND.items()} == SPECIFIED_FRONTEND
    assert {row.name: chr(kind) for kind, row in wire.BACKEND.items()} == SPECIFIED_BACKEND


def test_what_runs_or_carries_values_is_never_just_passed() -> None:
    for kind in "QPBEd":
        assert wire.FRONTEND[ord(kind)].rule is Rule.ASK
    for kind in "TDdENA":
        assert wire.BACKEND[ord(kind)].rule is Rule.ASK
    assert wire.FRONTEND[ord("F")].rule is Rule.REFUSE
    assert wire.BACKEND[ord("W")].rule is wire.BACKEND[ord("V")].rule is Rule.REFUSE
    assert wire.FRONTEND[ord("p")].rule is wire.BACKEND[ord("R")].rule is wire.BACKEND[ord("K")].rule is Rule.OWN


cells = st.lists(st.none() | st.binary(max_size=30), max_size=4)
upstream_messages = st.one_of(
    cells.map(wire.data_row),
    st.binary(max_size=300).map(wire.copy_data),
    st.just(wire.parse_complete()),
    st.just(wire.ready("I")),
    st.just(wire.command_complete("SELECT 1")),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40).map(lambda text: wire.notice("NOTICE", "00000", text)),
)


@given(st.lists(upstream_messages, max_size=12), st.integers(1, 40))
def test_any_chunking_gives_the_same_messages(sent: list[bytes], chunk: int) -> None:
    stream = b"".join(sent)
    whole = [(message[0], message) for message in sent]
    assert Framer("upstream", LIMIT).feed(stream) == whole
    framer, found = Framer("upstream", LIMIT), list[tuple[int, bytes]]()
    for at in range(0, len(stream), chunk):
        found += framer.feed(stream[at : at + chunk])
    assert found == whole
    assert framer.pending == 0


@given(st.lists(upstream_messages, max_size=12), st.integers(1, 40))
def test_runs_are_the_same_bytes_with_neighbours_of_a_kind_together(sent: list[bytes], chunk: int) -> None:
    stream = b"".join(sent)
    runs = Framer("upstream", LIMIT).feed_runs(stream)
    assert b"".join(run for _, run in runs) == stream
    for (kind, _), (after, _) in pairwise(runs):
        assert kind != after or chr(kind) not in "Dd"
    framer, found = Framer("upstream", LIMIT), list[tuple[int, bytes]]()
    for at in range(0, len(stream), chunk):
        found += framer.feed_runs(stream[at : at + chunk])
    assert b"".join(run for _, run in found) == stream
    for kind, run in found:
        assert {message_kind for message_kind, _ in Framer("upstream", LIMIT).feed(run)} == {kind}


def test_a_clients_describe_is_no_run() -> None:
    stream = wire.describe("P", "a") + wire.describe("P", "b") + wire.copy_data(b"1") + wire.copy_data(b"2")
    assert [chr(kind) for kind, _ in Framer("client", LIMIT).feed_runs(stream)] == ["D", "D", "d"]


@given(st.binary(max_size=400), st.sampled_from(["client", "upstream"]))
def test_garbage_only_ever_raises_protocol_errors(data: bytes, side: wire.Side) -> None:
    framer = Framer(side, 1000)
    try:
        for at in range(0, len(data), 7):
            framer.feed(data[at : at + 7])
            assert framer.pending <= 1001
    except ProtocolError as error:
        assert error.fault == side


@pytest.mark.parametrize("header", [b"\0", b"Y", b"\xff", b"!\0\0\0\4"])
def test_an_unknown_type_is_refused_on_its_first_byte(header: bytes) -> None:
    with pytest.raises(ProtocolError, match="unknown message type"):
        Framer("client", LIMIT).feed(wire.sync() + header)


@pytest.mark.parametrize("length", [0, 3, 2**31, 2**32 - 1])
def test_impossible_lengths_are_refused_with_the_header(length: int) -> None:
    with pytest.raises(ProtocolError):
        Framer("client", LIMIT).feed(b"Q" + length.to_bytes(4))
    with pytest.raises(ProtocolError):
        # Inside a run, too.
        Framer("upstream", LIMIT).feed_runs(wire.data_row([]) + b"D" + length.to_bytes(4))


def test_limits_by_class_hold_before_the_body_arrives() -> None:
    framer = Framer("client", LIMIT)
    framer.feed(b"Q" + LIMIT.to_bytes(4))
    assert framer.pending == 5
    for kind, length in ((b"Q", LIMIT + 1), (b"E", 30_001), (b"S", 5), (b"p", 65_536)):
        with pytest.raises(ProtocolError):
            Framer("client", LIMIT).feed(kind + length.to_bytes(4))
    assert {row.size for row in wire.FRONTEND.values()} == set(Size)


def test_a_large_message_in_small_reads_comes_out_once() -> None:
    message = wire.query("x" * 90_000)
    framer = Framer("client", LIMIT)
    answers = [framer.feed(message[at : at + 1000]) for at in range(0, len(message), 1000)]
    assert [answer for answer in answers if answer] == [[(ord("Q"), message)]]


def test_the_rest_goes_on_in_another_framer() -> None:
    message = wire.ready("I")
    first, second = Framer("upstream", LIMIT), Framer("upstream", LIMIT)
    first.feed(message + message[:3])
    assert second.feed(first.take_rest() + message[3:]) == [(ord("Z"), message)]
    assert first.pending == 0


# First packets


@pytest.mark.parametrize(
    ("packet", "request_"),
    [
        (wire.ssl_request(), wire.SSLRequest()),
        (wire.gssenc_request(), wire.GSSENCRequest()),
        (wire.cancel_request(7, b"1234"), wire.CancelRequest(7, b"1234")),
        (wire.cancel_request(-7, b"k" * 256), wire.CancelRequest(-7, b"k" * 256)),
        (wire.startup({"user": "alice", "database": "ü"}), wire.StartupMessage(196608, {"user": "alice", "database": "ü"})),
        (wire.startup({}, wire.PROTOCOL_3_2), wire.StartupMessage(196610, {})),
        (b"\0\0\0\x10\0\2\0\0whatever", wire.StartupMessage(131072, {})),
    ],
)
def test_first_packets_whole_and_byte_by_byte(packet: bytes, request_: wire.Startup) -> None:
    assert StartupFramer().feed(packet) == request_
    framer = StartupFramer()
    answers = [framer.feed(packet[at : at + 1]) for at in range(len(packet))]
    assert answers == [None] * (len(packet) - 1) + [request_]


@pytest.mark.parametrize("packet", [wire.ssl_request(), wire.gssenc_request(), wire.cancel_request(1, b"1234")])
def test_bytes_smuggled_behind_a_request_are_refused(packet: bytes) -> None:
    with pytest.raises(ProtocolError, match="bytes follow"):
        StartupFramer().feed(packet + b"Q")


def test_bytes_behind_a_startup_message_are_kept_for_the_framer() -> None:
    framer = StartupFramer()
    assert isinstance(framer.feed(wire.startup({"user": "a"}) + b"p\0"), wire.StartupMessage)
    assert framer.rest == b"p\0"


def packet(body: bytes) -> bytes:
    return (len(body) + 4).to_bytes(4) + body


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
        (7).to_bytes(4),
        (10_001).to_bytes(4),
        packet(b"\0\3\0\0"),
        packet(b"\0\3\0\0user\0alice\0"),
        packet(b"\0\3\0\0user\0alice\0\0\0"),
        packet(b"\0\3\0\0user\0alice\0user\0bob\0\0"),
        packet(b"\0\3\0\0user\0\xff\0\0"),
        packet(b"\0\3\0\0user\0\0user"),
        packet((80877103).to_bytes(4) + b"x"),
        packet((80877102).to_bytes(4) + b"\0\0\0\1abc"),
        packet((80877102).to_bytes(4) + b"\0\0\0\1" + b"k" * 257),
    ],
)
def test_odd_first_packets_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        StartupFramer().feed(data)
    assert caught.value.fault == "client"


@given(st.binary(max_size=60))
def test_garbage_startups_only_raise_protocol_errors(body: bytes) -> None:
    for data in (body, packet(body), packet(b"\0\3\0\0" + body), packet((80877102).to_bytes(4) + body)):
        try:
            StartupFramer().feed(data)
        except ProtocolError:
            continue


def test_secrets_stay_out_of_reprs() -> None:
    assert "1234" not in repr(wire.CancelRequest(7, b"1234"))


# Reading what was built


names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
formats = st.integers(0, 1)
values = st.lists(st.none() | st.binary(max_size=20), max_size=5)
oids = st.lists(st.integers(0, 2**32 - 1), max_size=5)
int16, int32, oid = st.integers(-(2**15), 2**15 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1)
fields = st.lists(st.builds(wire.Field, names, oid, int16, oid, int16, int32, formats), max_size=4)
nonempty = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20)


@given(names, names, oids)
def test_query_and_parse_come_back(name: str, sql: str, types: list[int]) -> None:
    assert wire.read_query(wire.query(sql)) == sql
    assert wire.read_parse(wire.parse(name, sql, types)) == wire.ParseMsg(name, sql, tuple(types))


@given(names, names, values, st.data())
def test_bind_comes_back(portal: str, statement: str, given_values: list[bytes | None], data: st.DataObject) -> None:
    count = data.draw(st.sampled_from([0, 1, len(given_values)]))
    codes = data.draw(st.lists(formats, min_size=count, max_size=count))
    results = data.draw(st.lists(formats, max_size=3))
    bound = wire.read_bind(wire.bind(portal, statement, given_values, codes, results))
    assert bound == wire.BindMsg(portal, statement, tuple(codes), tuple(given_values), tuple(results))


@given(names, int32, st.sampled_from("SP"))
def test_small_client_messages_come_back(name: str, rows: int, kind: str) -> None:
    what = wire.read_describe(wire.describe("S", "x"))[0] if kind == "S" else wire.read_describe(wire.describe("P", "x"))[0]
    assert what == kind
    assert wire.read_describe(wire.describe(what, name)) == wire.read_close(wire.close(what, name)) == (kind, name)
    assert wire.read_execute(wire.execute(name, rows)) == (name, rows)
    assert wire.read_password(wire.password(name)) == wire.read_copy_fail(wire.copy_fail(name)) == name


@given(fields, oids, names, names, int32)
def test_server_messages_come_back(described: list[wire.Field], types: list[int], name: str, value: str, pid: int) -> None:
    assert wire.read_row_description(wire.row_description(described)) == tuple(described)
    assert wire.read_parameter_description(wire.parameter_description(types)) == tuple(types)
    assert wire.read_parameter_status(wire.parameter_status(name, value)) == (name, value)
    assert wire.read_notification(wire.notification(pid, name, value)) == (pid, name, value)
    assert wire.read_command_tag(wire.command_complete(name)) == name
    assert wire.read_negotiate(wire.negotiate_protocol_version(pid, [name, value])) == (pid, (name, value))
    assert (
        wire.read_copy_response(wire.copy_out_response(1, [1, 0]))
        == wire.read_copy_response(wire.copy_in_response(1, [1, 0]))
        == (1, (1, 0))
    )


@given(int32, st.binary(min_size=4, max_size=256))
def test_keys_and_status_come_back(pid: int, key: bytes) -> None:
    assert wire.read_backend_key(wire.backend_key(pid, key)) == (pid, key)
    for status in ("I", "T", "E"):
        assert wire.read_ready(b"Z\0\0\0\5" + status.encode()) == status


@given(nonempty, nonempty, st.integers(1, 10_000))
def test_errors_come_back(text: str, hint: str, position: int) -> None:
    expected = {"S": "ERROR", "V": "ERROR", "C": "42501", "M": text, "H": hint, "P": str(position)}
    for build in (wire.error, wire.notice):
        message = build("ERROR", "42501", text, hint=hint, position=position)
        assert wire.read_error(message) == expected
    assert wire.read_error(wire.error_fields(expected)) == wire.read_error(wire.notice_fields(expected)) == expected


@given(st.lists(nonempty, max_size=4), st.binary(max_size=20))
def test_authentication_comes_back(mechanisms: list[str], challenge: bytes) -> None:
    code, body = wire.read_authentication(wire.authentication_sasl(mechanisms))
    assert (code, wire.read_sasl_mechanisms(body)) == (10, tuple(mechanisms))
    assert wire.read_authentication(wire.authentication_ok()) == (0, b"")
    assert wire.read_authentication(wire.authentication_cleartext()) == (3, b"")
    assert wire.read_authentication(wire.authentication_md5(b"salt")) == (5, b"salt")
    assert wire.read_authentication(wire.authentication_sasl_continue(challenge)) == (11, challenge)
    assert wire.read_authentication(wire.authentication_sasl_final(challenge)) == (12, challenge)


def test_texts_with_nul_cannot_be_built_and_errors_replace_it() -> None:
    with pytest.raises(ValueError, match="NUL"):
        wire.query("select 1\0; drop table t")
    assert wire.read_error(wire.error("ERROR", "42501", "a\0b"))["M"] == "a\ufffdb"


def test_upstreams_errors_may_be_in_another_encoding() -> None:
    assert wire.read_error(wire.message(b"E", b"SFATAL\0M\xe4h\0\0"))["M"] == "\ufffdh"


READERS: list[tuple[Callable[[bytes], object], bytes, str]] = [
    (wire.read_query, wire.query("select 1"), "client"),
    (wire.read_parse, wire.parse("s", "select $1", [23]), "client"),
    (wire.read_bind, wire.bind("p", "s", [b"1", None, b"abc"], [1, 0, 0], [0, 1]), "client"),
    (wire.read_describe, wire.describe("S", "s"), "client"),
    (wire.read_close, wire.close("P", "p"), "client"),
    (wire.read_execute, wire.execute("p", 5), "client"),
    (wire.read_password, wire.password("secret"), "client"),
    (wire.read_copy_fail, wire.copy_fail("no"), "client"),
    (wire.read_authentication, wire.authentication_ok(), "upstream"),
    (wire.read_row_description, wire.row_description([wire.Field("a", 1, 2, 23, 4, -1, 0), wire.Field("b")]), "upstream"),
    (wire.read_parameter_description, wire.parameter_description([23, 25]), "upstream"),
    (wire.read_ready, wire.ready("T"), "upstream"),
    (wire.read_parameter_status, wire.parameter_status("a", "b"), "upstream"),
    (wire.read_backend_key, wire.backend_key(1, b"abcd"), "upstream"),
    (wire.read_error, wire.error("ERROR", "42501", "no", "detail", "hint", 3), "upstream"),
    (wire.read_command_tag, wire.command_complete("SELECT 1"), "upstream"),
    (wire.read_copy_response, wire.copy_out_response(0, [0, 0]), "upstream"),
    (wire.read_notification, wire.notification(1, "a", "b"), "upstream"),
    (wire.read_negotiate, wire.negotiate_protocol_version(3, ["_pq_.x"]), "upstream"),
]


@pytest.mark.parametrize(("read", "message", "fault"), READERS)
def test_every_cut_and_every_extra_byte_is_refused(read: Callable[[bytes], object], message: bytes, fault: str) -> None:
    read(message)
    open_ended = read in (wire.read_authentication, wire.read_backend_key)
    for data in [message[:end] for end in range(5, len(message))] + ([] if open_ended else [message + b"\0", message + b"x"]):
        with pytest.raises(ProtocolError) as caught:
            read(data)
        assert caught.value.fault == fault


@pytest.mark.parametrize(("read", "message", "fault"), READERS)
@given(data=st.data())
def test_mutations_never_raise_anything_but_protocol_errors(
    read: Callable[[bytes], object], message: bytes, fault: str, data: st.DataObject
) -> None:
    mutated = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(5, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(mutated))
    except ProtocolError as error:
        assert error.fault == fault


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (wire.read_query, b"select 1\0; drop table t\0"),
        (wire.read_query, b"select '\xff'\0"),
        (wire.read_describe, b"Xs\0"),
        (wire.read_bind, b"\0\0" + b"\0\0" + b"\0\1" + b"\xff\xff\xff\xfe" + b"\0\0"),
        (wire.read_bind, b"\0\0" + b"\0\2\0\0\0\0" + b"\0\3" + b"\xff\xff\xff\xff" * 3 + b"\0\0"),
        (wire.read_bind, b"\0\0" + b"\0\1\0\2" + b"\0\0" + b"\0\0"),
        (wire.read_ready, b"X"),
        (wire.read_error, b"Sa\0Sb\0\0"),
        (wire.read_copy_response, b"\2\0\0"),
        (wire.read_copy_response, b""),
        (wire.read_backend_key, b"\0\0\0\1" + b"k" * 257),
        (wire.read_negotiate, b"\0\3\0\0\x7f\xff\xff\xff"),
    ],
)
def test_known_tricks_are_refused(read: Callable[[bytes], object], body: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(wire.message(b"?", body))
