"""A SQLite audit database: opened so that neither it nor its neighbours change, read with declared types.

Belongs here: connections to SQLite, and values as SQLite keeps them (storage classes, encodings). Does not belong here:
the database's files (`sqlite_file.py`), and what holds for every database (`source.py`, `audit_database.py`).
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache, cached_property
from itertools import islice
from typing import Any

import adbc_driver_sqlite.dbapi as adbc
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.dialects import registry

from ..contract import Contract, Kind, Table
from ..errors import CorruptTable, DatabaseError
from ..parallel import read_ahead
from .adbc import COMPILED, record_batches, text_rows
from .source import DRIVER_ERRORS, RUN_COLUMNS, Damaged, RunValue, ScanFailed, Source
from .sqlite_file import DatabaseFile
from .statements import count_rows, select_all, select_runs
from .validation import RAW, TIME_PATTERN

registry.register("sqlite.adbc", "landscape_assets.database.adbc", "AdbcSQLiteDialect")

# What stands in for a value of each kind in the row that pins the types of a result; see `_pinned`.
_SENTINELS: dict[Kind, str] = {Kind.INTEGER: "0", Kind.BOOLEAN: "0", Kind.FLOAT: "0.0"}

_RAW_TYPES: dict[Kind, pa.DataType] = {
    Kind.INTEGER: pa.int64(),
    Kind.BOOLEAN: pa.int64(),
    Kind.FLOAT: pa.float64(),
}

_COLUMNS = sa.text(
    "SELECT m.name AS table_name, c.name AS column_name FROM sqlite_master AS m "
    "JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'"
)

_OPENING_SECONDS = 5
"""For how long a database is tried to be opened while other processes open and close it."""

_JOURNAL_SECONDS = 1
"""For how long a rollback journal may be another process's, whose transaction has not ended."""

_SCAN_SHARE = 1 / 5
"""From which share of the rows on tables are scanned: a row that is found by index costs about four times as much
(measured)."""

_STORAGE_CLASSES: dict[Kind, tuple[str, ...]] = {
    Kind.INTEGER: ("integer",),
    Kind.BOOLEAN: ("integer",),
    Kind.FLOAT: ("real", "integer"),
}


class _HotJournalError(DatabaseError):
    """A rollback journal was left by a crash, or is another process's that has begun a transaction just now."""


