"""Replies: the shape of DataRows and of COPY data, and a refusal in PostgreSQL's words.

Every shape's pieces are whole wire messages, so what a `Release` gives can be sent as it is. The COPY shapes
stand in `copy_formats.py` and `copy_out.py`, the readable form of recorded bytes in `readable.py`; both are given again here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError

from interlock.errors import ProtocolError
from interlock.exchange import Cell, Column, Refusal, Row
from interlock.protocols.postgres import types
from interlock.protocols.postgres.copy_formats import CopyBinaryShape, CopyCsvShape, CopyTextShape
from interlock.protocols.postgres.copy_out import CopyOut, CopyPiece
from interlock.protocols.postgres.readable import render

_HEAD = Struct("!BiH")
_LENGTH = Struct("!i")
_DATA_ROW = ord("D")
_NULL = _LENGTH.pack(-1)
_SHORT = tuple(_LENGTH.pack(length) for length in range(256))


@dataclass(frozen=True, slots=True)
class RowShape:
    """A result set. A piece is made of whole DataRow messages; a cell is the column's value in the column's format."""

    columns: tuple[Column, ...]

    def split(self, piece: bytes) -> list[Row]:
        """The rows of these DataRows. Raises `ProtocolError` (fault upstream) for anything that is not exactly that."""
        rows: list[Row] = []
        head, length_at = _HEAD.unpack_from, _LENGTH.unpack_from
        columns = range(len(self.columns))
        width, at, end = len(self.columns), 0, len(piece)
        try:
            while at < end:
                kind, size, count = head(piece, at)
                stop = at + 1 + size
                if kind != _DATA_ROW or count != width or not at + 7 <= stop <= end:
                    raise ProtocolError("a row does not fit its description", fault="upstream")
                at += 7
                row: Row = []
                for _ in columns:
                    (length,) = length_at(piece, at)
                    at += 4
                    if length >= 0:
                        row.append(piece[at : at + length])
                        at += length
                    elif length == -1:
                        row.append(None)
                    else:
                        raise ProtocolError("a value has a negative length", fault="upstream")
                # Positions only grow, so a length that points past the end cannot come back to `stop`.
                if at != stop:
                    raise ProtocolError("a row is longer or shorter than its values", fault="upstream")
                rows.append(row)
            return rows
        except StructError:
            pass
        raise ProtocolError("a row ends too early", fault="upstream")

    def join(self, rows: Sequence[Row]) -> bytes:
        parts: list[bytes] = []
        width, pack, short = len(self.columns), _LENGTH.pack, _SHORT
        for row in rows:
            place = len(parts)
            parts.append(b"")
            size = 6 + 4 * width
            for cell in row:
                if cell is None:
                    parts.append(_NULL)
                else:
                    length = len(cell)
                    size += length
                    parts.append(short[length] if length < 256 else pack(length))
                    parts.append(cell)
            parts[place] = _HEAD.pack(_DATA_ROW, size, width)
        return b"".join(parts)

    def decode(self, column: Column, cell: bytes) -> str | None:
        return types.decode(column.type, column.format, cell)

    def encode(self, column: Column, text: str) -> Cell:
        return types.encode(column.type, column.format, text)


_SQLSTATES = {
    "denied": "42501",
    "approval-refused": "42501",
    "unparsable": "42601",
    "limit": "53400",
    "approval-expired": "57014",
    "revoked": "57P01",
    "failed": "58000",
    "unidentified": "28P01",
    "unknown": "3D000",
}
_REMEDIES = {
    "unparsable": "Check the statement: only what can be read in full can be decided.",
    "limit": "Ask for less, or try again later.",
    "approval-expired": "Send the statement again to ask once more.",
    "revoked": "Connect again with a valid token.",
}


def speak(refusal: Refusal) -> dict[str, str]:
    """A refusal as the fields of an ErrorResponse, by letter; `wire.error_fields` makes the message.

    DETAIL names the rules, HINT what to do and whom to ask. A fatal refusal, and any for lost trust, is FATAL:
    the connection ends after it.
    """
    severity = "FATAL" if refusal.fatal or refusal.code == "revoked" else "ERROR"
    hints = [_REMEDIES.get(refusal.code, ""), f"Ask {refusal.ask}." if refusal.ask else ""]
    return {
        "S": severity,
        "V": severity,
        "C": _SQLSTATES.get(refusal.code, "42501"),
        "M": refusal.reason,
        "D": f"rule: {', '.join(refusal.rules)}" if refusal.rules else "",
        "H": " ".join(filter(None, hints)),
        "P": str(refusal.position) if refusal.position else "",
    }


__all__ = [
    "CopyBinaryShape",
    "CopyCsvShape",
    "CopyOut",
    "CopyPiece",
    "CopyTextShape",
    "RowShape",
    "render",
    "speak",
]
