"""Arrow files between the steps: record batches as they are in memory, each with checksums.

Belongs here: writing and reading of what is stored of tables. It is written and read within a
minute, and every byte passes through it: Arrow's IPC format costs a copy, where Parquet's pages cost several (measured:
two and a half times the processor's time for tables). Does not belong here: files for packages (`formats/`), and
what is in the files (`database/`, `records/`).

A file is in Arrow's IPC file format. Each batch has the XXH3-64 of each of its columns as custom metadata, so that some
columns can be read by themselves. The last batch is empty, and has the file's own metadata with a checksum of it,
because counts and hashes are known only at the end.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import xxhash

from ..errors import StorageError
from .files import FileFacts, NewFile

_OF_THE_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that come of the limits of the process or the machine."""

_CHECKSUMS = "landscape.checksums"
_BATCHES = "landscape.batches"
_FILE_CHECKSUM = "landscape.metadata_checksum"


def text_of(values: pa.StringArray | pa.LargeStringArray) -> memoryview:
    """The UTF-8 of an array's values, one behind the other, without a copy."""
    if not len(values):
        return memoryview(b"")
    offsets = memoryview(values.buffers()[1]).cast("q" if pa.types.is_large_string(values.type) else "i")
    data = memoryview(values.buffers()[2] or b"")
    return data[offsets[values.offset] : offsets[values.offset + len(values)]]


class ArrowWriter:
    """A new Arrow file.

    Use as a context manager: left by an error, it removes the file.

    Args:
        path: where; a file that is there is an error.
        schema: of what will be written: text, booleans, numbers and times.
        metadata: text for the file's metadata.
    """

    def __init__(self, path: Path, schema: pa.Schema, metadata: dict[str, str]) -> None:
        self._schema, self._metadata = schema, dict(metadata)
        self._batches: list[tuple[int, int, int]] = []
        self._content = xxhash.xxh3_128()
        self._file = NewFile(path)
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
            self._metadata[_BATCHES] = json.dumps(self._batches)
            end = pa.RecordBatch.from_pylist([], self._schema)
            self._writer.write_batch(end, self._metadata | {_FILE_CHECKSUM: _checksum_of(self._metadata)})
            self._writer.close()
            self._file.close()
        except BaseException:
            self._file.abandon()
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds a batch of rows; an empty one is left out."""
        if not batch.num_rows:
            return
        if any(column.offset for column in batch.columns):
            # A slice: what is read back begins at the beginning, and checksums are of what is read back.
            batch = pa.ipc.read_record_batch(batch.serialize(), self._schema)
        start = self._file.tell()
        checksums = json.dumps([_checksum(column) for column in batch.columns])
        self._writer.write_batch(batch, {_CHECKSUMS: checksums})
        self._content.update(checksums.encode())
        self._batches.append((batch.num_rows, start, self._file.tell() - start))

    def annotate(self, metadata: dict[str, str]) -> None:
        """Adds text to the file's metadata, where it is known only when the rows are written."""
        self._metadata |= metadata

    def facts(self) -> FileFacts:
        """What was written, once it is. The checksum is of the file's content: an XXH3-128 over those of its batches
        and metadata."""
        content = self._content.copy()
        content.update(_checksum_of(self._metadata).encode())
        return replace(self._file.facts(sum(rows for rows, _, _ in self._batches)), checksum=content.hexdigest())


