"""An audit database: which contract it keeps, which runs it holds, and the rows of some runs, table by table.

Belongs here: what holds for every kind of database, and the choice of the kind by URL. Does not belong here: what is
particular to one (`sqlite.py`, `postgresql.py`), and what becomes of the rows (`records/`)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Set
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from ..contract import Contract, Table, UnknownContract, recognise
from ..errors import CorruptTable, DatabaseError, RunNotExportable
from .membership import RUN, RunNumbers, RunsOfIds, sort_out
from .schemas import arrow_schema, declared_columns
from .source import Damaged, RunValue, Source
from .statements import RUN_IDS, count_rows, display, select_all, select_runs
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
        return self._has_stopped(contract.finished)

    def is_resumable(self, contract: Contract) -> bool:
        """Whether it stopped, says when, and may go on: it can be exported when that is asked for expressly."""
        return self._has_stopped(contract.resumable)

    def _has_stopped(self, states: tuple[str, ...]) -> bool:
        return self.damage is None and self.status in states and self.completed_at is not None


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
        raw_error_rows: read the rows in records of errors where the contract redacts them otherwise.

    Raises:
        DatabaseError: the URL is wrong, or the database cannot be opened.
        UnknownContract: it is not a Landscape, or of a generation without a contract here.
    """

    def __init__(self, url: str, *, raw_error_rows: bool = False) -> None:
        self._source = _open(url)
        try:
            columns = self._source.columns()
            self.epoch = self._epoch(columns)
            """The schema epoch that the database notes; None where it notes none."""
            self.contract = recognise(columns, self.epoch)
            self._require_backend()
            self._notes_snapshots = columns.keys() >= {_SNAPSHOTS.name, _SNAPSHOT_CHUNKS.name}
            if raw_error_rows:
                self.contract = self.contract.with_raw_error_rows
        except BaseException:
            self._source.close()
            raise

    def _epoch(self, columns: Mapping[str, Set[str]]) -> int | None:
        found = self._source.epoch()
        if found is not None or not columns.get(_IDENTITY.name, set()) >= _IDENTITY_COLUMNS:
            return found
        select = sa.select(_IDENTITY.c.schema_epoch).where(_IDENTITY.c.store_kind == sa.literal_column("'landscape'"))
        noted = next((text or "" for (text,) in self._source.texts(select)), "")
        return int(noted) if noted.isdecimal() else None

    def _require_backend(self) -> None:
        if self._source.name not in self.contract.backends:
            raise UnknownContract(
                f"The audit database {self.shown} has the tables of {self.contract.written_by}, which cannot keep them "
                f"on {self._source.name}: it is not a database that ELSPETH wrote. Export the original."
            )

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

    def finished_run(self, run_id: str, *, interrupted: bool = False) -> Run:
        """The run, which can be exported.

        Args:
            run_id: the run.
            interrupted: whether it is asked for expressly though it was interrupted and may go on.

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
        if interrupted and run.is_resumable(self.contract):
            return run
        if run.is_resumable(self.contract):
            raise RunNotExportable(
                f"Run {run_id!r} was interrupted and may be resumed. Export it when it has ended, or ask for it as it "
                f"is (--interrupted, or the run config of the step that loads the tables)."
            )
        if not run.is_finished(self.contract):
            ended = "" if run.completed_at else ", and has no completed_at"
            raise RunNotExportable(
                f"Run {run_id!r} has not finished (its status is {run.status!r}{ended}); only a run with status "
                f"{_any_of(self.contract.finished)} and a completed_at is exported. Export it when it has ended."
            )
        return run

    def rows_by_run(self) -> dict[str, int]:
        """See `Source.rows_by_run`."""
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

    def snapshots(self, runs: RunNumbers) -> dict[str, list[dict[str, Any]]]:
        """What ELSPETH noted of the exports that runs made of themselves (contract v071, section 6).

        Returns:
            Run → for each of its exports column → text, and as `content_hashes` the hashes of its chunks in order; runs
            without any are left out.
        """
        if not self._notes_snapshots or self.contract.manifest != 2:
            return {}
        literal = self._source.name == "postgresql"
        run_ids = sa.bindparam(RUN_IDS, type_=sa.Text(), expanding=True, literal_execute=literal)
        wanted = _SNAPSHOTS.c.source_run_id.in_(run_ids)
        columns = list(_SNAPSHOTS.c)
        found: dict[str, dict[str, Any]] = {}
        for values in self._source.texts(sa.select(*columns).where(wanted), runs.run_ids):
            row: dict[str, Any] = {column.name: value for column, value in zip(columns, values, strict=True)}
            found[row["snapshot_id"]] = row | {"content_hashes": {}}
        ids = sa.select(_SNAPSHOTS.c.snapshot_id).where(wanted)
        chunks = sa.select(*_SNAPSHOT_CHUNKS.c).where(_SNAPSHOT_CHUNKS.c.snapshot_id.in_(ids))
        for snapshot_id, ordinal, content_hash in self._source.texts(chunks, runs.run_ids) if found else ():
            found[str(snapshot_id)]["content_hashes"][int(ordinal or 0)] = content_hash
        by_run: dict[str, list[dict[str, Any]]] = {}
        for _, row in sorted(found.items()):
            hashes = row["content_hashes"]
            row["content_hashes"] = [hashes[ordinal] for ordinal in sorted(hashes)]
            by_run.setdefault(row["source_run_id"], []).append(row)
        return by_run

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
        checker = Checker(table, runs.run_ids, parses_again=self.contract.parses_again)
        by_column = {path.column: parents(path.table) for path in table.paths}
        for rows, numbers in sort_out(self._source.read(self.contract, table, run_ids), runs, by_column):
            claimed = runs.of(rows.column("run_id")) if table.claims_run else None
            frame = self._source.typed(table, rows)
            checker.check(frame.hstack([numbers.alias(RUN)]), claimed)
            columns = declared_columns(table, rows, frame, utc=self.utc)
            yield pa.RecordBatch.from_arrays([*columns, numbers.to_arrow()], schema=schema)


_SNAPSHOTS = sa.table(
    "audit_export_snapshots",
    *map(
        sa.column,
        (
            "snapshot_id",
            "source_run_id",
            "registry_key_hash",
            "exporter_version",
            "export_format",
            "signing_mode",
            "signer_key_id",
            "chunking_algorithm_version",
            "per_chunk_record_limit",
            "per_chunk_byte_limit",
            "record_count",
            "total_bytes",
            "chunk_count",
            "manifest_hash",
            "last_chunk_seal_hash",
            "snapshot_hash",
            "snapshot_seal_hash",
            "signature_hex",
            "final_hash",
            "signed_manifest_hash",
        ),
    ),
)
_SNAPSHOT_CHUNKS = sa.table(
    "audit_export_snapshot_chunks", sa.column("snapshot_id"), sa.column("ordinal"), sa.column("content_hash")
)

_IDENTITY = sa.table("elspeth_schema_identity", sa.column("store_kind"), sa.column("schema_epoch"))
_IDENTITY_COLUMNS = {"store_kind", "schema_epoch"}


def _any_of(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


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
