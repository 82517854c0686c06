"""What upstream still owes: one entry per message that it answers, in order.

PostgreSQL answers strictly in the order of the messages it was sent, so this queue says what each reply
belongs to. After an error in the extended protocol upstream discards everything up to Sync; the names that
dropped entries would have given keep what they stood for.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from interlock.exchange import Permit, Refusal, Release
from interlock.protocols.postgres.names import Rename
from interlock.protocols.postgres.operation import Asked, Portal
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
class Expect:
    """One awaited answer. `refusal` marks a poison: its error is replaced by that refusal. `quiet`: our own
    Describe, whose answer the client does not see. `said`: the names in the message, which an error may repeat to
    whoever said them. `rename`: the name that it gives or takes. `at` is the
    statement of a text that is being answered, `failed` the SQLSTATE of its error."""

    want: Want
    permit: Permit | None = None
    refusal: Refusal | None = None
    asked: Asked | None = None
    portal: Portal | None = None
    rename: Rename[Asked] | Rename[Portal] | None = None
    said: str = ""
    quiet: bool = False
    at: int = 0
    rows: int = 0
    failed: str = ""
    release: Release | None = None
    copy: CopyOut | None = None
