"""Policy text → checked rules: each with an id, its place, and its hold turned into a condition.

Cedar reports no positions for static policies and names them by number, so the text is cut into rules here
(a rule ends at a `;` outside of strings and comments) and every rule is parsed by itself: an error can then
name file, line and rule.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import cedarpy

from interlock.errors import PolicyError
from interlock.policy.schema import BASE_NAME, BASE_TEXT, schema

MAX_SOURCE: Final = 1 << 20
"""Characters of one policy file."""
MAX_RULES: Final = 5_000
RESERVED: Final = "interlock-"
"""Ids of the shipped base policy begin so; nobody else's may."""

_ANNOTATIONS = frozenset({"id", "hold", "reason"})
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_GROUP = re.compile(r"[^\s,]{1,100}")
# What can hide a `;` (strings, comments), the `;` itself, or any other stretch of text.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|;|[^";/]+|["/]', re.S)
_BLANK = re.compile(r"(?:\s|//[^\n]*)*")
_UNKNOWN = re.compile(r'unrecognized (?:action `Action::"([^"]+)"`|entity type `([^`]+)`)')
_POSITION = re.compile(r"for policy `policy\d+`, ")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """One checked rule. `place` is `file:line`; `hold` the groups whose agreement lifts it (all of them;
    empty for permits and plain forbids); `body` is Cedar's JSON form, with the hold's condition in it."""

    id: str
    effect: Literal["permit", "forbid"]
    reason: str
    hold: frozenset[str]
    place: str
    text: str
    body: Json

    @property
    def says(self) -> str:
        """The rule's reason in words; the rule's name where the author gave none."""
        return self.reason or f'{"permitted" if self.effect == "permit" else "forbidden"} by rule "{self.id}"'


def read_rules(sources: Mapping[str, str]) -> tuple[Rule, ...]:
    """All rules of all files (`name → text`), the shipped base first, checked against the schema.

    Raises `PolicyError` with file, line, rule and remedy at the first thing that is wrong."""
    if BASE_NAME in sources:
        raise PolicyError(f"{BASE_NAME} is the name of the shipped base policy", hint="rename the file")
    rules: dict[str, Rule] = {}
    for name, text in ((BASE_NAME, BASE_TEXT), *sorted(sources.items())):
        if len(text) > MAX_SOURCE:
            raise PolicyError(f"{name} is longer than {MAX_SOURCE} characters", hint="split it into several files")
        for line, piece in _pieces(text):
            rule = _read(name, line, piece)
            if rule.id in rules:
                raise _error(rule.place, rule.id, f"the id is taken by {rules[rule.id].place}", "give each rule an id of its own")
            if rule.id.startswith(RESERVED) != (name == BASE_NAME):
                raise _error(rule.place, rule.id, f"ids that begin with {RESERVED} are the gateway's own", "choose another id")
            rules[rule.id] = rule
            if len(rules) > MAX_RULES:
                raise _error(rule.place, rule.id, f"more than {MAX_RULES} rules", "merge rules with `in` and groups")
    _validate(tuple(rules.values()))
    return tuple(rules.values())


def policy_set(rules: Mapping[str, Json]) -> cedarpy.PolicySet:
    """An engine handle whose diagnostics speak of rules by our ids."""
    return cedarpy.PolicySet.from_json_str(json.dumps({"staticPolicies": rules, "templates": {}, "templateLinks": []}))


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """(line of its first token, text) of each rule; a rest without `;` is a piece too, for Cedar to refuse."""
    start = 0
    for token in _TOKEN.finditer(text):
        if token.group() == ";":
            yield _piece(text, start, token.end())
            start = token.end()
    if _BLANK.fullmatch(text, start) is None:
        yield _piece(text, start, len(text))


def _piece(text: str, start: int, end: int) -> tuple[int, str]:
    blank = _BLANK.match(text, start, end)
    first = blank.end() if blank else start
    return text.count("\n", 0, first) + 1, text[first:end]


