"""Base tables as rows of columns, and what is known about the results of some built-in functions in FROM."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from interlock.facts.sql.catalog import Catalog, Relation
from interlock.facts.sql.grammar import Node, Unparsable, parse
from interlock.facts.sql.names import strings, words
from interlock.facts.sql.scope import ANYTHING, Column, Rows

_STATISTICS = words("pg_statistic pg_statistic_ext_data pg_stats pg_stats_ext pg_stats_ext_exprs")
"""They hold sample values of users' columns (docs 53.51, 54.27): whose, cannot be told."""
_REVEALING: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "pg_stat_activity": words("query"),
        "pg_prepared_statements": words("statement"),
        "pg_cursors": words("statement"),
        "pg_attribute": words("attmissingval"),
        "pg_largeobject": words("data"),
        "pg_authid": words("rolpassword"),
        "pg_shadow": words("passwd"),
        "pg_user_mapping": words("umoptions"),
        "pg_user_mappings": words("umoptions"),
        "pg_subscription": words("subconninfo"),
        "pg_foreign_server": words("srvoptions"),
    }
)
"""System columns that may hold other people's literals, data or secrets."""

SCALAR_FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {
        "json_array_elements": "value", "jsonb_array_elements": "value", "json_array_elements_text": "value",
        "jsonb_array_elements_text": "value",
    }
    | dict.fromkeys(
        words(
            "unnest generate_series generate_subscripts regexp_split_to_table regexp_matches string_to_table json_object_keys "
            "jsonb_object_keys jsonb_path_query now current_schemas current_setting version random lower upper length"
        ),
        "",
    )
)  # fmt: skip
"""Functions that return one column, by the column's name (empty: the alias or the function's name)."""
TWO_COLUMN_FUNCTIONS = words("json_each jsonb_each json_each_text jsonb_each_text")


def base_rows(relation: Relation, catalog: Catalog) -> Rows:
    """A relation's own columns. A column of an inheritance child also counts as its parents' and children's column of
    that name, because each shows the other's rows or is classified in the other's name."""
    hidden = relation.schema == "pg_catalog" and relation.name in _STATISTICS
    revealing = _REVEALING.get(relation.name, frozenset()) if relation.schema == "pg_catalog" else frozenset()
    if not relation.columns and relation.kind != "r":
        return Rows((), ANYTHING)
    family = catalog.family(relation.oid)
    columns = []
    for column in relation.columns:
        name = column.name
        sources = {f"{relation.qualified}.{name}"}
        sources |= {f"{kin.qualified}.{name}" for kin in family if any(other.name == name for other in kin.columns)}
        if column.generated is not None:
            sources |= _generated_from(relation, column.generated)
        if hidden or name in revealing:
            sources |= ANYTHING
        columns.append(Column(name, catalog.widen(frozenset(sources)), True))
    return Rows(tuple(columns))


def _generated_from(relation: Relation, expression: str) -> frozenset[str]:
    """The columns of the same table that a generated column reads."""
    try:
        raws, _ = parse(f"SELECT {expression}")
    except Unparsable:
        return ANYTHING
    names = {name for raw in raws for name in _column_names(raw.tree)}
    known = {column.name for column in relation.columns}
    return frozenset(f"{relation.qualified}.{name}" for name in names & known) | (ANYTHING if names - known else frozenset())


def _column_names(node: Any) -> set[str]:
    found: set[str] = set()
    waiting: list[Node | list[Any]] = [node]
    while waiting:
        item = waiting.pop()
        for key, inside in item.items() if isinstance(item, dict) else enumerate(item):
            if key == "ColumnRef":
                found.add((strings(inside["fields"]) or ("",))[-1])
            elif isinstance(inside, (dict, list)):
                waiting.append(inside)
    return found
