"""What a tool declares of its results stays true after masking."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # comes with the MCP SDK
import pytest

from interlock.exchange import Resource
from interlock.masking import Masking, MaskingConfig
from interlock.protocols.mcp import JsonShape, loosened

TICKET: dict[str, Any] = {
    "type": "object",
    "$defs": {
        "Status": {"enum": ["open", "closed"], "type": "string"},
        "Person": {
            "type": "object",
            "properties": {"mail": {"type": "string", "format": "email", "pattern": "^[a-z.]+@"}, "age": {"type": "integer", "minimum": 0}},
            "required": ["mail", "age"],
            "additionalProperties": False,
        },
    },
    "properties": {
        "id": {"type": "integer", "exclusiveMinimum": 0},
        "status": {"$ref": "#/$defs/Status"},
        "person": {"$ref": "#/$defs/Person"},
        "rating": {"oneOf": [{"type": "number", "maximum": 5}, {"type": "null"}]},
        "kind": {"const": "ticket"},
        "flags": {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True},
        "links": {"type": "object", "patternProperties": {"^https:": {"type": "integer"}}, "additionalProperties": False},
    },
    "required": ["id", "status", "person"],
}
RESULT = {
    "id": 17,
    "status": "open",
    "person": {"mail": "kira.canary@lakeside.example", "age": 41},
    "rating": 4.5,
    "kind": "ticket",
    "flags": [True, False],
    "links": {"https://lakeside.example": 7},
}
EVERY = {f"get.{key}": "secret" for key in ("id", "status", "mail", "age", "rating", "kind", "flags", "https://lakeside_example")}


@pytest.mark.parametrize("transform", ["redact", "partial", "hash", "null"])
def test_a_result_with_everything_masked_fits(transform: str) -> None:
    masking = Masking(MaskingConfig({"*": transform}), bytes(range(32)))
    document = json.dumps({"structuredContent": RESULT}).encode()
    lens = masking.lens(JsonShape("get", document), Resource("desk", "mcp", classes=EVERY), frozenset())
    assert lens is not None
    shown = json.loads(lens.apply(document))["structuredContent"]
    jsonschema.validate(RESULT, TICKET)
    jsonschema.validate(shown, loosened(TICKET))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(shown, TICKET)


def test_what_fitted_still_fits() -> None:
    jsonschema.Draft202012Validator.check_schema(loosened(TICKET))
    jsonschema.validate(RESULT, loosened(TICKET))


@pytest.mark.parametrize(
    "wrong", [[], {"id": 1}, {"id": [], "status": "open", "person": {"mail": "", "age": 1}}, {"id": 1, "status": "", "person": 3}]
)
def test_structure_is_still_promised(wrong: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, loosened(TICKET))


def test_examples_are_not_shown() -> None:
    assert loosened({"type": "string", "default": "a@b.example", "examples": ["c@d.example"]}) == {"type": ["null", "string"]}


def test_a_schema_without_end_is_cut() -> None:
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(500):
        deep = {"type": "array", "items": deep}
    jsonschema.validate([[[]]], loosened(deep))
