"""A SQLite audit database: opened so that neither it nor its neighbours change, read with declared types.

Belongs here: what is particular to SQLite (files, write-ahead logs, storage classes). Does not belong here: what holds
for every database (`database.py`).
"""

from __future__ import annotations

import os
import random
import re
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote

import adbc_driver_sqlite.dbapi as adbc
import polars as pl
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import registry

from ..contract import Contract, Kind, Table
from ..errors import CorruptTable, DatabaseError
from ..parallel import read_ahead
from .adbc import record_batches, text_rows
from .schemas import arrow_schema
from .source import RUN_COLUMNS, Damaged, RunValue, ScanFailed
from .statements import RUN_IDS, count_rows, select_all, select_runs
from .validation import RAW, TIME_PATTERN

registry.register("sqlite.adbc", "landscape_assets.database.adbc", "AdbcSQLiteDialect")

_MAGIC = b"SQLite format 3\0"
_WAL_FORMAT = 2  # https://www.sqlite.org/fileformat2.html, offsets 18 and 19

# What stands in for a value of each kind in the row that pins the types of a result; see `_pinned`.
_SENTINELS: dict[Kind, str] = {Kind.INTEGER: "0", Kind.BOOLEAN: "0", Kind.FLOAT: "0.0"}

_RAW_TYPES: dict[Kind, pa.DataType] = {
    Kind.INTEGER: pa.int64(),
    Kind.BOOLEAN: pa.int64(),
    Kind.FLOAT: pa.float64(),
}

_OPENING_SECONDS = 5
"""For how long a database is tried to be opened while other processes open and close it."""

_SCAN_SHARE = 1 / 5
"""From which share of the rows on tables are scanned: a row that is found by index costs about four times as much
(measured)."""

_READ_ERRORS = (adbc.Error, pa.ArrowException, OSError, UnicodeDecodeError)
"""What the driver and Arrow raise where rows cannot be read, or are not of their declared types."""

_STORAGE_CLASSES: dict[Kind, tuple[str, ...]] = {
    Kind.INTEGER: ("integer",),
    Kind.BOOLEAN: ("integer",),
    Kind.FLOAT: ("real", "integer"),
}


