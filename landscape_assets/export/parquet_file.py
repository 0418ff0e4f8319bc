"""Parquet files for packages.

Belongs here: writing them. Does not belong here: what is in them (`formats.py`).
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from .files import FileFacts, NewFile

ROW_GROUP_BYTES = 4 * 2**20
"""Bytes of values (uncompressed) after which a row group is closed."""


class ParquetWriter:
    """A new Parquet file for a package, written in row groups of bounded size, with a checksum for every page.

    Use as a context manager: left by an error, it removes the file.

    Args:
        path: where; a file that is there is an error.
        schema: of what will be written.
        metadata: text for the file's metadata.
    """

    def __init__(self, path: Path, schema: pa.Schema, metadata: dict[str, str]) -> None:
        self.schema = schema
        self.rows = 0
        self._metadata = metadata
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
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

    def __enter__(self) -> ParquetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandon()
            return
        try:
            self.flush()
            self._writer.add_key_value_metadata(self._metadata)
            self._writer.close()
            self._file.close()
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        self._file.abandon()
        # It counts as closed: else it would write its footer when it is collected, and print that the file is closed.
        self._writer.is_open = False

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds rows to the row group in hand, and closes it when it is large enough."""
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        if self._pending_bytes >= ROW_GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Closes the row group in hand, if it has rows."""
        rows = sum(batch.num_rows for batch in self._pending)
        if rows:
            self._writer.write_table(pa.Table.from_batches(self._pending, self.schema), row_group_size=rows)
            self.rows += rows
        self._pending, self._pending_bytes = [], 0

    def facts(self) -> FileFacts:
        """What was written, once it is."""
        return self._file.facts(self.rows)
