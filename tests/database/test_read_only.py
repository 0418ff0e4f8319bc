"""An audit database is read and never changed: neither the file nor its neighbours, whatever state they are in.

Belongs here: rollback-journal files and write-ahead logs, live, closed and left by a crash.
"""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.pipeline import make_records, opened_connections, rows_of, texts, url
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.database import AuditDatabase
from landscape_assets.errors import DatabaseError

LATE = "committed-but-still-in-the-log"

WRITER = f"""
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("UPDATE runs SET canonical_version = '{LATE}'")
connection.commit()
if sys.argv[2] == "uncommitted":
    connection.execute("UPDATE runs SET canonical_version = 'never committed'")
print("written", flush=True)
sys.stdin.read()
"""


def state(database: Path) -> dict[str, tuple[str, int]]:
    """The files beside the database and itself: the hash of their bytes, and when they were changed."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in database.parent.iterdir()
        if path.name.startswith(database.name)
    }


@pytest.fixture
def logged(sample, tmp_path):
    """The sample in WAL mode, alone in a folder, its log closed."""
    folder = tmp_path / "database"
    folder.mkdir()
    path = sample.rename(folder / "landscape.db")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    return path


def write(path: Path, how: str = "committed") -> subprocess.Popen[str]:
    """Another process that has written to the log, and keeps the database open."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "written\n"
    return writer


def end(writer: subprocess.Popen[str]) -> None:
    writer.stdin.close()
    assert writer.wait(10) == 0
    writer.stdout.close()


def kill(writer: subprocess.Popen[str]) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.wait(10)
    writer.stdin.close()
    writer.stdout.close()


def first_record(database: Path, folder: Path) -> str:
    return texts(make_records(database, COMPLETED_RUN, folder))[0]


@pytest.mark.parametrize("mode", [0o644, 0o444])
def test_a_database_without_a_log_is_left_as_it_is(sample, tmp_path, mode):
    """Reading a file with a rollback journal changes no byte and no time, and leaves no file."""
    sample.chmod(mode)
    before = state(sample)
    assert len(texts(make_records(sample, COMPLETED_RUN, tmp_path / "made"))) == 202
    assert state(sample) == before
    assert list(before) == ["landscape.db"]


def test_a_closed_database_in_wal_mode_is_left_as_it_is(logged, tmp_path):
    """A database in WAL mode that nobody has open gets no -wal and no -shm beside it."""
    before = state(logged)
    assert list(before) == ["landscape.db"]
    assert "sha256-rfc8785-v1" in first_record(logged, tmp_path / "made")
    assert state(logged) == before


def test_a_closed_database_in_a_folder_without_write_permission(logged, tmp_path):
    """The folder need not be writable."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    logged.parent.chmod(0o555)
    try:
        assert "sha256-rfc8785-v1" in first_record(logged, tmp_path / "made")
    finally:
        logged.parent.chmod(0o755)


def test_an_empty_log_without_an_index_stays(logged, tmp_path):
    """An empty log that some process left is neither removed nor filled."""
    Path(f"{logged}-wal").touch()
    before = state(logged)
    assert "sha256-rfc8785-v1" in first_record(logged, tmp_path / "made")
    assert state(logged) == before


def test_nothing_appears_beside_a_closed_database_while_it_is_read(logged):
    """Not even for the moment: whoever copies the folder meanwhile finds the one file."""
    with AuditDatabase(url(logged)) as audit:
        list(rows_of(audit, "runs", COMPLETED_RUN))
        assert [path.name for path in logged.parent.iterdir()] == ["landscape.db"]


@pytest.mark.parametrize("how", ["committed", "uncommitted"])
def test_what_is_committed_in_a_live_log_is_exported(logged, tmp_path, how):
    """A writer has the database open: what it committed to the log is read, what it did not commit is not, and the
    file, the log
    and its index stay as they are."""
    writer = write(logged, how)
    before = state(logged)
    assert sorted(before) == ["landscape.db", "landscape.db-shm", "landscape.db-wal"]
    assert LATE in first_record(logged, tmp_path / "made")
    assert state(logged) == before
    end(writer)


def test_a_log_that_a_crash_left_is_read(logged, tmp_path):
    """The writer was killed: its log and index are read and left as they are."""
    kill(write(logged))
    before = state(logged)
    assert LATE in first_record(logged, tmp_path / "made")
    assert state(logged) == before


def test_a_log_without_its_index_is_read(logged, tmp_path):
    """A log whose index is gone (a copy of two files, say) is read, and no index is left."""
    kill(write(logged))
    Path(f"{logged}-shm").unlink()
    before = state(logged)
    assert sorted(before) == ["landscape.db", "landscape.db-wal"]
    assert LATE in first_record(logged, tmp_path / "made")
    assert state(logged) == before


def test_all_that_is_read_is_of_one_state(logged, tmp_path):
    """What is committed after the database was opened is not seen by the statements that follow."""
    writer = write(logged)
    with AuditDatabase(url(logged)) as audit:
        assert COMPLETED_RUN in audit.runs
        connection = sqlite3.connect(logged)
        connection.execute("UPDATE runs SET canonical_version = 'later'")
        connection.execute("UPDATE edges SET label = 'later' || edge_id")
        connection.commit()
        connection.close()
        (runs,) = list(rows_of(audit, "runs", COMPLETED_RUN))
        (edges,) = list(rows_of(audit, "edges", COMPLETED_RUN))
    assert runs["canonical_version"].to_pylist() == [LATE]
    assert not any(label.startswith("later") for label in edges["label"].to_pylist())
    end(writer)


def test_a_database_that_is_written_to_while_it_is_read_without_locks_is_no_export(logged):
    """A database that nobody had open is opened without locks: if somebody writes to it meanwhile, the reading fails,
    and trying
    again may help."""
    with AuditDatabase(url(logged)) as audit:
        list(rows_of(audit, "runs", COMPLETED_RUN))
        time.sleep(0.01)
        writer = write(logged)
        with pytest.raises(DatabaseError, match="was written to while it was read") as refusal:
            list(rows_of(audit, "nodes", COMPLETED_RUN))
        assert refusal.value.transient
        end(writer)


def hold(path: Path, seconds: float) -> subprocess.Popen[str]:
    """Another process that holds the file locked for a while. (Locks of this process would not keep it out.)"""
    code = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "c.execute('BEGIN EXCLUSIVE'); "
        "print('held', flush=True); time.sleep(float(sys.argv[2]))"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_database_that_is_locked_for_a_moment_is_waited_for(sample):
    """A writer that is done within seconds costs nothing but them."""
    with hold(sample, 0.5):
        AuditDatabase(url(sample)).close()


def test_a_database_that_stays_locked_is_worth_another_try(sample):
    """Somebody holds the file for longer than one waits: the error says so, and that trying again may help."""
    holder = hold(sample, 60)
    with pytest.raises(DatabaseError, match="locked; another process holds it; try again") as refusal:
        AuditDatabase(url(sample))
    assert refusal.value.transient
    holder.kill()
    holder.communicate()


def test_a_database_cannot_be_written_through_the_connection(sample):
    """Even a statement that writes would not: the connection is read-only in itself."""
    with opened_connections() as opened, AuditDatabase(url(sample)):
        (connection,) = opened
        with pytest.raises(Exception, match=r"readonly|read-only|attempt to write"):
            connection.exec_driver_sql("DELETE FROM calls")
