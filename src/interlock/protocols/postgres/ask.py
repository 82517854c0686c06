"""Questions of the gateway itself, or of an agent without a driver: text ⇄ messages ⇄ neutral `Reply`.

An `Asker` plays the client on an in-memory connection to a relay, so that a question of ours meets the same
gate, the same masks and the same recording as one that psql asks. One statement per question, text results.
"""

from __future__ import annotations

from interlock.errors import LimitError, ProtocolError
from interlock.exchange import Column, Reply
from interlock.protocols.postgres import reply, wire


class Asker:
    """One question at a time: `ask` gives the bytes to send, `feed` takes what comes back until it is whole.

    `reply_bytes_max` bounds what is kept of one answer.
    """

    def __init__(self, reply_bytes_max: int) -> None:
        self._max = reply_bytes_max
        self._framer = wire.Framer("upstream", reply_bytes_max)
        self._clear()

    def _clear(self) -> None:
        self._columns: tuple[Column, ...] = ()
        self._rows: list[tuple[str | None, ...]] = []
        self._bytes = 0
        self._tag = ""
        self._truncated = False
        self._error: dict[str, str] = {}
        self._notices: list[str] = []

    def ask(self, text: str, rows_max: int = 0) -> bytes:
        """The messages of one question; at most `rows_max` rows come back (0: all)."""
        self._clear()
        return b"".join((wire.parse("", text), wire.bind("", ""), wire.describe("P", ""), wire.execute("", rows_max), wire.sync()))

    def feed(self, data: bytes) -> Reply | None:
        """The reply once it is whole, else None. Raises `LimitError` beyond the bound, `ProtocolError` on nonsense."""
        self._bytes += len(data)
        if self._bytes > self._max:
            raise LimitError(f"the answer is larger than {self._max} bytes", hint="ask for fewer rows or columns")
        whole: Reply | None = None
        for kind, message in self._framer.feed(data):
            if whole is not None and kind == 0x5A:
                raise ProtocolError("two answers to one question", fault="upstream")
            whole = self._message(kind, message) or whole
        return whole

    def _message(self, kind: int, message: bytes) -> Reply | None:
        match kind:
            case 0x54:  # RowDescription
                self._columns = tuple(Column(f.name, f.type_oid, f.format) for f in wire.read_row_description(message))
            case 0x44:  # DataRow
                shape = reply.RowShape(self._columns)
                for row in shape.split(message):
                    cells = zip(self._columns, row, strict=True)
                    self._rows.append(tuple(None if cell is None else shape.decode(column, cell) for column, cell in cells))
            case 0x43:
                self._tag = wire.read_command_tag(message)
            case 0x73:  # PortalSuspended
                self._truncated = True
            case 0x45:
                self._error = wire.read_error(message)
            case 0x4E:
                self._notices.append(wire.read_error(message).get("M", ""))
            case 0x47 | 0x48 | 0x64:
                raise ProtocolError("COPY is not a question", fault="client")
            case 0x5A:
                return self._reply()
            case _:
                pass
        return None

    def _reply(self) -> Reply:
        error = self._error
        return Reply(
            self._columns,
            tuple(self._rows),
            self._tag,
            self._truncated,
            failed=error.get("M", ""),
            code=error.get("C", ""),
            detail=error.get("D", ""),
            hint=error.get("H", ""),
            notices=tuple(self._notices),
        )
