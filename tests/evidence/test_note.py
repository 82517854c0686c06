from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import VerificationError
from interlock.evidence.note import Checkpoint, Signer, Verifier

SIGNER = Signer("example.com/foo", bytes(range(32)))
NOTE = SIGNER.note("This is an example message.\n")


def test_the_published_vector() -> None:
    """The published vector of golang.org/x/mod/sumdb/note, which https://c2sp.org/signed-note describes."""
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    line = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    assert str(Verifier.parse(vkey)) == vkey
    assert Verifier.parse(vkey).open(f"{text}\n{line}") == text
    seed = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
    assert Signer("PeterNeumann", seed).note(text) == f"{text}\n{line}"


def test_round_trip() -> None:
    verifier = Verifier.parse(str(SIGNER.verifier))
    assert verifier == SIGNER.verifier
    assert verifier.open(NOTE) == "This is an example message.\n"
    assert "key" not in repr(SIGNER)


@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_any_changed_byte_of_a_note_shows(position: int, mask: int) -> None:
    data = bytearray(NOTE.encode())
    data[position] ^= mask
    with pytest.raises((VerificationError, UnicodeDecodeError)):
        SIGNER.verifier.open(data.decode())


GOOD = str(SIGNER.verifier)


@pytest.mark.parametrize("vkey", ["", "name", "a+b", "a+00000000+AAAA", GOOD[:-4], GOOD.replace("foo", "bar")])
def test_bad_verifier_keys_are_refused(vkey: str) -> None:
    with pytest.raises(VerificationError):
        Verifier.parse(vkey)


def test_a_note_by_somebody_else_is_refused() -> None:
    with pytest.raises(VerificationError, match="another key"):
        SIGNER.verifier.open(Signer("example.com/foo", bytes(32)).note("text\n"))
    with pytest.raises(VerificationError, match="no signature by"):
        SIGNER.verifier.open(Signer("example.com/bar", bytes(range(32))).note("text\n"))


def test_a_checkpoint_has_one_spelling() -> None:
    text = Checkpoint("origin", 7, bytes(32)).text()
    assert text == f"origin\n7\n{'A' * 43}=\n"
    assert Checkpoint.parse(text) == Checkpoint("origin", 7, bytes(32))
    for bad in (text[:-1], text + "more\n", text.replace("7", "07"), text.replace("7", "+7"), text.replace("AAAA", "AAA"), "x"):
        with pytest.raises(VerificationError):
            Checkpoint.parse(bad)


def test_unused_bits_of_base64_must_be_zero() -> None:
    """68 bytes leave two bits over; a decoder that ignores them would let a note have four spellings."""
    assert NOTE.endswith("=\n")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet.index(NOTE[-3])
    for other in range(last + 1, last + 4):
        with pytest.raises(VerificationError, match="base64"):
            SIGNER.verifier.open(f"{NOTE[:-3]}{alphabet[other]}=\n")
