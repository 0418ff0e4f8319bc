"""An audit database: which contract it keeps, which runs it holds, and the rows of one run, table by table.

Belongs here: what holds for every kind of database, and the choice of the kind by URL. Does not belong here: what is
particular to one (`sqlite.py`, `postgresql.py`), and what becomes of the rows (`export/`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
import sqlalchemy as sa

from ..contract import Contract, Table, recognise
from ..contract.statements import RUN_ID, select_run
from ..errors import CorruptTable, DatabaseError, RunNotExportable
from .checks import Checker
from .frames import arrow_schema


class Source(Protocol):
    """What each kind of database provides; one connection in one read transaction."""

    name: str
    shown: str
    """The database as messages name it, without credentials."""
    utc: bool
    """Whether its times are instants."""

    def columns(self) -> dict[str, set[str]]: ...

    def runs(self, select: sa.Select) -> list[dict[str, Any]]: ...

    def statement(self, contract: Contract, table: Table) -> str:
        """The statement by which `read` reads a table, as people are shown it."""

    def read(
        self, contract: Contract, table: Table, run_id: str
    ) -> Iterator[tuple[pa.RecordBatch, pl.DataFrame]]: ...

    def twin(self) -> Source | None:
        """Another connection that sees the same state; None when there can be none."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the audit database has it; times are text as stored."""

    run_id: str
    status: str
    started_at: str | None
    completed_at: str | None

    def is_finished(self, contract: Contract) -> bool:
        """Whether it can be exported: it ended, and says when."""
        return self.status in contract.finished and self.completed_at is not None


