"""The tables of some runs as Arrow files: one snapshot, one statement and one file a table.

Belongs here: opening the snapshot, opening the files again, and moving each table's batches from the database to its
file as they come, on as many connections as help. Does not belong here: statements and checks (`database/`), and where
the files go.
"""

from __future__ import annotations

import json
import queue
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from ..contract import CONTRACTS, Contract, Table
from ..errors import DatabaseError, StorageError
from ..storage.arrow_file import ArrowReader, ArrowWriter
from ..storage.files import FileFacts
from . import RUN, AuditDatabase, Run, RunNumbers, RunsOfIds, ScanFailed

_CONNECTIONS = 2
"""More are no faster on two processors, and each holds batches in memory."""

_ATTEMPTS = 5
"""How often a load that another process disturbed is begun, each time with all tables on a new snapshot."""


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table that was read.

    Args:
        file: its rows, those of all runs.
        table: what it is.
        statement: the statement that read it.
        seconds: how long that took.
        rows: for each run by number, how many rows it has.
        contents: for each run by number, a hash of its rows, whatever their order (16 digits of hex). It tells contents
            apart under one version of Polars, and proves nothing.
    """

    file: FileFacts
    table: Table
    statement: str
    seconds: float
    rows: tuple[int, ...]
    contents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadedTables:
    """The tables of some runs, all of one snapshot.

    Args:
        database: the audit database as messages name it, without credentials.
        contract: its contract.
        epoch: the schema epoch that it notes; None where it notes none.
        runs: the runs by number.
        tables: by name, for every table of the contract.
    """

    database: str
    contract: Contract
    epoch: int | None
    runs: tuple[Run, ...]
    tables: dict[str, TableFacts]


def load_tables(
    url: str,
    run_ids: Sequence[str],
    path: Callable[[str], Path],
    *,
    by_scan: bool | None = None,
    raw_error_rows: bool = False,
    interrupted: bool = False,
) -> LoadedTables:
    """Writes the rows of finished runs to Arrow files, one a table, all from one snapshot of the database.

    A load that another process disturbs by writing to the database is begun again from its beginning, within bounds.

    Args:
        url: the audit database, a SQLAlchemy URL.
        run_ids: the runs.
        path: table → its file; what is there is replaced.
        by_scan: whether to scan the tables, or to find the rows by index; None for what the share of the runs suggests.
        raw_error_rows: read the rows in records of errors where the contract redacts them otherwise.
        interrupted: export runs that were interrupted, too, which may go on.

    Raises:
        ExportError: the database cannot be used, a run cannot be exported, or a table breaks the contract.
        OSError: no room, or no right, to write.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with AuditDatabase(url, raw_error_rows=raw_error_rows) as database:
                runs = tuple(database.finished_run(run_id, interrupted=interrupted) for run_id in run_ids)
                return _Load(database, runs, path, by_scan).result()
        except DatabaseError as error:
            if not error.transient or attempt == _ATTEMPTS - 1:
                raise
        time.sleep(random.uniform(0.1, 1))
    raise AssertionError("the last attempt returns or raises")


Snapshot = dict[str, Any]
"""What ELSPETH noted of an export that a run made of itself: column → text, and `content_hashes`, a list, of chunks."""


