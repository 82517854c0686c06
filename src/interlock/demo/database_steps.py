"""The story at the PostgreSQL door: an unmodified psql, and the database asked directly whether it is true."""

from __future__ import annotations

import asyncio
import time

from interlock.demo.stage import Stage, Step, claim, leaked, sensitive

_ROWS = "FROM customers ORDER BY id LIMIT 5"
_POLL_S = 0.1
_END_S = 1.0
"""A revoked session ends within so many seconds."""


async def masked(stage: Stage) -> str:
    query = f"SELECT id, name, email, phone, card, notes {_ROWS}"
    hidden, names = await _truth(stage)
    stage.teller.types("alice", query)
    seen = await stage.psql("alice").run(query)
    stage.teller.shows(seen)
    claim(all(name in seen for name in names), f"alice sees all {len(names)} names {_errors(seen)}".strip())
    claim(leaked(seen, hidden) == 0, "no real e-mail address, phone or card number of these rows reaches alice")
    stage.first_masked_s = time.monotonic() - stage.started_at
    return f"{len(names)} rows with their names; none of the {len(hidden)} e-mails, phone and card numbers which the database holds in them"


async def around(stage: Stage) -> str:
    """A value keeps its class through aliases, expressions, subqueries and COPY."""
    hidden, _ = await _truth(stage)
    tries = (
        f"SELECT upper(email) AS hello, left(phone, 14) AS there, card || '' AS friend {_ROWS}",
        f"SELECT array_agg(who.x) FROM (SELECT coalesce(email, card) AS x {_ROWS}) AS who",  # noqa: S608 - the story's own
        f"COPY (SELECT email, phone, card {_ROWS}) TO STDOUT",
    )
    for query in tries:
        stage.teller.types("alice", query)
        seen = await stage.psql("alice").run(query)
        stage.teller.shows(seen)
        claim("ERROR" not in seen, f"these queries are allowed {_errors(seen)}")
        claim(leaked(seen, hidden) == 0, "no alias, expression, subquery or COPY shows a hidden value")
    return f"{len(tries)} detours, nothing leaks"


async def approved(stage: Stage) -> str:
    """The transaction is rolled back by alice herself, so that the shop stays whole for whoever explores it afterwards."""
    before = await stage.count("orders")
    alice, bob = stage.console("alice"), stage.console("bob")
    try:
        async with stage.psql("alice").open() as psql:
            stage.teller.types("alice", "BEGIN; DELETE FROM orders;")
            psql.write("BEGIN;\nDELETE FROM orders;\nSELECT count(*) AS orders_left FROM orders;\nROLLBACK;\n")
            request = (await psql.until(r"approval (ap-\w+)|DELETE \d|ERROR")).group(1)
            claim(request is not None, f"the DELETE is held: {psql.said.strip()}")
            stage.teller.shows(_lines(psql.said, "NOTICE", "HINT"))
            claim(await stage.count("orders") == before, "no row is gone while the DELETE waits")
            running = await stage.upstream("SELECT count(*) FROM pg_stat_activity WHERE usename = 'interlock' AND query ILIKE 'delete%';")
            claim(running == "0", "the database has not even seen the DELETE yet")
            stage.teller.proven(f"{before:,} orders are still there; the DELETE has not reached the database")

            status, _ = await alice.answer(request, True, "it is fine, trust me")
            claim(status == 403, "alice cannot approve her own request")
            stage.teller.proven("alice herself cannot approve it")

            asked = await bob.get(f"/api/approvals/{request}")
            claim("DELETE FROM orders" in asked["text"] and asked["rules"] == ["no-where"], "bob reads what he is asked for, and why")
            stage.held_session = asked["session"]
            stage.teller.types("bob", f"approves {request} at the console: {asked['text']} ({'; '.join(asked['reasons'])})")
            status, answered = await bob.answer(request, True, "agreed, in a transaction")
            claim(status == 200 and answered["state"] == "approved", "bob's approval counts")

            psql.write_eof()
            said = await psql.rest()
            stage.teller.shows(said[said.rindex("DELETE ") :])
    finally:
        await alice.close()
        await bob.close()
    claim(f"DELETE {before}" in said, "the approved DELETE runs, in alice's open transaction")
    claim("ROLLBACK" in said and await stage.count("orders") == before, "her ROLLBACK brings every row back")
    return f"held by no-where as {request}; bob approved; DELETE {before} ran; rolled back, so that the shop stays whole for you"


