"""What the masking station hears of a catalog that was read."""

from __future__ import annotations

from interlock.facts.sql.catalog import Catalog
from interlock.net.derivations import described

RELATIONS: list[tuple[int, str, str, str, str | None]] = [
    (1259, "pg_catalog", "pg_class", "r", None),
    (20_000, "public", "events", "p", None),
    (20_001, "public", "events_2024", "r", None),
    (20_002, "pg_temp_3", "customers", "r", None),
    (20_003, "public", "numbers", "S", None),
]


def test_tables_of_users_by_all_the_names_of_their_columns() -> None:
    columns = [(oid, 1, "email", 25) for oid, *_ in RELATIONS] + [(20_001, 2, "own", 25)]
    catalog = Catalog.build(RELATIONS, columns, inherits=[(20_001, 20_000)])
    both = frozenset({"public.events.email", "public.events_2024.email"})
    assert list(described(catalog)) == [
        (20_000, "public", "events", ((1, "email", both),)),
        (20_001, "public", "events_2024", ((1, "email", both), (2, "own", frozenset({"public.events_2024.own"})))),
    ]
