from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import EvidenceError, VerificationError
from interlock.evidence.spool import Batch, Spool, spool_key

SECRETS = {"s1": bytes(32), "s2": bytes(range(32))}


def write(path: Path) -> Spool:
    spool = Spool.create(path)
    for number in range(3):
        for session, secret in SECRETS.items():
            spool.add(session, [b"entry %d" % number], [b"event-canary %d" % number], spool_key(secret, spool.id))
    spool.add("s1", [b"only an entry"], [], spool_key(SECRETS["s1"], spool.id))
    assert spool.write()
    assert not spool.write()
    spool.sync()
    return spool


def test_batches_come_back_by_session(tmp_path: Path) -> None:
    spool = write(tmp_path / "a.spool")
    assert spool.path.stat().st_size == spool.size
    for reader in (spool, spool.reopen(), Spool.scan(spool.path)):
        batches = list(reader.batches("s1", SECRETS["s1"]))
        assert batches == [Batch([b"entry %d" % n], [b"event-canary %d" % n]) for n in range(3)] + [Batch([b"only an entry"], [])]
        assert len(list(reader.batches("s2", SECRETS["s2"]))) == 3
        assert not reader.torn


def test_recorded_events_are_not_in_the_file(tmp_path: Path) -> None:
    data = write(tmp_path / "a.spool").path.read_bytes()
    assert b"canary" not in data
    assert b"entry 1" in data


def test_without_the_secret_only_the_journal_is_read(tmp_path: Path) -> None:
    spool = write(tmp_path / "a.spool")
    assert next(spool.batches("s1", None)) == Batch([b"entry 0"], None)
    with pytest.raises(VerificationError, match="does not open"):
        next(spool.batches("s1", b"x" * 32))


@pytest.mark.parametrize("cut", range(1, 200, 7))
def test_a_torn_end_loses_only_the_torn_batch(tmp_path: Path, cut: int) -> None:
    spool = write(tmp_path / "a.spool")
    whole = spool.path.read_bytes()
    offsets = sorted(offset for index in spool.index.values() for offset in index)
    spool.path.write_bytes(whole[:-cut])
    survivors = [offset for offset, end in zip(offsets, [*offsets[1:], len(whole)], strict=True) if end <= len(whole) - cut]
    found = Spool.scan(spool.path)
    assert sorted(offset for index in found.index.values() for offset in index) == survivors
    assert bool(found.torn) == (len(whole) - cut not in offsets)
    assert not found.damaged


def test_damage_in_the_middle_is_told_apart_from_a_torn_end(tmp_path: Path) -> None:
    spool = write(tmp_path / "a.spool")
    data = bytearray(spool.path.read_bytes())
    data[spool.index["s1"][1] + 20] ^= 1
    spool.path.write_bytes(data)
    found = Spool.scan(spool.path)
    assert found.damaged
    assert f"at byte {spool.index['s1'][1]}" in found.torn
    assert len(found.index["s1"]) == 1


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    from interlock.evidence.disk import frame

    (tmp_path / "a.spool").write_bytes(frame(b"\x92\xa1x\xc4\x00"))
    with pytest.raises(EvidenceError, match="not a spool"):
        Spool.scan(tmp_path / "a.spool")


def test_a_removed_file_can_still_be_read_by_who_opened_it(tmp_path: Path) -> None:
    spool = write(tmp_path / "a.spool")
    twin = spool.reopen()
    spool.remove()
    spool.sync()  # nothing to do any more, and no error
    assert len(list(twin.batches("s2", SECRETS["s2"]))) == 3
    assert not spool.path.exists()