class SQLiteSource:
    """One connection to a SQLite file, in one read transaction.

    Args:
        url: a SQLAlchemy URL, `sqlite:///relative.db` or `sqlite:////absolute.db`.

    Raises:
        DatabaseError: the file is missing, is not a SQLite database, or cannot be opened.
    """

    name = "sqlite"
    utc = False

    def __init__(self, url: sa.URL) -> None:
        self._url = url
        deadline = time.monotonic() + _OPENING_SECONDS
        while True:
            try:
                return self._open()
            except DatabaseError as error:
                # Another process has just made or removed a log: the next look finds how things stand.
                if not error.transient or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.01, 0.1))

    def _open(self) -> None:
        self._path = _file(self._url)
        self.shown = str(self._path)
        self._files, self._is_quiet = _Files(), False
        try:
            self._opened_at = self._state()
            uri, self._is_quiet = _read_only_uri(self._path, self._files)
            self._connect(uri)
            try:
                self._require_unchanged()
            except BaseException:
                self._disconnect()
                raise
        except BaseException:
            self._files.release()
            raise

    def _connect(self, uri: str) -> None:
        self._engine = sa.create_engine(
            "sqlite+adbc://", creator=lambda: _connect(uri, self._is_quiet), poolclass=sa.pool.NullPool
        )
        try:
            self._connection = self._engine.connect()
            try:
                # The transaction's snapshot is taken by its first read.
                self._connection.exec_driver_sql("BEGIN").close()
                self._connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").close()
            except BaseException:
                self._disconnect()
                raise
        except (sa.exc.DBAPIError, adbc.Error) as error:
            raise self._failure(error) from None

    def _disconnect(self) -> None:
        self._connection.close()
        self._engine.dispose()

    def same_snapshot(self) -> SQLiteSource | None:
        """Another connection that sees the same state; None when the database was written to since this one was opened."""
        try:
            other = SQLiteSource(self._url)
            # Neither was there a commit before the other's snapshot, nor will there be one in it.
            if other._state() == self._opened_at:
                return other
            other.close()
        except DatabaseError:  # this connection may do without
            pass
        return None

    def close(self) -> None:
        """Ends the transaction and closes the file."""
        self._disconnect()
        self._files.release()

    @cached_property
    def _encoding(self) -> str:
        """In which encoding the database keeps text, and so gives it where it is asked for its bytes."""
        ((stored,),) = (row.values() for row in self._all(sa.text("SELECT encoding FROM pragma_encoding")))
        return {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}.get(stored, "utf-8")

    def columns(self) -> dict[str, set[str]]:
        """Table name → its column names."""
        rows = self._all(
            sa.text(
                "SELECT m.name AS table_name, c.name AS column_name FROM sqlite_master AS m "
                "JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'"
            )
        )
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(row["table_name"], set()).add(row["column_name"])
        return found

    def runs(self, contract: Contract) -> list[dict[str, RunValue]]:
        """The values of every run in the columns RUN_COLUMNS."""
        row = contract.metadata.tables["runs"]
        columns = [
            column
            for name in RUN_COLUMNS
            for column in (
                sa.func.typeof(row.c[name]).label(f"{name} class"),
                sa.cast(row.c[name], sa.LargeBinary).label(name),
            )
        ]
        select = _pinned(sa.select(*columns), ["''", "x''"] * len(RUN_COLUMNS))
        return [
            {name: _run_value(found[f"{name} class"], found[name], self._encoding) for name in RUN_COLUMNS}
            for found in self._all(select)[1:]
        ]

    def counts(self, statements: Mapping[str, sa.Select], run_ids: Sequence[str]) -> dict[str, int]:
        """What statements that count give, by name, for some runs."""
        counts = [
            sa.select(sa.literal_column(f"'{name}'"), select.scalar_subquery()) for name, select in statements.items()
        ]
        rows = self._all(sa.union_all(*counts), run_ids)
        return {name: count for name, count in map(dict.values, rows)}

    def rows_by_run(self, contract: Contract) -> dict[str, int]:
        """How many rows of the table `rows` each run has."""
        rows = contract.metadata.tables["rows"]
        run_id = sa.cast(rows.c.run_id, sa.LargeBinary)  # it may be anything
        select = _pinned(
            sa.select(run_id.label("id"), sa.func.count().label("rows")).group_by(rows.c.run_id), ["x''", "0"]
        )
        return {
            row["id"].decode(self._encoding, "backslashreplace"): row["rows"]
            for row in self._all(select)[1:]
            if row["id"]
        }

    def prefers_scan(self, contract: Contract, run_ids: Sequence[str]) -> bool:
        """Whether the runs have so much of the database that reading whole tables is faster than following indexes.

        Both numbers cost nothing: one is the last entry of the table, the other the length of a part of an index.
        """
        rows = contract.metadata.tables["rows"]
        mine = count_rows(contract, contract.tables["rows"]).scalar_subquery()
        (found,) = self._all(
            sa.select(
                mine.label("mine"),
                sa.select(sa.func.max(sa.literal_column("rowid"))).select_from(rows).scalar_subquery().label("all"),
            ),
            run_ids,
        )
        return found["mine"] >= _SCAN_SHARE * (found["all"] or 0)

    def read(self, contract: Contract, table: Table, run_ids: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Reads rows of a table as they are stored: text may not be UTF-8.

        Args:
            contract: the contract of the database.
            table: one of its tables.
            run_ids: the runs, whose rows are found by index; None for the rows of all runs, by a scan.

        Yields:
            The columns of `statements.select_runs`.

        Raises:
            CorruptTable: a value of the runs is stored as another type than the column's.
            DatabaseError: the database cannot be read.
            ScanFailed: a scan met a row that cannot be read; it may be of another run.
        """
        select = select_all(contract, table) if run_ids is None else select_runs(contract, table)
        try:
            yield from self._raw(table, select, run_ids)
        except _READ_ERRORS as error:
            self._require_unchanged()
            if run_ids is None:
                raise ScanFailed from None
            if wrong := self._wrong_storage_class(table, select, run_ids):
                raise wrong from None
            raise self._failure(error) from None
        self._require_unchanged()

    def file_damage(self) -> Iterator[str]:
        """What SQLite's own check of the file finds, indexes included (https://www.sqlite.org/pragma.html#pragma_integrity_check)."""
        for row in self._all(sa.text("SELECT CAST(integrity_check AS TEXT) AS found FROM pragma_integrity_check")):
            if row["found"] != "ok":
                yield row["found"]

    def texts(self, select: sa.Select) -> Iterator[tuple[str | None, ...]]:
        """The rows of a statement, every value as text. They are fetched as bytes: they may be anything."""
        values = [sa.cast(column, sa.LargeBinary).label(f"v{i}") for i, column in enumerate(select.selected_columns)]
        result = self._execute(_pinned(select.with_only_columns(*values), ["x''"] * len(values)))
        try:
            yield from islice(text_rows(record_batches(result)[1], self._encoding), 1, None)
        except _READ_ERRORS as error:
            self._require_unchanged()
            raise self._failure(error) from None
        finally:
            result.close()
        self._require_unchanged()

    def typed(self, table: Table, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pl.DataFrame]:
        """Rows of `read` with their declared types, and the frame to check: the same columns, and what the checks need
        besides (`checks.RAW`).

        Raises:
            CorruptTable: a text is not UTF-8.
        """
        return _typed(table, batch)

    def _raw(self, table: Table, select: sa.Select, run_ids: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """The rows of a statement as they are stored."""
        kinds = [column.kind for column in table.columns] + [Kind.TEXT] * table.own_run_id
        names = [*table.selected, *(["run_id"] if table.own_run_id else [])]
        schema = pa.schema([pa.field(n, _RAW_TYPES.get(k, pa.string())) for n, k in zip(names, kinds, strict=True)])
        result = self._execute(_pinned(select, [_SENTINELS.get(kind, "''") for kind in kinds]), run_ids)
        try:
            _, batches = record_batches(result)
            first = True
            # SQLite reads on one thread while the batches before are converted and checked on this one.
            for batch in read_ahead(batches):
                if [field.type for field in batch.schema] != schema.types:
                    raise pa.ArrowInvalid("a column is of another type than declared")
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema).slice(int(first))
                first = False
        finally:
            result.close()

    def _wrong_storage_class(self, table: Table, select: sa.Select, run_ids: Sequence[str]) -> CorruptTable | None:
        """After a read failed: the first value whose storage class is not that of its column's kind, if there is one.

        Values are fetched as bytes: they may be anything.
        """
        columns = {column.name: column for column in select.selected_columns}
        names = [name for name in table.id if name in columns]
        for column in table.columns:
            classes = (*_STORAGE_CLASSES.get(column.kind, ("text",)), "null")
            wanted = columns[column.name]
            values = [*(columns[name] for name in names), wanted]
            query = (
                select.with_only_columns(
                    sa.func.typeof(wanted).label("class"),
                    *(sa.cast(sa.func.quote(value), sa.LargeBinary).label(f"v{i}") for i, value in enumerate(values)),
                )
                .where(sa.func.typeof(wanted).not_in(classes))
                .limit(1)
            )
            first = sa.select(query.subquery())
            for row in self._all(_pinned(first, ["''", *["x''"] * len(values)]), run_ids)[1:]:
                *ids, found = (row[f"v{i}"].decode(self._encoding, "backslashreplace") for i in range(len(values)))
                label = ", ".join(f"{name} {value}" for name, value in zip(names, ids, strict=True))
                kind = {"text": "text", "integer": "an integer"}.get(classes[0], "a number")
                rule = f"which is stored as {row['class']} and is not {kind}"
                return CorruptTable(table.name, label or "run_id", column.name, found, rule)
        return None

    def _execute(self, statement: sa.Executable, run_ids: Sequence[str] | None = None) -> sa.CursorResult:
        try:
            return self._connection.execute(statement, {} if run_ids is None else {RUN_IDS: list(run_ids)})
        except (sa.exc.DBAPIError, adbc.Error) as error:
            raise self._failure(error) from None

    def _all(self, statement: sa.Executable, run_ids: Sequence[str] | None = None) -> list[dict[str, Any]]:
        result = self._execute(statement, run_ids)
        try:
            _, batches = record_batches(result)
            return [row for batch in batches for row in batch.to_pylist()]
        except _READ_ERRORS as error:
            self._require_unchanged()
            raise self._failure(error) from None
        finally:
            result.close()

    def _failure(self, error: Exception) -> DatabaseError:
        text = str(getattr(error, "orig", error)).split("\nquery:")[0]
        reason = re.sub(r"^[A-Z_]+: \[SQLite\] (Failed to prepare query: )?", "", text)
        what = f"The audit database {self.shown} cannot be read: {reason}"
        if "locked" in reason or "busy" in reason:
            return DatabaseError(f"{what}; another process holds it; try again.", transient=True)
        if self._is_quiet and self._state() != self._opened_at:
            return self._written_to()
        if "readonly" in reason or "unable to open" in reason:
            if _is_hot(journal := Path(f"{self._path}-journal")):
                return DatabaseError(
                    f"The audit database {self.shown} was left in the middle of a transaction: {journal} is a hot rollback journal. "
                    f"Open a copy of the two with a program that may write (`sqlite3 COPY 'PRAGMA quick_check'`), which rolls "
                    f"the transaction back, and export the copy."
                )
            if os.access(self._path, os.R_OK):
                return DatabaseError(
                    f"{what}; another process has just opened or closed it; try again.", transient=True
                )
        return DatabaseError(f"{what}; check the file, and that it can be read.")

    def _state(self) -> tuple[object, ...]:
        """What changes when anyone commits to the database: the file itself, size and time of it and of its log, the
        file's change counter, and the header of the log's index (https://www.sqlite.org/walformat.html, section 2.1),
        where a commit is
        first seen."""
        found: list[object] = []
        for suffix, header in (("", 100), ("-wal", 0), ("-shm", 48)):
            path = Path(f"{self._path}{suffix}")
            try:
                found.append(self._files.head(path, header))
                if suffix != "-shm":  # which readers touch
                    status = path.stat()
                    found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
            except FileNotFoundError:
                found.append(None)
            except OSError as error:
                raise DatabaseError(f"The audit database {self._path} cannot be read: {error.strerror}.") from None
        return tuple(found)

    def _require_unchanged(self) -> None:
        """A file opened without locks must not have been written to meanwhile."""
        if self._is_quiet and self._state() != self._opened_at:
            raise self._written_to()

    def _written_to(self) -> DatabaseError:
        return DatabaseError(
            f"The audit database {self.shown} was written to while it was read; try again.", transient=True
        )


def _run_value(storage_class: str, stored: bytes | None, encoding: str) -> RunValue:
    """A value of the table runs: text; null; or what is wrong with it."""
    if stored is None:
        return None
    if storage_class == "blob":
        return Damaged(stored.decode("utf-8", "backslashreplace"), "which is stored as blob and is not text")
    try:
        return stored.decode(encoding)
    except UnicodeDecodeError:
        return Damaged(stored.decode(encoding, "backslashreplace"), f"which is not {encoding.upper()}")


def _is_hot(journal: Path) -> bool:
    """Whether a rollback journal is there that a transaction left (https://www.sqlite.org/lockingv3.html, section 4)."""
    try:
        with journal.open("rb") as file:
            return file.read(1) not in (b"", b"\0")
    except OSError:
        return False


def _typed(table: Table, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pl.DataFrame]:
    """Rows with their declared types, and the frame to check."""
    _require_utf8(table, batch)
    frame = pl.from_arrow(batch)
    frame = frame.with_columns(
        values for column in table.columns for values in _declared(frame[column.name], column.kind)
    )
    arrays = [
        frame[column.name].to_arrow(compat_level=pl.CompatLevel.oldest())
        if column.kind in (Kind.TIME, Kind.BOOLEAN)
        else batch.column(column.name)
        for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(table)), frame


def _declared(stored: pl.Series, kind: Kind) -> list[pl.Series]:
    """The columns that a column of text or integers becomes when its declared type is another."""
    if kind is Kind.TIME:
        return [_times(stored), stored.alias(RAW + stored.name)]
    if kind is Kind.BOOLEAN:
        frame = stored.to_frame("value")
        flags = frame.select(pl.when(pl.col("value").is_in([0, 1])).then(pl.col("value").cast(pl.Boolean))).to_series()
        return [flags.alias(stored.name), stored.alias(RAW + stored.name)]
    return []


def _times(stored: pl.Series) -> pl.Series:
    """Times from their text; null for what is none."""
    matches = stored.str.contains(TIME_PATTERN)
    if matches.all():
        try:
            # Twelve times as fast as Polars, and as strict with days and hours; but it stops at the first that there is
            # not.
            text = stored.to_arrow(compat_level=pl.CompatLevel.oldest())
            return pl.from_arrow(text.cast(pa.timestamp("us"))).alias(stored.name)
        except pa.ArrowInvalid:
            pass
    parsed = stored.str.replace("T", " ", literal=True).str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False
    )
    frame = pl.DataFrame({"matches": matches, "parsed": parsed})
    return frame.select(pl.when("matches").then("parsed").alias(stored.name)).to_series()


