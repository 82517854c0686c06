"""Questions in memory: one at a time, and an answer that cannot come says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import pytest

from interlock.errors import LimitError, UpstreamError
from interlock.exchange import Cleared
from interlock.net.memory import MemoryEnd
from interlock.protocols.postgres import wire
from interlock.protocols.postgres.ask import Asker

ANSWER = wire.row_description([wire.Field("?column?")]) + wire.data_row([b"1"]) + wire.command_complete("SELECT 1") + wire.ready("I")


@dataclass
class Said:
    data: bytes


def say(end: MemoryEnd, data: bytes) -> None:
    end.send([cast(Cleared, Said(data))])


def with_end(play: Callable[[MemoryEnd, list[bytes]], Awaitable[None]], reply_bytes_max: int = 10_000) -> None:
    async def run() -> None:
        end, heard = MemoryEnd(Asker(reply_bytes_max)), list[bytes]()
        end.start(heard.append)
        await play(end, heard)

    asyncio.run(run())


def test_a_question_and_its_answer() -> None:
    async def play(end: MemoryEnd, heard: list[bytes]) -> None:
        for _ in range(2):
            asking = asyncio.create_task(end.ask("SELECT 1"))
            await asyncio.sleep(0)
            for at in range(len(ANSWER)):
                say(end, ANSWER[at : at + 1])
            assert (await asking).rows == (("1",),)
        assert heard == [Asker(1).ask("SELECT 1")] * 2

    with_end(play)


def test_an_answer_over_the_bound_is_an_error() -> None:
    async def play(end: MemoryEnd, heard: list[bytes]) -> None:
        asking = asyncio.create_task(end.ask("SELECT 1"))
        await asyncio.sleep(0)
        say(end, wire.row_description([wire.Field("x")]) + wire.data_row([bytes(2_000)]))
        with pytest.raises(LimitError):
            await asking

    with_end(play, 1_000)


def test_the_end_of_the_conversation_ends_the_question() -> None:
    async def play(end: MemoryEnd, heard: list[bytes]) -> None:
        asking = asyncio.create_task(end.ask("SELECT 1"))
        await asyncio.sleep(0)
        end.close()
        with pytest.raises(UpstreamError):
            await asking
        with pytest.raises(UpstreamError):
            await end.ask("SELECT 1")

    with_end(play)


def test_a_question_that_was_given_up_leaves_no_room_for_another() -> None:
    async def play(end: MemoryEnd, heard: list[bytes]) -> None:
        with pytest.raises(TimeoutError):
            await end.ask("SELECT 1", timeout_s=0.01)
        with pytest.raises(UpstreamError, match="was not answered"):
            await end.ask("SELECT 2")  # its answer would be taken for that of the first

    with_end(play)
