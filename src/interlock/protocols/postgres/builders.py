"""Making PostgreSQL messages: all that the gateway itself says, on both legs.

Each function returns one whole message. Texts are UTF-8 and may hold no NUL (`ValueError`), except those of
`error` and `notice`, where a NUL is replaced. Source: PostgreSQL documentation, "Message Formats".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Literal

from interlock.protocols.postgres.messages import Field

PROTOCOL_3_0 = 0x0003_0000
PROTOCOL_3_2 = 0x0003_0002
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104

_INT16 = Struct("!h")
_UINT16 = Struct("!H")
_INT32 = Struct("!i")
_UINT32 = Struct("!I")
_FIELD = Struct("!IhIhih")
_NULL = _INT32.pack(-1)

Severity = Literal["ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "DEBUG", "INFO", "LOG"]


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One typed message: type byte, length (of itself and the body), body."""
    return kind + _INT32.pack(len(body) + 4) + body


def _string(text: str) -> bytes:
    data = text.encode()
    if 0 in data:
        raise ValueError("PostgreSQL texts cannot hold NUL")
    return data + b"\0"


def _value(value: bytes | None) -> bytes:
    return _NULL if value is None else _INT32.pack(len(value)) + value


def _formats(codes: Sequence[int]) -> bytes:
    return _UINT16.pack(len(codes)) + b"".join(map(_INT16.pack, codes))


# Towards upstream


def _untyped(body: bytes) -> bytes:
    return _INT32.pack(len(body) + 4) + body


def ssl_request() -> bytes:
    return _untyped(_INT32.pack(SSL_REQUEST))


def gssenc_request() -> bytes:
    return _untyped(_INT32.pack(GSSENC_REQUEST))


def cancel_request(pid: int, key: bytes) -> bytes:
    return _untyped(_INT32.pack(CANCEL_REQUEST) + _INT32.pack(pid) + key)


def startup(parameters: Mapping[str, str], version: int = PROTOCOL_3_0) -> bytes:
    pairs = b"".join(_string(name) + _string(value) for name, value in parameters.items())
    return _untyped(_INT32.pack(version) + pairs + b"\0")


def password(secret: str) -> bytes:
    return message(b"p", _string(secret))


def sasl_initial(mechanism: str, response: bytes) -> bytes:
    return message(b"p", _string(mechanism) + _value(response))


def sasl_response(response: bytes) -> bytes:
    return message(b"p", response)


def query(sql: str) -> bytes:
    return message(b"Q", _string(sql))


def parse(name: str, sql: str, types: Sequence[int] = ()) -> bytes:
    return message(b"P", _string(name) + _string(sql) + _UINT16.pack(len(types)) + b"".join(map(_UINT32.pack, types)))


def bind(
    portal: str,
    statement: str,
    values: Sequence[bytes | None] = (),
    formats: Sequence[int] = (),
    result_formats: Sequence[int] = (),
) -> bytes:
    body = _string(portal) + _string(statement) + _formats(formats)
    return message(b"B", body + _UINT16.pack(len(values)) + b"".join(map(_value, values)) + _formats(result_formats))


def describe(kind: Literal["S", "P"], name: str) -> bytes:
    return message(b"D", kind.encode() + _string(name))


def execute(portal: str, rows: int = 0) -> bytes:
    return message(b"E", _string(portal) + _INT32.pack(rows))


def close(kind: Literal["S", "P"], name: str) -> bytes:
    return message(b"C", kind.encode() + _string(name))


def sync() -> bytes:
    return message(b"S")


def flush() -> bytes:
    return message(b"H")


def terminate() -> bytes:
    return message(b"X")


def copy_fail(reason: str) -> bytes:
    return message(b"f", _string(reason))


# Both ways


def copy_data(payload: bytes) -> bytes:
    return message(b"d", payload)


def copy_done() -> bytes:
    return message(b"c")


# Towards the client


def authentication_ok() -> bytes:
    return message(b"R", _INT32.pack(0))


def authentication_cleartext() -> bytes:
    return message(b"R", _INT32.pack(3))


def authentication_md5(salt: bytes) -> bytes:
    return message(b"R", _INT32.pack(5) + salt)


