from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import ProtocolError
from interlock.protocols.postgres import scalars
from interlock.protocols.postgres.scalars import SCALARS
from interlock.protocols.postgres.types import ARRAYS, decode, encode

# Cells as PostgreSQL 18 sent them (binary format); tests/live compares all types with a running server.
VECTORS = [
    (scalars.BOOL, "01", "t"),
    (scalars.INT2, "8000", "-32768"),
    (scalars.INT4, "00000007", "7"),
    (scalars.INT8, "7fffffffffffffff", "9223372036854775807"),
    (scalars.OID, "ffffffff", "4294967295"),
    (scalars.FLOAT4, "3dcccccd", "0.1"),
    (scalars.FLOAT8, "3fb999999999999a", "0.1"),
    (scalars.FLOAT8, "7ff0000000000000", "Infinity"),
    (scalars.NUMERIC, "0000000000000000", "0"),
    (scalars.NUMERIC, "0000000000000002", "0.00"),
    (scalars.NUMERIC, "00010001000000000001", "10000"),
    (scalars.NUMERIC, "0001ffff400000040001", "-0.0001"),
    (scalars.NUMERIC, "00000000c0000000", "NaN"),
    (scalars.DATE, "00000000", "2000-01-01"),
    (scalars.DATE, "7fffffff", "infinity"),
    (scalars.TIME, "000000141dd76000", "24:00:00"),
    (scalars.UUID, "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    (scalars.JSONB, "017b7d", "{}"),
    (scalars.INET, "022000040a000001", "10.0.0.1"),
    (scalars.INET, "020800040a000001", "10.0.0.1/8"),
    (scalars.CIDR, "020801040a000000", "10.0.0.0/8"),
    (scalars.MACADDR, "08002b010203", "08:00:2b:01:02:03"),
    (1009, "00000001000000010000001900000003000000010000000161ffffffff00000003622063", '{a,NULL,"b c"}'),
    (1007, "000000000000000000000017", "{}"),
]


@pytest.mark.parametrize(("oid", "cell", "text"), VECTORS)
def test_known_cells(oid: int, cell: str, text: str) -> None:
    assert decode(oid, 1, bytes.fromhex(cell)) == text
    assert encode(oid, 1, text) == bytes.fromhex(cell)


@pytest.mark.parametrize("format", [0, 1])
@pytest.mark.parametrize(
    ("oid", "text"),
    [
        (scalars.INT4, "[email]"),
        (scalars.INT4, "2147483648"),
        (scalars.INT4, "1_0"),
        (scalars.INT4, "١"),
        (scalars.INT2, "40000"),
        (scalars.OID, "-1"),
        (scalars.BOOL, "maybe"),
        (scalars.FLOAT4, "1e39"),
        (scalars.FLOAT8, "1e999"),
        (scalars.FLOAT8, "1_0"),
        (scalars.NUMERIC, "1.2.3"),
        (scalars.NUMERIC, "."),
        (scalars.NUMERIC, "9" * 2000),
        (scalars.DATE, "2023-02-29"),
        (scalars.DATE, "***"),
        (scalars.TIME, "25:00:00"),
        (scalars.TIME, "12:60:00"),
        (scalars.TIMESTAMP, "2024-01-01 00:00:00+00"),
        (scalars.TIMESTAMPTZ, "0001-01-01 00:00:00+02"),
        (scalars.TIMESTAMPTZ, "2024-01-01 00:00:00+2"),
        (scalars.UUID, "not-a-uuid"),
        (scalars.JSON, "[email]"),
        (scalars.JSONB, "NaN"),
        (scalars.JSONB, "[" * 100_000),
        (scalars.XML, "<a>"),
        (scalars.INET, "10.0.0.256"),
        (scalars.CIDR, "10.0.0.1/8"),
        (scalars.MACADDR, "08:00:2b:01:02"),
        (scalars.CHAR, "ab"),
        (scalars.NAME, "n" * 64),
        (scalars.TEXT, "a\0b"),
        (scalars.TEXT, "\ud800"),
        (1007, "[email]"),
        (1007, "{1,[email]}"),
        (987654, "[email]"),
    ],
)
def test_what_the_type_cannot_hold_becomes_null(oid: int, text: str, format: int) -> None:
    assert encode(oid, format, text) is None


@pytest.mark.parametrize("format", [0, 1])
@pytest.mark.parametrize("oid", [scalars.TEXT, scalars.VARCHAR, scalars.BPCHAR, scalars.NAME, scalars.XML, scalars.BYTEA, scalars.UNKNOWN])
def test_texts_hold_a_label(oid: int, format: int) -> None:
    cell = encode(oid, format, "[email]")
    assert cell is not None
    assert decode(oid, format, cell) == "[email]"


def test_json_holds_a_label_as_a_string() -> None:
    assert encode(scalars.JSON, 0, '"[email]"') == b'"[email]"'
    assert encode(scalars.JSONB, 1, '"[email]"') == b'\1"[email]"'


def test_a_label_in_an_array_is_its_one_element() -> None:
    assert encode(1009, 0, "[email]") == b"{[email]}"
    cell = encode(1009, 1, "[email]")
    assert cell is not None
    assert decode(1009, 1, cell) == "{[email]}"
    assert encode(1009, 0, "two words") == b'{"two words"}'


def test_an_array_literal_keeps_its_elements() -> None:
    text = '{a,NULL,"NULL","b \\"c\\\\","",d}'
    assert encode(1009, 0, text) == text.encode()
    cell = encode(1009, 1, text)
    assert cell is not None
    assert decode(1009, 1, cell) == text
    assert encode(1015, 0, "{ a , b }") == b"{a,b}"
    assert encode(1016, 0, "{1,null,3}") == b"{1,NULL,3}"


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-01-01 00:00:00+02", "2023-12-31 22:00:00+00"),
        ("2024-01-01T00:00:00Z", "2024-01-01 00:00:00+00"),
        ("2024-01-01 00:00:00.5-03:30", "2024-01-01 03:30:00.5+00"),
        ("1890-01-01 00:53:28+00:53:28", "1890-01-01 00:00:00+00"),
        ("2024-01-01", "2024-01-01 00:00:00+00"),
    ],
)
def test_instants_keep_their_moment(text: str, utc: str) -> None:
    assert encode(scalars.TIMESTAMPTZ, 0, text) == utc.encode()
    assert encode(scalars.TIMESTAMPTZ, 1, text) == encode(scalars.TIMESTAMPTZ, 1, utc) is not None


