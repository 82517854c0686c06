"""Results as shapes: nothing is lost, nothing is left out, and what is masked once is masked everywhere."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import ProtocolError
from interlock.exchange import Resource
from interlock.masking import Masking, MaskingConfig
from interlock.protocols.mcp import JsonShape, render
from interlock.protocols.mcp.reply import DEPTH_MAX, RESULT_BYTES_MAX

KEY = bytes(range(32))
EMAIL = "kira.canary@lakeside.example"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
NODES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20)
NESTED = st.recursive(SCALARS | NODES.map(json.dumps), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
RESULTS = st.dictionaries(TEXT, NESTED, max_size=5)


def masked(result: object, classes: dict[str, str] | None = None, tool: str = "get", **transforms: str) -> Any:
    """The result behind the real lens of a principal who may reveal nothing."""
    masking = Masking(MaskingConfig(transforms), KEY)
    resource = Resource("desk", "mcp", classes=classes or {})
    document = json.dumps(result, ensure_ascii=False).encode()
    shape = JsonShape(tool, document)
    lens = masking.lens(shape, resource, frozenset())
    return json.loads(lens.apply(document)) if lens else result


# -- the codec -----------------------------------------------------------------------------------------


@given(RESULTS)
def test_what_is_split_joins_to_the_same_json(result: dict[str, Any]) -> None:
    document = json.dumps(result).encode()
    shape = JsonShape("get", document)
    rows = shape.split(document)
    assert len(rows) == 1 and len(rows[0]) == len(shape.columns)
    assert json.loads(shape.join(rows)) == result


@given(RESULTS)
def test_a_lens_that_changes_nothing_leaves_the_bytes(result: dict[str, Any]) -> None:
    masking = Masking(MaskingConfig(detectors=()), KEY)
    document = json.dumps(result, indent=1).encode()
    lens = masking.lens(JsonShape("get", document), Resource("desk", "mcp", classes={"other.column": "email"}), frozenset())
    assert lens is None or lens.apply(document) == document


@given(RESULTS)
def test_masking_every_leaf_leaves_no_value(result: dict[str, Any]) -> None:
    document = json.dumps(result).encode()
    shape = JsonShape("get", document)
    joined = json.loads(shape.join([[b"#" for _ in shape.columns]]))
    assert set(_scalars(joined)) <= {"#", None}


def _scalars(value: object) -> list[object]:
    match value:
        case dict():
            return [each for inner in value.values() for each in _scalars(inner)]
        case list():
            return [each for inner in value for each in _scalars(inner)]
        case str() if value[:1] in ("{", "["):
            return _scalars(json.loads(value))
        case _:
            return [value]


def test_only_the_described_result_can_be_split() -> None:
    shape = JsonShape("get", b'{"a":"x"}')
    with pytest.raises(ProtocolError):
        shape.split(b'{"a":"y"}')


@pytest.mark.parametrize("document", [b"", b"{", b'{"a":NaN}', b'{"a":1,"a":2}', b"\xff", b'{"a":' * 5_000])
def test_what_is_not_json_is_upstreams_fault(document: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        JsonShape("get", document)
    assert caught.value.fault == "upstream"


def test_bounds() -> None:
    with pytest.raises(ProtocolError):
        JsonShape("get", b'"' + b"x" * RESULT_BYTES_MAX + b'"')
    deep: object = "x"
    for _ in range(DEPTH_MAX + 1):
        deep = [deep]
    with pytest.raises(ProtocolError):
        JsonShape("get", json.dumps(deep).encode())


def test_depth_counts_through_texts() -> None:
    deep: object = ["x"]
    for _ in range(12):
        for _ in range(DEPTH_MAX // 10):
            deep = [deep]
        deep = [json.dumps(deep)] if len(json.dumps(deep)) < 100_000 else [deep]
    with pytest.raises(ProtocolError):
        JsonShape("get", json.dumps(deep).encode())


# -- every place ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda v: {"content": [{"type": "text", "text": f"write to {v} today"}]},
        lambda v: {"content": [], "structuredContent": {"a": [{"b": {"c": v}}]}},
        lambda v: {"content": [], "structuredContent": {v: 1}},
        lambda v: {"content": [], "_meta": {"x.example/y": {"deep": [v]}}},
        lambda v: {"content": [], "_meta": {v: True}},
        lambda v: {"content": [{"type": "text", "text": "no", "_meta": {"k": v}}], "isError": True},
        lambda v: {"content": [{"type": "resource_link", "uri": f"mailto:{v}", "name": v, "description": v}]},
        lambda v: {"content": [{"type": "resource", "resource": {"uri": "f:/a", "text": v}}]},
        lambda v: {"content": [{"type": "resource", "resource": {"uri": "f:/a", "blob": base64.b64encode(f"a,{v}\n".encode()).decode()}}]},
        lambda v: {"content": [{"type": "text", "text": json.dumps({"x": json.dumps([{"mail": v}])})}]},
        lambda v: {"content": [{"type": v}]},
    ],
)
def test_an_address_is_found_wherever_it_stands(wrap: Callable[[str], Any]) -> None:
    shown = json.dumps(masked(wrap(EMAIL)))
    assert "canary" not in shown and "canary" not in base64.b64encode(shown.encode()).decode()
    for block in masked(wrap(EMAIL)).get("content", []):
        blob = block.get("resource", {}).get("blob", "")
        assert b"canary" not in base64.b64decode(blob)


def test_a_key_twice_inside_a_text_hides_nothing() -> None:
    text = '{"mail":"' + EMAIL + '","mail":"none"}'
    assert "canary" not in json.dumps(masked({"content": [{"type": "text", "text": text}]}))


def test_two_keys_with_one_label_keep_both_values() -> None:
    result = masked({"structuredContent": {f"a.{EMAIL}": 1, f"b.{EMAIL}": 2}}, email="redact")
    assert sorted(result["structuredContent"].values()) == [1, 2]
    assert "canary" not in json.dumps(result)


def test_the_protocols_own_words_stay() -> None:
    result = {"content": [{"type": "text", "text": "hello"}], "isError": False, "resultType": "complete"}
    assert masked(result, {"type": "secret", "get.type": "secret"}) == result


# -- classes ---------------------------------------------------------------------------------------------


def test_a_class_by_tool_and_key_masks_the_value_whatever_it_is() -> None:
    result = masked(
        {"structuredContent": {"name": "Vera Okafor", "salary": 72000, "pin": 17, "ill": True, "rate": 0.5, "none": None, "id": 3}},
        {f"get.{key}": "personal" for key in ("name", "salary", "pin", "ill", "rate", "none")},
    )
    label = "[personal]"
    assert result["structuredContent"] == {
        "name": label, "salary": label, "pin": label, "ill": label, "rate": label, "none": None, "id": 3,
    }  # fmt: skip


def test_a_class_is_for_its_tool_only_unless_it_names_none() -> None:
    data = {"structuredContent": {"name": "Vera Okafor"}}
    assert masked(data, {"other.name": "personal"}) == data
    assert masked(data, {"name": "personal"})["structuredContent"] == {"name": "[personal]"}


def test_lists_inherit_the_key_above_them() -> None:
    assert masked({"structuredContent": {"names": ["Vera", ["Ben"]]}}, {"get.names": "personal"})["structuredContent"] == {
        "names": ["[personal]", ["[personal]"]]
    }


def test_a_value_with_a_class_keeps_its_transform() -> None:
    shown = masked({"structuredContent": {"customer": EMAIL}}, {"get.customer": "email"}, email="partial")
    assert shown["structuredContent"]["customer"].startswith("k***@")


def test_the_same_answer_as_text_is_masked_as_well() -> None:
    """Servers repeat structured content as a text of JSON; masking one and not the other shows everything."""
    data = {"id": 3, "customer": "Vera Okafor", "salary": 72000}
    text = json.dumps(data, indent=2)
    shown = masked(
        {"content": [{"type": "text", "text": text}], "structuredContent": data}, {"get.customer": "personal", "get.salary": "personal"}
    )
    assert (
        json.loads(shown["content"][0]["text"]) == shown["structuredContent"] == {"id": 3, "customer": "[personal]", "salary": "[personal]"}
    )
    assert "\n" in shown["content"][0]["text"]


@pytest.mark.parametrize("value", ["Vera Okafor", "Al", 72000, 17, True, 0.5])
def test_a_single_value_as_text_is_masked_as_well(value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    shown = masked({"content": [{"type": "text", "text": text}], "structuredContent": {"result": value}}, {"get.result": "personal"})
    assert shown == {"content": [{"type": "text", "text": "[personal]"}], "structuredContent": {"result": "[personal]"}}


def test_a_masked_value_is_masked_in_prose_keys_and_meta() -> None:
    shown = masked(
        {
            "content": [{"type": "text", "text": "Vera Okafor (72000 €) is not Vera Okaforova, nor 172000."}],
            "structuredContent": {"name": "Vera Okafor", "salary": 72000, "by": {"Vera Okafor": 1}},
            "_meta": {"cache": "desk/Vera Okafor", "sum": 72000},
        },
        {"get.name": "name", "get.salary": "money"},
    )
    assert shown["content"][0]["text"] == "[name] ([money] €) is not Vera Okaforova, nor 172000."
    assert shown["structuredContent"] == {"name": "[name]", "salary": "[money]", "by": {"[name]": 1}}
    assert shown["_meta"] == {"cache": "desk/[name]", "sum": "[money]"}


def test_many_masked_values_leave_the_rest_readable() -> None:
    names = [f"Person {n}" for n in range(3_000)]
    prose = "lorem ipsum " * 4_000
    data = {"content": [{"type": "text", "text": f"{prose}(Person 7, Person 2999) Person 3000"}], "structuredContent": {"names": names}}
    shown = masked(data, {"get.names": "p"})
    assert shown["content"][0]["text"] == f"{prose}([p], [p]) Person 3000"


def test_values_of_too_many_lengths_hide_their_first_word() -> None:
    names = ["Vera" + " x" * n for n in range(60)]
    shown = masked({"content": [{"type": "text", "text": "Vera x x met Ben"}], "structuredContent": {"names": names}}, {"get.names": "p"})
    assert "Vera" not in shown["content"][0]["text"] and shown["content"][0]["text"].endswith("met Ben")


@given(st.lists(st.text("ab .-", min_size=4, max_size=8), min_size=1, max_size=4), st.text("ab .-", max_size=40))
def test_no_masked_value_is_left_as_a_word(values: list[str], prose: str) -> None:
    shown = masked({"content": [{"type": "text", "text": prose}], "structuredContent": {"v": values}}, {"get.v": "secret"})["content"][0][
        "text"
    ]
    for value in values:
        first, last = value[0], value[-1]
        if first.isalnum() and last.isalnum():
            assert not re.search(rf"(?<!\w){re.escape(value)}(?!\w)", shown)


def test_null_is_for_structured_content_only() -> None:
    """A text block must hold a text, or the whole result is none."""
    shown = masked(
        {
            "content": [{"type": "text", "text": EMAIL, "annotations": {"priority": 0.5}}],
            "structuredContent": {"mail": EMAIL, "priority": 0.5},
        },
        {"get.priority": "rank"},
        email="null",
        rank="null",
    )
    assert shown == {
        "content": [{"type": "text", "text": "[masked]", "annotations": {"priority": None}}],
        "structuredContent": {"mail": None, "priority": None},
    }


def test_a_number_of_the_protocol_becomes_null_not_a_text() -> None:
    shown = masked({"content": [{"type": "resource_link", "uri": "f:/a", "name": "a", "size": 4111111111111111}]})
    assert shown["content"][0]["size"] is None


def test_without_a_tool_detectors_alone_decide() -> None:
    """A listing: a class of some result's key must not hide the names of tools."""
    listing = {"tools": [{"name": "get", "description": f"asks {EMAIL}"}]}
    shown = masked(listing, {"name": "personal", "get.name": "personal"}, tool="")
    assert shown["tools"][0]["name"] == "get" and "canary" not in shown["tools"][0]["description"]


# -- replay ---------------------------------------------------------------------------------------------


def test_rendering() -> None:
    assert render("up", b'{"name":"get","arguments":{"id":1}}') == ['get {"id":1}']
    assert render("up", b'{"method":"tools/list"}') == ['{"method":"tools/list"}']
    assert render("down", b'{"content":[{"type":"text","text":"a"},{"type":"image","data":"x"}]}') == [
        "a",
        "{'type': 'image', 'data': 'x'}",
    ]
    assert render("down", b'{"tools":[]}') == ['{"tools":[]}']
    assert render("down", b"\xffnot json") == ["�not json"]
