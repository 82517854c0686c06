"""Checking the transparency log: the signed checkpoint, the leaves under it, and what they say of each session."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from interlock.errors import EvidenceError, VerificationError

from .keys import check_id
from .log import ENDINGS, decode_leaf
from .note import Checkpoint, Verifier
from .report import Report
from .tree import Tree, leaf_hash

READS_MAX = 5
READ_AGAIN_S = 0.2
"""A running gateway writes a leaf and signs it within its next commit: a log that is read in between is read again."""


class _Unsigned(VerificationError):
    """There are more leaves than the checkpoint covers."""


@dataclass(slots=True)
class Logged:
    """What the log says of one session: hashes of entries that its journal must hold, and the leaf that ended it."""

    entries: set[str] = field(default_factory=set)
    opened: bool = False
    ending: Mapping[str, object] | None = None
    shredded: bool = False


@dataclass(slots=True)
class LogView:
    """What the log says: of each session, how long it is, and its root (hex) at the sizes that were asked for."""

    sessions: dict[str, Logged] = field(default_factory=dict)
    size: int = 0
    roots: dict[int, str] = field(default_factory=dict)


def verify_log(folder: Path, verifier: Verifier, report: Report, sizes: set[int]) -> LogView:
    """Check the log in `folder`; `sizes` are those at which seals have seen it. Takes up to `READS_MAX` looks at a
    log that somebody is writing."""
    for _ in range(READS_MAX - 1):
        try:
            _check_leaves(folder, _signed(folder, verifier), LogView(), set())
            break
        except _Unsigned:
            time.sleep(READ_AGAIN_S)
        except (OSError, ValueError, VerificationError):
            break  # told below
    view = LogView()
    name = "the log's checkpoint is signed by the gateway"
    signed = None
    try:
        signed = _signed(folder, verifier)
        report.add(name, "verified", f"{signed.size} leaves")
    except (OSError, ValueError, VerificationError) as error:
        report.add(name, "failed", str(error))
    name = "the log's leaves are those of its checkpoint"
    try:
        _check_leaves(folder, signed, view, sizes)
        report.add(name, "verified")
    except (OSError, VerificationError) as error:
        report.add(name, "failed", str(error))
    return view


def _signed(folder: Path, verifier: Verifier) -> Checkpoint:
    checkpoint = Checkpoint.parse(verifier.open((folder / "checkpoint").read_bytes().decode()))
    if checkpoint.origin != verifier.name:
        raise VerificationError(f"it belongs to another log: {checkpoint.origin}")
    return checkpoint


def _check_leaves(folder: Path, signed: Checkpoint | None, view: LogView, sizes: set[int]) -> None:
    """Read all leaves to the end, so that `view` is as full as it can be, then raise what was found first."""
    tree = Tree()
    root = tree.root()
    view.roots[0] = root.hex()
    problem = ""
    for number, line in enumerate(_lines(folder / "leaves.jsonl")):
        if not line.endswith(b"\n"):
            problem = problem or f"leaf {number} is cut off"
            break
        tree.append(leaf_hash(line[:-1]))
        if signed is not None and tree.size == signed.size:
            root = tree.root()
        view.size = tree.size
        if tree.size in sizes:
            view.roots[tree.size] = tree.root().hex()
        try:
            _take(view.sessions, decode_leaf(line))
        except (VerificationError, EvidenceError):
            problem = problem or f"leaf {number} cannot be read"
    if signed is None:
        raise VerificationError("there is no checkpoint to hold them against")
    if tree.size < signed.size:
        problem = problem or f"the checkpoint covers {signed.size} leaves, {tree.size} are here: the log was cut"
    elif root != signed.root:
        problem = problem or "a leaf was changed, dropped, added or moved"
    elif tree.size > signed.size and not problem:
        raise _Unsigned(
            f"the checkpoint covers {signed.size} of {tree.size} leaves: it was rolled back, or the gateway died before it signed"
        )
    for extra in sorted({entry.name for entry in os.scandir(folder)} - {"checkpoint", "leaves.jsonl"}):
        problem = problem or f"{extra} does not belong to a log"
    if problem:
        raise VerificationError(problem)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as lines:
        yield from lines


def _take(logged: dict[str, Logged], leaf: Mapping[str, object]) -> None:
    kind, session = leaf.get("kind"), leaf.get("session")
    if not isinstance(session, str):
        return
    about = logged.setdefault(check_id(session), Logged())
    if kind in ("open", "approval"):
        about.entries.add(str(leaf.get("entry")))
        about.opened = about.opened or kind == "open"
    elif kind in ENDINGS:
        about.ending = leaf
    elif kind == "key-shredded":
        about.shredded = True
