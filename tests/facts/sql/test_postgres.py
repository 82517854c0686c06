"""Reading, the cache, COPY options, and effects in the light of a catalog."""

from __future__ import annotations

import pytest

from interlock.exchange import Effect
from interlock.facts.sql import ACTIONS, Catalog, Copy, effects, postgres, read
from interlock.facts.sql.postgres import settings
from tests.facts.sql.golden import PATH, catalog


def acts(text: str, path: tuple[str, ...] = PATH, within: Catalog | None = None) -> set[str]:
    return {
        f"{effect.action} {effect.object}".strip() for one in read(text).statements for effect in effects(one, within or catalog(), path)
    }


def test_reading_is_cached_by_text() -> None:
    assert read("SELECT 1 AS cached") is read("SELECT 1 AS cached")
    assert read("SELECT 1 AS cached") is not read("SELECT 1 AS  cached")


def test_the_cache_is_bounded() -> None:
    first = read("SELECT 'first of many'")
    for at in range(postgres.CACHE_ENTRIES):
        read(f"SELECT {at} AS filling")
    assert read("SELECT 'first of many'") is not first
    assert postgres._cache._bytes <= postgres.CACHE_BYTES
    assert len(postgres._cache._entries) <= postgres.CACHE_ENTRIES


def test_a_large_tree_is_not_kept() -> None:
    text = "SELECT " + ", ".join(["1"] * 5_000)
    assert read(text) is not read(text)


def test_names_are_resolved_along_the_path() -> None:
    assert acts("SELECT * FROM users") == {"sql.select public.users"}
    assert acts("SELECT * FROM staff", ("public", "hr")) == {"sql.select hr.staff"}
    assert acts("SELECT * FROM staff") == {"sql.select staff"}
    assert acts("SELECT * FROM otherdb.public.users") == {"sql.select public.users"}
    assert acts("SELECT * FROM pg_class") == {"sql.select pg_catalog.pg_class"}


def test_effects_are_a_set() -> None:
    statement = read("SELECT * FROM users UNION SELECT * FROM public.users").statements[0]
    assert effects(statement, catalog(), PATH) == (Effect("sql.select", "Table", "public.users"),)


def test_a_new_table_lies_in_the_first_schema() -> None:
    assert acts("CREATE TABLE users (id int)", ("hr", "public")) == {"sql.ddl hr.users"}
    assert acts("SELECT 1 INTO TEMP x") == {"sql.ddl pg_temp.x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT lower('A'), now(), random(), gen_random_uuid(), count(*) FILTER (WHERE true)", {"sql.select"}),
        ("SELECT pg_read_file('/etc/passwd')", {"sql.select", "sql.file pg_catalog.pg_read_file"}),
        ("SELECT * FROM pg_ls_dir('.')", {"sql.select", "sql.file pg_catalog.pg_ls_dir"}),
        ("SELECT lo_import('/etc/passwd')", {"sql.select", "sql.file pg_catalog.lo_import"}),
        ("SELECT lo_get(1)", {"sql.select", "sql.opaque pg_catalog.lo_get"}),
        ("SELECT pg_terminate_backend(1)", {"sql.select", "sql.admin pg_catalog.pg_terminate_backend"}),
        ("SELECT pg_logical_emit_message(true, 'a', 'b')", {"sql.select", "sql.admin pg_catalog.pg_logical_emit_message"}),
        ("SELECT set_config('Search_Path', 'x', false)", {"sql.select", "sql.set search_path"}),
        ("SELECT set_config($1, 'x', false)", {"sql.select", "sql.set *"}),
        ("SELECT nextval('log_seq')", {"sql.select", "sql.update public.log_seq"}),
        ("SELECT setval('\"public\".log_seq'::regclass, 5)", {"sql.select", "sql.update public.log_seq"}),
        ("SELECT nextval($1)", {"sql.select", "sql.opaque pg_catalog.nextval"}),
        ("SELECT currval('log_seq')", {"sql.select"}),
        ("SELECT pg_notify('channel', 'x')", {"sql.select", "sql.notify channel"}),
        ("SELECT pg_advisory_lock(1)", {"sql.select", "sql.lock"}),
        ("SELECT query_to_xml('select 1', true, false, '')", {"sql.select", "sql.opaque pg_catalog.query_to_xml"}),
        ("SELECT table_to_xml('users', true, false, '')", {"sql.select", "sql.opaque pg_catalog.table_to_xml"}),
        ("SELECT ts_stat('select 1')", {"sql.select", "sql.opaque pg_catalog.ts_stat"}),
        ("SELECT dblink('x')", {"sql.select", "sql.opaque dblink"}),
        ("SELECT evil(1)", {"sql.select", "sql.opaque public.evil"}),
        ("SELECT * FROM users, two(1)", {"sql.select public.users", "sql.opaque public.two"}),
        ("SELECT id FROM users WHERE evil(id) = 'x'", {"sql.select public.users", "sql.opaque public.evil"}),
        ("UPDATE users SET name = evil(1) WHERE id = 1", {"sql.update public.users", "sql.opaque public.evil"}),
        ("SELECT id FROM users ORDER BY evil(id)", {"sql.select public.users", "sql.opaque public.evil"}),
        ("EXPLAIN SELECT evil(1)", {"sql.select", "sql.opaque public.evil"}),
        ("EXECUTE p(evil(1))", {"sql.opaque", "sql.opaque public.evil"}),
        ("SELECT u.evil FROM users u", {"sql.select public.users", "sql.opaque public.evil"}),
        ("SELECT (u).evil FROM users u", {"sql.select public.users", "sql.opaque public.evil"}),
        ("SELECT email |=| name FROM users", {"sql.select public.users", "sql.opaque |=|"}),
        ("SELECT email || name FROM users", {"sql.select public.users"}),
        ("SELECT id FROM users WHERE email |=| ANY (SELECT name FROM users)", {"sql.select public.users", "sql.opaque |=|"}),
        ("SELECT id FROM users ORDER BY email USING |=|", {"sql.select public.users", "sql.opaque |=|"}),
        ("CALL evil(1)", {"sql.opaque public.evil"}),
        ("DO 'x'", {"sql.opaque"}),
    ],
)
def test_functions(text: str, expected: set[str]) -> None:
    assert acts(text) == expected


