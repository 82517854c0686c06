from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.errors import EvidenceError
from interlock.evidence import Evidence, export, verify
from interlock.evidence.bundle import PROOF
from tests.evidence.support import files_below, keys_of, play, recorder, run, session_of, vkey


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An evidence folder with ten sessions, and session s4 as a bundle."""
    root = tmp_path_factory.mktemp("bundle")

    async def main() -> None:
        async with recorder(root) as evidence:
            for number in range(10):
                play(evidence, session_of(f"s{number}"))

    run(main())
    export(root / "evidence", "s4", root / "out")
    yield root


def test_the_bundle_proves_itself_with_the_public_key_alone(root: Path) -> None:
    report = verify(root / "out" / "s4", vkey(root))
    assert report.ok, report.failures
    assert any("proven for the log of 22 leaves" in claim.detail for claim in report.claims)
    assert "s5" not in (root / "out" / "s4" / PROOF).read_text()


@settings(max_examples=150)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_any_changed_byte_of_a_bundle_is_reported(root: Path, which: int, at: int, mask: int, cut: bool) -> None:
    files = files_below(root / "out" / "s4")
    path = files[which % len(files)]
    whole = path.read_bytes()
    at %= len(whole)
    try:
        path.write_bytes(whole[:at] if cut else whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])
        assert not verify(root / "out" / "s4", vkey(root)).ok, path.name
    finally:
        path.write_bytes(whole)


def test_the_proof_of_another_session_proves_nothing(root: Path, tmp_path: Path) -> None:
    export(root / "evidence", "s5", tmp_path)
    shutil.copy(root / "out" / "s4" / PROOF, tmp_path / "s5" / PROOF)
    assert [claim.detail for claim in verify(tmp_path / "s5", vkey(root)).failures] == ["the log names another seal"]


def test_the_log_of_another_gateway_proves_nothing(root: Path) -> None:
    assert not verify(root / "out" / "s4", str(keys_of(root / "other").signer.verifier)).ok


def test_what_is_not_sealed_or_not_logged_or_there_already(root: Path, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="copied"):
        export(root / "evidence", "s4", root / "out")
    copy = tmp_path / "evidence"
    shutil.copytree(root / "evidence", copy)
    leaves = copy / "log" / "leaves.jsonl"
    leaves.write_bytes(leaves.read_bytes().replace(b'"seal"', b'"sea1"'))
    with pytest.raises(EvidenceError, match="not in the signed log"):
        export(copy, "s4", tmp_path / "out")
    leaves.write_bytes(leaves.read_bytes()[:300])
    with pytest.raises(EvidenceError, match="cut"):
        export(copy, "s4", tmp_path / "out")

    async def main() -> None:
        evidence = await Evidence.start(tmp_path / "live", keys_of(tmp_path))
        play(evidence, session_of("s1"))
        await evidence.commit()
        with pytest.raises(EvidenceError, match="not sealed"):
            export(tmp_path / "live", "s1", tmp_path / "out")
        await evidence.close("s1", "done")
        assert verify(export(tmp_path / "live", "s1", tmp_path / "out"), (tmp_path / "live" / "public.key").read_text()).ok
        await evidence.stop()

    run(main())


def test_a_proof_has_one_spelling(root: Path) -> None:
    path = root / "out" / "s4" / PROOF
    whole = path.read_text()
    try:
        for old, new in (("index ", "index 0"), ("index ", "index +"), ("index ", ""), ("extra ", "")):
            other = whole.replace(old, new)
            assert other != whole
            path.write_text(other)
            assert not verify(root / "out" / "s4", vkey(root)).ok
    finally:
        path.write_text(whole)
