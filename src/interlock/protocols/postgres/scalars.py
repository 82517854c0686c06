"""PostgreSQL's scalar types in both formats: `SCALARS` maps a type OID to its codec.

Text is what the server would write with `DateStyle = ISO`. `Scalar.valid` gives the canonical text of a value,
or None where the type cannot hold it; `pack` takes canonical text only. Malformed binary raises `struct.error`
or `ValueError`, which `types.py` turns into `ProtocolError`. Source: PostgreSQL's `*send`/`*recv` functions
(src/backend/utils/adt) and `pg_type.dat` for the OIDs.
"""

from __future__ import annotations

import ipaddress
import json
import re
import struct
import uuid

from interlock.protocols.postgres import instants
from interlock.protocols.postgres.codec import Scalar, read_utf8, text_without_nul

BOOL, BYTEA, CHAR, NAME, INT8, INT2, INT4, TEXT, OID = 16, 17, 18, 19, 20, 21, 23, 25, 26
JSON, XML, CIDR, FLOAT4, FLOAT8, UNKNOWN, MACADDR8, MACADDR, INET = 114, 142, 650, 700, 701, 705, 774, 829, 869
BPCHAR, VARCHAR, DATE, TIME, TIMESTAMP, TIMESTAMPTZ, NUMERIC, UUID, JSONB = 1042, 1043, 1082, 1083, 1114, 1184, 1700, 2950, 3802

_DIGITS_MAX = 1000
"""Longest number that is read; PostgreSQL's own limit for numeric literals is far above any masked value."""


def _short_text(limit: int) -> Scalar:
    return Scalar(lambda text: text_without_nul(text) if len(text.encode(errors="replace")) <= limit else None)


# Numbers


def _integer(shape: str, low: int, high: int) -> Scalar:
    packer = struct.Struct(shape)

    def valid(text: str) -> str | None:
        if not re.fullmatch(r"[+-]?[0-9]{1,30}", text):
            return None
        number = int(text)
        return str(number) if low <= number <= high else None

    return Scalar(valid, lambda text: packer.pack(int(text)), lambda data: str(packer.unpack(data)[0]))


_SPECIAL = {"nan": "NaN", "infinity": "Infinity", "+infinity": "Infinity", "inf": "Infinity", "-infinity": "-Infinity", "-inf": "-Infinity"}


