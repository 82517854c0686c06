"""A PostgreSQL client that does what no driver would: it sends any bytes, and keeps every byte that comes back."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from interlock.protocols.postgres import wire

WAIT_S = 10.0


@dataclass
class Message:
    kind: str
    body: bytes


@dataclass
class Client:
    """One connection. `received` are all bytes that ever came; `messages` those after the login, framed."""

    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)
    messages: list[Message] = field(default_factory=list)
    sent: bytearray = field(default_factory=bytearray)
    ended: bool = False
    key: tuple[int, bytes] = (0, b"")
    _rest: bytearray = field(default_factory=bytearray)

    @classmethod
    def connect(cls, port: int) -> Self:
        sock = socket.create_connection(("127.0.0.1", port), WAIT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(sock)

    def login(self, user: str, secret: str, database: str, settings: Mapping[str, str] | None = None) -> bool:
        """True once ReadyForQuery came."""
        self.send(wire.startup({"user": user, "database": database, **(settings or {})}))
        if not self.until("REv"):
            return False
        while self.messages[-1].kind == "v":
            self.until("RE")
        if self.messages[-1].kind != "R":
            return False
        self.socket.sendall(wire.password(secret))
        if not self.until("Z") or any(message.kind == "E" for message in self.messages):
            return False
        for message in self.messages:
            if message.kind == "K":
                self.key = struct.unpack("!I", message.body[:4])[0], message.body[4:]
        self.messages.clear()
        return True

    def send(self, data: bytes) -> None:
        self.sent += data
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def until(self, kinds: str, wait_s: float = WAIT_S, times: int = 1) -> bool:
        """Read until a message of one of these kinds came so many times; False when the line ended or fell silent."""
        deadline = time.monotonic() + wait_s
        seen = 0
        while True:
            while (message := self._next()) is not None:
                self.messages.append(message)
                if message.kind in kinds:
                    seen += 1
                    if seen == times:
                        return True
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                return False

    def _read(self, wait_s: float) -> bool:
        self.socket.settimeout(wait_s)
        try:
            data = self.socket.recv(65_536)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return False
        self.received += data
        self._rest += data
        return True

    def _next(self) -> Message | None:
        if len(self._rest) < 5:
            return None
        length = int.from_bytes(self._rest[1:5])
        if len(self._rest) < 1 + length:
            return None
        message = Message(chr(self._rest[0]), bytes(self._rest[5 : 1 + length]))
        del self._rest[: 1 + length]
        return message

    def close(self) -> None:
        self.socket.close()

    def errors(self) -> list[dict[str, str]]:
        return [_fields(message.body) for message in self.messages if message.kind == "E"]

    def notices(self) -> list[str]:
        return [_fields(message.body).get("M", "") for message in self.messages if message.kind == "N"]


def _fields(body: bytes) -> dict[str, str]:
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
