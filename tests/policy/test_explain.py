"""An explanation names rules, places, and what would change the verdict; and it agrees with the decision."""

from __future__ import annotations

import json

from interlock.exchange import Effect, Principal, Resource, Verdict
from interlock.policy import Policy, explain

NOW = 1_795_000_000.0
POLICY = Policy.load(
    {
        "shop.cedar": """
@id("eng-write")
permit (principal in Group::"engineering", action in Action::"write", resource in Label::"env:dev");
@id("few") permit (principal, action == Action::"sql.insert", resource) when { context.statement_count == 1 };
@id("no-where") @hold("dba") @reason("DELETE or UPDATE without WHERE")
forbid (principal, action in [Action::"sql.delete", Action::"sql.update"], resource) when { !context.has_where };
@id("no-agents") forbid (principal is Agent, action == Action::"sql.truncate", resource);
"""
    }
)
ALICE = Principal("alice", groups=frozenset({"engineering"}))
SAM = Principal("sam", groups=frozenset({"sales"}))
DEV = Resource("orders-db", "postgres", frozenset({"env:dev"}))
PROD = Resource("orders-db", "postgres", frozenset({"env:prod"}))
DELETE = [Effect("sql.delete", "Table", "public.customers")]


def test_a_hold_says_who_must_agree() -> None:
    told = explain(POLICY, ALICE, DEV, DELETE, {"has_where": False}, now=NOW)
    assert told.lines() == [
        f"hold by dba (policy {POLICY.version})",
        "  DELETE or UPDATE without WHERE",
        "hold: sql.delete on orders-db/public.customers for alice",
        "  forbid no-where (shop.cedar:5): DELETE or UPDATE without WHERE",
        "  would change it: approval by dba",
    ]


def test_a_default_deny_names_the_nearest_permits() -> None:
    told = explain(POLICY, SAM, DEV, DELETE, {"has_where": True}, now=NOW)
    assert told.seen[0].change == ('eng-write (shop.cedar:2) would permit it if the principal were in Group::"engineering"',)
    told = explain(POLICY, ALICE, PROD, DELETE, {"has_where": True}, now=NOW)
    assert told.seen[0].change == ('eng-write (shop.cedar:2) would permit it if the resource were in Label::"env:dev"',)
    told = explain(POLICY, ALICE, PROD, [Effect("sql.insert", "Table", "public.t")], {"statement_count": 2}, now=NOW)
    assert told.seen[0].change[1] == "few (shop.cedar:4) would permit it if its conditions were met"
    told = explain(POLICY, SAM, PROD, DELETE, {"has_where": True}, now=NOW)
    assert told.seen[0].change == ("a permit rule for it: none comes near",)
    told = explain(POLICY, ALICE, DEV, [Effect("sql.ddl", "Table", "public.t")], {}, now=NOW)
    assert told.seen[0].change == ("eng-write (shop.cedar:2) would permit it if it covered this action",)


def test_agent_and_owner_are_seen_apart() -> None:
    agent = Principal("claude", "agent", frozenset({"engineering"}), ALICE)
    told = explain(POLICY, agent, DEV, [Effect("sql.truncate", "Table", "public.t")], {}, now=NOW)
    assert [(seen.subject, seen.verdict) for seen in told.seen] == [("claude", Verdict.DENY), ("alice", Verdict.ALLOW)]
    assert told.seen[0].rules[0].id == "no-agents"
    assert told.seen[0].change == ("no-agents not matching: not principal is Agent",)
    assert told.decision.verdict is Verdict.DENY


def test_it_goes_into_json() -> None:
    told = explain(POLICY, ALICE, DEV, DELETE, {"has_where": False}, now=NOW)
    data = json.loads(json.dumps(told.to_dict()))
    assert data["decision"]["groups"] == ["dba"]
    assert data["effects"][0]["rules"][0]["place"] == "shop.cedar:5"


def test_what_cannot_be_asked_is_explained_by_the_decision() -> None:
    told = explain(POLICY, ALICE, DEV, DELETE, {}, now=NOW)
    assert told.seen == ()
    assert told.lines()[1] == "  sql.delete cannot be decided without knowing has_where"
