"""Replay: a session's journal and recording merged in order, sealed or still live."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path

from interlock.errors import EvidenceError, VerificationError

from .disk import Torn, frames
from .event import Direction, Entry, Event, decode_entry, decode_event
from .seal import JOURNAL
from .segment import follow, read_events
from .spool import Spool

Renderer = Callable[[Direction, bytes], list[str]]
"""Turns recorded bytes of one protocol into lines of text."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened, or one piece that passed. `at` is UTC seconds.

    Of the journal: `kind` is the entry's, `facts` what it says. Of the recording: `kind` is `recorded`, `direction` and
    `data` what passed, `lines` as rendered. `exchange` is 0 for what belongs to none.
    """

    seq: int
    at: float
    kind: str
    exchange: int
    facts: Mapping[str, object] = field(default_factory=dict)
    direction: Direction | None = None
    lines: tuple[str, ...] = ()
    data: bytes = field(default=b"", repr=False)


def replay(
    folder: Path, session: str, secret: bytes | None, spools: Sequence[Spool], renderers: Mapping[str, Renderer], after: int
) -> Iterator[Moment]:
    """The moments of a session in order, those numbered higher than `after`. The recording is left out when its key was shredded.

    Raises `EvidenceError` when there is nothing of the session, `VerificationError` where it cannot be read on.
    """
    if not folder.exists() and not any(session in spool.index for spool in spools):
        raise EvidenceError(f"there is no session {session}")
    return _merged(folder, session, secret, spools, renderers, after)


def _merged(
    folder: Path, session: str, secret: bytes | None, spools: Sequence[Spool], renderers: Mapping[str, Renderer], after: int
) -> Iterator[Moment]:
    renderer: Renderer | None = None
    views: list[Spool] = []
    try:
        for spool in list(spools):  # before the folder is read: what moves there meanwhile is read twice, not never
            if session in spool.index:
                with suppress(FileNotFoundError):
                    views.append(spool.reopen())
        streams: list[Iterator[Entry | Event]] = [_once(_entries(folder, session, views))]
        if secret is not None:
            streams.append(_once(_events(folder, session, secret, views, after)))
        for item in merge(*streams, key=lambda item: item.seq):
            if isinstance(item, Entry):
                if item.kind == "open":
                    renderer = renderers.get(str(item.facts.get("protocol", "")))
                if item.seq <= after:
                    continue
                exchange = item.facts.get("exchange", 0)
                yield Moment(item.seq, item.at / 1e9, item.kind, exchange if isinstance(exchange, int) else 0, item.facts)
            elif item.seq > after:
                lines = tuple(renderer(item.direction, item.data)) if renderer else ()
                yield Moment(item.seq, item.at / 1e9, "recorded", item.exchange, {}, item.direction, lines, item.data)
    finally:
        for view in views:
            view.close()


def _once(items: Iterator[Entry | Event]) -> Iterator[Entry | Event]:
    """What was archived while we read comes twice; the numbers tell."""
    last = -1
    for item in items:
        if item.seq > last:
            last = item.seq
            yield item


def _entries(folder: Path, session: str, views: list[Spool]) -> Iterator[Entry | Event]:
    try:
        fd = os.open(folder / JOURNAL, os.O_RDONLY)
    except FileNotFoundError:
        fd = -1
    if fd >= 0:
        try:
            for _, entry in frames(fd):
                yield decode_entry(entry)
        except Torn as damage:
            if not (damage.tail and views):  # being written just now: the rest is in the spool
                raise VerificationError(f"{JOURNAL}: {damage}") from damage
        finally:
            os.close(fd)
    for view in views:
        for batch in view.batches(session, None):
            for entry in batch.entries:
                yield decode_entry(entry)


def _events(folder: Path, session: str, secret: bytes, views: list[Spool], after: int) -> Iterator[Entry | Event]:
    for path, head, _ in follow(folder):
        if head.last <= after:
            continue
        fd = os.open(path, os.O_RDONLY)
        try:
            for event in read_events(fd, secret):
                yield decode_event(event)
        finally:
            os.close(fd)
    for view in views:
        for batch in view.batches(session, secret):
            for event in batch.events or ():
                yield decode_event(event)