def authentication_sasl(mechanisms: Sequence[str]) -> bytes:
    return message(b"R", _INT32.pack(10) + b"".join(map(_string, mechanisms)) + b"\0")


def authentication_sasl_continue(challenge: bytes) -> bytes:
    return message(b"R", _INT32.pack(11) + challenge)


def authentication_sasl_final(outcome: bytes) -> bytes:
    return message(b"R", _INT32.pack(12) + outcome)


def negotiate_protocol_version(version: int, options: Sequence[str] = ()) -> bytes:
    """`version`: the newest that we speak, for example `PROTOCOL_3_2`; `options`: the `_pq_.` options we do not know."""
    return message(b"v", _INT32.pack(version) + _INT32.pack(len(options)) + b"".join(map(_string, options)))


def parameter_status(name: str, value: str) -> bytes:
    return message(b"S", _string(name) + _string(value))


def backend_key(pid: int, key: bytes) -> bytes:
    return message(b"K", _INT32.pack(pid) + key)


def ready(status: Literal["I", "T", "E"]) -> bytes:
    return message(b"Z", status.encode())


def _report(kind: bytes, fields: Mapping[str, str]) -> bytes:
    """An ErrorResponse or NoticeResponse of these fields (letter to text); empty texts are left out."""
    parts = (letter.encode() + text.replace("\0", "\ufffd").encode(errors="replace") + b"\0" for letter, text in fields.items() if text)
    return message(kind, b"".join(parts) + b"\0")


def _fields(severity: Severity, code: str, text: str, detail: str, hint: str, position: int) -> dict[str, str]:
    return {"S": severity, "V": severity, "C": code, "M": text, "D": detail, "H": hint, "P": str(position) if position > 0 else ""}


def error(severity: Severity, code: str, text: str, detail: str = "", hint: str = "", position: int = 0) -> bytes:
    """ErrorResponse. `code` is the SQLSTATE; `position` the 1-based character of the query text, 0 for none."""
    return _report(b"E", _fields(severity, code, text, detail, hint, position))


def notice(severity: Severity, code: str, text: str, detail: str = "", hint: str = "", position: int = 0) -> bytes:
    """NoticeResponse, with the same fields as `error`."""
    return _report(b"N", _fields(severity, code, text, detail, hint, position))


def error_fields(fields: Mapping[str, str]) -> bytes:
    """ErrorResponse of fields as `read_error` gives them (an upstream error after its texts were masked)."""
    return _report(b"E", fields)


def notice_fields(fields: Mapping[str, str]) -> bytes:
    """NoticeResponse of fields as `read_error` gives them."""
    return _report(b"N", fields)


def notification(pid: int, channel: str, payload: str) -> bytes:
    return message(b"A", _INT32.pack(pid) + _string(channel) + _string(payload))


def parse_complete() -> bytes:
    return message(b"1")


def bind_complete() -> bytes:
    return message(b"2")


def close_complete() -> bytes:
    return message(b"3")


def no_data() -> bytes:
    return message(b"n")


def empty_query() -> bytes:
    return message(b"I")


def portal_suspended() -> bytes:
    return message(b"s")


def parameter_description(types: Sequence[int]) -> bytes:
    return message(b"t", _UINT16.pack(len(types)) + b"".join(map(_UINT32.pack, types)))


def row_description(fields: Sequence[Field]) -> bytes:
    parts = (_string(f.name) + _FIELD.pack(f.table_oid, f.attnum, f.type_oid, f.typlen, f.typmod, f.format) for f in fields)
    return message(b"T", _UINT16.pack(len(fields)) + b"".join(parts))


def data_row(cells: Sequence[bytes | None]) -> bytes:
    return message(b"D", _UINT16.pack(len(cells)) + b"".join(map(_value, cells)))


def command_complete(tag: str) -> bytes:
    return message(b"C", _string(tag))


def copy_in_response(overall: int, formats: Sequence[int]) -> bytes:
    return message(b"G", bytes((overall,)) + _formats(formats))


def copy_out_response(overall: int, formats: Sequence[int]) -> bytes:
    return message(b"H", bytes((overall,)) + _formats(formats))
