"""The MCP door on real servers: PostgreSQL, and the support desk over stdio and over HTTP with a bearer token."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import uvicorn
from mcp_types import CallToolResult
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from interlock.approval import State
from interlock.demo.database import EmbeddedPostgres
from interlock.demo.tickets import Desk, serve
from tests.net.mcp_house import MODES, House, Mode, house, text, word

BEARER = secrets.token_hex(16)
CONFIG = """
data: ./data
postgres: {{host: 127.0.0.1, port: 0}}
http: {{host: 127.0.0.1, port: 0}}
plaintext_loopback: true
policy: ./policy.cedar
principals:
  - {{id: alice, kind: user, groups: [engineering]}}
  - {{id: bob, kind: user, groups: [dba]}}
  - {{id: eve, kind: user, groups: []}}
  - {{id: claude, kind: agent, owner: alice, groups: [agents, engineering]}}
resources:
  - name: orders-db
    kind: postgres
    labels: {{env: dev}}
    host: {host}
    port: {port}
    database: shop
    tls: disable
    username: interlock
    password: env:ORDERS_DB_PASSWORD
    classes: {{customers.email: email, customers.phone: phone, customers.card: card}}
  - name: tickets
    kind: mcp
    labels: {{env: dev}}
    command: [{python}, -m, interlock.demo.tickets]
  - {{name: desk, kind: mcp, labels: {{env: dev}}, url: "http://127.0.0.1:{desk}/mcp", token: env:DESK_TOKEN}}
