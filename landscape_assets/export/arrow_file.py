"""Arrow files between the steps: record batches as they are in memory, each with a checksum.

Belongs here: writing and reading of the files of records and signatures. Every byte of a record passes through them, and Arrow's IPC
format costs a copy where Parquet's encoding and decoding cost several (measured: a fifth of the time). Does not belong here:
Parquet (`files.py`), and what is in the files (`records.py`, `signing.py`).

A file is in Arrow's IPC file format. Each batch has the XXH3-64 of its values as custom metadata; the last batch is empty, and has
the file's own metadata with a checksum of it, because counts and hashes are known only at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import xxhash

from ..errors import StorageError
from .canonical import text_of
from .files import FileFacts, HashedFile, checksum_of

_BATCH_CHECKSUM = "landscape.checksum"
_FILE_CHECKSUM = "landscape.metadata_checksum"


class ArrowWriter:
    """A new Arrow file.

    Use as a context manager: left by an error, it removes the file.

    Args:
        path: where; a file that is there is an error.
        schema: of what will be written: large strings and numbers without nulls.
        metadata: text for the file's metadata.
    """

    def __init__(self, path: Path, schema: pa.Schema, metadata: dict[str, str]) -> None:
        self._schema, self._metadata, self._rows = schema, dict(metadata), 0
        self._file = HashedFile(path, hashed=False)
        try:
            self._writer = pa.ipc.new_file(self._file, schema)
        except BaseException:
            self._file.abandon()
            raise

    def __enter__(self) -> ArrowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._file.abandon()
            return
        try:
            end = pa.RecordBatch.from_pylist([], self._schema)
            self._writer.write_batch(end, self._metadata | {_FILE_CHECKSUM: checksum_of(self._metadata)})
            self._writer.close()
            self._file.close()
        except BaseException:
            self._file.abandon()
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds a batch of rows."""
        self._writer.write_batch(batch, {_BATCH_CHECKSUM: _checksum(batch)})
        self._rows += batch.num_rows

    def annotate(self, metadata: dict[str, str]) -> None:
        """Adds text to the file's metadata, where it is known only when the rows are written."""
        self._metadata |= metadata

    def facts(self) -> FileFacts:
        """What was written, once it is; its SHA-256 is not asked for."""
        return self._file.facts(self._rows)


class ArrowReader:
    """An Arrow file that `ArrowWriter` wrote, read batch by batch, checksums and all.

    Args:
        path: the file.

    Raises:
        StorageError: it is not as it was written; so does `group`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._intact():
            self._source = pa.OSFile(str(path), "rb")
            self._file = pa.ipc.open_file(self._source)
            _, found = self._file.get_batch_with_custom_metadata(self._file.num_record_batches - 1)
            self.metadata = {key.decode(): value.decode() for key, value in (found or {}).items()}
            """The text that was written as the file's metadata."""
            if self.metadata.pop(_FILE_CHECKSUM, None) != checksum_of(self.metadata):
                raise pa.ArrowInvalid("the checksum of its metadata is wrong")

    @property
    def groups(self) -> int:
        """How many batches of rows there are."""
        return self._file.num_record_batches - 1

    def group(self, i: int) -> pa.RecordBatch:
        """One batch of rows."""
        with self._intact():
            batch, found = self._file.get_batch_with_custom_metadata(i)
            if (found or {}).get(_BATCH_CHECKSUM.encode()) != _checksum(batch).encode():
                raise pa.ArrowInvalid(f"the checksum of batch {i} is wrong")
            return batch

    def close(self) -> None:
        """Closes the file."""
        self._source.close()

    @contextmanager
    def _intact(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError, IndexError, ValueError) as error:
            raise StorageError(
                f"The stored file {self.path} is not as it was written ({error}). Materialize the run's records again."
            ) from None


def _checksum(batch: pa.RecordBatch) -> str:
    """The XXH3-64 of a batch's values, column by column."""
    digest = xxhash.xxh3_64(batch.num_rows.to_bytes(8, "little"))
    for column in batch.columns:
        width, rows = 8, len(column) + 1  # the offsets of text, one more than there are values
        if pa.types.is_large_string(column.type):
            digest.update(text_of(column))
        else:
            width, rows = column.type.bit_width // 8, len(column)
        fixed = memoryview(column.buffers()[1] or b"")
        digest.update(fixed[column.offset * width : (column.offset + rows) * width])
    return digest.hexdigest()
