"""What upstream still owes: one entry per message that it answers, in order.

PostgreSQL answers strictly in the order of the messages it was sent, so this queue says what each reply
belongs to. After an error in the extended protocol upstream discards everything up to Sync; entries that are
dropped so are undone, because what they would have named does not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from interlock.exchange import Column, Permit, Refusal, Release
from interlock.protocols.postgres.operation import Asked
from interlock.protocols.postgres.reply import CopyOut


class Want(Enum):
    """Which answer is awaited; the value is the message that was sent."""

    QUERY = "Query"
    PARSE = "Parse"
    BIND = "Bind"
    DESCRIBE = "Describe"
    EXECUTE = "Execute"
    CLOSE = "Close"
    SYNC = "Sync"


@dataclass(slots=True)
class Portal:
    """A bound statement: what it asks in the meaning it was planned in, its values, and its columns once
    upstream has described them."""

    asked: Asked
    values: bytes = b""
    columns: tuple[Column, ...] | None = None


@dataclass(slots=True)
class Expect:
    """One awaited answer. `refusal` marks a poison: its error is replaced by that refusal. `quiet`: our own
    Describe, whose answer the client does not see. `at` is the statement of a text that is being answered."""

    want: Want
    permit: Permit | None = None
    refusal: Refusal | None = None
    asked: Asked | None = None
    portal: Portal | None = None
    quiet: bool = False
    undo: Callable[[], None] | None = None
    done: Callable[[], None] | None = None
    at: int = 0
    rows: int = 0
    failed: str = ""
    release: Release | None = None
    copy: CopyOut | None = None
    notes: list[str] = field(default_factory=list)
