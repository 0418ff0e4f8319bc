"""The rows of some runs, range by range.

Belongs here: picking up the rows of one range, from where they are when those of neighbouring ranges lie together (a
run that was recorded row by row), or else from temporary files into which they are moved first. Does not belong here:
which range a row goes to (`order.py`).
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl
import pyarrow as pa
import xxhash

from ..budget import Budget
from ..errors import StorageError
from ..storage.arrow_file import ArrowReader
from .order import Placement


class RowsByRange:
    """The rows of every table, by range, prepared for ordering.

    Args:
        placement: where the rows go.
        tables: table → its rows.
        prepare: makes of rows of a table, with their unit as `unit`, what is needed of them; as many rows, in the same
            order. It is called with as many rows at a time as lie together, so that its calls are few.
        folder: an empty folder for temporary files.
        budget: how much memory and how many threads there are.

    Raises:
        OSError: the folder cannot be written to.
    """

    def __init__(
        self, placement: Placement, tables: Mapping[str, ArrowReader], prepare: Prepare, folder: Path, budget: Budget
    ) -> None:
        def arranged(name: str) -> _Rows:
            batches = _Batches(tables[name], placement.units[name], placement)
            if batches.most_bytes_at_once() <= 2 * budget.range_bytes:
                return _InPlace(batches, lambda rows: prepare(name, rows))
            return _Moved(batches, lambda rows: prepare(name, rows), folder / f"{name}.arrow", placement.ranges)

        # The largest table first, so that no thread is left alone with it at the end.
        names = sorted(tables, key=lambda name: -tables[name].rows)
        with ThreadPoolExecutor(budget.threads, "ranges") as pool:
            self._tables = dict(zip(names, pool.map(arranged, names), strict=True))

    def frames(self, number: int) -> dict[str, pl.DataFrame]:
        """Table → its prepared rows of one range, where there are any.

        Each range is asked for once, the first ones first.

        Raises:
            StorageError: a file is not as it was written.
        """
        return {name: frame for name, rows in self._tables.items() if (frame := rows.of(number)) is not None}


Prepare = Callable[[str, pa.RecordBatch], pl.DataFrame]


class _Rows(Protocol):
    def of(self, number: int) -> pl.DataFrame | None:
        """The rows of one range, if it has any."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """The rows of one range in a batch, once these are in the order of their ranges."""

    range: int
    start: int
    count: int


class _Batches:
    """The batches of a table's file, and which ranges are in each."""

    def __init__(self, reader: ArrowReader, units: pl.Series, placement: Placement) -> None:
        self._reader, self._units, self._placement = reader, units, placement
        self.schema = reader.schema.append(pa.field("unit", pa.uint32()))
        self._starts: list[int] = []
        self.pieces: list[list[_Piece]] = []
        done = 0
        for i in range(reader.batches):
            self._starts.append(done)
            ranges = self._ranges(i)
            self.pieces.append(list(_pieces(ranges if ranges.is_sorted() else ranges.sort())))
            done += reader.batch_rows(i)

    def most_bytes_at_once(self) -> int:
        """How many bytes of batches are held at most when the ranges are taken one after the other, and a batch is kept
        from
        its first range to its last."""
        changes = [0] * (self._placement.ranges + 1)
        for i, pieces in enumerate(self.pieces):
            changes[pieces[0].range] += self._reader.batch_bytes(i)
            changes[pieces[-1].range + 1] -= self._reader.batch_bytes(i)
        held = most = 0
        for change in changes:
            held += change
            most = max(most, held)
        return most

    def read(self, i: int) -> pa.RecordBatch:
        """The rows of a batch in the order of their ranges, with their unit as `unit`. Each is read once."""
        columns = self._reader.batch(i).columns
        rows = pa.RecordBatch.from_arrays([*columns, self._units_of(i).to_arrow()], schema=self.schema)
        ranges = self._ranges(i)
        return rows if ranges.is_sorted() else rows.take(ranges.arg_sort().to_arrow())

    def _units_of(self, i: int) -> pl.Series:
        return self._units.slice(self._starts[i], self._reader.batch_rows(i))

    def _ranges(self, i: int) -> pl.Series:
        return self._placement.range_of(self._units_of(i))


def _pieces(ranges: pl.Series) -> Iterator[_Piece]:
    start = 0
    for number, count in ranges.rle().struct.unnest().select("value", "len").iter_rows():
        yield _Piece(number, start, count)
        start += count


class _InPlace:
    """Rows that are taken from the table's file, each batch of which is read once and kept as long as it is needed."""

    def __init__(self, batches: _Batches, prepare: Callable[[pa.RecordBatch], pl.DataFrame]) -> None:
        self._batches, self._prepare = batches, prepare
        self._wanted: dict[int, list[tuple[int, _Piece]]] = {}
        for i, pieces in enumerate(batches.pieces):
            for piece in pieces:
                self._wanted.setdefault(piece.range, []).append((i, piece))
        self._left = [len(pieces) for pieces in batches.pieces]
        self._read: dict[int, Future[pl.DataFrame]] = {}
        self._lock = threading.Lock()

    def of(self, number: int) -> pl.DataFrame | None:
        pieces = [self._rows(i).slice(piece.start, piece.count) for i, piece in self._wanted.get(number, [])]
        return pl.concat(pieces) if pieces else None

    def _rows(self, i: int) -> pl.DataFrame:
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


@dataclass(frozen=True, slots=True)
class _Stored:
    """A record batch in a file: where it is, its bytes, and their XXH3-64."""

    offset: int
    size: int
    checksum: int


class _Moved:
    """Rows that are moved into a file of Arrow record batches, each with rows of one range."""

    def __init__(
        self, batches: _Batches, prepare: Callable[[pa.RecordBatch], pl.DataFrame], path: Path, ranges: int
    ) -> None:
        self._prepare, self._path, self._schema = prepare, path, batches.schema
        self._stored: list[list[_Stored]] = [[] for _ in range(ranges)]
        with path.open("xb", buffering=0) as file:
            for i, pieces in enumerate(batches.pieces):
                rows = batches.read(i)
                for piece in pieces:
                    data = memoryview(rows.slice(piece.start, piece.count).serialize())
                    stored = _Stored(file.tell(), len(data), xxhash.xxh3_64_intdigest(data))
                    self._stored[piece.range].append(stored)
                    while data:
                        data = data[file.write(data) :]  # a raw write may be short; the next one then says why

    def of(self, number: int) -> pl.DataFrame | None:
        if not self._stored[number]:
            return None
        with self._path.open("rb", buffering=0) as file:
            rows = pa.concat_batches([self._batch(file, stored) for stored in self._stored[number]])
        return self._prepare(rows)

    def _batch(self, file: io.FileIO, stored: _Stored) -> pa.RecordBatch:
        file.seek(stored.offset)
        data = file.read(stored.size)
        if xxhash.xxh3_64_intdigest(data) != stored.checksum:
            raise StorageError(
                f"The temporary file {self._path} is not as it was written: the disk or another program changed it. Nothing is "
                f"published; export the run again."
            )
        return pa.ipc.read_record_batch(pa.py_buffer(data), self._schema)
