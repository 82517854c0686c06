from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.errors import EvidenceError
from interlock.evidence import Evidence
from interlock.evidence import writer as writer_module
from tests.evidence.support import Clock, check, files_below, keys_of, play, recorder, run, session_of


def test_what_happened_and_what_passed_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1", agent=True))
            await evidence.commit()
            live = list(evidence.timeline("s1", {}))
            head = evidence.head("s1")
            seal = await evidence.close("s1", "the client left")
            sealed = list(evidence.timeline("s1", {}))
        assert sealed[: len(live)] == live
        assert [moment.seq for moment in sealed] == list(range(len(sealed)))
        assert [moment.kind for moment in sealed[:5]] == ["open", "recorded", "intent", "recorded", "outcome"]
        assert sealed[-1].facts == {"reason": "the client left"}
        assert head != seal.journal.head
        assert (seal.principal, seal.owner, seal.resource, seal.durability) == ("bot", "ann", "shop", "strict-request")
        assert (seal.counts.operations, seal.counts.refused, seal.counts.masked) == (4, 1, 6)
        assert (seal.state, seal.policies, seal.gaps) == ("sealed", ["p1"], [])

    run(main())
    report = check(tmp_path, secrets=True)
    assert report.ok, report.lines()
    assert {claim.status for claim in report.claims} == {"verified"}


def test_the_public_key_alone_verifies_all_but_the_content(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))
            await evidence.close("s1", "done")

    run(main())
    report = check(tmp_path)
    assert report.ok
    assert [claim.name for claim in report.claims if claim.status == "not verifiable"] == ["the recording says what was committed to"]


def test_no_recorded_byte_is_ever_on_disk_in_clear(tmp_path: Path) -> None:
    canary = b"plaintext-canary-4111111111111111"

    def clear_files() -> list[str]:
        return [str(path) for path in files_below(tmp_path) if canary in path.read_bytes()]

    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))
            for _ in range(50):
                evidence.record("s1", "down", 1, canary)
            evidence.flush()
            assert clear_files() == []
            assert any(canary in moment.data for moment in evidence.timeline("s1", {}))
            await evidence.close("s1", "done")
            assert clear_files() == []

    run(main())
    assert clear_files() == []


def test_what_was_left_unsettled_gets_an_outcome(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            evidence.open(session_of("s1"), {})
            evidence.note("s1", "intent", {"exchange": 7, "verdict": "allow"})
            evidence.note("s1", "held", {"exchange": 8})
            await evidence.close("s1", "cut")
            outcomes = {moment.exchange: moment.facts["outcome"] for moment in evidence.timeline("s1", {}) if moment.kind == "outcome"}
            assert outcomes == {7: "unknown", 8: "cancelled"}

    run(main())


def test_stop_closes_every_session_and_leaves_no_spool(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            for number in range(5):
                play(evidence, session_of(f"s{number}"))

    run(main())
    assert check(tmp_path, secrets=True).ok
    assert list((tmp_path / "evidence" / "spool").iterdir()) == []
    assert len(list((tmp_path / "evidence" / "sessions").iterdir())) == 5


def test_misuse_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))
            for wrong in (
                lambda: evidence.open(session_of("s1"), {}),
                lambda: evidence.open(session_of("../s2"), {}),
                lambda: evidence.note("nobody", "intent", {}),
                lambda: evidence.note("s1", "intent", {"what": object()}),
                lambda: evidence.record("nobody", "up", 1, b""),
                lambda: evidence.head("nobody"),
                lambda: evidence.timeline("nobody", {}),
            ):
                with pytest.raises(EvidenceError):
                    wrong()
            await evidence.close("s1", "done")
            with pytest.raises(EvidenceError, match="no open session"):
                evidence.record("s1", "up", 1, b"late")
            with pytest.raises(EvidenceError):
                evidence.open(session_of("s1"), {})
            assert evidence.failed == ""

    run(main())
    assert check(tmp_path, secrets=True).ok


