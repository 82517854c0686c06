"""PostgreSQL's wire: the table of every message of protocol 3.0/3.2, and bytes cut into messages.

What is not in the tables is refused, before its body is read. How messages are read and made stands in
`messages.py` and `builders.py`, and the untyped first packets in `startup.py`; their names are given again here,
so that others need to know `wire` only. Source: PostgreSQL documentation, "Message Formats" and "Message Flow";
limits as in PostgreSQL's own `SocketBackend` and libpq's `VALID_LONG_MESSAGE_TYPE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from struct import Struct
from types import MappingProxyType

from interlock.errors import ProtocolError
from interlock.protocols.postgres.builders import (
    CANCEL_REQUEST,
    GSSENC_REQUEST,
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    SSL_REQUEST,
    Severity,
    authentication_cleartext,
    authentication_md5,
    authentication_ok,
    authentication_sasl,
    authentication_sasl_continue,
    authentication_sasl_final,
    backend_key,
    bind,
    bind_complete,
    cancel_request,
    close,
    close_complete,
    command_complete,
    copy_data,
    copy_done,
    copy_fail,
    copy_in_response,
    copy_out_response,
    data_row,
    describe,
    empty_query,
    error,
    error_fields,
    execute,
    flush,
    gssenc_request,
    message,
    negotiate_protocol_version,
    no_data,
    notice,
    notice_fields,
    notification,
    parameter_description,
    parameter_status,
    parse,
    parse_complete,
    password,
    portal_suspended,
    query,
    ready,
    row_description,
    sasl_initial,
    sasl_response,
    ssl_request,
    startup,
    sync,
    terminate,
)
from interlock.protocols.postgres.messages import (
    HEADER,
    BindMsg,
    Field,
    ParseMsg,
    Reader,
    Side,
    read_authentication,
    read_backend_key,
    read_bind,
    read_close,
    read_command_tag,
    read_copy_fail,
    read_copy_response,
    read_describe,
    read_error,
    read_execute,
    read_negotiate,
    read_notification,
    read_parameter_description,
    read_parameter_status,
    read_parse,
    read_password,
    read_query,
    read_ready,
    read_row_description,
    read_sasl_initial,
    read_sasl_mechanisms,
)
from interlock.protocols.postgres.startup import (
    STARTUP_BYTES_MAX,
    CancelRequest,
    GSSENCRequest,
    SSLRequest,
    Startup,
    StartupFramer,
    StartupMessage,
    read_startup,
)


class Rule(Enum):
    """What happens to a message. `ASK`: it is an operation, a part of one, or content of a reply, and moves
    only with the gate's leave. `PASS`: it carries neither, and follows its operation. `OWN`: it belongs to
    the gateway's own handshake or state on that leg, and is never carried across. `REFUSE`: never."""

    ASK = "ask"
    PASS = "pass"  # noqa: S105 - a rule, no password
    OWN = "own"
    REFUSE = "refuse"


class Size(Enum):
    """The limit of a message's length: `EMPTY` (no body), `SMALL` (PostgreSQL's own 30,000 bytes),
    `AUTH` (65,535, as PostgreSQL's longest authentication token) or `LARGE` (the configured maximum)."""

    EMPTY = "empty"
    SMALL = "small"
    AUTH = "auth"
    LARGE = "large"


@dataclass(frozen=True, slots=True)
class Message:
    name: str
    rule: Rule
    size: Size = Size.SMALL


def _table(rows: dict[str, Message]) -> Mapping[int, Message]:
    return MappingProxyType({ord(kind): row for kind, row in rows.items()})


