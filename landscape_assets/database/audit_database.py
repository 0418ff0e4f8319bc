"""An audit database: which contract it keeps, which runs it holds, and the rows of some runs, table by table.

Belongs here: what holds for every kind of database, and the choice of the kind by URL. Does not belong here: what is
particular to one (`sqlite.py`, `postgresql.py`), and what becomes of the rows (`records/`)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from ..contract import Contract, Table, recognise
from ..errors import CorruptTable, DatabaseError, RunNotExportable
from .membership import RUN, RunNumbers, RunsOfIds, sort_out
from .schemas import arrow_schema, declared_columns
from .source import Damaged, RunValue, Source
from .statements import count_rows, display, select_all, select_runs
from .validation import Checker


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the audit database has it; times are text as stored. `damage` says what is wrong with its row, if so."""

    run_id: str
    status: str
    started_at: str | None
    completed_at: str | None
    damage: CorruptTable | None = None

    def is_finished(self, contract: Contract) -> bool:
        """Whether it can be exported: it ended, and says when."""
        return self.damage is None and self.status in contract.finished and self.completed_at is not None


@dataclass(frozen=True, slots=True)
class TableStream:
    """The rows of some runs in one table, as they come from the database.

    `schema` has the declared types, and RUN last; `batches` can be taken once, and raises CorruptTable, DatabaseError
    or ScanFailed at the row at fault. `statement` is what is sent, with the runs as `:run_ids`."""

    table: Table
    statement: str
    schema: pa.Schema
    batches: Generator[pa.RecordBatch, None, None]


