"""Trees and proofs: the writer's and the verifier's, against figures and an implementation that neither made.

Belongs here: arithmetic alone. Does not belong here: packages, disclosures and the log.
"""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from landscape_assets import merkle
from landscape_assets.verify import merkle as verifier

from .vectors import CONSISTENCY, EMPTY, INCLUSION, LEAVES, ROOTS

SIZES = [*range(1, 71), 127, 128, 129, 255, 256, 257, 1000]


def leaves(count: int) -> list[bytes]:
    return [f"leaf {number}".encode() for number in range(count)]


def flips(data: bytes) -> list[bytes]:
    """The data with each of its bits flipped in turn."""
    return [
        data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :] for bit in range(8 * len(data))
    ]


@pytest.mark.parametrize("size", range(1, 9))
def test_published_roots(size: int):
    growing = merkle.GrowingRoot()
    for leaf in LEAVES[:size]:
        growing.add(merkle.hashes_of([leaf]))
    hashes = [verifier.leaf_hash(leaf) for leaf in LEAVES[:size]]
    assert growing.root().hex() == ROOTS[size - 1]
    assert merkle.Tree(merkle.hashes_of(LEAVES)).root(size).hex() == ROOTS[size - 1]
    assert verifier.root_of(hashes).hex() == ROOTS[size - 1]


def test_published_root_of_no_leaves():
    assert merkle.GrowingRoot().root().hex() == EMPTY
    assert merkle.Tree(merkle.hashes_of([])).root().hex() == EMPTY
    assert verifier.root_of([]).hex() == EMPTY


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, path: list[str]):
    proof = [bytes.fromhex(text) for text in path]
    assert merkle.Tree(merkle.hashes_of(LEAVES)).inclusion_proof(index, size) == proof
    leaf = verifier.leaf_hash(LEAVES[index])
    assert verifier.is_included(leaf, index, size, proof, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("first", "second", "path"), CONSISTENCY)
def test_published_consistency_proofs(first: int, second: int, path: list[str]):
    proof = [bytes.fromhex(text) for text in path]
    assert merkle.Tree(merkle.hashes_of(LEAVES)).consistency_proof(first, second) == proof
    roots = [bytes.fromhex(ROOTS[size - 1]) for size in (first, second)]
    assert verifier.is_prefix(first, roots[0], second, roots[1], proof)


@pytest.mark.parametrize("size", SIZES)
def test_another_implementation_gives_the_same_roots(size: int):
    theirs = InmemoryTree(algorithm="sha256")
    for leaf in leaves(size):
        theirs.append_entry(leaf)
    assert merkle.Tree(merkle.hashes_of(leaves(size))).root() == theirs.get_root()
    assert verifier.root_of(map(verifier.leaf_hash, leaves(size))) == theirs.get_root()


@given(st.lists(st.binary(max_size=90).filter(lambda line: b"\n" not in line), max_size=300), st.data())
def test_columns_are_hashed_like_single_leaves(lines: list[bytes], data: st.DataObject):
    """However the lines are divided into columns."""
    growing, at = merkle.GrowingRoot(), 0
    while at < len(lines):
        count = data.draw(st.integers(1, len(lines) - at))
        text = b"".join(line + b"\n" for line in lines[at : at + count])
        hashes = merkle.hashes_of_lines(text)
        assert [row.tobytes() for row in hashes] == [hashlib.sha256(b"\0" + x).digest() for x in lines[at : at + count]]
        growing.add(hashes)
        at += count
    assert growing.size == len(lines)
    assert growing.root() == verifier.root_of(map(verifier.leaf_hash, lines))


