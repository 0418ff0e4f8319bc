"""Which run a row belongs to, told by its own run_id or by the ids of its parents (contract, section 2).

Belongs here: the runs that are read together and their numbers, an index from ids to runs, and sorting out the rows of
these runs. Does not belong here: the statements (`database/statements.py`), and whether a row's parents are right
(`records/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import ExportError
from ..lookup import look_up

RUN = "run"
"""The column by which every row says to which of the runs that are read together it belongs (uint32: its place among
them)."""


class RunsOfIds:
    """From the ids of a table's rows to the runs that the rows belong to, by 64-bit hashes: 12 bytes each.

    An id of another run is taken for one of them with probability n·2⁻⁶⁴. That run's row then has no parent when the
    export compares the ids themselves, and is refused, not exported.
    """

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._hashes, self._runs = np.empty(0, np.uint64), np.empty(0, np.uint32)

    def add(self, ids: pa.StringArray, runs: pl.Series) -> None:
        """Takes in the ids of some rows, and the runs of these."""
        self._parts.append(pl.DataFrame({"id": _hashes(ids), RUN: runs}))

    def finish(self, table: str) -> None:
        """To be called when all ids are in.

        Raises:
            ExportError: an id occurs in two of the runs.
        """
        if self._parts:
            found = pl.concat(self._parts).sort("id")
            self._parts.clear()
            ids, runs = found["id"].to_numpy(), found[RUN].to_numpy()
            if ((ids[1:] == ids[:-1]) & (runs[1:] != runs[:-1])).any():
                raise ExportError(f"An id of table {table} occurs in two runs. `landscape-assets check` finds it.")
            self._hashes, self._runs = ids, runs

    def runs(self, ids: pa.StringArray) -> pl.Series:
        """The run of each id; null for null, and for an id that is not among them."""
        return look_up(_hashes(ids).to_numpy(), np.asarray(ids.is_valid()), self._hashes, self._runs)


def _hashes(ids: pa.StringArray) -> pl.Series:
    return pl.Series(ids.cast(pa.binary())).hash()


class RunNumbers:
    """The runs that are read together.

    Args:
        run_ids: the runs, each once.
    """

    def __init__(self, run_ids: Iterable[str]) -> None:
        self.run_ids = tuple(run_ids)
        self._run_ids = pa.array([run_id.encode() for run_id in self.run_ids], pa.binary())

    def of(self, run_ids: pa.StringArray) -> pl.Series:
        """The number of each run; null for one that is not among them."""
        numbers: pa.Int32Array = pc.index_in(run_ids.cast(pa.binary()), self._run_ids)
        return pl.Series(RUN, numbers.cast(pa.uint32()))


def sort_out(
    batches: Iterable[pa.RecordBatch],
    numbers: RunNumbers,
    parents: Mapping[str, RunsOfIds],
) -> Iterator[tuple[pa.RecordBatch, pl.Series]]:
    """The rows of the runs among those of all, in the same order.

    What is left of several batches is joined: each has half as many rows as the largest that came, but for the last.

    Args:
        batches: rows; text may not be UTF-8.
        numbers: the runs.
        parents: the columns that hold ids of parents → the runs of these; empty where the row's own run_id tells.

    Yields:
        Some rows, and the number of the run of each.
    """
    pending: list[tuple[pa.RecordBatch, pl.Series]] = []
    rows = largest = 0
    for batch in batches:
        largest = max(largest, batch.num_rows)
        mine = _with_run(batch, numbers, parents)
        pending.append(mine)
        rows += len(mine[1])
        if rows and rows >= largest / 2:
            yield _joined(pending)
            pending, rows = [], 0
    if rows:
        yield _joined(pending)


def _with_run(
    batch: pa.RecordBatch, numbers: RunNumbers, parents: Mapping[str, RunsOfIds]
) -> tuple[pa.RecordBatch, pl.Series]:
    if parents:
        found = [index.runs(batch.column(column)) for column, index in parents.items()]
        runs = found[0] if len(found) == 1 else pl.select(pl.coalesce(found)).to_series()
    else:
        runs = numbers.of(batch.column("run_id"))
    if not runs.null_count():
        return batch, runs
    mine = runs.is_not_null()
    return batch.filter(mine.to_arrow()), runs.drop_nulls()


def _joined(parts: list[tuple[pa.RecordBatch, pl.Series]]) -> tuple[pa.RecordBatch, pl.Series]:
    if len(parts) == 1:
        return parts[0]
    return pa.concat_batches([batch for batch, _ in parts]), pl.concat([runs for _, runs in parts])
