"""Output schemas as masked results keep them: a mask may put a text (or null) where a number stood, and a label where a
pattern was promised. Clients check structured content against what the tool declares, so it declares what is true.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.protocols.mcp.reply import DEPTH_MAX

_SCALARS = frozenset({"string", "number", "integer", "boolean", "null"})
_VALUES = frozenset(
    {"const", "enum", "pattern", "format", "minLength", "maxLength", "contentEncoding", "contentMediaType", "contentSchema"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "uniqueItems"}
    | {"not", "if", "then", "else", "contains", "minContains", "maxContains", "default", "examples"}
)
"""What promises something about values (JSON Schema 2020-12, validation), or shows some."""
_KEYS = frozenset({"propertyNames", "patternProperties", "dependentRequired", "dependentSchemas", "minProperties", "maxProperties"})
"""What promises something about keys, which may be masked like values; as do `required` and a closed object,
where properties are not named one by one."""
_NAMED = frozenset({"properties", "$defs", "definitions"})


def loosened(schema: Mapping[str, object]) -> dict[str, object]:
    """The schema of a tool's results after masking: what the original accepts, and the same with masked scalars.
    Objects stay objects, lists stay lists, named properties stay required."""
    return _loosened(schema, 0)


def _loosened(schema: Mapping[str, object], depth: int) -> dict[str, object]:
    if depth > DEPTH_MAX:
        return {}
    loose: dict[str, object] = {}
    for key, value in schema.items():
        if key in _VALUES or key in _KEYS or (key == "additionalProperties" and (value is False or "patternProperties" in schema)):
            continue
        if key == "type":
            loose[key] = _types(value)
        elif key in _NAMED and isinstance(value, Mapping):
            loose[key] = {name: _node(inner, depth) for name, inner in value.items()}
        elif key == "oneOf":  # a mask may fit several of them
            loose.setdefault("anyOf", _each(value, depth))
        elif key in ("anyOf", "allOf", "prefixItems"):
            loose[key] = _each(value, depth)
        elif key in ("items", "additionalProperties", "unevaluatedItems", "unevaluatedProperties"):
            loose[key] = _node(value, depth)
        else:
            loose[key] = value
    return loose


def _node(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        return _loosened(value, depth + 1)
    return value if value is not False else {}


def _each(value: object, depth: int) -> object:
    return [_node(inner, depth) for inner in value] if isinstance(value, list) else value


def _types(value: object) -> object:
    """`object` and `array` stay as they are; a scalar may also be a text or null."""
    types = {each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)}
    return sorted(types | {"string", "null"}) if types & _SCALARS else value
