"""The tables of a run as Arrow files, one statement and one file a table.

Belongs here: moving a table's batches from the database to its file as they come, and doing so ahead of the steps that ask for
the tables. Does not belong here: statements and checks (`landscape/`), and where the files go (`orchestration/resources.py`).
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..contract import V1, Table
from ..landscape import AuditDatabase
from ..landscape.frames import arrow_schema
from .arrow_file import ArrowWriter
from .canonical import PlainText
from .files import FileFacts


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table of a run that was read: its file, what it is, the statement that read it (None when the contract of the database has
    no such table: then the file is empty), and how many seconds that took."""

    file: FileFacts
    table: Table
    contract: str
    statement: str | None
    seconds: float


def table_path(name: str) -> tuple[str, str]:
    """The components of the key of a table's asset, below which its file is stored."""
    return ("landscape", name)


class Stopped(Exception):
    """Loading was given up before it came to an end."""


def write_table(
    database: AuditDatabase, name: str, run_id: str, path: Path, is_stopped: Callable[[], bool] = lambda: False
) -> TableFacts:
    """Writes the rows of a finished run in one table to an Arrow file.

    Args:
        database: the audit database.
        name: a table of contract v1, which has all there are.
        run_id: the run.
        path: the file; one that is there is an error.
        is_stopped: asked before each batch.

    Raises:
        ExportError: the run cannot be exported, or the table breaks the contract, or cannot be read.
        OSError: no room, or no right, to write.
        Stopped: `is_stopped` said so.
    """
    started = time.monotonic()
    run, contract = database.finished_run(run_id), database.contract
    metadata = {
        "contract": contract.name,
        "run_id": run_id,
        "table": name,
        "utc": json.dumps(database.utc),
        "run": json.dumps([run.status, run.started_at, run.completed_at]),
    }
    if name not in contract.tables:
        # The generation of this database has no such records; the empty file keeps the graph the same for all.
        table, statement = V1.tables[name], None
        with ArrowWriter(path, arrow_schema(table, utc=database.utc), metadata) as writer:
            pass
    else:
        stream = database.read(name, run_id)
        table, statement = stream.table, stream.statement
        plain = PlainText(stream.schema)
        with closing(stream.batches) as batches, ArrowWriter(path, stream.schema, metadata) as writer:
            for batch in batches:
                if is_stopped():
                    raise Stopped
                plain.see(batch)
                writer.write(batch)
            writer.annotate(plain.metadata())
    return TableFacts(writer.facts(), table, contract.name, statement, time.monotonic() - started)


class TablesAhead:
    """Tables of one run, written on threads of their own while other work goes on: on two, where the database lets two connections
    see one state, and there are processors for them.

    The database is theirs until every table has been taken, or `close` has been called. Where a table fails, so do those that
    were not begun yet, with the same error.

    Args:
        database: the audit database.
        run_id: the run.
        names: the tables, in the order in which they will be asked for.
        path: table → where its file goes.
        threads: how many at most.

    Raises:
        ExportError: the run cannot be exported; nothing is begun.
    """

    def __init__(
        self,
        database: AuditDatabase,
        run_id: str,
        names: Iterable[str],
        path: Callable[[str], Path],
        threads: int = 2,
    ) -> None:
        database.finished_run(run_id)
        self.database, self.run_id = database, run_id
        self._path = path
        self._tables: dict[str, Future[TableFacts]] = {name: Future() for name in names}
        self._waiting = deque(self._tables.items())
        self._failed: BaseException | None = None
        self._stop = threading.Event()
        self._twin = database.twin() if threads > 1 and len(self._tables) > 1 else None
        self._threads = [
            threading.Thread(target=self._write, args=(each,), name="tables", daemon=True)
            for each in (database, self._twin)
            if each is not None
        ]
        for thread in self._threads:
            thread.start()

    def __contains__(self, name: str) -> bool:
        return name in self._tables

    def take(self, name: str) -> TableFacts:
        """A table, waited for; its file is the caller's now.

        Raises:
            as `write_table`.
        """
        facts = self._tables[name].result()
        del self._tables[name]
        if not self._tables:
            self.close()
        return facts

    def close(self) -> None:
        """Ends the threads after the batches in hand, and removes the files that nobody took."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for table in self._tables.values():
            if table.exception() is None:
                table.result().file.path.unlink(missing_ok=True)
        self._tables.clear()
        if self._twin is not None:
            self.database.is_broken |= self._twin.is_broken
            self._twin.close()
            self._twin = None

    def _write(self, database: AuditDatabase) -> None:
        while True:
            try:
                name, table = self._waiting.popleft()
            except IndexError:
                return
            try:
                if self._failed is not None:
                    raise self._failed
                table.set_result(write_table(database, name, self.run_id, self._path(name), self._stop.is_set))
            except BaseException as error:  # raised where the table is asked for
                self._failed = error
                table.set_exception(error)
