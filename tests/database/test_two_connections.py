"""Two connections that see one state, and the tables that are loaded by them.

Belongs here: `AuditDatabase.same_snapshot` and `load_tables`. Does not belong here: what one connection sees
    (`test_read_only.py`,
`../postgresql/test_snapshot.py`).
"""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from support.pipeline import rows_of
from support.sample_v1 import COMPLETED_RUN, RUNNING_RUN

from landscape_assets.contract import V1
from landscape_assets.database import AuditDatabase
from landscape_assets.database.tables import LoadedTables, load_tables
from landscape_assets.errors import CorruptTable, RunNotExportable

LATE = f"UPDATE runs SET canonical_version = 'late' WHERE run_id = '{COMPLETED_RUN}'"


def rows(database: AuditDatabase, table: str = "runs") -> list[dict]:
    """What a connection sees of a table of the completed run."""
    return [row for batch in rows_of(database, table, COMPLETED_RUN) for row in batch.to_pylist()]


def test_two_connections_read_two_tables_at_once(database):
    """The twin sees what the first one sees, while that is in the middle of a table, and outlives it."""
    with AuditDatabase(database.url) as audit:
        begun = rows_of(audit, "calls", COMPLETED_RUN)
        first = next(begun)
        twin = audit.same_snapshot()
        seen = rows(twin)
        assert seen == rows(twin) != []
        assert first.num_rows + sum(batch.num_rows for batch in begun) == audit.count(COMPLETED_RUN)["calls"]
        assert rows(audit) == rows(twin)
    assert len(rows(twin, "nodes")) > 0
    twin.close()


def test_a_sqlite_database_that_was_written_to_has_no_twin(sample):
    """A commit after the first connection's snapshot: a second one would see another state, so none is opened."""
    writer = sqlite3.connect(sample)
    writer.execute("PRAGMA journal_mode = wal")
    writer.execute("UPDATE runs SET canonical_version = 'before'")
    writer.commit()
    with AuditDatabase(f"sqlite:///{sample}") as audit:
        twin = audit.same_snapshot()
        assert [row["canonical_version"] for row in rows(twin)] == ["before"]
        writer.execute(LATE)
        writer.commit()
        assert audit.same_snapshot() is None
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
    """Whichever of the two is closed, and though the file's header is looked at meanwhile: a process that closes any
    descriptor of
    a file would lose its locks on it."""

    def write() -> str:
        return subprocess.run(
            [sys.executable, "-c", WRITER, str(sample)], capture_output=True, text=True, check=False
        ).stderr

    first = AuditDatabase(f"sqlite:///{sample}")
    twin = first.same_snapshot()
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
        second = first.same_snapshot()
        assert rows(second) == before
        second.close()
    with AuditDatabase(audit.url) as later:
        assert [row["canonical_version"] for row in rows(later)] == ["late"]


def load(url: str, folder: Path, run_id: str = COMPLETED_RUN) -> LoadedTables:
    folder.mkdir()
    return load_tables(url, [run_id], lambda name: folder / name)


def test_loaded_tables_are_the_tables(database, tmp_path):
    """Every table comes with the rows that there are."""
    loaded = load(database.url, tmp_path / "loaded")
    with AuditDatabase(database.url) as audit:
        assert {name: facts.rows for name, facts in loaded.tables.items()} == {
            name: (count,) for name, count in audit.count(COMPLETED_RUN).items()
        }
    assert {path.name for path in (tmp_path / "loaded").iterdir()} == set(V1.tables)


def test_a_table_that_breaks_the_contract_fails_the_load(database, tmp_path):
    """With that table's message; no half of its file is left."""
    database.execute("UPDATE calls SET call_type = 'fax'")
    with pytest.raises(CorruptTable, match="table calls"):
        load(database.url, tmp_path / "loaded")
    assert "calls" not in {path.name for path in (tmp_path / "loaded").iterdir()}


def test_a_run_that_goes_on_is_not_loaded(database, tmp_path):
    """The one message of it comes before any table is read."""
    with pytest.raises(RunNotExportable, match="has not finished"):
        load(database.url, tmp_path / "loaded", RUNNING_RUN)
    assert list((tmp_path / "loaded").iterdir()) == []
