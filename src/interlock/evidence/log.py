"""The transparency log: one line of JSON per leaf, an RFC 6962 tree over them, and a signed checkpoint.

```
log/leaves.jsonl     {"kind":"open","at":…,"session":…,"entry":…}   a leaf is the line without its newline
log/checkpoint       a C2SP checkpoint (origin, size, root) as a signed note
```

Leaves hold no personal data and no names, only ids and hashes: they are never deleted. The log is what makes a recording
that was removed whole show.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from interlock.errors import EvidenceError, VerificationError

from .disk import replace, write_all
from .event import reader
from .keys import Keys
from .note import Checkpoint
from .tree import Tree, leaf_hash

MAX_LEAF = 65_535
"""Bytes of one leaf: what a C2SP entry bundle can hold (16-bit length)."""
ENDINGS = ("close", "recovered")

_encode = msgspec.json.Encoder(order="deterministic").encode
decode_leaf = reader(msgspec.json.Decoder(dict[str, object]).decode, "a leaf")


class Log:
    """The open log of one gateway; only one process writes it."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self._keys = keys
        self._path = folder / "leaves.jsonl"
        self._checkpoint_path = folder / "checkpoint"
        self._tree = Tree()
        self._unwritten: list[bytes] = []
        self._fd = -1
        self.signed = self.head()
        """The newest head that is signed and durable."""

    @property
    def size(self) -> int:
        return self._tree.size

    def load(self, on_leaf: Callable[[Mapping[str, object]], None]) -> None:
        """Open or begin the log; hands every leaf to `on_leaf`. Cuts a torn last line, which no checkpoint covers.

        Raises `EvidenceError` when the log is older or other than its checkpoint says: nothing is signed on top of that.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists() and not self._checkpoint_path.exists():
            self.sign(self.head())  # first, so that leaves without a checkpoint can only mean that somebody took it
        signed = self._read_checkpoint()
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        self._read(signed, on_leaf)

    def _read_checkpoint(self) -> Checkpoint:
        try:
            checkpoint = Checkpoint.parse(self._keys.signer.verifier.open(self._checkpoint_path.read_text()))
        except (OSError, ValueError, VerificationError) as error:
            raise EvidenceError(f"the log's checkpoint cannot be trusted: {error}") from error
        return checkpoint

    def _read(self, signed: Checkpoint, on_leaf: Callable[[Mapping[str, object]], None]) -> None:
        root = self._tree.root() if signed.size == 0 else None
        offset = 0
        with self._path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    os.ftruncate(self._fd, offset)
                    break
                offset += len(line)
                self._tree.append(leaf_hash(line[:-1]))
                if self._tree.size == signed.size:
                    root = self._tree.root()
                try:
                    on_leaf(decode_leaf(line))
                except VerificationError as error:
                    raise EvidenceError(f"the log was changed: {error.message}") from error
        if root is None:
            raise EvidenceError(f"the log was rolled back: its checkpoint covers {signed.size} leaves, it has {self._tree.size}")
        if root != signed.root:
            raise EvidenceError("the log was changed: its leaves do not match its checkpoint")

    def append(self, kind: str, at: float, facts: Mapping[str, object]) -> int:
        """Add a leaf; its index. `write` hands it to the operating system. Raises `EvidenceError`."""
        try:
            leaf = _encode({"kind": kind, "at": round(at, 6), **facts})
        except (TypeError, msgspec.MsgspecError) as error:
            raise EvidenceError(f"a log leaf cannot be encoded: {error}") from error
        if len(leaf) > MAX_LEAF:
            raise EvidenceError(f"a log leaf has {len(leaf)} bytes, the limit is {MAX_LEAF}")
        self._tree.append(leaf_hash(leaf))
        self._unwritten.append(leaf + b"\n")
        return self._tree.size - 1

    def write(self) -> bool:
        """Write new leaves (page cache); whether there were any. Raises `OSError`."""
        if not self._unwritten:
            return False
        data = b"".join(self._unwritten)
        self._unwritten.clear()
        write_all(self._fd, data)
        return True

    def head(self) -> Checkpoint:
        """The head over all leaves that were appended."""
        return Checkpoint(self._keys.signer.verifier.name, self._tree.size, self._tree.root())

    def sign(self, head: Checkpoint) -> None:
        """Make the leaves durable, then put the signed checkpoint in place. Runs in a thread. Raises `OSError`."""
        if self._fd >= 0:
            os.fdatasync(self._fd)
        replace(self._checkpoint_path, self._keys.signer.note(head.text()).encode())
        self.signed = head

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Roster:
    """Session ids from the log's leaves: the newest in order, and those that were opened and never ended."""

    def __init__(self, limit: int) -> None:
        self.newest: deque[str] = deque(maxlen=limit)
        self.unfinished: dict[str, None] = {}

    def add(self, leaf: Mapping[str, object]) -> None:
        session = leaf.get("session")
        if not isinstance(session, str):
            return
        if leaf.get("kind") == "open":
            self.newest.append(session)
            self.unfinished[session] = None
        elif leaf.get("kind") in ENDINGS:
            self.unfinished.pop(session, None)
