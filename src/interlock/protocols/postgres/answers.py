"""Upstream's answers: each belongs to the message at the head of the queue; what carries values is released.

Anything that does not fit what is awaited is a `ProtocolError` (fault upstream): the session ends. A DataRow
whose columns are not known never goes down. Errors and notices are free text and are scrubbed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from interlock.errors import ProtocolError
from interlock.exchange import Cleared, Column, Outcome, Port
from interlock.facts.sql.catalog import Catalog
from interlock.protocols.postgres import reply, types, wire
from interlock.protocols.postgres.expect import Expect, Want
from interlock.protocols.postgres.operation import Asked, Sources
from interlock.protocols.postgres.origin import columns_of, copy_shape, search_path_of

DESCRIPTIONS_MAX = 256
"""How many row descriptions a session remembers."""
PINNED = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}
"""Settings that decide where strings end: were they different, we and upstream would read different texts."""
FREE_SETTINGS = frozenset({"application_name", "search_path"})
"""Reported settings that a statement can put any value into (`set_config('application_name', email, …)`): after
the login the client does not hear of them."""
FREE_TEXT = "MDHWq"
"""The fields of an error or notice that may quote values: message, detail, hint, context, internal query."""
_SIMPLE = {Want.PARSE: 0x31, Want.BIND: 0x32, Want.CLOSE: 0x33}


class Answers:
    """`completed` is called when the statement at an index of an asked text has run, `idle` when upstream is ready
    and in no transaction."""

    def __init__(
        self,
        port: Port,
        catalog: Catalog,
        parameters: Mapping[str, str],
        user: str,
        row_bytes_max: int,
        completed: Callable[[Asked, int], None],
        idle: Callable[[], None],
    ) -> None:
        self.expected: deque[Expect] = deque()
        self.status = "I"
        self.catalog = catalog
        self.stale = False
        self.copy_in: Expect | None = None
        self.discard_to_sync = False
        self._port = port
        self._user = user
        self._row_bytes_max = row_bytes_max
        self._completed = completed
        self._idle = idle
        self._descriptions: dict[bytes, tuple[Catalog, Sources, tuple[Column, ...]]] = {}
        self._out: list[Cleared] = []
        self._words = bytearray()
        self.search_path: tuple[str, ...] | None = None
        for name, value in parameters.items():
            self._parameter(name, value)

    def say(self, data: bytes) -> None:
        """Connection-level bytes for the client, gathered until a reply comes between."""
        self._words += data

    def say_rest(self) -> None:
        if self._words:
            self._out.append(self._port.say(bytes(self._words)))
            self._words.clear()

    def take(self) -> list[Cleared]:
        out, self._out = self._out, []
        return out

    def reply(self, kind: int, message: bytes) -> None:
        match kind:
            case 0x4E:  # NoticeResponse
                self.say(wire.notice_fields(self._scrubbed(message)))
            case 0x53:  # ParameterStatus
                name, value = wire.read_parameter_status(message)
                self._parameter(name, value)
                if name not in FREE_SETTINGS:
                    self.say(message)
            case 0x41:  # NotificationResponse
                pid, channel, payload = wire.read_notification(message)
                # Quoted, a payload counts as a value and not as a sentence of the server.
                self.say(wire.notification(pid, channel, self._port.scrub(f'"{payload}"')[1:-1]))
            case 0x45:  # ErrorResponse
                self._error(message)
            case _:
                if not self.expected:
                    raise _unfit(kind, "nothing")
                self._answer(self.expected[0], kind, message)

    # -- what is awaited -------------------------------------------------------------------------------------

    def _answer(self, head: Expect, kind: int, message: bytes) -> None:
        match head.want:
            case Want.PARSE | Want.BIND | Want.CLOSE if kind == _SIMPLE[head.want]:
                self.say(message)
                self._end(head, Outcome.DONE)
            case Want.DESCRIBE:
                self._described(head, kind, message)
            case Want.SYNC if kind == 0x5A:
                self._ready(message)
                self.expected.popleft()
            case Want.QUERY if kind == 0x5A:
                self._ready(message)
                self._end(head, Outcome.FAILED if head.failed else Outcome.DONE)
            case Want.QUERY if kind == 0x54:
                self._shape(head, self._columns(message, self._sources(head)))
                self.say(message)
            case Want.QUERY | Want.EXECUTE:
                self._result(head, kind, message)
            case _:
                raise _unfit(kind, head.want.value)

    def _described(self, head: Expect, kind: int, message: bytes) -> None:
        if kind == 0x54:
            if head.portal is not None:
                sources = head.portal.asked.sources[-1] if head.portal.asked.sources else None
                head.portal.columns = self._columns(message, sources)
        elif kind == 0x6E:
            if head.portal is not None:
                head.portal.columns = ()
        elif kind != 0x74:
            raise _unfit(kind, head.want.value)
        if not head.quiet:
            self.say(message)
        if kind != 0x74:
            self._end(head, Outcome.DONE)

    def _result(self, head: Expect, kind: int, message: bytes) -> None:
        match kind:
            case 0x44:  # a run of DataRows
                self._rows(head, message)
            case 0x43:  # CommandComplete
                head.rows += _rows_of(wire.read_command_tag(message))
                self._tell_hidden(head)
                self.say(message)
                self._complete(head)
            case 0x49:  # EmptyQueryResponse
                self.say(message)
                self._complete(head)
            case 0x73 if head.want is Want.EXECUTE:  # PortalSuspended
                self._tell_hidden(head)
                self.say(message)
                self._end(head, Outcome.SUSPENDED)
            case 0x47:  # CopyInResponse
                self._copy_in(head, message)
            case 0x48:  # CopyOutResponse
                self._copy_out(head, message)
            case 0x64 if head.copy is not None:  # a run of CopyData
                for piece in head.copy.feed(message):
                    if piece.kind == "rows":
                        self._release(head, piece.data)
                    else:
                        self.say(piece.data)
            case 0x63 if head.copy is not None:  # CopyDone
                head.copy.end()
                head.copy = None
                self.say(message)
            case _:
                raise _unfit(kind, head.want.value)

    def _tell_hidden(self, head: Expect) -> None:
        """NULL says nothing of itself: say which columns have it in place of a mask."""
        exchange = head.permit.exchange if head.permit is not None and head.release is not None else None
        if exchange is None or exchange.shape is None:
            return
        for index, data_class in sorted(exchange.hidden.items()):
            column = exchange.shape.columns[index]
            of = types.NAMES.get(column.type, f"with OID {column.type}")
            text = f'interlock: values of column "{column.name}" ({data_class}) are hidden as NULL because type {of} cannot hold a mask'
            self.say(wire.notice("NOTICE", "00000", text))

    def _rows(self, head: Expect, message: bytes) -> None:
        if head.release is None:
            columns = head.portal.columns if head.portal is not None else None
            if columns is None:
                raise ProtocolError("rows came whose columns were not described", fault="upstream")
            self._shape(head, columns)
        self._release(head, message)

    def _shape(self, head: Expect, columns: tuple[Column, ...]) -> None:
        if head.permit is None:
            raise ProtocolError("rows came for a refused statement", fault="upstream")
        head.release = self._port.release(head.permit, reply.RowShape(columns))

    def _release(self, head: Expect, piece: bytes) -> None:
        if head.release is None:
            raise ProtocolError("data came before its description", fault="upstream")
        self.say_rest()
        self._out.append(head.release.apply(piece))

    def _copy_in(self, head: Expect, message: bytes) -> None:
        if head.permit is None or not head.permit.exchange.operation.flows:
            raise ProtocolError("upstream asks for COPY data that nobody announced", fault="upstream")
        self.copy_in = head
        if head.want is Want.EXECUTE:
            # Upstream ignores Sync while it takes COPY data; libpq sends one right behind Execute.
            while len(self.expected) > 1 and self.expected[1].want is Want.SYNC:
                del self.expected[1]
        self.say(message)

    def _copy_out(self, head: Expect, message: bytes) -> None:
        if head.permit is None or head.asked is None or head.at >= len(head.asked.statements):
            raise ProtocolError("upstream sends COPY data that nobody asked for", fault="upstream")
        overall, formats = wire.read_copy_response(message)
        options = head.asked.statements[head.at].copy
        if options is None:
            raise ProtocolError("upstream sends COPY data that nobody asked for", fault="upstream")
        shape = copy_shape(options, overall, len(formats), self._sources(head), self.catalog)
        head.copy = reply.CopyOut(shape, self._row_bytes_max)
        head.release = self._port.release(head.permit, shape)
        self.say(message)

    def _columns(self, message: bytes, sources: Sources) -> tuple[Column, ...]:
        """The columns of a RowDescription. The same description of the same statement, under the same catalog, is
        read once."""
        known = self._descriptions.get(message)
        if known is not None and known[0] is self.catalog and known[1] is sources:
            return known[2]
        was_stale, self.stale = self.stale, False
        columns = columns_of(wire.read_row_description(message), sources, self)
        if not self.stale:
            if len(self._descriptions) >= DESCRIPTIONS_MAX:
                self._descriptions.clear()
            self._descriptions[message] = (self.catalog, sources, columns)
        self.stale |= was_stale
        return columns

    def _sources(self, head: Expect) -> Sources:
        asked = head.asked
        return asked.sources[head.at] if asked is not None and head.at < len(asked.sources) else None

    # -- ends ------------------------------------------------------------------------------------------------

    def _complete(self, head: Expect) -> None:
        if head.asked is not None:
            self._completed(head.asked, head.at)
        head.at += 1
        head.release = head.copy = None
        if head.want is Want.EXECUTE:
            self._end(head, Outcome.DONE)

    def _end(self, head: Expect, outcome: Outcome) -> None:
        self.expected.popleft()
        if head.rename is not None:
            if outcome is Outcome.DONE:
                head.rename.keep()
            else:
                head.rename.drop()
        if head.permit is not None:
            head.permit.exchange.rows = head.rows
            self._port.settle(head.permit, outcome, head.failed)

    def _ready(self, message: bytes) -> None:
        self.status = wire.read_ready(message)
        self.copy_in = None
        if self.status == "I":
            self._idle()
        self.say(message)

    def _error(self, message: bytes) -> None:
        head = self.expected[0] if self.expected else None
        if head is not None and head.refusal is not None:
            self.say(wire.error_fields(reply.speak(head.refusal)))
        else:
            self.say(wire.error_fields(self._scrubbed(message)))
        if head is None or head.want is Want.SYNC:
            return
        head.failed = wire.read_error(message).get("C", "XX000")
        self.copy_in = None
        if head.want is Want.QUERY:
            head.release = head.copy = None
            return
        self._end(head, Outcome.FAILED)
        while self.expected and self.expected[0].want is not Want.SYNC:
            self._end(self.expected[0], Outcome.SKIPPED)
        self.discard_to_sync = not self.expected

    def _scrubbed(self, message: bytes) -> dict[str, str]:
        fields = wire.read_error(message)
        head = self.expected[0] if self.expected else None
        known = "" if head is None else f"{head.asked.text if head.asked is not None else ''} {head.said}"
        return {name: self._port.scrub(text, known) if name in FREE_TEXT else text for name, text in fields.items()}

    def _parameter(self, name: str, value: str) -> None:
        pinned = PINNED.get(name)
        if pinned is not None and value != pinned:
            raise ProtocolError(f"upstream reports {name}={value}; the gateway needs {pinned}", fault="upstream")
        if name == "search_path":
            self.search_path = search_path_of(value, self._user)


def _rows_of(tag: str) -> int:
    """The count at the end of a command tag (`SELECT 5`, `INSERT 0 1`, `COPY 3`); 0 where there is none."""
    last = tag.rsplit(" ", 1)[-1]
    return int(last) if last.isascii() and last.isdigit() else 0


def _unfit(kind: int, awaited: str) -> ProtocolError:
    known = wire.BACKEND.get(kind)
    return ProtocolError(f"upstream sent {known.name if known else hex(kind)} while {awaited} is awaited", fault="upstream")
