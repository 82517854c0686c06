from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.evidence import Report, verify
from interlock.evidence import archive as archive_module
from interlock.evidence.disk import frame, frames
from interlock.evidence.event import FIRST_PREVIOUS, Entry, decode_entry, encode, entry_hash
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
    report = alone(root, secrets=secrets)
    return "; ".join(f"{claim.name}: {claim.detail}" for claim in report.failures)


def alone(root: Path, *, secrets: bool = False) -> Report:
    """What is said of a copy of s1 that lies nowhere near a log."""
    with tempfile.TemporaryDirectory() as elsewhere:
        folder = Path(elsewhere) / "s1"
        shutil.copytree(root / "evidence" / "sessions" / "s1", folder)
        return verify(folder, vkey(root), secrets=keys_of(root).secret if secrets else None)


def entries(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [body for _, body in frames(file.fileno())]


def test_one_folder_verifies_without_the_log(root: Path) -> None:
    assert why(root, secrets=True) == ""
    report = alone(root)
    assert {claim.detail for claim in report.claims if claim.status == "not verifiable"} == {
        "the log is not at hand",
        "neither the log nor a proof is at hand",
        "it needs the session's secret key",
    }


def test_one_folder_is_held_against_the_log_beside_it(root: Path) -> None:
    report = verify(root / "evidence" / "sessions" / "s1", vkey(root))
    assert report.ok
    assert {claim.detail for claim in report.claims if claim.status == "not verifiable"} == {"it needs the session's secret key"}
    reseal(root, lambda seal: seal.update(principal="eve"))
    assert "the log names another seal" in {claim.detail for claim in verify(root / "evidence" / "sessions" / "s1", vkey(root)).failures}


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


def rechain(found: list[bytes], change: Callable[[int, dict[str, object]], None]) -> list[bytes]:
    """The journal of somebody who knows the format: changed, and every hash and checksum made to fit again."""
    previous, made = FIRST_PREVIOUS, []
    for number, data in enumerate(found):
        entry = decode_entry(data)
        change(number, entry.facts)
        made.append(encode(Entry(entry.schema, entry.seq, entry.at, entry.kind, entry.facts, previous)))
        previous = entry_hash(made[-1])
    return made


def reseal(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The seal of somebody who has stolen the signing key."""
    folder = root / "evidence" / "sessions" / "s1"
    seal = json.loads((folder / "seal.json").read_text())
    change(seal)
    text = json.dumps(seal) + "\n"
    (folder / "seal.json").write_text(text)
    (folder / "seal.sig").write_text(keys_of(root).signer.signature_line(text))


@pytest.mark.parametrize("number", [0, 7, -1])
def test_a_journal_that_was_rewritten_whole_is_not_the_sealed_one(root: Path, number: int) -> None:
    path = root / "evidence" / "sessions" / "s1" / "journal.msgpack"
    found = entries(path)

    def change(at: int, facts: dict[str, object]) -> None:
        if at == number % len(found):
            facts["added"] = "later"

    path.write_bytes(b"".join(map(frame, rechain(found, change))))
    assert "is not the one that was sealed" in why(root)


def test_a_session_that_was_rewritten_and_signed_is_not_what_the_log_saw_open(root: Path) -> None:
    path = root / "evidence" / "sessions" / "s1" / "journal.msgpack"
    forged = rechain(entries(path), lambda at, facts: facts.update(principal="eve") if at == 0 else None)
    path.write_bytes(b"".join(map(frame, forged)))

    def change(seal: dict[str, Any]) -> None:
        seal["journal"]["head"] = entry_hash(forged[-1]).hex()
        seal["principal"] = "eve"

    reseal(root, change)
    assert why(root) == "", "with the stolen key, the folder alone fits"
    failures = [claim.detail for claim in verify(root / "evidence", vkey(root)).failures]
    assert failures == ["the log names another seal", "an entry that the log names (the opening, or an approval) is not in it"]


def test_a_last_segment_that_was_rewritten_is_not_the_sealed_one(root: Path) -> None:
    path = sorted((root / "evidence" / "sessions" / "s1").glob("*.seg"))[-1]
    bodies = [bytearray(body) for _, body in frames_lenient(path.read_bytes())]
    bodies[-1][-1] ^= 2
    path.write_bytes(b"".join(frame(bytes(body)) for body in bodies))
    assert f"segment {int(path.stem)} was changed" in why(root)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda seal: seal["recording"].update(content_root="00" * 32), "the events are not those that were sealed"),
        (lambda seal: seal["recording"].update(events=1), "the seal counts 1 events"),
        (lambda seal: seal["journal"].update(entries=1), "the seal counts 1 entries"),
        (lambda seal: seal["counts"].update(refused=0), "another counts than the journal"),
        (lambda seal: seal.update(durability="strict"), "another durability than the journal"),
        (lambda seal: seal.update(policies=[]), "another policies than the journal"),
        (lambda seal: seal.update(schema=2), "it has version 2"),
        (lambda seal: seal.update(more=1), "cannot be read"),
    ],
)
def test_even_a_signed_seal_must_fit_what_it_seals(root: Path, change: Callable[[dict[str, Any]], None], says: str) -> None:
    reseal(root, change)
    assert says in why(root, secrets=True)


def test_missing_numbers_must_be_admitted(root: Path) -> None:
    """A gateway that left out an event, with everything else made to fit."""
    path = root / "evidence" / "sessions" / "s1" / "journal.msgpack"
    found, previous = [], FIRST_PREVIOUS
    for data in entries(path):
        entry = decode_entry(data)
        seq = entry.seq + (2 if entry.kind == "close" else 0)
        found.append(encode(Entry(entry.schema, seq, entry.at, entry.kind, entry.facts, previous)))
        previous = entry_hash(found[-1])
    path.write_bytes(b"".join(map(frame, found)))
    reseal(root, lambda seal: seal["journal"].update(head=previous.hex()))
    assert "2 numbers between entries and events are missing" in why(root)
    reseal(root, lambda seal: seal.update(gaps=["2 of 64 entries and events are missing"]))
    assert why(root) == ""
