"""The golden cases of tests/cases/sql, and the catalog in which they are read."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from interlock.facts.sql import Catalog, Statement

FOLDER = Path(__file__).parents[2] / "cases" / "sql"
PATH = ("public",)


def cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return found


@cache
def catalog() -> Catalog:
    """The rows of catalog.yaml, with the built-in functions of PostgreSQL 18."""
    rows = yaml.safe_load((FOLDER / "catalog.yaml").read_text())
    builtin = (line.split() for line in (FOLDER / "functions.txt").read_text().splitlines())
    functions = [("pg_catalog", name, volatility, language, True) for name, volatility, language in builtin]
    return Catalog.build(
        [tuple(row) for row in rows["relations"]],
        [tuple(row) for row in rows["columns"]],
        [*functions, *(tuple(row) for row in rows["functions"])],
        [tuple(row) for row in rows["inherits"]],
    )


def described(statement: Statement) -> dict[str, Any]:
    """A statement in the form of statements.yaml."""
    flags = [
        name
        for name, is_set in (
            ("no_where", not statement.has_where),
            ("rows", statement.returns_rows),
            ("meaning", statement.changes_meaning),
        )
        if is_set
    ]
    found: dict[str, Any] = {
        "kind": statement.kind,
        "asked": [f"{a.action} {a.kind} {'.'.join(a.name)}".strip() + (" (new)" if a.new else "") for a in statement.asked],
        "normalized": statement.normalized,
    }
    optional = {
        "flags": flags,
        "functions": [".".join(name) for name in statement.functions],
        "pins": list(statement.pins),
        "transaction": statement.transaction,
    }
    found |= {key: value for key, value in optional.items() if value}
    found |= {key: value for key, value in (("prepared", statement.prepared), ("cursor", statement.cursor)) if value is not None}
    return found | ({"inner": statement.inner.kind} if statement.inner is not None else {})


def short(column: str) -> str:
    return column.removeprefix("public.")
