"""The name of an output column without AS (PostgreSQL's FigureColname, src/backend/parser/parse_target.c)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from interlock.facts.sql.grammar import Node

UNNAMED = "?column?"

_FIXED: Mapping[str, str] = MappingProxyType(
    {
        "GroupingFunc": "grouping", "MergeSupportFunc": "merge_action", "A_ArrayExpr": "array", "RowExpr": "row",
        "CoalesceExpr": "coalesce", "XmlSerialize": "xmlserialize", "JsonParseExpr": "json", "JsonScalarExpr": "json_scalar",
        "JsonSerializeExpr": "json_serialize", "JsonObjectConstructor": "json_object", "JsonArrayConstructor": "json_array",
        "JsonArrayQueryConstructor": "json_array", "JsonObjectAgg": "json_objectagg", "JsonArrayAgg": "json_arrayagg",
    }
)  # fmt: skip
_SUBLINKS = {"EXISTS_SUBLINK": "exists", "ARRAY_SUBLINK": "array"}


def output_name(node: Node) -> str:
    """The name that PostgreSQL gives to an expression."""
    return _figure(node)[0] or UNNAMED


def _figure(node: Node) -> tuple[str, int]:
    """A name and how strongly it is meant (2: certainly, 1: from a cast or CASE, 0: none)."""
    if not node:
        return "", 0
    ((kind, fields),) = node.items()
    if kind in _FIXED:
        return _FIXED[kind], 2
    if kind in ("ColumnRef", "FuncCall"):
        last = fields["fields" if kind == "ColumnRef" else "funcname"][-1]
        return (last["String"]["sval"], 2) if "String" in last else ("", 0)
    if kind == "A_Indirection":
        words = [part["String"]["sval"] for part in fields["indirection"] if "String" in part]
        return (words[-1], 2) if words else _figure(fields["arg"])
    if kind in ("TypeCast", "CollateClause"):
        name, strength = _figure(fields["arg"])
        if strength < 2 and kind == "TypeCast":
            return fields["typeName"]["names"][-1]["String"]["sval"], 1
        return name, strength
    if kind == "CaseExpr":
        name, strength = _figure(fields.get("defresult", {}))
        return (name, strength) if strength == 2 else ("case", 1)
    return _figure_special(kind, fields)


def _figure_special(kind: str, fields: Any) -> tuple[str, int]:
    if kind == "SubLink":
        fixed = _SUBLINKS.get(fields["subLinkType"])
        if fixed or fields["subLinkType"] != "EXPR_SUBLINK":
            return (fixed, 2) if fixed else ("", 0)
        query = fields["subselect"].get("SelectStmt", {})
        while "larg" in query:
            query = query["larg"]
        if "valuesLists" in query:
            return "column1", 2
        targets = query.get("targetList")
        if not targets:
            return "", 0
        target = targets[0]["ResTarget"]
        return target.get("name") or output_name(target["val"]), 2
    if kind == "A_Expr":
        return ("nullif", 2) if fields["kind"] == "AEXPR_NULLIF" else ("", 0)
    if kind == "MinMaxExpr":
        return ("greatest" if fields["op"] == "IS_GREATEST" else "least"), 2
    if kind == "SQLValueFunction":
        return fields["op"].removeprefix("SVFOP_").removesuffix("_N").lower(), 2
    if kind == "XmlExpr":
        return (fields["op"].removeprefix("IS_").lower(), 2) if fields["op"] != "IS_DOCUMENT" else ("", 0)
    if kind == "JsonFuncExpr":
        return fields["op"].removesuffix("_OP").lower(), 2
    return "", 0
