"""A SQLite audit database: opened so that neither it nor its neighbours change, read with declared types.

Belongs here: what is particular to SQLite (files, write-ahead logs, storage classes). Does not belong here: what holds for every
database (`database.py`).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote

import adbc_driver_sqlite.dbapi as adbc
import polars as pl
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import registry

from ..contract import Contract, Kind, Table
from ..contract.model import Path as ParentPath
from ..contract.statements import RUN_ID, select_all, select_parents, select_run, select_strays
from ..errors import CorruptTable, DatabaseError
from ..parallel import read_ahead
from .adbc import record_batches
from .checks import RAW, TIME_PATTERN, row_label
from .frames import arrow_schema
from .membership import Ids, Members, SharedIds

registry.register("sqlite.adbc", "landscape_assets.landscape.adbc", "AdbcSQLiteDialect")

_MAGIC = b"SQLite format 3\0"
_WAL_FORMAT = 2  # https://www.sqlite.org/fileformat2.html, offsets 18 and 19

# What stands in for a value of each kind in the row that pins the types of a result; see `_pinned`.
_SENTINELS: dict[Kind, str] = {Kind.INTEGER: "0", Kind.BOOLEAN: "0", Kind.FLOAT: "0.0"}

_RAW_TYPES: dict[Kind, pa.DataType] = {
    Kind.INTEGER: pa.int64(),
    Kind.BOOLEAN: pa.int64(),
    Kind.FLOAT: pa.float64(),
}

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
        DatabaseError: the file is missing, is no SQLite database, or cannot be opened.
    """

    name = "sqlite"
    utc = False

    def __init__(self, url: sa.URL) -> None:
        self._url, self._path = url, _file(url)
        self.shown = str(self._path)
        self._files, self._ids = _Files(), SharedIds()
        try:
            self._opened_at = self._state()
            uri, self._is_quiet = _read_only_uri(self._path, self._files)
            self._connect(uri)
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
                self._connection.exec_driver_sql("BEGIN")
                self._connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").close()
            except BaseException:
                self._connection.close()
                raise
        except (sa.exc.DBAPIError, adbc.Error) as error:
            raise self._failure(error) from None

    def twin(self) -> SQLiteSource | None:
        """Another connection that sees the same state; None when the database was written to since this one was opened."""
        try:
            other = SQLiteSource(self._url)
            # Neither was there a commit before the other's snapshot, nor will there be one in it.
            if other._state() == self._opened_at:
                other._ids = self._ids
                return other
            other.close()
        except DatabaseError:  # this connection may do without
            pass
        return None

    def close(self) -> None:
        """Ends the transaction and closes the file."""
        self._connection.close()
        self._engine.dispose()
        self._files.release()

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

    def runs(self, select: sa.Select) -> list[dict[str, Any]]:
        """The rows of a small statement over `runs` whose columns are all text, as dicts."""
        pinned = _pinned(select, [Kind.TEXT] * len(select.selected_columns))
        return self._all(pinned)[1:]

    def statement(self, contract: Contract, table: Table) -> str:
        """The statement by which `read` reads a table, as people are shown it."""
        if not _is_told_by_parents(table):
            return str(select_run(contract, table))
        told = " or ".join(path.column for path in table.paths)
        return f"{select_all(contract, table)}\n-- the run's: those whose {told}\n-- is the id of a row of the run"

    def read(
        self, contract: Contract, table: Table, run_id: str
    ) -> Iterator[tuple[pa.RecordBatch, pl.DataFrame]]:
        """Reads the rows of one run in a table.

        Args:
            contract: the contract of the database.
            table: one of its tables.
            run_id: the run.

        Yields:
            The rows of the run with their declared types, and the frame to check: the same columns, and what the checks need
            besides (`checks.RAW`).

        Raises:
            CorruptTable: a value is stored as another type than the column's, or is no UTF-8.
            DatabaseError: the database cannot be read.
        """
        if _is_told_by_parents(table):
            rows = self._sorted_out(contract, table, run_id)
        else:
            rows = self._raw(table, select_run(contract, table), run_id)
        try:
            for batch in rows:
                yield _typed(table, batch)
        except _READ_ERRORS as error:
            self._unchanged()
            if wrong := self._wrong_storage_class(table, select_run(contract, table), run_id):
                raise wrong from None
            raise self._failure(error) from None
        self._unchanged()

    def _sorted_out(self, contract: Contract, table: Table, run_id: str) -> Iterator[pa.RecordBatch]:
        """The rows of the run among those of all runs, and behind them those that no parent claims.

        SQLite would look parents up one by one, at random places of an index. That takes longer than reading the row, and longer than
        sorting out the rows of other runs here (measured: 5.9 s of the processor's time for a million calls, instead of 2.7).
        """
        given, last = 0, None
        try:
            parents = {path.column: self._parents(contract, path, run_id) for path in table.paths}
            members = Members(parents)
            for batch in members.of(self._raw(table, select_all(contract, table))):
                yield batch
                given, last = given + batch.num_rows, batch.slice(batch.num_rows - 1)
            if not members.has_strangers:
                return
        except _READ_ERRORS:
            # Perhaps another run's row is at fault, and this run is not: its own rows are read by themselves, in the same order.
            yield from _behind(given, last, self._raw(table, select_run(contract, table, strays=False), run_id))
        yield from self._raw(table, select_strays(contract, table), run_id)

    def _raw(self, table: Table, select: sa.Select, run_id: str | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a statement as they are stored: text may be no UTF-8."""
        kinds = [column.kind for column in table.columns] + [Kind.TEXT] * table.claims_run
        names = [*table.selected, *(["run_id"] if table.claims_run else [])]
        schema = pa.schema([pa.field(n, _RAW_TYPES.get(k, pa.string())) for n, k in zip(names, kinds, strict=True)])
        result = self._execute(_pinned(select, kinds), run_id)
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

    def _parents(self, contract: Contract, path: ParentPath, run_id: str) -> Ids:
        """By which ids a path leads to the run."""
        with self._ids.lock:
            known = self._ids.of(run_id)
            if path.table not in known:
                result = self._execute(_pinned(select_parents(contract, path), [Kind.TEXT]), run_id)
                try:
                    _, batches = record_batches(result)
                    known[path.table] = Ids(batch.column(0).slice(int(i == 0)) for i, batch in enumerate(batches))
                finally:
                    result.close()
            return known[path.table]

    def _wrong_storage_class(self, table: Table, select: sa.Select, run_id: str) -> CorruptTable | None:
        """After a read failed: the first value whose storage class is not that of its column's kind, if there is one."""
        columns = {column.name: column for column in select.selected_columns}
        for column in table.columns:
            classes = (*_STORAGE_CLASSES.get(column.kind, ("text",)), "null")
            found = sa.func.typeof(columns[column.name])
            ids = [sa.cast(columns[name], sa.Text).label(name) for name in table.id if name in columns]
            query = (
                select.with_only_columns(*ids, found.label("class"), sa.func.quote(columns[column.name]).label("value"))
                .where(found.not_in(classes))
                .limit(1)
            )
            for row in self._all(query, run_id):
                label = row_label(table, row) if ids else f"run_id {run_id!r}"
                wanted = "text" if classes[0] == "text" else "an integer" if classes[0] == "integer" else "a number"
                return CorruptTable(
                    table.name, label, column.name, row["value"], f"which is stored as {row['class']} and is not {wanted}"
                )
        return None

    def _execute(self, statement: sa.Executable, run_id: str | None = None) -> sa.CursorResult:
        try:
            return self._connection.execute(statement, {} if run_id is None else {RUN_ID: run_id})
        except (sa.exc.DBAPIError, adbc.Error) as error:
            raise self._failure(error) from None

    def _all(self, statement: sa.Executable, run_id: str | None = None) -> list[dict[str, Any]]:
        result = self._execute(statement, run_id)
        try:
            _, batches = record_batches(result)
            return [row for batch in batches for row in batch.to_pylist()]
        except _READ_ERRORS as error:
            raise self._failure(error) from None
        finally:
            result.close()

    def _failure(self, error: Exception) -> DatabaseError:
        text = str(getattr(error, "orig", error)).split("\nquery:")[0]
        reason = re.sub(r"^[A-Z_]+: \[SQLite\] (Failed to prepare query: )?", "", text)
        busy = "locked" in reason or "busy" in reason
        advice = "another process holds it; try again" if busy else "check the file, and that it can be read"
        return DatabaseError(f"The audit database {self.shown} cannot be read: {reason}; {advice}.", transient=busy)

    def _state(self) -> tuple[object, ...]:
        """What changes when anyone commits to the database: size and time of the file and of its log, the file's change counter, and
        the header of the log's index (https://www.sqlite.org/walformat.html, section 2.1), where a commit is first seen."""
        found: list[object] = []
        for suffix, header in (("", 100), ("-wal", 0), ("-shm", 48)):
            path = Path(f"{self._path}{suffix}")
            try:
                found.append(self._files.head(path, header))
                if suffix != "-shm":  # which readers touch
                    status = path.stat()
                    found.append((status.st_size, status.st_mtime_ns))
            except FileNotFoundError:
                found.append(None)
            except OSError as error:
                raise DatabaseError(f"The audit database {self._path} cannot be read: {error.strerror}.") from None
        return tuple(found)

    def _unchanged(self) -> None:
        """A file opened without locks must not have been written to meanwhile."""
        if self._is_quiet and self._state() != self._opened_at:
            raise DatabaseError(
                f"The audit database {self.shown} was written to while it was read; try again.", transient=True
            )


def _is_told_by_parents(table: Table) -> bool:
    """Whether rows do not say themselves to which run they belong."""
    return bool(table.paths) and not table.own_run_id


def _behind(given: int, last: pa.RecordBatch | None, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows that come after those that were given already; `last` is the last one of these."""
    for batch in batches:
        if given >= batch.num_rows:
            given -= batch.num_rows
            before = batch
            continue
        if given:
            before, batch, given = batch.slice(0, given), batch.slice(given), 0
        if last is not None:
            if not before.slice(before.num_rows - 1).equals(last):
                raise pa.ArrowInvalid("rows come in another order than before")
            last = None
        yield batch
    if given:
        raise pa.ArrowInvalid("there are fewer rows than before")


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
            # Twelve times as fast as Polars, and as strict with days and hours; but it stops at the first that there is not.
            text = stored.to_arrow(compat_level=pl.CompatLevel.oldest())
            return pl.from_arrow(text.cast(pa.timestamp("us"))).alias(stored.name)
        except pa.ArrowInvalid:
            pass
    parsed = stored.str.replace("T", " ", literal=True).str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False
    )
    frame = pl.DataFrame({"matches": matches, "parsed": parsed})
    return frame.select(pl.when("matches").then("parsed").alias(stored.name)).to_series()


def _pinned(select: sa.Select, kinds: list[Kind]) -> sa.CompoundSelect:
    """The statement behind one row of literals, which pins the type of every column.

    The driver takes a column's type from the first rows, so that a column of nulls would come out as integers, and text that
    turns up late would fail.
    """
    literals = [
        sa.literal_column(_SENTINELS.get(kind, "''")).label(column.name)
        for kind, column in zip(kinds, select.selected_columns, strict=True)
    ]
    return sa.select(*literals).union_all(select)


def _require_utf8(table: Table, batch: pa.RecordBatch) -> None:
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for column in table.columns:
            values = batch.column(column.name)
            if not pa.types.is_string(values.type):
                continue
            for i, value in enumerate(values.cast(pa.binary())):
                try:
                    (value.as_py() or b"").decode()
                except UnicodeDecodeError:
                    ids = {name: batch.column(name)[i] for name in table.id if name in batch.schema.names}
                    label = ", ".join(f"{name} {_lossy(scalar)!r}" for name, scalar in ids.items())
                    raise CorruptTable(
                        table.name, label, column.name, repr(value.as_py()), "which is not UTF-8"
                    ) from None
        raise


def _lossy(value: pa.Scalar) -> str:
    return value.cast(pa.binary()).as_py().decode("utf-8", "backslashreplace")


def _file(url: sa.URL) -> Path:
    database = url.database
    if not database or database == ":memory:":
        raise DatabaseError("The URL names no SQLite file. Write sqlite:///FILE, or sqlite:////FILE for an absolute path.")
    if database.startswith("file:"):
        database = unquote(database.removeprefix("file:").partition("?")[0])
    path = Path(os.path.abspath(database))
    if not path.exists():
        raise DatabaseError(f"There is no file {path}. Check the database URL.")
    if not path.is_file():
        raise DatabaseError(f"{path} is not a file. Check the database URL.")
    return path


class _Files:
    """The database's files as they are on disk, read beside SQLite.

    A process that closes any descriptor of a file loses all its locks on it (POSIX, fcntl), those of SQLite included
    (https://www.sqlite.org/howtocorrupt.html, section 2.2). So each file is opened once in the process, and closed when nobody
    here uses the database any more.
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

    A log's index (`-shm`) that is there is opened read-only: a writer is, or was just now, at work. Where there is no log,
    SQLite would make an empty one; the file alone is all there is, and is opened as immutable. A log without an index was left
    by a crash: SQLite would make the index, and leave it behind; without locks and in exclusive mode it keeps it in memory.
    `SQLiteSource._unchanged` makes up for the locks.
    """
    try:
        header = files.head(path, 100)
    except OSError as error:
        raise DatabaseError(f"The audit database {path} cannot be read: {error.strerror}.") from None
    if not header.startswith(_MAGIC):
        what = "is empty" if not header else "is no SQLite database"
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
            # Waiting for a writer is bounded. A larger cache, or a memory map, was measured: no faster, and it is held to the end.
            for pragma in ("busy_timeout=10000", "query_only=1"):
                cursor.execute(f"PRAGMA {pragma}")
                cursor.fetchall()
    except BaseException:
        connection.close()
        raise
    return connection
