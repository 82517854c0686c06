"""The nouns: plain typed data, no I/O. One word for one thing, in code, docs, logs and messages.

Read them in this order; each is made of the ones before it:

`Principal` asks, through a `Session`, one `Operation` on a `Resource`: a set of `Effect`s with facts.
The gate gives a `Decision`, and from it a `Permit`, a `Held` or a `Refusal`.
Upstream answers with a reply of some `Shape`; a `Lens` masks it; a `Release` lets it out.
All that came of one operation is an `Exchange`.

`Permit`, `Release` and `Cleared` are proofs: only the gate can make them (see `claim_mint`), and only
`Cleared` bytes may be written to a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

Cell = bytes | None
"""One value of a reply, encoded as upstream sent it; None is SQL NULL (or absent)."""
Row = list[Cell]
Fact = bool | int | str | frozenset[str]
"""What policy may read in its context: Cedar has booleans, longs, strings and sets of strings."""


class Asker(StrEnum):
    """Who asks for an operation. Upstream asks too: MCP sampling, elicitation, a model's `tool_use`."""

    CLIENT = "client"
    UPSTREAM = "upstream"


class Verdict(StrEnum):
    ALLOW = "allow"
    HOLD = "hold"
    DENY = "deny"


class Outcome(StrEnum):
    """How an exchange ended. `SKIPPED`: upstream never ran it; `UNKNOWN`: the line or the gateway died."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Durability(StrEnum):
    """When evidence is on disk (stated in each seal).

    `STRICT`: both directions are durable before they are forwarded. `STRICT_REQUEST` (default): no
    operation reaches upstream before its intent is durable. `WRITE_THROUGH`: in the page cache before it
    is forwarded; survives kill -9 of the gateway, not a power cut.
    """

    STRICT = "strict"
    STRICT_REQUEST = "strict-request"
    WRITE_THROUGH = "write-through"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. For an agent, `on_behalf_of` is its owner, and the rights of both must allow.

    `proof` names the token or key that was shown (never the secret itself); `version` grows whenever
    groups, owner or state change, so that it can key caches. `expires_at` is in UTC seconds.
    """

    id: str
    kind: Literal["user", "agent", "workload"] = "user"
    groups: frozenset[str] = frozenset()
    on_behalf_of: Principal | None = None
    proof: str = ""
    expires_at: float = 0.0
    version: int = 0

    def __str__(self) -> str:
        return f"{self.id} for {self.on_behalf_of.id}" if self.on_behalf_of else self.id


