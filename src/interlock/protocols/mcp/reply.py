"""Results as shapes: every leaf and every key of the JSON is a cell, wherever it stands (content, structuredContent,
`_meta`, errors), so that no channel of a result is masked less than another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from interlock.errors import ProtocolError
from interlock.exchange import Cell, Column, Row

DEPTH_MAX = 64
"""How deep a result may nest."""
DIGITS_MIN = 6
"""Numbers with fewer digits hold nothing a detector looks for and stay numbers."""
_decode = msgspec.json.decode
_encode = msgspec.json.encode


class JsonShape:
    """One result: a single row whose columns are its leaves, in document order. A leaf's source is
    `tool.key`, with the nearest key above it, so that `classes` of a resource can name it."""

    def __init__(self, tool: str, document: bytes) -> None:
        self._tool = tool
        self._document = document
        self._value = _parse(document)
        self._leaves = list(_leaves(self._value, "", 0))
        self.columns: tuple[Column, ...] = tuple(self._column(key) for key, _ in self._leaves)

    def _column(self, key: str) -> Column:
        name = key.replace(".", "_") or "result"
        return Column(name, sources=frozenset((f"{self._tool.replace('.', '_')}.{name}",)))

    def split(self, piece: bytes) -> list[Row]:
        if piece != self._document:
            raise ProtocolError("this is not the result that was described", fault="upstream")
        return [[leaf.encode() for _, leaf in self._leaves]]

    def join(self, rows: Sequence[Row]) -> bytes:
        (row,) = rows
        cells = iter(None if cell is None else cell.decode() for cell in row)
        return _encode(_rebuild(self._value, cells))

    def decode(self, column: Column, cell: bytes) -> str | None:
        return cell.decode()

    def encode(self, column: Column, text: str) -> Cell:
        return text.encode()


def _parse(document: bytes) -> Any:
    try:
        return _decode(document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError("the result is not JSON", fault="upstream") from error


def _is_leaf(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, (int, float)) and not isinstance(value, bool) and len(str(value)) >= DIGITS_MIN)


def _leaves(value: object, key: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > DEPTH_MAX:
        raise ProtocolError(f"the result nests deeper than {DEPTH_MAX}", fault="upstream")
    if isinstance(value, dict):
        for name, inner in value.items():
            yield "", name
            yield from _leaves(inner, name, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key, depth + 1)
    elif _is_leaf(value):
        yield key, str(value)


def _rebuild(value: object, cells: Iterator[str | None]) -> object:
    if isinstance(value, dict):
        built: dict[str, object] = {}
        for _, inner in value.items():
            name = next(cells) or "[masked]"
            built[name] = _rebuild(inner, cells)
        return built
    if isinstance(value, list):
        return [_rebuild(inner, cells) for inner in value]
    if not _is_leaf(value):
        return value
    cell = next(cells)
    return value if cell == str(value) else cell


def render(direction: str, data: bytes) -> list[str]:
    """Recorded calls and results as readable lines, for replay."""
    try:
        document = _decode(data)
    except msgspec.DecodeError:
        return [data.decode(errors="replace")[:2_000]]
    if direction == "up" and isinstance(document, dict) and "name" in document:
        return [f"{document['name']} {_encode(document.get('arguments', {})).decode()}"]
    if isinstance(document, dict) and isinstance(document.get("content"), list):
        return [str(block.get("text", block)) for block in document["content"] if isinstance(block, dict)]
    return [_encode(document).decode()]
