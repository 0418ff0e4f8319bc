"""Two connections that see one state, and tables that are loaded ahead by them.

Belongs here: `AuditDatabase.twin` and `TablesAhead`. Does not belong here: what one connection sees (`test_read_only.py`,
`../postgresql/test_snapshot.py`).
"""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from landscape_assets.contract import V1
from landscape_assets.errors import CorruptTable, RunNotExportable
from landscape_assets.export.tables import Stopped, TablesAhead
from landscape_assets.landscape import AuditDatabase
from landscape_assets.sample import COMPLETED_RUN, RUNNING_RUN

LATE = f"UPDATE runs SET canonical_version = 'late' WHERE run_id = '{COMPLETED_RUN}'"


def rows(database: AuditDatabase, table: str = "runs") -> list[dict]:
    """What a connection sees of a table of the completed run."""
    return [row for batch in database.read(table, COMPLETED_RUN).batches for row in batch.to_pylist()]


def test_two_connections_read_two_tables_at_once(database):
    """The twin sees what the first one sees, while that is in the middle of a table, and outlives it."""
    with AuditDatabase(database.url) as audit:
        begun = audit.read("calls", COMPLETED_RUN).batches
        first = next(begun)
        twin = audit.twin()
        seen = rows(twin)
        assert seen != [] and rows(twin) == seen
        assert first.num_rows + sum(batch.num_rows for batch in begun) == audit.count(COMPLETED_RUN)["calls"]
        assert rows(audit) == rows(twin)
    assert len(rows(twin, "nodes")) > 0
    twin.close()


def test_a_sqlite_database_that_was_written_to_has_no_twin(sample):
    """A commit after the first connection's snapshot: a second connection would see another state, and there is none."""
    writer = sqlite3.connect(sample)
    writer.execute("PRAGMA journal_mode = wal")
    writer.execute("UPDATE runs SET canonical_version = 'before'")
    writer.commit()
    with AuditDatabase(f"sqlite:///{sample}") as audit:
        twin = audit.twin()
        assert [row["canonical_version"] for row in rows(twin)] == ["before"]
        writer.execute(LATE)
        writer.commit()
        assert audit.twin() is None
        assert [row["canonical_version"] for each in (audit, twin) for row in rows(each)] == ["before", "before"]
        twin.close()
    writer.close()


WRITER = f"""
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
connection.execute({LATE!r})
connection.commit()
"""


@pytest.mark.parametrize("left", ["first", "twin"])
def test_readers_keep_a_writer_out_where_there_is_no_log(sample, left):
    """Whichever of the two is closed, and though the file's header is looked at meanwhile: a process that closes any descriptor of
    a file would lose its locks on it."""

    def write() -> str:
        return subprocess.run([sys.executable, "-c", WRITER, str(sample)], capture_output=True, text=True, check=False).stderr

    first = AuditDatabase(f"sqlite:///{sample}")
    twin = first.twin()
    assert "database is locked" in write()
    (first if left == "twin" else twin).close()
    with AuditDatabase(f"sqlite:///{sample}") as third:
        assert rows(third)
    assert "database is locked" in write()
    (twin if left == "twin" else first).close()
    assert write() == ""


def test_a_twin_on_postgresql_has_the_snapshot_of_the_first(audit):
    """What is committed between the two is seen by neither, and both connections end."""
    with AuditDatabase(audit.url) as first:
        before = rows(first)
        audit.execute(LATE)
        second = first.twin()
        assert rows(second) == before
        second.close()
    with AuditDatabase(audit.url) as later:
        assert [row["canonical_version"] for row in rows(later)] == ["late"]


class Ahead:
    """Tables of the sample's completed run that are loaded ahead into a folder."""

    def __init__(self, audit: AuditDatabase, folder: Path, names=tuple(V1.tables), run_id=COMPLETED_RUN, threads=2):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.tables = TablesAhead(audit, run_id, names, lambda name: folder / f"{name}.arrow", threads)

    @property
    def left(self) -> set[str]:
        return {path.stem for path in self.folder.iterdir()}


@pytest.mark.parametrize("threads", [1, 2])
def test_tables_ahead_are_the_tables(database, tmp_path, threads):
    """Every table comes, whatever the order in which they are taken, with the rows that there are; nothing else is left."""
    with AuditDatabase(database.url) as audit:
        ahead = Ahead(audit, tmp_path / "ahead", threads=threads)
        found = {name: ahead.tables.take(name).file.rows for name in reversed(V1.tables)}
        assert found == audit.count(COMPLETED_RUN)
        assert audit.has_read(COMPLETED_RUN, found)
        assert ahead.left == set(V1.tables)
        assert all(name not in ahead.tables for name in V1.tables)


def test_a_table_that_breaks_the_contract_fails_where_it_is_taken(database, tmp_path):
    """Those before it are there; it and what was not begun by then raise the same error; no file of theirs is left."""
    database.execute("UPDATE calls SET call_type = 'fax'")
    with AuditDatabase(database.url) as audit:
        ahead = Ahead(audit, tmp_path / "ahead", ["runs", "calls", "tokens"], threads=1)
        assert ahead.tables.take("runs").file.rows == 1
        for name in ("calls", "tokens"):
            with pytest.raises(CorruptTable, match="table calls"):
                ahead.tables.take(name)
        ahead.tables.close()
        assert ahead.left == {"runs"}


def test_what_nobody_takes_is_removed(database, tmp_path):
    """Closed early, nothing is left but what was taken, and nothing more comes."""
    with AuditDatabase(database.url) as audit:
        ahead = Ahead(audit, tmp_path / "ahead")
        ahead.tables.take("runs")
        ahead.tables.close()
        assert ahead.left == {"runs"}
        with pytest.raises(KeyError):
            ahead.tables.take("calls")
        assert issubclass(Stopped, Exception)


def test_a_run_that_goes_on_is_not_begun(database, tmp_path):
    """The one message of it comes before any thread is started."""
    with AuditDatabase(database.url) as audit, pytest.raises(RunNotExportable, match="has not finished"):
        Ahead(audit, tmp_path / "ahead", run_id=RUNNING_RUN)
    assert list((tmp_path / "ahead").iterdir()) == []
