from __future__ import annotations

import pytest

from interlock.exchange import Column, Resource
from interlock.masking import Masking, MaskingConfig
from interlock.masking.columns import ColumnClasses
from tests.masking.text_shape import TextShape

CLASSES = {"customers.email": "email", "crm.people.mail": "email", "vault.*": "secret", "hr.staff.*": "staff"}
EMAIL, CARD, ID = "public.customers.email", "public.customers.card", "public.customers.id"


def classes(origin: str | None, sources: frozenset[str] | None) -> set[str]:
    return set(ColumnClasses(CLASSES).of(Column("c", 0, 0, origin, sources)))


@pytest.mark.parametrize(
    ("origin", "sources", "expected"),
    [
        (EMAIL, frozenset({EMAIL}), {"email"}),  # the column itself, whatever its alias
        (None, frozenset({EMAIL, ID}), {"email"}),  # an expression over it
        (None, frozenset(), set()),  # count(*), a literal
        (ID, frozenset({ID}), set()),
        (EMAIL, None, {"email"}),  # no lineage: the server's word is enough
        (ID, None, set()),
        (None, None, {"unknown"}),  # nobody knows
        (ID, frozenset({EMAIL}), {"email", "unknown"}),  # they disagree
        (EMAIL, frozenset({ID}), {"email", "unknown"}),
        (ID, frozenset(), {"unknown"}),
    ],
)
def test_origin_and_lineage(origin: str | None, sources: frozenset[str] | None, expected: set[str]) -> None:
    assert classes(origin, sources) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("other.customers.email", {"email"}),  # table.column: in any schema
        ("crm.people.mail", {"email"}),
        ("public.people.mail", set()),  # schema.table.column: in that schema only
        ("public.vault.anything", {"secret"}),
        ("hr.staff.salary", {"staff"}),
        ("old.staff.salary", set()),
        ("vault.other.x", set()),  # a schema of that name is not the table
        ("PUBLIC.Customers.EMAIL", {"email"}),
        ("customers.email", {"email"}),
        ("public.vault.odd.name", {"secret"}),  # a name with a dot inside has no unique reading
        (".".join("abcdefghij"), {"unknown"}),
    ],
)
def test_names(name: str, expected: set[str]) -> None:
    assert set(ColumnClasses(CLASSES).named(name)) == expected


@pytest.mark.parametrize(
    "column", ["pg_stats.most_common_vals", "pg_statistic.stavalues3", "pg_stats_ext.most_common_vals", "pg_authid.rolpassword"]
)
def test_planner_statistics_and_stored_secrets_are_unknown(column: str) -> None:
    assert classes(f"pg_catalog.{column}", frozenset({f"pg_catalog.{column}"})) == {"unknown"}
    assert classes(None, frozenset({f"pg_catalog.{column}"})) == {"unknown"}


@pytest.mark.parametrize("column", ["pg_class.relname", "pg_stats.n_distinct", "pg_attribute.attname"])
def test_the_rest_of_the_catalog_has_no_class(column: str) -> None:
    assert classes(f"pg_catalog.{column}", frozenset({f"pg_catalog.{column}"})) == set()


def test_the_station_answers_per_column_and_follows_a_changed_map() -> None:
    station = Masking(MaskingConfig(), b"0123456789abcdef")
    shape = TextShape(Column("a", 0, 0, EMAIL, None), Column("b", 0, 0, CARD, None))
    assert station.classes(shape, Resource("db", "postgres", classes=CLASSES)) == (frozenset({"email"}), frozenset())
    changed = Resource("db", "postgres", classes={"customers.card": "card"})
    assert station.classes(shape, changed) == (frozenset(), frozenset({"card"}))
