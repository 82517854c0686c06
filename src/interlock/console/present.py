"""From journal and recording to what a person reads: one card per exchange, aligned rows, visible characters.

Everything shown was written by somebody else, perhaps to deceive: control, direction and invisible characters
are made visible here; HTML is escaped by the templates.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

CELL_MAX: Final = 48
"""Characters to which cells are padded; longer ones push their row out of line."""
LINES_MAX: Final = 500
"""Lines of one exchange that a page shows; `interlock replay` and the API have all."""
_COLUMNS, _ROW, _CELL = "columns: ", "row: ", " | "


def visible(text: str) -> str:
    """Control, direction and other invisible characters as `⟨U+202E⟩`. Line feeds and tabs stay."""
    return (
        text if text.isprintable() else "".join(letter if letter in "\n\t" or letter.isprintable() else _named(letter) for letter in text)
    )


def _named(letter: str) -> str:
    return " " if unicodedata.category(letter) == "Zs" else f"⟨U+{ord(letter):04X}⟩"


@dataclass(slots=True)
class Card:
    """One exchange, as far as its moments are known. `verdict` is allowed, approved, held or refused; `outcome`
    how it ended, empty while it runs. `asked` and `seen` are lines; `cut` how many of `seen` are not shown."""

    exchange: int
    at: float
    title: str = ""
    kind: str = ""
    asker: str = "client"
    verdict: str = ""
    effects: Sequence[str] = ()
    rules: Sequence[str] = ()
    reasons: Sequence[str] = ()
    approval: str = ""
    approved_by: Sequence[str] = ()
    groups: Sequence[str] = ()
    outcome: str = ""
    detail: str = ""
    rows: int = 0
    masked: Mapping[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    cut: int = 0


@dataclass(slots=True)
class Note:
    """What belongs to no exchange: the session's opening and end, and connection-level messages."""

    at: float
    title: str
    lines: list[str] = field(default_factory=list)


def story(moments: Iterable[Mapping[str, Any]]) -> list[Card | Note]:
    """Moments (see the API) as cards and notes, each where its first moment was.

    What a protocol says around an answer (names of columns, "done") belongs to no exchange in the recording. It is
    shown with the rows that follow it, else with the exchange that was last decided or settled."""
    cards: dict[int, Card] = {}
    told: list[Card | Note] = []
    last: Card | None = None
    around: list[str] = []

    def put_around() -> None:
        if last is not None:
            last.seen.extend(around)
        elif around:
            told.append(Note(moment["at"], "connection", list(around)))
        around.clear()

    for moment in moments:
        exchange, kind, facts, lines = moment["exchange"], moment["kind"], moment["facts"], [*map(visible, moment["lines"])]
        if not exchange and kind == "recorded":
            around += lines
            continue
        if not exchange:
            put_around()
            told.append(Note(moment["at"], _headline(kind, facts)))
            continue
        if moment["direction"] == "up":
            put_around()
        card = cards.get(exchange)
        if card is None:
            card = cards[exchange] = Card(exchange, moment["at"])
            told.append(card)
        if kind != "recorded":
            _journal(card, kind, facts)
            last = last if card.kind == "connect" else card
        elif moment["direction"] == "up":
            card.asked += lines
        else:
            card.seen += [*around, *lines]
            around.clear()
    put_around()
    for card in cards.values():
        card.cut = max(0, len(card.seen) - LINES_MAX)
        card.seen = table(card.seen[:LINES_MAX])
    return [each for each in told if isinstance(each, Note) or each.verdict or each.asked or each.seen]


def _headline(kind: str, facts: Mapping[str, Any]) -> str:
    match kind:
        case "open":
            return f"session opened from {facts.get('client', '')}, shown {facts.get('proof', '')}"
        case "close" | "recovered":
            return f"session ended: {facts.get('reason', '')}"
        case _:
            return f"{kind}: {', '.join(f'{name} {value}' for name, value in facts.items())}"


def _journal(card: Card, kind: str, facts: Mapping[str, Any]) -> None:
    card.title = facts.get("title", card.title)
    card.kind = facts.get("operation", card.kind)
    card.asker = facts.get("asker", card.asker)
    card.effects = facts.get("effects", card.effects)
    if not card.approval:  # else: what held it says more than what permitted it in the end
        card.reasons = facts.get("reasons") or card.reasons
        card.rules = facts.get("rules") or card.rules
    card.approval = facts.get("approval", card.approval)
    card.approved_by = facts.get("approved_by") or card.approved_by
    match kind:
        case "held":
            card.verdict, card.groups = "held", facts.get("groups", ())
        case "approval":
            card.approved_by = facts.get("by", ()) if facts.get("state") == "approved" else ()
        case "intent" if facts.get("verdict") == "allow":
            card.verdict = "approved" if card.approval else "allowed"
        case "intent":
            card.verdict, card.reasons, card.rules = "refused", [facts.get("reason", "")], facts.get("rules", ())
        case "outcome":
            card.outcome, card.detail, card.rows = facts.get("outcome", ""), facts.get("detail", ""), facts.get("rows", 0)
            card.masked = facts.get("masked") or {}
        case _:
            card.detail = kind


def table(lines: Sequence[str]) -> list[str]:
    """Lines of the form `columns: a | b` and `row: 1 | 2` (see the protocols' renderers) one below the other; all
    other lines as they are."""
    out: list[str] = []
    block: list[list[str]] = []
    for line in lines:
        if line.startswith(_COLUMNS):
            out += _align(block)
            block = [line.removeprefix(_COLUMNS).split(_CELL)]
        elif line.startswith(_ROW) and block:
            block.append(line.removeprefix(_ROW).split(_CELL))
        else:
            out += _align(block)
            block = []
            out.append(line)
    return out + _align(block)


def _align(block: Sequence[Sequence[str]]) -> list[str]:
    if not block:
        return []
    widths = [min(CELL_MAX, max(len(row[i]) for row in block if i < len(row))) for i in range(len(block[0]))]
    rows = [" │ ".join(cell.ljust(width) for cell, width in zip(row, [*widths, *[0] * len(row)], strict=False)).rstrip() for row in block]
    return [rows[0], "─┼─".join("─" * width for width in widths), *rows[1:]]


def age(seconds: float) -> str:
    """`42 s`, `7 min`, `3 h`, `12 d`; nothing is negative."""
    seconds = max(0.0, seconds)
    for limit, unit, size in ((120, "s", 1), (7_200, "min", 60), (172_800, "h", 3_600)):
        if seconds < limit:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds / 86_400)} d"


def moment(at: float) -> str:
    """`2026-11-22 13:05:44 UTC`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(at: float) -> str:
    """`13:05:44`, of UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
