from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.evidence.tree import EMPTY_ROOT, Tree, inclusion_proof, leaf_hash, node_hash, root_of_proof


def by_the_book(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word: split at the largest power of two below n."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(by_the_book(leaves[:split]), by_the_book(leaves[split:]))


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_it_is_the_tree_of_the_rfc(leaves: list[bytes]) -> None:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    assert (tree.size, tree.root()) == (len(leaves), by_the_book(leaves))


def test_known_roots() -> None:
    """From the test vectors of Certificate Transparency (RFC 6962 reference implementation)."""
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf_hash(bytes.fromhex(leaf)))
        if tree.size in roots:
            assert tree.root().hex() == roots[tree.size]


def path_by_the_book(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, word for word."""
    if len(leaves) <= 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*path_by_the_book(index, leaves[:split]), by_the_book(leaves[split:])]
    return [*path_by_the_book(index - split, leaves[split:]), by_the_book(leaves[:split])]


@pytest.mark.parametrize("size", range(1, 20))
def test_every_proof_is_that_of_the_rfc_and_leads_to_the_root(size: int) -> None:
    leaves = [bytes([number]) for number in range(size)]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    root = by_the_book(leaves)
    for index in range(size):
        path = inclusion_proof(hashes, index)
        assert path == path_by_the_book(index, leaves)
        assert root_of_proof(hashes[index], index, size, path) == root
        for wrong in range(size + 2):
            if wrong != index:
                assert root_of_proof(hashes[index], wrong, size, path) != root
        assert root_of_proof(hashes[index], index, size, [*path, root]) is None
        if path:
            assert root_of_proof(hashes[index], index, size, path[:-1]) is None
    assert root_of_proof(hashes[0], -1, size, []) is None
