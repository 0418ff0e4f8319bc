"""The manifest record of version 2: chunks, and what they may be.

Belongs here: `records/manifest_v2.py` by itself. Does not belong here: whether it is ELSPETH's (`test_conformance.py`).
"""

import hashlib
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_assets.errors import ExportError
from landscape_assets.records.manifest_v2 import Chunk, Chunks, ManifestOptions
from landscape_assets.records.sign import SigningKey


def lines_of(lengths: list[int]) -> tuple[memoryview, np.ndarray]:
    """Lines of these lengths, each of other bytes."""
    data = b"".join(bytes([65 + i % 26]) * (length - 1) + b"\n" for i, length in enumerate(lengths))
    return memoryview(data), np.array(lengths, np.int64)


def one_by_one(lengths: list[int], most_records: int, most_bytes: int) -> list[Chunk]:
    """The chunks as the contract says it, line by line."""
    data, _ = lines_of(lengths)
    chunks: list[Chunk] = []
    held: list[bytes] = []
    at = 0
    for length in [*lengths, None]:
        size = sum(map(len, held))
        if held and (length is None or len(held) == most_records or size + length > most_bytes):
            chunks.append(Chunk(len(held), size, hashlib.sha256(b"".join(held)).hexdigest()))
            held = []
        if length is not None:
            held.append(bytes(data[at : at + length]))
            at += length
    return chunks


@given(
    lengths=st.lists(st.integers(1, 9), max_size=40),
    cuts=st.sets(st.integers(0, 40)),
    most_records=st.integers(1, 7),
    most_bytes=st.integers(9, 30),
)
def test_chunks_are_cut_as_if_line_by_line(
    lengths: list[int], cuts: set[int], most_records: int, most_bytes: int
) -> None:
    """However the lines come, in batches of any size."""
    chunks = Chunks(ManifestOptions(per_chunk_record_limit=most_records, per_chunk_byte_limit=most_bytes))
    data, every = lines_of(lengths)
    for first, last in pairwise(sorted({0, len(lengths), *(cut for cut in cuts if cut < len(lengths))})):
        start, end = int(every[:first].sum()), int(every[:last].sum())
        chunks.add(data[start:end], every[first:last])
    assert chunks.finish() == one_by_one(lengths, most_records, most_bytes)
    assert (chunks.records, chunks.size) == (len(lengths), sum(lengths))


def test_a_line_longer_than_a_chunk_is_refused() -> None:
    """The message names the record and the setting."""
    chunks = Chunks(ManifestOptions(per_chunk_byte_limit=8))
    chunks.add(*lines_of([5, 8]))
    with pytest.raises(ExportError, match=r"Record 4 has 9 bytes.*LANDSCAPE_CHUNK_BYTES"):
        chunks.add(*lines_of([3, 9]))


def test_memory_does_not_grow_with_the_records() -> None:
    """What passes by is hashed, and not kept."""
    chunks = Chunks(ManifestOptions())
    data, lengths = lines_of([1000] * 1000)
    chunks.add(data, lengths)
    tracemalloc.start()
    for _ in range(20):
        chunks.add(data, lengths)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 200_000  # of 20 MB
    assert len(chunks.finish()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"per_chunk_record_limit": 0},
        {"per_chunk_record_limit": 1_000_001},
        {"per_chunk_byte_limit": 67_108_865},
        {"export_format": "parquet"},
        {"signer_key_id": "UNSIGNED"},
        {"signer_key_id": "-key"},
        {"signer_key_id": "a" * 129},
        {"signer_key_id": "a key"},
    ],
)
def test_options_that_elspeth_does_not_take_are_refused(wrong: dict[str, object]) -> None:
    """Each says what was wrong."""
    with pytest.raises(ExportError, match=r"must be|none of|cannot be"):
        ManifestOptions(**wrong)


def test_the_signer_is_the_key_of_the_package_unless_it_is_set() -> None:
    """A key id that ELSPETH does not take is refused only where it would be used."""
    assert ManifestOptions().key_id(SigningKey("k" * 20, "mine")) == "mine"
    assert ManifestOptions().key_id(SigningKey("k" * 20)).startswith("hmac:")
    assert ManifestOptions(signer_key_id="theirs").key_id(SigningKey("k" * 20, "not one")) == "theirs"
    assert ManifestOptions(signer_key_id="theirs").key_id(None) == "UNSIGNED"
    with pytest.raises(ExportError, match="LANDSCAPE_SIGNER_KEY_ID"):
        ManifestOptions().key_id(SigningKey("k" * 20, "not one"))
