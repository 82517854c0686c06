"""Opening conversations: connect is decided, upstream is reached, names get their meaning, the relay is made.

The doors (`listener`) and the gateway's own questions (`ask`) come through here alike. Cancel keys are the
gateway's own: random, one per conversation, and of no use for any other; their number is upstream's process id.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Mapping

from interlock.config import LimitsConfig
from interlock.errors import InterlockError, ResourceError
from interlock.exchange import Held, Permit, Principal, Refusal, Session
from interlock.facts.sql.catalog import Catalog
from interlock.gate import Gate, connect_operation
from interlock.net import upstream
from interlock.net.catalogs import Catalogs, Key, Learner
from interlock.net.derivations import Derivations
from interlock.net.link import Link
from interlock.net.memory import MemoryEnd
from interlock.net.stream import Conversation, End, SessionPort
from interlock.protocols import PROTOCOLS
from interlock.protocols.stream import Reached, StreamProtocol

CATALOG_BYTES_MAX = 256 * 1024 * 1024
"""The largest answer to a question about the catalog."""


class Refused(Exception):
    """Connecting was refused; tell the client."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class Parked(Exception):
    """Connecting is held, and the client's patience is over: the request stays open."""

    def __init__(self, held: Held) -> None:
        super().__init__(held.id)
        self.held = held


