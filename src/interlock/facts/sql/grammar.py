"""Text → PostgreSQL's own parse tree, as plain dicts, through libpg_query (PostgreSQL 18's raw parser).

A node is `{"SelectStmt": {…fields…}}`; fields with default values are absent, and fields of one fixed type hold the
bare fields without the type's name (`InsertStmt.relation`). Field names are those of PostgreSQL's
src/include/nodes/parsenodes.h and primnodes.h.

libpg_query is C, without PostgreSQL's stack check: text that could exhaust the stack, or that its scanner reads in
quadratic time, is refused before it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from postgast import PgQueryError, scan
from postgast import pg_query_pb2 as pb
from postgast.native import lib

from interlock.errors import InterlockError

Node = dict[str, Any]
"""A node of the tree, or the fields of one."""

STATEMENT_LIMIT = 1_000_000
"""Longest text that is parsed, in bytes of UTF-8."""
SUMMARY_LIMIT = 4_000
"""Longest literal-free summary of one statement, in characters."""
_SAFE_LENGTH = 16_000
"""Texts up to this length (bytes) cannot nest deep enough to exhaust a stack of 8 MB."""
_CHAIN_LIMIT = 2_000
"""Most operators in one expression (or set operations, or joins in one list) of a longer text."""
_RUN = re.compile(rb"[~!@#^&|`?+\-*/%<>=]{256,}")
"""A run of operator characters: the scanner takes quadratic time where it begins a comment or ends with + or - again and again."""

_WORD = re.compile(r'"[A-Za-z_][A-Za-z_0-9]{0,62}"|"[^\w\s\'"$]"')
_CONSTANTS = frozenset({pb.ICONST, pb.FCONST, pb.SCONST, pb.USCONST, pb.BCONST, pb.XCONST})
_COMMENTS = frozenset({pb.SQL_COMMENT, pb.C_COMMENT})
_OPENING = frozenset({pb.ASCII_40, pb.ASCII_91})
_CLOSING = frozenset({pb.ASCII_41, pb.ASCII_93})
_SEPARATORS = frozenset({pb.ASCII_44, pb.AND, pb.OR})
"""Comma, AND, OR: they end a chain of operators (lists, AND and OR are flat in the tree)."""
_STICKY = frozenset({pb.UNION, pb.INTERSECT, pb.EXCEPT, pb.JOIN, pb.BETWEEN})
"""Chains that go on across commas and ANDs."""
_CHAINING = frozenset(
    {pb.Op, pb.TYPECAST, pb.LESS_EQUALS, pb.GREATER_EQUALS, pb.NOT_EQUALS, pb.EQUALS_GREATER, pb.OPERATOR, pb.COLLATE, pb.AT}
    | {pb.IS, pb.ISNULL, pb.NOTNULL, pb.ASCII_37, pb.ASCII_42, pb.ASCII_43, pb.ASCII_45, pb.ASCII_47}
    | {pb.ASCII_60, pb.ASCII_61, pb.ASCII_62, pb.ASCII_94}
)
_SETTINGS = frozenset({"VariableSetStmt", "AlterRoleSetStmt", "AlterDatabaseSetStmt", "AlterSystemStmt"})
"""Statements that may hold a setting's value as a bare word."""


