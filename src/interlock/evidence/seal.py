"""The seal: what a closed session was, and the roots that commit to every byte of it, signed by the gateway.

`seal.json` is the text, `seal.sig` the signature line of a C2SP signed note over exactly that text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from interlock.errors import VerificationError

from .disk import replace
from .event import Tally, reader
from .note import Signer, Verifier

SEAL = "seal.json"
SIGNATURE = "seal.sig"
JOURNAL = "journal.msgpack"


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Operations in all, those refused, those held for approval, and values masked."""

    operations: int
    refused: int
    held: int
    masked: int


class JournalSeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many entries, and the SHA-256 of the last one, which chains to all before (hex)."""

    entries: int
    head: str


class RecordingSeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many events; the root over the salted events (hex; None when the key was shredded before sealing); how many
    segments; the root over the segments' SHA-256 (hex)."""

    events: int
    content_root: str | None
    segments: int
    storage_root: str


class LogSeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log as it stood when the session was sealed: whoever keeps a seal can tell when the log was rewritten or rolled
    back behind it. `root` is hex."""

    origin: str
    size: int
    root: str


class Seal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `seal.json` says. Times are UTC seconds; `gaps` tells in words what is known to be missing."""

    schema: int
    session: str
    state: Literal["sealed", "recovered"]
    principal: str
    owner: str
    resource: str
    protocol: str
    opened_at: float
    closed_at: float
    reason: str
    durability: str
    counts: Counts
    journal: JournalSeal
    recording: RecordingSeal
    policies: list[str]
    gaps: list[str]
    gateway: str
    log: LogSeal


parse_seal = reader(msgspec.json.Decoder(Seal).decode, "the seal")
"""Read the bytes of `seal.json`, unchecked. Raises `VerificationError`."""


def tallied(tally: Tally) -> dict[str, Any]:
    """The part of a seal that follows from the journal alone, so that a verifier can count again."""
    opening = tally.opening
    return {
        "principal": str(opening.get("principal", "")),
        "owner": str(opening.get("owner", "")),
        "resource": str(opening.get("resource", "")),
        "protocol": str(opening.get("protocol", "")),
        "opened_at": tally.opened_at / 1e9,
        "closed_at": tally.ended_at / 1e9,
        "reason": tally.reason,
        "durability": str(opening.get("durability", "")),
        "counts": Counts(tally.operations, tally.refused, tally.held, tally.masked),
        "policies": list(tally.policies),
    }


def write_seal(folder: Path, seal: Seal, signer: Signer) -> bytes:
    """Sign and put in place, durably; the exact bytes of `seal.json`. Raises `OSError`."""
    text = msgspec.json.format(msgspec.json.encode(seal), indent=2).decode() + "\n"
    replace(folder / SIGNATURE, signer.signature_line(text).encode(), sync_name=False)
    replace(folder / SEAL, text.encode())
    return text.encode()


def read_seal(folder: Path) -> Seal | None:
    """The seal of a session folder, unchecked; None when it is not sealed. Raises `VerificationError`."""
    try:
        return parse_seal((folder / SEAL).read_bytes())
    except FileNotFoundError:
        return None


def check_signature(folder: Path, data: bytes, verifier: Verifier) -> None:
    """Check the signature over the exact bytes of `seal.json`. Raises `VerificationError`."""
    try:
        line = (folder / SIGNATURE).read_text()
        verifier.check(data.decode(), line)
    except (OSError, ValueError):
        raise VerificationError("the seal's signature is missing or cannot be read") from None
