"""Recorded wire bytes as lines for people: what was asked, and what the client saw. Never raises on odd bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from interlock.errors import ProtocolError
from interlock.protocols.postgres import messages, types, wire
from interlock.protocols.postgres.messages import Field, Reader

_VALUE_MAX = 500
"""Characters of one value or text that are shown."""


def render(direction: str, data: bytes) -> list[str]:
    """The lines of whole recorded messages; `direction` is "up" (from the client) or "down" (to the client).

    Rows are read with the RowDescription that stands before them in `data`, if there is one. Control
    characters are escaped, so that a recording cannot drive the terminal that shows it.
    """
    paint = _up if direction == "up" else _Down().lines
    lines: list[str] = []
    for kind, message in _cut(data):
        try:
            lines += paint(kind, message)
        except (ProtocolError, ValueError, IndexError):
            lines.append(f"(unreadable {chr(kind)!r} message of {len(message)} bytes)")
    return lines


def _cut(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 1 : at + 5])
        if length < 4 or at + 1 + length > len(data):
            # Not a typed message: a first packet, an answer to SSLRequest, or damage.
            yield -1, data[at:]
            return
        yield data[at], data[at : at + 1 + length]
        at += 1 + length


def _clean(text: str) -> str:
    shown = text if len(text) <= _VALUE_MAX else f"{text[:_VALUE_MAX]}… ({len(text)} characters)"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


def _value(cell: bytes | None) -> str:
    """A value whose type is not known."""
    if cell is None:
        return "NULL"
    try:
        text = cell.decode()
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and (text or not cell):
        return _clean(text)
    return _clean(f"\\x{cell[: _VALUE_MAX // 2].hex()}")


def _copy(message: bytes) -> list[str]:
    return [f"copy: {_clean(line)}" for line in message[messages.HEADER :].decode(errors="replace").rstrip("\n").split("\n")]


def _name(name: str) -> str:
    return _clean(name) if name else "(unnamed)"


def _parse(message: bytes) -> list[str]:
    parsed = messages.read_parse(message)
    return [f"prepare {_name(parsed.name)}: {_clean(parsed.sql)}"]


def _bind(message: bytes) -> list[str]:
    bound = messages.read_bind(message)
    values = ", ".join(f"${i} = {_value(value)}" for i, value in enumerate(bound.values, 1))
    return [f"bind {_name(bound.statement)}" + (f" with {values}" if values else "")]


def _execute(message: bytes) -> list[str]:
    portal, rows = messages.read_execute(message)
    return [f"execute {_name(portal)}" + (f" for {rows} rows" if rows > 0 else "")]


_UP: dict[int, Callable[[bytes], list[str]]] = {
    ord("Q"): lambda message: [f"query: {_clean(messages.read_query(message))}"],
    ord("P"): _parse,
    ord("B"): _bind,
    ord("E"): _execute,
    ord("d"): _copy,
    ord("c"): lambda message: ["copy done"],
    ord("f"): lambda message: [f"copy failed: {_clean(messages.read_copy_fail(message))}"],
    ord("p"): lambda message: ["(a secret, not shown)"],
}


def _up(kind: int, message: bytes) -> list[str]:
    paint = _UP.get(kind)
    if paint is not None:
        return paint(message)
    return [] if kind in wire.FRONTEND else [f"(unreadable bytes: {len(message)})"]


class _Down:
    def __init__(self) -> None:
        self._fields: tuple[Field, ...] = ()

    def lines(self, kind: int, message: bytes) -> list[str]:
        match chr(kind) if kind >= 0 else "":
            case "T":
                self._fields = messages.read_row_description(message)
                return ["columns: " + " | ".join(_clean(field.name) for field in self._fields)]
            case "D":
                return ["row: " + " | ".join(self._cells(message))]
            case "C":
                return [f"done: {_clean(messages.read_command_tag(message))}"]
            case "E" | "N":
                return [_report(messages.read_error(message))]
            case "A":
                _, channel, payload = messages.read_notification(message)
                return [f"notification on {_clean(channel)}: {_clean(payload)}"]
            case "d":
                return _copy(message)
            case "S":
                return [f"setting {' = '.join(map(_clean, messages.read_parameter_status(message)))}"]
            case "I":
                return ["done: (empty query)"]
            case "s":
                return ["suspended: more rows remain"]
            case _:
                return [] if kind in wire.BACKEND else [f"(unreadable bytes: {len(message)})"]

    def _cells(self, message: bytes) -> list[str]:
        reader = Reader(message, "DataRow", "upstream")
        cells = [reader.value() for _ in range(reader.uint16())]
        reader.end()
        if len(cells) != len(self._fields):
            return [_value(cell) for cell in cells]
        return [self._cell(field, cell) for field, cell in zip(self._fields, cells, strict=True)]

    @staticmethod
    def _cell(field: Field, cell: bytes | None) -> str:
        if cell is None:
            return "NULL"
        text = types.decode(field.type_oid, field.format, cell)
        return _value(cell) if text is None else _clean(text)


def _report(fields: dict[str, str]) -> str:
    line = f"{fields.get('S', 'ERROR')} {fields.get('C', '')}: {fields.get('M', '')}"
    for letter, name in (("D", "detail"), ("H", "hint")):
        if letter in fields:
            line += f" · {name}: {fields[letter]}"
    return _clean(line)
