"""Which column is it: upstream's report, the lineage, and what neither knows."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from interlock.facts.sql import postgres
from interlock.facts.sql.catalog import Catalog
from interlock.protocols.postgres.copy_formats import CopyBinaryShape, CopyCsvShape, CopyTextShape
from interlock.protocols.postgres.origin import columns_of, copy_shape, search_path_of
from interlock.protocols.postgres.wire import Field
from tests.protocols.postgres.scenes import CATALOG, CUSTOMERS, VIEW

EMAIL = "public.customers.email"


@dataclass
class Knows:
    catalog: Catalog = CATALOG
    stale: bool = False


def column(field: Field, sources: frozenset[str] | None, knows: Knows | None = None) -> tuple[str | None, frozenset[str] | None]:
    (found,) = columns_of([field], (sources,), knows or Knows())
    return found.origin, found.sources


def test_a_base_column_has_both() -> None:
    assert column(Field("x", CUSTOMERS, 3), frozenset({EMAIL})) == (EMAIL, frozenset({EMAIL}))


def test_an_expression_has_the_lineage_alone() -> None:
    assert column(Field("x"), frozenset({EMAIL})) == (None, frozenset({EMAIL}))


def test_lineage_of_another_width_is_no_lineage() -> None:
    found = columns_of([Field("a"), Field("b")], (frozenset(),), Knows())
    assert [each.sources for each in found] == [None, None]


def test_a_view_is_as_good_as_the_lineage_behind_it() -> None:
    assert column(Field("email", VIEW, 2), frozenset({EMAIL})) == (None, frozenset({EMAIL, "public.people.email"}))
    assert column(Field("email", VIEW, 2), None) == (None, None)


def test_what_the_catalog_does_not_know_is_unknown_and_makes_it_stale() -> None:
    for field in (Field("x", 99_999, 1), Field("x", CUSTOMERS, 77)):
        knows = Knows()
        assert column(field, frozenset(), knows) == (None, None) and knows.stale


def test_system_columns_and_whole_rows() -> None:
    assert column(Field("ctid", CUSTOMERS, -1), None) == (None, frozenset())
    assert column(Field("customers", CUSTOMERS, 0), frozenset({EMAIL})) == (None, frozenset({EMAIL}))


@pytest.mark.parametrize("overall", [0, 1])
def test_copy_has_no_origins(overall: int) -> None:
    for text, kind in (
        ("COPY customers TO STDOUT", CopyTextShape),
        ("COPY customers TO STDOUT (FORMAT csv)", CopyCsvShape),
        ("COPY customers TO STDOUT (FORMAT binary)", CopyBinaryShape),
    ):
        copy = postgres.read(text).statements[0].copy
        assert copy is not None
        shape = copy_shape(copy, overall, 3, (frozenset(), frozenset(), frozenset({EMAIL})), Catalog())
        assert isinstance(shape, CopyBinaryShape if overall else kind if kind is not CopyBinaryShape else CopyTextShape)
        assert [each.sources for each in shape.columns] == [frozenset(), frozenset(), frozenset({EMAIL})]
        assert [each.sources for each in copy_shape(copy, overall, 2, (frozenset(),), Catalog()).columns] == [None, None]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ('"$user", public', ("me", "public")),
        ("$user,public", ("me", "public")),
        ("Public , hidden", ("public", "hidden")),
        ('"Public", "a, b", "say ""hi"""', ("Public", "a, b", 'say "hi"')),
        ('""', ("",)),
        ("", ()),
        ('"unfinished', ("unfinished",)),
    ],
)
def test_search_paths(value: str, path: tuple[str, ...]) -> None:
    assert search_path_of(value, "me") == path
