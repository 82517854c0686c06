from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.errors import EvidenceError
from interlock.evidence import Evidence
from interlock.evidence import archive as archive_module
from interlock.evidence import segment as segment_module
from tests.evidence.support import check, keys_of, play, recorder, run, session_of
from tests.evidence.test_recorder import environment

BUSY = """
import asyncio, sys
from pathlib import Path
from interlock.evidence import Evidence, writer
from tests.evidence.support import keys_of, session_of

writer.SPOOL_BYTES = int(sys.argv[2])

async def main() -> None:
    root = Path(sys.argv[1])
    evidence = await Evidence.start(root / "evidence", keys_of(root))
    for name in ("s1", "s2"):
        evidence.open(session_of(name), {"policy": "p1"})
    evidence.note("s2", "held", {"exchange": 1})
    for number in range(1, 100_000):
        evidence.record("s1", "up", number, b"select-canary")
        evidence.note("s1", "intent", {"exchange": number, "verdict": "allow"})
        await evidence.commit()
        print(number, flush=True)
        evidence.record("s1", "down", number, b"row-canary" * 20)
        if number % 3:
            evidence.note("s1", "outcome", {"exchange": number, "outcome": "done"})

asyncio.run(main())
"""


def kill_in_the_middle(root: Path, after: int, spool_bytes: int) -> int:
    """Run a busy gateway and kill -9 it; the newest intent that it knew to be committed."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, str(root), str(spool_bytes)], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert process.stdout
    last = 0
    for line in process.stdout:
        last = int(line)
        if last >= after:
            process.kill()
            break
    rest = [int(line) for line in process.stdout.read().splitlines() if line.isdigit()]
    process.wait()
    return max([last, *rest])


@pytest.mark.parametrize("spool_bytes", [1 << 26, 5_000])
def test_after_kill_nothing_that_was_committed_is_lost(tmp_path: Path, spool_bytes: int) -> None:
    committed = kill_in_the_middle(tmp_path, 60, spool_bytes)

    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            moments = list(evidence.timeline("s1", {}))
            assert [moment.seq for moment in moments] == list(range(len(moments)))
            asked = [moment.exchange for moment in moments if moment.kind == "intent"]
            assert asked[:committed] == list(range(1, committed + 1))
            settled = {moment.exchange: moment.facts["outcome"] for moment in moments if moment.kind == "outcome"}
            assert settled.keys() == set(asked)
            assert {settled[number] for number in asked if number % 3 == 0} == {"unknown"}
            assert [line.state for line in evidence.sessions()] == ["recovered", "recovered"]
            [outcome] = [moment for moment in evidence.timeline("s2", {}) if moment.kind == "outcome"]
            assert outcome.facts["outcome"] == "cancelled"

    run(main())
    report = check(tmp_path, secrets=True)
    assert report.ok, report.failures
    assert [claim.session for claim in report.claims if "recovered after the gateway died" in claim.detail] == ["s1", "s2"]
    assert list((tmp_path / "evidence" / "spool").iterdir()) == []


def crashed(root: Path) -> None:
    """A gateway that dies with one open session, in this process: its spool and log as after kill -9."""

    async def main() -> None:
        evidence = await Evidence.start(root / "live", keys_of(root))
        play(evidence, session_of("s1"))
        await evidence.commit()
        shutil.copytree(root / "live", root / "evidence")
        await evidence.stop()

    run(main())


def restart(root: Path) -> None:
    async def main() -> None:
        async with recorder(root):
            pass

    run(main())


def test_recovery_can_die_at_every_step_and_be_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashed(tmp_path)
    for module, step in ((archive_module, "sync_folder"), (segment_module, "replace"), (archive_module, "write_seal")):

        def die(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(module, step, die)
            with pytest.raises(EvidenceError, match="No space"):
                restart(tmp_path)
    restart(tmp_path)
    report = check(tmp_path, secrets=True)
    assert report.ok, report.failures
    before = (tmp_path / "evidence" / "sessions" / "s1" / "seal.json").read_bytes()
    restart(tmp_path)
    assert (tmp_path / "evidence" / "sessions" / "s1" / "seal.json").read_bytes() == before


def test_a_session_that_was_sealed_but_not_logged_is_logged(tmp_path: Path) -> None:
    crashed(tmp_path)
    log = tmp_path / "evidence" / "log"
    shutil.copytree(log, tmp_path / "log-before")
    spool = tmp_path / "spool-before"
    shutil.copytree(tmp_path / "evidence" / "spool", spool)
    restart(tmp_path)
    shutil.rmtree(log)
    shutil.move(tmp_path / "log-before", log)
    shutil.copytree(spool, tmp_path / "evidence" / "spool", dirs_exist_ok=True)
    assert not check(tmp_path).ok
    restart(tmp_path)
    report = check(tmp_path, secrets=True)
    assert report.ok, report.failures


def test_a_torn_end_is_cut_and_the_seal_says_so(tmp_path: Path) -> None:
    crashed(tmp_path)
    [spool] = (tmp_path / "evidence" / "spool").iterdir()
    spool.write_bytes(spool.read_bytes()[:-3])
    restart(tmp_path)
    report = check(tmp_path, secrets=True)
    assert report.ok, report.failures
    assert any("the spool was cut: " in claim.detail for claim in report.claims)


def test_a_damaged_spool_is_kept_for_people(tmp_path: Path) -> None:
    crashed(tmp_path)
    [spool] = (tmp_path / "evidence" / "spool").iterdir()
    data = bytearray(spool.read_bytes())
    data[-3] ^= 1
    spool.write_bytes(data)
    restart(tmp_path)
    [kept] = (tmp_path / "evidence" / "spool").iterdir()
    assert kept.suffix == ".damaged"
    assert kept.read_bytes() == data
    report = check(tmp_path)
    assert report.ok
    assert any("was kept for people" in claim.detail for claim in report.claims)


def test_a_session_of_which_nothing_is_left_is_sealed_as_that(tmp_path: Path) -> None:
    """A power cut may keep the log's leaf and lose the spool."""
    crashed(tmp_path)
    [spool] = (tmp_path / "evidence" / "spool").iterdir()
    spool.unlink()
    restart(tmp_path)
    report = check(tmp_path, secrets=True)
    assert report.ok, report.failures
    assert any("nothing of the session was found" in claim.detail for claim in report.claims)


