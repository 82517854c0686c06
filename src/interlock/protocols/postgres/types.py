"""Cells of PostgreSQL results as text and back, in both formats, arrays included.

`decode` is for scanning and transforming: it gives the text of a cell. `encode` makes a cell that any driver can
read: the text must be a value of the type, else it gives None (NULL). Source: PostgreSQL documentation,
"Arrays" (array input and output syntax) and `array_send`.
"""

from __future__ import annotations

import re
import struct

from interlock.errors import ProtocolError
from interlock.protocols.postgres import scalars
from interlock.protocols.postgres.codec import Scalar
from interlock.protocols.postgres.scalars import SCALARS

ARRAYS: dict[int, int] = {
    143: scalars.XML,
    199: scalars.JSON,
    651: scalars.CIDR,
    775: scalars.MACADDR8,
    1000: scalars.BOOL,
    1001: scalars.BYTEA,
    1002: scalars.CHAR,
    1003: scalars.NAME,
    1005: scalars.INT2,
    1007: scalars.INT4,
    1009: scalars.TEXT,
    1014: scalars.BPCHAR,
    1015: scalars.VARCHAR,
    1016: scalars.INT8,
    1021: scalars.FLOAT4,
    1022: scalars.FLOAT8,
    1028: scalars.OID,
    1040: scalars.MACADDR,
    1041: scalars.INET,
    1115: scalars.TIMESTAMP,
    1182: scalars.DATE,
    1183: scalars.TIME,
    1185: scalars.TIMESTAMPTZ,
    1231: scalars.NUMERIC,
    2951: scalars.UUID,
    3807: scalars.JSONB,
}
"""Array type OID to element type OID."""

_ARRAY_HEAD = struct.Struct("!iiI")
NAMES = {
    16: "bool", 17: "bytea", 18: "char", 19: "name", 20: "int8", 21: "int2", 23: "int4", 25: "text", 26: "oid", 114: "json",
    142: "xml", 650: "cidr", 700: "float4", 701: "float8", 774: "macaddr8", 829: "macaddr", 869: "inet", 1042: "bpchar",
    1043: "varchar", 1082: "date", 1083: "time", 1114: "timestamp", 1184: "timestamptz", 1186: "interval", 1700: "numeric",
    2249: "record", 2950: "uuid", 3802: "jsonb",
}  # fmt: skip
"""Names of built-in types, for words to the client (pg_type.dat)."""

_DIMENSION = struct.Struct("!ii")
_LENGTH = struct.Struct("!i")
_DIMENSIONS_MAX = 6
_BARE = re.compile(r"[^\s{}\",\\]+")
_ELEMENT = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"\s*|((?:[^\s{}",\\]|\\.)(?:[^{}",\\]|\\.)*))', re.DOTALL)

Elements = list[str | None]


def decode(type_oid: int, format: int, cell: bytes) -> str | None:
    """The text of a cell, or None for a type whose binary format is not known here.

    Malformed binary raises `ProtocolError` (fault upstream). bytea gives its content, with bytes that are not
    UTF-8 replaced; arrays give their literal (`{a,"b c",NULL}`).
    """
    scalar = SCALARS.get(type_oid)
    try:
        if format == 0:
            return scalar.read(cell) if scalar else cell.decode(errors="replace")
        if scalar:
            return scalar.unpack(cell)
        if element := ARRAYS.get(type_oid):
            return _decode_array(element, cell)
    except (ValueError, struct.error, IndexError, OverflowError) as error:
        raise ProtocolError(f"a cell is no value of type {type_oid}", fault="upstream") from error
    return None


def encode(type_oid: int, format: int, text: str) -> bytes | None:
    """A cell of this type and format, or None (NULL) where the type cannot hold the text or is not known here.

    For an array the text may be an array literal; any other text becomes an array of one element.
    """
    if element := ARRAYS.get(type_oid):
        return _encode_array(element, format, text)
    scalar = SCALARS.get(type_oid)
    valid = _canonical(scalar, text) if scalar else None
    if scalar is None or valid is None:
        return None
    return scalar.pack(valid) if format else scalar.write(valid)


def _canonical(scalar: Scalar, text: str) -> str | None:
    valid = scalar.valid(text)
    if valid is None:
        return None
    try:
        valid.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return None
    return valid


def _quoted(element: str | None) -> str:
    if element is None:
        return "NULL"
    if _BARE.fullmatch(element) and element.upper() != "NULL":
        return element
    return '"' + element.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _decode_array(element_oid: int, cell: bytes) -> str:
    dimensions, _, found_oid = _ARRAY_HEAD.unpack_from(cell)
    if found_oid != element_oid or not 0 <= dimensions <= _DIMENSIONS_MAX:
        raise ValueError("not this array")
    scalar, at = SCALARS[element_oid], _ARRAY_HEAD.size
    sizes = [_DIMENSION.unpack_from(cell, at + i * _DIMENSION.size)[0] for i in range(dimensions)]
    at += dimensions * _DIMENSION.size
    parts: list[str] = []
    while at < len(cell):
        (length,) = _LENGTH.unpack_from(cell, at)
        at += _LENGTH.size
        if length < -1 or length > len(cell) - at:
            raise ValueError("an element points past the end")
        parts.append(_quoted(None if length == -1 else scalar.unpack(cell[at : at + length])))
        at += max(length, 0)
    expected = 1 if dimensions else 0
    for size in sizes:
        expected *= size
    if expected != len(parts) or any(size < 1 for size in sizes):
        raise ValueError("the dimensions do not fit the elements")
    for size in reversed(sizes):
        parts = ["{" + ",".join(parts[i : i + size]) + "}" for i in range(0, len(parts), size)]
    return parts[0] if parts else "{}"


def _encode_array(element_oid: int, format: int, text: str) -> bytes | None:
    scalar = SCALARS[element_oid]
    elements = _elements(text)
    if elements is None:
        elements = [text]
    valid: Elements = []
    for element in elements:
        found = None if element is None else _canonical(scalar, element)
        if element is not None and found is None:
            return None
        valid.append(found)
    if format == 0:
        return ("{" + ",".join(_quoted(None if v is None else scalar.write(v).decode()) for v in valid) + "}").encode()
    head = _ARRAY_HEAD.pack(1 if valid else 0, int(None in valid), element_oid)
    if not valid:
        return head
    cells = (_LENGTH.pack(-1) if v is None else _LENGTH.pack(len(data := scalar.pack(v))) + data for v in valid)
    return head + _DIMENSION.pack(len(valid), 1) + b"".join(cells)


def _elements(text: str) -> Elements | None:
    """The elements of a one-dimensional array literal; None when the text is not one."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    if not text[1:-1].strip():
        return []
    found: Elements = []
    at, last = 1, len(text) - 1
    while True:
        element = _ELEMENT.match(text, at, last)
        if element is None:
            return None
        quoted, bare = element.groups()
        if bare is not None and bare.rstrip().upper() == "NULL":
            found.append(None)
        else:
            found.append(re.sub(r"\\(.)", r"\1", quoted if bare is None else bare.rstrip(), flags=re.DOTALL))
        at = element.end()
        if at == last:
            return found
        if text[at] != ",":
            return None
        at += 1
