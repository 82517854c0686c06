"""Names and constants in the parse tree."""

from __future__ import annotations

from interlock.facts.sql.grammar import Node

Name = tuple[str, ...]
"""A name as written, without the database: `("orders",)` or `("public", "orders")`."""


def words(text: str) -> frozenset[str]:
    """A set of words, written as a text."""
    return frozenset(text.split())


def strings(items: list[Node]) -> Name:
    """A list of String nodes as a name."""
    return tuple(item["String"].get("sval", "") for item in items if "String" in item)


def relation_name(fields: Node) -> Name:
    """A RangeVar's name without the database (`db.schema.table` means the current database or is an error)."""
    schema = fields.get("schemaname")
    if schema is None and fields.get("relpersistence") == "t":
        return ("pg_temp", fields["relname"])
    return (schema, fields["relname"]) if schema else (fields["relname"],)


def object_name(node: Node) -> Name:
    """The name of a DDL statement's object: a list of strings, a function with arguments, a type, a string."""
    if "List" in node:
        items = node["List"].get("items", [])
        return strings(items) or tuple(part for item in items for part in object_name(item))
    if "ObjectWithArgs" in node:
        return strings(node["ObjectWithArgs"]["objname"])
    if "TypeName" in node:
        return strings(node["TypeName"]["names"])
    return strings([node])


def role_name(fields: Node) -> str:
    """A RoleSpec's name; PUBLIC, CURRENT_USER… by their keyword in lower case."""
    return str(fields.get("rolename") or fields.get("roletype", "").removeprefix("ROLESPEC_").lower())


def constant(node: Node) -> str | None:
    """The text of a constant (through casts), None for anything else and for NULL."""
    if "NamedArgExpr" in node or "DefElem" in node:
        return None
    if "TypeCast" in node:
        return constant(node["TypeCast"]["arg"])
    fields = node.get("A_Const")
    if fields is None or fields.get("isnull"):
        return None
    for key in ("sval", "fval", "bsval"):
        if key in fields:
            return str(fields[key].get(key, ""))
    if "boolval" in fields:
        return "true" if fields["boolval"].get("boolval") else "false"
    return str(fields.get("ival", {}).get("ival", 0))


def analyzes(fields: Node) -> bool:
    """Whether an EXPLAIN runs its statement. An ANALYZE option counts whatever its value, unless that is plainly false."""
    for option in fields.get("options", []):
        element = option["DefElem"]
        if element["defname"] == "analyze":
            value = element.get("arg", {})
            switched_off = value.get("String", {}).get("sval") in ("false", "off") or ("Integer" in value and not value["Integer"])
            if not switched_off:
                return True
    return False
