"""The sealed part of a request, and its id."""

from __future__ import annotations

import re

import pytest

from interlock.approval.request import new_id, seal, unseal
from interlock.errors import StoreError
from interlock.exchange import Fact

KEY = b"k" * 32


def test_what_is_sealed_comes_back() -> None:
    facts: dict[str, Fact] = {"has_where": False, "tables": frozenset({"b", "a"}), "rows": 3, "kind": "x"}
    sealed = seal(KEY, "ap-1", "DELETE FROM t WHERE card = '4111'", facts, ("because",))
    assert unseal(KEY, "ap-1", sealed) == ("DELETE FROM t WHERE card = '4111'", facts, ("because",))
    assert b"4111" not in sealed and b"because" not in sealed


def test_no_two_seals_are_alike() -> None:
    assert seal(KEY, "ap-1", "x", {}, ()) != seal(KEY, "ap-1", "x", {}, ())


def test_a_seal_fits_its_request_and_key_only_and_cannot_be_changed() -> None:
    sealed = seal(KEY, "ap-1", "x", {}, ())
    flipped = bytes([*sealed[:-1], sealed[-1] ^ 1])
    for key, name, data in [(b"o" * 32, "ap-1", sealed), (KEY, "ap-2", sealed), (KEY, "ap-1", flipped), (KEY, "ap-1", b"")]:
        with pytest.raises(StoreError, match="cannot be opened"):
            unseal(key, name, data)


def test_ids_can_be_read_out() -> None:
    assert all(re.fullmatch(r"ap-[2-9a-hj-km-np-z]{6}", new_id()) for _ in range(50))
