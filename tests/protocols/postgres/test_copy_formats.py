from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import ProtocolError
from interlock.exchange import Column, Row
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.copy_formats import CopyBinaryShape, CopyCsvShape, CopyShape, CopyTextShape
from interlock.protocols.postgres.copy_out import CopyOut

COLUMNS = (Column("id", 23), Column("email", 25), Column("note", 25))
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
SHAPES = {
    "text": CopyTextShape(COLUMNS),
    "text with |": CopyTextShape(COLUMNS, b"|", b"nil"),
    "csv": CopyCsvShape(COLUMNS),
    "csv with '": CopyCsvShape(COLUMNS, b";", b"nil", quote=b"'", escape=b"\\"),
    "csv all quoted": CopyCsvShape(COLUMNS, force_quote=frozenset("*")),
    "binary": CopyBinaryShape(COLUMNS),
}

texts = st.text(st.sampled_from("ab,;|\t\n\r\\'\"N.ü \b") | st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)
row_texts = st.tuples(st.integers(-9, 9).map(str), texts, st.none() | texts)


def row_of(shape: CopyShape, values: tuple[str | None, ...]) -> Row:
    return [None if v is None else shape.encode(c, v) for c, v in zip(COLUMNS, values, strict=True)]


def stream_of(shape: CopyShape, rows: list[Row]) -> bytes:
    payload = b"".join(shape.join_row(row) for row in rows)
    return HEADER + payload + TRAILER if isinstance(shape, CopyBinaryShape) else payload


def chunked(stream: bytes, chunk: int) -> list[bytes]:
    return [wire.copy_data(stream[at : at + chunk]) for at in range(0, len(stream), chunk)]


@pytest.mark.parametrize("how", SHAPES)
@given(values=st.lists(row_texts, max_size=5), chunk=st.integers(1, 60))
def test_rows_come_back_from_any_chunking(how: str, values: list[tuple[str | None, ...]], chunk: int) -> None:
    shape = SHAPES[how]
    rows = [row_of(shape, value) for value in values]
    out = CopyOut(shape, 1 << 16)
    pieces = [piece for message in chunked(stream_of(shape, rows), chunk) for piece in out.feed(message)]
    out.end()
    found = [piece for piece in pieces if piece.kind == "rows"]
    assert sum(piece.count for piece in found) == len(rows)
    again = [row for piece in found for row in shape.split(piece.data)]
    assert b"".join(shape.join(shape.split(piece.data)) for piece in found) == b"".join(piece.data for piece in found)
    for row, value in zip(again, values, strict=True):
        decoded = [None if cell is None else shape.decode(column, cell) for column, cell in zip(COLUMNS, row, strict=True)]
        if how.startswith("text"):
            # The text format cannot tell a text that looks like the marker from NULL.
            value = tuple(None if v == "nil" and "|" in how else v for v in value)
        assert tuple(decoded) == value


@pytest.mark.parametrize("how", SHAPES)
def test_nothing_of_the_stream_is_lost(how: str) -> None:
    shape = SHAPES[how]
    stream = stream_of(shape, [row_of(shape, ("1", "a\nb", None)), row_of(shape, ("2", "x,y", "z"))])
    out = CopyOut(shape, 1 << 16)
    sent = b"".join(piece.data for message in chunked(stream, 7) for piece in out.feed(message))
    assert b"".join(message[5:] for _, message in wire.Framer("upstream", 1 << 20).feed(sent)) == stream


@pytest.mark.parametrize("format", ["text", "csv"])
def test_a_header_line_is_a_frame(format: str) -> None:
    names = b'id,"e\nmail",note\n' if format == "csv" else b"id\temail\tnote\n"
    shape = CopyCsvShape(COLUMNS, header=True) if format == "csv" else CopyTextShape(COLUMNS, header=True)
    rows = shape.join_row([b"1", b"a", b"b"])
    for chunk in (1, 3, 1000):
        out = CopyOut(shape, 100)
        pieces = [piece for message in chunked(names + rows, chunk) for piece in out.feed(message)]
        assert [(piece.kind, piece.data[5:]) for piece in pieces] == [("frame", names), ("rows", rows)]


def test_the_binary_header_and_trailer_are_frames() -> None:
    shape = CopyBinaryShape(COLUMNS)
    extended = HEADER[:15] + (3).to_bytes(4) + b"ext"
    out = CopyOut(shape, 100)
    pieces = [piece for message in chunked(extended + TRAILER, 2) for piece in out.feed(message)]
    out.end()
    assert [(piece.kind, piece.data[5:]) for piece in pieces] == [("frame", extended), ("frame", TRAILER)]


def test_the_binary_header_stays_in_one_message_with_what_follows() -> None:
    """As PostgreSQL sends it; psycopg reads it no other way."""
    shape = CopyBinaryShape(COLUMNS)
    first, second = (shape.join_row([b"\0\0\0\1", text, None]) for text in (b"a", b"b"))
    (rows,) = CopyOut(shape, 100).feed(wire.copy_data(HEADER + first) + wire.copy_data(second))
    assert (rows.kind, rows.count) == ("rows", 2)
    assert rows.data == wire.copy_data(HEADER + first) + wire.copy_data(second)
    found = shape.split(rows.data)
    assert found == [[b"\0\0\0\1", b"a", None], [b"\0\0\0\1", b"b", None]]
    found[0][1] = b"masked"
    assert shape.join(found) == wire.copy_data(HEADER + shape.join_row(found[0])) + wire.copy_data(second)
    assert shape.join(shape.split(wire.copy_data(second))) == wire.copy_data(second)
    (empty,) = CopyOut(shape, 100).feed(wire.copy_data(HEADER + TRAILER))
    assert (empty.kind, empty.data) == ("frame", wire.copy_data(HEADER + TRAILER))


