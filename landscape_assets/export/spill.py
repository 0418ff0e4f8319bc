"""The rows of a run moved into ranges, on disk when they do not fit the memory budget.

Belongs here: putting batches of rows down by range and picking a range up again. Does not belong here: which range a row goes to
(`order.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import xxhash

from ..errors import StorageError
from .files import ParquetReader
from .order import Placement


@dataclass(frozen=True, slots=True)
class _Stored:
    """A record batch in a file: where it is, its bytes, and their XXH3-64."""

    offset: int
    size: int
    checksum: int


class Spill:
    """The rows of a run by range: one file a table, of Arrow record batches each with rows of one range.

    Args:
        folder: an empty folder for the files, or None to hold the rows in memory.
        placement: where the rows go.
    """

    def __init__(self, folder: Path | None, placement: Placement) -> None:
        self._folder, self._placement = folder, placement
        self._schemas: dict[str, pa.Schema] = {}
        self._batches: dict[str, list[list[pa.RecordBatch | _Stored]]] = {}

    def add(self, table: str, reader: ParquetReader) -> None:
        """Puts the rows of a table down by range.

        Raises:
            OSError: the folder cannot be written to.
        """
        units = self._placement.units[table]
        self._schemas[table] = reader.schema.append(pa.field("unit", pa.uint32()))
        batches: list[list[pa.RecordBatch | _Stored]] = [[] for _ in range(self._placement.ranges)]
        self._batches[table] = batches
        if self._folder is None:
            for number, batch in self._slices(table, reader, units):
                batches[number].append(batch)
            return
        with (self._folder / f"{table}.arrow").open("xb", buffering=0) as file:
            for number, batch in self._slices(table, reader, units):
                data = memoryview(batch.serialize())
                batches[number].append(_Stored(file.tell(), len(data), xxhash.xxh3_64_intdigest(data)))
                while data:
                    data = data[file.write(data) :]  # a raw write may be short; the next one then says why

    def _slices(
        self, table: str, reader: ParquetReader, units: pl.Series
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        done = 0
        for i in range(reader.row_groups):
            rows = reader.group(i)
            mine = units[done : done + rows.num_rows]
            done += rows.num_rows
            ranges = self._placement.range_of(mine)
            rows = rows.append_column("unit", mine.to_arrow().cast(pa.uint32()))
            if not ranges.is_sorted():
                by_range = ranges.arg_sort()
                ranges = ranges.gather(by_range)
                rows = rows.take(by_range.to_arrow())
            for number, start, count in _stretches(ranges):
                for batch in rows.slice(start, count).combine_chunks().to_batches():
                    yield number, batch.cast(self._schemas[table])

    def frames(self, number: int) -> dict[str, pl.DataFrame]:
        """Table → its rows of one range, where there are any, in the order of its file, with their unit as `unit`."""
        found = {}
        for table, ranges in self._batches.items():
            if not ranges[number]:
                continue
            batches = self._read(table, ranges[number])
            found[table] = pl.from_arrow(pa.Table.from_batches(batches, self._schemas[table]))
        return found

    def _read(self, table: str, batches: list[pa.RecordBatch | _Stored]) -> list[pa.RecordBatch]:
        if self._folder is None:
            return batches
        path, found = self._folder / f"{table}.arrow", []
        with path.open("rb", buffering=0) as file:
            for stored in batches:
                file.seek(stored.offset)
                data = file.read(stored.size)
                if xxhash.xxh3_64_intdigest(data) != stored.checksum:
                    raise StorageError(
                        f"The temporary file {path} is not as it was written: the disk or another program changed it. Nothing is "
                        f"published; export the run again."
                    )
                found.append(pa.ipc.read_record_batch(pa.py_buffer(data), self._schemas[table]))
        return found


def _stretches(ranges: pl.Series) -> Iterator[tuple[int, int, int]]:
    """Each range in a sorted series of ranges, with its first place and how often it occurs."""
    start = 0
    for number, count in ranges.rle().struct.unnest().select("value", "len").iter_rows():
        yield number, start, count
        start += count
