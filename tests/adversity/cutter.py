"""A wire in front of a server that can be cut: after so many bytes towards the client, in the middle of whatever passes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Wire:
    """`port` is where to connect to; `cut_after` bytes that the server sends (0: never) both sides are hung up on. While it is
    `stalled`, nothing that the server says arrives."""

    def __init__(self, host: str, port: int) -> None:
        self.cut_after = 0
        self.passed = 0
        self.stalled = False
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                for source, target, counts in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._carry, args=(source, target, counts), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with suppress(OSError):
            while data := source.recv(16_384):
                if counts and self.cut_after:
                    data = data[: max(0, self.cut_after - self.passed)]
                    self.passed += len(data)
                while counts and self.stalled:
                    time.sleep(0.02)
                target.sendall(data)
                if counts and self.cut_after and self.passed >= self.cut_after:
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()


@contextmanager
def wire(host: str, port: int) -> Iterator[Wire]:
    made = Wire(host, port)
    try:
        yield made
    finally:
        made.close()
