"""Our nouns as Cedar entities and context: principals, the resource, the objects inside it, facts and time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import cedarpy

from interlock.errors import PolicyError
from interlock.exchange import Fact, Principal, Resource
from interlock.policy.schema import Action, schema

Json = dict[str, Any]
Uid = dict[str, str]

MAX_CHAIN: Final = 8
"""Principals in one chain of delegation: agent, its owner, and so on."""
TIME: Final = frozenset({"now", "hour", "weekday"})
ARGUMENT: Final = "argument."
"""Facts with this prefix are a tool's arguments: `argument.path` is `context.text.getTag("path")`."""

ARGUMENTS: Final = frozenset({"arguments", "text", "number", "flag"})
"""The context attributes that tell of a tool's arguments."""

_TYPES: Final = {"user": "User", "agent": "Agent", "workload": "Workload"}
_PARTS = re.compile(r'(?:"(?:[^"]|"")*"|[^."])+')
# The argument entities live for one call; one name each is enough, as each call has an entity set of its own.
# Cedar type → our type, and what stands in the context for a fact that is not told and that no rule reads.
_FACTS: Final[dict[str, tuple[type, Any]]] = {"Bool": (bool, False), "Long": (int, 0), "Set<String>": (frozenset, [])}
_TAGS: Final = {"text": ("Texts", str), "number": ("Numbers", int), "flag": ("Flags", bool)}


def subjects(principal: Principal) -> tuple[Principal, ...]:
    """Everybody whose rights must allow: the principal, its owner, and so on to the person who answers for it.

    Raises `PolicyError` for an agent that no user owns."""
    chain = [principal]
    while (owner := chain[-1].on_behalf_of) is not None:
        chain.append(owner)
        if len(chain) > MAX_CHAIN:
            raise PolicyError(f"{principal.id} acts through more than {MAX_CHAIN} others")
    if any(subject.kind == "agent" for subject in chain) and chain[-1].kind != "user":
        raise PolicyError(
            f"agent {principal.id} has no owner", hint="give the agent an owner: its rights are never more than that person's"
        )
    return tuple(chain)


def principal_uid(principal: Principal) -> Uid:
    return {"type": _TYPES[principal.kind], "id": principal.id}


def object_uid(resource: Resource, kind: str, name: str) -> Uid:
    """`Table::"orders-db/public.customers"`; the resource itself and data classes stand alone."""
    if kind == "DataClass":
        return {"type": kind, "id": name}
    return {"type": kind, "id": f"{resource.name}/{name}" if name else resource.name}


def classes_of(resource: Resource, column: str) -> tuple[str, ...]:
    """The data classes that a column may have. Names match when the shorter one is the end of the longer
    one, and `*` or an empty part is any column: what is not told exactly may be each of these."""
    return tuple(sorted({name for key, name in resource.classes.items() if _same(_parts(key), _parts(column))}))


def worlds(
    chain: tuple[Principal, ...], resource: Resource, objects: Iterable[tuple[str, str]], arguments: Mapping[str, Fact]
) -> tuple[cedarpy.Entities, ...]:
    """The entity sets in which a question about these objects (kind, name) is to be asked; all must allow.

    There is one, unless a column may have one of several data classes: then there is one for each, since a
    column that lay in all of them at once would pass by the right for a single one. Raises `PolicyError`."""
    common = [*_people(chain), *_place(resource), *_arguments(arguments)]
    common += [_entity("DataClass", name) for name in sorted(set(resource.classes.values()))]
    wanted = sorted(set(objects))
    count = max((len(classes_of(resource, name)) for kind, name in wanted if kind == "Column"), default=1)
    return tuple(_load(common + _objects(resource, wanted, world)) for world in range(max(count, 1)))


def reveal_world(chain: tuple[Principal, ...], resource: Resource, classes: Iterable[str]) -> cedarpy.Entities:
    """The entity set for questions about data classes."""
    return _load([*_people(chain), *_place(resource), *(_entity("DataClass", name) for name in sorted(set(classes)))])


