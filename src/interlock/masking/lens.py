"""The masking function made for one shape and one set of revealed classes.

Whole columns first (by class), then the content of the others (by detectors), in one batch per piece. Knows
protocols only through `Shape`. Fails closed: whatever goes wrong, nothing of the piece leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interlock.errors import MaskingError
from interlock.exchange import Cell, Column, Row, Shape
from interlock.masking.rewrite import mask_texts
from interlock.masking.scanner import Scanner
from interlock.masking.transforms import Transforms, label

CELL_CHARS_MAX = 1 << 20
"""Cells longer than this (characters, or bytes of a binary cell) are not searched in detail: one pass
decides whether they could hold anything, and then they are masked as a whole."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """A column to be masked as a whole. `direct`: the column itself, not something computed from it."""

    index: int
    classes: tuple[str, ...]
    direct: bool

    def form(self, transforms: Transforms) -> str:
        """The transform. Anything that shows or compares parts of a value is for the column itself: in an
        expression (`'00000000' || left(card, 4)`) the client would choose which parts."""
        names = {transforms.name(data_class) for data_class in self.classes}
        if "null" in names:
            return "null"
        return names.pop() if self.direct and len(self.classes) == 1 else "redact"


class ColumnLens:
    """See `exchange.Lens`. One per reply; not shared between threads."""

    __slots__ = ("_shape", "_columns", "_hidden", "_scanned", "_scanner", "_transforms", "_masked", "_nulled")

    def __init__(self, shape: Shape, hidden: Sequence[Hidden], scanner: Scanner | None, transforms: Transforms) -> None:
        self._shape = shape
        self._columns = tuple(shape.columns)
        self._hidden = tuple(hidden)
        whole = {plan.index for plan in hidden}
        self._scanned = [i for i in range(len(self._columns)) if i not in whole] if scanner else []
        self._scanner = scanner
        self._transforms = transforms
        self._masked: dict[str, int] = {}
        self._nulled: dict[int, str] = {}

    @property
    def masked(self) -> Mapping[str, int]:
        return self._masked

    @property
    def hidden(self) -> Mapping[int, str]:
        return self._nulled

    def apply(self, piece: bytes) -> bytes:
        try:
            return self._apply(piece)
        except Exception:  # noqa: S110  # told below
            pass
        # Raised out here, without cause and context: they may quote a value, and end up in logs.
        raise MaskingError("a mask could not run on this reply, so none of it is shown")

    def _apply(self, piece: bytes) -> bytes:
        rows = self._shape.split(piece)
        width = len(self._columns)
        if any(len(row) != width for row in rows):
            raise ValueError("a row does not have the columns of its shape")
        changed = [self._hide(plan, rows) for plan in self._hidden]
        if self._scanned and rows:
            changed.append(self._scan(rows))
        return self._shape.join(rows) if any(changed) else piece

    def _hide(self, plan: Hidden, rows: Sequence[Row]) -> bool:
        column, index, data_class = self._columns[plan.index], plan.index, plan.classes[0]
        form = plan.form(self._transforms)
        constant = None if form == "null" else self._shape.encode(column, label("+".join(plan.classes)))
        changed, masked = False, 0
        for row in rows:
            cell = row[index]
            if cell is None:
                continue
            new = self._transformed(column, data_class, cell, constant) if form in ("partial", "hash") else constant
            masked += 1
            if new is None and form != "null":
                self._nulled[index] = "+".join(plan.classes)
            if new != cell:
                row[index] = new
                changed = True
        for name in plan.classes if masked else ():
            self._count(name, masked)
        return changed

    def _transformed(self, column: Column, data_class: str, cell: bytes, constant: Cell) -> Cell:
        text = self._shape.decode(column, cell)
        if text is None:
            return None
        if len(text) > CELL_CHARS_MAX:
            return constant
        masked = self._transforms.mask(data_class, text)
        return None if masked is None else self._shape.encode(column, masked)

    def _scan(self, rows: Sequence[Row]) -> bool:
        """Scan all columns that are left, column by column in one batch; cells without text apart."""
        assert self._scanner is not None
        decode = self._shape.decode
        texts: list[str] = []
        aside: list[tuple[Row, int, bytes]] = []
        changed = False
        for index in self._scanned:
            column = self._columns[index]
            decoded = ["" if row[index] is None else decode(column, row[index] or b"") for row in rows]
            for at, text in enumerate(decoded):
                if text is None:
                    decoded[at] = ""
                    aside.append((rows[at], index, rows[at][index] or b""))
                elif len(text) > CELL_CHARS_MAX:
                    decoded[at] = ""
                    changed |= self._mask_long(rows[at], index, text)
            texts += decoded  # type: ignore[arg-type]  # no None is left
        if aside:
            changed |= self._scan_binary(aside)
        names = [self._columns[index].name for index in self._scanned]
        masked, counts = mask_texts(texts, names, self._scanner, self._transforms)
        for at, new in masked.items():
            index = self._scanned[at // len(rows)]
            cell = None if new is None else self._shape.encode(self._columns[index], new)
            if cell is None and new is not None:
                self._nulled[index] = "detected"
            rows[at % len(rows)][index] = cell
        for data_class, count in counts.items():
            self._count(data_class, count)
        return changed or bool(masked)

    def _mask_long(self, row: Row, index: int, text: str) -> bool:
        assert self._scanner is not None
        data_class = self._scanner.suspect(text)
        if data_class is None:
            return False
        row[index] = self._shape.encode(self._columns[index], label(data_class))
        self._count(data_class)
        return True

    def _scan_binary(self, cells: Sequence[tuple[Row, int, bytes]]) -> bool:
        """Bytes that the codec cannot read: any finding makes the cell NULL, for nothing else is valid."""
        assert self._scanner is not None
        found = self._scanner.scan_binary([cell if len(cell) <= CELL_CHARS_MAX else b"" for _, _, cell in cells])
        for at, (_, _, cell) in enumerate(cells):
            if len(cell) > CELL_CHARS_MAX and (data_class := self._scanner.suspect_binary(cell)) is not None:
                found[at] = data_class
        for at, data_class in found.items():
            row, index, _ = cells[at]
            row[index] = None
            self._nulled[index] = data_class
            self._count(data_class)
        return bool(found)

    def _count(self, data_class: str, count: int = 1) -> None:
        self._masked[data_class] = self._masked.get(data_class, 0) + count
