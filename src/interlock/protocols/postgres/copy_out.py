"""Finding the rows of a COPY TO STDOUT, however its data is cut into CopyData messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from interlock.errors import ProtocolError
from interlock.protocols.postgres.copy_formats import CopyBinaryShape, CopyShape, fail, messages_of, payloads_of


@dataclass(frozen=True, slots=True)
class CopyPiece:
    """A piece of a COPY reply, as whole CopyData messages. `rows` pieces hold `count` rows and go through a
    `Release`; `frame` pieces hold no value (header, column names, trailer)."""

    kind: Literal["rows", "frame"]
    data: bytes
    count: int = 0


class CopyOut:
    """Finds the rows in the CopyData messages of a COPY TO STDOUT, however they are cut.

    At most `row_bytes_max` bytes of a row that is not complete are kept; a longer row is a `ProtocolError`.
    """

    def __init__(self, shape: CopyShape, row_bytes_max: int) -> None:
        self.shape = shape
        self._max = row_bytes_max
        self._binary = isinstance(shape, CopyBinaryShape)
        self._rest = bytearray()
        self._first = True
        self._closed = False

    def feed(self, messages: bytes) -> list[CopyPiece]:
        """The pieces that these whole CopyData messages complete, in order."""
        pieces: list[CopyPiece] = []
        rows: list[bytes] = []
        for payload in payloads_of(messages):
            self._feed(payload, pieces, rows)
        self._flush(pieces, rows)
        return pieces

    def end(self) -> None:
        """CopyDone came. Raises `ProtocolError` when a row is not complete or the binary trailer is missing."""
        if self._rest:
            fail("it ends within a row")
        if self._binary and not self._closed:
            fail("the trailer is missing")

    def _feed(self, payload: bytes, pieces: list[CopyPiece], rows: list[bytes]) -> None:
        data = payload
        if self._rest:
            self._rest += payload
            # A line cannot be complete without a newline; looking again at all of it would cost the square.
            data = bytes(self._rest) if self._binary or b"\n" in payload else b""
        at = self._cut(data, pieces, rows)
        if data:
            self._rest[:] = data[at:]
        if len(self._rest) > self._max:
            raise ProtocolError(f"a COPY row is over the limit of {self._max} bytes", fault="upstream")

    def _cut(self, data: bytes, pieces: list[CopyPiece], rows: list[bytes]) -> int:
        """Take whole frames and rows from the start of `data`; gives where the first incomplete one begins."""
        shape, at, end = self.shape, 0, len(data)
        while at < end:
            if self._closed:
                fail("bytes follow the trailer")
            if self._first or self._binary:
                stop = shape.frame(data, at, self._first)
                if stop < 0:
                    return at
                if self._binary and self._first and at < stop < end:
                    stop = self._with_header(data, at, stop, pieces, rows)
                    if stop < 0:
                        return at
                    self._first, at = False, stop
                    continue
                if stop > at:
                    self._flush(pieces, rows)
                    pieces.append(CopyPiece("frame", messages_of([data[at:stop]])))
                    self._closed = self._binary and not self._first
                    self._first, at = False, stop
                    continue
                self._first = False
            stop = shape.row(data, at)
            if stop < 0:
                return at
            rows.append(data[at:stop])
            at = stop
        return at

    def _with_header(self, data: bytes, start: int, at: int, pieces: list[CopyPiece], rows: list[bytes]) -> int:
        """PostgreSQL sends the binary header in one message with the first row (or the trailer), and psycopg takes it
        no other way. Gives where that ends, or -1 while it is not complete."""
        stop = self.shape.frame(data, at, False)
        if stop > at:
            pieces.append(CopyPiece("frame", messages_of([data[start:stop]])))
            self._closed = True
        elif stop == at:
            stop = self.shape.row(data, at)
            if stop >= 0:
                rows.append(data[start:stop])
        return stop

    def _flush(self, pieces: list[CopyPiece], rows: list[bytes]) -> None:
        if rows:
            pieces.append(CopyPiece("rows", messages_of(rows), len(rows)))
            rows.clear()
