"""From 64-bit hashes to numbers, a batch at a time.

Belongs here: what the indexes of ids have in common (`database/membership.py`, `records/id_index.py`). Does not belong
here: what is hashed, and what the numbers mean.

It is done with NumPy, as much of what is done for each batch: an operation of Polars costs as much as thousands of
rows, and a small run has tables of a few.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa


def look_up(wanted: np.ndarray, given: np.ndarray, hashes: np.ndarray, numbers: np.ndarray) -> pl.Series:
    """The number beside each hash.

    Args:
        wanted: the hashes to look up (uint64).
        given: whether each of them is that of an id; the hash of a null is not.
        hashes: the hashes that there are, ascending (uint64).
        numbers: the number beside each of them (uint32).

    Returns:
        As many numbers as are wanted (uint32); null for what is not given, or not there.
    """
    if not len(hashes):
        return with_nulls(np.zeros(len(wanted), np.uint32), np.zeros(len(wanted), bool))
    at = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
    return with_nulls(numbers[at], (hashes[at] == wanted) & given)


def with_nulls(numbers: np.ndarray, given: np.ndarray) -> pl.Series:
    """Numbers as a series; null where they are not given."""
    return pl.Series(pa.array(numbers) if given.all() else pa.array(numbers, mask=~given))
