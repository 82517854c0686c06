"""A session's timeline as lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from interlock.cli.show import clean, clock, count, when

Json = dict[str, Any]
Line = tuple[str, str]
"""(text, style)"""

ROWS_SHOWN: Final = 20
"""Lines of what upstream answered that are shown per exchange, unless all are asked for."""

_WORDS: Final = {"up": "sent", "down": "saw", "gate": "gate"}
_OUTCOMES: Final = {"done": "green", "failed": "red", "refused": "red", "unknown": "yellow", "cancelled": "yellow"}


def heading(session: Json) -> Iterator[Line]:
    """Who, where, when, and how it ended."""
    who = f"{session['principal']} for {session['owner']}" if session["owner"] else session["principal"]
    yield f"session {clean(session['id'])}: {clean(who)} on {clean(session['resource'])} over {clean(session['protocol'])}", "bold"
    ended = f", {clean(session['reason'])}" if session["reason"] else ""
    yield f"{when(session['opened_at'])} to {when(session['closed_at'])} ({clean(session['state'])}{ended})", ""
    counted = [
        count(session["operations"], "operation"),
        f"{session['refused']:,} refused",
        f"{session['held']:,} held",
        f"{count(session['masked'], 'value')} masked",
    ]
    yield ", ".join(counted), ""


def lines(moments: Iterable[Json], *, everything: bool = False) -> Iterator[Line]:
    """What happened and what passed, in order. Rows beyond the first of an exchange are counted, unless `everything`."""
    shown: Counter[int] = Counter()
    left_out: Counter[int] = Counter()
    for moment in moments:
        exchange = moment["exchange"]
        head = f"{clock(moment['at'])}  {f'#{exchange}' if exchange else '':<5} "
        if moment["kind"] == "recorded":
            for line in moment["lines"]:
                if moment["direction"] == "down" and exchange:
                    shown[exchange] += 1
                    if shown[exchange] > ROWS_SHOWN and not everything:
                        left_out[exchange] += 1
                        continue
                yield f"{head}{_WORDS.get(moment['direction'], '?'):<9}{clean(line)}", "" if moment["direction"] == "up" else "dim"
            continue
        if moment["kind"] == "outcome" and left_out[exchange]:
            yield f"{head}{'':<9}… {count(left_out.pop(exchange), 'more line')} (--all shows them)", "dim"
        yield from ((f"{head}{text}", style) for text, style in _entry(moment["kind"], moment["facts"]))
    for exchange, number in left_out.items():
        yield f"{'':<14}#{exchange:<5}{'':<9}… {count(number, 'more line')} (--all shows them)", "dim"


def _entry(kind: str, facts: Mapping[str, Any]) -> Iterator[Line]:
    match kind:
        case "open":
            yield f"{'open':<9}from {clean(facts.get('client', '?'))}, policy {clean(facts.get('policy', '?'))}", "bold"
        case "intent" if facts.get("verdict") == "allow":
            yield f"{'allow':<9}{_operation(facts)}{_rules(facts)}{_approved(facts)}", "green"
        case "intent":
            yield f"{'deny':<9}{_operation(facts)}{_rules(facts)}: {clean(facts.get('reason', ''))}", "red"
        case "held":
            yield f"{'hold':<9}{_operation(facts)}{_rules(facts)}", "yellow"
            yield f"{'':<9}waits for {_list(facts.get('groups'))} (request {clean(facts.get('approval', '?'))})", "yellow"
        case "approval":
            by = f" by {_list(facts['by'])}" if facts.get("by") else ""
            yield f"{clean(facts.get('state', '?')):<9}request {clean(facts.get('approval', '?'))}{by}", "yellow"
        case "outcome":
            yield _outcome(facts)
        case "close":
            yield f"{'close':<9}{clean(facts.get('reason', ''))}", "bold"
        case _:
            yield f"{clean(kind):<9}{clean(dict(facts))}", ""


def _outcome(facts: Mapping[str, Any]) -> Line:
    said = [clean(facts["detail"])] if facts.get("detail") else []
    if facts.get("rows"):
        said.append(count(int(facts["rows"]), "row"))
    if facts.get("bytes"):
        said.append(count(int(facts["bytes"]), "byte"))
    masked = facts.get("masked") or {}
    if masked:
        said.append("masked " + ", ".join(f"{clean(name)} ×{number:,}" for name, number in sorted(masked.items())))
    outcome = str(facts.get("outcome", "?"))
    return f"{clean(outcome):<9}{', '.join(said)}".rstrip(), _OUTCOMES.get(outcome, "")


def _operation(facts: Mapping[str, Any]) -> str:
    effects = _list(facts.get("effects"))
    return clean(facts.get("title", "")) + (f" [{effects}]" if effects else "")


def _rules(facts: Mapping[str, Any]) -> str:
    rules = _list(facts.get("rules"))
    return f" by {rules}" if rules else ""


def _approved(facts: Mapping[str, Any]) -> str:
    people = _list(facts.get("approved_by"))
    return f", approved by {people}" if people else ""


def _list(value: object) -> str:
    return ", ".join(clean(each) for each in value) if isinstance(value, (list, tuple)) else ""
