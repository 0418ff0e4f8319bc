"""The files of a SQLite audit database: which they are, how to open them so that none changes, and whether one did.

Belongs here: the file that a URL names, its neighbours (write-ahead log, its index, rollback journal), and what they
are on disk. Does not belong here: connections, and what is read through them (`sqlite.py`).
"""

from __future__ import annotations

import os
import re
import stat
import threading
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, unquote

import sqlalchemy as sa

from ..errors import DatabaseError

_MAGIC = b"SQLite format 3\0"
_WAL_FORMAT = 2  # https://www.sqlite.org/fileformat2.html, offsets 18 and 19


class DatabaseFile:
    """A SQLite database on disk, looked at beside SQLite.

    A process that closes any descriptor of a file loses all its locks on it (POSIX, fcntl), those of SQLite included
    (https://www.sqlite.org/howtocorrupt.html, section 2.2). So each file is opened once in the process, and closed when
    it is released by all that use it.

    Args:
        url: a SQLAlchemy URL.

    Raises:
        DatabaseError: the file is missing, or cannot be opened.
    """

    _lock = threading.Lock()
    _open: ClassVar[dict[tuple[int, int], list[int]]] = {}
    """Device and inode → the descriptor, and how many use it."""

    def __init__(self, url: sa.URL) -> None:
        self.path = _resolved(url)
        self._mine: set[tuple[int, int]] = set()

    def state(self) -> tuple[object, ...]:
        """What changes with every commit to the database: the file itself, size and time of it and of its log, the
        file's change counter, and the header of the log's index, where a commit is first seen
        (https://www.sqlite.org/walformat.html, section 2.1)."""
        found: list[object] = []
        for suffix, header in (("", 100), ("-wal", 0), ("-shm", 48)):
            path = Path(f"{self.path}{suffix}")
            try:
                found.append(self._head(path, header))
                if suffix != "-shm":  # which readers touch
                    status = path.stat()
                    found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
            except FileNotFoundError:
                found.append(None)
            except OSError as error:
                raise DatabaseError(f"The audit database {self.path} cannot be read: {error.strerror}.") from None
        return tuple(found)

    def read_only_uri(self) -> tuple[str, bool]:
        """How to open the file so that nothing on disk changes, and whether that is without locks.

        A log's index (`-shm`) that is there is opened read-only: a writer is, or was just now, at work. Where there is
        no log, SQLite would make an empty one; the file alone is all there is, and is opened as immutable. A log
        without an index was left by a crash: SQLite would make the index, and leave it behind; without locks and in
        exclusive mode it keeps it in memory. `SQLiteSource` looks at `state` to make up for the locks.
        """
        try:
            header = self._head(self.path, 100)
        except OSError as error:
            raise DatabaseError(f"The audit database {self.path} cannot be read: {error.strerror}.") from None
        if not header.startswith(_MAGIC):
            what = "is empty" if not header else "is not a SQLite database"
            raise DatabaseError(f"{self.path} {what}. Check the database URL.")
        uri = f"file:{quote(str(self.path))}?mode=ro"
        if _WAL_FORMAT not in header[18:20]:
            return uri, False
        if Path(f"{self.path}-shm").exists():
            return f"{uri}&readonly_shm=1", False
        log = Path(f"{self.path}-wal")
        if not log.exists() or log.stat().st_size == 0:
            return f"{uri}&immutable=1", True
        return f"{uri}&vfs=unix-none", True

    def hot_journal(self) -> Path | None:
        """The rollback journal, if a transaction left one (https://www.sqlite.org/lockingv3.html, section 4)."""
        journal = Path(f"{self.path}-journal")
        try:
            with journal.open("rb") as file:
                return journal if file.read(1) not in (b"", b"\0") else None
        except OSError:
            return None

    def release(self) -> None:
        """To be called when the connection is closed."""
        with self._lock:
            for file in self._mine:
                self._open[file][1] -= 1
                if self._open[file][1] == 0:
                    os.close(self._open.pop(file)[0])
            self._mine.clear()

    def _head(self, path: Path, size: int) -> bytes:
        """The first bytes of a file.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        with self._lock:
            status = os.stat(path)
            file = (status.st_dev, status.st_ino)
            if file not in self._mine:
                if file not in self._open:
                    self._open[file] = [os.open(path, os.O_RDONLY | os.O_CLOEXEC), 0]
                self._open[file][1] += 1
                self._mine.add(file)
            return os.pread(self._open[file][0], size, 0)


def _resolved(url: sa.URL) -> Path:
    """The file itself, to which links lead: SQLite looks for the log beside it, and not beside a link."""
    database = url.database
    if not database or database == ":memory:":
        raise DatabaseError(
            "The URL names no SQLite file. Write sqlite:///FILE, or sqlite:////FILE for an absolute path."
        )
    if database.startswith("file:"):
        database = unquote(database.removeprefix("file:").partition("?")[0])
    try:
        path = Path(os.path.realpath(database, strict=True))
        status = path.stat()
    except FileNotFoundError:
        raise DatabaseError(f"There is no file {os.path.abspath(database)}. Check the database URL.") from None
    except OSError as error:
        raise DatabaseError(f"{database} cannot be opened: {error.strerror}. Check the database URL.") from None
    if not stat.S_ISREG(status.st_mode):
        raise DatabaseError(f"{path} is not a file. Check the database URL.")
    if status.st_nlink > 1:
        raise DatabaseError(
            f"{path} has {status.st_nlink} names (hard links). SQLite keeps what was committed last in a file beside "
            f"the name under which it was opened, and that may be another one. Remove the other names, or export a "
            f"copy made by `sqlite3 FILE '.backup COPY'`."
        )
    if _is_mount(path):
        raise DatabaseError(
            f"{path} is mounted by itself, without the files beside it, in which SQLite keeps what was committed last. "
            f"Mount its folder instead."
        )
    return path


def _is_mount(path: Path) -> bool:
    """Whether the file, and not its folder, is what was mounted (Linux: proc(5), mountinfo)."""
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    name = os.fsencode(path)
    return any(re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), line.split()[4]) == name for line in mounts)
