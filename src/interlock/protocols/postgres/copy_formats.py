"""COPY TO STDOUT as replies: three formats, each a `Shape` over whole rows. `copy_out.py` finds the rows.

A piece is made of whole CopyData messages that hold exactly one row each, so a lens changes rows and the result
can be sent as it is. What is no row (the binary header and trailer, a header line) comes as a frame and holds no
value. Source: PostgreSQL documentation, "COPY", File Formats; what `copyto.c` writes is a subset of what COPY
FROM reads, and only that subset is taken: anything else is a `ProtocolError` with fault upstream.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError
from typing import NoReturn, Protocol

from interlock.errors import ProtocolError
from interlock.exchange import Cell, Column, Row
from interlock.protocols.postgres import types

_HEAD = Struct("!Bi")
_COUNT = Struct("!h")
_LENGTH = Struct("!i")
_COPY_DATA = ord("d")
_FLAGS = Struct("!Ii")
_BINARY_HEADER = b"PGCOPY\n\xff\r\n\0"
_BINARY_TRAILER = b"\xff\xff"


def fail(why: str) -> NoReturn:
    raise ProtocolError(f"malformed COPY data: {why}", fault="upstream")


def payloads_of(messages: bytes) -> list[bytes]:
    """The payloads of whole CopyData messages."""
    found: list[bytes] = []
    at, end = 0, len(messages)
    while at < end:
        if end - at < _HEAD.size:
            fail("half a message")
        kind, length = _HEAD.unpack_from(messages, at)
        stop = at + 1 + length
        if kind != _COPY_DATA or length < 4 or stop > end:
            fail("not a CopyData message")
        found.append(messages[at + _HEAD.size : stop])
        at = stop
    return found


def messages_of(payloads: Sequence[bytes]) -> bytes:
    return b"".join([part for payload in payloads for part in (_HEAD.pack(_COPY_DATA, len(payload) + 4), payload)])


class CopyShape(Protocol):
    """A `Shape` that also knows where its rows end."""

    columns: tuple[Column, ...]

    @abstractmethod
    def frame(self, data: bytes, at: int, first: bool) -> int:
        """Where the frame that begins at `at` ends (`at` itself: a row comes next; -1: more bytes are needed).
        `first` is true at the very beginning of the stream."""

    @abstractmethod
    def row(self, data: bytes, at: int) -> int:
        """Where the row that begins at `at` ends; -1 when it is not complete."""

    @abstractmethod
    def split_row(self, payload: bytes) -> Row: ...

    @abstractmethod
    def join_row(self, row: Row) -> bytes: ...

    @abstractmethod
    def decode(self, column: Column, cell: bytes) -> str | None: ...

    @abstractmethod
    def encode(self, column: Column, text: str) -> Cell: ...

    def split(self, piece: bytes) -> list[Row]:
        return [self.split_row(payload) for payload in payloads_of(piece)]

    def join(self, rows: Sequence[Row]) -> bytes:
        return messages_of([self.join_row(row) for row in rows])


_UNESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPES = {v: b"\\" + k for k, v in _UNESCAPES.items()} | {b"\\": b"\\\\"}
_ESCAPED = re.compile(rb"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)


def _unescape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if code[:1].isdigit() and code[:1] < b"8":
        return bytes((int(code, 8) & 0xFF,))
    if code[:1] == b"x" and len(code) > 1:
        return bytes((int(code[1:], 16),))
    return _UNESCAPES.get(code, code)


@dataclass(frozen=True, slots=True)
class CopyTextShape(CopyShape):
    """FORMAT text: a line per row, cells between delimiters with backslash escapes; a cell is kept escaped.

    `delimiter` is one byte, `null` the marker of NULL, `header` says that the first line names the columns.
    """

    columns: tuple[Column, ...]
    delimiter: bytes = b"\t"
    null: bytes = b"\\N"
    header: bool = False

    def frame(self, data: bytes, at: int, first: bool) -> int:
        return self.row(data, at) if first and self.header else at

    def row(self, data: bytes, at: int) -> int:
        return data.find(b"\n", at) + 1 or -1

    def split_row(self, payload: bytes) -> Row:
        line = payload[:-1]
        if payload[-1:] != b"\n" or b"\n" in line:
            fail("a message is not one line")
        null = self.null
        if b"\\" + self.delimiter in line:
            cells = self._split_escaped(line)
        else:
            # A table without columns gives empty lines.
            cells = line.split(self.delimiter) if self.columns or line else []
        if len(cells) != len(self.columns):
            fail(f"a row has {len(cells)} columns instead of {len(self.columns)}")
        return [None if cell == null else cell for cell in cells]

    def join_row(self, row: Row) -> bytes:
        null = self.null
        return self.delimiter.join([null if cell is None else cell for cell in row]) + b"\n"

    def decode(self, column: Column, cell: bytes) -> str | None:
        return types.decode(column.type, 0, _ESCAPED.sub(_unescape, cell) if b"\\" in cell else cell)

    def encode(self, column: Column, text: str) -> Cell:
        cell = types.encode(column.type, 0, text)
        if cell is None:
            return None
        special = rb"[\x08-\x0d\\" + re.escape(self.delimiter) + b"]"
        return re.sub(special, lambda found: _ESCAPES.get(found[0], b"\\" + found[0]), cell)

    def _split_escaped(self, line: bytes) -> list[bytes]:
        cells, start, at = [], 0, 0
        while at < len(line):
            byte = line[at : at + 1]
            if byte == b"\\":
                at += 2
            elif byte == self.delimiter:
                cells.append(line[start:at])
                at = start = at + 1
            else:
                at += 1
        cells.append(line[start:])
        return cells


@dataclass(frozen=True, slots=True)
class CopyCsvShape(CopyShape):
    """FORMAT csv: a cell is kept with its quotes. `null` counts only unquoted. `force_quote` names columns that
    are always quoted (`*`: all). Cells may hold newlines inside quotes; quotes stand around a whole cell or not at all."""

    columns: tuple[Column, ...]
    delimiter: bytes = b","
    null: bytes = b""
    header: bool = False
    quote: bytes = b'"'
    escape: bytes = b'"'
    force_quote: frozenset[str] = frozenset()
    _cell: re.Pattern[bytes] = field(init=False, repr=False, compare=False)
    _special: re.Pattern[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        q, e, d = re.escape(self.quote), re.escape(self.escape), re.escape(self.delimiter)
        inner = rb"(?:[^%b]|%b%b)*+" % (q, q, q) if q == e else rb"(?:[^%b%b]|%b[%b%b])*+" % (q, e, e, q, e)
        object.__setattr__(self, "_cell", re.compile(rb"(%b%b%b|[^%b%b\r\n]*+)(%b|\n)" % (q, inner, q, q, d, d)))
        object.__setattr__(self, "_special", re.compile(rb"[%b%b\r\n]|^\s|\s$|^\\\.$" % (q, d)))

    def frame(self, data: bytes, at: int, first: bool) -> int:
        return self.row(data, at) if first and self.header else at

    def row(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at)
        if end < 0 or data.find(self.quote, at, end) < 0:
            return end + 1 or -1
        cell = self._cell.match(data, at)
        while cell is not None:
            if cell[2] == b"\n":
                return cell.end()
            cell = self._cell.match(data, cell.end())
        return -1

    def split_row(self, payload: bytes) -> Row:
        null, found, at = self.null, list[Cell](), 0
        if self.quote not in payload and b"\r" not in payload and payload.find(b"\n") == len(payload) - 1 and self.columns:
            return self._fit([None if cell == null else cell for cell in payload[:-1].split(self.delimiter)])
        while True:
            cell = self._cell.match(payload, at)
            if cell is None:
                fail("a csv cell is not closed, or not quoted as a whole")
            found.append(None if cell[1] == null else cell[1])
            at = cell.end()
            if cell[2] == b"\n":
                break
        if not self.columns and payload == b"\n":
            return []
        if at != len(payload):
            fail("a message is not one row")
        return self._fit(found)

    def join_row(self, row: Row) -> bytes:
        null = self.null
        return self.delimiter.join([null if cell is None else cell for cell in row]) + b"\n"

    def decode(self, column: Column, cell: bytes) -> str | None:
        if cell[:1] == self.quote and len(cell) > 1:
            quote, escape = self.quote, self.escape
            cell = re.sub(re.escape(escape) + b"([" + re.escape(escape) + re.escape(quote) + b"])", rb"\1", cell[1:-1])
        return types.decode(column.type, 0, cell)

    def encode(self, column: Column, text: str) -> Cell:
        cell = types.encode(column.type, 0, text)
        if cell is None:
            return None
        forced = column.name in self.force_quote or "*" in self.force_quote
        if not forced and cell != self.null and not self._special.search(cell):
            return cell
        inner = cell.replace(self.escape, self.escape * 2)
        if self.quote != self.escape:
            inner = inner.replace(self.quote, self.escape + self.quote)
        return self.quote + inner + self.quote

    def _fit(self, row: Row) -> Row:
        if len(row) != len(self.columns):
            fail(f"a row has {len(row)} columns instead of {len(self.columns)}")
        return row


@dataclass(frozen=True, slots=True)
class CopyBinaryShape(CopyShape):
    """FORMAT binary: a row is a column count, then each cell with its length; cells are in the binary format.

    The header may stand before a piece's first row, in one message with it: `split` sets it aside, and the `join`
    that follows puts it back.
    """

    columns: tuple[Column, ...]
    _header: list[bytes] = field(default_factory=list, compare=False, repr=False)

    def split(self, piece: bytes) -> list[Row]:
        self._header.clear()
        payloads = payloads_of(piece)
        if payloads and payloads[0].startswith(_BINARY_HEADER):  # no row begins so: it would have 20,551 columns
            end = self.frame(payloads[0], 0, True)
            if end < 0:
                fail("the binary header is not complete")
            self._header.append(payloads[0][:end])
            payloads[0] = payloads[0][end:]
        return [self.split_row(payload) for payload in payloads]

    def join(self, rows: Sequence[Row]) -> bytes:
        payloads = [self.join_row(row) for row in rows]
        if self._header and payloads:
            payloads[0] = self._header.pop() + payloads[0]
        return messages_of(payloads)

    def frame(self, data: bytes, at: int, first: bool) -> int:
        have = len(data) - at
        if not first:
            if have < _COUNT.size:
                return -1
            return at + _COUNT.size if data.startswith(_BINARY_TRAILER, at) else at
        start = len(_BINARY_HEADER)
        if not data.startswith(_BINARY_HEADER[:have], at):
            fail("the binary header is missing")
        if have < start + _FLAGS.size:
            return -1
        flags, extension = _FLAGS.unpack_from(data, at + start)
        if flags & 0xFFFF_0000 or extension < 0:
            fail("the binary header has flags that change the format")
        end = at + start + _FLAGS.size + int(extension)
        return end if end <= len(data) else -1

    def row(self, data: bytes, at: int) -> int:
        end = len(data)
        if end - at < _COUNT.size:
            return -1
        (count,) = _COUNT.unpack_from(data, at)
        if count != len(self.columns):
            fail(f"a row has {count} columns instead of {len(self.columns)}")
        at += _COUNT.size
        for _ in range(count):
            if end - at < _LENGTH.size:
                return -1
            (length,) = _LENGTH.unpack_from(data, at)
            if length < -1:
                fail("a length is negative")
            at += _LENGTH.size + max(length, 0)
        return at if at <= end else -1

    def split_row(self, payload: bytes) -> Row:
        at, found, length_at = _COUNT.size, list[Cell](), _LENGTH.unpack_from
        if payload[: _COUNT.size] != _COUNT.pack(len(self.columns)):
            fail("a row has another number of columns than was announced")
        try:
            for _ in self.columns:
                (length,) = length_at(payload, at)
                at += 4
                if length >= 0:
                    found.append(payload[at : at + length])
                    at += length
                elif length == -1:
                    found.append(None)
                else:
                    fail("a length is negative")
        except StructError:
            fail("a row ends too early")
        if at != len(payload):
            fail("a message is not one row")
        return found

    def join_row(self, row: Row) -> bytes:
        parts = [_COUNT.pack(len(row))]
        for cell in row:
            parts.append(_LENGTH.pack(-1) if cell is None else _LENGTH.pack(len(cell)) + cell)
        return b"".join(parts)

    def decode(self, column: Column, cell: bytes) -> str | None:
        return types.decode(column.type, 1, cell)

    def encode(self, column: Column, text: str) -> Cell:
        return types.encode(column.type, 1, text)
