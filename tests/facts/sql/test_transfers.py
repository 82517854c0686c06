"""Which values a statement puts where, column by column; and where they land once a catalog knows the new relations."""

from __future__ import annotations

import pytest

from interlock.facts.sql.catalog import Catalog
from interlock.facts.sql.postgres import read
from interlock.facts.sql.transfers import SOURCES_MAX, Transfer, land, transfers

PATH = ("public",)
CUSTOMERS, NOTES, VIEW, NEW, OTHER = 16_400, 16_401, 16_402, 17_000, 17_001
RELATIONS: list[tuple[int, str, str, str, str | None]] = [
    (CUSTOMERS, "public", "customers", "r", None),
    (NOTES, "public", "notes", "r", None),
    (VIEW, "public", "shown", "v", "SELECT id, note AS word FROM public.notes"),
]
COLUMNS: list[tuple[int, int, str, int]] = [
    *((CUSTOMERS, at, name, 25) for at, name in enumerate(("id", "name", "email"), 1)),
    *((NOTES, at, name, 25) for at, name in enumerate(("id", "note", "more"), 1)),
    *((VIEW, at, name, 25) for at, name in enumerate(("id", "word"), 1)),
]
FUNCTIONS = [("pg_catalog", name, "i", "internal", True) for name in ("upper", "count")]
CATALOG = Catalog.build(RELATIONS, COLUMNS, FUNCTIONS)


def short(sources: frozenset[str]) -> str:
    return " ".join(sorted(source.removeprefix("public.") for source in sources))


def puts(text: str, catalog: Catalog = CATALOG) -> dict[str, str]:
    """`relation.column: sources` for each that a statement writes; by name and column or place where it is not known."""
    found: dict[str, str] = {}
    for transfer in transfers(read(text).statements[0], catalog, PATH):
        found |= {f"{oid}.{attnum}": short(sources) for (oid, attnum), sources in transfer.marks}
        found |= {f"{transfer.name}.{column}": short(sources) for column, sources in transfer.columns}
        if transfer.opaque:
            found["opaque"] = "*"
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INSERT INTO notes SELECT id, email FROM customers", {f"{NOTES}.1": "customers.id", f"{NOTES}.2": "customers.email"}),
        ("INSERT INTO notes (more, id) SELECT upper(email), 1 FROM customers", {f"{NOTES}.3": "customers.email"}),
        ("INSERT INTO notes VALUES (1, 'a', DEFAULT), ($1, $2, 'b')", {}),
        ("INSERT INTO notes DEFAULT VALUES", {}),
        ("INSERT INTO notes (note) VALUES ((SELECT email FROM customers))", {f"{NOTES}.2": "customers.email"}),
        (
            "INSERT INTO notes SELECT 1, email FROM customers ON CONFLICT (id) DO UPDATE SET more = excluded.note",
            {f"{NOTES}.2": "customers.email", f"{NOTES}.3": "customers.email notes.note"},
        ),
        (
            "INSERT INTO notes VALUES (1) ON CONFLICT (id) DO UPDATE SET note = (SELECT name FROM customers)",
            {f"{NOTES}.2": "customers.name"},
        ),
        ("UPDATE notes SET note = note || 'x'", {}),
        ("UPDATE notes SET note = more", {f"{NOTES}.2": "notes.more"}),
        (
            "UPDATE notes n SET (note, more) = (SELECT email, name FROM customers)",
            {f"{NOTES}.2": "customers.email customers.name", f"{NOTES}.3": "customers.email customers.name"},
        ),
        ("UPDATE notes SET note = CASE WHEN email > 'm' THEN 'a' ELSE 'b' END FROM customers", {f"{NOTES}.2": "customers.email"}),
        ("DELETE FROM notes USING customers", {}),
        (
            "MERGE INTO notes n USING customers c ON n.id = c.id WHEN MATCHED THEN UPDATE SET note = c.name "
            "WHEN NOT MATCHED THEN INSERT (id, more) VALUES (c.id, c.email)",
            {f"{NOTES}.1": "customers.id", f"{NOTES}.2": "customers.name", f"{NOTES}.3": "customers.email"},
        ),
        ("UPDATE shown SET word = email FROM customers", {f"{NOTES}.2": "customers.email", f"{VIEW}.2": "customers.email"}),
        ("WITH x AS (UPDATE notes SET note = email FROM customers RETURNING 1) SELECT * FROM x", {f"{NOTES}.2": "customers.email"}),
        ("EXPLAIN ANALYZE UPDATE notes SET note = email FROM customers", {f"{NOTES}.2": "customers.email"}),
        ("EXPLAIN UPDATE notes SET note = email FROM customers", {}),
        ("PREPARE p AS UPDATE notes SET note = email FROM customers", {}),
        ("COPY (UPDATE notes SET note = email FROM customers RETURNING 1) TO STDOUT", {f"{NOTES}.2": "customers.email"}),
        ("COPY notes FROM STDIN", {}),
        ("CREATE TABLE loot (a, b) AS SELECT 1, email, name FROM customers", {"loot.2": "customers.email", "loot.3": "customers.name"}),
        ("SELECT email INTO loot FROM customers UNION SELECT name FROM customers", {"loot.1": "customers.email customers.name"}),
        ("CREATE TABLE loot AS EXECUTE p", {"loot.0": "*"}),
        ("CREATE TABLE IF NOT EXISTS notes AS SELECT email FROM customers", {}),
        ("CREATE TABLE loot (LIKE notes)", {"loot.id": "notes.id", "loot.note": "notes.note", "loot.more": "notes.more"}),
        ("CREATE MATERIALIZED VIEW loot AS SELECT email FROM customers", {}),
        ("INSERT INTO fresh (a) SELECT email FROM customers", {"fresh.a": "customers.email"}),
        ("INSERT INTO fresh SELECT 1, email FROM customers", {"fresh.2": "customers.email"}),
        ("INSERT INTO notes SELECT id, unheard_of FROM unheard_of", {f"{NOTES}.1": "*", f"{NOTES}.2": "*"}),
        ("ALTER TABLE notes ALTER note TYPE text USING more", {f"{NOTES}.2": "notes.more"}),
        ("ALTER TABLE notes RENAME TO words", {}),
        ("ALTER TABLE fresh RENAME TO words", {"opaque": "*"}),
        ("COMMIT PREPARED 'x'", {"opaque": "*"}),
        ("SELECT email FROM customers", {}),
    ],
)
def test_each_target_column(text: str, expected: dict[str, str]) -> None:
    assert puts(text) == expected


