from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.errors import VerificationError
from interlock.evidence.seal import SEAL, SIGNATURE, check_signature, parse_seal, read_seal
from tests.evidence.support import keys_of, play, recorder, run, session_of


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1", agent=True))

    run(main())
    return tmp_path / "evidence" / "sessions" / "s1"


def test_a_seal_is_json_and_with_its_signature_a_signed_note(sealed: Path, tmp_path: Path) -> None:
    text = (sealed / SEAL).read_text()
    assert json.loads(text)["principal"] == "bot"
    seal = read_seal(sealed)
    assert seal is not None
    assert (seal.owner, seal.reason) == ("ann", "the gateway stopped")
    verifier = keys_of(tmp_path).signer.verifier
    assert verifier.open(f"{text}\n{(sealed / SIGNATURE).read_text()}") == text


@pytest.mark.parametrize("edit", [("ann", "eve"), ('"refused": 1', '"refused": 0'), ('"gaps": []', '"gaps":  []')])
def test_an_edited_seal_is_refused(sealed: Path, tmp_path: Path, edit: tuple[str, str]) -> None:
    text = (sealed / SEAL).read_text()
    assert edit[0] in text
    with pytest.raises(VerificationError, match="does not match"):
        check_signature(sealed, text.replace(*edit).encode(), keys_of(tmp_path).signer.verifier)


def test_a_seal_without_signature_is_refused(sealed: Path, tmp_path: Path) -> None:
    (sealed / SIGNATURE).unlink()
    with pytest.raises(VerificationError, match="missing"):
        check_signature(sealed, (sealed / SEAL).read_bytes(), keys_of(tmp_path).signer.verifier)


def test_what_is_no_seal_is_refused(tmp_path: Path) -> None:
    assert read_seal(tmp_path) is None
    for bad in (b"", b"{}", b"[]", b'{"schema": "1"}'):
        with pytest.raises(VerificationError):
            parse_seal(bad)