@dataclass(frozen=True, slots=True)
class OwnExports:
    """The exports that a run made of itself, and what they left in it: their effects, and the nodes of their sinks."""

    snapshots: list[Snapshot]
    effects: list[str]
    nodes: list[str]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the tables say of a run: its own row, with times as its record has them; table → rows; and the exports that
    it made of itself, if it made some that ELSPETH noted."""

    run_id: str
    status: str
    started_at: str
    completed_at: str
    tables: dict[str, int]
    own_exports: OwnExports | None = None


class StoredTables:
    """The files of `load_tables`, opened for reading.

    Use as a context manager.

    Args:
        path: table → its file.

    Raises:
        StorageError: the files are not as they were written, or not all of one load.
    """

    def __init__(self, path: Callable[[str], Path]) -> None:
        with ExitStack() as stack:
            runs = stack.enter_context(ArrowReader(path("runs")))
            load = json.loads(runs.metadata["load"])
            known = next(contract for contract in CONTRACTS if contract.name == load["contract"])
            self.contract = known.on_postgresql if load["utc"] else known
            self.run_ids: tuple[str, ...] = tuple(load["run_ids"])
            self.raw_error_rows: bool = load["raw_error_rows"]
            """Whether records of errors have the rows that they are about."""
            others = [name for name in self.contract.tables if name != "runs"]
            self.readers = {"runs": runs} | {name: stack.enter_context(ArrowReader(path(name))) for name in others}
            """Table → its rows, for every table of the contract."""
            if any(reader.metadata["load"] != runs.metadata["load"] for reader in self.readers.values()):
                raise StorageError("The stored tables are of several loads. Materialize the tables of the run again.")
            self._close = stack.pop_all().close

    def __enter__(self) -> StoredTables:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def facts(self) -> list[RunFacts]:
        """What the tables say of each run, by number."""
        frame = self.readers["runs"].frame(["status", "started_at", "completed_at", RUN]).sort(RUN)
        # Records have times as isoformat gives them (contract, section 1, Values).
        times = ([time.isoformat() for time in frame[name]] for name in ("started_at", "completed_at"))
        rows = {name: json.loads(reader.metadata["rows"]) for name, reader in self.readers.items()}
        own_exports = self._own_exports()
        return [
            RunFacts(
                run_id,
                status,
                started_at,
                completed_at,
                {name: counts[i] for name, counts in rows.items()},
                own_exports.get(i),
            )
            for i, (run_id, status, started_at, completed_at) in enumerate(
                zip(self.run_ids, frame["status"], *times, strict=True)
            )
        ]

    def contents(self, number: int) -> dict[str, str]:
        """Table → the hash of the rows of a run (`TableFacts.contents`)."""
        return {name: json.loads(reader.metadata["contents"])[number] for name, reader in self.readers.items()}

    def _own_exports(self) -> dict[int, OwnExports]:
        """The exports that runs made of themselves, by the number of the run."""
        noted: dict[str, list[Snapshot]] = json.loads(self.readers["runs"].metadata.get("snapshots", "{}"))
        if not noted:
            return {}
        effects = self.readers["sink_effects"].frame(["effect_id", "sink_node_id", "input_kind", RUN])
        effects = effects.filter(pl.col("input_kind") == "audit_export_snapshot")
        found = {}
        for number, run_id in enumerate(self.run_ids):
            if run_id in noted:
                mine = effects.filter(pl.col(RUN) == number)
                nodes = mine["sink_node_id"].unique().sort().to_list()
                found[number] = OwnExports(noted[run_id], mine["effect_id"].sort().to_list(), nodes)
        return found


class _Cancelled(Exception):
    """Another table failed."""


class _Load:
    """The work of `load_tables` on one snapshot."""

    def __init__(
        self, database: AuditDatabase, runs: tuple[Run, ...], path: Callable[[str], Path], by_scan: bool | None
    ) -> None:
        self._database, self._path, self._runs = database, path, runs
        run_ids = [run.run_id for run in runs]
        self._numbers = RunNumbers(run_ids)
        self._by_scan = database.prefers_scan(self._numbers) if by_scan is None else by_scan
        self._described = json.dumps(
            {
                "id": uuid.uuid4().hex,
                "contract": database.contract.name,
                "utc": database.utc,
                "raw_error_rows": not database.contract.redacts,
                "run_ids": run_ids,
            }
        )
        tables = database.contract.tables
        self._parents = {path.table for table in tables.values() for path in table.paths}
        self._indexes: dict[str, Future[RunsOfIds]] = {name: Future() for name in self._parents}
        self._cancelled = threading.Event()

    def result(self) -> LoadedTables:
        contract = self._database.contract
        # Tables whose ids tell the runs of others come first, each behind those that tell its own.
        names = sorted(contract.tables, key=lambda name: (name not in self._parents, _depth(contract, name)))
        with ExitStack() as stack:
            connections: queue.SimpleQueue[AuditDatabase] = queue.SimpleQueue()
            connections.put(self._database)
            if (second := self._database.same_snapshot()) is not None:
                stack.enter_context(second)
                connections.put(second)
            pool = stack.enter_context(ThreadPoolExecutor(connections.qsize(), "tables"))
            begun = {name: pool.submit(self._load, name, connections) for name in names}
            errors = [error for name in contract.tables if (error := begun[name].exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, _Cancelled)):
            raise error
        loaded = {name: begun[name].result() for name in contract.tables}
        database = self._database
        return LoadedTables(database.shown, contract, database.epoch, self._runs, loaded)

    def _load(self, name: str, connections: queue.SimpleQueue[AuditDatabase]) -> TableFacts:
        try:
            # Waited for before a connection is taken: the tables that are waited for were begun earlier, and have one.
            for path in self._database.contract.tables[name].paths:
                self._indexes[path.table].exception()
            connection = connections.get()
            try:
                try:
                    return self._write(connection, name, self._by_scan)
                except ScanFailed:
                    return self._write(connection, name, by_scan=False)
            finally:
                connections.put(connection)
        except BaseException as error:
            self._cancelled.set()
            if name in self._indexes:
                self._indexes[name].set_exception(_Cancelled())
            raise error

    def _write(self, database: AuditDatabase, name: str, by_scan: bool) -> TableFacts:
        started = time.monotonic()
        stream = database.read(name, self._numbers, lambda table: self._indexes[table].result(), by_scan=by_scan)
        table, ids = stream.table, RunsOfIds()
        content = _Content(len(self._runs))
        path = self._path(name)
        path.unlink(missing_ok=True)
        with closing(stream.batches) as batches, ArrowWriter(path, stream.schema, {"load": self._described}) as writer:
            for batch in batches:
                if self._cancelled.is_set():
                    raise _Cancelled
                content.add(batch)
                if name in self._parents:
                    ids.add(batch.column(table.id[0]), pl.Series(batch.column(RUN)))
                writer.write(batch)
            noted = {"rows": json.dumps(content.rows), "contents": json.dumps(content.hashes)}
            if name == "runs" and (snapshots := database.snapshots(self._numbers)):
                noted["snapshots"] = json.dumps(snapshots)
            writer.annotate(noted)
        if name in self._parents:
            ids.finish(name)
            self._indexes[name].set_result(ids)
        return TableFacts(
            writer.facts(), table, stream.statement, time.monotonic() - started, content.rows, content.hashes
        )


def _depth(contract: Contract, name: str) -> int:
    """How many tables are between a table's rows and the tables that say to which run they belong."""
    return max((1 + _depth(contract, path.table) for path in contract.tables[name].paths), default=0)


class _Content:
    """How many rows each run has, and a hash of them: the sum of the hashes of the rows."""

    def __init__(self, runs: int) -> None:
        self._rows, self._sums = np.zeros(runs, np.int64), np.zeros(runs, np.uint64)

    def add(self, batch: pa.RecordBatch) -> None:
        frame = pl.DataFrame(batch.drop_columns(RUN))
        runs = batch.column(RUN).to_numpy()
        self._rows += np.bincount(runs, minlength=len(self._rows))
        np.add.at(self._sums, runs, frame.hash_rows().to_numpy())  # modulo 2⁶⁴

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(self._rows.tolist())

    @property
    def hashes(self) -> tuple[str, ...]:
        return tuple(f"{total:016x}" for total in self._sums.tolist())
