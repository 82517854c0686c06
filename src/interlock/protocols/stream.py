"""What a protocol over its own byte stream offers the driver in `net/stream.py`: a door (login of clients),
a reach (login upstream), a relay, and an asker for questions of our own. All pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from interlock.errors import UpstreamError
from interlock.exchange import Cleared, Credential, Held, Operation, Permit, Port, Refusal, Reply, Resource
from interlock.facts.sql.catalog import Catalog
from interlock.facts.sql.transfers import Transfer

# -- what a text would ask ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A text's operation outside of any session. `error` says why it cannot be read (`position` is its 1-based
    character, 0 where unknown); `never` why it would not be forwarded whatever policy says."""

    operation: Operation
    error: str = ""
    position: int = 0
    never: str = ""


# -- what a login says to its driver -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Say:
    """Send these bytes to the peer."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartTls:
    """Send these bytes, then upgrade the connection to TLS."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The client says who it is: choose how it shall prove that, by one of `Door.ask_secret`, `ask_sasl` and `trust`."""

    claimed: str


@dataclass(frozen=True, slots=True)
class Sasl:
    """The client's next word in SASL; the first one names the `mechanism` that it chose. Answer by `Door.sasl`."""

    mechanism: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """The client has said who it is: `claimed` principal, resource, place inside it (a database; empty for
    the resource's own), settings for upstream, and the secret (empty when it was proved in another way)."""

    claimed: str
    resource: str
    place: str
    settings: Mapping[str, str]
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Another connection's work is to be cancelled."""

    pid: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Close:
    """Send these bytes (may be empty), then end the connection."""

    data: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Reached:
    """Upstream's login is complete: what it reports, its cancel key, and the user it knows us as. `rest` are bytes
    that came behind the login and belong to the relay."""

    parameters: Mapping[str, str]
    pid: int
    key: bytes = field(repr=False)
    user: str
    rest: bytes = field(default=b"", repr=False)


DoorEvent = Say | StartTls | Claim | Sasl | Login | Cancel | Close
ReachEvent = Say | StartTls | Reached


@dataclass(frozen=True, slots=True)
class Leg:
    """How a connection upstream is protected. `direct`: TLS begins at once, without asking. `verified`: upstream's
    certificate was checked, chain and name. `bound`: the login must be bound to it (channel binding)."""

    tls: bool = False
    direct: bool = False
    verified: bool = False
    bound: bool = False


class OldProtocol(UpstreamError):
    """Upstream does not take the protocol version that was asked for; it may take an older one."""


class Door(Protocol):
    """The server's role in a login. Raises `ProtocolError` (fault client)."""

    def receive(self, data: bytes) -> list[DoorEvent]: ...
    def ask_secret(self) -> list[DoorEvent]:
        """Ask for a secret; turns the client away where it would travel in clear and may not."""
        ...

    def ask_sasl(self, mechanisms: Sequence[str]) -> list[DoorEvent]: ...
    def sasl(self, data: bytes, *, done: bool) -> list[DoorEvent]:
        """Our next word in SASL; `done` ends it well."""
        ...

    def trust(self) -> list[DoorEvent]:
        """It is proved already: ask for nothing."""
        ...

    def tls_started(self) -> list[DoorEvent]:
        """TLS has begun: after `StartTls`, or before the first byte (direct TLS)."""
        ...

    def welcome(self, reached: Reached, pid: int, key: bytes) -> bytes:
        """The end of a good login; `pid` and `key` are the gateway's own cancel key."""
        ...

    def refuse(self, refusal: Refusal) -> bytes:
        """The end of a bad one."""
        ...

    cancel_key_bytes: int


class Reach(Protocol):
    """The client's role in the login upstream. Raises `UpstreamError` or `ProtocolError` (fault upstream)."""

    def start(self) -> Sequence[ReachEvent]: ...
    def tls_started(self, binding: bytes | None = None) -> Sequence[ReachEvent]:
        """TLS has begun; `binding` is the `tls-server-end-point` data of upstream's certificate (RFC 5929)."""
        ...

    def receive(self, data: bytes) -> Sequence[ReachEvent]: ...
    @property
    def heard(self) -> bool:
        """Whether upstream has answered at all since it was told the protocol version."""
        ...


