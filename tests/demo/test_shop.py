"""The shop is believable, and the same each time."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from interlock.demo import shop
from interlock.demo.database import EmbeddedPostgres


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres() as running:
        shop.load(running)
        yield running


def test_it_has_a_hundred_thousand_rows(server: EmbeddedPostgres) -> None:
    counts = server.run("SELECT count(*) FROM customers; SELECT count(*) FROM orders;").split()
    assert counts == ["20000", "80000"]


def test_its_tables_belong_to_the_plain_role_and_have_the_promised_columns(server: EmbeddedPostgres) -> None:
    sql = """SELECT relname, relowner::regrole, string_agg(attname, ' ' ORDER BY attnum)
             FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
             WHERE relname IN ('customers', 'orders') AND attnum > 0 GROUP BY 1, 2 ORDER BY 1;"""
    assert server.run(sql).splitlines() == [
        "customers|interlock|id name email phone card notes created_at",
        "orders|interlock|id customer_id amount_cents status created_at",
    ]


def test_new_rows_get_new_ids(server: EmbeddedPostgres) -> None:
    assert server.run("INSERT INTO orders (customer_id, amount_cents, status) VALUES (1, 100, 'paid') RETURNING id;").strip() == "80001"
    server.run("DELETE FROM orders WHERE id = 80001;")


def test_cards_pass_luhn_and_come_in_several_forms(server: EmbeddedPostgres) -> None:
    cards = server.run("SELECT card FROM customers WHERE card IS NOT NULL;").split("\n")[:-1]
    assert len(cards) > 15_000
    assert all(_luhn(re.sub("[ -]", "", card)) for card in cards)
    assert {re.sub(r"\d", "9", card) for card in cards} >= {
        "9999 9999 9999 9999",
        "9999-9999-9999-9999",
        "9999999999999999",
        "9999 999999 99999",
    }


def test_phones_come_in_several_forms(server: EmbeddedPostgres) -> None:
    phones = server.run("SELECT DISTINCT regexp_replace(phone, '[0-9]', '9', 'g') FROM customers WHERE phone IS NOT NULL;").split("\n")[:-1]
    assert len(phones) == 9


def test_some_notes_tell_too_much(server: EmbeddedPostgres) -> None:
    notes = server.run("SELECT notes FROM customers WHERE notes IS NOT NULL;")
    for telling in (r"@[\w.-]+example", r"\b4000[ -]?00\d\d", r"sk_live_\w{24}", r"203\.0\.113\.\d+", r"DE89 3704"):
        assert re.search(telling, notes), telling


def test_it_is_the_same_each_time() -> None:
    assert list(shop.script(50, 200)) == list(shop.script(50, 200))


@pytest.mark.parametrize(("body", "digit"), [("7992739871", "3"), ("411111111111111", "1"), ("37828224631000", "5")])
def test_luhn_digit_of_known_numbers(body: str, digit: str) -> None:
    assert shop.luhn_digit(body) == digit


def test_card_numbers_keep_to_test_ranges() -> None:
    dice = random.Random(7)
    assert {shop.card_number(dice)[:6] for _ in range(200)} == {"400000", "555555", "378282"}


def _luhn(number: str) -> bool:
    """Written apart from the code under test: double every second digit from the right, add digits."""
    total = 0
    for place, digit in enumerate(map(int, number[::-1])):
        total += sum(map(int, str(digit * 2))) if place % 2 else digit
    return total % 10 == 0