class Conversations:
    """All open conversations of this process."""

    def __init__(self, gate: Gate, limits: LimitsConfig) -> None:
        self.gate = gate
        self.catalogs = Catalogs(self._read_catalog, time.monotonic, Derivations(gate))
        self._limits = limits
        self._open: dict[int, dict[bytes, Conversation]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def open(
        self,
        protocol: StreamProtocol,
        principal: Principal,
        resource_name: str,
        place: str,
        end: End,
        client: str,
        settings: Mapping[str, str],
        *,
        cancel_key_bytes: int = 4,
        catalog: Catalog | None = None,
        patience_s: float | None = None,
    ) -> tuple[Conversation, Reached, int, bytes]:
        """A conversation that is ready to `start`, what upstream reported, and the client's cancel key (id, key).

        Raises `Refused`, `Parked`, or `InterlockError` where a station or upstream failed. `catalog` is given by the
        catalog's own reader only; everybody else gets the one that is known or read now. `patience_s` is how long
        a held operation may keep this client waiting (None: as long as the request lives).
        """
        session = self.gate.open(principal, resource_name, protocol.name, client)
        try:
            if session.resource.kind != protocol.name:
                raise ResourceError("no such resource, or no right to use it")
            permit = await self._connect(session, place, patience_s)
            link, reached = await upstream.reach(self.gate, protocol, permit, place, settings)
        except BaseException as error:
            await self.gate.close(session, _why(error))
            raise
        try:
            key = (session.resource.name, place or str(session.resource.settings.get("database", "")))
            known = catalog if catalog is not None else await self.catalogs.get(key)
            conversation = self._converse(protocol, session, permit, end, link, reached, known, patience_s)
            if catalog is None:
                self._follow(key, conversation)
        except BaseException as error:
            link.abort()
            await self.gate.close(session, _why(error))
            raise
        return conversation, reached, reached.pid, self._register(conversation, reached.pid, cancel_key_bytes)

    async def cancel(self, pid: int, key: bytes) -> None:
        """A cancel request: does something only with the right key, and says nothing either way."""
        for known, conversation in list(self._open.get(pid, {}).items()):
            if hmac.compare_digest(known, key):
                await conversation.cancel()

    async def close_all(self, reason: str) -> None:
        """The gateway stops."""
        open_now = [conversation for same in self._open.values() for conversation in same.values()]
        for conversation in open_now:
            conversation.end(Refusal("revoked", reason, fatal=True))
        for conversation in open_now:
            await conversation.over.wait()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _connect(self, session: Session, place: str, patience_s: float | None) -> Permit:
        title = f"connect to {place}" if place else "connect"
        answer = (await self.gate.admit(session, [connect_operation(session.resource, title)]))[0]
        if isinstance(answer, Held):
            answer = await self.gate.wait(answer, patience_s=patience_s)
        if isinstance(answer, Held):
            raise Parked(answer)
        if isinstance(answer, Refusal):
            raise Refused(answer)
        return answer

    def _converse(
        self,
        protocol: StreamProtocol,
        session: Session,
        permit: Permit,
        end: End,
        link: Link,
        reached: Reached,
        catalog: Catalog,
        patience_s: float | None,
    ) -> Conversation:
        relay = protocol.relay(
            SessionPort(self.gate, session),
            permit,
            catalog,
            reached=reached,
            poison=f"interlock_{secrets.token_hex(12)}",
            message_bytes_max=self._limits.message_bytes,
            statement_bytes_max=self._limits.statement_bytes,
        )
        if reached.rest:
            relay.receive_upstream(reached.rest)

        async def relearn() -> Catalog:
            return catalog

        async def cancel() -> None:
            await upstream.cancel(self.gate, protocol, permit, reached)

        return Conversation(
            self.gate,
            protocol,
            session,
            permit,
            relay,
            end,
            link,
            cancel=cancel,
            relearn=relearn,
            on_over=self._forget,
            patience_s=patience_s,
        )

    def _follow(self, key: Key, conversation: Conversation) -> None:
        """Names in this conversation mean what the newest catalog says, until it is over."""
        relay = conversation.relay
        learner = Learner(relay.refresh, lambda: relay.deriving, lambda: (relay.derived, relay.changed))

        async def leave() -> None:
            await conversation.over.wait()
            await self.catalogs.leave(key, learner)

        conversation.relearn = lambda: self.catalogs.relearn(key, learner=learner)
        conversation.foretell = lambda: self.catalogs.foretell(key)
        self.catalogs.follow(key, learner)
        task = asyncio.get_running_loop().create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _register(self, conversation: Conversation, pid: int, key_bytes: int) -> bytes:
        """A cancel key of ours for the conversation. Its number is upstream's: clients compare it with the sender of a
        notification and with pg_backend_pid(). Sessions on several upstreams may share one; the key tells them apart."""
        same = self._open.setdefault(pid, {})
        key = secrets.token_bytes(key_bytes)
        while key in same:
            key = secrets.token_bytes(key_bytes)
        same[key] = conversation
        conversation.cancel_key = (pid, key)
        return key

    def _forget(self, conversation: Conversation) -> None:
        pid, key = conversation.cancel_key
        same = self._open.get(pid, {})
        same.pop(key, None)
        if not same:
            self._open.pop(pid, None)

    async def _read_catalog(self, key: Key) -> CatalogReader:
        """A connection that asks the database what it holds, as principal `interlock`, through the gate."""
        resource_name, place = key
        protocol = PROTOCOLS[self.gate.registry.find(resource_name).kind]
        end = MemoryEnd(protocol.asker(CATALOG_BYTES_MAX))
        own = self.gate.identity.own()
        settings = protocol.catalog_settings
        conversation, *_ = await self.open(protocol, own, resource_name, place, end, "catalog", settings, catalog=Catalog())
        conversation.start()
        return CatalogReader(protocol, end, conversation)


class CatalogReader:
    """See `catalogs.Reader`."""

    def __init__(self, protocol: StreamProtocol, end: MemoryEnd, conversation: Conversation) -> None:
        self._protocol = protocol
        self._end = end
        self._conversation = conversation

    async def system(self) -> Catalog:
        answers = [await self._end.ask(question) for question in self._protocol.catalog_system]
        return self._protocol.catalog_of(None, answers, 0)

    async def user(self, system: Catalog, version: int) -> Catalog:
        self._conversation.relay.learn(system)
        answers = [await self._end.ask(question) for question in self._protocol.catalog_user]
        return self._protocol.catalog_of(system, answers, version)

    async def close(self) -> None:
        self._conversation.close("the catalog was read")
        await self._conversation.over.wait()


def _why(error: BaseException) -> str:
    match error:
        case Refused():
            return f"refused: {error.refusal.reason}"
        case Parked():
            return f"held: {error.held.id} waits for approval"
        case InterlockError():
            return error.message
        case _:
            return "the client went away before the session began"
