"""Texts that differ in their literals only: what one of them asks, all of them ask.

Programs without prepared statements send a new text for each value. Where no literal can matter to what a text
asks, it is read once per *shape*: the text with `?` for every plain string and whole number. Only the simplest
texts have one. Whatever could make two texts of one shape mean different things is left out: quoting that needs more
than one rule to read (E'', $$, U&"", comments, backslashes, other than ASCII), casts (`'t'::regclass`), ordinals
(ORDER BY 2, DISTINCT ON (2)), and, by `is_free`, writes, every function, and all operators but comparisons.

Why the cut into literals can be trusted: PostgreSQL and `_LITERAL` could read a text differently only behind the
start of a comment, a quoted name, a dollar quote or a prefixed string; the first of these stands outside of any
literal, remains in the shape, and is refused there.
"""

from __future__ import annotations

import re

from interlock.facts.sql.postgres import Statement

CHARS_MAX = 1_000
"""Longer texts are read for themselves."""
COMPARISONS = frozenset({"=", "<", ">", "<=", ">=", "<>"})
_LITERAL = re.compile(r"'[^'\n]*'|(?<![\w.'])[0-9]{1,18}(?![\w.'])")
_UNSAFE = re.compile(r"""["$\\']|--|/\*|::|\w\?|\?\w|\b(?:by|distinct|cast|at|uescape)\b""", re.IGNORECASE)


def shape_of(text: str) -> str:
    """The text without its literals; empty where it has no shape that could be relied on."""
    if len(text) > CHARS_MAX or not text.isascii() or "?" in text or "\0" in text:
        return ""
    shape = _LITERAL.sub("?", text)
    return "" if _UNSAFE.search(shape) else shape


def is_free(statements: tuple[Statement, ...]) -> bool:
    """Whether what these statements ask cannot depend on a literal: one SELECT that only reads and compares."""
    if len(statements) != 1:
        return False
    (statement,) = statements
    if statement.kind != "select" or statement.calls or statement.pins or statement.changes_meaning:
        return False
    if any(asked.action != "sql.select" for asked in statement.asked) or _holds(statement.tree, "TypeCast"):
        return False
    return all(len(name) == 1 and name[0] in COMPARISONS for name in statement.operators)


def _holds(tree: object, node: str) -> bool:
    if isinstance(tree, dict):
        return node in tree or any(_holds(inner, node) for inner in tree.values())
    return isinstance(tree, list) and any(_holds(inner, node) for inner in tree)
