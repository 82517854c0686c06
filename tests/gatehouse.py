"""A gate with its real stations on a folder, and a made-up protocol in memory: one line is one statement, one row."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interlock.approval import Approvals
from interlock.config import LimitsConfig, PrincipalConfig
from interlock.evidence import Evidence, Keys
from interlock.exchange import Cell, Column, Durability, Effect, Held, Operation, Permit, Principal, Refusal, Resource, Row, Session
from interlock.gate import Gate, connect_operation
from interlock.identity import Directory, Identity, Proof
from interlock.limits import Limits
from interlock.masking import Masking, MaskingConfig
from interlock.policy import PolicyFile
from interlock.resources import Registry
from interlock.store import Bus, Store

POLICY = """
@id("staff")
permit (principal in Group::"staff", action in [Action::"session", Action::"read", Action::"write"], resource in Label::"env:test");
@id("agents") permit (principal is Agent, action in [Action::"session", Action::"read", Action::"write"], resource);
@id("no-where") @hold("dba") @reason("DELETE without WHERE")
forbid (principal, action == Action::"sql.delete", resource) when { !context.has_where };
@id("no-secrets") @reason("nobody reads secrets") forbid (principal, action, resource == Table::"lines-db/public.secrets");
@id("fraud") permit (principal in Group::"fraud", action == Action::"reveal", resource == DataClass::"email");
"""
PEOPLE = (
    PrincipalConfig("alice", groups=frozenset({"staff"})),
    PrincipalConfig("bob", groups=frozenset({"staff", "dba"})),
    PrincipalConfig("fay", groups=frozenset({"staff", "fraud"})),
    PrincipalConfig("eve"),
    PrincipalConfig("claude", kind="agent", owner="alice"),
    PrincipalConfig("stray", kind="agent", owner="eve"),
)
LINES = Resource(
    "lines-db",
    "lines",
    frozenset({"env:test"}),
    {"customers.email": "email"},
    settings={"username": "gw", "password": "env:LINES_PASSWORD"},
)


@dataclass(frozen=True)
class LineShape:
    """A reply of the made-up protocol: a row per line, cells between bars."""

    columns: Sequence[Column]

    def split(self, piece: bytes) -> list[Row]:
        return [list(line.split(b"|")) for line in piece.split(b"\n")[:-1]]

    def join(self, rows: Sequence[Row]) -> bytes:
        return b"".join(b"|".join(cell or b"" for cell in row) + b"\n" for row in rows)

    def decode(self, column: Column, cell: bytes) -> str | None:
        return cell.decode()

    def encode(self, column: Column, text: str) -> Cell:
        return text.encode()


NAME = Column("name", origin="public.customers.name", sources=frozenset({"public.customers.name"}))
EMAIL = Column("mail", origin="public.customers.email", sources=frozenset({"public.customers.email"}))
CUSTOMERS = LineShape((NAME, EMAIL))


@dataclass
class House:
    gate: Gate
    identity: Identity
    folder: Path
    now: list[float] = field(default_factory=lambda: [1_790_000_000.0])

    async def principal(self, name: str) -> Principal:
        token, _ = await self.identity.issue(name, ["postgres"])
        return await self.gate.identify(Proof.of(token, "postgres"))

    async def session(self, name: str) -> tuple[Session, Permit]:
        """A connected session and its connect permit."""
        session = self.gate.open(await self.principal(name), LINES.name, "lines", "test")
        (permit,) = await self.gate.admit(session, [connect_operation(session.resource)])
        assert not isinstance(permit, Held | Refusal), permit
        return session, permit

    async def ask(self, session: Session, *texts: str) -> list[Permit | Held | Refusal]:
        return await self.gate.admit(session, [operation(session.resource, text) for text in texts])

    async def permit(self, session: Session, text: str) -> Permit:
        (answer,) = await self.ask(session, text)
        assert not isinstance(answer, Held | Refusal), answer
        return answer

    async def held(self, session: Session, text: str) -> Held:
        (answer,) = await self.ask(session, text)
        assert isinstance(answer, Held), answer
        return answer


def operation(resource: Resource, text: str, **more: object) -> Operation:
    """`VERB TABLE [WHERE …]` as an operation."""
    verb, table, *rest = text.split(" ")
    facts = {
        "has_where": bool(rest),
        "statement_count": 1,
        "statement_kinds": frozenset({verb}),
        "tables": frozenset({f"public.{table}"}),
        "functions": frozenset[str](),
    }
    effects = (Effect(f"sql.{verb}", "Table", f"public.{table}"),)
    return Operation("lines", resource, effects, facts, text.encode(), f"{verb} {table}", text, **more)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def house(folder: Path, *, durability: Durability = Durability.STRICT_REQUEST, timeout_s: float = 300) -> AsyncIterator[House]:
    now = [1_790_000_000.0]

    def clock() -> float:
        return now[0]

    (folder / "policy.cedar").write_text(POLICY)
    store = await Store.open(folder)
    bus = Bus(store, clock)
    await bus.start()
    identity = Identity(store, bus, Directory(PEOPLE), (), b"i" * 32, clock)
    await identity.load()
    evidence = await Evidence.start(folder / "evidence", Keys.load_or_create(folder / "keys"), clock=clock)
    resource = Resource(LINES.name, LINES.kind, LINES.labels, LINES.classes, durability, LINES.settings)
    gate = Gate(
        identity=identity,
        registry=Registry([resource]),
        policy=PolicyFile(folder / "policy.cedar"),
        approvals=Approvals(store, bus, b"a" * 32, timeout_s, clock),
        limits=Limits(LimitsConfig(sessions_per_principal=3)),
        masking=Masking(MaskingConfig(), b"m" * 32),
        evidence=evidence,
        clock=clock,
        digest_key=b"d" * 32,
        contact="#dba",
        console_url="http://console",
    )
    identity.on_revoked(lambda _: gate.sweep())
    try:
        yield House(gate, identity, folder, now)
    finally:
        for session in list(gate.sessions.values()):
            if not evidence.failed:
                await gate.close(session, "the test is over")
        await evidence.stop()
        await bus.stop()
        await store.close()
