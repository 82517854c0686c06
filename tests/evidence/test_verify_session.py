from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from interlock.evidence import archive as archive_module
from interlock.evidence import verify
from interlock.evidence.disk import frame, frames
from interlock.evidence.event import decode_entry, encode
from tests.evidence.support import keys_of, play, recorder, run, session_of, vkey


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sealed sessions; the first has several segments."""
    monkeypatch.setattr(archive_module, "SEGMENT_BYTES", 300)

    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"), exchanges=12)
            play(evidence, session_of("s2"))

    run(main())
    assert len(list((tmp_path / "evidence" / "sessions" / "s1").glob("*.seg"))) >= 3
    return tmp_path


def why(root: Path, *, secrets: bool = False) -> str:
    """All that fails in the folder of s1 alone, without any log."""
    folder = root / "evidence" / "sessions" / "s1"
    report = verify(folder, vkey(root), secrets=keys_of(root).secret if secrets else None)
    return "; ".join(f"{claim.name}: {claim.detail}" for claim in report.failures)


def entries(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [body for _, body in frames(file.fileno())]


def test_one_folder_verifies_without_the_log(root: Path) -> None:
    assert why(root, secrets=True) == ""
    report = verify(root / "evidence" / "sessions" / "s1", vkey(root))
    assert {claim.detail for claim in report.claims if claim.status == "not verifiable"} == {
        "the log is not at hand",
        "neither the log nor a proof is at hand",
        "it needs the session's secret key",
    }


def test_a_changed_entry_is_named(root: Path) -> None:
    path = root / "evidence" / "sessions" / "s1" / "journal.msgpack"
    all_entries = entries(path)
    fourth = decode_entry(all_entries[4])
    fourth.facts["outcome"] = "failed"
    all_entries[4] = encode(fourth)
    path.write_bytes(b"".join(map(frame, all_entries)))
    offset = sum(len(frame(entry)) for entry in all_entries[:5])
    assert f"entry 5 at byte {offset} of journal.msgpack does not follow" in why(root)


@pytest.mark.parametrize("attack", ["drop", "swap", "cut", "add", "drop all", "remove"])
def test_a_journal_that_was_tampered_with_whole_entries(root: Path, attack: str) -> None:
    path = root / "evidence" / "sessions" / "s1" / "journal.msgpack"
    found = entries(path)
    match attack:
        case "drop":
            del found[3]
        case "swap":
            found[3], found[4] = found[4], found[3]
        case "cut":
            del found[-1]
        case "add":
            found.append(found[-1])
        case "drop all":
            found.clear()
        case _:
            path.unlink()
    if attack != "remove":
        path.write_bytes(b"".join(map(frame, found)))
    assert "the journal is whole and unchanged" in why(root)


def test_a_changed_segment_is_named(root: Path) -> None:
    path = root / "evidence" / "sessions" / "s1" / "000001.seg"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "segment 1 (000001.seg): a record is damaged at byte" in why(root)
    with path.open("rb") as file:
        bodies = [bytearray(body) for _, body in frames_lenient(file.read())]
    bodies[-1][-1] ^= 2
    path.write_bytes(b"".join(frame(bytes(body)) for body in bodies))
    assert "segment 2 (000002.seg) does not follow segment 1" in why(root)
    assert "000001.seg), after event" in why(root, secrets=True)


def frames_lenient(data: bytes) -> list[tuple[int, bytes]]:
    found, offset = [], 0
    while offset < len(data):
        length = int.from_bytes(data[offset : offset + 4], "big")
        found.append((offset, data[offset + 8 : offset + 8 + length]))
        offset += 8 + length
    return found


def test_segments_that_were_swapped_dropped_or_taken_from_another_session(root: Path) -> None:
    sessions = root / "evidence" / "sessions"
    zero, one = sessions / "s1" / "000000.seg", sessions / "s1" / "000001.seg"
    first, second = zero.read_bytes(), one.read_bytes()
    zero.write_bytes(second)
    one.write_bytes(first)
    assert "does not follow" in why(root)
    zero.write_bytes((sessions / "s2" / "000000.seg").read_bytes())
    one.write_bytes(second)
    assert "is not that segment of this session" in why(root)
    zero.unlink()
    assert "segment 0 is missing" in why(root)


def test_what_does_not_belong_there(root: Path) -> None:
    (root / "evidence" / "sessions" / "s1" / "000099.seg").write_text("")
    assert "000099.seg does not belong here" in why(root)


def test_a_folder_under_another_name(root: Path) -> None:
    sessions = root / "evidence" / "sessions"
    shutil.rmtree(sessions / "s1")
    (sessions / "s2").rename(sessions / "s1")
    assert "it belongs to session s2" in why(root)


def test_no_seal(root: Path) -> None:
    (root / "evidence" / "sessions" / "s1" / "seal.json").unlink()
    assert "there is no seal" in why(root)


def test_another_gateways_key(root: Path) -> None:
    other = str(keys_of(root / "other").signer.verifier)
    assert not verify(root / "evidence" / "sessions" / "s1", other).ok
