"""One policy set per action, so that the cost of a decision does not grow with the whole policy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cedarpy

from interlock.errors import PolicyError
from interlock.policy.entities import ARGUMENT, ARGUMENTS, TIME
from interlock.policy.rules import Rule, policy_set
from interlock.policy.schema import Action, schema

_ERROR = re.compile(r"error while evaluating policy `([^`]*)`: (.*)", re.S)


@dataclass(frozen=True, slots=True)
class Slice:
    """The rules whose action scope covers one action. `reads` are the context attributes they look at."""

    action: Action
    policies: cedarpy.PolicySet
    rules: tuple[Rule, ...]
    reads: frozenset[str]

    @property
    def facts(self) -> frozenset[str]:
        """The facts that a decision depends on; the prefix `argument.` stands for all of a tool's arguments."""
        names = self.reads - TIME - {"approved", "resource", "labels"}
        return names - ARGUMENTS | {"arguments", ARGUMENT} if names & ARGUMENTS else names

    @property
    def timed(self) -> bool:
        """Whether a rule looks at the clock: then nothing may be cached."""
        return bool(self.reads & TIME)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine said to one question: allowed or not, the rules that decided, and what went wrong
    as (rule id or "", message) pairs."""

    allowed: bool
    rules: tuple[str, ...]
    errors: tuple[tuple[str, str], ...]


def cut(rules: Sequence[Rule]) -> dict[str, Slice]:
    """The slice of every action of the schema. Actions with the same rules share one policy set."""
    shared: dict[tuple[str, ...], cedarpy.PolicySet] = {}
    slices = {}
    for action in schema().actions.values():
        if not action.kinds:
            continue
        covering = tuple(rule for rule in rules if covers(rule, action))
        ids = tuple(rule.id for rule in covering)
        if ids not in shared:
            shared[ids] = policy_set({rule.id: rule.body for rule in covering})
        reads = frozenset[str]().union(*(_reads(rule, action) for rule in covering))
        slices[action.id] = Slice(action, shared[ids], covering, reads)
    return slices


def covers(rule: Rule, action: Action) -> bool:
    """Whether the rule's action scope can match the action."""
    scope = rule.body["action"]
    if scope["op"] == "All":
        return True
    named = scope["entities"] if "entities" in scope else [scope["entity"]]
    ids = {entity["id"] for entity in named}
    return action.id in ids or (scope["op"] == "in" and not ids.isdisjoint(action.groups))


def ask(policies: cedarpy.PolicySet, entities: cedarpy.Entities, requests: list[dict[str, Any]]) -> list[Answer]:
    """Put requests to the engine, checked against the schema. Whatever is not a clean answer has errors.

    Raises `PolicyError` when the engine cannot read a request."""
    try:
        results = cedarpy.is_authorized_batch(requests, policies, entities, schema().handle)
    except ValueError as exc:
        raise PolicyError(f"the request does not fit the policy schema: {exc}") from exc
    answers = []
    for result in results:
        found = ((_ERROR.fullmatch(text), text) for text in result.diagnostics.errors)
        errors = tuple((match.group(1), match.group(2)) if match else ("", text) for match, text in found)
        answers.append(Answer(result.decision is cedarpy.Decision.Allow and not errors, tuple(result.diagnostics.reasons), errors))
    return answers


def _reads(rule: Rule, action: Action) -> frozenset[str]:
    found = set(_attributes(rule.body["conditions"]))
    return frozenset(action.context) if "" in found else frozenset(found)


def _attributes(node: object) -> Iterator[str]:
    """Names of context attributes in an expression; "" where the context is used as a whole."""
    if isinstance(node, list):
        for item in node:
            yield from _attributes(item)
    elif isinstance(node, dict):
        for operator, argument in node.items():
            if operator in (".", "has") and argument.get("left") == {"Var": "context"}:
                yield argument["attr"]
            elif operator == "Var" and argument == "context":
                yield ""
            else:
                yield from _attributes(argument)
