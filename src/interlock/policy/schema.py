"""The shipped Cedar schema, and what Python must know of it: which action applies to what, in which context."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import cedarpy

SCHEMA_TEXT: Final = files(__package__).joinpath("schema.cedarschema").read_text("utf-8")
BASE_NAME: Final = "base.cedar"
BASE_TEXT: Final = files(__package__).joinpath(BASE_NAME).read_text("utf-8")

# The engine offers no JSON form of a schema, but it prints one canonical text: that is what these read.
_TYPE = re.compile(r"^type (\w+) = \{\n(.*?)^\};", re.M | re.S)
_ATTRIBUTE = re.compile(r'^  "?(\w+)"?: ([^\n]+?),?$', re.M)
_ENTITY = re.compile(r"^entity (\w+)", re.M)
_ACTION = re.compile(r'^action "([^"]+)"(?: in \[(.*?)\])?(?: appliesTo \{\n(.*?)^\})?;', re.M | re.S)
_PARENT = re.compile(r'Action::"([^"]+)"')
_LIST = re.compile(r"^  resource: \[(.*?)\]", re.M)
_CONTEXT = re.compile(r"^  context: (\w+)", re.M)


@dataclass(frozen=True, slots=True)
class Action:
    """One action: the groups it lies in (transitively), the kinds of object it applies to, its context (name → Cedar
    type, as in `Set<String>`; all of it is required).

    A pure group (`read`) has no kinds and is never asked about."""

    id: str
    groups: frozenset[str]
    kinds: frozenset[str]
    context: dict[str, str]


@dataclass(frozen=True, slots=True)
class Schema:
    """The parsed schema: `handle` for the engine, `actions` and `kinds` (entity types) for us."""

    handle: cedarpy.Schema
    actions: dict[str, Action]
    kinds: frozenset[str]


@cache
def schema() -> Schema:
    """The schema that this package ships."""
    handle = cedarpy.Schema.from_str(SCHEMA_TEXT)
    text = str(handle)
    contexts = {name: dict(_ATTRIBUTE.findall(body)) for name, body in _TYPE.findall(text)}
    parents = {name: frozenset(_PARENT.findall(groups)) for name, groups, _ in _ACTION.findall(text)}
    actions = {}
    for name, _, applies in _ACTION.findall(text):
        kinds, context = _LIST.search(applies), _CONTEXT.search(applies)
        actions[name] = Action(
            name,
            _closure(name, parents),
            frozenset(kinds.group(1).split(", ")) if kinds else frozenset(),
            contexts[context.group(1)] if context else {},
        )
    return Schema(handle, actions, frozenset(_ENTITY.findall(text)))


def _closure(name: str, parents: dict[str, frozenset[str]]) -> frozenset[str]:
    direct = parents[name]
    return direct.union(*(_closure(parent, parents) for parent in direct))
