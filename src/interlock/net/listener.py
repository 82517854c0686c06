"""The door of a stream protocol: logins with deadlines, then a conversation.

A client that is silent or half-open costs one bounded connection until its deadline and blocks nobody.
"""

from __future__ import annotations

import asyncio
import os
import ssl

import structlog

from interlock.config import LimitsConfig, ListenerConfig
from interlock.errors import ConfigError, IdentityError, InterlockError, LimitError, ProtocolError, ResourceError, StoreError
from interlock.exchange import Refusal
from interlock.identity import Proof
from interlock.net.doorman import Doorman
from interlock.net.link import Link
from interlock.net.sessions import Conversations, Refused
from interlock.protocols.stream import Door, Login, StreamProtocol

_log = structlog.get_logger("interlock.listener")


class Listener:
    """One listening socket. `start` before use; `stop` closes the door, not the conversations."""

    def __init__(
        self,
        conversations: Conversations,
        protocol: StreamProtocol,
        config: ListenerConfig,
        limits: LimitsConfig,
        plaintext_allowed: bool,
        contact: str,
    ) -> None:
        self._conversations = conversations
        self._gate = conversations.gate
        self._protocol = protocol
        self._config = config
        self._limits = limits
        self._doorman = Doorman(conversations, protocol, config, plaintext_allowed)
        self._contact = contact
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._knocking: set[asyncio.Task[None]] = set()
        self.port = config.port

    async def start(self) -> None:
        """Open the door. Raises `ConfigError` when the port cannot be had."""
        loop = asyncio.get_running_loop()
        host, port = self._config.host, self._config.port
        try:
            self._server = await loop.create_server(lambda: Link(self._accept), host, port)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}", hint="choose another postgres port"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        knocking = list(self._knocking)
        for task in knocking:
            task.cancel()
        await asyncio.gather(*knocking, return_exceptions=True)

    def _accept(self, link: Link) -> None:
        if len(self._tasks) >= self._limits.connections:
            link.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(link))
        for tasks in (self._tasks, self._knocking):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _serve(self, link: Link) -> None:
        """One connection, from its first byte to its last."""
        knock = self._doorman.knock(link)
        door = knock.door
        try:
            async with asyncio.timeout(self._limits.login_s):
                shown = await knock.login()
            del knock  # what it holds is of no use any more, and the conversation may be long
            if shown is not None:
                await self._converse(link, door, *shown)
        except IdentityError as error:
            self._turn_away(link, door, Refusal("unidentified", error.message, ask=self._contact, fatal=True))
        except StoreError as error:
            self._turn_away(link, door, Refusal("failed", error.message, ask=self._contact, fatal=True))
        except ProtocolError as error:
            _log.warning("client broke the protocol", client=link.peer, reason=error.message)
        except (TimeoutError, OSError, ssl.SSLError) as error:
            _log.info("login not finished", client=link.peer, reason=type(error).__name__)
        finally:
            link.close()

    async def _converse(self, link: Link, door: Door, login: Login, proof: Proof) -> None:
        task = asyncio.current_task()
        assert task is not None

        def gone() -> None:
            """A client that goes away waits for no approval and no upstream."""
            task.cancel()

        link.on_closed = gone
        try:
            principal = await self._gate.identify(proof)
            conversation, reached, pid, key = await self._conversations.open(
                self._protocol,
                principal,
                login.resource,
                login.place,
                link,
                link.peer,
                login.settings,
                cancel_key_bytes=door.cancel_key_bytes,
            )
        except Refused as refused:
            self._turn_away(link, door, refused.refusal)
        except IdentityError as error:
            self._turn_away(link, door, Refusal("unidentified", error.message, ask=self._contact, fatal=True))
        except InterlockError as error:
            self._turn_away(link, door, Refusal(_code(error), error.message, ask=self._contact, fatal=True))
        except Exception as error:
            _log.error("login failed", client=link.peer, exc_info=error)
            self._turn_away(link, door, Refusal("failed", "the gateway failed", ask=self._contact, fatal=True))
        else:
            link.send([self._gate.say(conversation.session, door.welcome(reached, pid, key))])
            conversation.start()
            self._knocking.discard(task)
            await conversation.over.wait()

    def _turn_away(self, link: Link, door: Door, refusal: Refusal) -> None:
        _log.info("connection refused", client=link.peer, reason=refusal.reason)
        link.send([self._gate.say(None, door.refuse(refusal))])


def _code(error: InterlockError) -> str:
    """What the client's program is told: whether to try again, elsewhere, or not at all."""
    match error:
        case ResourceError():
            return "unknown"
        case LimitError():
            return "limit"
        case _:
            return "failed"