class SQLiteSource(Source):
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
        began = time.monotonic()
        while True:
            try:
                self._open()
                break
            except DatabaseError as error:
                # Another process has just made or removed a log or a journal: the next look finds how things stand.
                seconds = _OPENING_SECONDS if error.transient else _JOURNAL_SECONDS
                is_passing = error.transient or isinstance(error, _HotJournalError)
                if not is_passing or time.monotonic() > began + seconds:
                    raise
            time.sleep(random.uniform(0.01, 0.1))

    def _open(self) -> None:
        self._file = DatabaseFile(self._url)
        self.shown = str(self._file.path)
        self._without_locks = False
        with ExitStack() as stack:
            stack.callback(self._file.release)
            self._opened_at = self._file.state()
            uri, self._without_locks = self._file.read_only_uri()
            self._engine = sa.create_engine(
                "sqlite+adbc://",
                creator=lambda: _connect(uri, self._without_locks),
                poolclass=sa.pool.NullPool,
                execution_options={"compiled_cache": COMPILED},
            )
            try:
                self._connection = self._engine.connect()
                stack.callback(super().close)
                # The transaction's snapshot is taken by its first read.
                self._connection.exec_driver_sql("BEGIN").close()
                self._connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").close()
            except DRIVER_ERRORS as error:
                raise self._failure(error) from None
            self._require_unchanged()
            stack.pop_all()

    def same_snapshot(self) -> SQLiteSource | None:
        """See `Source.same_snapshot`: None when the database was written to since this connection was opened."""
        try:
            other = SQLiteSource(self._url)
            # Neither was there a commit before the other's snapshot, nor will there be one in it.
            if other._file.state() == self._opened_at:
                return other
            other.close()
        except DatabaseError:  # this connection may do without
            pass
        return None

    def close(self) -> None:
        """Ends the transaction and closes the file."""
        super().close()
        self._file.release()

    @cached_property
    def _encoding(self) -> str:
        """In which encoding the database keeps text, and so gives it where it is asked for its bytes."""
        ((stored,),) = (row.values() for row in self._all(sa.text("SELECT encoding FROM pragma_encoding")))
        return {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}.get(stored, "utf-8")

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

    def rows_by_run(self, contract: Contract) -> dict[str, int]:
        """See `Source.rows_by_run`: in the order of their first rows."""
        rows = contract.metadata.tables["rows"]
        run_id = sa.cast(rows.c.run_id, sa.LargeBinary)  # it may be anything
        first: sa.ColumnElement[int] = sa.func.min(sa.literal_column("rowid")).label("first")
        counted = sa.select(run_id.label("id"), sa.func.count().label("rows"), first)
        found = self._all(_pinned(counted.group_by(rows.c.run_id), ["x''", "0", "0"]))[1:]
        return {
            row["id"].decode(self._encoding, "backslashreplace"): row["rows"]
            for row in sorted(found, key=lambda row: row["first"])
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
        return bool(found["mine"] >= _SCAN_SHARE * (found["all"] or 0))

    def read(self, contract: Contract, table: Table, run_ids: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """See `Source.read`."""
        select = select_all(contract, table) if run_ids is None else select_runs(contract, table)
        try:
            yield from self._raw(table, select, run_ids)
        except DRIVER_ERRORS as error:
            self._require_unchanged()
            if run_ids is None:
                raise ScanFailed from None
            if wrong := self._wrong_storage_class(table, select, run_ids):
                raise wrong from None
            raise self._failure(error) from None
        self._require_unchanged()

    def file_damage(self) -> Iterator[str]:
        """What SQLite's own check of the file finds, indexes included ."""
        for row in self._all(sa.text("SELECT CAST(integrity_check AS TEXT) AS found FROM pragma_integrity_check")):
            if row["found"] != "ok":
                yield row["found"]

    def epoch(self) -> int | None:
        """The schema epoch that ELSPETH notes in the file; None where it notes none."""
        ((stored,),) = (row.values() for row in self._all(sa.text("SELECT user_version FROM pragma_user_version")))
        return stored or None

    def texts(self, select: sa.Select[Any], run_ids: Sequence[str] | None = None) -> Iterator[tuple[str | None, ...]]:
        """The rows of a statement, every value as text. They are fetched as bytes: they may be anything."""
        values = [sa.cast(column, sa.LargeBinary).label(f"v{i}") for i, column in enumerate(select.selected_columns)]
        pinned = _pinned(select.with_only_columns(*values), ["x''"] * len(values))
        yield from islice(text_rows(self._batches(pinned, run_ids), self._encoding), 1, None)
        self._require_unchanged()

    def typed(self, table: Table, batch: pa.RecordBatch) -> pl.DataFrame:
        """See `Source.typed`."""
        _require_utf8(table, batch)
        return super().typed(table, batch)

    def _columns(self) -> sa.Executable:
        return _COLUMNS

    def _times(self, stored: pl.Series) -> list[pl.Series]:
        return [_parsed_times(stored), stored.alias(RAW + stored.name)]

    def _raw(self, table: Table, select: sa.Select[Any], run_ids: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """The rows of a statement as they are stored."""
        kinds = [column.kind for column in table.columns] + [Kind.TEXT] * table.own_run_id
        names = [*table.selected, *(["run_id"] if table.own_run_id else [])]
        schema = pa.schema([pa.field(n, _RAW_TYPES.get(k, pa.string())) for n, k in zip(names, kinds, strict=True)])
        literals = tuple(_SENTINELS.get(kind, "''") for kind in kinds)
        result = self._execute(_pinned_once(select, literals), run_ids)
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

    def _wrong_storage_class(self, table: Table, select: sa.Select[Any], run_ids: Sequence[str]) -> CorruptTable | None:
        """After a read failed: the first value whose storage class is not that of its column's kind, if there is one.

        Values are fetched as bytes: they may be anything.
        """
        columns = {column.name: column for column in select.selected_columns}
        names = [name for name in table.id if name in columns]
        for column in table.columns:
            if column.derived is not None or column.redacted:
                continue  # what it follows from is looked at itself
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

    def _failure(self, error: Exception, table: str | None = None) -> DatabaseError:
        text = str(getattr(error, "orig", error)).split("\nquery:")[0]
        reason = re.sub(r"^[A-Z_]+: \[SQLite\] (Failed to prepare query: )?", "", text)
        what = f"The audit database {self.shown} cannot be read: {reason}"
        if "locked" in reason or "busy" in reason:
            return DatabaseError(f"{what}; another process holds it; try again.", transient=True)
        if self._without_locks and self._file.state() != self._opened_at:
            return self._written_to()
        if "readonly" in reason or "unable to open" in reason:
            if (journal := self._file.hot_journal()) is not None:
                return _HotJournalError(
                    f"The audit database {self.shown} was left in the middle of a transaction: {journal} is a hot "
                    f"rollback journal. Open a copy of the two with a program that may write (`sqlite3 COPY 'PRAGMA "
                    f"quick_check'`), which rolls the transaction back, and export the copy."
                )
            if os.access(self._file.path, os.R_OK):
                return DatabaseError(
                    f"{what}; another process has just opened or closed it; try again.", transient=True
                )
        return DatabaseError(f"{what}; check the file, and that it can be read.")

    def _require_unchanged(self) -> None:
        """A file opened without locks must not have been written to meanwhile."""
        if self._without_locks and self._file.state() != self._opened_at:
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


def _pinned(select: sa.Select[*tuple[Any, ...]], literals: Sequence[str]) -> sa.CompoundSelect[*tuple[Any, ...]]:
    """The statement behind one row of literals, one for each column, which pins the type of every column.

    The driver takes a column's type from the first rows, so that a column of nulls would come out as integers, and text
    that turns up late would fail.
    """
    columns = zip(literals, select.selected_columns, strict=True)
    return sa.select(*(sa.literal_column(literal).label(column.name) for literal, column in columns)).union_all(select)


_pinned_once = cache(_pinned)
"""The same for `select_runs` and `select_all`, which are the same objects each time."""


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
    return str(value.cast(pa.binary()).as_py(), "utf-8", "backslashreplace")


def _parsed_times(stored: pl.Series) -> pl.Series:
    """Times from their text; null for what is not a time."""
    text = stored.to_arrow(compat_level=pl.CompatLevel.oldest())
    matches = pc.match_substring_regex(text, TIME_PATTERN)
    if pc.all(matches, min_count=0).as_py():
        try:
            # Twelve times as fast as Polars, and as strict with days and hours; but it stops at the first that there is
            # not.
            return pl.Series(stored.name, text.cast(pa.timestamp("us")))
        except pa.ArrowInvalid:
            pass
    parsed = stored.str.replace("T", " ", literal=True).str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False
    )
    frame = pl.DataFrame({"matches": pl.Series(matches), "parsed": parsed})
    return frame.select(pl.when("matches").then("parsed").alias(stored.name)).to_series()


def _connect(uri: str, without_locks: bool) -> adbc.Connection:
    connection = adbc.connect(uri, autocommit=True)
    try:
        with connection.cursor() as cursor:
            if without_locks:
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