def test_unknown_types_are_text_in_text_and_nothing_in_binary() -> None:
    assert decode(987654, 0, b"happy") == "happy"
    assert decode(987654, 1, b"happy") is None


def test_text_that_is_not_utf8_is_still_looked_at() -> None:
    assert decode(scalars.TEXT, 0, b"\xff alice@example.com") == "\ufffd alice@example.com"
    assert decode(scalars.BYTEA, 0, b"\\x616c696365") == "alice"
    assert decode(scalars.BYTEA, 0, b"al\\000ice") == "al\\000ice"


@given(st.sampled_from(sorted([*SCALARS, *ARRAYS])), st.binary(max_size=60))
def test_malformed_binary_is_upstreams_fault(oid: int, cell: bytes) -> None:
    try:
        text = decode(oid, 1, cell)
    except ProtocolError as error:
        assert error.fault == "upstream"
    else:
        assert isinstance(text, str)


@given(
    st.sampled_from(sorted(SCALARS)),
    st.integers(0, 1),
    st.text(max_size=30) | st.from_regex(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", fullmatch=True),
)
def test_what_encodes_decodes_to_the_same_cell(oid: int, format: int, text: str) -> None:
    cell = encode(oid, format, text)
    if cell is None:
        return
    back = decode(oid, format, cell)
    assert back is not None
    assert encode(oid, format, back) == cell


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20))
def test_numerics_keep_value_and_scale(number: object) -> None:
    text = f"{number:f}"
    cell = encode(scalars.NUMERIC, 1, text)
    assert cell is not None
    assert decode(scalars.NUMERIC, 1, cell) == ("0.000000" if text == "-0.000000" else text)


@given(st.dates())
def test_dates_keep_their_day(day: object) -> None:
    cell = encode(scalars.DATE, 1, str(day))
    assert cell is not None
    assert decode(scalars.DATE, 1, cell) == str(day)


@given(st.floats(allow_nan=False))
def test_doubles_keep_their_value(value: float) -> None:
    cell = encode(scalars.FLOAT8, 1, repr(value))
    if value in (float("inf"), float("-inf")):
        assert cell is not None
        return
    assert cell is not None
    text = decode(scalars.FLOAT8, 1, cell)
    assert text is not None
    assert float(text) == value


elements = st.lists(st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=10), max_size=5)


@given(elements)
def test_arrays_of_any_text_survive_both_formats(found: list[str | None]) -> None:
    quoted = ("NULL" if e is None else '"' + e.replace("\\", "\\\\").replace('"', '\\"') + '"' for e in found)
    literal = "{" + ",".join(quoted) + "}"
    packed, written = encode(1009, 1, literal), encode(1009, 0, literal)
    assert packed is not None
    assert written is not None
    assert decode(1009, 1, packed) == decode(1009, 0, written)
