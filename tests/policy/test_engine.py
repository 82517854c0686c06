"""The engine against a reference that is written as plain set logic, its caches, and its speed-giving slices."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.exchange import Effect, Principal, Resource, Verdict
from interlock.policy import Policy
from interlock.policy.memory import Memory

NOW = 1_795_000_000.0
GROUPS = ("red", "green")
LABELS = ("env:dev", "env:prod")
TABLES = ("public.a", "public.b")
MEMBERS = {"sql.select": {"sql", "read"}, "sql.delete": {"sql", "write"}, "sql.update": {"sql", "write"}}
ALICE = Principal("alice", groups=frozenset({"red"}))
DEV = Resource("db", "postgres", frozenset({"env:dev"}))
ALL = '@id("all") permit (principal, action, resource);'


@dataclass(frozen=True)
class Made:
    """A generated rule, as Cedar text and as a predicate."""

    effect: str
    group: str | None
    action: str | None
    target: str | None
    whereless: bool
    hold: frozenset[str]

    def cedar(self, number: int) -> str:
        hold = f'@hold("{",".join(sorted(self.hold))}") ' if self.hold else ""
        who = f'principal in Group::"{self.group}"' if self.group else "principal"
        what = f'action in Action::"{self.action}"' if self.action else "action"
        if self.target is None:
            where = "resource"
        else:
            where = f'resource in Label::"{self.target}"' if ":" in self.target else f'resource == Table::"db/{self.target}"'
        when = " when { context has has_where && !context.has_where }" if self.whereless else ""
        return f'@id("r{number}") {hold}{self.effect} ({who}, {what}, {where}){when};'

    def matches(self, who: Principal, on: Resource, effect: Effect, where: bool) -> bool:
        return (
            (self.group is None or self.group in who.groups)
            and (self.action is None or self.action == effect.action or self.action in MEMBERS[effect.action])
            and (self.target is None or self.target in on.labels or self.target == effect.object)
            and not (self.whereless and where)
        )


def reference(
    rules: list[Made], who: Principal, on: Resource, effects: list[Effect], where: bool, approved: frozenset[str]
) -> tuple[str, frozenset[str]]:
    """The verdict by set logic: default deny, a plain forbid wins, holds unite over effects and subjects."""
    groups: frozenset[str] = frozenset()
    chain = [who, who.on_behalf_of] if who.on_behalf_of else [who]
    for subject in chain:
        for effect in effects:
            hit = [rule for rule in rules if rule.matches(subject, on, effect, where)]
            if not any(rule.effect == "permit" for rule in hit):
                return "deny", frozenset()
            for rule in hit:
                if rule.effect == "forbid" and not rule.hold:
                    return "deny", frozenset()
                groups |= rule.hold - approved
    return ("hold", groups) if groups else ("allow", groups)


@st.composite
def rules(draw: st.DrawFn) -> Made:
    effect = draw(st.sampled_from(["permit", "permit", "forbid"]))
    return Made(
        effect,
        draw(st.sampled_from([None, *GROUPS])),
        draw(st.sampled_from([None, "read", "write", "sql", *MEMBERS])),
        draw(st.sampled_from([None, *LABELS, *TABLES])),
        draw(st.booleans()),
        draw(st.frozensets(st.sampled_from(["x", "y"]))) if effect == "forbid" else frozenset(),
    )


people = st.builds(Principal, st.just("p"), groups=st.frozensets(st.sampled_from(GROUPS)))
agents = st.builds(Principal, st.just("bot"), st.just("agent"), st.frozensets(st.sampled_from(GROUPS)), people)
resources = st.builds(Resource, st.just("db"), st.just("postgres"), st.frozensets(st.sampled_from(LABELS)))
effects = st.lists(st.builds(Effect, st.sampled_from(sorted(MEMBERS)), st.just("Table"), st.sampled_from(TABLES)), min_size=1, max_size=4)
approvals = st.frozensets(st.sampled_from(["x", "y", "z"]))


def load(made: list[Made]) -> Policy:
    return Policy.load({"made.cedar": "\n".join(rule.cedar(number) for number, rule in enumerate(made))})


@settings(max_examples=150)
@given(st.lists(rules(), max_size=7), people | agents, resources, effects, st.booleans(), approvals)
def test_the_engine_agrees_with_set_logic(
    made: list[Made], who: Principal, on: Resource, asked: list[Effect], where: bool, approved: frozenset[str]
) -> None:
    decision = load(made).decide(who, on, asked, {"has_where": where}, approved=approved, now=NOW)
    assert (decision.verdict.value, decision.groups) == reference(made, who, on, asked, where, approved)


@settings(max_examples=60)
@given(st.lists(rules(), max_size=5), rules(), people | agents, resources, effects, st.booleans(), approvals)
def test_one_more_forbid_never_widens(
    made: list[Made], more: Made, who: Principal, on: Resource, asked: list[Effect], where: bool, approved: frozenset[str]
) -> None:
    order = [Verdict.DENY, Verdict.HOLD, Verdict.ALLOW]
    facts = {"has_where": where}
    before = load(made).decide(who, on, asked, facts, approved=approved, now=NOW)
    after = load([*made, replace(more, effect="forbid")]).decide(who, on, asked, facts, approved=approved, now=NOW)
    assert order.index(after.verdict) <= order.index(before.verdict)
    if after.verdict is Verdict.HOLD:
        assert before.groups <= after.groups


@settings(max_examples=60)
@given(st.lists(rules(), max_size=6), people | agents, resources, effects, st.booleans(), approvals)
def test_approval_gives_only_what_was_held(
    made: list[Made], who: Principal, on: Resource, asked: list[Effect], where: bool, approved: frozenset[str]
) -> None:
    policy, facts = load(made), {"has_where": where}
    plain = policy.decide(who, on, asked, facts, now=NOW)
    given_some = policy.decide(who, on, asked, facts, approved=approved, now=NOW)
    if given_some.verdict is Verdict.ALLOW:
        assert plain.verdict is Verdict.ALLOW or (plain.verdict is Verdict.HOLD and plain.groups <= approved)
    if plain.verdict is Verdict.HOLD:
        assert policy.decide(who, on, asked, facts, approved=plain.groups, now=NOW).verdict is Verdict.ALLOW


def test_a_remembered_decision_is_the_same_and_bound_to_what_rules_read() -> None:
    policy = Policy.load(
        {
            "p": f"{ALL} @id('w') forbid (principal, action == Action::'sql.delete', resource) when {{ !context.has_where }};".replace(
                "'", '"'
            )
        }
    )
    delete = (Effect("sql.delete", "Table", "public.a"),)
    first = policy.decide(ALICE, DEV, delete, {"has_where": True}, now=NOW)
    assert policy.decide(ALICE, DEV, delete, {"has_where": True, "tables": frozenset({"public.a"})}, now=NOW) is first
    assert policy.decide(replace(ALICE, proof="another token"), DEV, delete, {"has_where": True}, now=NOW) is first
    assert policy.decide(ALICE, DEV, delete, {"has_where": False}, now=NOW).verdict is Verdict.DENY
    assert policy.decide(ALICE, DEV, delete, {"has_where": 1}, now=NOW).needs == {"has_where"}


def test_keys_differ_wherever_decisions_may() -> None:
    where = '@id("w") forbid (principal, action == Action::"sql.delete", resource) when { !context.has_where };'
    policy = Policy.load({"p": ALL + where})
    delete = [Effect("sql.delete", "Table", "public.a")]
    agent = Principal("alice", "agent", ALICE.groups, ALICE)
    keys = {
        policy.cache_key(ALICE, DEV, delete, {"has_where": True}),
        policy.cache_key(ALICE, DEV, delete, {"has_where": False}),
        policy.cache_key(ALICE, DEV, delete, {"has_where": 1}),
        policy.cache_key(ALICE, DEV, [Effect("sql.delete", "Table", "public.b")], {"has_where": True}),
        policy.cache_key(ALICE, replace(DEV, labels=frozenset()), delete, {"has_where": True}),
        policy.cache_key(ALICE, replace(DEV, classes={"a.b": "c"}), delete, {"has_where": True}),
        policy.cache_key(replace(ALICE, groups=frozenset()), DEV, delete, {"has_where": True}),
        policy.cache_key(agent, DEV, delete, {"has_where": True}),
        policy.cache_key(replace(agent, on_behalf_of=replace(ALICE, groups=frozenset())), DEV, delete, {"has_where": True}),
    }
    assert len(keys) == 9
    assert None not in keys


def test_arguments_belong_to_the_key_only_where_rules_read_them() -> None:
    call = [Effect("mcp.call", "Tool", "read")]
    blind = Policy.load({"p": ALL})
    assert blind.cache_key(ALICE, DEV, call, {"argument.a": "1"}) == blind.cache_key(ALICE, DEV, call, {"argument.a": "2"})
    rule = '@id("t") forbid (principal, action == Action::"mcp.call", resource) when { context.text.hasTag("a") };'
    seeing = Policy.load({"p": ALL + rule})
    assert seeing.cache_key(ALICE, DEV, call, {"argument.a": "1"}) != seeing.cache_key(ALICE, DEV, call, {"argument.a": "2"})
    assert seeing.cache_key(ALICE, DEV, call, {"argument.a": 1}) != seeing.cache_key(ALICE, DEV, call, {"argument.a": True})


def test_each_call_is_decided_by_its_own_arguments() -> None:
    rule = """@id("srv") permit (principal, action == Action::"mcp.call", resource)
    when { context.text.hasTag("path") && context.text.getTag("path") like "/srv/*" };"""
    policy, call, names = Policy.load({"p": rule}), [Effect("mcp.call", "Tool", "read")], frozenset({"path"})
    for _ in range(2):
        for path, verdict in (("/srv/a", Verdict.ALLOW), ("/etc/a", Verdict.DENY), ("/srv/b", Verdict.ALLOW)):
            assert policy.decide(ALICE, DEV, call, {"arguments": names, "argument.path": path}, now=NOW).verdict is verdict


def test_nothing_is_remembered_where_a_rule_looks_at_the_clock() -> None:
    policy = Policy.load({"p": ALL + '@id("t") forbid (principal, action == Action::"connect", resource) when { context.hour < 8 };'})
    assert policy.cache_key(ALICE, DEV, [Effect("connect")], {}) is None
    assert policy.cache_key(ALICE, DEV, [Effect("sql.select", "Table", "a")], {}) is not None
    night, noon = 1_795_046_400.0, 1_795_089_600.0
    assert policy.decide(ALICE, DEV, [Effect("connect")], {}, now=night).verdict is Verdict.DENY
    assert policy.decide(ALICE, DEV, [Effect("connect")], {}, now=noon).verdict is Verdict.ALLOW


def test_memory_is_bounded() -> None:
    memory: Memory[int, int] = Memory(3)
    for number in range(5):
        memory.put(number, number)
        memory.get(2)
    assert len(memory) == 3
    assert memory.get(2) == 2
    assert memory.get(0) is None


def test_a_slice_holds_only_rules_that_can_match() -> None:
    policy = Policy.load(
        {
            "p": """
            @id("s") permit (principal, action == Action::"sql.select", resource);
            @id("r") permit (principal, action in Action::"read", resource);
            @id("l") permit (principal, action in [Action::"write", Action::"mcp.call"], resource);
            @id("w") forbid (principal, action in [Action::"sql.update"], resource) when { context.has_where && context has tables };
            """
        }
    )
    own = {action: [rule.id for rule in part.rules if not rule.id.startswith("interlock-")] for action, part in policy.slices.items()}
    assert own["sql.select"] == ["r", "s"] or own["sql.select"] == ["s", "r"]
    assert own["mcp.read"] == ["r"]
    assert own["sql.update"] == ["l", "w"]
    assert own["mcp.call"] == ["l"]
    assert own["connect"] == []
    assert policy.reads("sql.update") == {"has_where", "tables"}
    assert policy.reads("sql.insert") == frozenset()


def test_the_version_names_the_text() -> None:
    one, same, other = Policy.load({"a": ALL}), Policy.load({"a": ALL}), Policy.load({"a": ALL + " "})
    assert one.version == same.version != other.version
    assert one.decide(ALICE, DEV, [Effect("connect")], {}, now=NOW).policy == one.version


def test_no_effects_is_a_deny() -> None:
    decision = Policy.load({"p": ALL}).decide(ALICE, DEV, [], {}, now=NOW)
    assert decision.verdict is Verdict.DENY
    assert decision.reasons == ("the operation says nothing about what it would do",)


def test_strange_names_cannot_leave_their_quotes() -> None:
    policy = Policy.load({"p": '@id("a") permit (principal == User::"a", action, resource == Table::"db/t");'})
    for name in ('a", b', 'User::"a"', "a\n", "\ud800", "a\x00"):
        decision = policy.decide(Principal(name), DEV, [Effect("sql.select", "Table", "t")], {}, now=NOW)
        assert decision.verdict is Verdict.DENY, name
        decision = policy.decide(Principal("a"), DEV, [Effect("sql.select", "Table", name)], {}, now=NOW)
        assert decision.verdict is Verdict.DENY, name


def test_a_number_that_cedar_cannot_hold_denies() -> None:
    policy = Policy.load(
        {"p": ALL + '@id("n") forbid (principal, action in Action::"sql", resource) when { context.statement_count > 5 };'}
    )
    select = [Effect("sql.select", "Table", "t")]
    assert policy.decide(ALICE, DEV, select, {"statement_count": 2**63}, now=NOW).verdict is Verdict.DENY
    assert policy.decide(ALICE, DEV, select, {"statement_count": 5}, now=NOW).verdict is Verdict.ALLOW