def test_a_second_gateway_cannot_write_to_the_same_folder(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path):
            with pytest.raises(EvidenceError, match="another gateway"):
                await Evidence.start(tmp_path / "evidence", keys_of(tmp_path))
        second = await Evidence.start(tmp_path / "evidence", keys_of(tmp_path))
        await second.stop()
        with pytest.raises(EvidenceError, match="stopped"):
            second.open(session_of("s1"), {})

    run(main())


def test_the_list_of_sessions(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            for number in range(3):
                play(evidence, session_of(f"s{number}"))
            await evidence.close("s1", "done")
            assert [(line.id, line.state) for line in evidence.sessions()] == [("s2", "live"), ("s1", "sealed"), ("s0", "live")]
            assert [line.id for line in evidence.sessions(1)] == ["s2"]
            live, sealed = evidence.sessions(2)
            assert [evidence.session(name) for name in ("s2", "s1")] == [live, sealed]
            with pytest.raises(EvidenceError, match="no session"):
                evidence.session("s9")
            assert (live.operations, live.refused, live.masked, live.closed_at) == (4, 1, 6, None)
            assert (sealed.operations, sealed.refused, sealed.masked, sealed.reason) == (4, 1, 6, "done")
        async with recorder(tmp_path) as again:
            assert [(line.id, line.reason) for line in again.sessions()] == [
                ("s2", "the gateway stopped"),
                ("s1", "done"),
                ("s0", "the gateway stopped"),
            ]

    run(main())


def test_a_shredded_recording_is_unreadable_and_still_verifies(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))
            with pytest.raises(EvidenceError, match="still open"):
                await evidence.shred("s1", "dpo", "erasure request 17")
            await evidence.close("s1", "done")
            await evidence.shred("s1", "dpo", "erasure request 17")
            assert {moment.kind for moment in evidence.timeline("s1", {})} == {"open", "intent", "outcome", "close"}
            with pytest.raises(EvidenceError, match="no key"):
                await evidence.shred("s1", "dpo", "again")

    run(main())
    report = check(tmp_path, secrets=True)
    assert report.ok
    assert [claim.detail for claim in report.claims if claim.status == "not verifiable"] == ["its key was shredded"]


def test_a_full_disk_ends_the_recorder_for_good(tmp_path: Path) -> None:
    """ENOSPC from the kernel: the spool's descriptor is made to point at /dev/full."""

    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))
            await evidence.commit()
            full = os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, evidence._writer.spools[-1].fd)
            os.close(full)
            evidence.note("s1", "intent", {"exchange": 9})
            with pytest.raises(EvidenceError, match="No space left"):
                await evidence.commit()
            calls: list[Callable[[], None]] = [
                lambda: evidence.note("s1", "intent", {}),
                lambda: evidence.record("s1", "up", 1, b"x"),
                lambda: evidence.open(session_of("s2"), {}),
                lambda: evidence.publish("policy-change", {}),
                evidence.flush,
            ]
            for call in calls:
                with pytest.raises(EvidenceError, match="No space left"):
                    call()
            with pytest.raises(EvidenceError, match="No space left"):
                await evidence.close("s1", "done")
            assert "No space left" in evidence.failed

    run(main())


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from interlock.errors import EvidenceError
from interlock.evidence import Evidence
from tests.evidence.support import keys_of, play, session_of

async def main() -> None:
    root = Path(sys.argv[1])
    evidence = await Evidence.start(root / "evidence", keys_of(root))
    play(evidence, session_of("s1"))
    await evidence.commit()
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    written = 0
    try:
        while True:
            evidence.note("s1", "intent", {"exchange": 100 + written, "verdict": "allow", "title": "x" * 500})
            await evidence.commit()
            written += 1
    except EvidenceError:
        print(written)
    await evidence.stop()

asyncio.run(main())
"""


def test_what_was_committed_before_the_disk_was_full_is_recovered(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, env=environment(), check=True)
    written = int(done.stdout)
    assert written > 50

    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            asked = [moment.exchange for moment in evidence.timeline("s1", {}) if moment.kind == "intent" and moment.exchange >= 100]
            assert asked[:written] == list(range(100, 100 + written))
            assert evidence.sessions()[0].state == "recovered"

    run(main())
    assert check(tmp_path, secrets=True).ok


BIG = """
import asyncio, os, resource, sys
from pathlib import Path
from interlock.evidence import Evidence
from tests.evidence.support import keys_of, play, session_of

