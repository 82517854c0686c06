"""Reading PostgreSQL messages, strictly: every byte of a message is accounted for or `ProtocolError` is raised.

Each function takes one whole message with its header, as `wire.Framer` gives it, and names the guilty side in
`ProtocolError.fault`. Text is UTF-8: the gateway pins `client_encoding`. Source: PostgreSQL documentation,
"Message Formats" (protocol 3.0 and 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, unpack
from typing import Literal, NoReturn

from interlock.errors import ProtocolError

HEADER = 5
"""Bytes before the body of a typed message: its type, and its length without the type."""

_INT32 = Struct("!i")
_UINT16 = Struct("!H")
_FIELD = Struct("!IhIhih")

Side = Literal["client", "upstream"]


@dataclass(frozen=True, slots=True)
class ParseMsg:
    """Parse: prepare `sql` as statement `name` ("" is the unnamed one); `types` are parameter type OIDs, 0 unspecified."""

    name: str
    sql: str
    types: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BindMsg:
    """Bind: open `portal` on `statement`. `formats` and `result_formats` have 0, 1 or as many entries as there are values or columns."""

    portal: str
    statement: str
    formats: tuple[int, ...]
    values: tuple[bytes | None, ...]
    result_formats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a RowDescription. `table_oid` and `attnum` are 0 for anything but a plain column; `format` is 0 text, 1 binary."""

    name: str
    table_oid: int = 0
    attnum: int = 0
    type_oid: int = 25
    typlen: int = -1
    typmod: int = -1
    format: int = 0


class Reader:
    """A cursor over one message that never reads past its end."""

    __slots__ = ("_at", "_data", "_fault", "_what")

    def __init__(self, data: bytes, what: str, fault: Side, at: int = HEADER) -> None:
        self._data = data
        self._at = at
        self._what = what
        self._fault: Side = fault

    def fail(self, why: str) -> NoReturn:
        raise ProtocolError(f"malformed {self._what}: {why}", fault=self._fault)

    def _number(self, shape: Struct) -> int:
        start = self._at
        self._at = start + shape.size
        if self._at > len(self._data):
            self.fail("it ends too early")
        value: int = shape.unpack_from(self._data, start)[0]
        return value

    def int32(self) -> int:
        return self._number(_INT32)

    def uint16(self) -> int:
        return self._number(_UINT16)

    def take(self, count: int) -> bytes:
        start = self._at
        if count < 0 or count > len(self._data) - start:
            self.fail("a length points past its end")
        self._at = start + count
        return self._data[start : self._at]

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def raw_string(self) -> bytes:
        end = self._data.find(0, self._at)
        if end < 0:
            self.fail("a string has no end")
        start, self._at = self._at, end + 1
        return self._data[start:end]

    def string(self) -> str:
        try:
            return self.raw_string().decode()
        except UnicodeDecodeError:
            self.fail("a string is not UTF-8")

    def value(self) -> bytes | None:
        """A length-prefixed value; length -1 is NULL, any other negative length is an error."""
        length = self._number(_INT32)
        return None if length == -1 else self.take(length)

    def formats(self) -> tuple[int, ...]:
        count = self._number(_UINT16)
        if not count:
            return ()
        found = unpack(f"!{count}h", self.take(count * 2))
        if min(found) < 0 or max(found) > 1:
            self.fail("a format code is neither 0 nor 1")
        return found

    def oids(self) -> tuple[int, ...]:
        count = self._number(_UINT16)
        return unpack(f"!{count}I", self.take(count * 4)) if count else ()

    def end(self) -> None:
        if self._at != len(self._data):
            self.fail("bytes are left over")


def read_query(message: bytes) -> str:
    """The text of a Query: exactly one C string that ends where the message ends."""
    reader = Reader(message, "Query", "client")
    text = reader.string()
    reader.end()
    return text


def read_parse(message: bytes) -> ParseMsg:
    reader = Reader(message, "Parse", "client")
    found = ParseMsg(reader.string(), reader.string(), reader.oids())
    reader.end()
    return found


def read_bind(message: bytes) -> BindMsg:
    reader = Reader(message, "Bind", "client")
    portal, statement, formats = reader.string(), reader.string(), reader.formats()
    values = tuple([reader.value() for _ in range(reader.uint16())])
    if len(formats) not in (0, 1, len(values)):
        reader.fail("the number of formats does not fit the number of values")
    result_formats = reader.formats()
    reader.end()
    return BindMsg(portal, statement, formats, values, result_formats)


def _read_target(message: bytes, what: str) -> tuple[Literal["S", "P"], str]:
    reader = Reader(message, what, "client")
    kind = reader.take(1)
    name = reader.string()
    reader.end()
    if kind == b"S":
        return "S", name
    if kind == b"P":
        return "P", name
    reader.fail("its target is neither a statement nor a portal")


def read_describe(message: bytes) -> tuple[Literal["S", "P"], str]:
    """What is to be described: "S" (statement) or "P" (portal), and its name."""
    return _read_target(message, "Describe")


def read_close(message: bytes) -> tuple[Literal["S", "P"], str]:
    """What is to be closed: "S" (statement) or "P" (portal), and its name."""
    return _read_target(message, "Close")


def read_execute(message: bytes) -> tuple[str, int]:
    """The portal, and the most rows to return (0: all; PostgreSQL takes a negative number as all, too)."""
    reader = Reader(message, "Execute", "client")
    found = reader.string(), reader.int32()
    reader.end()
    return found


