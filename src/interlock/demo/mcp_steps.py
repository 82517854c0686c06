"""The story at the MCP door: claude with the official SDK, the same rules, and the desk's own tickets to compare with."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from mcp import Client

from interlock.demo.clients import ConsoleApi, mcp_client, text_of, tools_of
from interlock.demo.stage import RESOURCES, Stage, Step, claim, leaked, sensitive
from interlock.demo.tickets import Desk

_POLL_S = 0.1
_LOWER = "UPDATE orders SET status = lower(status)"


async def database(stage: Stage) -> str:
    bob = stage.console("bob")
    try:
        async with mcp_client(f"{stage.url}/mcp", stage.tokens["claude"]) as claude:
            await _look_around(stage, claude)
            await _query(stage, claude)
            customers = await stage.count("customers")
            no = await _held(stage, claude, bob, "DELETE FROM customers", False, "No. Ask the customers first.")
            claim(no.is_error and "Ask the customers first" in text_of(no), "claude hears that bob said no, and why")
            claim(await stage.count("customers") == customers, "no customer is gone")
            yes = await _held(stage, claude, bob, _LOWER, True, "harmless")
            claim(not yes.is_error and f"UPDATE {await stage.count('orders')}" in text_of(yes), "the approved UPDATE runs")
            drop = await _call(stage, claude, "query", resource=RESOURCES[0], sql="DROP TABLE orders")
            claim(
                drop.is_error and "no-ddl" in text_of(drop) and "42501" in text_of(drop), "DROP TABLE is refused by the rule that psql met"
            )
            claim(await stage.count("orders") > 0, "the table is still there")
    finally:
        await bob.close()
    return "rows masked; DELETE held and refused by bob; UPDATE held, approved and run; DROP refused by no-ddl"


async def tickets(stage: Stage) -> str:
    desk = Desk()  # the same tickets as the server's, for comparison
    told = [(number, sensitive([ticket.text, ticket.customer])) for number, ticket in desk.tickets.items() if number in (1, 2)]
    hidden = set[str]().union(*(found for _, found in told))
    claim(len(hidden) >= 4, "the tickets hold what must be masked")
    async with mcp_client(f"{stage.url}/mcp", stage.tokens["claude"]) as claude:
        for number, _ in told:
            ticket = await _call(stage, claude, "tickets__get_ticket", id=number)
            everything = text_of(ticket) + json.dumps(ticket.structured_content)
            claim(not ticket.is_error and desk.tickets[number].title in everything, "claude reads the ticket")
            claim(leaked(everything, hidden) == 0, "no e-mail address, phone or card number of the ticket reaches claude")
        refused = await _call(stage, claude, "tickets__delete_ticket", id=1)
        claim(refused.is_error and "agents-keep-tickets" in text_of(refused), "delete_ticket is refused, and names its rule")
        again = await claude.call_tool("tickets__get_ticket", {"id": 1})
        claim(not again.is_error, "the ticket is still there")
    return f"an upstream server's answers masked ({len(hidden)} values); delete_ticket refused by agents-keep-tickets"


async def _look_around(stage: Stage, claude: Client) -> None:
    tools = tools_of((await claude.list_tools()).tools)
    stage.teller.types("claude", "tools/list")
    stage.teller.shows("  ".join(tools))
    claim(
        {"query", "list_resources", "describe_database", "tickets__get_ticket", "tickets__search_tickets"} <= set(tools),
        "claude finds its tools",
    )
    claim("tickets__delete_ticket" not in tools, "a tool that claude may never call is not offered")
    listed = (await _call(stage, claude, "list_resources")).structured_content
    claim({each["name"] for each in (listed or {}).get("resources", [])} == set(RESOURCES), "claude finds both resources")
    described = await _call(stage, claude, "describe_database", resource=RESOURCES[0])
    claim(not described.is_error and "amount_cents" in text_of(described), "claude learns the database's schema")


async def _query(stage: Stage, claude: Client) -> None:
    sql = "SELECT name, email, card FROM customers ORDER BY id LIMIT 3"
    rows = await stage.rows(sql)
    hidden = {row[column] for row in rows for column in ("email", "card") if row[column]}
    seen = await _call(stage, claude, "query", resource=RESOURCES[0], sql=sql)
    everything = text_of(seen) + json.dumps(seen.structured_content, ensure_ascii=False)
    claim(not seen.is_error and all(row["name"] in everything for row in rows), "claude gets the rows")
    claim(leaked(everything, hidden) == 0, "no real e-mail address or card number reaches claude")


async def _held(stage: Stage, claude: Client, bob: ConsoleApi, sql: str, approve: bool, note: str) -> Any:
    """The call waits; bob finds it among what waits for him, and answers; what claude gets then."""
    stage.teller.types("claude", f'query {{"sql": "{sql}"}}')
    call = asyncio.create_task(claude.call_tool("query", {"resource": RESOURCES[0], "sql": sql}))
    try:
        request = await _waiting(bob, sql, call)
        stage.teller.shows(f"held: {request['id']} waits for {', '.join(request['groups'])}: {'; '.join(request['reasons'])}")
        claim(request["owner"] == "alice", "bob sees for whom claude acts")
        stage.teller.types("bob", f"{'approves' if approve else 'refuses'} {request['id']}: {note}")
        status, _ = await bob.answer(request["id"], approve, note)
        claim(status == 200, "bob may answer it")
        result = await call
    finally:
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    stage.teller.shows(_readable(result))
    return result


async def _waiting(bob: ConsoleApi, sql: str, call: asyncio.Task[Any]) -> dict[str, Any]:
    while not call.done():
        for request in (await bob.get("/api/approvals"))["approvals"]:
            if request["principal"] == "claude" and request["text"] == sql:
                return dict(request)
        await asyncio.sleep(_POLL_S)
    claim(False, f"claude's {sql.split()[0]} without WHERE is held: {text_of(call.result())}")
    raise AssertionError


async def _call(stage: Stage, claude: Client, tool: str, **arguments: Any) -> Any:
    stage.teller.types("claude", f"{tool} {json.dumps(arguments) if arguments else ''}")
    result = await claude.call_tool(tool, arguments)
    stage.teller.shows(_readable(result))
    return result


def _readable(result: Any) -> str:
    """A tool's result for people: rows as lines, anything else as the text that claude reads."""
    match result.structured_content:
        case {"columns": columns, "rows": rows, "tag": tag}:
            lines = [" | ".join(columns), *(" | ".join("∅" if cell is None else cell for cell in row) for row in rows), tag]
            return "\n".join(line for line in lines if line)
        case {"resources": found}:
            return "\n".join(f"{each['name']}: {each['kind']}, {', '.join(each['labels'])}" for each in found)
        case _:
            return text_of(result)


DATABASE = Step("mcp", "claude over MCP: the same rules at another door", database, 60.0)
TICKETS = Step("mcp-tickets", "an upstream MCP server, its tools decided and its answers masked", tickets)