@dataclass(frozen=True, slots=True)
class TableStream:
    """The rows of one run in one table, as they come from the database.

    `schema` has the declared types; `batches` can be taken once, and raises CorruptTable or DatabaseError at the row at
    fault. `statement` is what is sent, with the run as `:run_id`."""

    table: Table
    statement: str
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class AuditDatabase:
    """A read-only connection to an audit database, in one read transaction: all that it reads is of one state.

    Args:
        url: a SQLAlchemy URL.

    Raises:
        DatabaseError: the URL is wrong, or the database cannot be opened.
        UnknownContract: it is no Landscape, or of a generation without a contract here.
    """

    def __init__(self, url: str) -> None:
        self._source = _open(url)
        self._rows_read: dict[tuple[str, str], int] = {}
        self.is_broken = False
        """Whether reading failed, so that nothing more can be read: a new connection may do better."""
        try:
            self.contract = recognise(self._source.columns())
        except BaseException:
            self._source.close()
            raise

    def __enter__(self) -> AuditDatabase:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the transaction and the connection."""
        self._source.close()

    def twin(self) -> AuditDatabase | None:
        """A second connection that sees the very same state, so that two tables can be read at once; None when there can be none."""
        source = self._source.twin()
        if source is None:
            return None
        other = copy(self)
        other._source = source
        return other

    @property
    def shown(self) -> str:
        """The database as messages name it, without credentials."""
        return self._source.shown

    @property
    def utc(self) -> bool:
        """Whether times are instants, exported with `+00:00` (contract, section 1, Values)."""
        return self._source.utc

    @cached_property
    def runs(self) -> dict[str, Run]:
        """Every run of the database by run_id, the oldest first."""
        runs = self.contract.metadata.tables["runs"]
        names = ("run_id", "status", "started_at", "completed_at")
        select = sa.select(*(sa.cast(runs.c[name], sa.Text).label(name) for name in names))
        with self._noticing():
            rows = self._source.runs(select)
        found = [Run(row["run_id"], row["status"] or "", row["started_at"], row["completed_at"]) for row in rows]
        found.sort(key=lambda run: (run.started_at or "", run.run_id.encode()))
        return {run.run_id: run for run in found}

    def finished_run(self, run_id: str) -> Run:
        """The run, which can be exported.

        Raises:
            RunNotExportable: there is no such run, or it has not finished.
            CorruptTable: its status is none of the contract's.
        """
        run = self.runs.get(run_id)
        if run is None:
            raise RunNotExportable(
                f"There is no run {run_id!r} in the audit database {self.shown}. "
                "`landscape-assets runs` lists those there are."
            )
        known = self.contract.tables["runs"].column("status").values
        if run.status not in known:
            raise CorruptTable(
                "runs", f"run_id {run_id!r}", "status", repr(run.status), f"which is none of {', '.join(known)}"
            )
        if not run.is_finished(self.contract):
            ended = "" if run.completed_at else ", and has no completed_at"
            raise RunNotExportable(
                f"Run {run_id!r} has not finished (its status is {run.status!r}{ended}); only a run with status "
                f"{' or '.join(self.contract.finished)} and a completed_at is exported. Export it when it has ended."
            )
        return run

    def read(self, table_name: str, run_id: str) -> TableStream:
        """The rows of a finished run in one table, by one statement.

        Args:
            table_name: a table of the contract.
            run_id: the run.
        """
        table = self.contract.tables[table_name]
        return TableStream(
            table,
            self._source.statement(self.contract, table),
            arrow_schema(table, utc=self.utc),
            self._checked(table, self._source.read(self.contract, table, run_id), run_id),
        )

    def count(self, run_id: str) -> dict[str, int]:
        """How many rows `read` gives for a run in each table, by one statement that counts them all.

        Args:
            run_id: the run.

        Returns:
            Table name → rows.
        """
        counts = [
            sa.select(
                sa.literal(table.name).label("name"), sa.cast(sa.func.count(), sa.Text).label("rows")
            ).select_from(select_run(self.contract, table).params({RUN_ID: run_id}).subquery())
            for table in self.contract.tables.values()
        ]
        with self._noticing():
            counted = self._source.runs(sa.select(sa.union_all(*counts).subquery()))
        return {row["name"]: int(row["rows"]) for row in counted}

    def has_read(self, run_id: str, rows: Mapping[str, int]) -> bool:
        """Whether it was this connection, and so one state of the database, that gave the run's rows of all these
        tables.

        Args:
            run_id: the run.
            rows: table → how many rows.
        """
        return all(self._rows_read.get((name, run_id)) == count for name, count in rows.items())

    def _checked(
        self, table: Table, batches: Iterator[tuple[pa.RecordBatch, pl.DataFrame]], run_id: str
    ) -> Iterator[pa.RecordBatch]:
        checker, rows = Checker(table, run_id), 0
        with self._noticing():
            for batch, frame in batches:
                checker.check(frame)
                rows += batch.num_rows
                yield batch
        self._rows_read[table.name, run_id] = rows

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError:
            self.is_broken = True
            raise


def _open(url: str) -> Source:
    if not url.strip():
        raise DatabaseError("No audit database is named. Give its URL with --database or LANDSCAPE_DATABASE_URL.")
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # The URL itself may hold a password and is not repeated.
        raise DatabaseError(f"The database URL is no SQLAlchemy URL. {_WRITE}") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        from .sqlite import SQLiteSource

        return SQLiteSource(parsed)
    if backend == "postgresql":
        if any("=" not in option for option in url.partition("?")[2].split("&") if option):
            raise DatabaseError(
                "The database URL holds a `?` that no options follow. If it belongs to the password, write %3F for it there (and "
                "%40 for `@`, %2F for `/`)."
            )
        try:
            from .postgresql import PostgreSQLSource
        except ModuleNotFoundError as error:
            raise DatabaseError(
                f"PostgreSQL needs the package {error.name}. Install the project with its extra, in a clone of it: "
                "pip install '.[postgres]'."
            ) from None
        return PostgreSQLSource(parsed)
    raise DatabaseError(f"Audit databases of the kind {backend!r} are not supported. {_WRITE}")


_WRITE = "Write sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE."