def test_a_function_that_hides_a_builtin_one_is_not_harmless() -> None:
    """public.lower(varchar) would be a better match than pg_catalog.lower(text): CVE-2018-1058."""
    shadowed = Catalog.build([], [], [("pg_catalog", "lower", "i", "internal", True), ("public", "lower", "i", "sql", False)])
    assert acts("SELECT lower('A')", within=shadowed) == {"sql.select", "sql.opaque lower"}
    assert acts("SELECT pg_catalog.lower('A')", within=shadowed) == {"sql.select"}
    assert acts("SELECT lower('A')", ("other",), shadowed) == {"sql.select"}


def test_without_function_facts_every_function_is_opaque() -> None:
    assert acts("SELECT lower('A')", within=Catalog()) == {"sql.select", "sql.opaque lower"}


def test_a_column_of_a_functions_name_is_no_call() -> None:
    within = Catalog.build([(1, "public", "t", "r", None)], [(1, 1, "evil", 25)], [("public", "evil", "v", "plpgsql", False)])
    assert acts("SELECT t.evil FROM t", within=within) == {"sql.select public.t"}


def test_every_effect_is_in_the_vocabulary() -> None:
    for text in ("SELECT pg_notify('a', 'b'), evil(1), lo_import('x'), pg_reload_conf(), set_config('a', 'b', true), nextval('log_seq')",):
        for effect in effects(read(text).statements[0], catalog(), PATH):
            assert effect.kind in ACTIONS[effect.action]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COPY t TO STDOUT", Copy("stdout", False, relation=("t",))),
        ("COPY s.t (a, b) FROM STDIN", Copy("stdin", True, relation=("s", "t"), columns=("a", "b"))),
        ("COPY t TO STDOUT CSV", Copy("stdout", False, "csv", ",", "", relation=("t",))),
        ("COPY t TO STDOUT (FORMAT CSV, QUOTE '''')", Copy("stdout", False, "csv", ",", "", quote="'", escape="'", relation=("t",))),
        ("COPY t TO STDOUT BINARY", Copy("stdout", False, "binary", relation=("t",))),
        ("COPY t TO STDOUT (DELIMITER '|', NULL 'x', HEADER)", Copy("stdout", False, "text", "|", "x", True, relation=("t",))),
        ("COPY t TO STDOUT (HEADER false)", Copy("stdout", False, relation=("t",))),
        ("COPY t FROM STDIN (HEADER match, ENCODING 'utf8')", Copy("stdin", True, header=True, encoding="utf8", relation=("t",))),
        ("COPY (SELECT 1) TO STDOUT", Copy("stdout", False)),
        ("COPY t TO PROGRAM 'x'", Copy("program", False, relation=("t",))),
        ("COPY t FROM '/x'", Copy("file", True, relation=("t",))),
        ("COPY t TO STDOUT (SPELL 'x')", Copy("stdout", False, relation=("t",), unknown=frozenset({"spell"}))),
    ],
)
def test_copy_options(text: str, expected: Copy) -> None:
    assert read(text).statements[0].copy == expected


def test_settings() -> None:
    assert settings(read("SET Search_Path = a").statements[0]) == {"search_path": "a"}
    assert settings(read("SET search_path = a, b").statements[0]) == {"search_path": None}
    assert settings(read("RESET ALL").statements[0]) == {"*": None}
    assert settings(read("SELECT 1").statements[0]) == {}


def test_reads_and_writes() -> None:
    (statement,) = read("WITH d AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM d JOIN c ON true").statements
    assert statement.reads == (("a",), ("c",))
    assert statement.writes == (("a",), ("b",))
    assert statement.tables == (("a",), ("b",), ("c",))


@pytest.mark.parametrize(
    ("text", "pins"),
    [
        ("SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'", ()),
        ("SELECT set_config(name, 'view', false) FROM pg_catalog.pg_settings WHERE name = 'jit'", ()),
        (
            "SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'standard_conforming_strings'",
            ("standard_conforming_strings",),
        ),
        ("SELECT set_config(name, 'off', false) FROM pg_settings WHERE name <> 'jit'", ("*",)),
        ("SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'jit' OR true", ("*",)),
        ("SELECT set_config(name, 'off', false) FROM mine.pg_settings WHERE name = 'jit'", ("*",)),
        ("SELECT set_config(name, 'off', false) FROM pg_settings, other WHERE name = 'jit'", ("*",)),
        ("SELECT set_config(name, 'off', false) FROM pg_settings AS s (other) WHERE name = 'jit'", ("*",)),
        ("SELECT set_config(name, set_config(setting, 'off', false), false) FROM pg_settings WHERE name = 'jit'", ("*",)),
        ("WITH pg_settings AS (SELECT 'x' AS name) SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'jit'", ("*",)),
        (
            "SELECT set_config(name, '', false) FROM pg_settings WHERE name = 'jit' UNION SELECT set_config(name, '', false) FROM t",
            ("*",),
        ),
    ],
)
def test_set_config_over_pg_settings_is_read_in_the_form_of_pg_dump_only(text: str, pins: tuple[str, ...]) -> None:
    assert postgres.read(text).statements[0].pins == pins
