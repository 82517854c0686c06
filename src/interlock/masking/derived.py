"""Where values of other columns lie: the control state that keeps data classes with the values.

A mark says that a column (relation OID and attribute number; 0: all of them) holds values of the base columns that it names
(`*`: of unknown ones). What has a class is marked with its own name when it is first seen, so that its class stays through
renames. A relation that takes the name of a classified one, while the map of classes was not changed since, is unknown.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from interlock.errors import StoreError
from interlock.exchange import Resource
from interlock.masking.columns import ColumnClasses
from interlock.store import Bus, Change, Store, Topic
from interlock.store.tables import CLASSIFIED, DERIVED

Key = tuple[str, str]
"""Resource name, and the place inside it (a database)."""
Marks = Mapping[tuple[int, int], frozenset[str]]
Described = tuple[int, str, str, tuple[tuple[int, str, frozenset[str]], ...]]
"""A relation: OID, schema, name, and of each column attribute number, name, and all the names it goes by."""
UNKNOWN: Final = frozenset("*")
SOURCE_CHARS_MAX: Final = 400

_log = structlog.get_logger("interlock.masking")


class Derived:
    """All marks, in memory and in the store. `load` once, after the bus has started."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._marks: dict[Key, dict[tuple[int, int], frozenset[str]]] = {}
        self._classified: dict[Key, dict[str, tuple[int, str]]] = {}
        self._recreated: dict[Key, dict[tuple[int, int], frozenset[str]]] = {}
        self._reloading: asyncio.Task[None] | None = None
        self.on_change: Callable[[], None] | None = None
        """Another process has learned something."""

    async def load(self) -> None:
        """Raises `StoreError`."""
        self._bus.listen(Topic.DERIVED, self._changed)
        await self._load()

    def marks(self, key: Key) -> Marks:
        return _united(self._marks.get(key, {}), self._recreated.get(key, {}))

    async def add(self, key: Key, marks: Marks) -> None:
        """In force at once; what cannot be stored is unknown from here on."""
        known = self._marks.setdefault(key, {})
        more = {place: sources - known.get(place, frozenset()) for place, sources in marks.items()}
        rows = [
            {"resource": key[0], "place": key[1], "relation": place[0], "attnum": place[1], "source": source}
            for place, sources in more.items()
            for source in sorted(sources)
        ]
        if not rows:
            return
        self._marks[key] = _united(known, more)
        try:
            if any(len(str(row["source"])) > SOURCE_CHARS_MAX for row in rows):
                raise StoreError("a column's name is too long to be stored")
            async with self._store.write() as connection:
                await connection.execute(upsert(DERIVED).on_conflict_do_nothing(), rows)
                await self._bus.announce(connection, Topic.DERIVED, key[0])
        except StoreError as error:
            _log.error("marks not stored: these columns are unknown", resource=key[0], columns=len(more), reason=error.message)
            self._marks[key] = _united(self._marks[key], {place: UNKNOWN for place, sources in more.items() if sources})

    async def forget(self, key: Key, gone: Iterable[int]) -> None:
        """Relations that do not exist any more."""
        known = self._marks.get(key, {})
        oids = sorted(set(gone))
        self._marks[key] = {place: sources for place, sources in known.items() if place[0] not in oids}
        where = (DERIVED.c.resource == key[0]) & (DERIVED.c.place == key[1])
        try:
            async with self._store.write() as connection:
                for at in range(0, len(oids), 500):
                    await connection.execute(delete(DERIVED).where(where & DERIVED.c.relation.in_(oids[at : at + 500])))
        except StoreError as error:
            _log.warning("marks of dropped relations stay", resource=key[0], reason=error.message)

    def oids(self, key: Key) -> frozenset[int]:
        return frozenset(oid for oid, _ in self._marks.get(key, {}))

    async def classify(self, key: Key, resource: Resource, relations: Iterable[Described]) -> None:
        """Relations as they are now: what has a class keeps it, and what took the name of a classified one is unknown."""
        classes = ColumnClasses(resource.classes)
        tables = {name.casefold().rpartition(".")[0].rpartition(".")[2] for name in resource.classes}
        pins: dict[tuple[int, int], frozenset[str]] = {}
        recreated: dict[tuple[int, int], frozenset[str]] = {}
        known = self._classified.setdefault(key, {})
        fresh: dict[str, tuple[int, str]] = {}
        for oid, schema, name, columns in relations:
            classed = {attnum: frozenset(n for n in names if classes.named(n)) for attnum, _, names in columns}
            pins |= {(oid, attnum): names for attnum, names in classed.items() if names}
            if name.casefold() not in tables:
                continue
            qualified, now = f"{schema}.{name}", (oid, _digest(resource.classes, name))
            before = known.get(qualified)
            if before is None or (before[0] != oid and before[1] != now[1]):
                fresh[qualified] = now
            elif before[0] != oid:
                own = {attnum for attnum, column, _ in columns if not classes.named(f"{qualified}.{column}")}
                recreated |= {(oid, attnum): UNKNOWN for attnum in own}
            elif before != now:
                fresh[qualified] = now
        self._recreated[key] = recreated
        await self.add(key, pins)
        if fresh:
            await self._classify(key, fresh)

    async def _classify(self, key: Key, fresh: Mapping[str, tuple[int, str]]) -> None:
        self._classified[key] |= fresh
        rows = [{"resource": key[0], "place": key[1], "name": name, "relation": oid, "classes": d} for name, (oid, d) in fresh.items()]
        statement = upsert(CLASSIFIED)
        statement = statement.on_conflict_do_update(
            index_elements=["resource", "place", "name"],
            set_={"relation": statement.excluded.relation, "classes": statement.excluded.classes},
        )
        try:
            async with self._store.write() as connection:
                await connection.execute(statement, rows)
        except StoreError as error:
            _log.error("classified tables not stored", resource=key[0], reason=error.message)

    def _changed(self, _: Change) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        try:
            await self._load()
        except StoreError as error:
            _log.error("marks not read", reason=error.message)
        if self.on_change is not None:
            self.on_change()

    async def _load(self) -> None:
        async with self._store.read() as connection:
            marks = (await connection.execute(select(DERIVED))).all()
            classified = (await connection.execute(select(CLASSIFIED))).all()
        for row in marks:
            known = self._marks.setdefault((row.resource, row.place), {})
            place = row.relation, row.attnum
            known[place] = known.get(place, frozenset()) | {row.source}
        for row in classified:
            self._classified.setdefault((row.resource, row.place), {})[row.name] = row.relation, row.classes


def _united(some: Marks, more: Marks) -> dict[tuple[int, int], frozenset[str]]:
    return {**some, **{place: some.get(place, frozenset()) | sources for place, sources in more.items()}}


def _digest(classes: Mapping[str, str], table: str) -> str:
    """The part of the map that names the table."""
    own = sorted(
        f"{name}={of}" for name, of in classes.items() if name.casefold().rpartition(".")[0].rpartition(".")[2] == table.casefold()
    )
    return hashlib.blake2b("\n".join(own).encode(), digest_size=16).hexdigest()
