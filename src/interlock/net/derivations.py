"""What catalogs must remember beyond one reading: marks of columns, kept by the masking station. See `catalogs.Ledger`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from interlock.facts.sql.catalog import Catalog, Marks, Relation
from interlock.gate import Gate
from interlock.masking.derived import Described, Key

FIRST_USER_OID = 16_384
_KINDS = frozenset("rpfvm")


class Derivations:
    """A gate without a `derived` station remembers nothing."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def marks(self, key: Key) -> Marks:
        return self._gate.derived.marks(key) if self._gate.derived is not None else {}

    async def add(self, key: Key, marks: Marks) -> None:
        if self._gate.derived is not None and marks:
            await self._gate.derived.add(key, marks)

    async def seen(self, key: Key, catalog: Catalog) -> None:
        """A catalog was read: forget what is gone, keep the classes of what is there."""
        derived = self._gate.derived
        if derived is None:
            return
        resource = self._gate.registry.find(key[0])
        gone = derived.oids(key) - catalog.oids
        if gone:
            await derived.forget(key, gone)
        if resource.classes:
            await derived.classify(key, resource, described(catalog))


def described(catalog: Catalog) -> Iterator[Described]:
    """The relations of users that can hold values, as `masking.derived` needs them; not the temporary ones."""
    for relation in catalog.relations:
        if relation.oid >= FIRST_USER_OID and relation.kind in _KINDS and not relation.schema.startswith("pg_temp_"):
            kin = (relation, *catalog.family(relation.oid))
            yield relation.oid, relation.schema, relation.name, tuple((c.attnum, c.name, _names(kin, c.name)) for c in relation.columns)


def _names(kin: Sequence[Relation], column: str) -> frozenset[str]:
    """What a column goes by: a partition's has also the name of its parent's."""
    return frozenset(f"{one.qualified}.{column}" for one in kin if any(other.name == column for other in one.columns))
