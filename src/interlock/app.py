"""The composition root: the only module that knows everything. A `Config` becomes a running gateway."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

import structlog

from interlock import __version__
from interlock.approval import Approvals
from interlock.config import Config
from interlock.console import Console, create
from interlock.errors import ResourceError
from interlock.evidence import Evidence, Keys
from interlock.gate import Gate
from interlock.identity import Directory, Identity
from interlock.limits import Limits
from interlock.masking import Derived, Masking, MaskingConfig
from interlock.net.http import HttpListener
from interlock.net.listener import Listener
from interlock.net.mcp import McpDoor
from interlock.net.sessions import Conversations
from interlock.policy import PolicyFile, explain
from interlock.protocols import PROTOCOLS, mcp
from interlock.resources import OWN, Registry
from interlock.store import Bus, Store
from interlock.store.secret import GatewaySecret

DEFAULT_PATH = ("public",)
"""The search_path that explanations assume."""
SWEEP_S = 0.25
"""How often every open session's trust is looked at, besides each push of a revocation."""

_log = structlog.get_logger("interlock.app")


class App:
    """One gateway process. Use `running(config)`; the doors are open while its block lasts."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._secret = GatewaySecret.load_or_create(config.data)
        self._opened = contextlib.AsyncExitStack()

    def key(self, purpose: str) -> bytes:
        """A 32-byte key of this gateway for one purpose."""
        return self._secret.key(purpose)

    async def start(self) -> None:
        """Open the store, recover evidence, load policy, then open the doors: in this order, so that nothing is
        served before it can be decided and recorded. Raises `InterlockError`; what was opened is then closed again."""
        try:
            await self._start()
        except BaseException:
            await self._opened.aclose()
            raise

    async def _start(self) -> None:
        config = self.config
        self.policy = PolicyFile(config.policy)
        masking = Masking(MaskingConfig(config.masking.transforms, config.masking.detectors), self.key("masking"))
        opened = self._opened
        self.store = await Store.open(config.data)
        opened.push_async_callback(self.store.close)
        self.bus = Bus(self.store)
        self.identity = Identity(self.store, self.bus, Directory(config.principals), config.issuers, self.key("identity"))
        self.approvals = Approvals(self.store, self.bus, self.key("approval"), config.approval.timeout_s)
        await self.bus.start()
        opened.push_async_callback(self.bus.stop)
        await self.identity.load()
        derived = Derived(self.store, self.bus)
        await derived.load()
        self.evidence = await Evidence.start(config.data / "evidence", Keys.load_or_create(config.data / "keys"))
        opened.push_async_callback(self.evidence.stop)
        self.gate = Gate(
            identity=self.identity,
            registry=Registry([*config.resources, OWN]),
            policy=self.policy,
            approvals=self.approvals,
            limits=Limits(config.limits),
            masking=masking,
            evidence=self.evidence,
            derived=derived,
            clock=time.time,
            digest_key=self.key("digest"),
            contact=config.approval.contact,
            session_max_s=config.limits.session_hours * 3600,
            console_url=config.http.public_url,
        )
        self.identity.on_revoked(lambda _: self.gate.sweep())
        self.conversations = Conversations(self.gate, config.limits)
        derived.on_change = self.conversations.catalogs.foretell_all
        opened.push_async_callback(self.conversations.close_all, "the gateway stops")
        self.listeners = {
            name: Listener(self.conversations, protocol, config.postgres, config.limits, config.plaintext_loopback, config.approval.contact)
            for name, protocol in PROTOCOLS.items()
        }
        door = McpDoor(self.gate, self.conversations, config.http.public_url)
        console = Console(
            gate=self.gate,
            renderers={**{name: protocol.render for name, protocol in PROTOCOLS.items()}, "mcp": mcp.render},
            explain=self._explain,
            public_url=config.http.public_url,
            version=__version__,
            key=self.key("console"),
        )
        self.http = HttpListener(config.http, door, create(console))
        tasks = [asyncio.create_task(self._sweep()), asyncio.create_task(self.policy.watch(self._policy_changed))]
        opened.push_async_callback(_cancel, tasks)
        for listener in self.listeners.values():
            await listener.start()
            opened.push_async_callback(listener.stop)
        await self.http.start()
        opened.push_async_callback(self.http.stop)

    async def stop(self) -> None:
        """Close the doors, end what is open, seal the evidence: the reverse of `start`."""
        await self._opened.aclose()

    async def _explain(self, subject: str, on: str, text: str) -> dict[str, object]:
        """What policy would say of a text, with the resource's catalog as it is now."""
        principal = self.identity.directory.principal(subject)
        if principal is None:
            raise ResourceError(f"{subject} is no configured, enabled principal")
        resource = self.gate.registry.find(on)
        protocol = PROTOCOLS.get(resource.kind)
        if protocol is None:
            raise ResourceError(f"{on} takes no statements: explain an action instead")
        catalog = await self.conversations.catalogs.get((on, str(resource.settings.get("database", ""))))
        foreseen = protocol.foresee(resource, text, catalog, DEFAULT_PATH, self.config.limits.statement_bytes)
        operation = foreseen.operation
        explained = explain(self.policy.current, principal, resource, operation.effects, operation.facts, now=time.time())
        return {**explained.to_dict(), "error": foreseen.error, "position": foreseen.position, "never": foreseen.never}

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.gate.sweep()

    def _policy_changed(self, error: str) -> None:
        if error:
            _log.error("policy not reloaded; the old one stays", reason=error)
        else:
            _log.info("policy reloaded", version=self.policy.current.version)
        self.evidence.publish("policy", {"version": self.policy.current.version, "error": error})


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def running(config: Config) -> AsyncIterator[App]:
    """A gateway that serves while the block lasts."""
    app = App(config)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()
