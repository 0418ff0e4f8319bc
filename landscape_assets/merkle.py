"""Merkle trees of RFC 6962, section 2.1 (RFC 9162, section 2.1): hashes of whole columns of leaves, roots, proofs.

Belongs here: the arithmetic of trees over SHA-256. Does not belong here: what the leaves are (records: `formats/`;
entries of the log: `evidence/`), and the verifier's own, which shares nothing with this (`verify/merkle.py`).

A leaf is hashed as SHA-256(0x00 ‖ leaf), a node as SHA-256(0x01 ‖ left ‖ right). Columns are hashed by `polars_hash`,
which does it without the interpreter and its lock; few nodes are hashed one by one, because a column has a price.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import polars_hash
import pyarrow as pa

ALGORITHM = "rfc6962-sha256"
EMPTY_ROOT = hashlib.sha256().digest()
"""The root of a tree without leaves."""

HASH_BYTES = 32
Hashes = npt.NDArray[np.uint8]
"""Hashes, one in each row of 32 bytes."""

_LINE_END = 10
_FEW = 64
"""Up to so many hashes are computed one by one."""
_MANY = 2**16
"""So many leaves, at least, are added to a tree together."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node above two."""
    return hashlib.sha256(b"\1" + left + right).digest()


def hashes_of(leaves: Sequence[bytes]) -> Hashes:
    """The hash of each of some leaves."""
    return _rows(b"".join(map(leaf_hash, leaves)))


def hashes_of_lines(text: memoryview | bytes, lengths: npt.NDArray[np.int64] | None = None) -> Hashes:
    """The hash of each line as a leaf, without its line end.

    The byte before a line, which is the end of the one before, is where the 0x00 of its leaf goes. It is put there and
    taken back, so that nothing is copied where the text may be changed.

    Args:
        text: whole lines; each ends with LF, and LF is in no line. No other thread may read it meanwhile.
        lengths: the bytes of each line, its end included, where they are known.
    """
    given = np.frombuffer(text, np.uint8)
    if not len(given):
        return _rows(b"")
    if not given.flags.writeable:
        given = given.copy()
    # Where each line ends, and (but for the last) the leaf of the next begins.
    ends = np.flatnonzero(given == _LINE_END) if lengths is None else np.cumsum(lengths) - 1
    first = leaf_hash(given[: ends[0]].tobytes())
    given[ends[:-1]] = 0
    try:
        others = _hash_column(given, ends)
    finally:
        given[ends[:-1]] = _LINE_END
    return np.concatenate([_rows(first), others])


def _hash_column(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> Hashes:
    """The SHA-256 of each part of some data, from one offset to the next."""
    if len(offsets) < 2:
        return _rows(b"")
    column = pa.Array.from_buffers(
        pa.large_binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )
    frame = pl.DataFrame({"message": pl.from_arrow(column)})
    hex_digits = frame.select(hash=polars_hash.col("message").chash.sha2_256())["hash"]
    texts = hex_digits.to_arrow(compat_level=pl.CompatLevel.oldest())
    start = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset]
    length = 2 * HASH_BYTES * len(texts)
    return _rows(binascii.unhexlify(memoryview(texts.buffers()[2])[start : start + length]))


def _rows(data: bytes) -> Hashes:
    return np.frombuffer(data, np.uint8).reshape(-1, HASH_BYTES)


def _parents(hashes: Hashes) -> Hashes:
    """The nodes above pairs of hashes; as many as there are whole pairs."""
    count = len(hashes) // 2
    if count <= _FEW:
        data = hashes.tobytes()
        step = 2 * HASH_BYTES
        pairs = (data[at : at + step] for at in range(0, count * step, step))
        return _rows(b"".join(hashlib.sha256(b"\1" + pair).digest() for pair in pairs))
    messages = np.empty((count, 1 + 2 * HASH_BYTES), np.uint8)
    messages[:, 0] = 1
    messages[:, 1:] = hashes[: 2 * count].reshape(count, -1)
    return _hash_column(messages.reshape(-1), np.arange(count + 1, dtype=np.int64) * messages.shape[1])


