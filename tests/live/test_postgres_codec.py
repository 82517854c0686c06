"""The wire, the login and the types against a real PostgreSQL: our own client, no driver in between."""

from __future__ import annotations

import secrets
import socket
import ssl

import pytest

from interlock.demo.database import EmbeddedPostgres
from interlock.errors import UpstreamError
from interlock.exchange import Column, Credential
from interlock.protocols.postgres import reply, types, wire
from interlock.protocols.postgres.login import UpstreamLogin, UpstreamReady, read_ssl_answer
from interlock.protocols.postgres.scalars import SCALARS
from tests.tls_front import TlsFront

VALUES: dict[str, list[str]] = {
    "bool": ["t", "f"],
    "int2": ["-32768", "7"],
    "int4": ["-2147483648", "0"],
    "int8": ["9223372036854775807", "-1"],
    "oid": ["4294967295"],
    "float4": ["1.5", "-0.1", "3.4e+38", "NaN", "-Infinity", "0"],
    "float8": ["0.1", "-1.7976931348623157e+308", "5e-324", "123456.789", "Infinity"],
    "numeric": ["0", "0.00", "-0.0001", "10000", "12345678901234567890.123456789", "100000000", "1.10", "NaN", "-Infinity", "0.00012000"],
    "text": ["", "a\tb\n\\ {\"x\"}, 'ü'", "NULL"],
    "varchar": ["alice@example.com"],
    "bpchar": ["ab  "],
    "name": ["pg_class"],
    '"char"': ["x"],
    "date": ["2000-01-01", "1999-12-31", "0001-01-01", "9999-12-31", "infinity", "-infinity", "0044-03-15 BC", "12024-02-29"],
    "time": ["00:00:00", "24:00:00", "23:59:59.000001", "12:30:00.5"],
    "timestamp": ["2000-01-01 00:00:00", "1969-07-20 20:17:40.5", "infinity", "0044-03-15 12:00:00 BC"],
    "timestamptz": ["2024-02-29 23:59:59.999999+00", "-infinity"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "json": ['{"a": [1, "x"]}', '"[email]"'],
    "jsonb": ['{"a": [1, "x"]}', '"[email]"'],
    "inet": ["10.0.0.1", "10.0.0.1/8", "::1", "2001:db8::/32"],
    "cidr": ["10.0.0.0/8", "2001:db8::/32", "192.168.1.1/32"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "text[]": ["{}", '{a,"b c",NULL,"NULL","","\\"q\\\\"}', "{{a,b},{c,d}}"],
    "int4[]": ["{1,NULL,3}"],
    "numeric[]": ["{1.10,-2}"],
    "bool[]": ["{t,f}"],
    "timestamptz[]": ['{"2024-02-29 23:59:59+00"}'],
    "uuid[]": ["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"],
    "jsonb[]": ['{"{\\"a\\": 1}"}'],
}
CASES = [(name, text) for name, texts in VALUES.items() for text in texts]


class Client:
    """A blocking client made of nothing but our own codec."""

    def __init__(self, stream: socket.socket, login: UpstreamLogin) -> None:
        self.stream = stream
        self.framer = wire.Framer("upstream", 1 << 24)
        stream.sendall(login.start())
        while login.ready is None:
            stream.sendall(login.receive(stream.recv(1 << 16)))
        self.ready: UpstreamReady = login.ready

    def ask(self, data: bytes) -> list[tuple[int, bytes]]:
        """Send, and read until ReadyForQuery."""
        self.stream.sendall(data)
        found: list[tuple[int, bytes]] = []
        while not found or found[-1][0] != ord("Z"):
            found += self.framer.feed(self.stream.recv(1 << 16))
        errors = [wire.read_error(message)["M"] for kind, message in found if kind == ord("E")]
        assert not errors, errors
        return found

    def select(self, sql: str, values: list[bytes | None], formats: list[int], result_format: int) -> list[bytes | None]:
        """The first row of a parametrised query."""
        sent = wire.parse("", sql) + wire.bind("", "", values, formats, [result_format]) + wire.describe("P", "") + wire.execute("")
        answers = self.ask(sent + wire.sync())
        fields = next(wire.read_row_description(message) for kind, message in answers if kind == ord("T"))
        shape = reply.RowShape(tuple(Column(f.name, f.type_oid, f.format) for f in fields))
        return shape.split(next(message for kind, message in answers if kind == ord("D")))[0]


def login_of(server: EmbeddedPostgres, **options: object) -> UpstreamLogin:
    password = str(options.pop("password", server.password))
    return UpstreamLogin(
        Credential(server.user, password),
        "shop",
        {"client_encoding": "UTF8", "timezone": "UTC", "datestyle": "ISO"},
        secure=bool(options.pop("secure", False)),
        nonce=secrets.token_hex(),
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def client(postgres: EmbeddedPostgres) -> Client:
    return Client(socket.create_connection((postgres.host, postgres.port), timeout=20), login_of(postgres))


def test_scram_login_gathers_settings_and_the_cancel_key(client: Client) -> None:
    assert client.ready.parameters["client_encoding"] == "UTF8"
    assert client.ready.parameters["standard_conforming_strings"] == "on"
    assert client.ready.pid > 0
    assert len(client.ready.key) == 4


def test_protocol_3_2_gives_a_long_cancel_key(postgres: EmbeddedPostgres) -> None:
    with socket.create_connection((postgres.host, postgres.port), timeout=20) as stream:
        ready = Client(stream, login_of(postgres, version=wire.PROTOCOL_3_2)).ready
    assert ready.version == wire.PROTOCOL_3_2
    assert len(ready.key) > 4


def test_a_wrong_password_is_upstreams_error_without_the_password(postgres: EmbeddedPostgres) -> None:
    with socket.create_connection((postgres.host, postgres.port), timeout=20) as stream, pytest.raises(UpstreamError) as caught:
        Client(stream, login_of(postgres, password="not-the-password"))
    assert "28P01" in caught.value.message
    assert "not-the-password" not in caught.value.message


def test_login_behind_tls(postgres: EmbeddedPostgres, postgres_tls: TlsFront) -> None:
    context = ssl.create_default_context(cafile=str(postgres_tls.ca))
    with socket.create_connection((postgres_tls.host, postgres_tls.port), timeout=20) as plain:
        plain.sendall(wire.ssl_request())
        assert read_ssl_answer(plain.recv(10))
        with context.wrap_socket(plain, server_hostname="localhost") as stream:
            assert Client(stream, login_of(postgres, secure=True)).ready.pid > 0


@pytest.mark.parametrize(("name", "text"), CASES)
def test_binary_cells_read_as_the_server_writes_them_in_text(client: Client, name: str, text: str) -> None:
    (written,) = client.select(f"select $1::text::{name}", [text.encode()], [0], 0)
    (packed,) = client.select(f"select $1::text::{name}", [text.encode()], [0], 1)
    assert written is not None
    assert packed is not None
    oid = oid_of(client, name)
    decoded = types.decode(oid, 1, packed)
    if name.startswith("float"):
        assert decoded is not None
        assert float(decoded) == float(written) or decoded == written.decode()
    else:
        assert decoded == types.decode(oid, 0, written) == written.decode()


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, t in CASES if " BC" not in t and "12024" not in t and "{{" not in t])
@pytest.mark.parametrize("format", [0, 1])
def test_the_server_takes_what_we_encode(client: Client, name: str, text: str, format: int) -> None:
    cell = types.encode(oid_of(client, name), format, text)
    assert cell is not None
    (same,) = client.select(f"select $1::{name}::text = $2::text::{name}::text", [cell, text.encode()], [format, 0], 0)
    assert same == b"t"


def test_bytea_is_its_content(client: Client) -> None:
    for format in (0, 1):
        (cell,) = client.select("select $1::bytea", [b"alice@example.com"], [1], format)
        assert cell is not None
        assert types.decode(17, format, cell) == "alice@example.com"
        label = types.encode(17, format, "[email]")
        assert label is not None
        (back,) = client.select("select $1::bytea", [label], [format], 1)
        assert back == b"[email]"


def test_our_array_oids_are_the_servers(client: Client) -> None:
    for array, element in types.ARRAYS.items():
        (found,) = client.select("select typelem::int8 from pg_type where oid = $1::oid", [str(array).encode()], [0], 0)
        assert found == str(element).encode()
    for oid in SCALARS:
        (found,) = client.select(
            "select typtype = 'b' or typname = 'unknown' from pg_type where oid = $1::oid", [str(oid).encode()], [0], 0
        )
        assert found == b"t"


COLUMNS = (Column("id", 23), Column("a", 25), Column("b", 25))
COPIES: dict[str, tuple[reply.CopyTextShape | reply.CopyCsvShape | reply.CopyBinaryShape, str]] = {
    "text": (reply.CopyTextShape(COLUMNS), ""),
    "text, odd": (reply.CopyTextShape(COLUMNS, b"|", b"nil", header=True), ", delimiter '|', null 'nil', header"),
    "csv": (reply.CopyCsvShape(COLUMNS), ""),
    "csv, odd": (
        reply.CopyCsvShape(COLUMNS, b";", b"nil", True, b"'", b"\\", frozenset("*")),
        ", delimiter ';', null 'nil', header, quote '''', escape '\\', force_quote *",
    ),
    "binary": (reply.CopyBinaryShape(COLUMNS), ""),
}
ODD = "values (1, 'plain', null), (2, E'tab\\there|pipe;semi \\\\ back', ''), (3, E'line\\nbreak \\r \"q\" ''s''', '\\N'), (4, 'nil', 'ü')"


@pytest.mark.parametrize("how", COPIES)
def test_copy_out_rows_come_whole_and_unchanged(client: Client, how: str) -> None:
    shape, sql = COPIES[how]
    format = how.split(",")[0]
    query = f"copy (select * from ({ODD}) as t(id, a, b)) to stdout (format {format}{sql})"
    sent = b"".join(message for kind, message in client.ask(wire.query(query)) if kind == ord("d"))
    out = reply.CopyOut(shape, 1 << 16)
    pieces = out.feed(sent)
    out.end()
    rows = [row for piece in pieces if piece.kind == "rows" for row in shape.split(piece.data)]
    texts = [[None if cell is None else shape.decode(column, cell) for column, cell in zip(COLUMNS, row, strict=True)] for row in rows]
    expected: list[list[str | None]] = [
        ["1", "plain", None],
        ["2", "tab\there|pipe;semi \\ back", ""],
        ["3", "line\nbreak \r \"q\" 's'", "\\N"],
        ["4", "nil", "ü"],
    ]
    if how == "text, odd":
        # The text format does not tell a text that looks like the NULL marker from NULL.
        expected[3][1] = None
    assert texts == expected
    payload = b"".join(message[5:] for _, message in wire.Framer("upstream", 1 << 24).feed(b"".join(piece.data for piece in pieces)))
    assert payload == b"".join(message[5:] for _, message in wire.Framer("upstream", 1 << 24).feed(sent))


@pytest.mark.parametrize("how", COPIES)
def test_the_server_reads_back_what_a_lens_would_write(client: Client, how: str) -> None:
    shape, sql = COPIES[how]
    shape.split(b"")  # a binary shape puts back the header that it saw last: none
    format = how.split(",")[0]
    label = "a\tb|c;d\n\\N '\"x"
    rows = [[shape.encode(COLUMNS[0], "7"), shape.encode(COLUMNS[1], label), None]]
    header = b"PGCOPY\n\xff\r\n\0" + bytes(8) if format == "binary" else b"id|a|b\n" if "odd" in how else b""
    trailer = wire.copy_data(b"\xff\xff") if format == "binary" else b""
    if "csv, odd" in how:
        sql = sql.replace(", force_quote *", "")
    client.ask(wire.query("create temp table if not exists back(id int, a text, b text); truncate back"))
    client.stream.sendall(wire.query(f"copy back from stdin (format {format}{sql})"))
    client.ask((wire.copy_data(header) if header else b"") + shape.join(rows) + trailer + wire.copy_done())
    (same,) = client.select("select id = 7 and a = $1 and b is null from back", [label.encode()], [0], 0)
    assert same == b"t"


def oid_of(client: Client, name: str) -> int:
    (found,) = client.select("select $1::text::regtype::oid::text", [name.encode()], [0], 0)
    assert found is not None
    return int(found)
