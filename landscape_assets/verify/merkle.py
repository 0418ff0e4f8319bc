"""Merkle trees of RFC 9162, section 2.1, as a verifier needs them: roots of leaves, and the check of proofs.

Belongs here: the arithmetic. Does not belong here: what leaves are, and what a failed check means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence

HASH_BYTES = 32
ALGORITHM = "rfc6962-sha256"


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf: SHA-256 of 0x00 and the leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256 of 0x01 and both below it."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class RootHash:
    """The root over leaves that come one after the other (RFC 9162, 2.1.2), in memory for one hash of each height."""

    def __init__(self) -> None:
        self.size = 0
        self.stack: list[bytes] = []

    def add(self, leaf_hashes: Iterable[bytes]) -> None:
        """Take the hashes of the next leaves."""
        stack, size = self.stack, self.size
        for leaf in leaf_hashes:
            node, merges = leaf, size
            while merges & 1:
                node = node_hash(stack.pop(), node)
                merges >>= 1
            stack.append(node)
            size += 1
        self.size = size

    def value(self) -> bytes:
        """The root of the leaves so far."""
        if not self.stack:
            return hashlib.sha256(b"").digest()
        root = self.stack[-1]
        for left in reversed(self.stack[:-1]):
            root = node_hash(left, root)
        return root


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root of a tree, from the hashes of its leaves."""
    tree = RootHash()
    tree.add(leaf_hashes)
    return tree.value()


def roots_at(leaf_hashes: Iterable[bytes], sizes: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """The roots of the first leaves, for each of some sizes that occurs, in growing order."""
    tree = RootHash()
    for leaf in leaf_hashes:
        tree.add((leaf,))
        if tree.size in sizes:
            yield tree.size, tree.value()


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether an inclusion proof holds (RFC 9162, 2.1.3.2).

    Args:
        leaf: the hash of the leaf.
        index: its place, from 0.
        size: how many leaves the tree has.
        path: the proof, from the leaf up; a hash too many, or too few, and it does not hold.
        root: of the tree.
    """
    if not 0 <= index < size or any(len(one) != HASH_BYTES for one in (leaf, root, *path)):
        return False
    place, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def is_prefix(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a consistency proof holds (RFC 9162, 2.1.4.2): the second tree begins with the first.

    Args:
        first, first_root: size and root of the earlier tree, which is not empty.
        second, second_root: of the later one.
        proof: the proof.
    """
    if not 0 < first <= second or any(len(one) != HASH_BYTES for one in (first_root, second_root, *proof)):
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, node)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root