class Unparsable(InterlockError):
    """Text that is not SQL as PostgreSQL reads it, or that is beyond a limit. `position` is the 1-based character
    at which reading stopped, 0 where there is none. The message
    may quote one word of the statement, never a literal."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class Raw:
    """One statement of a text: its tree, its place in the text (characters), and a summary without literals."""

    __slots__ = ("tree", "start", "end", "summary")

    def __init__(self, tree: Node, start: int, end: int, summary: str) -> None:
        self.tree = tree
        self.start = start
        self.end = end
        self.summary = summary


def parse(text: str) -> tuple[list[Raw], int]:
    """The statements of a text, and the size of the parse tree in bytes of JSON. Raises `Unparsable`, nothing else."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise Unparsable("the text is not valid Unicode", error.start + 1) from None
    if len(data) > STATEMENT_LIMIT:
        raise Unparsable(f"the text is longer than {STATEMENT_LIMIT} bytes")
    if b"\0" in data:
        raise Unparsable("the text holds a NUL character", text.index("\0") + 1)
    _refuse_slow(data)
    tokens = _tokens(data) if len(data) > _SAFE_LENGTH else None
    tree = _tree(data)
    try:
        statements = msgspec.json.decode(tree).get("stmts", [])
    except RecursionError:
        raise Unparsable("the text nests too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unparsable("the parser's tree cannot be read") from None
    return _cut(text, data, statements, _scan(data) if tokens is None else tokens), len(tree)


def _tree(data: bytes) -> bytes:
    result = lib.pg_query_parse(data)
    try:
        if result.error:
            error = result.error.contents
            message = (error.message or b"syntax error").decode(errors="replace")
            raise Unparsable(_without_literal(message), error.cursorpos)
        return bytes(result.parse_tree)
    finally:
        lib.pg_query_free_parse_result(result)


def _without_literal(message: str) -> str:
    """PostgreSQL quotes the text where it stopped: a single word may stay, the rest may be a literal."""
    said, _, quoted = message.partition(" at or near ")
    return message if _WORD.fullmatch(quoted) else said


def _character(data: bytes, offset: int) -> int:
    """A byte offset as a 1-based character position. (libpg_query's errors count characters, its locations bytes.)"""
    return len(data[:offset].decode(errors="replace")) + 1


def _scan(data: bytes) -> Sequence[pb.ScanToken]:
    try:
        tokens: Sequence[pb.ScanToken] = scan(data.decode()).tokens
        return tokens
    except PgQueryError as error:
        raise Unparsable(_without_literal(error.message), error.cursorpos) from None


def _tokens(data: bytes) -> Sequence[pb.ScanToken]:
    """The tokens of a long text, whose tree is not too deep for C's stack. Raises `Unparsable`."""
    tokens = _scan(data)
    levels: list[tuple[int, int]] = []
    total = plain = sticky = 0  # operators around this place; of them on this level: up to a separator, for good
    for token in tokens:
        kind = token.token
        if kind in _CHAINING:
            plain += 1
            total += 1
        elif kind in _STICKY:
            sticky += 1
            total += 1
        elif kind in _SEPARATORS:
            total -= plain
            plain = 0
        elif kind in _OPENING:
            levels.append((plain, sticky))
            plain = sticky = 0
        elif kind in _CLOSING and levels:
            total -= plain + sticky
            plain, sticky = levels.pop()
        elif kind == pb.ASCII_59 and not levels:
            total = plain = sticky = 0
        if total > _CHAIN_LIMIT:
            raise Unparsable("the text nests too deeply", _character(data, token.start))
    return tokens


def _refuse_slow(data: bytes) -> None:
    for run in _RUN.finditer(data):
        characters = run.group()
        if characters.count(b"/*") + characters.count(b"*/") > 16 or characters.count(b"+") > 128:
            raise Unparsable("too many operator characters in one run", _character(data, run.start()))


def _cut(text: str, data: bytes, statements: list[Node], tokens: Sequence[pb.ScanToken]) -> list[Raw]:
    """Each statement with its slice of the text and its summary; `stmt_location` and `stmt_len` count bytes."""
    plain = len(text) == len(data)
    found: list[Raw] = []
    at = 0
    for statement in statements:
        first = statement.get("stmt_location", 0)
        length = statement.get("stmt_len", 0)
        last = first + length if length else len(data)
        inside: list[pb.ScanToken] = []
        while at < len(tokens) and tokens[at].start < last:
            if tokens[at].start >= first:
                inside.append(tokens[at])
            at += 1
        tree = statement["stmt"]
        start, end = (first, last) if plain else (len(data[:first].decode()), len(data[:last].decode()))
        start += len(text[start:end]) - len(text[start:end].lstrip())
        found.append(Raw(tree, start, end, _summary(data, inside, hide_value=not _SETTINGS.isdisjoint(tree))))
    return found


def _summary(data: bytes, tokens: list[pb.ScanToken], *, hide_value: bool) -> str:
    """The statement with `?` for each constant and without comments. `hide_value`: nothing after the first TO or `=`."""
    parts: list[str] = []
    size = previous = 0
    for token in tokens:
        kind = token.token
        if kind in _COMMENTS or kind == pb.ASCII_59:
            continue
        if parts and token.start > previous:
            parts.append(" ")
            size += 1
        previous = token.end
        parts.append("?" if kind in _CONSTANTS else data[token.start : token.end].decode())
        if hide_value and kind in (pb.TO, pb.ASCII_61):
            parts.append(" ?")
            break
        size += len(parts[-1])
        if size > SUMMARY_LIMIT:
            parts.append(" …")
            break
    return "".join(parts)
