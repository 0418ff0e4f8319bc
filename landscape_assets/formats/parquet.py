"""parquet/<record_type>.parquet: the records by type, with typed columns (docs/package.md).

Belongs here: these files. Does not belong here: other formats.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from ..contract import Contract
from ..storage.files import FileFacts, NewFile
from .base import Format, Part, RunEnd, StagedFile, header

ROW_GROUP_BYTES = 4 * 2**20
"""Bytes of values (uncompressed) after which a row group is closed."""


_Rows = list[tuple[str, pa.RecordBatch]]


class Parquet(Format):
    """The format. Arguments as for `base.Format`."""

    needs_fields: ClassVar[bool] = True

    def __init__(self, contract: Contract, *, is_signed: bool) -> None:
        self._contract, self._is_signed = contract, is_signed

    def prepare(self, part: Part) -> _Rows:
        """The rows of each record type."""
        found = []
        for table, fields, signatures in part.by_type(self._contract):
            both = [
                pa.repeat(pa.scalar(text, pa.large_string()), len(signatures))
                for text in (table.record_type, part.run_id)
            ]
            arrays = [*both, *fields, *([signatures] if self._is_signed else [])]
            names = header(table, is_signed=self._is_signed)
            found.append((table.record_type, pa.RecordBatch.from_arrays(arrays, names)))
        return found

    def open(self, run_id: str, folder: Path) -> _Writer:
        return _Writer(folder / "parquet", {"landscape.run_id": run_id, "landscape.contract": self._contract.name})


class _Writer:
    def __init__(self, folder: Path, metadata: dict[str, str]) -> None:
        self._folder, self._metadata = folder, metadata
        self._files: dict[str, _File] = {}
        folder.mkdir()

    def write(self, prepared: _Rows) -> None:
        for name, rows in prepared:
            if name not in self._files:
                metadata = self._metadata | {"landscape.record_type": name}
                self._files[name] = _File(self._folder / f"{name}.parquet", rows.schema, metadata)
            self._files[name].write(rows)

    def finish(self, end: RunEnd) -> list[StagedFile]:
        made = []
        for name, file in self._files.items():
            facts = file.finish()
            made.append(StagedFile(f"parquet/{name}.parquet", "application/vnd.apache.parquet", facts, facts.sha256))
        return made

    def abandon(self) -> None:
        for file in self._files.values():
            file.abandon()


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