FRONTEND: Mapping[int, Message] = _table(
    {
        "B": Message("Bind", Rule.ASK, Size.LARGE),
        "C": Message("Close", Rule.PASS),
        "D": Message("Describe", Rule.PASS),
        "E": Message("Execute", Rule.ASK),
        "F": Message("FunctionCall", Rule.REFUSE, Size.LARGE),
        "H": Message("Flush", Rule.PASS, Size.EMPTY),
        "P": Message("Parse", Rule.ASK, Size.LARGE),
        "Q": Message("Query", Rule.ASK, Size.LARGE),
        "S": Message("Sync", Rule.PASS, Size.EMPTY),
        "X": Message("Terminate", Rule.OWN, Size.EMPTY),
        "c": Message("CopyDone", Rule.PASS, Size.EMPTY),
        "d": Message("CopyData", Rule.ASK, Size.LARGE),
        "f": Message("CopyFail", Rule.PASS),
        # PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse share one type byte.
        "p": Message("Password", Rule.OWN, Size.AUTH),
    }
)
"""Every typed message of a client. The untyped ones (StartupMessage, SSLRequest, GSSENCRequest, CancelRequest) are `StartupFramer`'s."""

BACKEND: Mapping[int, Message] = _table(
    {
        "1": Message("ParseComplete", Rule.PASS, Size.EMPTY),
        "2": Message("BindComplete", Rule.PASS, Size.EMPTY),
        "3": Message("CloseComplete", Rule.PASS, Size.EMPTY),
        "A": Message("NotificationResponse", Rule.ASK, Size.LARGE),
        "C": Message("CommandComplete", Rule.PASS),
        "D": Message("DataRow", Rule.ASK, Size.LARGE),
        "E": Message("ErrorResponse", Rule.ASK, Size.LARGE),
        "G": Message("CopyInResponse", Rule.PASS),
        "H": Message("CopyOutResponse", Rule.PASS),
        "I": Message("EmptyQueryResponse", Rule.PASS, Size.EMPTY),
        "K": Message("BackendKeyData", Rule.OWN),
        "N": Message("NoticeResponse", Rule.ASK, Size.LARGE),
        "R": Message("Authentication", Rule.OWN, Size.AUTH),
        "S": Message("ParameterStatus", Rule.PASS),
        "T": Message("RowDescription", Rule.ASK, Size.LARGE),
        "V": Message("FunctionCallResponse", Rule.REFUSE, Size.LARGE),
        "W": Message("CopyBothResponse", Rule.REFUSE),
        "Z": Message("ReadyForQuery", Rule.PASS),
        "c": Message("CopyDone", Rule.PASS, Size.EMPTY),
        "d": Message("CopyData", Rule.ASK, Size.LARGE),
        "n": Message("NoData", Rule.PASS, Size.EMPTY),
        "s": Message("PortalSuspended", Rule.PASS, Size.EMPTY),
        "t": Message("ParameterDescription", Rule.PASS, Size.LARGE),
        "v": Message("NegotiateProtocolVersion", Rule.OWN),
    }
)
"""Every message of a server."""

_HEAD = Struct("!BI")
_SMALL, _AUTH = 30_000, 65_535
_RUNS = frozenset(b"Dd")