def context(
    action: Action, reads: frozenset[str], facts: Mapping[str, Fact], resource: Resource, approved: frozenset[str], now: float
) -> tuple[Json, frozenset[str]]:
    """The context of one request, and the names of facts which the rules read (`reads`) and which are missing
    or of the wrong type. `now` is in UTC seconds."""
    moment = datetime.fromtimestamp(now, UTC)
    record: Json = {
        "approved": sorted(approved),
        "now": {"__extn": {"fn": "datetime", "arg": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}},
        "hour": moment.hour,
        "weekday": moment.isoweekday(),
        "resource": {"__entity": object_uid(resource, "Resource", "")},
        "labels": sorted(resource.labels),
    } | {name: {"__entity": {"type": kind, "id": name}} for name, (kind, _) in _TAGS.items()}
    missing = set()
    for name in action.context.keys() - record.keys():
        kind, unread = _FACTS[action.context[name]]
        fact = facts.get(name)
        if type(fact) is kind:
            record[name] = sorted(fact) if isinstance(fact, frozenset) else fact
        elif name in reads or (name == "arguments" and not ARGUMENTS.isdisjoint(reads)):
            missing.add(name)
        else:
            record[name] = unread
    return {name: record[name] for name in action.context if name in record}, frozenset(missing)


def _people(chain: tuple[Principal, ...]) -> list[Json]:
    owner = {"owner": {"__entity": principal_uid(chain[-1])}}
    people = {
        (subject.kind, subject.id): _entity(
            _TYPES[subject.kind],
            subject.id,
            owner if subject.kind == "agent" else {},
            [{"type": "Group", "id": group} for group in sorted(subject.groups)],
        )
        for subject in chain
    }
    if len(people) < len(chain):
        raise PolicyError(f"{chain[0].id} acts on behalf of itself")
    return list(people.values())


def _place(resource: Resource) -> list[Json]:
    labels = [{"type": "Label", "id": label} for label in sorted(resource.labels)]
    return [_entity("Resource", resource.name, {"kind": resource.kind}, labels)]


def _objects(resource: Resource, wanted: list[tuple[str, str]], world: int) -> list[Json]:
    home = object_uid(resource, "Resource", "")
    made = []
    for kind, name in wanted:
        if not name or kind in ("Resource", "DataClass"):
            continue
        parents = [home]
        parts = _parts(name)
        attributes: Json = {"name": name}
        if kind in ("Table", "Function"):
            attributes = {"schema": ".".join(parts[:-1]), "name": parts[-1], "system": len(parts) == 2 and parts[0] == "pg_catalog"}
        elif kind == "Column":
            classes = classes_of(resource, name)
            attributes = {"name": parts[-1], "classified": bool(classes)}
            if len(parts) > 1:
                parents.append(object_uid(resource, "Table", ".".join(parts[:-1])))
            if classes:
                parents.append({"type": "DataClass", "id": classes[world % len(classes)]})
        made.append(_entity(kind, f"{resource.name}/{name}", attributes, parents))
    return made


def _arguments(arguments: Mapping[str, Fact]) -> list[Json]:
    given = {name.removeprefix(ARGUMENT): value for name, value in arguments.items() if name.startswith(ARGUMENT)}
    return [
        _entity(kind, name) | {"tags": {key: value for key, value in given.items() if type(value) is wanted}}
        for name, (kind, wanted) in _TAGS.items()
    ]


def _entity(kind: str, name: str, attributes: Json | None = None, parents: list[Uid] | None = None) -> Json:
    return {"uid": {"type": kind, "id": name}, "attrs": attributes or {}, "parents": parents or []}


def _load(entities: list[Json]) -> cedarpy.Entities:
    unique = {(entity["uid"]["type"], entity["uid"]["id"]): entity for entity in entities}
    try:
        return cedarpy.Entities.from_json_str(json.dumps(list(unique.values())), schema().handle)
    except ValueError as exc:
        raise PolicyError(f"the request does not fit the policy schema: {exc}") from exc


def _parts(name: str) -> list[str]:
    """A dotted name's parts; dots inside double quotes do not count."""
    return _PARTS.findall(name) or [""]


def _same(key: list[str], column: list[str]) -> bool:
    pairs = zip(reversed(key), reversed(column), strict=False)
    return all(ours == theirs or theirs in ("*", "?", "") for ours, theirs in pairs)
