"""Results as shapes: every scalar and every key of the JSON is a cell, wherever it stands (content, structuredContent,
`_meta`, errors), so that no channel of a result is masked less than another. JSON inside a text is taken apart too.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from interlock.errors import ProtocolError
from interlock.exchange import Cell, Column, Row

DEPTH_MAX = 64
"""How deep a result may nest, JSON inside of texts included."""
RESULT_BYTES_MAX = 8 * 1024 * 1024
"""The largest result, as JSON."""
ECHO_MIN, ECHO_MAX = 4, 256
"""Characters of a masked value that is looked for in the other texts of its result: shorter ones stand everywhere,
longer ones are texts themselves."""
PLACES_MAX = 32
"""Masked values of so many lengths may begin with the same word; where there are more, each such word is masked."""
_WORD = re.compile(r"\w+")
MASKED = "[masked]"
_BLOCKS = frozenset({"text", "image", "audio", "resource", "resource_link"})
_FREE = frozenset({"structuredContent", "_meta"})


class _Leaf(NamedTuple):
    """One scalar or key, as text. `name` is the nearest key above it (empty for a key); `free`: it stands where the server's
    own data is, so that any JSON is valid, and not in the protocol's frame."""

    name: str
    text: str
    free: bool
    scalar: bool


class JsonShape:
    """One result: a single row whose columns are its leaves, in document order. A leaf's origin is `tool.key`, with the
    nearest key above it, so that `classes` of a resource can name it (`get_ticket.customer: email`, or `customer`).
    Without a tool, nothing has an origin and detectors alone decide.

    A value that is masked in one place is masked wherever else the result repeats it: servers give the same answer as
    structured content and as text. A masked number becomes a text (see `schema.loosened`); null stays null.
    """

    def __init__(self, tool: str, document: bytes) -> None:
        if len(document) > RESULT_BYTES_MAX:
            raise ProtocolError(f"the result has more than {RESULT_BYTES_MAX} bytes", fault="upstream")
        self._tool = tool.replace(".", "_")
        self._document = document
        self._value = _parse(document)
        self._leaves = list(_leaves(self._value, "", 0, False))
        self.columns: tuple[Column, ...] = tuple(self._column(leaf) for leaf in self._leaves)

    def _column(self, leaf: _Leaf) -> Column:
        if not leaf.name or not self._tool:
            return Column(leaf.name or "key")
        source = f"{self._tool}.{leaf.name.replace('.', '_')}"
        return Column(leaf.name, origin=source, sources=frozenset((source,)))

    def split(self, piece: bytes) -> list[Row]:
        if piece != self._document:
            raise ProtocolError("this is not the result that was described", fault="upstream")
        return [[_bytes(leaf.text) for leaf in self._leaves]]

    def join(self, rows: Sequence[Row]) -> bytes:
        (row,) = rows
        cells = [_shown(leaf, cell) for leaf, cell in zip(self._leaves, row, strict=True)]
        return _bytes(_dump(_rebuild(self._value, iter(_without_echoes(self._leaves, cells)), "", 0)))

    def decode(self, column: Column, cell: bytes) -> str | None:
        return _text(cell)

    def encode(self, column: Column, text: str) -> Cell:
        return _bytes(text)


# -- the document as leaves, and back ----------------------------------------------------------------------


def _leaves(value: object, name: str, depth: int, free: bool) -> Iterator[_Leaf]:
    """In document order; `_rebuild` consumes one cell for each, in the same order."""
    if depth > DEPTH_MAX:
        raise ProtocolError(f"the result nests deeper than {DEPTH_MAX}", fault="upstream")
    match value:
        case dict():
            for key, inner in value.items():
                yield _Leaf("", key, free, False)
                yield from _leaves(inner, key, depth + 1, free or (depth == 0 and key in _FREE))
        case list():
            for inner in value:
                yield from _leaves(inner, name, depth + 1, free)
        case None:
            pass
        case str() if name == "type" and value in _BLOCKS:
            pass  # the protocol's own word, never data
        case str() if (inside := _inside(value)) is not None:
            yield from _leaves(inside, name, depth + 1, True)
        case str() if (plain := _plain(name, value)) is not None:
            yield _Leaf(name, plain, False, False)
        case str():
            yield _Leaf(name, value, free, False)
        case _:
            yield _Leaf(name, _dump(value), free, True)


