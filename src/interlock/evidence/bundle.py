"""One session for somebody outside: its folder, and the proof that its seal is in the log, to be checked offline.

The proof is a C2SP tlog-proof (https://c2sp.org/tlog-proof): index, audit path and signed checkpoint; its `extra` line
carries the leaf. It shows nothing of other sessions.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Mapping
from hashlib import sha256
from itertools import islice
from pathlib import Path

from interlock.errors import EvidenceError, VerificationError

from .keys import check_id
from .log import ENDINGS, MAX_LEAF, decode_leaf
from .note import Checkpoint, Verifier, strict_base64
from .seal import SEAL
from .tree import inclusion_proof, leaf_hash, root_of_proof

PROOF = "log.tlog-proof"
_MAGIC = "c2sp.org/tlog-proof@v1"
_MAX_PATH = 64
"""Hashes in an audit path: enough for 2^64 leaves."""


def export(folder: Path, session_id: str, target: Path) -> Path:
    """Copy a sealed session from the evidence folder to `target/<id>`, with its proof; that folder.

    Works beside a running gateway. Raises `EvidenceError` when the session is not sealed and logged yet, or is there already.
    """
    source, copy = folder / "sessions" / check_id(session_id), target / session_id
    if not (source / SEAL).exists():
        raise EvidenceError(f"session {session_id} is not sealed")
    note, leaves = _signed_leaves(folder / "log")
    digest = sha256((source / SEAL).read_bytes()).hexdigest()
    index = next((i for i, leaf in enumerate(leaves) if digest.encode() in leaf and decode_leaf(leaf).get("seal") == digest), None)
    if index is None:
        raise EvidenceError(f"the end of session {session_id} is not in the signed log yet")
    path = inclusion_proof([leaf_hash(leaf) for leaf in leaves], index)
    try:
        shutil.copytree(source, copy)
        (copy / PROOF).write_text(_render(leaves[index], index, path, note))
    except OSError as error:
        raise EvidenceError(f"session {session_id} cannot be copied to {copy}: {error}") from error
    return copy


def _signed_leaves(log: Path) -> tuple[str, list[bytes]]:
    """The checkpoint as it is, and the leaves that it covers."""
    try:
        note = (log / "checkpoint").read_text()
        size = Checkpoint.parse(note.rpartition("\n\n")[0] + "\n").size
        with (log / "leaves.jsonl").open("rb") as lines:
            leaves = [line[:-1] for line in islice(lines, size)]
    except (OSError, ValueError, VerificationError) as error:
        raise EvidenceError(f"the log cannot be read: {error}") from error
    if len(leaves) < size:
        raise EvidenceError(f"the log was cut: its checkpoint covers {size} leaves, {len(leaves)} are here")
    return note, leaves


def _render(leaf: bytes, index: int, path: list[bytes], note: str) -> str:
    hashes = "".join(base64.b64encode(each).decode() + "\n" for each in path)
    return f"{_MAGIC}\nextra {base64.b64encode(leaf).decode()}\nindex {index}\n{hashes}\n{note}"


def proven_leaf(proof: str, verifier: Verifier) -> tuple[Mapping[str, object], Checkpoint]:
    """The leaf that a proof carries, and the checkpoint it was proven against. Raises `VerificationError`."""
    leaf, index, path, note = _parse(proof)
    checkpoint = Checkpoint.parse(verifier.open(note))
    if checkpoint.origin != verifier.name:
        raise VerificationError(f"it is a proof of another log: {checkpoint.origin}")
    if root_of_proof(leaf_hash(leaf), index, checkpoint.size, path) != checkpoint.root:
        raise VerificationError("the proof does not lead to the checkpoint's root")
    found = decode_leaf(leaf)
    if found.get("kind") not in ENDINGS:
        raise VerificationError("it proves something else than the end of a session")
    return found, checkpoint


def _parse(proof: str) -> tuple[bytes, int, list[bytes], str]:
    head, _, note = proof.partition("\n\n")
    lines = head.split("\n")
    try:
        if len(proof) > 4 * MAX_LEAF or len(lines) < 3 or len(lines) > 3 + _MAX_PATH or lines[0] != _MAGIC:
            raise ValueError
        leaf = strict_base64(lines[1].removeprefix("extra "))
        index = int(lines[2].removeprefix("index "))
        path = [strict_base64(line) for line in lines[3:]]
    except ValueError:
        raise VerificationError("this is not a proof of this version") from None
    if _render(leaf, index, path, note) != proof:
        raise VerificationError("the proof is not in its one spelling")
    return leaf, index, path, note
