"""The policy decision point: effects in, a `Decision` out; in memory, without waiting."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cedarpy

from interlock.errors import PolicyError
from interlock.exchange import Decision, Effect, Fact, Principal, Resource, Verdict
from interlock.policy.entities import ARGUMENT, context, object_uid, principal_uid, reveal_world, subjects, worlds
from interlock.policy.memory import Memory
from interlock.policy.rules import Rule, read_rules
from interlock.policy.schema import BASE_TEXT, SCHEMA_TEXT
from interlock.policy.slices import Answer, Slice, ask, cut

MAX_DECISIONS: Final = 8_192
"""Remembered decisions, and remembered answers to `reveal`."""
MAX_RESOURCES: Final = 1_024
MAX_ENTITIES: Final = 1_024
"""Remembered entity sets: some kilobytes each."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The engine's answer about one effect for one subject (the principal, or somebody it acts for)."""

    effect: Effect
    subject: Principal
    answer: Answer


class Policy:
    """A loaded, checked policy. Immutable but for its caches; `version` names sources and schema.

    Use `Policy.load`. `decide` raises no `PolicyError`: what cannot be decided is denied, with the reason."""

    def __init__(self, rules: tuple[Rule, ...], version: str) -> None:
        self.version = version
        self.rules: dict[str, Rule] = {rule.id: rule for rule in rules}
        self.slices: dict[str, Slice] = cut(rules)
        self._decisions: Memory[Hashable, Decision] = Memory(MAX_DECISIONS)
        self._revealed: Memory[Hashable, frozenset[str]] = Memory(MAX_DECISIONS)
        self._entities: Memory[Hashable, tuple[cedarpy.Entities, ...]] = Memory(MAX_ENTITIES)
        self._resources: Memory[int, tuple[Resource, Hashable]] = Memory(MAX_RESOURCES)
        self._read: Memory[tuple[Effect, ...], frozenset[str] | None] = Memory(MAX_DECISIONS)

    @classmethod
    def load(cls, sources: Mapping[str, str]) -> Policy:
        """A policy from `file name → Cedar text`. Raises `PolicyError` naming file, line, rule and remedy."""
        digest = hashlib.sha256()
        for name, text in (("", SCHEMA_TEXT), ("", BASE_TEXT), *sorted(sources.items())):
            digest.update(f"{len(name)} {len(text)} {name}{text}".encode("utf-8", "surrogatepass"))
        return cls(read_rules(sources), digest.hexdigest()[:12])

    def decide(
        self,
        principal: Principal,
        resource: Resource,
        effects: Sequence[Effect],
        facts: Mapping[str, Fact],
        *,
        approved: frozenset[str] = frozenset(),
        now: float,
    ) -> Decision:
        """May the principal do all of this? The strictest verdict wins and holds unite. `approved` are the
        groups that agreed to exactly this operation; `now` is in UTC seconds."""
        key = self.cache_key(principal, resource, effects, facts)
        if key is None:
            return self._decide(principal, resource, effects, facts, approved, now)
        known = self._decisions.get((key, approved))
        if known is None:
            known = self._decide(principal, resource, effects, facts, approved, now)
            self._decisions.put((key, approved), known)
        return known

    def reveal(self, principal: Principal, resource: Resource, classes: Iterable[str], *, now: float) -> frozenset[str]:
        """Those of the data classes that the principal, and everybody it acts for, may see raw. A hold does
        not reveal. Raises `PolicyError` when the question itself cannot be put."""
        wanted = frozenset(classes)
        key = (_subject_key(principal), self._resource_key(resource), wanted)
        known = None if self.slices["reveal"].timed else self._revealed.get(key)
        if known is None:
            known = self._reveal(principal, resource, wanted, now)
            self._revealed.put(key, known)
        return known

    def reads(self, action: str) -> frozenset[str]:
        """The facts that decisions about this action depend on (`argument.`: all of a tool's arguments)."""
        return self.slices[action].facts if action in self.slices else frozenset()

    def cache_key(self, principal: Principal, resource: Resource, effects: Sequence[Effect], facts: Mapping[str, Fact]) -> Hashable | None:
        """Equal keys mean equal decisions of this policy (for equal `approved`). None: a rule looks at the
        clock, so nothing may be remembered."""
        asked = tuple(effects)
        names = self._read.get(asked)
        if names is None:
            slices = [self.slices[effect.action] for effect in asked if effect.action in self.slices]
            if any(part.timed for part in slices):
                return None
            names = frozenset[str]().union(*(part.facts for part in slices))
            self._read.put(asked, names)
        read = tuple((name, facts[name]) for name in names if name in facts)
        if ARGUMENT in names:
            read += tuple(item for item in sorted(facts.items(), key=lambda item: item[0]) if item[0].startswith(ARGUMENT))
        # True == 1 in Python, but not in Cedar: the types belong to the key.
        return (_subject_key(principal), self._resource_key(resource), asked, read, tuple(type(value) for _, value in read))

    def examine(
        self,
        principal: Principal,
        resource: Resource,
        effects: Sequence[Effect],
        facts: Mapping[str, Fact],
        approved: frozenset[str],
        now: float,
    ) -> list[Finding]:
        """The engine's answer about each effect for each subject. Raises `PolicyError` when it cannot be asked."""
        chain = subjects(principal)
        for effect in effects:
            self._check(effect)
        found = []
        for entities in self._worlds(principal, resource, effects, facts):
            for action in dict.fromkeys(effect.action for effect in effects):
                part = self.slices[action]
                record, missing = context(part.action, part.reads, facts, resource, approved, now)
                if missing:
                    raise MissingFacts(action, missing)
                asked = [(effect, subject) for effect in effects if effect.action == action for subject in chain]
                requests = [_request(effect, subject, resource, record) for effect, subject in asked]
                answers = ask(part.policies, entities, requests)
                found += [Finding(effect, subject, answer) for (effect, subject), answer in zip(asked, answers, strict=True)]
        return found

    def _worlds(
        self, principal: Principal, resource: Resource, effects: Sequence[Effect], facts: Mapping[str, Fact]
    ) -> tuple[cedarpy.Entities, ...]:
        """Entity sets, remembered for the same people, resource, objects and (where rules read them) arguments."""
        objects = frozenset((effect.kind, effect.object) for effect in effects)
        seen = any(ARGUMENT in self.slices[effect.action].facts for effect in effects)
        given = {name: value for name, value in facts.items() if name.startswith(ARGUMENT)} if seen else {}
        values = frozenset((name, type(value), value) for name, value in given.items())
        key = (_subject_key(principal), self._resource_key(resource), objects, values)
        known = self._entities.get(key)
        if known is None:
            known = worlds(subjects(principal), resource, objects, given)
            self._entities.put(key, known)
        return known

    def _check(self, effect: Effect) -> None:
        part = self.slices.get(effect.action)
        if part is None:
            raise PolicyError(f"the policy schema knows no action {effect.action}")
        if effect.kind not in part.action.kinds:
            raise PolicyError(f"the policy schema knows no {effect.action} on a {effect.kind}")
        if effect.kind == "Resource" and effect.object:
            raise PolicyError(f"{effect.action} names {effect.object} inside the resource without saying what it is")

    def _decide(
        self,
        principal: Principal,
        resource: Resource,
        effects: Sequence[Effect],
        facts: Mapping[str, Fact],
        approved: frozenset[str],
        now: float,
    ) -> Decision:
        """Deny what cannot be approved; else ask again with the named groups agreed, until nothing new holds."""
        if not effects:
            return self._verdict(Verdict.DENY, reasons=["the operation says nothing about what it would do"])
        agreed, holding = approved, dict[str, None]()
        try:
            while True:
                found = self.examine(principal, resource, effects, facts, agreed, now)
                if hard := [finding for finding in found if not self._approvable(finding)]:
                    return self._denied(hard, resource)
                lifted = [rule for finding in found if not finding.answer.allowed for rule in finding.answer.rules]
                if not lifted:
                    break
                holding.update(dict.fromkeys(lifted))
                agreed = agreed.union(*(self.rules[rule].hold for rule in lifted))
        except MissingFacts as missing:
            return self._verdict(Verdict.DENY, reasons=[str(missing)], needs=missing.names)
        except PolicyError as exc:
            return self._verdict(Verdict.DENY, reasons=[str(exc)])
        if agreed == approved:
            return self._verdict(Verdict.ALLOW, [rule for finding in found for rule in finding.answer.rules])
        return self._verdict(Verdict.HOLD, list(holding), groups=agreed - approved)

    def _approvable(self, finding: Finding) -> bool:
        """Allowed, or denied only by forbids that somebody's agreement lifts."""
        answer = finding.answer
        if answer.allowed:
            return True
        return not answer.errors and bool(answer.rules) and all(self.rules[rule].hold for rule in answer.rules)

    def _denied(self, hard: list[Finding], resource: Resource) -> Decision:
        plain = [
            rule for finding in hard for rule in finding.answer.rules if self.rules[rule].effect == "forbid" and not self.rules[rule].hold
        ]
        reasons = []
        for finding in hard:
            for rule, message in finding.answer.errors:
                plain += [rule] if rule else []
                reasons.append(f'rule "{rule}" could not be evaluated: {message}' if rule else message)
            if not finding.answer.errors and not finding.answer.rules:
                reasons.append(f"no rule permits {describe(finding.effect, resource)} for {finding.subject.id}")
        return self._verdict(Verdict.DENY, plain, reasons=reasons)

    def _verdict(
        self,
        verdict: Verdict,
        rules: Sequence[str] = (),
        *,
        reasons: Sequence[str] = (),
        groups: frozenset[str] = frozenset(),
        needs: frozenset[str] = frozenset(),
    ) -> Decision:
        """Rules in the policy's order, each once; their reasons, then further ones."""
        named = set(rules)
        ordered = [rule for rule in self.rules if rule in named]
        erring = {rule for rule in ordered if any(reason.startswith(f'rule "{rule}" could not') for reason in reasons)}
        says = [self.rules[rule].says for rule in ordered if rule not in erring]
        return Decision(verdict, tuple(ordered), tuple(dict.fromkeys([*says, *reasons])), groups, needs, self.version)

    def _reveal(self, principal: Principal, resource: Resource, wanted: frozenset[str], now: float) -> frozenset[str]:
        part = self.slices["reveal"]
        chain = subjects(principal)
        record, _ = context(part.action, part.reads, {}, resource, frozenset(), now)
        asked = [(name, subject) for name in sorted(wanted) for subject in chain]
        requests = [_request(Effect("reveal", "DataClass", name), subject, resource, record) for name, subject in asked]
        answers = ask(part.policies, reveal_world(chain, resource, wanted), requests) if requests else []
        return wanted.difference(name for (name, _), answer in zip(asked, answers, strict=True) if not answer.allowed)

    def _resource_key(self, resource: Resource) -> Hashable:
        """Registered resources are long-lived, immutable values: their content is made hashable once. The
        entry keeps the resource alive, so that its `id` cannot become another's."""
        known = self._resources.get(id(resource))
        if known is None:
            known = (resource, (resource.name, resource.kind, resource.labels, frozenset(resource.classes.items())))
            self._resources.put(id(resource), known)
        return known[1]


class MissingFacts(PolicyError):
    """Facts that the action needs are missing, or have the wrong type."""

    def __init__(self, action: str, names: frozenset[str]) -> None:
        super().__init__(f"{action} cannot be decided without knowing {', '.join(sorted(names))}")
        self.names = names


def describe(effect: Effect, resource: Resource) -> str:
    """`sql.delete on orders-db/public.customers`."""
    return f"{effect.action} on {object_uid(resource, effect.kind, effect.object)['id']}"


def _request(effect: Effect, subject: Principal, resource: Resource, record: dict[str, Any]) -> dict[str, Any]:
    return {
        "principal": principal_uid(subject),
        "action": {"type": "Action", "id": effect.action},
        "resource": object_uid(resource, effect.kind, effect.object),
        "context": record,
    }


def _subject_key(principal: Principal) -> Hashable:
    """What of a principal can change a decision; a fresh token alone does not."""
    owner = principal.on_behalf_of
    return (principal.kind, principal.id, principal.groups, _subject_key(owner) if owner else None)