def test_every_proof_of_every_small_tree_holds_and_no_other():
    """Index, size, root, leaf, a hash too many or too few: with any of them wrong, no proof holds."""
    held = refused = 0
    for size in range(1, 18):
        tree = merkle.Tree(merkle.hashes_of(leaves(size)))
        root = tree.root()
        for index in range(size):
            proof, leaf = tree.inclusion_proof(index), tree.leaf(index)
            assert verifier.is_included(leaf, index, size, proof, root)
            held += 1
            # Some other sizes have the same path for the same place, by which nothing else is proved: the size is
            # signed with the root. A proof for another place never holds.
            wrong = [(leaf, other, size, proof, root) for other in range(-1, size + 2) if other != index]
            wrong += [(leaf, index, size, [*proof, extra], root) for extra in (root, leaf, bytes(32))]
            wrong += [(leaf, index, size, [extra, *proof], root) for extra in (root, leaf, bytes(32))]
            wrong += [(leaf, index, size, proof[:at] + proof[at + 1 :], root) for at in range(len(proof))]
            wrong += [(leaf, index, size, proof, other) for other in flips(root)[:8]]
            wrong += [(other, index, size, proof, root) for other in flips(leaf)[:8]]
            wrong += [(leaf, index, size, [*proof[:-1], proof[-1] + b"\0"], root)] if proof else []
            if proof:  # a node taken for a leaf, one level up
                pair = (leaf, proof[0]) if index % 2 == 0 else (proof[0], leaf)
                wrong.append((verifier.node_hash(*pair), index // 2, size, proof[1:], root))
                wrong.append((verifier.leaf_hash(b"".join(pair)), index // 2, (size + 1) // 2, proof[1:], root))
            for case in wrong:
                assert not verifier.is_included(*case), case
            refused += len(wrong)
        for first in range(1, size + 1):
            proof, old = tree.consistency_proof(first), tree.root(first)
            assert verifier.is_prefix(first, old, size, root, proof)
            held += 1
            cases = [(other, old, size, root, proof) for other in range(size + 2) if other != first]
            cases += [(first, other, size, root, proof) for other in (*flips(old)[:8], bytes(32))]
            cases += [(first, old, size, other, proof) for other in (*flips(root)[:8], bytes(32))]
            cases += [(first, old, size, root, [*proof, bytes(32)]), (first, old, size, root, [bytes(32), *proof])]
            cases += [(first, old, size, root, proof[:at] + proof[at + 1 :]) for at in range(len(proof))]
            for case in cases:
                assert not verifier.is_prefix(*case), case
            refused += len(cases)
    assert held == 2 * sum(range(1, 18))
    assert refused > 9000
    print(f"{held} proofs held, {refused} wrong ones refused")


def test_every_bit_of_a_proof_counts():
    size = 100
    tree, count = merkle.Tree(merkle.hashes_of(leaves(size))), 0
    for index in (0, 1, 63, 64, 98, 99):
        proof = tree.inclusion_proof(index)
        for at, one in enumerate(proof):
            for other in flips(one):
                changed = [*proof[:at], other, *proof[at + 1 :]]
                assert not verifier.is_included(tree.leaf(index), index, size, changed, tree.root())
                count += 1
    for first in (1, 3, 64, 65, 99):
        proof = tree.consistency_proof(first)
        for at, one in enumerate(proof):
            for other in flips(one):
                changed = [*proof[:at], other, *proof[at + 1 :]]
                assert not verifier.is_prefix(first, tree.root(first), size, tree.root(), changed)
                count += 1
    assert count > 10_000


def test_a_large_tree():
    """Thousands of leaves, at random places: what the small trees show holds where columns are hashed at once."""
    chosen = random.Random(7)
    size = 20_011
    hashes = merkle.hashes_of_lines(b"".join(line + b"\n" for line in leaves(size)))
    tree, growing = merkle.Tree(hashes), merkle.GrowingRoot()
    for at in range(0, size, 3_001):
        growing.add(hashes[at : at + 3_001])
    root = verifier.root_of(map(verifier.leaf_hash, leaves(size)))
    assert tree.root() == growing.root() == root
    for _ in range(200):
        index, first = chosen.randrange(size), chosen.randrange(1, size + 1)
        assert verifier.is_included(tree.leaf(index), index, size, tree.inclusion_proof(index), root)
        assert verifier.is_prefix(first, tree.root(first), size, root, tree.consistency_proof(first))


@pytest.mark.parametrize("wrong", [(5, 5), (-1, 5), (0, 6)])
def test_no_proof_of_a_leaf_that_is_not_there(wrong: tuple[int, int]):
    with pytest.raises(ValueError, match="no leaf"):
        merkle.Tree(merkle.hashes_of(leaves(5))).inclusion_proof(*wrong)


@pytest.mark.parametrize("wrong", [(0, 5), (6, 5), (1, 6)])
def test_no_consistency_of_a_tree_that_was_not(wrong: tuple[int, int]):
    with pytest.raises(ValueError, match="not the beginning"):
        merkle.Tree(merkle.hashes_of(leaves(5))).consistency_proof(*wrong)