class GrowingRoot:
    """The root of a tree that grows at its end; of the leaves it keeps a hash for each bit of their number."""

    def __init__(self) -> None:
        self.size = 0
        self._edges: list[bytes | None] = []
        """By height: the whole subtree that waits for the one to its right."""
        self._waiting: list[Hashes] = []
        """Leaves that are not in the tree yet: a column has a price, and so many are added together."""

    def add(self, leaves: Hashes) -> None:
        """Adds leaves by their hashes, in order."""
        self.size += len(leaves)
        self._waiting.append(leaves)
        if sum(map(len, self._waiting)) >= _MANY:
            self._grow()

    def _grow(self) -> None:
        leaves = np.concatenate([_rows(b""), *self._waiting])
        self._waiting = []
        height = 0
        while len(leaves):
            if height == len(self._edges):
                self._edges.append(None)
            waiting = self._edges[height]
            if waiting is not None:
                leaves = np.concatenate([_rows(waiting), leaves])
            self._edges[height] = leaves[-1].tobytes() if len(leaves) % 2 else None
            leaves = _parents(leaves)
            height += 1

    def root(self) -> bytes:
        """The root of the leaves so far."""
        self._grow()
        root = None
        for edge in self._edges:
            if edge is not None:
                root = edge if root is None else node_hash(edge, root)
        return EMPTY_ROOT if root is None else root


class Tree:
    """A whole tree in memory, for proofs: twice the hashes of its leaves.

    Args:
        leaves: the hash of each leaf.
    """

    def __init__(self, leaves: Hashes) -> None:
        self.size = len(leaves)
        self._levels = [leaves]
        while len(self._levels[-1]) > 1:
            self._levels.append(_parents(self._levels[-1]))

    def leaf(self, index: int) -> bytes:
        """The hash of a leaf."""
        return bytes(self._levels[0][index])

    def level(self, height: int) -> Hashes:
        """The nodes above whole subtrees of a height; none where there are none."""
        return self._levels[height] if height < len(self._levels) else self._levels[-1][:0]

    def root(self, size: int | None = None) -> bytes:
        """The root of the first leaves; of all of them unless told how many.

        Raises:
            ValueError: there are not so many.
        """
        size = self.size if size is None else size
        if not 0 <= size <= self.size:
            raise ValueError(f"The tree has {self.size} leaves, not {size}.")
        return self._hash(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """The audit path of a leaf (RFC 6962, 2.1.1), from the leaf up.

        Args:
            index: the leaf, from 0.
            size: of the tree that the leaf is in; of all leaves unless told.

        Raises:
            ValueError: there is no such leaf.
        """
        size = self.size if size is None else size
        if not 0 <= index < size <= self.size:
            raise ValueError(f"There is no leaf {index} among {size} of a tree of {self.size}.")
        path, start, end = [], 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._hash(middle, end))
                end = middle
            else:
                path.append(self._hash(start, middle))
                start = middle
        return path[::-1]

    def consistency_proof(self, first: int, size: int | None = None) -> list[bytes]:
        """The proof that a tree begins with an earlier one (RFC 6962, 2.1.2).

        Args:
            first: how many leaves the earlier tree had.
            size: of the later tree; all leaves unless told.

        Raises:
            ValueError: there were not so many.
        """
        size = self.size if size is None else size
        if not 0 < first <= size <= self.size:
            raise ValueError(f"A tree of {first} leaves is not the beginning of one of {size} out of {self.size}.")
        path, start, end, is_known = [], 0, size, True
        while first != end:
            middle = start + _split(end - start)
            if first <= middle:
                path.append(self._hash(middle, end))
                end = middle
            else:
                path.append(self._hash(start, middle))
                start, is_known = middle, False
        if not is_known:
            path.append(self._hash(start, end))
        return path[::-1]

    def _hash(self, start: int, end: int) -> bytes:
        """The node above the leaves from `start` to `end`, where the tree has such a node."""
        count = end - start
        height = count.bit_length() - 1
        if count == 1 << height:
            return bytes(self._levels[height][start >> height])
        middle = start + _split(count)
        return node_hash(self._hash(start, middle), self._hash(middle, end))


def _split(count: int) -> int:
    """The greatest power of two below a number above 1."""
    return 1 << (count - 1).bit_length() - 1