class Framer:
    """Cuts the typed messages of one side out of its byte stream.

    `message_bytes_max` bounds a message's length field, and thereby the buffer. `feed` raises `ProtocolError`
    (fault: this side) on an unknown type, a length below 4 and a length above the type's limit, as soon as the
    header is there; then the session is over and messages that came before it in the same read are not given.
    """

    def __init__(self, side: Side, message_bytes_max: int) -> None:
        self._side: Side = side
        self._table = FRONTEND if side == "client" else BACKEND
        sizes = {
            Size.EMPTY: 4,
            Size.SMALL: min(_SMALL, message_bytes_max),
            Size.AUTH: min(_AUTH, message_bytes_max),
            Size.LARGE: message_bytes_max,
        }
        self._limits = tuple(sizes[self._table[kind].size] if kind in self._table else 0 for kind in range(256))
        # CopyData is a client's DataRow; a client's 'D' is Describe and stands alone.
        self._runs = frozenset(b"d") if side == "client" else _RUNS
        self._rest = bytearray()
        self._need = HEADER

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that `data` completes, as (type byte, whole message with header)."""
        return self._cut(data, frozenset())

    def feed_runs(self, data: bytes) -> list[tuple[int, bytes]]:
        """As `feed`, but neighbouring DataRows (or CopyData) stand together as one entry of several whole messages."""
        return self._cut(data, self._runs)

    @property
    def pending(self) -> int:
        """Bytes of a message that is not complete yet."""
        return len(self._rest)

    def take_rest(self) -> bytes:
        """The bytes of an incomplete message, for the framer that goes on with this stream."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest

    def _cut(self, data: bytes, runs: frozenset[int]) -> list[tuple[int, bytes]]:
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        found: list[tuple[int, bytes]] = []
        limits, head = self._limits, _HEAD.unpack_from
        at, end = 0, len(data)
        while end - at >= HEADER:
            start = at
            kind, length = head(data, at)
            if not 4 <= length <= limits[kind]:
                self._refuse(kind, length)
            at += 1 + length
            if kind in runs:
                while end - at >= HEADER and data[at] == kind:
                    _, length = head(data, at)
                    if not 4 <= length <= limits[kind]:
                        self._refuse(kind, length)
                    if at + 1 + length > end:
                        break
                    at += 1 + length
            if at > end:
                self._keep(data[start:], 1 + length)
                return found
            found.append((kind, data[start:at]))
        if at < end:
            if not limits[data[at]]:
                self._refuse(data[at], 0)
            self._keep(data[at:], HEADER)
        return found

    def _keep(self, rest: bytes, need: int) -> None:
        self._rest += rest
        self._need = need

    def _refuse(self, kind: int, length: int) -> None:
        known = self._table.get(kind)
        if known is None:
            raise ProtocolError(f"unknown message type 0x{kind:02x}", fault=self._side)
        if length < 4:
            raise ProtocolError(f"{known.name} has the impossible length {length}", fault=self._side)
        raise ProtocolError(f"{known.name} of {length} bytes is over the limit of {self._limits[kind]} bytes", fault=self._side)


__all__ = [
    "BACKEND",
    "CANCEL_REQUEST",
    "FRONTEND",
    "GSSENC_REQUEST",
    "HEADER",
    "PROTOCOL_3_0",
    "PROTOCOL_3_2",
    "SSL_REQUEST",
    "STARTUP_BYTES_MAX",
    "BindMsg",
    "CancelRequest",
    "Field",
    "Framer",
    "GSSENCRequest",
    "Message",
    "ParseMsg",
    "Reader",
    "Rule",
    "SSLRequest",
    "Severity",
    "Side",
    "Size",
    "Startup",
    "StartupFramer",
    "StartupMessage",
    "authentication_cleartext",
    "authentication_md5",
    "authentication_ok",
    "authentication_sasl",
    "authentication_sasl_continue",
    "authentication_sasl_final",
    "backend_key",
    "bind",
    "bind_complete",
    "cancel_request",
    "close",
    "close_complete",
    "command_complete",
    "copy_data",
    "copy_done",
    "copy_fail",
    "copy_in_response",
    "copy_out_response",
    "data_row",
    "describe",
    "empty_query",
    "error",
    "error_fields",
    "execute",
    "flush",
    "gssenc_request",
    "message",
    "negotiate_protocol_version",
    "no_data",
    "notice",
    "notice_fields",
    "notification",
    "parameter_description",
    "parameter_status",
    "parse",
    "parse_complete",
    "password",
    "portal_suspended",
    "query",
    "read_authentication",
    "read_backend_key",
    "read_bind",
    "read_close",
    "read_command_tag",
    "read_copy_fail",
    "read_copy_response",
    "read_describe",
    "read_error",
    "read_execute",
    "read_negotiate",
    "read_notification",
    "read_parameter_description",
    "read_parameter_status",
    "read_parse",
    "read_password",
    "read_query",
    "read_ready",
    "read_row_description",
    "read_sasl_initial",
    "read_sasl_mechanisms",
    "read_startup",
    "ready",
    "row_description",
    "sasl_initial",
    "sasl_response",
    "ssl_request",
    "startup",
    "sync",
    "terminate",
]
