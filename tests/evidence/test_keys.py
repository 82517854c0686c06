from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import EvidenceError
from interlock.evidence.keys import Keys, check_id


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    keys = Keys.load_or_create(tmp_path / "keys")
    again = Keys.load_or_create(tmp_path / "keys")
    assert keys.signer.verifier == again.signer.verifier
    assert keys.digest(b"x") == again.digest(b"x") != keys.digest(b"y")
    modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {
        "keys": 0o700,
        "keys/sessions": 0o700,
        "keys/wrap.key": 0o600,
        "keys/journal.key": 0o600,
        "keys/signing.key": 0o600,
    }


def test_two_gateways_have_different_keys(tmp_path: Path) -> None:
    one, other = Keys.load_or_create(tmp_path / "one"), Keys.load_or_create(tmp_path / "other")
    assert one.signer.verifier != other.signer.verifier
    assert one.digest(b"x") != other.digest(b"x")


def test_a_session_secret_is_wrapped_and_can_be_shredded(tmp_path: Path) -> None:
    keys = Keys.load_or_create(tmp_path)
    secret, path = keys.create_secret("s1")
    assert keys.secret("s1") == secret
    assert len(secret) == 32
    assert secret not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.shred("s1")
    assert keys.secret("s1") is None
    assert not keys.shred("s1")


def test_a_wrapped_key_of_another_session_does_not_unwrap(tmp_path: Path) -> None:
    keys = Keys.load_or_create(tmp_path)
    _, one = keys.create_secret("s1")
    _, other = keys.create_secret("s2")
    other.write_bytes(one.read_bytes())
    with pytest.raises(EvidenceError, match="damaged"):
        keys.secret("s2")
    other.write_bytes(b"")
    with pytest.raises(EvidenceError, match="damaged"):
        keys.secret("s2")


def test_a_short_key_file_is_refused(tmp_path: Path) -> None:
    Keys.load_or_create(tmp_path)
    (tmp_path / "wrap.key").write_bytes(b"short")
    with pytest.raises(EvidenceError, match="32 bytes"):
        Keys.load_or_create(tmp_path)


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "../x", "a" * 65, "a b", "-a", "ä", "a\n"])
def test_session_ids_cannot_leave_their_folder(bad: str) -> None:
    with pytest.raises(EvidenceError):
        check_id(bad)


def test_nothing_of_a_key_is_in_its_repr(tmp_path: Path) -> None:
    keys = Keys.load_or_create(tmp_path)
    assert repr(keys) == f"Keys('{keys.signer.verifier.name}')"
