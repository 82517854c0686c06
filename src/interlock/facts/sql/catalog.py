"""What a database holds, as one immutable value: relations, their columns, and facts about functions.

The rows come from the system catalogs (PostgreSQL docs, chapter 53 "System Catalogs": pg_class, pg_attribute, pg_proc);
fetching them is the protocol's work. Names are exact (already case-folded as the server stores them).

Row shapes of `Catalog.build`:

- relations: `(oid, schema, name, relkind, definition)`; definition is `pg_get_viewdef(oid)` for kinds v and m, else None.
  Fetch it with an empty search_path, so that every name in it is qualified; other names are not resolved
- columns: `(relation oid, attnum, name, type oid)`, or with a fifth: the expression of a generated column
  (`pg_get_expr(adbin, adrelid)` where `attgenerated <> ''`), else None; user columns only (`attnum > 0`, not dropped)
- inherits (optional): `(child oid, parent oid)` from pg_inherits, tables only
- functions: `(schema, name, provolatile, language name, builtin)`; builtin means `pg_proc.oid < 16384`, that is, made by
  initdb and not by a user or an extension. Operators outside pg_catalog may be added as rows with the operator's
  name (`~~~`) and the facts of its `oprcode`: they are then held to the same rule as functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.facts.sql.scope import Rows

SearchPath = tuple[str, ...]
"""The schemas that are searched for unqualified names, in order, without the implicit ones, `$user` resolved."""

Marks = Mapping[tuple[int, int], frozenset[str]]
"""By relation OID and attribute number (0: every column of it), the base columns whose values lie there too, by the name
that they had then; `*` stands for unknown ones."""

SYSTEM_COLUMNS: Mapping[int, str] = MappingProxyType({-1: "ctid", -2: "xmin", -3: "cmin", -4: "xmax", -5: "cmax", -6: "tableoid"})
"""PostgreSQL docs 5.6 "System Columns": attribute numbers below zero, the same for every table."""

CHILDREN_LIMIT = 64
"""Most inheritance children whose columns count as their parent's; a partitioned table is classified by its own name."""


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """One column. `type` is the type's OID. `generated` is the SQL of the expression that a column is generated from:
    its value then depends on what that reads; COPY without a column list leaves such columns out."""

    name: str
    attnum: int
    type: int
    generated: str | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view, sequence… `kind` is pg_class.relkind (r p v m f S c t i I); columns are ordered by attnum."""

    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[CatalogColumn, ...] = ()
    definition: str | None = None

    @property
    def qualified(self) -> str:
        """`schema.table`, as effects and data classes name it."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Function:
    """Facts about one function (one overload): volatility is i, s or v; language as in pg_language."""

    schema: str
    name: str
    volatility: str
    language: str
    builtin: bool


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """All that is known about one database at one moment. Compared by identity; `version` is the caller's counter."""

    version: int = 0
    _by_oid: Mapping[int, Relation] = field(default_factory=dict, repr=False)
    _by_name: Mapping[tuple[str, str], Relation] = field(default_factory=dict, repr=False)
    _temporary: Mapping[str, tuple[Relation, ...]] = field(default_factory=dict, repr=False)
    _functions: Mapping[str, tuple[Function, ...]] = field(default_factory=dict, repr=False)
    _family: Mapping[int, tuple[Relation, ...]] = field(default_factory=dict, repr=False)
    hidden: frozenset[str] = frozenset()
    """Names that may mean something else by now (`*`: all of the user's): nothing is found under them."""
    derived: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)
    """Beside its own name, the base columns whose values a column (`schema.table.column`) may hold; `*` is unknown."""
    marks: Marks = field(default_factory=dict, repr=False)
    """What `derived` was made from."""
    memo: dict[int, Rows] = field(default_factory=dict, repr=False)
    """What lineage found out about the relations of this catalog, by OID: at most one entry for each."""

    @classmethod
    def build(
        cls,
        relations: Iterable[tuple[int, str, str, str, str | None]],
        columns: Iterable[tuple[int, int, str, int] | tuple[int, int, str, int, str | None]],
        functions: Iterable[tuple[str, str, str, str, bool]] = (),
        inherits: Iterable[tuple[int, int]] = (),
        *,
        version: int = 0,
        base: Catalog | None = None,
    ) -> Catalog:
        """A catalog from plain rows (shapes: see the module), added to what `base` holds (what initdb made, read
        once). Columns of unknown relations are ignored."""
        attributes: dict[int, list[CatalogColumn]] = {}
        for relation_oid, attnum, column, type_oid, *generated in columns:
            attributes.setdefault(relation_oid, []).append(CatalogColumn(column, attnum, type_oid, *generated))
        by_oid: dict[int, Relation] = dict(base._by_oid) if base else {}
        by_name: dict[tuple[str, str], Relation] = dict(base._by_name) if base else {}
        temporary: dict[str, list[Relation]] = {}
        for oid, schema, name, kind, definition in relations:
            ordered = tuple(sorted(attributes.get(oid, ()), key=lambda column: column.attnum))
            relation = Relation(oid, schema, name, kind, ordered, definition)
            by_oid[oid] = by_name[schema, name] = relation
            if schema.startswith("pg_temp_"):
                temporary.setdefault(name, []).append(relation)
        by_function: dict[str, list[Function]] = {}
        for row in functions:
            by_function.setdefault(row[1], []).append(Function(*row))
        known = base._functions if base else {}
        return cls(
            version,
            by_oid,
            by_name,
            {name: tuple(found) for name, found in temporary.items()},
            {**known, **{name: (*known.get(name, ()), *found) for name, found in by_function.items()}},
            _families(by_oid, inherits),
        )

    def without(self, names: frozenset[str]) -> Catalog:
        """The same, while it is not known what these names (without schemas) mean: definitions changed, and the
        change cannot be read yet. OIDs keep their meaning."""
        return self if names <= self.hidden else replace(self, hidden=self.hidden | names, memo={})

    def derive(self, marks: Marks, version: int | None = None) -> Catalog:
        """The same with these marks instead of those that it has; partitions and heirs share them."""
        derived: dict[str, frozenset[str]] = {}
        for (oid, attnum), sources in marks.items():
            relation = self._by_oid.get(oid)
            if relation is None:
                continue
            for column in relation.columns:
                if attnum in (0, column.attnum):
                    for kin in (relation, *self.family(oid)):
                        if kin is relation or any(other.name == column.name for other in kin.columns):
                            name = f"{kin.qualified}.{column.name}"
                            derived[name] = derived.get(name, frozenset()) | sources
        return replace(self, version=self.version if version is None else version, derived=derived, marks=marks, memo={})

    def widen(self, sources: frozenset[str]) -> frozenset[str]:
        """With what the columns of that name hold of others."""
        return sources.union(*(self.derived.get(name, ()) for name in sources)) if self.derived else sources

    def place(self, name: str) -> tuple[int, int] | None:
        """The relation OID and attribute number of `schema.table.column`; None where no reading of the name is a column."""
        parts = name.split(".")
        for at in range(1, len(parts) - 1):
            for to in range(at + 1, len(parts)):
                relation = self._by_name.get((".".join(parts[:at]), ".".join(parts[at:to])))
                if relation is not None:
                    for column in relation.columns:
                        if column.name == ".".join(parts[to:]):
                            return relation.oid, column.attnum
        return None

    def named(self, name: str) -> tuple[Relation, ...]:
        """Every relation of that name, in any schema."""
        return tuple(relation for (_, other), relation in self._by_name.items() if other == name)

    @property
    def oids(self) -> Set[int]:
        return self._by_oid.keys()

    @property
    def relations(self) -> Iterable[Relation]:
        return self._by_oid.values()

    def hides(self, name: str) -> bool:
        return name in self.hidden or "*" in self.hidden

    def in_schema(self, schema: str) -> tuple[Relation, ...]:
        return tuple(relation for (other, _), relation in self._by_name.items() if other == schema)

    def find(self, schema: str | None, name: str, search_path: SearchPath) -> Relation | None:
        """The relation that the name means (PostgreSQL docs 5.10.3 "The Schema Search Path"), or None.

        Without a schema: the temporary schema, pg_catalog (each first unless the path names it), then the path.
        Which temporary schema is the session's own is known only if the path names it (`pg_temp_3`); if not, a
        temporary table of that name in *any* session is taken, because the name may mean it.
        """
        if self.hidden and schema != "pg_catalog" and self.hides(name):
            return None
        if schema == "pg_temp":
            return self._temporary_relation(name, search_path)
        if schema is not None:
            return self._by_name.get((schema, name))
        if not any(entry.startswith("pg_temp") for entry in search_path):
            found = self._temporary_relation(name, search_path)
            if found is not None:
                return found
        for entry in search_path if "pg_catalog" in search_path else ("pg_catalog", *search_path):
            if entry == "pg_temp":
                found = self._temporary_relation(name, search_path)
            else:
                found = self._by_name.get((entry, name))
            if found is not None:
                return found
        return None

    def _temporary_relation(self, name: str, search_path: SearchPath) -> Relation | None:
        candidates = self._temporary.get(name)
        if not candidates:
            return None
        own = [entry for entry in search_path if entry.startswith("pg_temp_")]
        if own:
            return self._by_name.get((own[0], name))
        return candidates[0]

    def family(self, oid: int) -> tuple[Relation, ...]:
        """The parents of a table (partitioned or inherited from), theirs, and its own children, at most 64 of these."""
        return self._family.get(oid, ())

    def by_oid(self, oid: int) -> Relation | None:
        """The relation with this OID, or None."""
        return self._by_oid.get(oid)

    def column_name(self, oid: int, attnum: int) -> str | None:
        """`schema.table.column` for an origin as RowDescription reports it, or None where it is not known.
        Attribute 0 (a whole row) has no single column: None."""
        relation = self._by_oid.get(oid)
        if relation is None:
            return None
        for column in relation.columns:
            if column.attnum == attnum:
                return f"{relation.qualified}.{column.name}"
        system = SYSTEM_COLUMNS.get(attnum)
        return f"{relation.qualified}.{system}" if system else None

    def function(self, schema: str | None, name: str, search_path: SearchPath) -> tuple[Function, ...]:
        """Every function that a call by this name may reach: overloads in all visible schemas, since argument types
        choose among them across the whole path (a better match in public beats pg_catalog: CVE-2018-1058)."""
        if name in self.hidden:
            return ()
        candidates = self._functions.get(name, ())
        if schema is not None:
            return tuple(function for function in candidates if function.schema == schema)
        return tuple(function for function in candidates if function.schema == "pg_catalog" or function.schema in search_path)


def _families(relations: Mapping[int, Relation], inherits: Iterable[tuple[int, int]]) -> dict[int, tuple[Relation, ...]]:
    """For each table its ancestors, and its descendants as far as there are not too many (partitions)."""
    parents: dict[int, set[int]] = {}
    children: dict[int, set[int]] = {}
    for child, parent in inherits:
        parents.setdefault(child, set()).add(parent)
        children.setdefault(parent, set()).add(child)
    families: dict[int, tuple[Relation, ...]] = {}
    for oid in parents.keys() | children.keys():
        kin = _reach(oid, parents, 1_000) | _reach(oid, children, CHILDREN_LIMIT)
        families[oid] = tuple(relations[other] for other in sorted(kin) if other in relations)
    return families


def _reach(start: int, edges: Mapping[int, set[int]], limit: int) -> set[int]:
    found: set[int] = set()
    waiting = list(edges.get(start, ()))
    while waiting and len(found) < limit:
        oid = waiting.pop()
        if oid not in found and oid != start:
            found.add(oid)
            waiting += edges.get(oid, ())
    return found
