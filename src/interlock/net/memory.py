"""The client's end of a conversation in memory: questions of the gateway or of an agent without a driver.

Only what the gate cleared for this asker arrives here, exactly as it would at a socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from interlock.errors import UpstreamError
from interlock.exchange import Cleared, Reply
from interlock.protocols.stream import StreamAsker

ASK_S = 60.0
"""How long an answer may take unless the caller says otherwise, in seconds (waiting for approvals included)."""


class MemoryEnd:
    """One question at a time; `ask` waits for its answer."""

    def __init__(self, asker: StreamAsker) -> None:
        self.on_blocked: Callable[[bool], None] | None = None
        self.on_closed: Callable[[], None] | None = None
        self.closed = False
        self._asker = asker
        self._receiver: Callable[[bytes], None] | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._asking = False

    async def ask(self, text: str, rows_max: int = 0, timeout_s: float = ASK_S) -> Reply:
        """The answer to one statement, at most `rows_max` rows of it (0: all). Raises `UpstreamError` when the
        conversation ends first, `LimitError` when the answer is too large, `TimeoutError` after `timeout_s`."""
        if self.closed or self._receiver is None:
            raise UpstreamError("the conversation is over")
        if self._asking:
            raise UpstreamError("the question before was not answered")
        self._asking = True
        self._answer = asyncio.get_running_loop().create_future()
        self._receiver(self._asker.ask(text, rows_max))
        answer = await asyncio.wait_for(self._answer, timeout_s)
        self._asking = False
        return answer

    def start(self, receiver: Callable[[bytes], None]) -> None:
        self._receiver = receiver

    def send(self, cleared: Sequence[Cleared]) -> None:
        """What a socket would get."""
        for piece in cleared:
            if self._answer is None or self._answer.done():
                return
            try:
                reply = self._asker.feed(piece.data)
            except Exception as error:
                self._answer.set_exception(error)
                return
            if reply is not None:
                self._answer.set_result(reply)

    def pause(self) -> None:
        """Questions are asked one at a time; there is nothing to pause."""

    def resume(self) -> None:
        """See `pause`."""

    def close(self) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(UpstreamError("the conversation ended before the answer was whole"))
