"""Which column is this? Upstream's own report (table OID and attribute number) beside our lineage.

PostgreSQL reports the base column through aliases, subqueries and RETURNING, and no alias was seen to forge it;
for expressions, unions and functions it reports nothing, and for views the view's own column. So: a base column's
report stands beside the lineage, a view's report is only as good as the lineage behind it, and what the catalog
does not know is unknown, which masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from interlock.exchange import Column
from interlock.facts.sql.catalog import Catalog
from interlock.facts.sql.postgres import Copy
from interlock.facts.sql.scope import UNKNOWN
from interlock.protocols.postgres.copy_formats import CopyBinaryShape, CopyCsvShape, CopyTextShape
from interlock.protocols.postgres.operation import Sources
from interlock.protocols.postgres.wire import Field

TEXT = 25
"""The OID of type text: what a cell of a text or csv COPY is, for scanning and masking."""
SYSTEM_SCHEMAS = frozenset({"pg_catalog", "information_schema"})
TELLING = frozenset(
    {"pg_stats", "pg_statistic", "pg_stats_ext", "pg_stats_ext_exprs", "pg_statistic_ext_data", "pg_stat_activity", "pg_stat_statements"}
)
"""System relations that hold values of tables, or other people's statements."""


class Knows(Protocol):
    """What the answers know: the catalog, and whether it is too old."""

    catalog: Catalog
    stale: bool


def columns_of(fields: Sequence[Field], sources: Sources, knows: Knows) -> tuple[Column, ...]:
    """The columns of a RowDescription, with origin and lineage as masking may rely on them."""
    lineage = sources if sources is not None and len(sources) == len(fields) else (None,) * len(fields)
    return tuple(_column(field, known, knows) for field, known in zip(fields, lineage, strict=True))


def _column(field: Field, sources: frozenset[str] | None, knows: Knows) -> Column:
    origin, sources = _origin(field, widened(sources, knows.catalog), knows)
    return Column(field.name, field.type_oid, field.format, origin, sources)


def widened(sources: frozenset[str] | None, catalog: Catalog) -> frozenset[str] | None:
    """Lineage with what its columns are known to hold by now; None as soon as that is unknown."""
    if sources is None or not catalog.derived:
        return sources
    sources = catalog.widen(sources)
    return None if UNKNOWN in sources else sources


def _origin(field: Field, sources: frozenset[str] | None, knows: Knows) -> tuple[str | None, frozenset[str] | None]:
    if field.table_oid == 0:
        return None, sources
    relation = knows.catalog.by_oid(field.table_oid)
    if relation is None:
        knows.stale = True
        return None, None
    system = relation.schema in SYSTEM_SCHEMAS
    if system and relation.name in TELLING:
        return None, None
    if field.attnum == 0:  # a whole row: the lineage names all of its columns, or nothing does
        return None, sources
    if field.attnum < 0:  # ctid, xmin, tableoid: no value of a user
        return None, frozenset()
    name = knows.catalog.column_name(field.table_oid, field.attnum)
    if name is None:
        knows.stale = True
        return None, None
    if relation.kind in ("v", "m"):
        if system:
            return None, frozenset((name,))
        return None, None if sources is None else sources | {name}
    held = knows.catalog.widen(frozenset((name,)))
    if UNKNOWN in held:
        return None, None
    return name, sources if len(held) == 1 else held.union(sources or ())


def copy_shape(copy: Copy, overall: int, width: int, sources: Sources, catalog: Catalog) -> CopyTextShape | CopyCsvShape | CopyBinaryShape:
    """The shape of a COPY TO STDOUT. Upstream reports neither names nor types nor origins for it, so the
    lineage alone decides what is masked; binary cells of unknown type can only become NULL."""
    lineage = [widened(known, catalog) for known in sources] if sources is not None and len(sources) == width else [None] * width
    columns = tuple(Column(f"column {n + 1}", TEXT if overall == 0 else 0, overall, None, known) for n, known in enumerate(lineage))
    if overall == 1:
        return CopyBinaryShape(columns)
    if copy.format == "csv":
        return CopyCsvShape(columns, copy.delimiter.encode(), copy.null.encode(), copy.header, copy.quote.encode(), copy.escape.encode())
    return CopyTextShape(columns, copy.delimiter.encode(), copy.null.encode(), copy.header)


def search_path_of(value: str, user: str) -> tuple[str, ...]:
    """The schemas of a reported search_path (`"$user", public`), quotes removed, `"$user"` resolved."""
    names: list[str] = []
    at = 0
    while at < len(value):
        if value[at] in ", \t":
            at += 1
        elif value[at] == '"':
            name, at = _quoted(value, at + 1)
            names.append(user if name == "$user" else name)
        else:
            end = value.find(",", at)
            end = len(value) if end < 0 else end
            name = value[at:end].strip()
            names.append(user if name == "$user" else name.lower())
            at = end
    return tuple(names)


def _quoted(value: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(value):
        end = value.find('"', at)
        end = len(value) if end < 0 else end
        parts.append(value[at:end])
        if value[end + 1 : end + 2] != '"':
            return "".join(parts), end + 1
        parts.append('"')
        at = end + 2
    return "".join(parts), at