def test_a_session_whose_leaf_was_lost_is_logged_late(tmp_path: Path) -> None:
    """A power cut may keep the spool and lose the log's leaf, if no checkpoint covered it yet."""

    async def main() -> None:
        evidence = await Evidence.start(tmp_path / "live", keys_of(tmp_path))
        shutil.copytree(tmp_path / "live" / "log", tmp_path / "evidence" / "log")
        play(evidence, session_of("s1"))
        await evidence.commit()
        shutil.copytree(tmp_path / "live" / "spool", tmp_path / "evidence" / "spool")
        await evidence.stop()

    run(main())
    restart(tmp_path)
    report = check(tmp_path, secrets=True)
    assert report.ok, report.failures


def test_a_shredded_session_keeps_its_journal(tmp_path: Path) -> None:
    crashed(tmp_path)
    assert keys_of(tmp_path).shred("s1")
    restart(tmp_path)
    report = check(tmp_path, secrets=True)
    assert report.ok, report.failures
    assert any("shredded" in claim.detail for claim in report.claims)


def test_a_journal_that_was_changed_between_crash_and_start_stops_the_start(tmp_path: Path) -> None:
    crashed(tmp_path)
    folder = tmp_path / "evidence" / "sessions" / "s1"
    folder.mkdir(parents=True)
    (folder / "journal.msgpack").write_bytes(os.urandom(100))
    with pytest.raises(EvidenceError, match="cannot be read"):
        restart(tmp_path)
