from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.masking.transforms import TRANSFORMS, Transforms, partial

KEY = b"0123456789abcdef"
CLASSES = ["email", "card", "ssn", "phone", "iban", "ipv4", "name", "jwt", "unknown"]


@pytest.mark.parametrize(
    ("data_class", "text", "expected"),
    [
        ("email", "jane.doe@example.com", "j***@e***.com"),
        ("email", "jane@example.verylongname", "j***@e***.***"),
        ("email", "not an address", "[email]"),
        ("email", '{"mail": "jane@example.com"}', "[email]"),
        ("card", "4111 1111 1111 1234", "************1234"),
        ("card", "1234", "[card]"),
        ("ssn", "123-45-6789", "***-**-6789"),
        ("phone", "+1 (415) 555-2671", "********71"),
        ("phone", "12", "[phone]"),
        ("iban", "DE89 3704 0044 0532 0130 00", "DE**************3000"),
        ("ipv4", "203.0.113.7", "203.*.*.*"),
        ("name", "Jane Doe", "J***"),
        ("name", "Bo", "[name]"),
        ("api_key", "ghp_" + "a1B2" * 9, "[api_key]"),
        ("unknown", "anything", "[unknown]"),
    ],
)
def test_partial(data_class: str, text: str, expected: str) -> None:
    assert partial(data_class, text) == expected
    assert partial(data_class, expected) == expected


def test_hash_is_keyed_deterministic_and_per_class() -> None:
    one, other = Transforms({"*": "hash"}, KEY), Transforms({"*": "hash"}, b"another key of 16")
    token = one.mask("email", "Jane@Example.com ")
    assert token == one.mask("email", "jane@example.com")
    assert token != other.mask("email", "jane@example.com")
    assert token is not None and token.startswith("email_") and "jane" not in token
    assert (
        one.mask(
            "name",
            "jane@example.com",
        )
        != token
    )
    assert one.mask("card", "4111-1111-1111-1111") == one.mask("card", "4111111111111111")


def test_only_genuine_tokens_pass_unchanged() -> None:
    transforms = Transforms({"*": "hash"}, KEY)
    token = transforms.mask("email", "jane@example.com") or ""
    assert transforms.mask("email", token) == token
    forged = token[:-1] + ("a" if token[-1] != "a" else "b")
    assert transforms.mask("email", forged) != forged
    assert transforms.mask("name", token) != token


@given(
    st.sampled_from(CLASSES),
    st.text(max_size=30)
    | st.from_regex(r"[a-z*.]{1,6}@[a-z*.]{1,6}\.[a-z*]{1,8}|[0-9* .+-]{5,25}|[A-Z]{2}[0-9A-Z*]{13,20}", fullmatch=True),
    st.sampled_from(sorted(TRANSFORMS)),
)
def test_twice_is_once(data_class: str, text: str, transform: str) -> None:
    transforms = Transforms({"*": transform}, KEY)
    once = transforms.mask(data_class, text)
    assert once is None or transforms.mask(data_class, once) == once


def test_choice_by_class_then_star_then_redact() -> None:
    transforms = Transforms({"email": "partial", "*": "null"}, KEY)
    assert (transforms.name("email"), transforms.name("card")) == ("partial", "null")
    assert Transforms({}, KEY).mask("card", "x") == "[card]"


def test_the_key_does_not_show() -> None:
    assert KEY.decode() not in repr(Transforms({}, KEY))