def _rebuild(value: object, cells: Iterator[str | None], name: str, depth: int) -> object:
    match value:
        case dict():
            built: dict[str, object] = {}
            for key, inner in value.items():
                cell = next(cells)
                shown = _unused(MASKED if cell is None else cell, built)
                built[shown] = _rebuild(inner, cells, key, depth + 1)
            return built
        case list():
            return [_rebuild(inner, cells, name, depth + 1) for inner in value]
        case None:
            return None
        case str() if name == "type" and value in _BLOCKS:
            return value
        case str() if (inside := _inside(value)) is not None:
            rebuilt = _rebuild(inside, cells, name, depth + 1)
            return value if _dump(rebuilt) == _dump(inside) else _dump(rebuilt, indent=2 if "\n" in value else None)
        case str() if (plain := _plain(name, value)) is not None:
            cell = next(cells)
            return value if cell == plain else b64encode(_bytes(MASKED if cell is None else cell)).decode()
        case str():
            return next(cells)
        case _:
            cell = next(cells)
            return value if cell == _dump(value) else cell


def _inside(text: str) -> object | None:
    """The JSON object or list that a text is, if it is one. One with a key twice is not: what a reader
    would see of it nobody knows, so it is searched as the text that it is."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def _plain(name: str, value: str) -> str | None:
    """The text inside an embedded resource's base64, if it is text."""
    if name != "blob":
        return None
    try:
        return b64decode(value, validate=True).decode()
    except ValueError:
        return None


def _unused(key: str, taken: dict[str, object]) -> str:
    """Two keys may be masked to the same label; both values stay."""
    number, unique = 1, key
    while unique in taken:
        number += 1
        unique = f"{key} {number}"
    return unique


# -- cells ------------------------------------------------------------------------------------------------


def _shown(leaf: _Leaf, cell: Cell) -> str | None:
    """A cell after masking. Where the protocol wants a text, a null becomes a label; a number that may not be a text is null."""
    if cell is None:
        return None if (leaf.free and leaf.name) or leaf.scalar else MASKED
    text = _text(cell)
    return None if leaf.scalar and not leaf.free and text != leaf.text else text


def _without_echoes(leaves: Sequence[_Leaf], cells: list[str | None]) -> list[str | None]:
    """Mask the values that were masked elsewhere in the same result, as whole words."""
    hidden = {leaf.text: MASKED if cell is None else cell for leaf, cell in zip(leaves, cells, strict=True) if cell != leaf.text}
    if not hidden:
        return cells
    starts = _starts(hidden)
    return [_without(leaf, cell, hidden, starts) for leaf, cell in zip(leaves, cells, strict=True)]


def _starts(hidden: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
    """First word of the hidden values → where it stands in them and how long they are, the longest first: so that a
    text is searched for all of them in one pass."""
    starts: dict[str, set[tuple[int, int]]] = {}
    for text in hidden:
        if ECHO_MIN <= len(text) <= ECHO_MAX and (first := _WORD.search(text)):
            starts.setdefault(first[0], set()).add((first.start(), len(text)))
    return {word: sorted(places, key=lambda place: -place[1]) for word, places in starts.items()}


def _without(leaf: _Leaf, cell: str | None, hidden: dict[str, str], starts: dict[str, list[tuple[int, int]]]) -> str | None:
    if cell is None or cell != leaf.text or (not leaf.name and not leaf.free):
        return cell
    if leaf.scalar:
        return cell if len(cell) < ECHO_MIN or cell not in hidden else (hidden[cell] if leaf.free else None)
    if leaf.name == "text" and cell in hidden:
        return hidden[cell]
    parts: list[str] = []
    position = 0
    for word in _WORD.finditer(cell):
        places = starts.get(word[0], ())
        for offset, length in places[:PLACES_MAX]:
            start, end = word.start() - offset, word.start() - offset + length
            if start >= position and cell[start:end] in hidden and _apart(cell, start) and _apart(cell, end):
                parts += (cell[position:start], hidden[cell[start:end]])
                position = end
                break
        else:
            if len(places) > PLACES_MAX and word.start() >= position:
                parts += (cell[position : word.start()], MASKED)
                position = word.end()
    return "".join((*parts, cell[position:])) if parts else cell


def _apart(text: str, at: int) -> bool:
    """No word goes on across this place."""
    return at in (0, len(text)) or not (_WORD.match(text[at - 1]) and _WORD.match(text[at]))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(cell: bytes) -> str:
    return cell.decode("utf-8", "surrogatepass")


# -- JSON ---------------------------------------------------------------------------------------------------


def _parse(document: bytes) -> Any:
    try:
        return json.loads(document, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the result is not JSON", fault="upstream") from error


def _dump(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ": " if indent else ":"), indent=indent)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice."""
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("a key stands twice")
    return built


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def render(direction: str, data: bytes) -> list[str]:
    """Recorded calls and results as readable lines, for replay."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return [data.decode(errors="replace")[:2_000]]
    if direction == "up" and isinstance(document, dict) and "name" in document:
        return [f"{document['name']} {_dump(document.get('arguments', {}))}"]
    if isinstance(document, dict) and isinstance(document.get("content"), list):
        return [str(block.get("text", block)) for block in document["content"] if isinstance(block, dict)]
    return [_dump(document)]