def _pinned(select: sa.Select, literals: Sequence[str]) -> sa.CompoundSelect:
    """The statement behind one row of literals, one for each column, which pins the type of every column.

    The driver takes a column's type from the first rows, so that a column of nulls would come out as integers, and text
    that turns up late would fail.
    """
    columns = zip(literals, select.selected_columns, strict=True)
    return sa.select(*(sa.literal_column(literal).label(column.name) for literal, column in columns)).union_all(select)


def _require_utf8(table: Table, batch: pa.RecordBatch) -> None:
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for column, values in zip(batch.schema.names, batch.columns, strict=True):
            if not pa.types.is_string(values.type):
                continue
            for i, value in enumerate(values.cast(pa.binary())):
                try:
                    (value.as_py() or b"").decode()
                except UnicodeDecodeError:
                    ids = {name: batch.column(name)[i] for name in table.id if name in batch.schema.names}
                    label = ", ".join(f"{name} {_lossy(scalar)!r}" for name, scalar in ids.items())
                    raise CorruptTable(table.name, label, column, repr(value.as_py()), "which is not UTF-8") from None
        raise


def _lossy(value: pa.Scalar) -> str:
    return value.cast(pa.binary()).as_py().decode("utf-8", "backslashreplace")


def _file(url: sa.URL) -> Path:
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
            f"{path} has {status.st_nlink} names (hard links). SQLite keeps what was committed last in a file beside the name "
            f"under which it was opened, and that may be another one. Remove the other names, or export a copy made by "
            f"`sqlite3 FILE '.backup COPY'`."
        )
    if _is_mount(path):
        raise DatabaseError(
            f"{path} is mounted by itself, without the files beside it, in which SQLite keeps what was committed last. Mount its "
            f"folder instead."
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


class _Files:
    """The database's files as they are on disk, read beside SQLite.

    A process that closes any descriptor of a file loses all its locks on it (POSIX, fcntl), those of SQLite included
    (https://www.sqlite.org/howtocorrupt.html, section 2.2). So each file is opened once in the process, and closed when
    nobody here uses the database any more.
    """

    _lock = threading.Lock()
    _open: ClassVar[dict[tuple[int, int], list[int]]] = {}
    """Device and inode → the descriptor, and how many use it."""

    def __init__(self) -> None:
        self._mine: set[tuple[int, int]] = set()

    def head(self, path: Path, size: int) -> bytes:
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

    def release(self) -> None:
        """To be called when the connection is closed."""
        with self._lock:
            for file in self._mine:
                self._open[file][1] -= 1
                if self._open[file][1] == 0:
                    os.close(self._open.pop(file)[0])
            self._mine.clear()


def _read_only_uri(path: Path, files: _Files) -> tuple[str, bool]:
    """How to open the file so that nothing on disk changes, and whether that is without locks.

    A log's index (`-shm`) that is there is opened read-only: a writer is, or was just now, at work. Where there is no
    log, SQLite would make an empty one; the file alone is all there is, and is opened as immutable. A log without an
    index was left by a crash: SQLite would make the index, and leave it behind; without locks and in exclusive mode it
    keeps it in memory.
    `SQLiteSource._require_unchanged` makes up for the locks.
    """
    try:
        header = files.head(path, 100)
    except OSError as error:
        raise DatabaseError(f"The audit database {path} cannot be read: {error.strerror}.") from None
    if not header.startswith(_MAGIC):
        what = "is empty" if not header else "is not a SQLite database"
        raise DatabaseError(f"{path} {what}. Check the database URL.")
    uri = f"file:{quote(str(path))}?mode=ro"
    if _WAL_FORMAT not in header[18:20]:
        return uri, False
    if Path(f"{path}-shm").exists():
        return f"{uri}&readonly_shm=1", False
    log = Path(f"{path}-wal")
    if not log.exists() or log.stat().st_size == 0:
        return f"{uri}&immutable=1", True
    return f"{uri}&vfs=unix-none", True


def _connect(uri: str, quiet: bool) -> adbc.Connection:
    connection = adbc.connect(uri, autocommit=True)
    try:
        with connection.cursor() as cursor:
            if quiet:
                cursor.execute("PRAGMA locking_mode=EXCLUSIVE")
                cursor.fetchall()
            # Waiting for a writer is bounded. A larger cache, or a memory map, was measured: no faster, and it is held
            # to the end.
            for pragma in ("busy_timeout=10000", "query_only=1"):
                cursor.execute(f"PRAGMA {pragma}")
                cursor.fetchall()
    except BaseException:
        connection.close()
        raise
    return connection
