"""A gateway without doors: real stations on a folder, the console's app, and clients that call it in memory."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
from starlette.applications import Starlette

from interlock.approval import Approvals
from interlock.config import LimitsConfig, PrincipalConfig
from interlock.console import Console, create
from interlock.evidence import Direction, Evidence, Keys
from interlock.exchange import Effect, Fact, Held, Operation, Outcome, Permit, Refusal, Resource, Session
from interlock.gate import Gate, connect_operation
from interlock.identity import Directory, Identity, Proof
from interlock.limits import Limits
from interlock.masking import Masking, MaskingConfig
from interlock.policy import PolicyFile
from interlock.resources import OWN, Registry
from interlock.store import Bus, Store

URL = "http://localhost:8080"
POLICY = """
@id("staff-connect") permit (principal in Group::"staff", action == Action::"connect", resource);
@id("staff-view") permit (principal in Group::"staff", action == Action::"console.view", resource == Resource::"interlock");
@id("dba-console")
permit (principal in Group::"dba", action in [Action::"console.replay", Action::"approve"], resource == Resource::"interlock");
@id("ops-console")
permit (principal in Group::"ops", action in [Action::"console.revoke", Action::"console.issue"], resource == Resource::"interlock");
@id("audit-replay")
permit (principal in Group::"audit", action == Action::"console.replay", resource == Resource::"interlock");
@id("two-pairs-of-eyes") @hold("dba") @reason("an auditor looks at recordings only with a dba's consent")
forbid (principal in Group::"audit", action == Action::"console.replay", resource == Resource::"interlock");
@id("staff-sql")
permit (principal in Group::"staff", action in [Action::"sql.select", Action::"sql.delete"], resource in Resource::"orders-db");
@id("no-where") @hold("dba") @reason("DELETE without WHERE")
forbid (principal, action == Action::"sql.delete", resource) when { !context.has_where };
"""
PEOPLE = (
    PrincipalConfig("alice", groups=frozenset({"staff", "engineering"})),
    PrincipalConfig("bob", groups=frozenset({"staff", "dba"})),
    PrincipalConfig("olga", groups=frozenset({"staff", "ops"})),
    PrincipalConfig("ann", groups=frozenset({"staff", "audit"})),
    PrincipalConfig("eve"),
    PrincipalConfig("claude", kind="agent", groups=frozenset({"staff"}), owner="bob"),
)
ORDERS = Resource("orders-db", "lines", frozenset({"env:test"}), {"customers.email": "email"})


def lines(direction: Direction, data: bytes) -> list[str]:
    """The made-up protocol `lines`: recorded bytes are text."""
    return data.decode().splitlines()


@dataclass
class House:
    gate: Gate
    identity: Identity
    store: Store
    app: Starlette
    now: list[float]

    async def token(self, principal: str, *audiences: str) -> str:
        return (await self.identity.issue(principal, audiences or ("console",)))[0]

    def client(self, token: str = "", **headers: str) -> httpx2.AsyncClient:
        """A program with a bearer token, or (without one) a browser: cookies, and no redirects by itself."""
        more = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url=URL, headers={**more, **headers})

    async def program(self, principal: str) -> httpx2.AsyncClient:
        return self.client(await self.token(principal))

    async def browser(self, principal: str) -> httpx2.AsyncClient:
        """Somebody who has signed in through the page."""
        client = self.client(Origin=URL)
        page = await client.get("/signin")
        answer = await client.post("/signin", data={"csrf": form_token(page.text), "token": await self.token(principal)})
        assert answer.status_code == 303, answer.text
        return client

    async def session(self, principal: str) -> Session:
        """A live session of the made-up protocol."""
        who = await self.gate.identify(Proof.of(await self.token(principal, "postgres"), "postgres"))
        session = self.gate.open(who, ORDERS.name, "lines", "test")
        await self.gate.admit(session, [connect_operation(session.resource)])
        return session

    async def ask(self, session: Session, text: str, *, where: bool = True) -> Permit | Held | Refusal:
        """Ask to run a text: a DELETE if it says so, else a SELECT."""
        action = "sql.delete" if "DELETE" in text else "sql.select"
        facts: dict[str, Fact] = {
            "has_where": where,
            "statement_count": 1,
            "statement_kinds": frozenset({action[4:]}),
            "tables": frozenset({"public.customers"}),
            "functions": frozenset(),
        }
        effects = (Effect(action, "Table", "public.customers"),)
        operation = Operation("lines", session.resource, effects, facts, text.encode(), text.split(" WHERE")[0], text)
        return (await self.gate.admit(session, [operation]))[0]

    async def run(self, session: Session, text: str, reply: str) -> None:
        permit = await self.ask(session, text)
        assert not isinstance(permit, Held | Refusal), permit
        permit.apply(text.encode())
        self.gate.evidence.record(session.id, "down", permit.exchange.id, reply.encode())
        permit.exchange.rows = reply.count("row:")
        permit.exchange.masked = {"email": 2} if "masked" in reply else {}
        self.gate.settle(permit, Outcome.DONE)


def form_token(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found, page
    return found[1]


async def explain(principal: str, resource: str, text: str) -> dict[str, object]:
    return {"decision": {"verdict": "allow"}, "asked": [principal, resource, text]}


@contextlib.asynccontextmanager
async def house(folder: Path, policy: str = POLICY) -> AsyncIterator[House]:
    now = [1_790_000_000.0]

    def clock() -> float:
        return now[0]

    (folder / "policy.cedar").write_text(policy)
    store = await Store.open(folder)
    bus = Bus(store, clock)
    await bus.start()
    identity = Identity(store, bus, Directory(PEOPLE), (), b"i" * 32, clock)
    await identity.load()
    evidence = await Evidence.start(folder / "evidence", Keys.load_or_create(folder / "keys"), clock=clock)
    gate = Gate(
        identity=identity,
        registry=Registry([ORDERS, OWN]),
        policy=PolicyFile(folder / "policy.cedar"),
        approvals=Approvals(store, bus, b"a" * 32, 300, clock),
        limits=Limits(LimitsConfig()),
        masking=Masking(MaskingConfig(), b"m" * 32),
        evidence=evidence,
        clock=clock,
        digest_key=b"d" * 32,
        contact="the platform team",
        console_url=URL,
    )
    identity.on_revoked(lambda _: gate.sweep())
    context = Console(gate, {"lines": lines}, explain, URL, "1.2.3", b"c" * 32, clock)
    try:
        yield House(gate, identity, store, Starlette(routes=create(context)), now)
    finally:
        await evidence.stop()
        await bus.stop()
        await store.close()