class ArrowReader:
    """An Arrow file that `ArrowWriter` wrote, read batch by batch, checksums and all. Threads may share it.

    Use as a context manager, or close it.

    Args:
        path: the file.

    Raises:
        StorageError: it is not as it was written; so do the methods that read it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._intact():
            self._source = pa.OSFile(str(path), "rb")
            self._file = pa.ipc.open_file(self._source)
            _, found = self._file.get_batch_with_custom_metadata(self._file.num_record_batches - 1)
            self.metadata = {key.decode(): value.decode() for key, value in (found or {}).items()}
            """The text that was written as the file's metadata."""
            if self.metadata.pop(_FILE_CHECKSUM, None) != _checksum_of(self.metadata):
                raise pa.ArrowInvalid("the checksum of its metadata is wrong")
            self._batches: list[tuple[int, int, int]] = json.loads(self.metadata.pop(_BATCHES))
        self._some: dict[tuple[str, ...], pa.ipc.RecordBatchFileReader] = {}

    def __enter__(self) -> ArrowReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def schema(self) -> pa.Schema:
        """Of all batches."""
        return self._file.schema

    @property
    def rows(self) -> int:
        """Rows of all batches."""
        return sum(rows for rows, _, _ in self._batches)

    @property
    def batches(self) -> int:
        """How many batches of rows there are; none is empty."""
        return len(self._batches)

    def batch_rows(self, i: int) -> int:
        """Rows of a batch."""
        return self._batches[i][0]

    def batch_bytes(self, i: int) -> int:
        """Bytes of a batch, in the file and in memory."""
        return self._batches[i][2]

    def batch(self, i: int, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """One batch, or some of its columns."""
        with self._intact():
            batch, found = self._reader(columns).get_batch_with_custom_metadata(i)
            checksums = json.loads((found or {})[_CHECKSUMS.encode()])
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if checksums[self.schema.get_field_index(name)] != _checksum(column):
                    raise pa.ArrowInvalid(f"the checksum of the column {name} in batch {i} is wrong")
            return batch

    def frames(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns, one frame a batch."""
        for i in range(self.batches):
            # A table keeps its number of rows even without columns.
            yield _frame(pa.Table.from_batches([self.batch(i, columns)]).select(columns))

    def frame(self, columns: Sequence[str]) -> pl.DataFrame:
        """Some columns of the whole file."""
        return pl.concat([self.empty(columns), *self.frames(columns)])

    def empty(self, columns: Sequence[str]) -> pl.DataFrame:
        """Some columns without rows."""
        return _frame(pa.schema([self.schema.field(name) for name in columns]).empty_table())

    def close(self) -> None:
        """Closes the file."""
        self._source.close()

    def _reader(self, columns: Sequence[str] | None) -> pa.ipc.RecordBatchFileReader:
        if columns is None:
            return self._file
        names = tuple(columns)
        if names not in self._some:
            options = pa.ipc.IpcReadOptions(included_fields=[self.schema.get_field_index(name) for name in names])
            self._some[names] = pa.ipc.open_file(self._source, options=options)
        return self._some[names]

    @contextmanager
    def _intact(self) -> Iterator[None]:
        try:
            yield
        except MemoryError:  # Arrow's, too
            raise
        except (pa.ArrowException, OSError, UnicodeDecodeError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _OF_THE_PROCESS:
                raise  # it says nothing of the file
            raise StorageError(
                f"The stored file {self.path} is not as it was written ({error}). Export the run again (in Dagster: "
                f"Materialize its tables)."
            ) from None


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _checksum_of(metadata: dict[str, str]) -> str:
    """The XXH3-64 of a file's metadata."""
    return xxhash.xxh3_64_hexdigest("\0".join(f"{key}\0{metadata[key]}" for key in sorted(metadata)).encode())


def _checksum(column: pa.Array) -> str:
    """The XXH3-64 of a column that begins at the beginning of its buffers: which values are there, and all of them."""
    digest, rows, kind = xxhash.xxh3_64(), len(column), column.type
    digest.update(rows.to_bytes(8, "little"))
    if column.null_count:
        _digest_bits(column.buffers()[0], rows, digest)
    _, first, *text = (memoryview(buffer or b"") for buffer in column.buffers())
    if text:
        digest.update(first[: (rows + 1) * (8 if pa.types.is_large_string(kind) else 4)])
        digest.update(text_of(column))
    elif kind.bit_width == 1:
        _digest_bits(first, rows, digest)
    else:
        digest.update(first[: rows * kind.bit_width // 8])
    return digest.hexdigest()


def _digest_bits(bits: pa.Buffer | memoryview, count: int, digest: xxhash.xxh3_64) -> None:
    """Of the last byte only the bits that count: in the part of an array that it begins with, other rows follow."""
    octets = bytearray(memoryview(bits)[: (count + 7) // 8])
    if count % 8:
        octets[-1] &= 2 ** (count % 8) - 1
    digest.update(octets)
