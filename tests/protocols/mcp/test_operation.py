"""MCP calls as operations: the content is canonical, so that equal calls are equal to an approval."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import ProtocolError
from interlock.exchange import Resource
from interlock.protocols.mcp import call, listing
from interlock.protocols.mcp.operation import ARGUMENTS_BYTES_MAX, FACTS_MAX, TOOL_CHARS_MAX

DESK = Resource("desk", "mcp")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ARGUMENTS = st.dictionaries(
    NAMES, st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)), max_size=5
)


@given(ARGUMENTS)
def test_content_says_exactly_the_call(arguments: dict[str, object]) -> None:
    operation = call(DESK, "find", arguments)
    assert json.loads(operation.content) == {"name": "find", "arguments": arguments}
    assert operation.text.encode() == operation.content


@given(ARGUMENTS)
def test_the_order_of_arguments_makes_no_other_call(arguments: dict[str, object]) -> None:
    assert call(DESK, "find", dict(reversed(arguments.items()))).content == call(DESK, "find", arguments).content


def test_nested_arguments_are_canonical_too() -> None:
    assert (
        call(DESK, "t", {"a": {"x": 1, "y": [{"p": 1, "q": 2}]}}).content
        == call(DESK, "t", {"a": {"y": [{"q": 2, "p": 1}], "x": 1}}).content
    )


@pytest.mark.parametrize("other", [{"id": 2}, {"id": "1"}, {"id": 1, "all": None}, {"ID": 1}, {}])
def test_other_arguments_are_another_call(other: dict[str, object]) -> None:
    assert call(DESK, "get", other).content != call(DESK, "get", {"id": 1}).content


def test_tool_and_arguments_cannot_be_shifted_into_one_another() -> None:
    assert call(DESK, 'get","arguments":{}', {}).content != call(DESK, "get", {}).content


def test_effect_facts_and_title() -> None:
    operation = call(DESK, "get", {"id": 7, "deep": {"a": 1}, "raw": True, "name": "x", "part": 1.5, "none": None})
    assert [(e.action, e.kind, e.object) for e in operation.effects] == [("mcp.call", "Tool", "get")]
    assert operation.facts == {
        "arguments": frozenset({"id", "deep", "raw", "name", "part", "none"}),
        "argument.id": 7,
        "argument.raw": True,
        "argument.name": "x",
    }
    assert operation.title == "get(deep, id, name, none, part, raw)"
    assert not operation.flows


def test_a_title_holds_no_value() -> None:
    assert "secret" not in call(DESK, "get", {"id": "secret"}).title


def test_numbers_that_policy_cannot_hold_are_no_facts() -> None:
    facts = call(DESK, "get", {"a": 2**63 - 1, "b": 2**63, "c": -(2**63), "d": -(2**63) - 1}).facts
    assert {name for name in facts if name.startswith("argument.")} == {"argument.a", "argument.c"}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("", {}),
        ("t" * (TOOL_CHARS_MAX + 1), {}),
        ("t", {"a": "x" * ARGUMENTS_BYTES_MAX}),
        ("t", {str(n): n for n in range(FACTS_MAX + 1)}),
        ("t", {"a": "\ud800"}),
        ("t", {"a": object()}),
    ],
)
def test_bounds(tool: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ProtocolError) as caught:
        call(DESK, tool, arguments)
    assert caught.value.fault == "client"


def test_nesting_without_end_is_refused() -> None:
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ProtocolError):
        call(DESK, "t", deep)
    while deep:  # taken apart by hand: freeing it at once recurses
        deep = deep.pop("a")  # type: ignore[assignment]


def test_a_listing_has_no_arguments() -> None:
    operation = listing(DESK)
    assert [(e.action, e.kind, e.object) for e in operation.effects] == [("mcp.list", "Resource", "")]
    assert json.loads(operation.content) == {"method": "tools/list"}