def _read(name: str, line: int, text: str) -> Rule:
    place, label = f"{name}:{line}", _label(text)
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError as exc:
        raise _error(_pinpoint(name, line, text, str(exc)), label, str(exc), "correct the syntax") from exc
    if parsed["templates"] or len(parsed["staticPolicies"]) != 1:
        raise _error(place, label, "a rule may not have ?principal or ?resource slots", "name the principal or the group")
    body: Json = parsed["staticPolicies"].popitem()[1]
    notes: dict[str, str | None] = body.get("annotations", {})
    if unknown := sorted(notes.keys() - _ANNOTATIONS):
        raise _error(place, label, f"unknown annotation @{unknown[0]}", "rules may carry @id, @hold and @reason")
    identifier = notes.get("id") or ""
    if not _ID.fullmatch(identifier):
        raise _error(place, label, "every rule needs an @id", 'write @id("no-drop") above it: letters, digits, "-", "_", "."')
    hold = _hold(place, identifier, body["effect"], notes)
    if hold:
        body["conditions"].append(_agreed(hold))
    return Rule(identifier, body["effect"], notes.get("reason") or "", hold, place, text, body)


def _hold(place: str, identifier: str, effect: str, notes: dict[str, str | None]) -> frozenset[str]:
    if "hold" not in notes:
        return frozenset()
    if effect != "forbid":
        raise _error(place, identifier, "@hold on a permit", "put @hold on a forbid: it forbids until the group agrees")
    groups = [group.strip() for group in (notes["hold"] or "").split(",")]
    if not all(_GROUP.fullmatch(group) for group in groups):
        raise _error(place, identifier, "@hold names no group", 'write @hold("dba"), or @hold("dba,security") when both must agree')
    return frozenset(groups)


def _agreed(groups: frozenset[str]) -> Json:
    """`unless { context.approved.containsAll(groups) }`."""
    approved = {".": {"left": {"Var": "context"}, "attr": "approved"}}
    return {"kind": "unless", "body": {"containsAll": {"left": approved, "right": {"Set": [{"Value": g} for g in sorted(groups)]}}}}


def _validate(rules: tuple[Rule, ...]) -> None:
    result = cedarpy.validate_policies("\n".join(rule.text for rule in rules), schema().handle)
    if result.validation_passed:
        return
    first = result.errors[0]
    rule = rules[int(first.policy_id.removeprefix("policy"))]
    found = dict.fromkeys(_POSITION.sub("", error.error) for error in result.errors if error.policy_id == first.policy_id)
    causes = [message for message in found if "unable to find an applicable action" not in message] or list(found)
    raise _error(rule.place, rule.id, "; ".join(causes), _remedy(causes[0]))


def _remedy(message: str) -> str:
    if unknown := _UNKNOWN.search(message):
        known = schema().actions if unknown.group(1) else schema().kinds
        if close := difflib.get_close_matches(unknown.group(1) or unknown.group(2), known, 1):
            return f"did you mean {close[0]}?"
    if "not found" in message:
        return "name the actions or the kind (`resource is Table`) for which it exists; see docs/policy.md"
    return "see the schema's actions, kinds and context in docs/policy.md"


def _pinpoint(name: str, line: int, text: str, message: str) -> str:
    """The line of the offending token where it occurs only once in the rule, else the rule's first line."""
    token = re.search(r"unexpected token `(.+)`", message)
    if "end of input" in message:
        return f"{name}:{line + text.rstrip().count(chr(10))}"
    if token and text.count(token.group(1)) == 1:
        return f"{name}:{line + text.count(chr(10), 0, text.index(token.group(1)))}"
    return f"{name}:{line}"


def _label(text: str) -> str:
    found = re.search(r'@id\("([^"]{1,100})"\)', text)
    return found.group(1) if found else ""


def _error(place: str, identifier: str, message: str, hint: str) -> PolicyError:
    return PolicyError(f'{place}: rule "{identifier}": {message}' if identifier else f"{place}: {message}", hint=hint)