class AuditDatabase:
    """A read-only connection to an audit database, in one read transaction: all that it reads is of one state.

    Args:
        url: a SQLAlchemy URL.

    Raises:
        DatabaseError: the URL is wrong, or the database cannot be opened.
        UnknownContract: it is not a Landscape, or of a generation without a contract here.
    """

    def __init__(self, url: str) -> None:
        self._source = _open(url)
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

    def same_snapshot(self) -> AuditDatabase | None:
        """A second connection that sees the very same state, so that two tables can be read at once; None when there
        can be none."""
        source = self._source.same_snapshot()
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
        found: dict[str, Run] = {}
        # A run_id that is not text comes last: printed, it may look like the id of another run, which stays what it is.
        for values in sorted(
            self._source.runs(self.contract), key=lambda values: isinstance(values["run_id"], Damaged)
        ):
            run = _run(values)
            if run.run_id in found:
                if isinstance(values["run_id"], Damaged):
                    while run.run_id in found:
                        run = replace(run, run_id=f"{run.run_id} (damaged)")
                else:
                    rule = "which occurs more than once"
                    damage = CorruptTable("runs", f"run_id {run.run_id!r}", "run_id", repr(run.run_id), rule)
                    run = replace(run, damage=damage)
            found[run.run_id] = run
        return dict(sorted(found.items(), key=lambda item: (item[1].started_at or "", item[0].encode())))

    def finished_run(self, run_id: str) -> Run:
        """The run, which can be exported.

        Raises:
            RunNotExportable: there is no such run, or it has not finished.
            CorruptTable: its row in the table runs is damaged.
        """
        run = self.runs.get(run_id)
        if run is None:
            raise RunNotExportable(
                f"There is no run {run_id!r} in the audit database {self.shown}. "
                "`landscape-assets runs` lists those there are."
            )
        if run.damage is not None:
            raise run.damage
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

    def rows_by_run(self) -> dict[str, int]:
        """How many rows of the table `rows` each run has."""
        return self._source.rows_by_run(self.contract)

    def prefers_scan(self, runs: RunNumbers) -> bool:
        """Whether the tables are better scanned than the rows of these runs followed through indexes."""
        return self._source.prefers_scan(self.contract, runs.run_ids)

    def read(
        self, table_name: str, runs: RunNumbers, parents: Callable[[str], RunsOfIds], *, by_scan: bool
    ) -> TableStream:
        """The rows of finished runs in one table, by one statement.

        Args:
            table_name: a table of the contract.
            runs: the runs.
            parents: table → the runs of its ids, for every table that a path of this one leads to.
            by_scan: read the whole table and sort out the rows of the runs, instead of finding them by index.
        """
        table = self.contract.tables[table_name]
        if by_scan:
            kept = " or ".join(f"{path.column} is an id of theirs" for path in table.paths) or "run_id is theirs"
            statement = display(select_all(self.contract, table))
            comment = f"a scan: the runs have most rows of the database; kept are rows whose {kept}"
        else:
            statement = display(select_runs(self.contract, table))
            comment = "by index: the runs have few rows of the database"
        schema = arrow_schema(table, utc=self.utc).append(pa.field(RUN, pa.uint32()))
        batches = self._read(table, schema, runs, parents, None if by_scan else runs.run_ids)
        return TableStream(table, f"{statement}\n-- {comment}", schema, batches)

    def file_damage(self) -> Iterator[str]:
        """What the database's own check of its file finds. A row that an index misses is lost to all that read by
        index."""
        return self._source.file_damage()

    def texts(self, select: sa.Select[Any]) -> Iterator[tuple[str | None, ...]]:
        """The rows of a statement as they come, every value as text; bytes that are not UTF-8 are escaped.

        Args:
            select: a statement on the tables of the contract, without parameters.

        Raises:
            DatabaseError: the database cannot be read.
        """
        return self._source.texts(select)

    def count(self, run_id: str) -> dict[str, int]:
        """How many rows `read` gives for a run in each table, by one statement that counts them all.

        Args:
            run_id: the run.

        Returns:
            Table name → rows.
        """
        literal = self._source.name == "postgresql"
        tables = self.contract.tables.values()
        return self._source.counts({t.name: count_rows(self.contract, t, literal=literal) for t in tables}, [run_id])

    def _read(
        self,
        table: Table,
        schema: pa.Schema,
        runs: RunNumbers,
        parents: Callable[[str], RunsOfIds],
        run_ids: tuple[str, ...] | None,
    ) -> Generator[pa.RecordBatch, None, None]:
        checker = Checker(table, runs.run_ids)
        by_column = {path.column: parents(path.table) for path in table.paths}
        for rows, numbers in sort_out(self._source.read(self.contract, table, run_ids), runs, by_column):
            claimed = runs.of(rows.column("run_id")) if table.claims_run else None
            frame = self._source.typed(table, rows)
            checker.check(frame.with_columns(numbers.alias(RUN)), claimed)
            columns = declared_columns(table, rows, frame, utc=self.utc)
            yield pa.RecordBatch.from_arrays([*columns, numbers.to_arrow()], schema=schema)


def _run(values: Mapping[str, RunValue]) -> Run:
    printed = {name: value.printed if isinstance(value, Damaged) else value for name, value in values.items()}
    damage = None
    for column, value in values.items():
        if isinstance(value, Damaged):
            damage = CorruptTable("runs", f"run_id {printed['run_id']!r}", column, repr(value.printed), value.rule)
            break
    return Run(printed["run_id"] or "", printed["status"] or "", printed["started_at"], printed["completed_at"], damage)


def _open(url: str) -> Source:
    if not url.strip():
        raise DatabaseError("No audit database is named. Give its URL with --database or LANDSCAPE_DATABASE_URL.")
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # The URL itself may hold a password and is not repeated.
        raise DatabaseError(f"The database URL is not a SQLAlchemy URL. {_WRITE}") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        from .sqlite import SQLiteSource

        return SQLiteSource(parsed)
    if backend == "postgresql":
        if any("=" not in option for option in url.partition("?")[2].split("&") if option):
            raise DatabaseError(
                "The database URL holds a `?` that no options follow. If it belongs to the password, write %3F for it "
                "there (and %40 for `@`, %2F for `/`)."
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
