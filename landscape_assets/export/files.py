"""Files that the export writes: hashed as they are written, synced when they are done, and Parquet between the steps.

Belongs here: writing and reading of single files. Does not belong here: what is in them (`records.py`, `formats.py`), and how files
become a package (`package.py`).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from ..errors import StorageError

ROW_GROUP_BYTES = 4 * 2**20
"""Bytes of values (uncompressed) after which a row group of a table's Parquet file is closed."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A finished file: its size in bytes, the hex SHA-256 and XXH3-128 of its content (where asked for), its rows or records."""

    path: Path
    size: int
    sha256: str | None
    checksum: str | None
    rows: int


_LARGE = 2**20
"""Bytes from which on it is worth while to hash them on another thread while they are written."""

_hashing = ThreadPoolExecutor(2, "hashing")

_SYNCED_AT_ONCE = 64 * 2**20
"""Bytes of a file for the package that are sent on their way to the disk together."""

_syncing = ThreadPoolExecutor(1, "syncing")


class HashedFile(io.RawIOBase):
    """A new file, hashed as it is written.

    It is not synced: whoever relies on it syncs it (`sync_file`).

    Args:
        path: where; a file that is there is an error.
        hashed: whether its XXH3-128 is asked for.
        for_package: whether it is a file for a package: then its SHA-256 is asked for, and it will be synced. That begins while the
            file is written, so that nobody has to wait for all of it at the end.

    Raises:
        OSError: as the file system says.
    """

    def __init__(self, path: Path, *, hashed: bool = True, for_package: bool = False) -> None:
        super().__init__()
        self._for_package, self._synced = for_package, 0
        self._sync: Future[None] | None = None
        self.path = path
        self._file = path.open("xb", buffering=0)
        self._xxh3 = xxhash.xxh3_128() if hashed else None
        self._sha256 = hashlib.sha256() if for_package else None
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: bytes | memoryview | pa.Buffer) -> int:
        view = memoryview(data).cast("B")
        self._size += len(view)
        if self._xxh3 is not None:
            self._xxh3.update(view)
        if self._sha256 is None:
            return self._write(view)
        if len(view) < _LARGE:
            self._sha256.update(view)
            return self._write(view)
        hashed = _hashing.submit(self._sha256.update, view)
        try:
            return self._write(view)
        finally:
            hashed.result()

    def _write(self, view: memoryview) -> int:
        written = 0
        while written < len(view):
            # A raw write may be short; the next one then says why.
            written += self._file.write(view[written:])
        if self._for_package and self._size - self._synced >= _SYNCED_AT_ONCE:
            self._begin_sync()
        return written

    def _begin_sync(self) -> None:
        if self._sync is not None:
            if not self._sync.done():
                return
            self._sync.result()  # an error is told once, and must not be lost
        self._sync = _syncing.submit(os.fdatasync, self._file.fileno())
        self._synced = self._size

    def close(self) -> None:
        if not self.closed:
            try:
                if self._sync is not None:
                    self._sync.result()
            finally:
                self._file.close()
                super().close()

    def abandon(self) -> None:
        """Closes and removes the file."""
        with suppress(OSError):  # what went wrong is known
            self.close()
        self.path.unlink(missing_ok=True)

    def facts(self, rows: int) -> FileFacts:
        """What was written."""
        sha256, xxh3 = (each.hexdigest() if each is not None else None for each in (self._sha256, self._xxh3))
        return FileFacts(self.path, self._size, sha256, xxh3, rows)


class ParquetWriter:
    """A new Parquet file, written in row groups of bounded size, with a checksum for every page and for the metadata.

    Use as a context manager: left by an error, it removes the file.

    Args:
        path: where; a file that is there is an error.
        schema: of what will be written.
        metadata: text for the file's metadata.
        for_package: whether it is a file for a package: then it is compressed, and its SHA-256 is asked for. What is kept between the
            steps is not: it is written and read within a minute, and compression took longer than the bytes that it saved.
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        metadata: dict[str, str],
        *,
        for_package: bool = False,
    ) -> None:
        self.schema = schema
        self.rows = 0
        self._metadata = dict(metadata)
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._file = HashedFile(path, for_package=for_package)
        try:
            self._writer = pq.ParquetWriter(
                self._file,
                schema,
                compression="zstd" if for_package else "none",
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
            self._writer.add_key_value_metadata(self._metadata | {_CHECKSUM: checksum_of(self._metadata)})
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

    def annotate(self, metadata: dict[str, str]) -> None:
        """Adds text to the file's metadata, where it is known only when the rows are written."""
        self._metadata |= metadata

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


_CHECKSUM = "landscape.metadata_checksum"


def checksum_of(metadata: dict[str, str]) -> str:
    """The XXH3-64 of a file's metadata."""
    return xxhash.xxh3_64_hexdigest("\0".join(f"{key}\0{metadata[key]}" for key in sorted(metadata)).encode())


class ParquetReader:
    """A Parquet file that `ParquetWriter` wrote, read row group by row group, checksums and all.

    Args:
        path: the file.

    Raises:
        StorageError: it is not as it was written; so do the methods that read it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._intact():
            self._file = pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)
            found = self._file.metadata.metadata or {}
            self.metadata = {key.decode(): value.decode() for key, value in found.items() if key != b"ARROW:schema"}
            """The text that was written as the file's metadata."""
            if self.metadata.pop(_CHECKSUM, None) != checksum_of(self.metadata):
                raise pa.ArrowInvalid("the checksum of its metadata is wrong")

    @property
    def rows(self) -> int:
        return self._file.metadata.num_rows

    @property
    def row_groups(self) -> int:
        return self._file.metadata.num_row_groups

    @property
    def schema(self) -> pa.Schema:
        return self._file.schema_arrow

    def group_rows(self, i: int) -> int:
        """Rows of a row group."""
        return self._file.metadata.row_group(i).num_rows

    def group_bytes(self, i: int) -> int:
        """Bytes of a row group's values, uncompressed."""
        return self._file.metadata.row_group(i).total_byte_size

    def group(self, i: int, columns: list[str] | None = None) -> pa.Table:
        """One row group, or some of its columns."""
        with self._intact():
            return self._file.read_row_group(i, columns=columns, use_threads=False)

    def frames(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        """Some columns, one frame a row group."""
        for i in range(self.row_groups):
            yield pl.from_arrow(self.group(i, columns))

    def frame(self, columns: list[str]) -> pl.DataFrame:
        """Some columns of the whole file."""
        return pl.concat([self.empty(columns), *self.frames(columns)])

    def empty(self, columns: list[str]) -> pl.DataFrame:
        """Some columns without rows."""
        return pl.from_arrow(pa.schema([self.schema.field(name) for name in columns]).empty_table())

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def _intact(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise StorageError(
                f"The stored file {self.path} is not as it was written ({error}). Materialize the run's tables again."
            ) from None


def sync_file(path: Path) -> None:
    """Makes a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