def test_many_rows_in_one_message_become_one_message_each() -> None:
    shape = SHAPES["text"]
    (piece,) = CopyOut(shape, 100).feed(wire.copy_data(b"1\ta\tb\n2\tc\td\n"))
    assert piece.data == wire.copy_data(b"1\ta\tb\n") + wire.copy_data(b"2\tc\td\n")
    assert shape.split(piece.data) == [[b"1", b"a", b"b"], [b"2", b"c", b"d"]]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (rb"a\tb\n\\", "a\tb\n\\"),
        (rb"\101\x42\x4a1", "ABJ1"),
        (rb"\b\f\v\r", "\b\f\v\r"),
        (rb"\|", "|"),
        (rb"\.", "."),
    ],
)
def test_text_escapes(cell: bytes, text: str) -> None:
    assert SHAPES["text"].decode(COLUMNS[1], cell) == text


def test_an_escaped_delimiter_does_not_end_a_cell() -> None:
    shape = SHAPES["text with |"]
    assert shape.split(wire.copy_data(b"1|a\\|b|c\\\\|d\n"[:-3] + b"\n")) == [[b"1", b"a\\|b", b"c\\\\"]]


def test_null_counts_only_unquoted_in_csv() -> None:
    assert SHAPES["csv"].split(wire.copy_data(b'1,"",\n')) == [[b"1", b'""', None]]
    assert SHAPES["csv with '"].split(wire.copy_data(b"1;'nil';nil\n")) == [[b"1", b"'nil'", None]]
    assert SHAPES["csv"].encode(COLUMNS[1], "") == b'""'


def test_force_quote_names_columns() -> None:
    shape = CopyCsvShape(COLUMNS, force_quote=frozenset({"note"}))
    assert (shape.encode(COLUMNS[1], "x"), shape.encode(COLUMNS[2], "x")) == (b"x", b'"x"')


@pytest.mark.parametrize("how", SHAPES)
def test_a_label_is_null_where_the_type_cannot_hold_it(how: str) -> None:
    assert SHAPES[how].encode(COLUMNS[0], "[email]") is None


@pytest.mark.parametrize(
    ("how", "stream"),
    [
        ("text", b"1\ta\n"),
        ("text", b"1\ta\tb\tc\n"),
        ("csv", b"1,a\n"),
        ("csv", b'1,a"b,c\n'),
        ("csv", b'1,"a"b,c\n'),
        ("csv", b"1,a\r,c\n"),
        ("binary", b"PGCOPX\n\xff\r\n\0" + bytes(8)),
        ("binary", HEADER[:11] + b"\0\1\0\0" + bytes(4)),
        ("binary", HEADER + b"\0\2"),
        ("binary", HEADER + b"\0\3" + b"\xff\xff\xff\xfe"),
        ("binary", HEADER + TRAILER + b"\0"),
        ("binary", HEADER),
        ("text", b"1\ta\tb"),
        ("csv", b'1,"a,b\n'),
    ],
)
def test_data_outside_the_format_is_refused(how: str, stream: bytes) -> None:
    shape = SHAPES[how]
    out = CopyOut(shape, 1000)
    with pytest.raises(ProtocolError) as caught:
        for piece in out.feed(wire.copy_data(stream)):
            shape.split(piece.data)
        out.end()
    assert caught.value.fault == "upstream"


def test_a_row_without_end_is_refused_at_the_limit() -> None:
    out = CopyOut(SHAPES["csv"], 1000)
    out.feed(wire.copy_data(b'1,"' + b"x" * 900))
    with pytest.raises(ProtocolError, match="over the limit"):
        out.feed(wire.copy_data(b"x" * 200))


@pytest.mark.parametrize("piece", [wire.data_row([b"a"]), wire.copy_data(b"1\ta\tb\n")[:-1], b"d", wire.copy_data(b"1\ta\tb\n2\ta\tb\n")])
def test_pieces_that_are_not_one_row_per_message_are_refused(piece: bytes) -> None:
    with pytest.raises(ProtocolError):
        SHAPES["text"].split(piece)


@pytest.mark.parametrize("how", SHAPES)
@given(data=st.data())
def test_mutated_streams_are_read_fully_or_refused(how: str, data: st.DataObject) -> None:
    shape = SHAPES[how]
    stream = bytearray(stream_of(shape, [row_of(shape, ("1", "a\n\"'b", None)), row_of(shape, ("2", "x,y;", "z"))]))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    out, passed = CopyOut(shape, 1000), b""
    try:
        for message in chunked(bytes(stream), data.draw(st.integers(1, 50))):
            for piece in out.feed(message):
                if piece.kind == "rows":
                    assert shape.join(shape.split(piece.data)) == piece.data
                passed += piece.data
        out.end()
    except ProtocolError as error:
        assert error.fault == "upstream"
    else:
        assert b"".join(message[5:] for _, message in wire.Framer("upstream", 1 << 20).feed(passed)) == bytes(stream)


def test_a_table_without_columns_has_empty_rows() -> None:
    for shape in (CopyTextShape(()), CopyCsvShape(())):
        (piece,) = CopyOut(shape, 10).feed(wire.copy_data(b"\n\n"))
        assert shape.split(piece.data) == [[], []]
        assert shape.join([[], []]) == piece.data