async def blocked(stage: Stage) -> str:
    stage.teller.types("claude", "DROP TABLE customers")
    async with stage.psql("claude").open() as psql:
        psql.write("DROP TABLE customers;\nSELECT count(*) AS customers FROM customers;\n")
        answer = (await psql.until("ERROR|held:|DROP TABLE")).group()
        claim(answer == "ERROR", f"claude's DROP TABLE is refused at once: {psql.said.strip()}")
        psql.write_eof()
        said = await psql.rest()
    stage.teller.shows(said)
    claim("42501" in said, "claude's DROP TABLE is refused with SQLSTATE 42501")
    claim("no-ddl" in said, "the refusal names its rule")
    there = await stage.count("customers")
    claim(there > 0 and str(there) in said, "the table is still there, and claude's connection lives on")
    return "refused with 42501 by rule no-ddl; the table is there, the connection lives on"


async def predicates(stage: Stage) -> str:
    [who] = await stage.rows("SELECT name, email FROM customers WHERE id = 3")
    name, email = who["name"], who["email"]
    stage.teller.types("alice", "SELECT id, name FROM customers WHERE email = '…an address that she was told…'")
    found = await stage.psql("alice").run(f"SELECT id, name FROM customers WHERE email = '{email}'")  # noqa: S608 - no quote in it
    stage.teller.shows(found)
    claim(name in found, "equality with a known value finds the customer")
    guess = "SELECT count(*) FROM customers WHERE email LIKE 'a%'"
    stage.teller.types("alice", guess)
    refused = await stage.psql("alice").run(guess)
    stage.teller.shows(refused)
    claim("42501" in refused and "filter" in refused, "guessing a hidden value by LIKE is refused")
    return "filter.equal is hers, filter is not: what is masked cannot be guessed letter by letter"


async def revoked(stage: Stage) -> str:
    """The statement sleeps, so that psql hears of the end at once instead of at its next statement."""
    token, token_id = stage.revocable
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'interlock' AND state = 'active' AND query LIKE '%pg_sleep%';"
    bob = stage.console("bob")
    try:
        async with stage.psql("alice", token).open() as psql:
            psql.write("SELECT 'here' AS alice_is;\nSELECT pg_sleep(60);\n")
            await psql.until("here")
            await _becomes(stage, sleeping, "1")
            stage.teller.types("alice", "SELECT pg_sleep(60)   -- her laptop was stolen a minute ago")
            stage.teller.types("bob", f"revokes token {token_id} at the console")
            since = time.monotonic()
            await bob.delete(f"/api/tokens/{token_id}")
            await psql.until("FATAL|closed|terminat")
            took = time.monotonic() - since
            stage.teller.shows(_lines(psql.said, "FATAL", "HINT", "DETAIL"))
        claim(took < _END_S, f"the open session ends within {_END_S:.0f} s (it took {took:.1f} s)")
        await _becomes(stage, sleeping, "0")
        again = await stage.psql("alice", token).run("SELECT 1 AS still_in")
        claim("FATAL" in again and "still_in" not in again, "the revoked token opens no new session")
    finally:
        await bob.close()
    return (
        f"her session ended {took * 1000:.0f} ms after the revocation, its query was cancelled upstream, the token opens nothing any more"
    )


async def _becomes(stage: Stage, query: str, wanted: str) -> None:
    """Wait until the database says so; the step's deadline bounds it."""
    while await stage.upstream(query) != wanted:  # noqa: ASYNC110 - it is far away, in the database
        await asyncio.sleep(_POLL_S)


async def _truth(stage: Stage) -> tuple[set[str], list[str]]:
    """What the database itself holds in the rows of the story: the values that nobody may see, and the names."""
    rows = await stage.rows(f"SELECT * {_ROWS}")
    hidden = {row[column] for row in rows for column in ("email", "phone", "card") if row[column]}
    return hidden | sensitive(row["notes"] for row in rows), [row["name"] for row in rows]


def _errors(said: str) -> str:
    return _lines(said, "ERROR", "FATAL", "psql: error", "DETAIL")


def _lines(said: str, *beginnings: str) -> str:
    return "\n".join(line for line in said.splitlines() if line.startswith(beginnings))


MASKED = Step("masked", "alice asks for customers: the rows come back, what is sensitive is masked", masked)
AROUND = Step("no-way-around", "alice tries to get around it", around)
APPROVED = Step("held-and-approved", "alice's DELETE without WHERE waits until bob agrees", approved)
BLOCKED = Step("blocked", "claude, an agent, tries to drop a table", blocked)
PREDICATES = Step("predicates", "what is masked cannot be guessed either", predicates)
REVOKED = Step("revoked", "bob revokes alice's token while her query runs", revoked)
