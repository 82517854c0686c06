"""The schema keeps step with what the other rooms ask about."""

from __future__ import annotations

from interlock.facts.sql import ACTIONS
from interlock.policy.schema import schema


def test_every_effect_of_a_statement_is_in_the_schema() -> None:
    known = schema().actions
    missing = {(action, kind) for action, kinds in ACTIONS.items() for kind in kinds if kind not in known[action].kinds}
    assert ACTIONS
    assert not missing


def test_what_doors_and_gate_ask_is_in_the_schema() -> None:
    known = schema().actions
    asked = {
        ("connect", "Resource"),
        ("sql.unparsed", "Resource"),
        ("sql.opaque", "Function"),
        ("filter", "Column"),
        ("filter.equal", "Column"),
    }
    asked |= {("reveal", "DataClass"), ("mcp.call", "Tool"), ("mcp.list", "Resource"), ("mcp.read", "Document"), ("mcp.prompt", "Prompt")}
    assert not {(action, kind) for action, kind in asked if kind not in known[action].kinds}


def test_groups_are_read_with_their_members() -> None:
    known = schema().actions
    assert {name for name, action in known.items() if "write" in action.groups} == {
        "sql.insert",
        "sql.update",
        "sql.delete",
        "sql.truncate",
    }
    assert "filter" in known["filter.equal"].groups
    assert not known["read"].kinds
    assert known["sql.delete"].context["has_where"] == "Bool"
    assert "has_where" not in known["connect"].context
