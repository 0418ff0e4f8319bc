"""The rows of some runs, bucket by bucket.

Belongs here: picking up the rows of one bucket, from where they are when those of neighbouring buckets lie together (a
run that was recorded row by row), or else from temporary files into which they are moved first. Does not belong here:
which bucket a row goes to (`plan.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa

from ..budget import Budget
from ..storage.arrow_file import ArrowReader, ArrowWriter
from .plan import SortPlan


class BucketedRows:
    """The rows of every table, by bucket, prepared for sorting.

    Use as a context manager.

    Args:
        plan: where the rows go.
        tables: table → its rows.
        prepare: makes of rows of a table, with their sort group as `sort_group`, what is needed of them; as many rows,
            in the same order. It is called with as many rows at a time as lie together, so that its calls are few.
        folder: an empty folder for temporary files.
        budget: how much memory and how many threads there are.

    Raises:
        OSError: the folder cannot be written to.
    """

    def __init__(
        self, plan: SortPlan, tables: Mapping[str, ArrowReader], prepare: Prepare, folder: Path, budget: Budget
    ) -> None:
        def bucketed(name: str) -> _Rows:
            batches = _Batches(tables[name], plan.sort_groups[name], plan)
            if batches.most_bytes_at_once() <= 2 * budget.bucket_bytes:
                return _ClusteredRows(batches, lambda rows: prepare(name, rows))
            return _SpilledRows(batches, lambda rows: prepare(name, rows), folder / f"{name}.arrow", plan.buckets)

        # The largest table first, so that no thread is left alone with it at the end.
        names = sorted(tables, key=lambda name: -tables[name].rows)
        with ThreadPoolExecutor(budget.threads, "buckets") as pool:
            self._tables = dict(zip(names, pool.map(bucketed, names), strict=True))

    def __enter__(self) -> BucketedRows:
        return self

    def __exit__(self, *error: object) -> None:
        for rows in self._tables.values():
            rows.close()

    def of(self, number: int) -> dict[str, PreparedRows]:
        """Table → its prepared rows of one bucket, where there are any.

        Each bucket is asked for once, the first ones first.

        Raises:
            StorageError: a file is not as it was written.
        """
        return {name: found for name, rows in self._tables.items() if (found := rows.of(number)) is not None}


@dataclass(frozen=True, slots=True)
class PreparedRows:
    """Rows of a table, prepared for sorting.

    Args:
        frame: what they are ordered by, and their records.
        fields: the fields that are wanted of as many rows, if any are. They stay in Arrow's arrays: to put many short
            columns of text in order takes it a third of the time that it takes Polars (measured).
    """

    frame: pl.DataFrame
    fields: pa.RecordBatch | None

    def slice(self, start: int, count: int) -> PreparedRows:
        """Some of the rows."""
        fields = None if self.fields is None else self.fields.slice(start, count)
        return PreparedRows(self.frame.slice(start, count), fields)

    @classmethod
    def joined(cls, pieces: Sequence[PreparedRows]) -> PreparedRows:
        """The rows of several, at least one."""
        if len(pieces) == 1:
            return pieces[0]
        fields = [each.fields for each in pieces if each.fields is not None]
        return cls(pl.concat(each.frame for each in pieces), pa.concat_batches(fields) if fields else None)


Prepare = Callable[[str, pa.RecordBatch], PreparedRows]


class _Rows(Protocol):
    def of(self, number: int) -> PreparedRows | None:
        """The rows of one bucket, if it has any."""

    def close(self) -> None:
        """Closes what is open."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """The rows of one bucket in a batch, once these are in the order of their buckets."""

    bucket: int
    start: int
    count: int


class _Batches:
    """The batches of a table's file, and which buckets are in each."""

    def __init__(self, reader: ArrowReader, sort_groups: pl.Series, plan: SortPlan) -> None:
        self._reader, self._sort_groups, self._plan = reader, sort_groups, plan
        self.schema = reader.schema.append(pa.field("sort_group", pa.uint32()))
        self._starts: list[int] = []
        self.pieces: list[list[_Piece]] = []
        done = 0
        for i in range(reader.batches):
            self._starts.append(done)
            buckets = self._buckets(i)
            self.pieces.append(list(_pieces(np.sort(buckets))))
            done += reader.batch_rows(i)

    def most_bytes_at_once(self) -> int:
        """How many bytes of batches are held at most when the buckets are taken one after the other, and a batch is
        kept from its first bucket to its last."""
        changes = [0] * (self._plan.buckets + 1)
        for i, pieces in enumerate(self.pieces):
            changes[pieces[0].bucket] += self._reader.batch_bytes(i)
            changes[pieces[-1].bucket + 1] -= self._reader.batch_bytes(i)
        held = most = 0
        for change in changes:
            held += change
            most = max(most, held)
        return most

    def read(self, i: int) -> pa.RecordBatch:
        """The rows of a batch in the order of their buckets, with `sort_group`. Each is read once."""
        columns = self._reader.batch(i).columns
        rows = pa.RecordBatch.from_arrays([*columns, self._sort_groups_of(i).to_arrow()], schema=self.schema)
        buckets = self._buckets(i)
        return rows if (buckets[1:] >= buckets[:-1]).all() else rows.take(pa.array(np.argsort(buckets, kind="stable")))

    def _sort_groups_of(self, i: int) -> pl.Series:
        return self._sort_groups.slice(self._starts[i], self._reader.batch_rows(i))

    def _buckets(self, i: int) -> np.ndarray:
        return self._plan.bucket_of(self._sort_groups_of(i))


