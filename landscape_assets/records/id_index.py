"""From ids to sort groups, and the errors of ids that lead nowhere or occur twice.

Belongs here: looking up ids of runs without keeping them. Does not belong here: what sort groups are (`plan.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from ..contract import Table
from ..database import RUN
from ..errors import CorruptTable
from ..lookup import look_up
from ..storage.arrow_file import ArrowReader

_SEEDS = range(8)


class IdIndex:
    """From ids of runs to sort groups, by 64-bit hashes that are shown to differ for all ids of the index.

    An id that is not in the index is taken for one that is with probability n·2⁻⁶⁴. Where that would matter, the order
    within a bucket finds it, because it compares the ids themselves.
    """

    def __init__(self, seed: int, hashes: np.ndarray, sort_groups: np.ndarray) -> None:
        self._seed, self._hashes, self._sort_groups = seed, hashes, sort_groups

    @classmethod
    def build(cls, table: Table, reader: ArrowReader, sort_groups: pl.Series) -> IdIndex:
        """The index of a table's id column.

        Args:
            table: the table; ids are those of its first id column.
            reader: its rows.
            sort_groups: the sort group of each row, in the same order.

        Raises:
            CorruptTable: an id occurs twice in a run.
        """
        column = table.id[0]
        for seed in _SEEDS:
            parts = [_keys(frame[column], frame[RUN], seed) for frame in reader.frames([column, RUN])]
            hashes = np.concatenate([np.empty(0, np.uint64), *parts])
            frame = pl.DataFrame({"hash": hashes, "sort_group": sort_groups}).sort("hash")
            hashes = frame["hash"].to_numpy()
            if (hashes[1:] != hashes[:-1]).all():
                return cls(seed, hashes, frame["sort_group"].to_numpy())
            _refuse_same_ids(table, reader)
        raise AssertionError("ids collide under every seed")  # 2⁻⁶⁴ each time

    def sort_groups(self, ids: pl.Series, runs: pl.Series) -> pl.Series:
        """The sort group of each id of a run; null for null, and for an id that is not in the index."""
        return look_up(_keys(ids, runs, self._seed), ids.is_not_null().to_numpy(), self._hashes, self._sort_groups)


_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # an odd number whose multiples differ in all bits (2⁶⁴ / golden ratio)


def _keys(ids: pl.Series, runs: pl.Series, seed: int) -> np.ndarray:
    """A hash of each id together with its run: one id may occur in several runs."""
    keys: np.ndarray = ids.hash(seed).to_numpy()
    numbers = runs.to_numpy()
    return keys + numbers.astype(np.uint64) * _SPREAD if numbers.any() else keys


def _refuse_same_ids(table: Table, reader: ArrowReader) -> None:
    rows = reader.frame([table.id[0], RUN])
    twice = rows.filter(rows.is_duplicated())[table.id[0]]
    if len(twice):
        raise CorruptTable(
            table.name, f"{table.id[0]} {twice[0]!r}", table.id[0], repr(twice[0]), "which occurs more than once"
        )


def orphan(table: Table, link: str, parent: str, row: Mapping[str, object]) -> CorruptTable:
    """The error of a row whose parent, or a row that it refers to, is not in the run."""
    label = ", ".join(f"{name} {row[name]!r}" for name in table.id)
    return CorruptTable(table.name, label, link, repr(row[link]), f"which is the id of no row of {parent} in this run")
