"""The options of COPY, with the defaults that PostgreSQL fills in (PostgreSQL docs, SQL command COPY)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from interlock.facts.sql.grammar import Node
from interlock.facts.sql.names import Name, relation_name, strings


@dataclass(frozen=True, slots=True)
class Copy:
    """How rows travel. `relation` is None for COPY (query); no `columns` means all. `delimiter`, `quote` and `escape` are one
    character each. `encoding` is None for the client's encoding. `unknown` names options that are not understood."""

    direction: Literal["stdin", "stdout", "file", "program"]
    incoming: bool
    format: str = "text"
    delimiter: str = "\t"
    null: str = "\\N"
    header: bool = False
    quote: str = '"'
    escape: str = '"'
    encoding: str | None = None
    relation: Name | None = None
    columns: Name = ()
    unknown: frozenset[str] = frozenset()


_OPTIONS = frozenset({"format", "delimiter", "null", "header", "quote", "escape", "encoding"})
_WITHOUT_EFFECT_ON_READING = frozenset(
    {"freeze", "force_quote", "force_not_null", "force_null", "default", "on_error", "log_verbosity", "reject_limit"}
)


def copy_options(fields: Node) -> Copy:
    """What a CopyStmt asks for."""
    given: dict[str, Any] = {}
    for option in fields.get("options", []):
        element = option["DefElem"]
        given[element["defname"].lower()] = _value(element.get("arg"))
    form = str(given.get("format", "text")).lower()
    csv = form == "csv"
    quote = str(given.get("quote", '"'))
    incoming = bool(fields.get("is_from"))
    here: Literal["stdin", "stdout"] = "stdin" if incoming else "stdout"
    relation = fields.get("relation")
    header = given.get("header", False)
    return Copy(
        direction="program" if fields.get("is_program") else "file" if "filename" in fields else here,
        incoming=incoming,
        format=form,
        delimiter=str(given.get("delimiter", "," if csv else "\t")),
        null=str(given.get("null", "" if csv else "\\N")),
        header=header is not False and str(header).lower() not in ("false", "off", "0"),
        quote=quote,
        escape=str(given.get("escape", quote)),
        encoding=None if given.get("encoding") is None else str(given["encoding"]),
        relation=None if relation is None else relation_name(relation),
        columns=strings(fields.get("attlist", [])),
        unknown=frozenset(given) - _OPTIONS - _WITHOUT_EFFECT_ON_READING,
    )


def _value(argument: Node | None) -> object:
    """An option's value: an option without one is switched on."""
    if argument is None:
        return True
    for kind, key in (("String", "sval"), ("Boolean", "boolval"), ("Float", "fval")):
        if kind in argument:
            return argument[kind].get(key, False if kind == "Boolean" else "")
    return str(argument.get("Integer", {}).get("ival", 0))
