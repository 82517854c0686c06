from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import EvidenceError, VerificationError
from interlock.evidence import Direction
from interlock.evidence import writer as writer_module
from tests.evidence.support import play, recorder, run, session_of


def render(direction: Direction, data: bytes) -> list[str]:
    return [f"{direction}: {data.decode().split()[0]}"]


def test_moments_are_rendered_by_protocol_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"), exchanges=1)
            moments = list(evidence.timeline("s1", {"postgres": render}))
            assert [(m.kind, m.exchange, m.direction, m.lines) for m in moments] == [
                ("open", 0, None, ()),
                ("recorded", 1, "up", ("up: select",)),
                ("intent", 1, None, ()),
                ("recorded", 1, "down", ("down: row",)),
                ("outcome", 1, None, ()),
                ("recorded", 2, "up", ("up: drop",)),
                ("intent", 2, None, ()),
            ]
            assert [m.lines for m in evidence.timeline("s1", {"mcp": render})] == [()] * 7
            assert "select 1" not in repr(moments)

    run(main())


def test_reading_while_the_spool_moves_to_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is archived between two steps of the reader is neither lost nor shown twice."""
    monkeypatch.setattr(writer_module, "SPOOL_BYTES", 3_000)

    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"), exchanges=40)
            await evidence.commit()
            expected = [moment.seq for moment in evidence.timeline("s1", {})]
            reader = evidence.timeline("s1", {})
            seen = [next(reader).seq]
            for number in range(100, 160):
                evidence.record("s1", "down", number, b"x" * 200)
                await evidence.commit()
            await evidence.close("s1", "done")
            seen += [moment.seq for moment in reader]
            assert seen[: len(expected)] == expected
            assert seen == sorted(set(seen))

    run(main())


@pytest.mark.parametrize("name", ["journal.msgpack", "000000.seg"])
def test_a_damaged_session_is_shown_up_to_the_damage(tmp_path: Path, name: str) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))
            await evidence.close("s1", "done")
            path = tmp_path / "evidence" / "sessions" / "s1" / name
            path.write_bytes(path.read_bytes()[:-5])
            with pytest.raises(VerificationError):
                list(evidence.timeline("s1", {}))

    run(main())


def test_pages_join_to_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.evidence.archive.SEGMENT_BYTES", 300)
    rendered: list[bytes] = []

    def count(_: Direction, data: bytes) -> list[str]:
        rendered.append(data)
        return []

    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"), exchanges=20)
            await evidence.close("s1", "done")
            whole = list(evidence.timeline("s1", {}))
            for after in (-1, 0, 13, 50, whole[-2].seq, whole[-1].seq):
                assert list(evidence.timeline("s1", {}, after=after)) == [moment for moment in whole if moment.seq > after]
            assert len(list(evidence.timeline("s1", {"postgres": count}, after=whole[-6].seq))) == 5
            assert len(rendered) < 5, "what is skipped is not rendered"

    run(main())


def test_there_is_nothing_of_a_stranger(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            with pytest.raises(EvidenceError, match="no session"):
                evidence.timeline("stranger", {})

    run(main())
