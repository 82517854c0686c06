"""What the story takes for a leak: a hidden value however it is spaced, and nothing else."""

from __future__ import annotations

import pytest

from interlock.demo.shop import script
from interlock.demo.stage import Broken, claim, leaked, sensitive

CARD = "4000 0012 3456 7899"


@pytest.mark.parametrize("output", [f"| {CARD} |", "4000001234567899", "4000-0012-3456-7899", '["4000 0012 3456 7899"]'])
def test_a_value_is_found_however_it_is_spaced(output: str) -> None:
    assert leaked(output, {CARD}) == 1


@pytest.mark.parametrize("output", ["[card]", "v***@b***.***", "4000 0012", ""])
def test_masked_values_are_no_leak(output: str) -> None:
    assert leaked(output, {CARD, "vera@example.com"}) == 0


def test_letters_of_either_case_are_the_same_address() -> None:
    assert leaked("VERA.OKAFOR@EXAMPLE.COM", {"vera.okafor@example.com"}) == 1


def test_free_text_gives_up_its_sensitive_values() -> None:
    found = sensitive([f"Card {CARD} was declined, call (212) 555-0142 or +44 20 7946 0123.", "Also at ada@post.example.org. Order 43481."])
    assert found == {CARD, "(212) 555-0142", "+44 20 7946 0123", "ada@post.example.org"}


def test_every_sensitive_column_of_the_shop_is_recognised() -> None:
    rows = [line.split("\t") for line in "".join(script(50, 1)).splitlines() if line.count("\t") == 6]
    for row in rows:
        values = [value for value in row[2:5] if value != "\\N"]
        assert leaked(" ".join(sensitive(values)), values) == len(values)


def test_a_claim_that_does_not_hold_says_what() -> None:
    claim(True, "this holds")
    with pytest.raises(Broken, match="the moon is made of cheese"):
        claim(False, "the moon is made of cheese")
