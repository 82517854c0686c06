"""RFC 6962 Merkle trees that grow in O(log n) memory (RFC 6962 section 2.1; the same tree as RFC 9162 and C2SP tlog)."""

from __future__ import annotations

from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data), 32 bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """An append-only tree that keeps only the roots of its perfect subtrees, largest first."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash (32 bytes, from `leaf_hash`)."""
        position = self.size
        while position & 1:  # each set low bit is a perfect subtree that this leaf completes
            leaf = node_hash(self._peaks.pop(), leaf)
            position >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far, 32 bytes; of an empty tree SHA-256 of nothing."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root
