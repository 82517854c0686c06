"""The one spelling of a token, and its hash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.identity.tokens import hash_secret, new_token, read_token


def test_a_new_token_reads_back() -> None:
    text, parts = new_token()
    assert read_token(text) == parts
    assert text == f"ilk_{parts.id}_{parts.secret}"


def test_no_two_are_alike() -> None:
    assert len({new_token()[0] for _ in range(100)}) == 100


def test_the_secret_is_not_shown() -> None:
    _, parts = new_token()
    assert parts.secret not in repr(parts)


@given(st.text(max_size=80))
def test_whatever_reads_has_one_spelling(text: str) -> None:
    parts = read_token(text)
    assert parts is None or text == f"ilk_{parts.id}_{parts.secret}"


@pytest.mark.parametrize("bad", ["{}\n", " {}", "{}=", "Ilk_{}"])
def test_other_spellings_are_not_read(bad: str) -> None:
    text, _ = new_token()
    assert read_token(bad.format(text)) is None


def test_the_hash_depends_on_key_id_and_secret() -> None:
    (_, one), (_, other) = new_token(), new_token()
    swapped = type(one)(other.id, one.secret)
    hashes = {hash_secret(one, b"a" * 32), hash_secret(one, b"b" * 32), hash_secret(other, b"a" * 32), hash_secret(swapped, b"a" * 32)}
    assert len(hashes) == 4
    assert {len(each) for each in hashes} == {32}
