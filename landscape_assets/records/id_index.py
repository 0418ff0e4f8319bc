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
from ..storage.arrow_file import ArrowReader

_SEEDS = range(8)


class IdIndex:
    """From ids of runs to sort groups, by 64-bit hashes that are shown to differ for all ids of the index.

    An id that is not in the index is taken for one that is with probability n·2⁻⁶⁴. Where that would matter, the order
    within a bucket finds it, because it compares the ids themselves.
    """

    def __init__(self, seed: int, hashes: pl.Series, sort_groups: pl.Series) -> None:
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
            hashes = pl.concat(parts) if parts else pl.Series(column, [], pl.UInt64)
            frame = pl.DataFrame({"hash": hashes, "sort_group": sort_groups}).sort("hash")
            if frame["hash"].n_unique() == len(frame):
                return cls(seed, frame["hash"].rechunk(), frame["sort_group"].rechunk())
            _refuse_same_ids(table, reader)
        raise AssertionError("ids collide under every seed")  # 2⁻⁶⁴ each time

    def sort_groups(self, ids: pl.Series, runs: pl.Series) -> pl.Series:
        """The sort group of each id of a run; null for null, and for an id that is not in the index."""
        if not len(self._hashes):
            return pl.repeat(None, len(ids), dtype=pl.UInt32, eager=True)
        wanted = _keys(ids, runs, self._seed)
        at = self._hashes.search_sorted(wanted).clip(0, len(self._hashes) - 1)
        frame = pl.DataFrame(
            {"found": self._hashes.gather(at) == wanted, "sort_group": self._sort_groups.gather(at), "id": ids}
        )
        return frame.select(pl.when(pl.col("found") & pl.col("id").is_not_null()).then("sort_group")).to_series()


_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # an odd number whose multiples differ in all bits (2⁶⁴ / golden ratio)


def _keys(ids: pl.Series, runs: pl.Series, seed: int) -> pl.Series:
    """A hash of each id together with its run: one id may occur in several runs."""
    keys = ids.hash(seed)
    if runs.max():
        keys = pl.Series(keys.name, keys.to_numpy() + runs.to_numpy().astype(np.uint64) * _SPREAD)
    return keys


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
