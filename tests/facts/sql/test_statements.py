"""What statements ask for: golden cases, and that summaries never hold a literal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.facts.sql import ACTIONS, read
from interlock.facts.sql.vocabulary import ADMIN, DDL_BY_OBJECT, DDL_ELSEWHERE, DDL_NEW_RELATION, DDL_ON_RELATION, KINDS, MAINTENANCE
from tests.facts.sql.golden import cases, described

CASES = cases("statements")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["sql"][:60])
def test_golden(case: dict[str, Any]) -> None:
    assert [described(statement) for statement in read(case["sql"]).statements] == case["is"]


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 200


def test_every_effect_is_in_the_vocabulary() -> None:
    for case in CASES:
        for statement in read(case["sql"]).statements:
            assert statement.asked
            for asked in statement.asked:
                assert asked.kind in ACTIONS[asked.action]
                assert bool(asked.name) == (asked.kind != "Resource")


def test_each_statement_of_the_grammar_has_its_place() -> None:
    """Every utility statement that libpg_query knows is classified, so that none is opaque by oversight."""
    from postgast import pg_query_pb2 as pb

    nodes = {field.message_type.name for field in pb.Node.DESCRIPTOR.fields if field.message_type.name.endswith("Stmt")}
    inside = {"RawStmt", "SetOperationStmt", "ReturnStmt", "PLAssignStmt", "ReplicaIdentityStmt"}
    elsewhere = {"CopyStmt", "VariableSetStmt", "FetchStmt", "LoadStmt", "CreateTableAsStmt", "CreateSchemaStmt", "CreateForeignTableStmt"}
    elsewhere |= {"CreateFunctionStmt", "AlterFunctionStmt"}
    placed = {*KINDS, *ADMIN, *DDL_BY_OBJECT, *DDL_ELSEWHERE, *DDL_NEW_RELATION, *DDL_ON_RELATION, *MAINTENANCE, *elsewhere}
    assert nodes - inside - placed == set()


LITERALS = [
    "SELECT {}", "SELECT * FROM t WHERE a = {} AND b IN ({}, {})", "INSERT INTO t VALUES ({})", "UPDATE t SET a = {}",
    "CREATE ROLE r PASSWORD {}", "ALTER ROLE r VALID UNTIL {}", "CREATE USER MAPPING FOR u SERVER s OPTIONS (password {})",
    "SET app.token = {}", "SET app.token TO {}, {}", "ALTER SYSTEM SET primary_conninfo = {}", "ALTER ROLE r SET a.b = {}",
    "ALTER DATABASE d SET a.b TO {}", "COPY t TO {}", "COPY t FROM PROGRAM {}", "COPY t TO STDOUT (FORMAT csv, NULL {})", "DO {}",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS {}", "COMMENT ON TABLE t IS {}", "NOTIFY c, {}", "EXECUTE p({})",
    "CREATE SUBSCRIPTION s CONNECTION {} PUBLICATION p", "CREATE TABLE t (a text DEFAULT {})", "PREPARE TRANSACTION {}",
    "DECLARE c CURSOR FOR SELECT {}", "EXPLAIN SELECT {}", "CREATE VIEW v AS SELECT {}", "SELECT 1 -- x\n WHERE {} = {}", "CALL p({})",
    "LOAD {}", "SECURITY LABEL ON TABLE t IS {}", "SELECT interval {}", "ALTER TABLE t ALTER a SET DEFAULT {}", "SELECT f(a => {})",
    "SET SESSION AUTHORIZATION {}", "SET TIME ZONE {}", "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host {})",
]  # fmt: skip
FORMS = ["'{}'", "E'{}\\n'", "$tag${}$tag$", "U&'{}'", "'x'\n'{}'", "/* {} */ 'x' -- {}\n"]


@pytest.mark.parametrize("template", LITERALS)
@pytest.mark.parametrize("form", FORMS)
def test_no_literal_and_no_comment_in_a_summary(template: str, form: str) -> None:
    literal = form.format(*["geheim4711"] * form.count("{}"))
    (statement,) = read(template.format(*[literal] * template.count("{}"))).statements
    assert "geheim4711" not in statement.normalized
    assert "?" in statement.normalized
    if "AUTHORIZATION" not in template:  # there the constant is the role's name
        assert "geheim4711" not in repr(statement)


@given(st.integers(min_value=10_000, max_value=10**30), st.sampled_from(["{}", "-{}", "{}.5", "{}e3", "0x{}", "'{}'::int", "b'1' + {}"]))
def test_no_number_in_a_summary(number: int, form: str) -> None:
    (statement,) = read(f"SELECT a + {form.format(number)} FROM t LIMIT {number}").statements
    assert str(number) not in statement.normalized


def test_a_bare_word_as_setting_value_is_hidden() -> None:
    assert read("SET a.token = geheim4711").statements[0].normalized == "SET a.token = ?"


def test_a_long_summary_is_cut() -> None:
    (statement,) = read("SELECT " + ", ".join(f"column_{at}" for at in range(2_000))).statements
    assert len(statement.normalized) < 4_100
    assert statement.normalized.endswith("…")
