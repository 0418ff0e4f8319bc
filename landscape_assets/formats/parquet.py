"""parquet/<record_type>.parquet: the records by type, with typed columns (docs/package.md).

Belongs here: these files. Does not belong here: other formats.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from ..contract import Table
from ..records.ordered import FieldsWanted
from ..storage.files import FileFacts, NewFile
from .base import Part, View, ViewWriter

ROW_GROUP_BYTES = 4 * 2**20
"""Bytes of values (uncompressed) after which a row group is closed."""


class Parquet(View):
    """The format. Arguments as for `base.Format`."""

    wanted: ClassVar[FieldsWanted] = FieldsWanted(typed=True)

    def prepare(self, part: Part) -> list[tuple[str, pa.RecordBatch]]:
        """The rows of each record type."""
        found = []
        for one in part.by_type:
            both = [
                pa.repeat(pa.scalar(text, pa.large_string()), len(one.fields))
                for text in (one.table.record_type, part.run_id)
            ]
            values = [one.fields.column(column.field) for column in one.table.fields]
            arrays = [*both, *values, *([one.signatures] if self._is_signed else [])]
            found.append((one.table.record_type, pa.RecordBatch.from_arrays(arrays, self.header(one.table))))
        return found

    def open(self, run_id: str, folder: Path) -> ViewWriter[pa.RecordBatch]:
        """Begins the files of a run."""
        metadata = {"landscape.run_id": run_id, "landscape.contract": self._contract.name}

        def begin(path: Path, table: Table, rows: pa.RecordBatch) -> _File:
            return _File(path, rows.schema, metadata | {"landscape.record_type": table.record_type})

        return ViewWriter(self._contract, folder / "parquet", "application/vnd.apache.parquet", begin)


class _File:
    """A Parquet file, written in row groups of bounded size, with a checksum for every page."""

    def __init__(self, path: Path, schema: pa.Schema, metadata: dict[str, str]) -> None:
        self._schema, self._metadata = schema, metadata
        self._rows, self._pending_bytes = 0, 0
        self._pending: list[pa.RecordBatch] = []
        self._file = NewFile(path, for_package=True)
        try:
            self._writer = pq.ParquetWriter(
                self._file,
                schema,
                compression="zstd",
                use_dictionary=False,
                write_statistics=False,
                write_page_checksum=True,
            )
        except BaseException:
            self._file.abandon()
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds rows to the row group in hand, and closes it when it is large enough."""
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        if self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        rows = sum(batch.num_rows for batch in self._pending)
        if rows:
            self._writer.write_table(pa.Table.from_batches(self._pending, self._schema), row_group_size=rows)
            self._rows += rows
        self._pending, self._pending_bytes = [], 0

    def finish(self) -> FileFacts:
        """Ends the file."""
        self._flush()
        self._writer.add_key_value_metadata(self._metadata)
        self._writer.close()
        self._file.close()
        return self._file.facts(self._rows)

    def abandon(self) -> None:
        """Removes the file."""
        self._file.abandon()
        # It counts as closed: else it would write its footer when it is collected, and print that the file is closed.
        self._writer.is_open = False
