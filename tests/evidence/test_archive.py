from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import VerificationError
from interlock.evidence import archive as archive_module
from interlock.evidence.archive import Archive
from interlock.evidence.event import FIRST_PREVIOUS, SCHEMA, Entry, Event, encode, entry_hash
from interlock.evidence.note import Checkpoint
from interlock.evidence.spool import Spool, spool_key
from tests.evidence.support import keys_of

SECRET = bytes(range(32))
LOG = Checkpoint("log", 0, bytes(32))


def spool_of(path: Path, first: int, count: int, previous: bytes) -> tuple[Spool, bytes]:
    """`count` pairs of an entry and an event."""
    spool = Spool.create(path)
    for seq in range(first, first + 2 * count, 2):
        entry = encode(Entry(SCHEMA, seq, seq, "open" if seq == 0 else "note", {}, previous))
        previous = entry_hash(entry)
        spool.add("s1", [entry], [encode(Event(SCHEMA, seq + 1, seq, "up", 1, b"x" * 50))], spool_key(SECRET, spool.id))
    spool.write()
    return spool, previous


@pytest.fixture
def spools(tmp_path: Path) -> list[Spool]:
    (tmp_path / "spool").mkdir()
    first, previous = spool_of(tmp_path / "spool" / "1", 0, 10, FIRST_PREVIOUS)
    second, _ = spool_of(tmp_path / "spool" / "2", 20, 5, previous)
    return [first, second]


def seal_of(archive: Archive, root: Path) -> tuple[int, str, int, str | None]:
    seal, _ = archive.seal("sealed", [], LOG, keys_of(root).signer)
    assert seal.gaps == []
    return seal.journal.entries, seal.journal.head, seal.recording.events, seal.recording.content_root


def test_taking_twice_and_resuming_anywhere_gives_the_same_seal(
    tmp_path: Path, spools: list[Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "SEGMENT_BYTES", 200)
    straight = Archive(tmp_path / "a", "s1", SECRET)
    for spool in spools:
        straight.take(spool)
    expected = seal_of(straight, tmp_path)
    assert expected[:3] == (15, straight.head.hex(), 15)

    stopped = Archive(tmp_path / "b", "s1", SECRET)
    stopped.take(spools[0])
    stopped.spill()
    resumed = Archive.resume(tmp_path / "b", "s1", SECRET)
    for spool in [*spools, *spools]:
        resumed.take(spool)
    assert seal_of(resumed, tmp_path) == expected


@pytest.mark.parametrize("lost", ["journal", "segment"])
def test_resuming_where_only_half_was_written(tmp_path: Path, spools: list[Spool], lost: str) -> None:
    """Journal and segments are written one after the other; a crash comes in between."""
    whole = Archive(tmp_path / "a", "s1", SECRET)
    whole.take(spools[0])
    whole.spill()
    if lost == "journal":
        (tmp_path / "a" / "journal.msgpack").unlink()
    else:
        (tmp_path / "a" / "000000.seg").rename(tmp_path / "a" / "000000.seg.part")
    resumed = Archive.resume(tmp_path / "a", "s1", SECRET)
    for spool in spools:
        resumed.take(spool)
    entries, _, events, _ = seal_of(resumed, tmp_path)
    assert (entries, events) == (15, 15)
    assert not list((tmp_path / "a").glob("*.part"))


def test_what_is_missing_is_said_in_the_seal(tmp_path: Path, spools: list[Spool]) -> None:
    archive = Archive(tmp_path / "a", "s1", SECRET)
    archive.take(spools[1])
    seal, _ = archive.seal("recovered", [], LOG, keys_of(tmp_path).signer)
    assert seal.gaps == ["20 of 30 entries and events are missing"]


def test_without_its_key_only_the_journal_is_kept(tmp_path: Path, spools: list[Spool]) -> None:
    archive = Archive(tmp_path / "a", "s1", None)
    archive.take(spools[0])
    seal, _ = archive.seal("recovered", [], LOG, keys_of(tmp_path).signer)
    assert (seal.journal.entries, seal.recording.events, seal.recording.content_root) == (10, 0, None)
    assert any("shredded" in gap for gap in seal.gaps)


def test_a_changed_folder_is_not_built_on(tmp_path: Path, spools: list[Spool]) -> None:
    archive = Archive(tmp_path / "a", "s1", SECRET)
    archive.take(spools[0])
    archive.spill()
    path = tmp_path / "a" / "journal.msgpack"
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError):
        Archive.resume(tmp_path / "a", "s1", SECRET)


def test_a_journal_with_a_torn_end_is_cut_and_written_on(tmp_path: Path, spools: list[Spool]) -> None:
    archive = Archive(tmp_path / "a", "s1", SECRET)
    archive.take(spools[0])
    archive.spill()
    path = tmp_path / "a" / "journal.msgpack"
    path.write_bytes(path.read_bytes()[:-7])
    resumed = Archive.resume(tmp_path / "a", "s1", SECRET)
    for spool in spools:
        resumed.take(spool)
    assert seal_of(resumed, tmp_path)[0] == 15
    assert seal_of(Archive.resume(tmp_path / "a", "s1", SECRET), tmp_path)[0] == 15