def _shortest(value: float, packer: struct.Struct) -> str:
    """The shortest decimal that reads back as the same value, without a useless `.0`."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if packer.size == 8:
        return repr(value).removesuffix(".0")
    data = packer.pack(value)
    return next(text for digits in range(6, 10) if packer.pack(float(text := f"{value:.{digits}g}")) == data)


def _float(shape: str) -> Scalar:
    packer = struct.Struct(shape)

    def valid(text: str) -> str | None:
        if special := _SPECIAL.get(text.lower()):
            return special
        if len(text) > _DIGITS_MAX or not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,5})?", text):
            return None
        value = float(text)
        try:
            packer.pack(value)
        except OverflowError:
            return None
        return None if value in (float("inf"), float("-inf")) else text

    return Scalar(valid, lambda text: packer.pack(float(text)), lambda data: _shortest(packer.unpack(data)[0], packer))


_NUMERIC_HEAD = struct.Struct("!HhHH")
_NUMERIC_SIGNS = {0x0000: "", 0x4000: "-"}
_NUMERIC_SPECIAL = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}


def _numeric_valid(text: str) -> str | None:
    if special := _SPECIAL.get(text.lower()):
        return special
    if len(text) > _DIGITS_MAX:
        return None
    found = re.fullmatch(r"([+-]?)([0-9]*)(?:\.([0-9]*))?", text)
    if not found or not (found[2] or found[3]):
        return None
    whole, part = found[2].lstrip("0") or "0", found[3] or ""
    sign = "-" if found[1] == "-" and (whole + part).strip("0") else ""
    return f"{sign}{whole}.{part}" if part else f"{sign}{whole}"


def _numeric_pack(text: str) -> bytes:
    """Base-10000 digits, the first of weight 10000**weight (numeric_send)."""
    for sign, name in _NUMERIC_SPECIAL.items():
        if text == name:
            return _NUMERIC_HEAD.pack(0, 0, sign, 0)
    sign = 0x4000 if text.startswith("-") else 0
    whole, _, part = text.lstrip("-").partition(".")
    whole = whole.zfill(-(-len(whole) // 4) * 4)
    padded = part.ljust(-(-len(part) // 4) * 4, "0")
    digits = [int((whole + padded)[i : i + 4]) for i in range(0, len(whole) + len(padded), 4)]
    weight = len(whole) // 4 - 1
    while digits and digits[0] == 0:
        digits.pop(0)
        weight -= 1
    while digits and digits[-1] == 0:
        digits.pop()
    return _NUMERIC_HEAD.pack(len(digits), weight if digits else 0, sign, len(part)) + struct.pack(f"!{len(digits)}H", *digits)


def _numeric_unpack(data: bytes) -> str:
    count, weight, sign, scale = _NUMERIC_HEAD.unpack_from(data)
    digits = struct.unpack(f"!{count}H", data[_NUMERIC_HEAD.size :])
    if sign in _NUMERIC_SPECIAL:
        return _NUMERIC_SPECIAL[sign]
    if sign not in _NUMERIC_SIGNS or scale > 0x3FFF or any(digit > 9999 for digit in digits):
        raise ValueError("not a numeric")
    text = "".join(f"{digit:04d}" for digit in digits)
    point = (weight + 1) * 4
    if point > len(text):
        text = text.ljust(point, "0")
    if point < 0:
        text, point = "0" * -point + text, 0
    whole, part = text[:point].lstrip("0") or "0", text[point:][:scale].ljust(scale, "0")
    return _NUMERIC_SIGNS[sign] + (f"{whole}.{part}" if scale else whole)


# The rest


def _boolean_unpack(data: bytes) -> str:
    return {b"\0": "f", b"\1": "t"}.get(data) or _bad("boolean")


def _bad(what: str) -> str:
    raise ValueError(f"not a {what}")


def _uuid_valid(text: str) -> str | None:
    try:
        return str(uuid.UUID(text)) if re.fullmatch(r"\{?[0-9a-fA-F-]{32,36}\}?", text) else None
    except ValueError:
        return None


def _json_valid(text: str) -> str | None:
    def refuse(name: str) -> object:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return text_without_nul(text)


def _jsonb_unpack(data: bytes) -> str:
    return read_utf8(data[1:]) if data[:1] == b"\1" else _bad("jsonb")


def _network(cidr: bool) -> Scalar:
    def valid(text: str) -> str | None:
        try:
            if cidr:
                return str(ipaddress.ip_network(text))
            found = ipaddress.ip_interface(text)
        except ValueError:
            return None
        return str(found.ip) if found.network.prefixlen == found.max_prefixlen else str(found)

    def pack(text: str) -> bytes:
        found = ipaddress.ip_interface(text)
        address = found.ip.packed
        return bytes((2 if found.version == 4 else 3, found.network.prefixlen, cidr, len(address))) + address

    def unpack(data: bytes) -> str:
        family, bits, kind, size = data[:4]
        if (family, size) not in ((2, 4), (3, 16)) or kind != cidr or len(data) != 4 + size or bits > size * 8:
            raise ValueError("not a network address")
        address = str(ipaddress.ip_address(data[4:]))
        return f"{address}/{bits}" if cidr or bits < size * 8 else address

    return Scalar(valid, pack, unpack)


def _mac(size: int) -> Scalar:
    def valid(text: str) -> str | None:
        return text.lower() if re.fullmatch(rf"([0-9a-fA-F]{{2}}:){{{size - 1}}}[0-9a-fA-F]{{2}}", text) else None

    return Scalar(
        valid, lambda text: bytes.fromhex(text.replace(":", "")), lambda data: data.hex(":") if len(data) == size else _bad("macaddr")
    )


def _bytea_read(cell: bytes) -> str:
    if not cell.startswith(b"\\x"):
        return read_utf8(cell)
    return read_utf8(bytes.fromhex(cell[2:].decode("ascii")))


_text = Scalar(text_without_nul)
SCALARS: dict[int, Scalar] = {
    BOOL: Scalar(
        {"t": "t", "true": "t", "f": "f", "false": "f"}.get,
        lambda text: b"\1" if text == "t" else b"\0",
        _boolean_unpack,
    ),
    # As its content, not as `\x…`: detectors must find an e-mail address in it, and a label must fit into it.
    BYTEA: Scalar(lambda text: text, write=lambda text: b"\\x" + text.encode().hex().encode(), read=_bytea_read),
    CHAR: _short_text(1),
    NAME: _short_text(63),
    INT8: _integer("!q", -(2**63), 2**63 - 1),
    INT2: _integer("!h", -(2**15), 2**15 - 1),
    INT4: _integer("!i", -(2**31), 2**31 - 1),
    TEXT: _text,
    OID: _integer("!I", 0, 2**32 - 1),
    JSON: Scalar(_json_valid),
    # Character data is valid XML content; markup would need a parser to be vouched for.
    XML: Scalar(lambda text: None if "<" in text or "&" in text else text_without_nul(text)),
    CIDR: _network(cidr=True),
    FLOAT4: _float("!f"),
    FLOAT8: _float("!d"),
    UNKNOWN: _text,
    MACADDR8: _mac(8),
    MACADDR: _mac(6),
    INET: _network(cidr=False),
    BPCHAR: _text,
    VARCHAR: _text,
    DATE: instants.date(),
    TIME: instants.time(),
    TIMESTAMP: instants.timestamp(""),
    TIMESTAMPTZ: instants.timestamp("+00"),
    NUMERIC: Scalar(_numeric_valid, _numeric_pack, _numeric_unpack),
    UUID: Scalar(_uuid_valid, lambda text: uuid.UUID(text).bytes, lambda data: str(uuid.UUID(bytes=data))),
    JSONB: Scalar(_json_valid, lambda text: b"\1" + text.encode(), _jsonb_unpack),
}
