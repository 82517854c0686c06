from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import ProtocolError
from interlock.exchange import Column, Refusal, Row
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.reply import RowShape, speak

cells = st.none() | st.binary(max_size=300)


def shape(width: int) -> RowShape:
    return RowShape(tuple(Column(f"c{i}", 25) for i in range(width)))


@given(st.integers(0, 6).flatmap(lambda width: st.tuples(st.just(width), st.lists(st.lists(cells, min_size=width, max_size=width)))))
def test_join_undoes_split(case: tuple[int, list[Row]]) -> None:
    width, rows = case
    piece = b"".join(wire.data_row(row) for row in rows)
    assert shape(width).split(piece) == rows
    assert shape(width).join(rows) == piece


@given(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=4), st.data())
def test_mutated_rows_are_read_fully_or_refused(rows: list[Row], data: st.DataObject) -> None:
    piece = bytearray(b"".join(wire.data_row(row) for row in rows))
    for _ in range(data.draw(st.integers(1, 4))):
        piece[data.draw(st.integers(0, len(piece) - 1))] = data.draw(st.integers(0, 255))
    mutated = bytes(piece[: data.draw(st.integers(0, len(piece)))])
    try:
        found = shape(2).split(mutated)
    except ProtocolError as error:
        assert error.fault == "upstream"
    else:
        assert shape(2).join(found) == mutated


@pytest.mark.parametrize(
    "piece",
    [
        wire.data_row([b"a"]),
        wire.data_row([b"a", b"b", b"c"]),
        wire.data_row([b"a", b"b"]) + b"D",
        wire.copy_data(b"\0\2"),
        wire.message(b"D", b"\0\2" + b"\0\0\0\1a" + b"\0\0\0\1b" + b"x"),
        wire.message(b"D", b"\0\2" + b"\0\0\0\1a" + b"\0\0\0\5b"),
        wire.message(b"D", b"\0\2" + b"\0\0\0\1a" + b"\xff\xff\xff\xfe"),
        wire.message(b"D", b"\0\2" + b"\x7f\xff\xff\xff" + b"\x80\0\0\0"),
        b"D\0\0\0\4" + wire.data_row([b"a", b"b"]),
        b"D\xff\xff\xff\xfa\0\2",
    ],
)
def test_rows_that_do_not_fit_are_refused(piece: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        shape(2).split(piece)
    assert caught.value.fault == "upstream"


def test_a_row_cannot_borrow_from_the_next_one() -> None:
    borrowed = wire.message(b"D", b"\0\1" + (9).to_bytes(4) + b"x")
    with pytest.raises(ProtocolError):
        shape(1).split(borrowed + wire.data_row([b"y"]))


def test_cells_go_through_the_columns_type_and_format() -> None:
    rows = RowShape((Column("id", 23, 1), Column("email", 25, 0)))
    assert rows.decode(rows.columns[0], b"\0\0\0\7") == "7"
    assert rows.encode(rows.columns[0], "[email]") is None
    assert rows.encode(rows.columns[1], "[email]") == b"[email]"


# Refusals


def spoken(refusal: Refusal) -> bytes:
    return wire.error_fields(speak(refusal))


@pytest.mark.parametrize(
    ("code", "sqlstate", "severity"),
    [
        ("denied", "42501", "ERROR"),
        ("unparsable", "42601", "ERROR"),
        ("approval-refused", "42501", "ERROR"),
        ("approval-expired", "57014", "ERROR"),
        ("limit", "53400", "ERROR"),
        ("revoked", "57P01", "FATAL"),
        ("failed", "58000", "ERROR"),
        ("unidentified", "28P01", "ERROR"),
        ("unknown", "3D000", "ERROR"),
        ("something-new", "42501", "ERROR"),
    ],
)
def test_a_refusal_speaks_postgresql(code: str, sqlstate: str, severity: str) -> None:
    fields = wire.read_error(spoken(Refusal(code, "no", ("no-ddl", "no-where"), ask="dba@example.com")))
    assert (fields["C"], fields["S"], fields["V"], fields["M"]) == (sqlstate, severity, severity, "no")
    assert fields["D"] == "rule: no-ddl, no-where"
    assert fields["H"].endswith("Ask dba@example.com.")


def test_a_refusal_points_at_the_character() -> None:
    assert speak(Refusal("unparsable", "syntax error", position=8))["P"] == "8"
    assert "P" not in wire.read_error(spoken(Refusal("denied", "no")))
    assert "D" not in wire.read_error(spoken(Refusal("denied", "no")))


def test_a_fatal_refusal_is_fatal() -> None:
    assert speak(Refusal("failed", "no", fatal=True))["S"] == "FATAL"
