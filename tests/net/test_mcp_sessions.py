"""Bearers' sessions: one per bearer and server, closed when idle, ended with their trust. On a real gate."""

from __future__ import annotations

import asyncio

import pytest

from interlock.exchange import Principal, Resource
from interlock.identity import Proof
from interlock.net.mcp_sessions import Bearer, Bearers
from interlock.net.sessions import Parked, Refused
from tests.net.mcp_house import House


async def who(gateway: House, principal: str) -> Principal:
    return await gateway.ask(gateway.app.identity.verify(Proof.of(await gateway.fresh_token(principal), "mcp")))


def odd(gateway: House) -> Resource:
    return gateway.app.gate.registry.find("odd")


def test_one_session_per_bearer_and_server(gateway: House) -> None:
    async def go() -> None:
        bearers = Bearers(gateway.app.gate, 1.0)
        first, second = await who(gateway, "alice"), await who(gateway, "alice")

        async def many(principal: Principal) -> set[str]:
            found = await asyncio.gather(*(bearers.of(principal, odd(gateway), "test") for _ in range(20)))
            return {bearer.session.id for bearer in found}

        one = await gateway.ask(many(first))
        other = await gateway.ask(many(second))
        assert len(one) == len(other) == 1 and one != other  # another token is another bearer
        await gateway.ask(bearers.close_all("the test is over"))
        assert not one & set(gateway.app.gate.sessions)

    asyncio.run(go())


def test_an_idle_session_is_closed_and_a_busy_one_is_not(gateway: House) -> None:
    async def go() -> None:
        bearers = Bearers(gateway.app.gate, 1.0, idle_s=0.2)

        async def scene() -> tuple[bool, bool]:
            watch = asyncio.create_task(bearers.watch())
            busy = await bearers.of(await app_who("alice"), odd(gateway), "test")
            idle = await bearers.of(await app_who("bob"), odd(gateway), "test")
            await busy.run(asyncio.sleep(1.2))
            gone, stays = bool(idle.session.ended), not busy.session.ended
            watch.cancel()
            await bearers.close_all("the test is over")
            return gone, stays

        async def app_who(name: str) -> Principal:
            text, _ = await gateway.app.identity.issue(name, ["mcp"])
            return await gateway.app.identity.verify(Proof.of(text, "mcp"))

        assert await gateway.ask(scene()) == (True, True)

    asyncio.run(go())


def test_work_ends_with_the_session_and_only_then(gateway: House) -> None:
    async def go() -> None:
        bearers = Bearers(gateway.app.gate, 1.0)
        alice = await who(gateway, "alice")

        async def ended() -> str:
            bearer = await bearers.of(alice, odd(gateway), "test")
            work = asyncio.create_task(bearer.run(asyncio.sleep(60)))
            await asyncio.sleep(0)
            gateway.app.gate.end(bearer.session.id, "an operator ended it")
            try:
                await work
            except Refused as error:
                return error.refusal.reason
            return ""

        async def cancelled() -> bool:
            bearer = await bearers.of(alice, odd(gateway), "test")
            work = asyncio.create_task(bearer.run(asyncio.sleep(60)))
            await asyncio.sleep(0)
            work.cancel()
            await asyncio.wait({work})
            return work.cancelled() and not bearer.busy and not bearer.session.ended

        assert await gateway.ask(ended()) == "an operator ended it"
        assert await gateway.ask(cancelled())
        await gateway.ask(bearers.close_all("the test is over"))

    asyncio.run(go())


def test_connecting_is_decided(gateway: House) -> None:
    async def go() -> None:
        bearers = Bearers(gateway.app.gate, 0.1)

        async def opened(principal: Principal) -> Bearer:
            return await bearers.of(principal, odd(gateway), "test")

        with pytest.raises(Refused):
            await gateway.ask(opened(await who(gateway, "eve")))
        with pytest.raises(Parked) as parked:
            await gateway.ask(opened(await who(gateway, "ward")))
        await gateway.ask(gateway.app.approvals.withdraw(parked.value.held.id, "the test is over"))
        assert not [each for each in gateway.app.gate.sessions.values() if each.client == "test"]

    asyncio.run(go())
