from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.errors import MaskingError
from interlock.exchange import Column, Lens, Resource
from interlock.masking import Masking, MaskingConfig, lens
from tests.masking.text_shape import INTEGER, OPAQUE, TEXT, TextShape, piece, text

KEY = b"0123456789abcdef"
SHOP = Resource(
    "orders-db",
    "postgres",
    classes={"customers.email": "email", "customers.phone": "phone", "customers.card": "card", "customers.name": "name"},
)
NOBODY: frozenset[str] = frozenset()


def masking(**transforms: str) -> Masking:
    return Masking(MaskingConfig(transforms), KEY)


def a_lens(shape: TextShape, station: Masking | None = None, revealed: frozenset[str] = NOBODY) -> Lens:
    made = (station or masking()).lens(shape, SHOP, revealed)
    assert made is not None
    return made


EMAIL = text("email", "public.customers.email")
NOTE = text("note")


def test_a_classed_column_is_masked_and_counted_and_null_stays_null() -> None:
    made = a_lens(TextShape(text("id"), EMAIL))
    assert made.apply(piece(("1", "jane@example.com"), ("2", None))) == piece(("1", "[email]"), ("2", None))
    assert made.masked == {"email": 1}


def test_transforms_per_class() -> None:
    shape = TextShape(
        EMAIL, text("card", "public.customers.card"), text("phone", "public.customers.phone"), text("name", "public.customers.name")
    )
    made = a_lens(shape, masking(email="partial", card="partial", phone="null", name="hash"))
    row = made.apply(piece(("jane@example.com", "4111 1111 1111 1111", "+1 415 555 2671", "Jane"))).decode().rstrip("\n").split("\t")
    assert row[:3] == ["j***@e***.com", "************1111", "\\N"]
    assert row[3].startswith("name_") and "Jane" not in row[3]


def test_an_expression_is_redacted_even_where_the_class_has_a_partial_form() -> None:
    # Else `'000000000000' || left(card, 4)` would show the four digits that "last four" does not mean.
    derived = Column("x", TEXT, 0, None, frozenset({"public.customers.card"}))
    assert a_lens(TextShape(derived), masking(card="partial")).apply(piece(("0000000000004111",))) == piece(("[card]",))
    assert a_lens(TextShape(derived), masking(card="hash")).apply(piece(("0000000000004111",))) == piece(("[card]",))


def test_a_column_of_several_classes_is_redacted_under_both() -> None:
    both = Column("x", TEXT, 0, None, frozenset({"public.customers.card", "public.customers.email"}))
    made = a_lens(TextShape(both))
    assert made.apply(piece(("x",))) == piece(("[card+email]",))
    assert made.masked == {"card": 1, "email": 1}
    assert a_lens(TextShape(both), revealed=frozenset({"card"})).apply(piece(("x",))) == piece(("[email]",))


def test_revealed_columns_are_shown_and_still_scanned_for_other_classes() -> None:
    made = a_lens(TextShape(EMAIL), revealed=frozenset({"email"}))
    assert made.apply(piece(("jane@example.com",))) == piece(("jane@example.com",))
    assert made.apply(piece(("jane@example.com 4111111111111111",))) == piece(("jane@example.com [card]",))


def test_detectors_mask_spans_of_unclassed_columns() -> None:
    made = a_lens(TextShape(text("id"), NOTE), masking(email="partial"))
    rows = piece(("1", "call +1 415 555 2671 or jane@example.com"), ("2", "nothing"), ("3", None))
    assert made.apply(rows) == piece(("1", "call [phone] or j***@e***.com"), ("2", "nothing"), ("3", None))
    assert made.masked == {"phone": 1, "email": 1}


def test_overlapping_findings_leave_nothing_of_the_weaker_one() -> None:
    masked = a_lens(TextShape(NOTE)).apply(piece(("4111111111111111@example.com",)))
    assert b"example" not in masked and b"4111" not in masked


def test_a_value_whose_type_cannot_hold_a_label_becomes_null() -> None:
    number = Column("n", INTEGER, 0, "public.customers.card", frozenset({"public.customers.card"}))
    assert a_lens(TextShape(number)).apply(piece(("17",))) == piece((None,))
    plain = Column("n", INTEGER)
    assert a_lens(TextShape(plain)).apply(piece(("4111111111111111",), ("17",))) == piece((None,), ("17",))


def test_opaque_cells() -> None:
    classed = Column("o", OPAQUE, 1, "public.customers.card", frozenset({"public.customers.card"}))
    assert a_lens(TextShape(classed), masking(card="partial")).apply(b"\x00\x01\n") == b"\\N\n"
    made = a_lens(TextShape(Column("o", OPAQUE, 1), NOTE))
    # 0x39 is the length of what follows and also the digit 9: no boundary to rely on.
    assert made.apply(b"\x00\x00\x00\x39123-45-6789\x00\tx\n") == b"\\N\tx\n"
    assert made.apply(b"\x00\x0094111111111111111\x00\tx\n") == b"\\N\tx\n"
    assert made.apply(b"\x00\x11jane@example.com\x00\tx\n") == b"\\N\tx\n"
    assert made.apply(b"\x00\x11\xff\xfe\x00\tx\n") == b"\x00\x11\xff\xfe\x00\tx\n"


def test_a_clean_piece_is_the_same_object_and_is_not_joined_again() -> None:
    shape = TextShape(text("id"), NOTE)
    clean = piece(("1", "2024-01-01 00:00:01.123456+00"), ("550e8400-e29b-41d4-a716-446655440000", "12345.67"))
    assert a_lens(shape).apply(clean) is clean
    assert shape.joins == 0
    empty = b""
    assert a_lens(shape).apply(empty) is empty