def _pieces(buckets: np.ndarray) -> Iterator[_Piece]:
    numbers, starts, counts = np.unique(buckets, return_index=True, return_counts=True)
    for number, start, count in zip(numbers.tolist(), starts.tolist(), counts.tolist(), strict=True):
        yield _Piece(number, start, count)


class _ClusteredRows:
    """Rows that are taken from the table's file, each batch of which is read once and kept as long as it is needed."""

    def __init__(self, batches: _Batches, prepare: Callable[[pa.RecordBatch], PreparedRows]) -> None:
        self._batches, self._prepare = batches, prepare
        self._wanted: dict[int, list[tuple[int, _Piece]]] = {}
        for i, pieces in enumerate(batches.pieces):
            for piece in pieces:
                self._wanted.setdefault(piece.bucket, []).append((i, piece))
        self._left = [len(pieces) for pieces in batches.pieces]
        self._read: dict[int, Future[PreparedRows]] = {}
        self._lock = threading.Lock()

    def of(self, number: int) -> PreparedRows | None:
        pieces = [self._rows(i).slice(piece.start, piece.count) for i, piece in self._wanted.get(number, [])]
        return PreparedRows.joined(pieces) if pieces else None

    def close(self) -> None:
        """Nothing of its own is open."""

    def _rows(self, i: int) -> PreparedRows:
        with self._lock:
            rows = self._read.get(i)
            is_first = rows is None
            if rows is None:
                rows = self._read[i] = Future()
            self._left[i] -= 1
            if not self._left[i]:
                del self._read[i]
        if is_first:
            try:
                rows.set_result(self._prepare(self._batches.read(i)))
            except BaseException as error:  # raised below, and where others wait for the batch
                rows.set_exception(error)
        return rows.result()


class _SpilledRows:
    """Rows that are moved into a temporary file, each batch of which has rows of one bucket."""

    def __init__(
        self, batches: _Batches, prepare: Callable[[pa.RecordBatch], PreparedRows], path: Path, buckets: int
    ) -> None:
        self._prepare = prepare
        self._stored: list[list[int]] = [[] for _ in range(buckets)]
        count = 0
        with ArrowWriter(path, batches.schema, {}) as writer:
            for i, pieces in enumerate(batches.pieces):
                rows = batches.read(i)
                for piece in pieces:
                    writer.write(rows.slice(piece.start, piece.count))
                    self._stored[piece.bucket].append(count)
                    count += 1
        self._reader = ArrowReader(path)

    def of(self, number: int) -> PreparedRows | None:
        if not self._stored[number]:
            return None
        return self._prepare(pa.concat_batches([self._reader.batch(i) for i in self._stored[number]]))

    def close(self) -> None:
        self._reader.close()