async def main() -> None:
    root = Path(sys.argv[1])
    evidence = await Evidence.start(root / "evidence", keys_of(root))
    play(evidence, session_of("s1"))
    await evidence.commit()
    chunk = os.urandom(1 << 15)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(200 * 32):
        evidence.record("s1", "down", 1, chunk)
        if number % 32 == 0:
            await asyncio.sleep(0)
    seal = await evidence.close("s1", "done")
    assert seal.recording.events == 200 * 32 + 7, seal.recording.events
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    await evidence.stop()

asyncio.run(main())
"""


def test_a_long_recording_does_not_stay_in_memory(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BIG, str(tmp_path)], capture_output=True, text=True, env=environment(), check=True)
    grown_kb = int(done.stdout)
    assert grown_kb < 80_000, "200 MB were recorded"
    assert check(tmp_path, secrets=True).ok


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_many_sessions_share_commits_and_spools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotation while sessions come, go and are replayed: every one is whole in the end."""
    monkeypatch.setattr(writer_module, "SPOOL_BYTES", 4_000)

    async def one(evidence: Evidence, name: str) -> None:
        evidence.open(session_of(name), {})
        for number in range(1, 30):
            evidence.record(name, "up", number, b"select" * 10)
            evidence.note(name, "intent", {"exchange": number, "verdict": "allow"})
            await evidence.commit()
            evidence.record(name, "down", number, b"rows" * 10)
            evidence.note(name, "outcome", {"exchange": number, "outcome": "done"})
        moments = [moment.seq for moment in evidence.timeline(name, {})]
        assert moments == list(range(4 * 29 + 1))
        seal = await evidence.close(name, "done")
        assert (seal.journal.entries, seal.recording.events) == (60, 58)

    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            await asyncio.gather(*(one(evidence, f"s{number}") for number in range(20)))

    run(main())
    report = check(tmp_path, secrets=True)
    assert report.ok, report.failures


def test_old_data_moves_on_by_age(tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        evidence = await Evidence.start(tmp_path / "evidence", keys_of(tmp_path), clock=clock)
        play(evidence, session_of("s1"))
        await evidence.commit()
        assert not (tmp_path / "evidence" / "sessions" / "s1").exists()
        clock.now += writer_module.SPOOL_SECONDS
        evidence.note("s1", "intent", {"exchange": 50})
        await evidence.commit()
        assert len(list(evidence.timeline("s1", {}))) == 16
        await evidence.stop()
        assert len(list((tmp_path / "evidence" / "sessions" / "s1").glob("*.seg"))) == 1

    run(main())
    assert check(tmp_path, secrets=True).ok


def test_the_global_log_tells_what_matters(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))
            evidence.note("s1", "approval", {"exchange": 1, "by": ["eve"]})
            evidence.publish("policy-change", {"policy": "p2"})
            await evidence.close("s1", "done")

    run(main())
    import json

    leaves = [json.loads(line) for line in (tmp_path / "evidence" / "log" / "leaves.jsonl").read_text().splitlines()]
    assert [leaf["kind"] for leaf in leaves] == ["gateway-start", "open", "approval", "policy-change", "close", "gateway-stop"]
    assert "eve" not in json.dumps(leaves)
    assert "ann" not in json.dumps(leaves)


def test_no_session_begins_on_a_disk_that_is_almost_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))
            monkeypatch.setattr("interlock.evidence.recorder.MIN_FREE_BYTES", 1 << 62)
            with pytest.raises(EvidenceError, match="almost full"):
                evidence.open(session_of("s2"), {})
            await evidence.close("s1", "open ones can still be closed")
            assert evidence.failed == ""

    run(main())


def test_what_waits_in_memory_is_bounded(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            evidence.open(session_of("s1"), {})
            evidence.flush()
            spool = evidence._writer.spools[-1].path
            before = spool.stat().st_size
            for _ in range(40):
                evidence.record("s1", "down", 1, bytes(65_536))
            assert spool.stat().st_size > before + 2_000_000, "flushed by itself, at each megabyte"

    run(main())
