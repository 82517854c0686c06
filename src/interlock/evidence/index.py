"""The list of sessions, newest first: drawn from the log's order and the seals, rebuildable at any time, never evidence."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interlock.errors import VerificationError

from .event import Tally
from .log import Roster
from .seal import Seal, read_seal, tallied

ROSTER_LIMIT = 10_000
"""Sessions that can be listed; older ones are found by their id."""


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """One line of the list. Times are UTC seconds; `state` is `damaged` where the seal cannot be read."""

    id: str
    principal: str
    owner: str
    resource: str
    protocol: str
    opened_at: float
    closed_at: float | None
    reason: str
    state: Literal["live", "sealed", "recovered", "damaged"]
    operations: int
    refused: int
    held: int
    masked: int


def summarize(session_id: str, state: Literal["live"], tally: Tally) -> SessionSummary:
    """The line of a session that is still open."""
    facts = tallied(tally)
    return SessionSummary(
        id=session_id,
        principal=facts["principal"],
        owner=facts["owner"],
        resource=facts["resource"],
        protocol=facts["protocol"],
        opened_at=facts["opened_at"],
        closed_at=None,
        reason="",
        state=state,
        operations=tally.operations,
        refused=tally.refused,
        held=tally.held,
        masked=tally.masked,
    )


def _of_seal(seal: Seal) -> SessionSummary:
    return SessionSummary(
        id=seal.session,
        principal=seal.principal,
        owner=seal.owner,
        resource=seal.resource,
        protocol=seal.protocol,
        opened_at=seal.opened_at,
        closed_at=seal.closed_at,
        reason=seal.reason,
        state=seal.state,
        operations=seal.counts.operations,
        refused=seal.counts.refused,
        held=seal.counts.held,
        masked=seal.counts.masked,
    )


class Index:
    """Summaries of sealed sessions, read when first asked for and kept (as many as the roster has)."""

    def __init__(self, folder: Path, roster: Roster) -> None:
        self._folder = folder
        self._roster = roster
        self._known: OrderedDict[str, SessionSummary] = OrderedDict()
        self._leaving: dict[str, SessionSummary] = {}

    def hold(self, summary: SessionSummary) -> None:
        """A session is being sealed: show its last live line until `release`."""
        self._leaving[summary.id] = summary

    def release(self, session_id: str) -> None:
        self._leaving.pop(session_id, None)

    def newest(self, limit: int, live: Callable[[str], SessionSummary | None]) -> list[SessionSummary]:
        found: list[SessionSummary] = []
        for session_id in reversed(self._roster.newest):
            if len(found) >= limit:
                break
            found.append(self._line(session_id, live))
        return found

    def one(self, session_id: str, live: Callable[[str], SessionSummary | None]) -> SessionSummary | None:
        """None when nothing is known of such a session."""
        known = live(session_id) is not None or session_id in self._leaving or session_id in self._roster.newest
        return self._line(session_id, live) if known or (self._folder / session_id).is_dir() else None

    def _line(self, session_id: str, live: Callable[[str], SessionSummary | None]) -> SessionSummary:
        return live(session_id) or self._leaving.get(session_id) or self._sealed(session_id)

    def _sealed(self, session_id: str) -> SessionSummary:
        if (known := self._known.get(session_id)) is not None:
            return known
        try:
            seal = read_seal(self._folder / session_id)
        except VerificationError:
            seal = None
        if seal is None:
            return SessionSummary(session_id, "", "", "", "", 0.0, None, "", "damaged", 0, 0, 0, 0)
        self._known[session_id] = _of_seal(seal)
        if len(self._known) > ROSTER_LIMIT:
            self._known.popitem(last=False)
        return self._known[session_id]
