from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.errors import MaskingError
from interlock.exchange import Resource
from interlock.masking import Masking, MaskingConfig

KEY = b"0123456789abcdef"
SHOP = Resource("orders-db", "postgres", classes={"customers.email": "email", "customers.name": "name"})
PLAIN = Resource("plain", "postgres")
NOBODY: frozenset[str] = frozenset()
STATION = Masking(MaskingConfig(), KEY)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Key (email)=(bob) already exists.", "Key (email)=([masked]) already exists."),
        ("Key (id, email)=(7, bob) already exists.", "Key (id, email)=([masked]) already exists."),
        ("Key (lower(email))=(bob) already exists.", "Key (lower(email))=([masked]) already exists."),
        ("Key (name)=(a) b (c) already exists.", "Key (name)=([masked]) already exists."),
        ("Key (id)=(7) already exists.", "Key (id)=(7) already exists."),
        ('Key (customer_id)=(7) is not present in table "customers".', 'Key (customer_id)=(7) is not present in table "customers".'),
        ("Failing row contains (1, Bob (jr), bob, 3).", "Failing row contains ([masked])."),
        ("Failing row contains (a,\nb).", "Failing row contains ([masked])."),
        ('invalid input syntax for type integer: "Bob"', 'invalid input syntax for type integer: "[masked]"'),
        ('invalid input syntax for type integer: "Bo"b"', "invalid input syntax for type integer: [masked]"),
        ('value "5" is out of range for type smallint', 'value "[masked]" is out of range for type smallint'),
        ('duplicate "x"\nKey (email)=(b"ob)', "duplicate [masked]"),
        ('duplicate\nKey (email)=(b"ob)', "duplicate\nKey (email)=([masked])"),
        ('time zone "q" SECRET JSON data, line 1: "', "time zone [masked]"),
        ('COPY customers, line 3, column name: "Bob"', "COPY customers, line 3, column name: [masked]"),
        ("JSON data, line 1: Bob", "JSON data, line 1: [masked]"),
        ('Token "Bob" is invalid.', 'Token "[masked]" is invalid.'),
        ('time zone "Bob" not recognized', 'time zone "[masked]" not recognized'),
        ('relation "bob" does not exist', 'relation "[masked]" does not exist'),
        ('time zone ""Bob"" not recognized', "time zone [masked] not recognized"),
        ('time zone "x" Bob "y" not recognized', "time zone [masked] not recognized"),
        ("Ungültige Eingabe: »Bob«", "Ungültige Eingabe: [masked]"),
        ("index 41555 out of valid range, 0..7", "index [masked] out of valid range, 0..7"),
        (
            'duplicate key value violates unique constraint "customers_email_key"',
            'duplicate key value violates unique constraint "customers_email_key"',
        ),
        (
            'insert or update on table "orders" violates foreign key constraint "orders_customer_id_fkey"',
            'insert or update on table "orders" violates foreign key constraint "orders_customer_id_fkey"',
        ),
        ("division by zero", "division by zero"),
    ],
)
def test_values_in_server_messages(message: str, expected: str) -> None:
    assert STATION.scrub(message, SHOP, NOBODY) == expected
    assert STATION.scrub(expected, SHOP, NOBODY) == expected


@pytest.mark.parametrize(
    ("message", "known"),
    [
        ('relation "custmers" does not exist', "SELECT * FROM custmers"),
        ('column "emial" of relation "customers" does not exist', "UPDATE customers SET emial = 1"),
        ('syntax error at or near "FORM"', "SELECT * FORM x"),
        ('invalid input syntax for type integer: "abc"', "SELECT 'abc'::int"),
        ("canceling after 5000 ms", "SET statement_timeout = 5000"),
    ],
)
def test_what_the_client_said_itself_stays_readable(message: str, known: str) -> None:
    assert STATION.scrub(message, SHOP, NOBODY, known) == message
    assert "[masked]" in STATION.scrub(message, SHOP, NOBODY, "SELECT 1")


def test_a_statement_shown_back_keeps_its_quotes_and_loses_what_detectors_find() -> None:
    statement = """SELECT "a" = "b" FROM "t" WHERE x = 'jane@example.com'"""
    assert STATION.scrub(statement, SHOP, NOBODY, statement) == statement.replace("jane@example.com", "[email]")


def test_part_of_a_word_is_not_what_the_client_said() -> None:
    assert (
        STATION.scrub('time zone "a" not recognized', SHOP, NOBODY, "SELECT now() AT TIME ZONE name FROM b")
        == 'time zone "[masked]" not recognized'
    )


def test_detectors_run_over_every_message() -> None:
    message = "NOTICE: sent to jane@example.com and 4111 1111 1111 1111"
    assert STATION.scrub(message, PLAIN, NOBODY) == "NOTICE: sent to [email] and [card]"
    assert STATION.scrub(message, PLAIN, frozenset({"email"})) == "NOTICE: sent to jane@example.com and [card]"
    assert STATION.scrub(message, SHOP, frozenset({"email", "name"})) == "NOTICE: sent to jane@example.com and [card]"


def test_without_hidden_classes_messages_stay_whole() -> None:
    message = 'Key (email)=(bob) and "anything" 12345'
    assert STATION.scrub(message, PLAIN, NOBODY) == message
    assert STATION.scrub(message, SHOP, frozenset({"email", "name"})) == message


def test_a_whole_classed_table_hides_every_key() -> None:
    vault = Resource("vault", "postgres", classes={"vault.*": "secret"})
    assert STATION.scrub("Key (id)=(7) already exists.", vault, NOBODY) == "Key (id)=([masked]) already exists."


def test_null_transform_and_long_texts_leave_nothing() -> None:
    assert Masking(MaskingConfig({"*": "null"}), KEY).scrub("to jane@example.com", PLAIN, NOBODY) == "[masked]"
    assert STATION.scrub("x" * 1_100_000, SHOP, NOBODY) == "[masked]"


def test_what_goes_wrong_is_a_masking_error() -> None:
    broken = replace(SHOP, classes={b"customers.email": "email"})  # type: ignore[dict-item]
    with pytest.raises(MaskingError) as caught:
        STATION.scrub("text", broken, NOBODY)
    assert caught.value.__cause__ is None and caught.value.__context__ is None


PARTS = st.sampled_from(
    [
        '"',
        "(",
        ")",
        ")=(",
        "Key (email)=(",
        "bob",
        " ",
        ": ",
        "'",
        "»",
        "row contains (",
        "12345",
        "jane@example.com",
        "[masked]",
        "of relation",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=8).map("".join))
def test_twice_is_once(message: str) -> None:
    once = STATION.scrub(message, SHOP, NOBODY)
    assert STATION.scrub(once, SHOP, NOBODY) == once


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from('SECRET"() :=,'), max_size=20))
def test_nothing_between_the_outer_quotes_of_an_unknown_message_is_shown(value: str) -> None:
    shown = STATION.scrub(f'time zone "{value}" not recognized', SHOP, NOBODY)
    assert not set(shown.replace("[masked]", "")) & set("SECRT")
