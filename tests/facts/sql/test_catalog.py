"""Names and the search path."""

from __future__ import annotations

from interlock.facts.sql import Catalog

RELATIONS = [
    (1, "public", "t", "r", None),
    (2, "other", "t", "r", None),
    (3, "pg_catalog", "pg_class", "r", None),
    (4, "public", "pg_class", "r", None),
    (5, "pg_temp_3", "s", "r", None),
    (6, "public", "s", "r", None),
    (7, "pg_temp_4", "s", "r", None),
]
CATALOG = Catalog.build(RELATIONS, [(1, 2, "b", 25), (1, 1, "a", 23), (99, 1, "x", 23)], [("pg_catalog", "f", "i", "internal", True)])


def found(schema: str | None, name: str, *path: str) -> str | None:
    relation = CATALOG.find(schema, name, path)
    return relation.qualified if relation else None


def test_the_path_decides() -> None:
    assert found(None, "t", "public", "other") == "public.t"
    assert found(None, "t", "other", "public") == "other.t"
    assert found(None, "t", "nowhere") is None
    assert found("other", "t", "public") == "other.t"


def test_pg_catalog_comes_first_unless_the_path_names_it() -> None:
    assert found(None, "pg_class", "public") == "pg_catalog.pg_class"
    assert found(None, "pg_class", "public", "pg_catalog") == "public.pg_class"


def test_temporary_tables_come_before_all() -> None:
    assert found(None, "s", "public") == "pg_temp_3.s"
    assert found(None, "s", "pg_temp_4", "public") == "pg_temp_4.s"
    assert found(None, "s", "public", "pg_temp") == "public.s"
    assert found("pg_temp", "s", "public") == "pg_temp_3.s"
    assert found("pg_temp", "t", "public") is None


def test_columns_by_number() -> None:
    assert CATALOG.column_name(1, 2) == "public.t.b"
    assert CATALOG.column_name(1, -1) == "public.t.ctid"
    assert CATALOG.column_name(1, 0) is None
    assert CATALOG.column_name(1, 9) is None
    assert CATALOG.column_name(42, 1) is None
    relation = CATALOG.by_oid(1)
    assert relation is not None and [column.name for column in relation.columns] == ["a", "b"]


def test_functions_by_name() -> None:
    assert [function.schema for function in CATALOG.function(None, "f", ())] == ["pg_catalog"]
    assert CATALOG.function("public", "f", ()) == ()
    assert CATALOG.function(None, "g", ("public",)) == ()


def test_families_are_bounded_downwards_only() -> None:
    partitions = range(10, 200)
    relations = [(1, "public", "p", "p", None), *((oid, "public", f"p{oid}", "r", None) for oid in partitions)]
    catalog = Catalog.build(relations, [], [], [(oid, 1) for oid in partitions])
    assert [kin.name for kin in catalog.family(42)] == ["p"]
    assert 0 < len(catalog.family(1)) <= 64
    assert catalog.family(7) == ()
