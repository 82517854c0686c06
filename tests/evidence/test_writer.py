from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from interlock.errors import EvidenceError
from interlock.evidence import Evidence
from interlock.evidence import writer as writer_module
from tests.evidence.support import keys_of, play, recorder, run, session_of


def test_who_comes_while_the_disk_is_busy_shares_the_next_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    real = os.fdatasync

    def counted(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        real(fd)

    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            for number in range(50):
                evidence.open(session_of(f"s{number}"), {})
            await evidence.commit()
            monkeypatch.setattr(os, "fdatasync", counted)

            async def one(name: str) -> None:
                evidence.note(name, "intent", {"exchange": 1})
                await evidence.commit()

            await asyncio.gather(*(one(f"s{number}") for number in range(50)))
            assert 1 <= syncs <= 3
            before = syncs
            await evidence.commit()
            assert syncs == before, "nothing new, nothing to wait for"

    run(main())


def test_a_commit_that_is_cancelled_leaves_the_others_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))
            impatient = asyncio.ensure_future(evidence.commit())
            patient = asyncio.ensure_future(evidence.commit())
            await asyncio.sleep(0)
            impatient.cancel()
            await patient
            assert impatient.cancelled()
            assert evidence.failed == ""

    run(main())


def test_a_failed_sync_fails_every_waiter_and_everything_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))
            monkeypatch.setattr(os, "fdatasync", broken)
            results = await asyncio.gather(*(evidence.commit() for _ in range(3)), return_exceptions=True)
            assert all(isinstance(result, EvidenceError) for result in results)
            monkeypatch.undo()
            with pytest.raises(EvidenceError, match="Input/output error"):
                await evidence.commit()

    run(main())


def test_an_archivist_that_fails_stops_the_recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "SPOOL_BYTES", 1_000)

    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            (tmp_path / "evidence" / "sessions").rmdir()
            (tmp_path / "evidence" / "sessions").write_text("in the way")
            play(evidence, session_of("s1"), size=2_000)
            evidence.flush()
            with pytest.raises(EvidenceError, match="archived"):
                for number in range(10_000):
                    evidence.note("s1", "intent", {"exchange": number})
                    await evidence.commit()
                    await asyncio.sleep(0.001)

    run(main())


def test_a_backlog_that_does_not_shrink_holds_back_and_then_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "SPOOL_BYTES", 1_000)
    monkeypatch.setattr(writer_module, "BACKLOG_SECONDS", 0.01)

    async def main() -> None:
        import threading

        go = threading.Event()
        evidence = await Evidence.start(tmp_path / "evidence", keys_of(tmp_path))
        evidence._writer._archivist.submit(go.wait)
        evidence.open(session_of("s1"), {})
        with pytest.raises(EvidenceError):
            for _ in range(writer_module.MAX_BACKLOG + 1):
                evidence.record("s1", "down", 1, b"x" * 2_000)
                evidence.flush()
        assert len(evidence._writer.spools) == writer_module.MAX_BACKLOG + 2
        go.set()
        await evidence.stop()

    run(main())
