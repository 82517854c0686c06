from __future__ import annotations

from pathlib import Path

from interlock.evidence.event import Tally
from interlock.evidence.index import Index, SessionSummary, summarize
from interlock.evidence.log import Roster
from tests.evidence.support import play, recorder, run, session_of


def opened(*names: str) -> Roster:
    roster = Roster(10)
    for name in names:
        roster.add({"kind": "open", "session": name})
    return roster


def test_live_leaving_sealed_and_damaged(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("sealed"))

    run(main())
    folder = tmp_path / "evidence" / "sessions"
    (folder / "damaged").mkdir()
    (folder / "damaged" / "seal.json").write_text("{")
    tally = Tally()
    tally.add("open", {"principal": "ann"}, 5_000_000_000)
    index = Index(folder, opened("sealed", "damaged", "gone", "leaving", "live"))
    index.hold(summarize("leaving", "live", tally))

    def live(name: str) -> SessionSummary | None:
        return summarize(name, "live", tally) if name == "live" else None

    lines = index.newest(10, live)
    assert [(line.id, line.state) for line in lines] == [
        ("live", "live"),
        ("leaving", "live"),
        ("gone", "damaged"),
        ("damaged", "damaged"),
        ("sealed", "sealed"),
    ]
    assert (lines[0].principal, lines[0].opened_at) == ("ann", 5.0)
    assert index.newest(2, live) == lines[:2]
    index.release("leaving")
    assert index.newest(10, live)[1].state == "damaged"


def test_a_seal_is_read_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))

    run(main())
    index = Index(tmp_path / "evidence" / "sessions", opened("s1"))
    first = index.newest(1, lambda _: None)
    (tmp_path / "evidence" / "sessions" / "s1" / "seal.json").unlink()
    assert index.newest(1, lambda _: None) == first


def test_a_session_older_than_the_roster_is_found_by_its_id(tmp_path: Path) -> None:
    async def main() -> None:
        async with recorder(tmp_path) as evidence:
            play(evidence, session_of("s1"))

    run(main())
    index = Index(tmp_path / "evidence" / "sessions", opened("other"))
    found = index.one("s1", lambda _: None)
    assert found is not None
    assert (found.id, found.state) == ("s1", "sealed")
    assert index.one("s2", lambda _: None) is None