def test_no_lens_where_there_is_nothing_to_do() -> None:
    station = masking()
    assert station.lens(TextShape(), SHOP, NOBODY) is None
    assert station.lens(TextShape(NOTE), SHOP, station.detected(SHOP)) is None
    assert Masking(MaskingConfig(detectors=()), KEY).lens(TextShape(NOTE), SHOP, NOBODY) is None
    assert station.lens(TextShape(EMAIL), SHOP, station.detected(SHOP) - {"email"}) is not None


def test_a_long_cell_is_masked_whole_if_it_could_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens, "CELL_CHARS_MAX", 100)
    made = a_lens(TextShape(NOTE))
    long = "x " * 100
    assert made.apply(piece((long,))) == piece((long,))
    assert made.apply(piece((long + "jane@example.com",))) == piece(("[email]",))
    assert made.apply(piece((long + "jane\uff20example.com",))) == piece(("[email]",))
    partial = a_lens(TextShape(EMAIL), masking(email="partial"))
    assert partial.apply(piece((long + "@example.com",))) == piece(("[email]",))


def test_a_long_opaque_cell_becomes_null_if_it_could_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lens, "CELL_CHARS_MAX", 100)
    made = a_lens(TextShape(Column("o", OPAQUE, 1)))
    assert made.apply(b"\x00" * 200 + b"\n") == b"\x00" * 200 + b"\n"
    assert made.apply(b"\x00" * 200 + b"jane@example.com\n") == b"\\N\n"
    assert made.masked == {"email": 1}


def test_bytes_made_to_look_like_candidates_are_refused_in_bounded_time() -> None:
    with pytest.raises(MaskingError):
        a_lens(TextShape(Column("o", OPAQUE, 1))).apply((b"000-00-0000" * 60_000 + b"\n") * 2)


def test_the_bound_is_real_and_a_long_cell_is_quick() -> None:
    made = a_lens(TextShape(NOTE))
    assert made.apply(piece(("ab " * 700_000 + "AKIA" + "IOSFODNN7EXAMPLE",))) == piece(("[api_key]",))


@pytest.mark.parametrize("bad", [b"half of it", b"alpha\n", b"alpha\tbeta\tgamma\n", b"\xff\tbeta\n"])
def test_whatever_goes_wrong_is_a_masking_error_without_the_data(bad: bytes) -> None:
    with pytest.raises(MaskingError) as caught:
        a_lens(TextShape(NOTE, NOTE)).apply(bad)
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert bad.decode("latin-1").strip() not in str(caught.value)


def test_a_codec_that_fails_is_a_masking_error() -> None:
    class Broken(TextShape):
        def encode(self, column: Column, text: str) -> bytes | None:
            raise RuntimeError(f"cannot encode {text}")

    with pytest.raises(MaskingError):
        a_lens(Broken(EMAIL)).apply(piece(("jane@example.com",)))


def test_disguised_values_cover_the_whole_cell() -> None:
    made = a_lens(TextShape(NOTE))
    for disguised in (
        "４１１１ １１１１ １１１１ １１１１",
        "4111\u200b111111111111",
        "jane\u200b@exam\u200bple.com",
        "123\u201145\u20116789",
    ):
        assert b"[" in made.apply(piece((f"see {disguised}",))), disguised
    assert made.apply(piece(("½ naïve – “quoted”…",))) == piece(("½ naïve – “quoted”…",))


def test_json_stays_json_behind_an_escape() -> None:
    made = a_lens(TextShape(NOTE))
    assert made.apply(piece((r'{"t": "a\njane@example.com"}',))) == piece((r'{"t": "a[email]"}',))
    assert made.apply(piece((r'{"t": "a\\jane@example.com"}',))) == piece((r'{"t": "a\\[email]"}',))


VALUES = ("jane@example.com", "4111111111111111", "+14155552671", "415-555-2671", "123-45-6789", "DE89370400440532013000", "203.0.113.7")
PARTS = st.sampled_from([*VALUES, "ghp_" + "a1B2" * 10, " ", "x", "é", "\u200b", "-", ".", "[", "@", "7", "*"])
CELLS = (
    st.none()
    | st.lists(PARTS, max_size=4).map("".join)
    | st.text(st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]), max_size=12)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=5), st.sampled_from(["redact", "partial", "hash", "null"]))
def test_masking_twice_is_masking_once(rows: list[tuple[str | None, str | None]], transform: str) -> None:
    station = masking(**{"*": transform})
    shape = TextShape(EMAIL, NOTE)
    once = a_lens(shape, station).apply(piece(*rows))
    assert a_lens(shape, station).apply(once) == once


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_rows_without_findings_keep_their_bytes(rows: list[tuple[str | None, str | None]]) -> None:
    made = a_lens(TextShape(NOTE, NOTE))
    after = made.apply(piece(*rows)).split(b"\n")
    for row, line in zip(rows, after, strict=False):
        if made.apply(piece(row)) == piece(row):
            assert line + b"\n" == piece(row)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=6), st.integers(0, 6))
def test_where_a_reply_is_cut_into_pieces_makes_no_difference(rows: list[tuple[str | None, str | None]], cut: int) -> None:
    shape = TextShape(EMAIL, NOTE)
    whole, parts = a_lens(shape), a_lens(shape)
    assert whole.apply(piece(*rows)) == parts.apply(piece(*rows[:cut])) + parts.apply(piece(*rows[cut:]))
    assert whole.masked == parts.masked
