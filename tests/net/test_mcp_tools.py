"""Calls of upstream tools through the gate: held, approved, refused, masked, cancelled. With the official client."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError

from interlock.approval import Request, State
from tests.net.mcp_house import MODES, House, Mode, text, word

NO_RULE = "refused: no such tool, or no right to use it\nlist the tools again"


def sent(result: Any) -> int:
    """How often the server did what was held, as it says itself."""
    return int(text(result).rpartition(" ")[2])


async def times_sent(gateway: House) -> int:
    """The server counts what it does: once more, with a person's leave, to read the count."""
    async with gateway.client("alice") as client:
        call = asyncio.create_task(client.call_tool("odd__send", {"probe": id(object())}))
        await gateway.answer(await gateway.held("alice"), True)
        return sent(await call)


async def state(gateway: House, request: Request) -> State:
    return (await gateway.ask(gateway.app.approvals.get(request.id))).state


async def until(gateway: House, request: Request, wanted: State) -> None:
    async with asyncio.timeout(10):
        while await state(gateway, request) is not wanted:  # noqa: ASYNC110 - the store is asked as a person would
            await asyncio.sleep(0.02)


# -- holds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_approved_while_it_waits_it_runs(gateway: House, mode: Mode) -> None:
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async def go() -> None:
        async with gateway.client("claude", mode) as client:
            before = await times_sent(gateway)
            call = asyncio.create_task(client.call_tool("odd__send", {"to": mode}, progress_callback=hear))
            request = await gateway.held("claude")
            assert (request.groups, request.rules) == (frozenset({"dba"}), ("hold-send",))
            await gateway.answer(request, True)
            result = await call
            assert not result.is_error and sent(result) == before + 1
            assert await state(gateway, request) is State.USED

    asyncio.run(go())


