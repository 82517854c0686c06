"""What a name means inside a query: columns with their sources, FROM items, and scopes within scopes.

Sources are sets of base columns (`schema.table.column`). `UNKNOWN` in a set says that there may be more that could not be
traced; so unions need no special case, and nothing unknown is ever lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from interlock.facts.sql.grammar import Node

Sources = frozenset[str]
UNKNOWN = "*"
NOTHING: Sources = frozenset()
ANYTHING: Sources = frozenset({UNKNOWN})


class Column(NamedTuple):
    """One column of a table, subquery or result. `direct`: the value *is* that of its sources, not computed from them."""

    name: str
    sources: Sources
    direct: bool = False


class Rows(NamedTuple):
    """The columns of something in FROM. `rest` is not None where there may be further columns, of unknown names and
    number, which have these sources."""

    columns: tuple[Column, ...]
    rest: Sources | None = None

    def named(self, name: str) -> tuple[Column, ...]:
        """The columns of that name (more than one is ambiguous: an error to PostgreSQL, a union to us)."""
        return tuple(column for column in self.columns if column.name == name)

    def everything(self) -> Sources:
        """The sources of a whole row."""
        return union(*(column.sources for column in self.columns), self.rest or NOTHING)

    def renamed(self, names: tuple[str, ...]) -> Rows:
        """With column aliases; they name the first columns."""
        if not names:
            return self
        if len(names) > len(self.columns):
            if self.rest is None:
                return Rows((), ANYTHING)
            extra = tuple(Column(name, self.rest) for name in names[len(self.columns) :])
            return Rows((*self.columns, *extra), self.rest).renamed(names)
        renamed = tuple(column._replace(name=name) for column, name in zip(self.columns, names, strict=False))
        return Rows(renamed + self.columns[len(names) :], self.rest)


OPAQUE = Rows((), ANYTHING)
"""Rows of which nothing is known."""


class Written(NamedTuple):
    """A relation as a statement names it, its rows, and the sources of what is assigned to its columns: by name, by place
    (`\\0` and a number from 1) where its columns are not known, under the empty name what may go to any of them."""

    relation: Node
    rows: Rows
    assigned: Mapping[str, Sources]


class Named(NamedTuple):
    """A name by which columns can be qualified; `schema` only for a table without alias."""

    alias: str
    schema: str | None
    rows: Rows


class Item(NamedTuple):
    """An item of a FROM list: what unqualified names and `*` see, and the names for qualified ones."""

    rows: Rows
    names: tuple[Named, ...]


@dataclass(slots=True)
class Scope:
    """The names at one place: FROM items, CTEs (inherited), named windows, and the query around."""

    parent: Scope | None = None
    ctes: Mapping[str, Rows] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    windows: dict[str, Sources] = field(default_factory=dict)

    def column(self, name: str) -> Column | None:
        """An unqualified column: innermost scope first. Rows with a `rest` may or may not have the name: then the
        sources of every possible meaning are united."""
        possible: Sources = NOTHING
        scope: Scope | None = self
        while scope is not None:
            found = [column for item in scope.items for column in item.rows.named(name)]
            if found:
                sources = union(possible, *(column.sources for column in found))
                return Column(name, sources, not possible and len(found) == 1 and found[0].direct)
            possible = union(possible, *(item.rows.rest for item in scope.items if item.rows.rest is not None))
            scope = scope.parent
        return Column(name, possible) if possible else None

    def table(self, alias: str, schema: str | None = None) -> Rows | None:
        """The rows that a qualifier names: innermost scope first."""
        scope: Scope | None = self
        while scope is not None:
            for item in scope.items:
                for named in item.names:
                    if named.alias == alias and (schema is None or named.schema == schema):
                        return named.rows
            scope = scope.parent
        return None

    def open(self) -> bool:
        """Whether names that are not found may still exist, because some rows here are not fully known."""
        scope: Scope | None = self
        while scope is not None:
            if any(item.rows.rest is not None for item in scope.items):
                return True
            scope = scope.parent
        return False


def union(*parts: Sources) -> Sources:
    return NOTHING.union(*parts)
