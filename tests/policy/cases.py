"""Golden policy cases: a policy, then operations and decisions, with lines of dashes between them.

```
<Cedar text>
------------
as: claude (bots) for alice (engineering)       who asks; `agent` and `user` follow from `for`
on: orders-db env:dev                           resource and labels
classes: customers.email=email                  optional
do: sql.delete Table public.customers           one line for each effect
facts: has_where=false                          optional; `{a b}` is a set, digits a number
approved: dba                                   optional
at: 2026-11-20T10:00                            optional, UTC
reveal: email card                              instead of `do`
------------
<verdict, rules and reasons>
```
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from interlock.errors import PolicyError
from interlock.exchange import Decision, Effect, Fact, Principal, Resource
from interlock.policy import Policy

DASHES = re.compile(r"^-{4,}\n", re.M)
NOON = "2026-11-20T12:00"  # a Friday


@dataclass(frozen=True)
class Case:
    """One question to one policy and the expected answer, as text."""

    name: str
    policy: str
    question: str
    expected: str

    def played(self) -> str:
        """The answer of the real engine, in the words of the case files."""
        try:
            policy = Policy.load({"policy.cedar": self.policy})
        except PolicyError as exc:
            return f"error: {exc}\nremedy: {exc.hint}"
        return answer(policy, self.question)


def read_cases(folder: Path) -> list[Case]:
    cases = []
    for path in sorted(folder.glob("*.txt")):
        policy, *rest = DASHES.split(path.read_text("utf-8"))
        assert rest, f"{path.name} has no dashes"
        if len(rest) == 1:
            rest = ["", rest[0]]
        for number, (question, expected) in enumerate(zip(rest[::2], rest[1::2], strict=True), 1):
            cases.append(Case(f"{path.stem}-{number}", policy, question, expected.strip()))
    return cases


def answer(policy: Policy, question: str) -> str:
    fields: dict[str, list[str]] = {}
    for line in question.strip().splitlines():
        if not line.startswith("#"):
            name, value = line.split(": ", 1)
            fields.setdefault(name, []).append(value)
    name, *labels = fields["on"][0].split()
    classes = dict(pair.split("=") for pair in fields.get("classes", [""])[0].split())
    resource = Resource(name, "postgres", frozenset(labels), classes)
    who = principal(fields["as"][0])
    now = datetime.fromisoformat(fields.get("at", [NOON])[0]).replace(tzinfo=UTC).timestamp()
    if "reveal" in fields:
        shown = policy.reveal(who, resource, fields["reveal"][0].split(), now=now)
        return "reveals: " + (" ".join(sorted(shown)) or "nothing")
    effects = tuple(Effect(*line.split(" ", 2)) for line in fields["do"])
    facts = dict(fact(pair) for pair in re.findall(r"\S+=\{.*?\}|\S+", fields.get("facts", [""])[0]))
    approved = frozenset(fields.get("approved", [""])[0].split())
    return render(policy.decide(who, resource, effects, facts, approved=approved, now=now))


def principal(text: str) -> Principal:
    """`alice (engineering)`, `claude (bots) for alice (engineering)`, `agent stray`, `workload interlock`."""
    first, _, owner = text.partition(" for ")
    match = re.fullmatch(r"(?:(user|agent|workload) )?(\S+)(?: \((.*)\))?", first)
    assert match, text
    kind = match[1] or ("agent" if owner else "user")
    groups = frozenset(group.strip() for group in (match[3] or "").split(",") if group)
    behalf = principal(owner) if owner else None
    if kind == "user":
        return Principal(match[2], "user", groups, behalf)
    return Principal(match[2], "agent" if kind == "agent" else "workload", groups, behalf)


def fact(pair: str) -> tuple[str, Fact]:
    name, value = pair.split("=", 1)
    if value.startswith("{"):
        return name, frozenset(value.strip("{}").split())
    if value in ("true", "false"):
        return name, value == "true"
    return name, int(value) if value.isdigit() else value


def render(decision: Decision) -> str:
    head = decision.verdict.value + (" by " + " and ".join(sorted(decision.groups)) if decision.groups else "")
    needs = [f"needs: {' '.join(sorted(decision.needs))}"] if decision.needs else []
    return "\n".join([f"{head} ({', '.join(decision.rules) or 'no rule'})", *decision.reasons, *needs])