def test_what_is_known_already_is_not_told_again() -> None:
    text = "INSERT INTO notes (note) SELECT email FROM customers"
    ((marks),) = (transfer.marks for transfer in transfers(read(text).statements[0], CATALOG, PATH))
    assert puts(text, CATALOG.derive(dict(marks))) == {}


def test_too_many_sources_are_unknown() -> None:
    wide = [(CUSTOMERS, at, f"c{at}", 25) for at in range(1, SOURCES_MAX + 3)]
    catalog = Catalog.build(RELATIONS, [*wide, *(column for column in COLUMNS if column[0] != CUSTOMERS)])
    everything = " || ".join(f"c{at}" for at in range(1, SOURCES_MAX + 3))
    assert "*" in puts(f"INSERT INTO notes (note) SELECT {everything} FROM customers", catalog)[f"{NOTES}.2"].split()


def after(*more: tuple[int, str, str]) -> Catalog:
    """The catalog with new tables of two columns a and b."""
    made = [(oid, schema, name, "r", None) for oid, schema, name in more]
    return Catalog.build([*RELATIONS, *made], [*COLUMNS, *((oid, at, "ab"[at - 1], 25) for oid, _, _ in more for at in (1, 2))])


def landed(catalog: Catalog, new: set[int], *texts: str, changed: frozenset[str] = frozenset()) -> tuple[dict[str, str], set[int], str]:
    some = [transfer for text in texts for transfer in transfers(read(text).statements[0], CATALOG, PATH)]
    found = land(some, catalog, new, changed)
    return {f"{oid}.{attnum}": short(sources) for (oid, attnum), sources in found.marks.items()}, set(found.found), short(found.elsewhere)


LOOT = "CREATE TABLE loot AS SELECT email, 1 FROM customers"


def test_a_new_table_is_found_by_its_name() -> None:
    assert landed(after((NEW, "public", "loot")), {NEW}, LOOT) == ({f"{NEW}.1": "customers.email"}, {NEW}, "")


def test_a_new_table_is_not_taken_for_an_old_one_or_a_temporary_one_of_its_name() -> None:
    catalog = after((NEW, "public", "loot"), (OTHER, "pg_temp_3", "loot"))
    marks, found, elsewhere = landed(catalog, {NEW}, LOOT)
    assert marks[f"{NEW}.1"] == "customers.email" and NEW in found and not elsewhere


def test_a_new_table_that_is_not_found_may_be_any_other() -> None:
    marks, found, elsewhere = landed(
        after((NEW, "public", "prey")), {NEW}, LOOT, "ALTER TABLE loot RENAME TO prey", changed=frozenset({"prey"})
    )
    assert marks == {f"{NEW}.0": "customers.email"} and not found
    assert elsewhere == "* customers.email"


def test_values_that_went_in_under_a_name_of_the_moment() -> None:
    texts = ("ALTER TABLE notes RENAME TO words", "INSERT INTO words SELECT email FROM customers", "ALTER TABLE words RENAME TO notes")
    marks, _, _ = landed(after(), set(), *texts, changed=frozenset({"notes", "words"}))
    assert marks[f"{NOTES}.0"] == "customers.email"


def test_nothing_put_nothing_landed() -> None:
    assert land([], CATALOG, {NEW}, frozenset()) == land([Transfer()], CATALOG, {NEW}, frozenset())
    assert land([], CATALOG, {NEW}, frozenset()).marks == {}
