"""Which data classes a column carries: by the origin that upstream reports, united with lineage.

Origin is what the server says (PostgreSQL: table OID and attribute number of RowDescription, resolved to
`schema.table.column`); lineage is what the statement says. What neither can trace, or what they disagree
about, is `unknown`, and unknown is masked unless a principal may reveal `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from interlock.exchange import Column

UNKNOWN = "unknown"
"""The class of what cannot be traced."""

_NONE: frozenset[str] = frozenset()
_UNKNOWN = frozenset({UNKNOWN})
_PARTS_MAX = 8
_CACHE_MAX = 4096

# System columns that hold copies of table data (planner statistics, large objects) or secrets.
# PostgreSQL documentation, chapter 53 (System Catalogs) and 54 (System Views).
_VALUE_COLUMNS = frozenset(
    f"pg_catalog.{name}"
    for name in (
        "pg_stats.most_common_vals",
        "pg_stats.histogram_bounds",
        "pg_stats.most_common_elems",
        "pg_stats.range_bounds_histogram",
        "pg_statistic.stavalues1",
        "pg_statistic.stavalues2",
        "pg_statistic.stavalues3",
        "pg_statistic.stavalues4",
        "pg_statistic.stavalues5",
        "pg_statistic_ext_data.stxdmcv",
        "pg_statistic_ext_data.stxdexpr",
        "pg_stats_ext.most_common_vals",
        "pg_stats_ext_exprs.most_common_vals",
        "pg_stats_ext_exprs.histogram_bounds",
        "pg_stats_ext_exprs.most_common_elems",
        "pg_largeobject.data",
        "pg_authid.rolpassword",
        "pg_shadow.passwd",
        "pg_user_mapping.umoptions",
        "pg_user_mappings.umoptions",
        "pg_subscription.subconninfo",
    )
)


class ColumnClasses:
    """A resource's data-class map, made for look-ups by column name.

    Keys of the map: `table.column` (in any schema), `schema.table.column`, `table.*`, `schema.table.*`.
    Names are compared without case: a map that differs from the server in case only must still mask.
    """

    __slots__ = ("_map", "_cache")

    def __init__(self, classes: Mapping[str, str]) -> None:
        self._map: dict[str, set[str]] = {}
        for name, data_class in classes.items():
            self._map.setdefault(name.casefold(), set()).add(data_class)
        self._cache: dict[str, frozenset[str]] = {}

    def of(self, column: Column) -> frozenset[str]:
        """The classes of one column of a reply: origin ∪ lineage, `unknown` where they fail or disagree."""
        if column.sources is None:
            return _UNKNOWN if column.origin is None else self.named(column.origin)
        classes = _NONE.union(*(self.named(source) for source in column.sources))
        if column.origin is None:
            return classes
        if column.origin not in column.sources:
            classes |= _UNKNOWN
        return classes | self.named(column.origin)

    def named(self, name: str) -> frozenset[str]:
        """The classes of one base column `schema.table.column`."""
        found = self._cache.get(name)
        if found is None:
            found = self._look_up(name.casefold())
            if len(self._cache) >= _CACHE_MAX:
                self._cache.clear()
            self._cache[name] = found
        return found

    def _look_up(self, name: str) -> frozenset[str]:
        parts = name.split(".")
        if len(parts) > _PARTS_MAX:
            return _UNKNOWN
        classes = _UNKNOWN if name in _VALUE_COLUMNS else _NONE
        return classes.union(*(self._map.get(key, _NONE) for key in _keys(parts)))


def _keys(parts: list[str]) -> Iterator[str]:
    """The map keys that would cover a column. A name with dots inside (`"a.b"`) has more than three parts
    and no unique reading: then every run of parts may be the table, which errs on the masking side."""
    for start in range(len(parts)):
        yield ".".join(parts[start:])
    last = len(parts) - 1
    ends = (last,) if len(parts) <= 3 else range(1, last + 1)
    for end in ends:
        for start in range(end):
            yield ".".join(parts[start:end]) + ".*"