@dataclass(frozen=True, slots=True)
class Resource:
    """A registered target. `labels` are `key:value` strings (`env:dev`). `classes` maps a column
    (`table.column` or `schema.table.column`) or, for other kinds, a path to a data class (`email`).
    `settings` holds what only the resource's own kind reads (address, TLS mode, command line)."""

    name: str
    kind: str
    labels: frozenset[str] = frozenset()
    classes: Mapping[str, str] = field(default_factory=dict)
    durability: Durability = Durability.STRICT_REQUEST
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """What the gateway shows to upstream. Never leaves the gateway; its `repr` hides everything. `certificate` and `key` are
    PEM texts of a TLS client, both or neither."""

    username: str
    password: str = ""
    certificate: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return "Credential(…)"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that an operation would do: an action on an object inside the resource.

    `action` is a Cedar action id (`sql.select`, `mcp.call`, `connect`). `kind` is the Cedar entity type of
    the object (`Table`, `Column`, `Function`, `Tool`, or `Resource` for the resource itself) and `object`
    its name inside the resource (`public.customers`; empty for the resource itself).
    """

    action: str
    kind: str = "Resource"
    object: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """What is asked, the same for every protocol.

    `effects` are each decided; the strictest verdict wins. `facts` are what policy may read. `content` is
    the exact bytes that a `Permit` will clear upwards. `title` is a form without literals, for journal and
    lists; `text` is the exact statement or call, for approvers and the sealed recording only. `flows` says
    that more data of the client follows under the same permit (COPY in, a request body). `identity` is the
    part of the content which an approval binds to, where content itself varies (statement text and bound
    values, without portal names); empty means `content`. A `rehearsal` only prepares (PostgreSQL's Parse):
    where policy holds, the hold waits for the execution. `refuse` is a reason for which the translation can never
    forward it: the gate refuses it without asking policy or people.
    """

    kind: str
    resource: Resource
    effects: tuple[Effect, ...]
    facts: Mapping[str, Fact]
    content: bytes
    title: str
    text: str = ""
    flows: bool = False
    asker: Asker = Asker.CLIENT
    identity: bytes = b""
    rehearsal: bool = False
    refuse: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy says: the verdict, the groups that must agree (`hold` only: all of them), the ids of
    the deciding rules, their reasons in words, facts that were missing, and the policy version."""

    verdict: Verdict
    rules: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    policy: str = ""


@dataclass(slots=True)
class Session:
    """One principal through one client connection to one resource. `epoch` counts changes of meaning
    (search_path, role, catalog); decisions are cached per epoch. `ended` is the reason once it has ended."""

    id: str
    principal: Principal
    resource: Resource
    protocol: str
    client: str
    opened_at: float
    epoch: int = 0
    ended: str = ""
    on_end: Callable[[str], None] | None = None


@dataclass(slots=True)
class Exchange:
    """One operation and all that came of it; fields stand in the order in which they are filled."""

    id: int
    session: Session
    operation: Operation
    asked_at: float
    digest: str = ""
    decision: Decision | None = None
    approved_by: tuple[str, ...] = ()
    approval: str = ""
    shape: Shape | None = None
    rows: int = 0
    bytes_down: int = 0
    masked: dict[str, int] = field(default_factory=dict)
    hidden: Mapping[int, str] = field(default_factory=dict)
    outcome: Outcome | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """No, with the rule, the reason and whom to ask. Protocols speak it in the client's language.

    `code` is stable for machines: `denied`, `unparsable`, `approval-refused`, `approval-expired`, `limit`,
    `approval-pending`, `revoked`, `failed`; at a login also `unidentified` and `unknown` (no such resource).
    `position` is the 1-based character where text could not be parsed, else 0.
    """

    code: str
    reason: str
    rules: tuple[str, ...] = ()
    ask: str = ""
    position: int = 0
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """An operation that waits for people: all of `groups` must agree before `expires_at` (UTC seconds)."""

    id: str
    exchange: Exchange
    groups: frozenset[str]
    expires_at: float
    link: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The client's copy of the proof: which exchange of which session, and the journal hash after it."""

    session: str
    exchange: int
    outcome: Outcome
    head: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column (or channel) of a reply.

    `origin` is the base column as upstream reports it (`schema.table.column`), None if none is reported.
    `sources` is the lineage from the statement: the base columns that the value may depend on; an empty
    set means "no column at all" (`count(*)`, a literal) and None means "unknown", which masks.
    `type` and `format` mean what the protocol says (PostgreSQL: type OID, 0 text / 1 binary).
    """

    name: str
    type: int = 0
    format: int = 0
    origin: str | None = None
    sources: frozenset[str] | None = frozenset()


class Shape(Protocol):
    """A reply's structure with the protocol's cell codec. All methods are pure and raise `ProtocolError`
    (fault upstream) on malformed pieces."""

    @property
    def columns(self) -> Sequence[Column]: ...

    def split(self, piece: bytes) -> list[Row]:
        """The rows of a piece that holds whole rows only."""
        ...

    def join(self, rows: Sequence[Row]) -> bytes:
        """The bytes of rows, as `split` found them: `join(split(piece)) == piece`."""
        ...

    def decode(self, column: Column, cell: bytes) -> str | None:
        """The cell as text, or None where the type has no text that could be scanned or transformed."""
        ...

    def encode(self, column: Column, text: str) -> Cell:
        """Text as a valid cell of the column's type and format; None (NULL) where the type cannot hold it."""
        ...


class Lens(Protocol):
    """The masking function made for one shape and one principal."""

    def apply(self, piece: bytes) -> bytes:
        """Mask a piece of whole rows. Raises `MaskingError`: then nothing of the piece may leave."""
        ...

    @property
    def masked(self) -> Mapping[str, int]:
        """How many values were masked so far, by data class; never the values."""
        ...

    @property
    def hidden(self) -> Mapping[int, str]:
        """The columns, by index, with values that became NULL because their type holds no mask, and their data class."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What upstream answered to one question, in neutral form: as the asker may see it (released already).

    `rows` hold text per column, None for NULL. `truncated`: there were more rows than asked for. `failed` is
    empty, or the error in words; `code` is then the protocol's own (SQLSTATE). `notices` are said beside it.
    """

    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[str | None, ...], ...] = ()
    tag: str = ""
    truncated: bool = False
    failed: str = ""
    code: str = ""
    detail: str = ""
    hint: str = ""
    notices: tuple[str, ...] = ()


class Mint:
    """The right to make proofs; `claim_mint` gives it to the first caller, which is `gate.py`."""

    __slots__ = ()


_claimed: list[Mint] = []


def claim_mint() -> Mint:
    """Hand out the one mint, once. Raises `RuntimeError` for any later caller."""
    if _claimed:
        raise RuntimeError("the mint is taken: only the gate makes permits, releases and cleared bytes")
    _claimed.append(Mint())
    return _claimed[0]


class Cleared:
    """Bytes that may be written to a connection. Made by the gate alone."""

    __slots__ = ("data",)

    def __init__(self, mint: Mint, data: bytes) -> None:
        if not _claimed or mint is not _claimed[0]:
            raise RuntimeError("only the gate clears bytes")
        self.data = data


class Permit(Protocol):
    """Leave to send one operation upstream, once, and the data that flows under it."""

    @property
    def exchange(self) -> Exchange: ...

    def apply(self, piece: bytes) -> Cleared:
        """Clear bytes upwards. The first piece must equal the operation's content; more only if it flows.
        Raises `PermitError`-like `InterlockError` when spent, foreign, or when the session has ended."""
        ...


class Release(Protocol):
    """Leave to send a reply down to the client: masked, recorded, checked for validity per piece."""

    def apply(self, piece: bytes) -> Cleared: ...


class Port(Protocol):
    """What a relay may ask of the gate without waiting; the driver hands it in, bound to one session."""

    def say(self, data: bytes) -> Cleared:
        """Clear connection-level bytes towards the client."""
        ...

    def release(self, permit: Permit, shape: Shape) -> Release:
        """Leave for a reply of this shape. Raises `InterlockError`: then refuse the reply."""
        ...

    def settle(self, permit: Permit, outcome: Outcome, detail: str = "") -> Receipt:
        """End an exchange."""
        ...

    def scrub(self, text: str, known: str = "") -> str:
        """Free text from upstream as this principal may see it. `known` is what the client itself said."""
        ...
