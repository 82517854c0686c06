"""A whole gateway in front of a real PostgreSQL, on a thread and an event loop of its own, and clients that use it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from interlock.app import App, running
from interlock.approval import Request
from interlock.config import load
from interlock.demo.database import EmbeddedPostgres
from interlock.identity import Proof

T = TypeVar("T")
WAIT_S = 30.0
"""How long any awaited thing may take; far more than it does."""

CONFIG = """
data: ./data
postgres: {{host: 127.0.0.1, port: {listen}{client_tls}{door}}}
http: {{host: 127.0.0.1, port: 0{http_tls}}}
plaintext_loopback: {plaintext}
policy: ./policy.cedar
principals:
  - {{id: alice, kind: user, groups: [engineering]}}
  - {{id: bob, kind: user, groups: [dba]}}
  - {{id: dana, kind: user, groups: [engineering, fraud]}}
  - {{id: nobody, kind: user}}
  - {{id: claude, kind: agent, owner: alice, groups: [agents]}}
resources:
  - name: orders-db
    kind: postgres
    labels: {{env: dev}}
    host: {host}
    port: {port}
    database: shop
    tls: {upstream_tls}
    username: interlock
    password: file:./upstream-password
    durability: {durability}
    classes: {{customers.email: email, customers.phone: phone, customers.card: card, people.email: email, persons.email: email}}
  - name: elsewhere
    kind: postgres
    host: 127.0.0.1
    port: 1
    database: nothing
    username: nobody
    password: file:./upstream-password
masking: {{transforms: {{email: partial, "*": redact}}}}
approval: {{timeout_s: 20, contact: "bob (dba)"}}
limits: {{message_bytes: 1048576, login_s: 2, connections: {connections}, sessions_per_principal: {sessions}}}
"""
POLICY = """
@id("engineering-reads")
permit (principal in Group::"engineering", action in [Action::"session", Action::"read", Action::"write"], resource in Label::"env:dev");
@id("engineering-looks-up")
permit (principal in Group::"engineering", action == Action::"filter.equal", resource in Label::"env:dev");
@id("engineering-waits")
permit (principal in Group::"engineering", action == Action::"sql.opaque", resource == Function::"orders-db/pg_catalog.pg_sleep");
@id("dba")
permit (principal in Group::"dba", action in [Action::"session", Action::"read", Action::"write", Action::"sql.ddl",
    Action::"sql.maintenance", Action::"sql.lock", Action::"sql.opaque", Action::"sql.notify"], resource in Label::"env:dev");