class StreamRelay(Protocol):
    """See `protocols.postgres.relay.Relay`."""

    terminated: bool
    ended: str

    def receive_client(self, data: bytes) -> None: ...
    def receive_upstream(self, data: bytes) -> None: ...
    @property
    def questions(self) -> list[Operation]: ...
    def answer(self, answers: list[Permit | Held | Refusal]) -> None: ...
    @property
    def held(self) -> Held | None: ...
    def resolve(self, answer: Permit | Refusal) -> None: ...
    @property
    def wants_catalog(self) -> bool: ...
    def learn(self, catalog: Catalog) -> None: ...
    def refresh(self, catalog: Catalog) -> None:
        """A newer catalog than was asked for; changes no state but what names mean from now on."""
        ...

    @property
    def deriving(self) -> tuple[Transfer, ...]:
        """What this session puts into columns, as far as no catalog was learned since; another tuple when it changes."""
        ...

    @property
    def derived(self) -> tuple[Transfer, ...]:
        """Those of them that are committed, while a catalog is wanted."""
        ...

    @property
    def changed(self) -> frozenset[str]:
        """Names (without schemas) whose meaning this session has changed, until it learns a catalog."""
        ...

    @property
    def busy(self) -> bool:
        """Whether upstream owes answers or the gate is being asked."""
        ...

    @property
    def backlog_bytes(self) -> int: ...
    def to_client(self) -> list[Cleared]: ...
    def to_upstream(self) -> list[Cleared]: ...
    def notice(self, text: str, hint: str = "") -> None: ...


class StreamAsker(Protocol):
    """See `protocols.postgres.ask.Asker`."""

    def ask(self, text: str, rows_max: int = 0) -> bytes: ...
    def feed(self, data: bytes) -> Reply | None: ...


class RelayMaker(Protocol):
    def __call__(
        self,
        port: Port,
        connect: Permit,
        catalog: Catalog,
        *,
        reached: Reached,
        poison: str,
        message_bytes_max: int,
        statement_bytes_max: int,
    ) -> StreamRelay: ...


@dataclass(frozen=True, slots=True)
class StreamProtocol:
    """One protocol over its own stream. `catalog_system` and `catalog_user` are the questions
    about what no user changes and about the rest, asked in a session with `catalog_settings`."""

    name: str
    alpn: str
    """The name in TLS handshakes (RFC 7301); a client that begins with TLS at once must give it."""
    door: Callable[[bool, bool, bool, bool], Door]
    """(TLS offered, secrets allowed without TLS, say `Claim` instead of asking for a secret, let in without TLS whoever
    shows no secret)"""
    reach: Callable[[Credential, str, Mapping[str, str], Leg, str, bool], Reach]
    """(credential, place, settings, protection, random nonce of printable text, ask for the newest protocol version:
    raises `OldProtocol` when that is not taken)"""
    relay: RelayMaker
    asker: Callable[[int], StreamAsker]
    cancel: Callable[[int, bytes, Leg], Reach]
    """What is said on a connection that only cancels another one's work: (pid, key, protection)"""
    refuse: Callable[[Refusal], bytes]
    render: Callable[[str, bytes], list[str]]
    catalog_settings: Mapping[str, str]
    catalog_system: Sequence[str]
    catalog_user: Sequence[str]
    foresee: Callable[[Resource, str, Catalog, tuple[str, ...] | None, int], Foreseen]
    """What a text would ask, for explanations: (resource, text, catalog, search path if known, longest text in bytes)"""
    describe: str
    """The question whose answer describes the database's tables to an agent."""
    catalog_of: Callable[[Catalog | None, Sequence[Reply], int], Catalog]
    """(what `catalog_system` gave, or None to make that; the answers; version)"""
