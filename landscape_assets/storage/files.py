"""Files that the export writes: hashed as they are written, and synced when they are done.

Belongs here: single files as bytes. Does not belong here: Arrow files (`arrow_file.py`), what is in the files
(`formats/`), and how they become a package (`package/publish.py`).
"""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import xxhash


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A finished file: its size in bytes, the hex SHA-256 and XXH3-128 of its content (where there are), its rows or
    records (None when it has none)."""

    path: Path
    size: int
    sha256: str | None
    checksum: str | None
    rows: int | None


_LARGE = 2**20
"""Bytes from which on it is worth while to hash them on another thread while they are written."""

_hashing = ThreadPoolExecutor(2, "hashing")

_SYNCED_AT_ONCE = 64 * 2**20
"""Bytes of a file for the package that are sent on their way to the disk together."""

_syncing = ThreadPoolExecutor(1, "syncing")


class NewFile(io.RawIOBase):
    """A new file; one for a package is hashed as it is written.

    It is not synced: what relies on it syncs it (`sync_file`).

    Args:
        path: where; a file that is there is an error.
        for_package: whether it is a file for a package: then its SHA-256 and XXH3-128 are asked for, and it will be
            synced. That begins while the file is written, so that not all of it is waited for at the end.

    Raises:
        OSError: as the file system says.
    """

    def __init__(self, path: Path, *, for_package: bool = False) -> None:
        super().__init__()
        self._for_package, self._synced = for_package, 0
        self._sync: Future[None] | None = None
        self.path = path
        self._file = path.open("xb", buffering=0)
        self._xxh3 = xxhash.xxh3_128() if for_package else None
        self._sha256 = hashlib.sha256() if for_package else None
        self._size = 0

    def writable(self) -> bool:
        """True, as Arrow asks."""
        return True

    def tell(self) -> int:
        """How many bytes were written."""
        return self._size

    def write(self, data: bytes | memoryview | pa.Buffer) -> int:
        """Writes and hashes; how many bytes."""
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
        """Ends the file."""
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

    def facts(self, rows: int | None) -> FileFacts:
        """What was written."""
        sha256, xxh3 = (each.hexdigest() if each is not None else None for each in (self._sha256, self._xxh3))
        return FileFacts(self.path, self._size, sha256, xxh3, rows)


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
