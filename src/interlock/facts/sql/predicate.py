"""Does a WHERE narrow anything? `always(expression)` finds conditions that hold for every row.

Known tautologies only: conditions without a column (`true`, `1=1`, `$1 = $1`, `random() < 2`), a column against itself
(`id = id`), `NOT` of a contradiction, `true OR …`, and opposites joined by OR (`x OR NOT x`, `a = 1 OR a <> 1`). Arithmetic
(`a - a = 0`) and conditions that merely happen to fit all rows are out of reach: this is a guard against slips.
"""

from __future__ import annotations

from typing import Any

from interlock.facts.sql.grammar import Node

_REFLEXIVE = frozenset({"=", "<=", ">=", "~~", "~~*"})
_IRREFLEXIVE = frozenset({"<>", "!=", "<", ">", "!~~", "!~~*"})
_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "~~": "!~~", "!~~": "~~"}


def always(expression: Node | None) -> bool:
    """True where the condition is absent or holds whatever the row (or is column-free, so that it holds for all or none)."""
    return expression is None or _truth(expression) is True


def _truth(expression: Node) -> bool | None:
    """True or False where known for every row, None where it depends on the row."""
    ((kind, fields),) = expression.items()
    if kind == "BoolExpr":
        return _bool_truth(fields)
    constant = _constant(expression)
    if constant is not None:
        return constant
    if kind == "CurrentOfExpr":
        return None
    if not _reads_rows(expression):
        return True
    if kind == "A_Expr":
        return _comparison_truth(fields)
    return None


def _bool_truth(fields: Node) -> bool | None:
    truths = [_truth(argument) for argument in fields["args"]]
    if fields["boolop"] == "NOT_EXPR":
        inner = truths[0]
        # A column-free condition counts as true, and so does its negation: neither narrows.
        if inner is not None and not _reads_rows(fields["args"][0]) and _constant(fields["args"][0]) is None:
            return True
        return None if inner is None else not inner
    if fields["boolop"] == "AND_EXPR":
        return False if False in truths else None if None in truths else True
    if True in truths or _opposites(fields["args"]):
        return True
    return None if None in truths else False


def _constant(expression: Node) -> bool | None:
    """The truth of a boolean literal: true, 't', 'false'::bool."""
    ((kind, fields),) = expression.items()
    if kind == "TypeCast":
        return _constant(fields["arg"])
    if kind != "A_Const":
        return None
    if "boolval" in fields:
        return bool(fields["boolval"].get("boolval", False))
    if "sval" in fields:
        return not any(word.startswith(fields["sval"].get("sval", "").lower() or "?") for word in ("false", "no", "off", "0"))
    return not fields.get("isnull", False)


def _comparison_truth(fields: Node) -> bool | None:
    left, right = fields.get("lexpr"), fields.get("rexpr")
    operator = fields["name"][-1]["String"]["sval"]
    kind = fields["kind"]
    if left is None or right is None:
        return None
    if kind == "AEXPR_IN":
        among = any(_same(left, item) for item in right.get("List", {}).get("items", []))
        return (operator == "=") if among else None
    if kind == "AEXPR_OP_ANY" and "A_ArrayExpr" in right:
        return True if operator == "=" and any(_same(left, item) for item in right["A_ArrayExpr"].get("elements", [])) else None
    if kind == "AEXPR_BETWEEN":
        return True if all(_same(left, bound) for bound in right["List"]["items"]) else None
    if kind not in ("AEXPR_OP", "AEXPR_LIKE", "AEXPR_ILIKE", "AEXPR_NOT_DISTINCT", "AEXPR_DISTINCT"):
        return None
    if kind in ("AEXPR_LIKE", "AEXPR_ILIKE") and operator in ("~~", "~~*") and _literal(right) and set(_literal(right)) == {"%"}:
        return True
    if not _same(left, right):
        return None
    if kind == "AEXPR_NOT_DISTINCT":
        return True
    if kind == "AEXPR_DISTINCT" or operator in _IRREFLEXIVE:
        return False
    return True if operator in _REFLEXIVE else None


def _opposites(arguments: list[Node]) -> bool:
    """Whether an OR joins a condition with its own negation."""
    plain = [_bare(argument) for argument in arguments]
    return any(_negation(one) == other for one in plain for other in plain) if len(plain) <= 16 else False


def _negation(condition: Any) -> Any:
    """The condition that holds for exactly the other rows (NULLs aside), in the same bare form."""
    if not isinstance(condition, dict) or len(condition) != 1:
        return None
    ((kind, fields),) = condition.items()
    if kind == "BoolExpr" and fields["boolop"] == "NOT_EXPR":
        return fields["args"][0]
    if kind == "NullTest":
        other = "IS_NULL" if fields["nulltesttype"] == "IS_NOT_NULL" else "IS_NOT_NULL"
        return {kind: {**fields, "nulltesttype": other}}
    if kind == "A_Expr" and fields["kind"] in ("AEXPR_OP", "AEXPR_LIKE"):
        opposite = _OPPOSITE.get(fields["name"][-1]["String"]["sval"])
        return {kind: {**fields, "name": [{"String": {"sval": opposite}}]}} if opposite else None
    return {"BoolExpr": {"boolop": "NOT_EXPR", "args": [condition]}}


def _literal(expression: Node) -> str:
    text = expression.get("A_Const", {}).get("sval", {}).get("sval", "")
    return text if isinstance(text, str) else ""


def _same(left: Node, right: Node) -> bool:
    return bool(_bare(left) == _bare(right))


def _bare(node: Any) -> Any:
    """A tree without places in the text, casts and collations, so that equal expressions compare equal."""
    if isinstance(node, list):
        return [_bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "TypeCast" in node:
        return _bare(node["TypeCast"]["arg"])
    if "CollateClause" in node:
        return _bare(node["CollateClause"]["arg"])
    return {
        key: _bare(value)
        for key, value in node.items()
        if key not in ("location", "list_start", "list_end", "rexpr_list_start", "rexpr_list_end")
    }


def _reads_rows(node: Any) -> bool:
    """Whether a column occurs anywhere inside (also inside a subquery, which may be correlated)."""
    if isinstance(node, list):
        return any(_reads_rows(item) for item in node)
    if not isinstance(node, dict):
        return False
    return "ColumnRef" in node or "CurrentOfExpr" in node or any(_reads_rows(value) for value in node.values())
