"""Which rows of a table belong to a run, where only the ids of their parents tell.

Belongs here: sorting out the rows of one run from those of all. Does not belong here: the statements (`contract/statements.py`), and
whether a row's parents are right (`export/order.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

import polars as pl
import pyarrow as pa


class Ids:
    """The ids of one run's rows in a table, as 64-bit hashes: 8 bytes each.

    An id of another run is taken for one of them with probability n·2⁻⁶⁴. That run's row then has no parent when the export
    compares the ids themselves, and is refused, not exported.

    Args:
        columns: the ids, as text that may be no UTF-8.
    """

    def __init__(self, columns: Iterable[pa.StringArray]) -> None:
        self._hashes = pl.concat([pl.Series([], dtype=pl.UInt64), *map(_hashes, columns)]).sort()

    def hold(self, ids: pa.StringArray) -> pl.Series:
        """Whether each id is one of them; false for null."""
        if not len(self._hashes) or ids.null_count == len(ids):
            return pl.repeat(False, len(ids), dtype=pl.Boolean, eager=True)
        wanted = _hashes(ids)
        at = self._hashes.search_sorted(wanted).clip(0, len(self._hashes) - 1)
        return (self._hashes.gather(at) == wanted) & pl.from_arrow(ids.is_valid())


def _hashes(ids: pa.StringArray) -> pl.Series:
    return pl.from_arrow(ids.view(pa.binary())).hash().rename("")


class SharedIds:
    """The ids of the run that is being read, found once for all tables and connections that see one state.

    To be used under `lock`: `of` gives the table → ids that are known for a run; those of another are forgotten.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._run_id: str | None = None
        self._by_table: dict[str, Ids] = {}

    def of(self, run_id: str) -> dict[str, Ids]:
        if self._run_id != run_id:
            self._run_id, self._by_table = run_id, {}
        return self._by_table


class Members:
    """Sorts out the rows of one run.

    Args:
        parents: the columns that hold ids of parents → the ids of the run. One of them is enough.
    """

    def __init__(self, parents: Mapping[str, Ids]) -> None:
        self._parents = parents
        self.has_strangers = False
        """Whether there were rows that are not the run's."""

    def of(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of the run, in the same order. What is left of several batches is joined: each has half as many rows as the
        largest that came, but for the last."""
        pending: list[pa.RecordBatch] = []
        rows = largest = 0
        for batch in batches:
            largest = max(largest, batch.num_rows)
            pending.append(self._mine(batch))
            rows += pending[-1].num_rows
            if rows and rows >= largest / 2:
                yield _joined(pending)
                pending, rows = [], 0
        if rows:
            yield _joined(pending)

    def _mine(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        mine = pl.repeat(False, batch.num_rows, dtype=pl.Boolean, eager=True)
        for column, ids in self._parents.items():
            mine |= ids.hold(batch.column(column))
        if mine.all():
            return batch
        self.has_strangers = True
        return batch.filter(mine.to_arrow())


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
