from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.errors import VerificationError
from interlock.evidence import Evidence, verify
from tests.evidence.support import check, files_below, keys_of, play, recorder, run, session_of, vkey


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A log and three sealed sessions, the first in several segments. Tests put back what they change."""
    root = tmp_path_factory.mktemp("evidence")

    async def main() -> None:
        async with recorder(root) as recording:
            play(recording, session_of("s1", agent=True), exchanges=10)
            recording.note("s1", "approval", {"exchange": 1, "by": ["eve"]})
            play(recording, session_of("s2"))
            await recording.close("s2", "done")
            play(recording, session_of("s3"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interlock.evidence.archive.SEGMENT_BYTES", 300)
        run(main())
    assert check(root, secrets=True).ok
    yield root
    assert check(root, secrets=True).ok


def tamper_flip(data: bytes, at: int, other: int) -> bytes:
    return data[:at] + bytes([data[at] ^ (other % 255 + 1)]) + data[at + 1 :]


def tamper_drop(data: bytes, at: int, other: int) -> bytes:
    return data[:at] + data[at + other % 60 + 1 :]


def tamper_cut(data: bytes, at: int, _: int) -> bytes:
    return data[:at]


def tamper_swap(data: bytes, at: int, other: int) -> bytes:
    """Two pieces of the same length change places."""
    other %= len(data)
    size = min(16, len(data) - max(at, other), abs(at - other))
    low, high = sorted((at, other))
    return data[:low] + data[high : high + size] + data[low + size : high] + data[low : low + size] + data[high + size :]


def tamper_insert(data: bytes, at: int, other: int) -> bytes:
    return data[:at] + bytes([other % 256]) + data[at:]


TAMPERS = [tamper_flip, tamper_drop, tamper_cut, tamper_swap, tamper_insert]


@settings(max_examples=400)
@given(st.integers(0, 10**6), st.sampled_from(TAMPERS), st.integers(0, 10**6), st.integers(0, 10**6))
def test_any_tampering_with_any_file_is_reported(
    evidence: Path, which: int, tamper: Callable[[bytes, int, int], bytes], at: int, other: int
) -> None:
    """With the public key alone: sessions and log, any byte."""
    files = [path for path in files_below(evidence / "evidence") if path.parent.name != "evidence"]
    path = files[which % len(files)]
    whole = path.read_bytes()
    changed = tamper(whole, at % len(whole), other)
    if changed == whole:
        return
    try:
        path.write_bytes(changed)
        assert not check(evidence).ok, f"{path.name}: {tamper.__name__}"
    finally:
        path.write_bytes(whole)


def test_any_missing_or_swapped_file_is_reported(evidence: Path) -> None:
    files = [path for path in files_below(evidence / "evidence") if path.parent.name != "evidence"]
    assert len(files) >= 10
    for path in files:
        whole = path.read_bytes()
        try:
            path.unlink()
            assert not check(evidence).ok, path
            for other in files:
                if other != path and other.read_bytes() != whole:
                    path.write_bytes(other.read_bytes())
                    assert not check(evidence).ok, (path, other)
        finally:
            path.write_bytes(whole)
    assert check(evidence).ok


def damaged(evidence: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(evidence, copy)
    return copy


def why(root: Path) -> str:
    return "; ".join(f"{claim.session} {claim.detail}" for claim in check(root).failures)


@pytest.mark.parametrize("session", ["s1", "s2", "s3"])
def test_a_whole_session_that_is_missing_is_named(evidence: Path, tmp_path: Path, session: str) -> None:
    copy = damaged(evidence, tmp_path)
    shutil.rmtree(copy / "evidence" / "sessions" / session)
    assert f"{session} the log says that it ended; its folder is missing" in why(copy)


def test_a_session_that_was_never_logged_is_named(evidence: Path, tmp_path: Path) -> None:
    copy = damaged(evidence, tmp_path)
    shutil.copytree(copy / "evidence" / "sessions" / "s2", copy / "evidence" / "sessions" / "s9")
    assert "s9 the log never saw it open" in why(copy)


def test_a_seal_that_the_gateways_key_signed_anew_is_not_the_one_in_the_log(evidence: Path, tmp_path: Path) -> None:
    """Who steals the key can sign another seal, but not put it in the log behind the auditor's checkpoint."""
    copy = damaged(evidence, tmp_path)
    folder = copy / "evidence" / "sessions" / "s2"
    text = (folder / "seal.json").read_text().replace('"owner": ""', '"owner": "eve"')
    (folder / "seal.json").write_text(text)
    (folder / "seal.sig").write_text(keys_of(evidence).signer.signature_line(text))
    assert "s2 the log names another seal" in why(copy)


def test_a_log_and_checkpoint_rolled_back_together_are_shown_by_the_seals(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as recording:
            play(recording, session_of("s1"))
            await recording.close("s1", "done")
            shutil.copytree(tmp_path / "evidence" / "log", tmp_path / "old-log")
            recording.publish("viewed", {"session": "s1"})
            await recording.commit()
            play(recording, session_of("s2"))
            await recording.commit()
            await recording.close("s2", "done")

    run(main())
    shutil.rmtree(tmp_path / "evidence" / "log")
    shutil.move(tmp_path / "old-log", tmp_path / "evidence" / "log")
    assert "s2 the log never saw it open" in why(tmp_path)
    shutil.rmtree(tmp_path / "evidence" / "sessions" / "s1")
    assert "its folder is missing" in why(tmp_path)


def test_a_rewritten_history_is_shown_by_the_seals(tmp_path: Path) -> None:
    """Who has the signing key writes a log without the leaf that tells who viewed; an old seal gives it away."""
    import json

    from interlock.evidence.log import Log

    async def main() -> None:
        async with recorder(tmp_path) as recording:
            recording.publish("viewed", {"session": "s0"})
            await recording.commit()
            play(recording, session_of("s1"))
            await recording.commit()
            await recording.close("s1", "done")

    run(main())
    log = tmp_path / "evidence" / "log"
    leaves = [json.loads(line) for line in (log / "leaves.jsonl").read_text().splitlines()]
    shutil.rmtree(log)
    forged = Log(log, keys_of(tmp_path))
    forged.load(lambda leaf: None)
    for leaf in leaves:
        if leaf["kind"] != "viewed":
            forged.append(leaf.pop("kind"), leaf.pop("at"), leaf)
    forged.write()
    forged.sign(forged.head())
    forged.close()
    assert "leaves are not what they were" in why(tmp_path)


def test_a_live_folder_verifies_and_says_what_is_open(tmp_path: Path) -> None:
    async def main() -> None:
        recording = await Evidence.start(tmp_path / "evidence", keys_of(tmp_path))
        play(recording, session_of("s1"))
        await recording.commit()
        report = check(tmp_path)
        assert report.ok
        assert [claim.session for claim in report.claims if claim.status == "not verifiable"] == ["s1"]
        await recording.stop()

    run(main())


def test_nothing_to_check_is_an_error(tmp_path: Path, evidence: Path) -> None:
    with pytest.raises(VerificationError, match="no evidence"):
        verify(tmp_path, vkey(evidence))
    with pytest.raises(VerificationError, match="verifier key"):
        verify(evidence / "evidence", "nonsense")