@id("agents")
permit (principal in Group::"agents", action in [Action::"session", Action::"read", Action::"write"], resource in Label::"env:dev");
@id("no-where") @hold("dba") @reason("DELETE or UPDATE without WHERE changes every row")
forbid (principal, action in [Action::"sql.delete", Action::"sql.update"], resource) when { !context.has_where };
@id("no-ddl") @reason("agents do not change the schema")
forbid (principal is Agent, action == Action::"sql.ddl", resource);
@id("fraud-sees") permit (principal in Group::"fraud", action == Action::"reveal", resource);
@id("bob-approves") permit (principal in Group::"dba", action in Action::"session", resource == Resource::"interlock");
"""


def write_password(folder: Path, password: str) -> None:
    """Where `CONFIG` looks for it. Not in the environment, which is one for all gateways of a test process."""
    (folder / "upstream-password").write_text(password)
    (folder / "upstream-password").chmod(0o600)


class Gateway:
    """Use as a context manager. `app` lives on the gateway's own loop: reach it through `run` only."""

    def __init__(
        self,
        folder: Path,
        server: EmbeddedPostgres,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        upstream_tls: str = "disable",
        client_tls: str = "",
        plaintext: bool = True,
        durability: str = "strict-request",
        connections: int = 1000,
        listen: int = 0,
        sessions: int = 50,
        loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
        door: str = "",
        http_tls: str = "",
    ) -> None:
        write_password(folder, server.password)
        self.server = server
        self.folder = folder
        self.policy = folder / "policy.cedar"
        self.policy.write_text(POLICY)
        text = CONFIG.format(
            host=host,
            port=port or server.port,
            upstream_tls=upstream_tls,
            client_tls=client_tls,
            plaintext=str(plaintext).lower(),
            durability=durability,
            connections=connections,
            listen=listen,
            door=door,
            http_tls=http_tls or client_tls,
            sessions=sessions,
        )
        (folder / "interlock.yaml").write_text(text)
        self._config = load(folder / "interlock.yaml")
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=lambda: self._play(loop), name="gateway", daemon=True)
        self._tokens: dict[str, str] = {}
        self.app: App

    def _play(self, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with running(self._config) as self.app:
                self._ready.set()
                await self._stop.wait()
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    def __enter__(self) -> Gateway:
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "the gateway does not stop"
        if self._error is not None:
            raise self._error

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Something on the gateway's loop, from a test's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    @property
    def port(self) -> int:
        return self.app.listeners["postgres"].port

    # -- who ---------------------------------------------------------------------------------------------------------

    def token(self, principal: str) -> str:
        """One token per principal; `fresh_token` for one that is to be revoked."""
        if principal not in self._tokens:
            self._tokens[principal] = self.fresh_token(principal)
        return self._tokens[principal]

    def fresh_token(self, principal: str, audience: str = "postgres") -> str:
        return self.run(self.app.identity.issue(principal, [audience]))[0]

    def secret(self, principal: str) -> str:
        """A connection secret, for SCRAM."""
        return self.run(self.app.identity.issue(principal, ["postgres"], scram=True))[0]

    def revoke(self, token: str) -> None:
        self.run(self.app.identity.revoke_token(token.split("_")[1] if "_" in token else token))

    # -- clients -----------------------------------------------------------------------------------------------------

    def dsn(self, principal: str = "alice", *, token: str = "", database: str = "orders-db") -> str:
        return f"postgresql://{principal}:{token or self.token(principal)}@127.0.0.1:{self.port}/{database}"

    def connect(self, principal: str = "alice", **more: Any) -> psycopg.Connection[tuple[Any, ...]]:
        token = more.pop("token", "") or self.token(principal)
        settings = {"host": "127.0.0.1", "port": self.port, "user": principal, "password": token, "dbname": "orders-db", "autocommit": True}
        return psycopg.connect(**{**settings, **more})

    def environment(self, principal: str = "alice", database: str = "orders-db", token: str = "") -> dict[str, str]:
        found = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": principal, "PGDATABASE": database}
        return {**os.environ, **found, "PGPASSWORD": token or self.token(principal)}

    def psql(
        self,
        *arguments: str,
        principal: str = "alice",
        stdin: str = "",
        database: str = "orders-db",
        token: str = "",
        more: Mapping[str, str] | None = None,
    ) -> str:
        """What psql prints, errors included."""
        command: Sequence[str | Path] = [self.server.psql, "-X", "-A", "-t", *arguments]
        env = self.environment(principal, database, token) | dict(more or {})
        done = subprocess.run(command, env=env, input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT_S)
        return done.stdout.decode(errors="replace")

    def sql(self, text: str) -> str:
        """Past the gateway, straight to the server: the oracle."""
        return self.server.run(text).strip()

    def learn(self) -> None:
        """Read the catalog now: tables were made past the gateway."""
        self.run(self.app.conversations.catalogs.relearn(("orders-db", "shop")))

    # -- people ------------------------------------------------------------------------------------------------------

    def pending(self) -> list[Request]:
        return self.run(self.app.approvals.pending())

    def held(self, text: str) -> Request:
        """The request for a statement that contains this text, once it is there."""
        return self.until(lambda: next((request for request in self.pending() if text in request.text), None))

    def decide(self, request: Request, approve: bool, approver: str = "bob") -> None:
        async def answer() -> None:
            token, _ = await self.app.identity.issue(approver, ["console"])
            person = await self.app.identity.verify(Proof.of(token, "console", approver))
            await self.app.approvals.answer(request.id, person, approve)

        self.run(answer())

    def until(self, look: Callable[[], T | None]) -> T:
        """Look until there is something."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError("it never came to that")

    def proofs(self) -> set[str]:
        """What people have shown for the sessions that are open."""

        async def look() -> set[str]:
            return {session.principal.proof for session in self.app.gate.sessions.values()} - {"own"}

        return self.run(look())

    def sessions(self) -> int:
        """How many sessions of people are open."""

        async def count() -> int:
            return sum(session.principal.id != "interlock" for session in self.app.gate.sessions.values())

        return self.run(count())
