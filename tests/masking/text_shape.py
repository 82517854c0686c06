"""A reply of tab-separated lines, as the smallest protocol a lens can work on: `\\N` is NULL.

Types: 1 text, 2 integer (holds digits only), 3 opaque (bytes that the codec cannot read).
"""

from __future__ import annotations

from collections.abc import Sequence

from interlock.errors import ProtocolError
from interlock.exchange import Cell, Column, Row

TEXT, INTEGER, OPAQUE = 1, 2, 3


class TextShape:
    def __init__(self, *columns: Column) -> None:
        self._columns = columns
        self.joins = 0

    @property
    def columns(self) -> Sequence[Column]:
        return self._columns

    def split(self, piece: bytes) -> list[Row]:
        if piece and not piece.endswith(b"\n"):
            raise ProtocolError("half a row", fault="upstream")
        return [[None if cell == b"\\N" else cell for cell in line.split(b"\t")] for line in piece.split(b"\n")[:-1]]

    def join(self, rows: Sequence[Row]) -> bytes:
        self.joins += 1
        return b"".join(b"\t".join(b"\\N" if cell is None else cell for cell in row) + b"\n" for row in rows)

    def decode(self, column: Column, cell: bytes) -> str | None:
        return None if column.type == OPAQUE else cell.decode("utf-8")

    def encode(self, column: Column, text: str) -> Cell:
        if column.type == OPAQUE or (column.type == INTEGER and not text.isdigit()):
            return None
        return text.encode("utf-8")


def text(name: str, origin: str | None = None) -> Column:
    """A text column that comes straight from `origin`, or from no column at all."""
    return Column(name, TEXT, 0, origin, frozenset({origin}) if origin else frozenset())


def piece(*rows: Sequence[str | None]) -> bytes:
    return b"".join(b"\t".join(b"\\N" if cell is None else cell.encode() for cell in row) + b"\n" for row in rows)