@pytest.mark.parametrize("mode", MODES)
def test_a_waiting_client_hears_what_it_waits_for(gateway: House, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.net.mcp_waiting.PROGRESS_S", 0.1)
    heard: list[str] = []

    async def go() -> None:
        first = asyncio.Event()

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            heard.append(message or "")
            first.set()

        async with gateway.client("claude", mode) as client:
            call = asyncio.create_task(client.call_tool("odd__send", {"hear": mode}, progress_callback=hear))
            request = await gateway.held("claude")
            await asyncio.wait_for(first.wait(), 10)
            await gateway.answer(request, False)
            await call
            assert any(request.id in message and "dba" in message for message in heard)

    asyncio.run(go())


@pytest.mark.parametrize("mode", MODES)
def test_patience_over_then_approved_then_redeemed_once(gateway: House, mode: Mode) -> None:
    async def go() -> None:
        before = await times_sent(gateway)
        async with gateway.client("claude", mode) as client:
            arguments = {"to": f"later {mode}", "n": 1}
            result = await client.call_tool("odd__send", arguments)
            request = await gateway.held("claude")
            assert result.is_error and request.id in text(result) and "dba" in text(result)
            assert word(result) | {"link": "", "expires_at": 0} == {
                "status": "pending", "approval": request.id, "groups": ["dba"], "link": "", "expires_at": 0,
            }  # fmt: skip
            again = await client.call_tool("odd__send", arguments)  # asked again, it is the same request
            assert word(again)["approval"] == request.id
            await gateway.answer(request, True)

            other = await client.call_tool("odd__send", {**arguments, "n": 2})  # another call redeems nothing
            assert word(other)["status"] == "pending" and word(other)["approval"] != request.id

            redeemed = await client.call_tool("odd__send", dict(reversed(arguments.items())))
            assert not redeemed.is_error and sent(redeemed) == before + 1
            assert await state(gateway, request) is State.USED
            second = await client.call_tool("odd__send", arguments)
            assert word(second)["status"] == "pending" and word(second)["approval"] != request.id
            for waiting in (word(other)["approval"], word(second)["approval"]):
                await gateway.ask(gateway.app.approvals.withdraw(waiting, "the test is over"))

    asyncio.run(go())


def test_another_bearers_approval_redeems_nothing(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("claude") as claude, gateway.client("alice") as alice:
            pending = await claude.call_tool("odd__send", {"to": "mine"})
            request = await gateway.held("claude")
            await gateway.answer(request, True)
            other = await alice.call_tool("odd__send", {"to": "mine"})
            assert word(other)["status"] == "pending" and word(other)["approval"] != word(pending)["approval"]
            assert not (await claude.call_tool("odd__send", {"to": "mine"})).is_error
            await gateway.ask(gateway.app.approvals.withdraw(word(other)["approval"], "the test is over"))

    asyncio.run(go())


def test_refused_by_a_person(gateway: House) -> None:
    async def go() -> None:
        before = await times_sent(gateway)
        async with gateway.client("claude") as client:
            call = asyncio.create_task(client.call_tool("odd__send", {"to": "nobody"}))
            request = await gateway.held("claude")
            await gateway.answer(request, False)
            result = await call
            assert result.is_error and "bob: because" in text(result) and word(result)["code"] == "approval-refused"
        assert await times_sent(gateway) == before + 1

    asyncio.run(go())


def test_nobody_answers_in_time(gateway: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.app.approvals, "_timeout_s", 0.5)

    async def go() -> None:
        async with gateway.client("claude") as client:
            result = await client.call_tool("odd__send", {"to": "silence"})
            assert result.is_error and word(result)["code"] == "approval-expired"

    asyncio.run(go())


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_gives_up_withdraws_its_request(gateway: House, mode: Mode) -> None:
    async def go() -> None:
        async with gateway.client("claude", mode) as client:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(client.call_tool, "odd__send", {"give": f"up {mode}"})
                    request = await gateway.held("claude")
                    scope.cancel()
        await until(gateway, request, State.WITHDRAWN)

    asyncio.run(go())


def test_a_held_connect_is_pending_too(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("ward") as client:
            result = await client.call_tool("odd__echo", {"text": "hello"})
            request = await gateway.held("ward")
            assert word(result)["approval"] == request.id and request.title == "connect"
            await gateway.answer(request, True)
            assert text(await client.call_tool("odd__echo", {"text": "hello"})) == "hello"

    asyncio.run(go())


# -- trust ends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tool", "arguments"), [("odd__send", {"to": "late"}), ("odd__hang", {})])
def test_revoked_while_it_waits_it_ends_within_a_second(gateway: House, tool: str, arguments: dict[str, Any]) -> None:
    async def go() -> None:
        token = await gateway.fresh_token("claude")
        async with gateway.client("claude", token=token) as client:
            assert not (await client.call_tool("odd__echo", {"text": "x"})).is_error
            call = asyncio.create_task(client.call_tool(tool, arguments))
            await asyncio.sleep(0.3)
            assert not call.done()
            await gateway.ask(gateway.app.identity.revoke_token(token.split("_")[1]))
            async with asyncio.timeout(1.0):  # the promise itself, not a measurement
                result = await call
            assert result.is_error and word(result)["code"] == "revoked"
            with pytest.raises(MCPError):
                await client.call_tool("odd__echo", {"text": "x"})
        assert not [each for each in await gateway.ask(gateway.app.approvals.pending()) if each.principal == "claude"]

    asyncio.run(go())


# -- what comes back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tool", ["leak", "fail", "error", "person", "chatter"])
def test_no_canary_reaches_the_client(gateway: House, mode: Mode, tool: str) -> None:
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async def go() -> None:
        async with gateway.client("claude", mode) as client:
            result = await client.call_tool(f"odd__{tool}", {}, progress_callback=hear)
            shown = result.model_dump_json()
            assert "canary" not in shown and "Okafor" not in shown and "4111111111111111" not in shown
            assert "canary" not in "".join(heard)
            assert result.is_error == (tool in ("fail", "error"))

    asyncio.run(go())


def test_masked_structured_content_fits_the_schema_that_is_listed(gateway: House) -> None:
    """The official client checks it, and raises when it does not."""

    async def go() -> None:
        async with gateway.client("claude") as client:
            await client.list_tools()
            result = await client.call_tool("odd__person", {})
            assert result.structured_content == {"mail": "k***@l***.***", "card": "[card]", "name": "[personal]"}
            assert json.loads(text(result)) == result.structured_content

    asyncio.run(go())


def test_an_error_may_repeat_what_the_client_said(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            assert text(await client.call_tool("odd__fail", {"name": "Vera Okafor"})).startswith("no such customer: k***@l***.***")

    asyncio.run(go())


@pytest.mark.parametrize("tool", ["sample", "elicit"])
def test_what_the_server_asks_of_its_client_is_refused(gateway: House, tool: str) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            assert text(await client.call_tool(f"odd__{tool}", {})) == "refused"

    asyncio.run(go())


def test_the_servers_environment_is_its_own(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            names = (await client.call_tool("odd__env", {})).structured_content
            assert names is not None and "ODD_SECRET" in names["names"] and "GATEWAY_ONLY" not in names["names"]

    asyncio.run(go())


# -- servers that fail -------------------------------------------------------------------------------------------


async def echoes(client: Client) -> None:
    async with asyncio.timeout(15):
        while (await client.call_tool("odd__echo", {"text": "back"})).is_error:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def test_a_server_that_dies_is_an_error_and_comes_back(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            async with asyncio.timeout(10):
                result = await client.call_tool("odd__crash", {})
            assert result.is_error and text(result) == "refused: odd was lost before it answered"
            await echoes(client)

    asyncio.run(go())


def test_a_server_that_hangs_is_an_error_and_others_are_served(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            call = asyncio.create_task(client.call_tool("odd__hang", {}))
            assert text(await client.call_tool("odd__echo", {"text": "meanwhile"})) == "meanwhile"
            result = await call
            assert result.is_error and text(result) == "refused: odd did not answer within 3 s"

    asyncio.run(go())


def test_a_server_that_is_not_there(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            result = await client.call_tool("gone__anything", {})
            assert result.is_error and "gone is not running" in text(result)

    asyncio.run(go())


def test_garbage_beside_an_answer_does_no_harm(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            assert text(await client.call_tool("odd__garbage", {})) == "after all"

    asyncio.run(go())


def test_a_bearers_calls_are_one_recorded_session(gateway: House) -> None:
    async def go() -> None:
        token = await gateway.fresh_token("claude")
        async with gateway.client("claude", token=token) as client:
            await client.call_tool("odd__person", {"mark": "x"})
        proof = f"token:{token.split('_')[1]}"
        (session,) = [each for each in gateway.app.gate.sessions.values() if each.principal.proof == proof and each.resource.name == "odd"]
        assert (session.protocol, session.principal.id) == ("mcp", "claude")

    asyncio.run(go())
