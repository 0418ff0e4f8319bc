"""What each kind of database provides.

Belongs here: what `sqlite.py` and `postgresql.py` have in common: running statements, counting, declared types; and the
values that pass through. Does not belong here: what is particular to one of them, and what is done with the rows
(`audit_database.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
import sqlalchemy as sa
from adbc_driver_manager import dbapi as adbc

from ..contract import Contract, Kind, Table
from ..errors import DatabaseError
from .adbc import record_batches
from .statements import RUN_IDS
from .validation import RAW

RUN_COLUMNS = ("run_id", "status", "started_at", "completed_at")
"""What is read of every run, whether it is exported or not."""

DRIVER_ERRORS = (sa.exc.DBAPIError, adbc.Error, pa.ArrowException, OSError, UnicodeDecodeError)
"""What SQLAlchemy, the driver and Arrow raise where rows cannot be read, or are not of their declared types."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A value of the table runs that is not text: as it can be printed, and the rule that it breaks."""

    printed: str
    rule: str


RunValue = str | Damaged | None


class ScanFailed(Exception):
    """A scan met a row that cannot be read. It may be of another run: the rows of the runs are to be read by index."""


class Source(ABC):
    """One connection in one read transaction: all that it reads is of one state."""

    name: ClassVar[str]
    utc: ClassVar[bool]
    """Whether its times are instants."""
    shown: str
    """The database as messages name it, without credentials."""
    _engine: sa.Engine
    _connection: sa.Connection

    @abstractmethod
    def same_snapshot(self) -> Source | None:
        """Another connection that sees the same state; None when there can be none."""

    @abstractmethod
    def runs(self, contract: Contract) -> list[dict[str, RunValue]]:
        """The values of every run in the columns RUN_COLUMNS."""

    @abstractmethod
    def rows_by_run(self, contract: Contract) -> dict[str, int]:
        """How many rows of the table `rows` each run has; in the order of these rows, where that costs nothing."""

    @abstractmethod
    def read(self, contract: Contract, table: Table, run_ids: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Reads rows of a table as the driver gives them: text may not be UTF-8.

        Args:
            contract: the contract of the database.
            table: one of its tables.
            run_ids: the runs, whose rows are found by index; None for the rows of all runs, by a scan.

        Yields:
            The columns of `statements.select_runs`.

        Raises:
            CorruptTable: a value of the runs is stored as another type than the column's.
            DatabaseError: the database cannot be read, or a column is of another type than the contract's.
            ScanFailed: a scan met a row that cannot be read; it may be of another run.
        """

    @abstractmethod
    def texts(self, select: sa.Select[Any], run_ids: Sequence[str] | None = None) -> Iterator[tuple[str | None, ...]]:
        """The rows of a statement, perhaps with RUN_IDS, every value as text."""

    def epoch(self) -> int | None:
        """The schema epoch that ELSPETH notes beside its tables: none where a database has no place for it."""
        return None

    def file_damage(self) -> Iterator[str]:
        """What the database's own check of its files finds: nothing where a server looks after them."""
        yield from ()

    def prefers_scan(self, contract: Contract, run_ids: Sequence[str]) -> bool:
        """Whether reading whole tables is faster than following indexes: never where a server decides that itself."""
        return False

    def close(self) -> None:
        """Ends the transaction and the connection."""
        self._connection.close()
        self._engine.dispose()

    def columns(self) -> dict[str, set[str]]:
        """Table name → its column names."""
        found: dict[str, set[str]] = {}
        for row in self._all(self._columns()):
            found.setdefault(row["table_name"], set()).add(row["column_name"])
        return found

    def counts(self, statements: Mapping[str, sa.Select[Any]], run_ids: Sequence[str]) -> dict[str, int]:
        """What statements that count give, by name, for some runs."""
        counts = [
            sa.select(sa.literal_column(f"'{name}'").label("name"), select.scalar_subquery().label("rows"))
            for name, select in statements.items()
        ]
        return {row["name"]: row["rows"] for row in self._all(sa.union_all(*counts), run_ids)}

    def typed(self, table: Table, batch: pa.RecordBatch) -> pl.DataFrame:
        """Rows of `read` with their declared types, and what the checks need besides (`validation.RAW`).

        Raises:
            CorruptTable: a text is not UTF-8.
        """
        # Polars knows nothing of the driver's metadata of fields.
        plain = pa.RecordBatch.from_arrays(batch.columns, names=batch.schema.names)
        frame = pl.DataFrame(plain)
        columns = {column.name: column for column in frame}
        for column in table.columns:
            stored, found = frame[column.name], []
            if column.kind is Kind.TIME:
                found = self._times(stored)
            elif column.kind is Kind.BOOLEAN:
                found = [_flags(stored), stored.alias(RAW + column.name)]
            columns |= {one.name: one for one in found}
        return pl.DataFrame(columns)

    @abstractmethod
    def _columns(self) -> sa.Executable:
        """The statement that gives table_name and column_name of every column."""

    @abstractmethod
    def _times(self, stored: pl.Series) -> list[pl.Series]:
        """A column of times as it is declared, null for what is not a time; and, as RAW, what that then is."""

    @abstractmethod
    def _failure(self, error: Exception, table: str | None = None) -> DatabaseError:
        """What an error of the driver means."""

    def _execute(
        self, statement: sa.Executable, run_ids: Sequence[str] | None = None, *, table: str | None = None
    ) -> sa.CursorResult[Any]:
        try:
            return self._connection.execute(statement, {} if run_ids is None else {RUN_IDS: list(run_ids)})
        except DRIVER_ERRORS as error:
            raise self._failure(error, table) from None

    def _batches(self, statement: sa.Executable, run_ids: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        result = self._execute(statement, run_ids)
        try:
            yield from record_batches(result)[1]
        except DRIVER_ERRORS as error:
            raise self._failure(error) from None
        finally:
            result.close()

    def _all(self, statement: sa.Executable, run_ids: Sequence[str] | None = None) -> list[dict[str, Any]]:
        try:
            return [row for batch in self._batches(statement, run_ids) for row in batch.to_pylist()]
        except UnicodeDecodeError as error:
            raise self._failure(error) from None


def _flags(stored: pl.Series) -> pl.Series:
    """A column of booleans that may be stored as 0 and 1; null for any other integer."""
    if stored.dtype == pl.Boolean:
        return stored
    value = pl.col(stored.name)
    return stored.to_frame().select(pl.when(value.is_in([0, 1])).then(value.cast(pl.Boolean))).to_series()
