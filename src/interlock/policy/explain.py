"""Why a decision fell as it did, and what would change it; for people (`lines`) and machines (`to_dict`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from interlock.errors import PolicyError
from interlock.exchange import Decision, Effect, Fact, Principal, Resource, Verdict
from interlock.policy.engine import Finding, Policy, describe
from interlock.policy.entities import context, object_uid, principal_uid, subjects, worlds
from interlock.policy.rules import Rule, policy_set
from interlock.policy.slices import ask

MAX_NEAREST: Final = 5
"""Permits that are named as nearest, for one question that no rule permits."""

_ANYONE = {"op": "All"}


@dataclass(frozen=True, slots=True)
class RuleSeen:
    """A deciding rule: id, `permit` or `forbid`, its reason, `file:line`, the groups that can lift it."""

    id: str
    effect: str
    reason: str
    place: str
    hold: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EffectSeen:
    """One effect for one subject: the verdict, the rules that decided, errors, and what would change it."""

    effect: str
    subject: str
    verdict: Verdict
    rules: tuple[RuleSeen, ...]
    errors: tuple[str, ...]
    change: tuple[str, ...]

    def lines(self) -> list[str]:
        return [
            f"{self.verdict}: {self.effect} for {self.subject}",
            *(f"  {rule.effect} {rule.id} ({rule.place}): {rule.reason}" for rule in self.rules),
            *(f"  error: {error}" for error in self.errors),
            *(f"  would change it: {change}" for change in self.change),
        ]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with its parts. `seen` is empty where the question could not be put to the rules."""

    decision: Decision
    seen: tuple[EffectSeen, ...]

    def lines(self) -> list[str]:
        """The explanation in sentences, one per line, the decision first."""
        groups = f" by {', '.join(sorted(self.decision.groups))}" if self.decision.groups else ""
        head = [f"{self.decision.verdict}{groups} (policy {self.decision.policy})", *(f"  {reason}" for reason in self.decision.reasons)]
        return head + [line for seen in self.seen for line in seen.lines()]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts and strings, ready for JSON."""
        decision = asdict(self.decision)
        for name in ("groups", "needs"):
            decision[name] = sorted(decision[name])
        return {"decision": decision, "effects": [asdict(seen) for seen in self.seen]}


def explain(
    policy: Policy,
    principal: Principal,
    resource: Resource,
    effects: Sequence[Effect],
    facts: Mapping[str, Fact],
    *,
    approved: frozenset[str] = frozenset(),
    now: float,
) -> Explanation:
    """The decision for these effects, effect by effect and subject by subject. `now` is in UTC seconds."""
    decision = policy.decide(principal, resource, effects, facts, approved=approved, now=now)
    try:
        found = policy.examine(principal, resource, effects, facts, approved, now)
    except PolicyError:
        return Explanation(decision, ())
    return Explanation(decision, tuple(_see(policy, finding, resource, facts, approved, now) for finding in dict.fromkeys(found)))


def _see(
    policy: Policy, finding: Finding, resource: Resource, facts: Mapping[str, Fact], approved: frozenset[str], now: float
) -> EffectSeen:
    answer = finding.answer
    rules = [policy.rules[rule] for rule in policy.rules if rule in answer.rules]
    change: list[str] = []
    verdict = Verdict.ALLOW if answer.allowed else Verdict.DENY
    if not answer.allowed and not answer.errors and rules:
        if all(rule.hold for rule in rules):
            verdict = Verdict.HOLD
        change = [_lift(rule) for rule in rules]
    elif not answer.allowed and not answer.errors:
        change = _nearest(policy, finding, resource, facts, approved, now) or ["a permit rule for it: none comes near"]
    return EffectSeen(
        describe(finding.effect, resource),
        finding.subject.id,
        verdict,
        tuple(RuleSeen(rule.id, rule.effect, rule.says, rule.place, tuple(sorted(rule.hold))) for rule in rules),
        tuple(f"{rule}: {message}" if rule else message for rule, message in answer.errors),
        tuple(change),
    )


def _lift(rule: Rule) -> str:
    if rule.hold:
        return f"approval by {' and '.join(sorted(rule.hold))}"
    scope = [f"{part} {_scope(rule.body[part])}" for part in ("principal", "resource") if rule.body[part] != _ANYONE]
    unless = "its conditions not met" if rule.body["conditions"] else ""
    return f"{rule.id} not matching" + (f": not {' and '.join(scope)}" if scope else "") + (f" ({unless})" if unless else "")


def _nearest(
    policy: Policy, finding: Finding, resource: Resource, facts: Mapping[str, Fact], approved: frozenset[str], now: float
) -> list[str]:
    """The permits that would match if one part of them were different, and which part that is."""
    part = policy.slices[finding.effect.action]
    record, _ = context(part.action, part.reads, facts, resource, approved, now)
    entities = worlds(subjects(finding.subject), resource, [(finding.effect.kind, finding.effect.object)], facts)[0]
    request = {
        "principal": principal_uid(finding.subject),
        "action": {"type": "Action", "id": finding.effect.action},
        "resource": object_uid(resource, finding.effect.kind, finding.effect.object),
        "context": record,
    }
    near: list[str] = []
    for rule in policy.rules.values():
        if rule.effect != "permit" or len(near) >= MAX_NEAREST:
            continue
        for change, body in _relaxed(rule):
            if ask(policy_set({rule.id: body}), entities, [request])[0].allowed:
                near.append(f"{rule.id} ({rule.place}) would permit it {change}")
                break
    return near


def _relaxed(rule: Rule) -> list[tuple[str, dict[str, Any]]]:
    """The rule with one part taken away, for each part, with the words for it."""
    body = rule.body
    words = {"action": "if it covered this action", "principal": "if the principal were {}", "resource": "if the resource were {}"}
    made = [(text.format(_scope(body[name])), {**body, name: _ANYONE}) for name, text in words.items() if body[name] != _ANYONE]
    if body["conditions"]:
        made.append(("if its conditions were met", {**body, "conditions": []}))
    return made


def _scope(scope: Mapping[str, Any]) -> str:
    """`in Group::"dba"`, `is Agent`, in Cedar's words."""
    target = scope.get("entity") or scope.get("in", {}).get("entity")
    named = f'{target["type"]}::"{target["id"]}"' if target else ""
    if scope["op"] == "is":
        return f"is {scope['entity_type']}" + (f" in {named}" if named else "")
    return f"{scope['op']} {named}"