masking: {{transforms: {{email: partial, "*": redact}}}}
approval: {{timeout_s: 60, contact: "#dba"}}
"""
POLICY = """
@id("engineering") permit (principal in Group::"engineering", action, resource) unless { resource is DataClass };
@id("no-where") @hold("dba") @reason("DELETE or UPDATE without WHERE")
forbid (principal, action in [Action::"sql.delete", Action::"sql.update"], resource) when { !context.has_where };
@id("no-ddl") @reason("agents do not change schemas") forbid (principal is Agent, action in Action::"sql.ddl", resource);
"""
asked: list[str] = []
"""The Authorization headers that the desk got."""


@pytest.fixture(scope="module")
def desk() -> Iterator[int]:
    """The support desk over HTTP: nobody without the bearer token comes in."""
    app = serve(Desk()).streamable_http_app()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"").decode()
            asked.append(given)
            if given != f"Bearer {BEARER}":
                await PlainTextResponse("who are you?", 401)(scope, receive, send)
                return
        await app(scope, receive, send)

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(guarded, log_config=None, lifespan="on"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def gateway(postgres: EmbeddedPostgres, desk: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    config = CONFIG.format(host=postgres.host, port=postgres.port, python=sys.executable, desk=desk)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ORDERS_DB_PASSWORD", postgres.password)
        environment.setenv("DESK_TOKEN", BEARER)
        with house(tmp_path_factory.mktemp("gateway"), config, POLICY) as built:
            yield built


async def query(client: Any, sql: str, **more: Any) -> CallToolResult:
    result = await client.call_tool("query", {"resource": "orders-db", "sql": sql, **more})
    assert isinstance(result, CallToolResult)
    return result


def rows(result: CallToolResult) -> list[list[str | None]]:
    assert not result.is_error and result.structured_content is not None, text(result)
    assert json.loads(text(result)) == result.structured_content
    return list(result.structured_content["rows"])


@pytest.mark.parametrize("mode", MODES)
def test_an_agents_day(gateway: House, mode: Mode) -> None:
    async def go() -> None:
        async with gateway.client("claude", mode) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert {"query", "describe_database", "tickets__get_ticket", "desk__search_tickets"} <= names
            found = await client.call_tool("list_resources", {})
            assert [each["name"] for each in found.structured_content["resources"]] == ["orders-db", "tickets", "desk"]
            described = await client.call_tool("describe_database", {"resource": "orders-db"})
            assert ["public", "customers", "table", "email", "text", "f"] in rows(described)
            (row,) = rows(await query(client, "SELECT id, email, phone, card FROM customers ORDER BY id LIMIT 1"))
            assert row[0] == "1" and "***@" in str(row[1]) and row[2:] == ["[phone]", "[card]"]

    asyncio.run(go())


def test_rows_are_bounded_and_say_so(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("alice") as client:
            some = await query(client, "SELECT id FROM orders", max_rows=7)
            assert len(rows(some)) == 7 and some.structured_content is not None and some.structured_content["truncated"]
            assert len(rows(await query(client, "SELECT id FROM orders"))) == 100

    asyncio.run(go())


def test_ddl_is_refused_with_rule_and_whom_to_ask(gateway: House, postgres: EmbeddedPostgres) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            result = await query(client, "DROP TABLE customers")
            assert result.is_error
            assert "agents do not change schemas" in text(result) and "no-ddl" in text(result) and "#dba" in text(result)
            assert rows(await query(client, "SELECT count(*) FROM customers")) == [["400"]]

    asyncio.run(go())


def test_errors_are_masked_and_readable(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            wrong = await query(client, "SELEC 1")
            assert wrong.is_error and word(wrong)["sqlstate"] == "42601"
            cast = await query(client, "SELECT email::int FROM customers WHERE id = 1")
            assert cast.is_error and "@" not in text(cast)

    asyncio.run(go())


def test_whoever_has_no_right_learns_nothing(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("eve") as client:
            assert (await client.list_tools()).tools == []
            there = await query(client, "SELECT 1")
            absent = await client.call_tool("query", {"resource": "orders-dc", "sql": "SELECT 1"})
            assert there.is_error and absent.is_error
            assert text(there).partition("\n")[0] == text(absent).partition("\n")[0]

    asyncio.run(go())


def test_no_setting_outlives_a_question(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("alice") as client:
            await query(client, "SET application_name = 'canary'")
            await query(client, "BEGIN")
            assert rows(await query(client, "SHOW application_name")) != [["canary"]]

    asyncio.run(go())


@pytest.mark.parametrize("mode", MODES)
def test_a_held_delete_is_pending_then_redeemed_once(gateway: House, mode: Mode) -> None:
    async def go() -> None:
        async with gateway.client("alice") as alice:
            assert not (await query(alice, f"CREATE TABLE scratch_{mode} AS SELECT 1 AS a UNION SELECT 2")).is_error
        async with gateway.client("claude", mode) as client:
            delete = f"DELETE FROM scratch_{mode}"
            pending = await query(client, delete)
            request = await gateway.held("claude")
            assert word(pending)["approval"] == request.id and word(pending)["groups"] == ["dba"]
            await gateway.answer(request, True)
            other = await query(client, delete + " -- another text")
            assert word(other)["status"] == "pending" and word(other)["approval"] != request.id
            redeemed = await query(client, delete)
            assert redeemed.structured_content is not None and redeemed.structured_content["tag"] == "DELETE 2"
            assert (await gateway.ask(gateway.app.approvals.get(request.id))).state is State.USED
            again = await query(client, delete)
            assert word(again)["status"] == "pending" and word(again)["approval"] != request.id
            for waiting in (word(other)["approval"], word(again)["approval"]):
                await gateway.ask(gateway.app.approvals.withdraw(waiting, "the test is over"))
        async with gateway.client("alice") as alice:
            await query(alice, f"DROP TABLE scratch_{mode}")

    asyncio.run(go())


def test_a_person_refuses(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            call = asyncio.create_task(query(client, "DELETE FROM orders"))
            await gateway.answer(await gateway.held("claude"), False)
            result = await call
            assert result.is_error and "bob" in text(result)
            assert rows(await query(client, "SELECT count(*) FROM orders")) == [["1600"]]

    asyncio.run(go())


def test_a_client_that_gives_up_withdraws(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("claude") as client:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(query, client, "DELETE FROM orders")
                    request = await gateway.held("claude")
                    scope.cancel()
        async with asyncio.timeout(10):
            while (await gateway.ask(gateway.app.approvals.get(request.id))).state is not State.WITHDRAWN:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    asyncio.run(go())


def test_approved_while_it_waits_it_runs_once(gateway: House) -> None:
    async def go() -> None:
        async with gateway.client("alice") as client:
            update = "UPDATE orders SET status = status"
            call = asyncio.create_task(query(client, update))
            await gateway.answer(await gateway.held("alice"), True)
            result = await call
            assert result.structured_content is not None and result.structured_content["tag"] == "UPDATE 1600"
            again = asyncio.create_task(query(client, update))
            request = await gateway.held("alice")
            await gateway.answer(request, False)
            assert (await again).is_error

    asyncio.run(go())


def test_revoked_while_a_query_runs_it_ends_within_a_second(gateway: House) -> None:
    async def go() -> None:
        token = await gateway.fresh_token("alice")
        async with gateway.client("alice", token=token) as client:
            call = asyncio.create_task(query(client, "SELECT pg_sleep(30)"))
            await asyncio.sleep(1.0)
            assert not call.done()
            await gateway.ask(gateway.app.identity.revoke_token(token.split("_")[1]))
            async with asyncio.timeout(1.0):  # the promise itself
                result = await call
            assert result.is_error and word(result)["code"] == "revoked"

    asyncio.run(go())


@pytest.mark.parametrize("resource", ["tickets", "desk"])
@pytest.mark.parametrize("mode", MODES)
def test_the_desk_over_stdio_and_http(gateway: House, resource: str, mode: Mode) -> None:
    asked.clear()

    async def go() -> None:
        async with gateway.client("claude", mode) as client:
            await client.list_tools()
            ticket = await client.call_tool(f"{resource}__get_ticket", {"id": 1})
            assert not ticket.is_error and ticket.structured_content is not None
            assert ticket.structured_content["id"] == 1 and "***@" in ticket.structured_content["customer"]
            assert json.loads(text(ticket)) == ticket.structured_content
            missing = await client.call_tool(f"{resource}__get_ticket", {"id": 999})
            assert missing.is_error and "999" in text(missing)

    asyncio.run(go())
    assert set(asked) <= {f"Bearer {BEARER}"} and (resource == "tickets" or asked)
