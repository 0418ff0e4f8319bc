"""The rows of a run moved into ranges, on disk when they do not fit the memory budget.

Belongs here: putting batches of rows down by range and picking a range up again. Does not belong here: which range a row goes to
(`order.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

from .files import ParquetReader
from .order import Placement


class Spill:
    """The rows of a run by range: one Arrow file a table, in which each batch holds rows of one range.

    Args:
        folder: an empty folder for the files, or None to hold the rows in memory.
        placement: where the rows go.
    """

    def __init__(self, folder: Path | None, placement: Placement) -> None:
        self._folder, self._placement = folder, placement
        self._batches: dict[str, list[list[int]]] = {}
        self._held: dict[str, list[pa.RecordBatch]] = {}
        self._schemas: dict[str, pa.Schema] = {}
        self._readers: dict[str, pa.ipc.RecordBatchFileReader] = {}

    def add(self, table: str, reader: ParquetReader) -> None:
        """Puts the rows of a table down by range.

        Raises:
            OSError: the folder cannot be written to.
        """
        units = self._placement.units[table]
        self._batches[table] = [[] for _ in range(self._placement.ranges)]
        self._schemas[table] = reader.schema.remove_metadata().append(pa.field("unit", pa.uint32()))
        written = 0
        if self._folder is None:
            self._held[table] = []
            for number, batch in self._slices(table, reader, units):
                self._batches[table][number].append(len(self._held[table]))
                self._held[table].append(batch)
            return
        path = self._folder / f"{table}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, self._schemas[table]) as writer:
            for number, batch in self._slices(table, reader, units):
                self._batches[table][number].append(written)
                writer.write_batch(batch)
                written += 1
        self._readers[table] = pa.ipc.open_file(pa.OSFile(str(path), "rb"))

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
        """Table → its rows of one range, in the order of the table's file, with their unit as `unit`."""
        found = {}
        for table, ranges in self._batches.items():
            source = self._held[table].__getitem__ if self._folder is None else self._readers[table].get_batch
            batches = [source(i) for i in ranges[number]]
            found[table] = pl.from_arrow(pa.Table.from_batches(batches, self._schemas[table]))
        return found


def _stretches(ranges: pl.Series) -> Iterator[tuple[int, int, int]]:
    """Each range in a sorted series of ranges, with its first place and how often it occurs."""
    start = 0
    for number, count in ranges.rle().struct.unnest().select("value", "len").iter_rows():
        yield number, start, count
        start += count