def read_password(message: bytes) -> str:
    """The secret of a PasswordMessage."""
    reader = Reader(message, "PasswordMessage", "client")
    secret = reader.string()
    reader.end()
    return secret


def read_sasl_initial(message: bytes) -> tuple[str, bytes]:
    """Mechanism and first response of a SASLInitialResponse."""
    reader = Reader(message, "SASLInitialResponse", "client")
    mechanism, response = reader.string(), reader.value()
    reader.end()
    if response is None:
        reader.fail("there is no response")
    return mechanism, response


def read_copy_fail(message: bytes) -> str:
    """Why the client gave up a COPY FROM STDIN."""
    reader = Reader(message, "CopyFail", "client")
    reason = reader.string()
    reader.end()
    return reason


def read_authentication(message: bytes) -> tuple[int, bytes]:
    """The authentication request's code (0 ok, 3 cleartext, 5 md5, 10/11/12 SASL, …) and what follows it."""
    reader = Reader(message, "Authentication", "upstream")
    return reader.int32(), reader.rest()


def read_sasl_mechanisms(body: bytes) -> tuple[str, ...]:
    """The mechanism names of an AuthenticationSASL body: C strings, then an empty one."""
    reader = Reader(body, "AuthenticationSASL", "upstream", at=0)
    names: list[str] = []
    while name := reader.string():
        names.append(name)
    reader.end()
    return tuple(names)


def read_row_description(message: bytes) -> tuple[Field, ...]:
    reader = Reader(message, "RowDescription", "upstream")
    fields: list[Field] = []
    for _ in range(reader.uint16()):
        name = reader.string()
        fields.append(Field(name, *_FIELD.unpack(reader.take(_FIELD.size))))
        if fields[-1].format not in (0, 1):
            reader.fail("a format code is neither 0 nor 1")
    reader.end()
    return tuple(fields)


def read_parameter_description(message: bytes) -> tuple[int, ...]:
    """The type OIDs of a prepared statement's parameters."""
    reader = Reader(message, "ParameterDescription", "upstream")
    types = reader.oids()
    reader.end()
    return types


def read_ready(message: bytes) -> Literal["I", "T", "E"]:
    """The transaction status: "I" idle, "T" in a transaction, "E" in a failed one."""
    reader = Reader(message, "ReadyForQuery", "upstream")
    status = reader.take(1)
    reader.end()
    if status == b"I":
        return "I"
    if status == b"T":
        return "T"
    if status == b"E":
        return "E"
    reader.fail("unknown transaction status")


def read_parameter_status(message: bytes) -> tuple[str, str]:
    """A setting that upstream reports, and its value."""
    reader = Reader(message, "ParameterStatus", "upstream")
    found = reader.string(), reader.string()
    reader.end()
    return found


def read_backend_key(message: bytes) -> tuple[int, bytes]:
    """Process id and cancel key: 4 bytes in protocol 3.0, 4 to 256 in 3.2."""
    reader = Reader(message, "BackendKeyData", "upstream")
    pid, key = reader.int32(), reader.rest()
    if not 4 <= len(key) <= 256:
        reader.fail("the key must have 4 to 256 bytes")
    return pid, key


def read_error(message: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their letter (S, V, C, M, D, H, P, …).

    Bytes that are not UTF-8 are replaced: before login is complete PostgreSQL may speak another encoding.
    """
    reader = Reader(message, "ErrorResponse", "upstream")
    fields: dict[str, str] = {}
    while (letter := reader.take(1)) != b"\0":
        name = letter.decode("latin-1")
        if name in fields:
            reader.fail("a field occurs twice")
        fields[name] = reader.raw_string().decode(errors="replace")
    reader.end()
    return fields


def read_command_tag(message: bytes) -> str:
    """The tag of a CommandComplete, such as `SELECT 5` or `INSERT 0 1`."""
    reader = Reader(message, "CommandComplete", "upstream")
    tag = reader.string()
    reader.end()
    return tag


def read_copy_response(message: bytes) -> tuple[int, tuple[int, ...]]:
    """Of a CopyInResponse or CopyOutResponse: the overall format (0 text or csv, 1 binary) and that of each column."""
    reader = Reader(message, "CopyResponse", "upstream")
    overall = reader.take(1)[0]
    formats = reader.formats()
    reader.end()
    if overall not in (0, 1):
        reader.fail("the format is neither 0 nor 1")
    return overall, formats


def read_notification(message: bytes) -> tuple[int, str, str]:
    """Of a NotificationResponse: the sender's process id, the channel and the payload."""
    reader = Reader(message, "NotificationResponse", "upstream")
    found = reader.int32(), reader.string(), reader.string()
    reader.end()
    return found


def read_negotiate(message: bytes) -> tuple[int, tuple[str, ...]]:
    """Of a NegotiateProtocolVersion: the newest version that upstream speaks (3.2 is 0x00030002), and the
    `_pq_.` options that it did not know."""
    reader = Reader(message, "NegotiateProtocolVersion", "upstream")
    version = reader.int32()
    count = reader.int32()
    if not 0 <= count <= len(message):
        reader.fail("a count promises more than there is")
    names = tuple(reader.string() for _ in range(count))
    reader.end()
    return version, names
