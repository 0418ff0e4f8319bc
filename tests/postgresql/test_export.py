"""The export from PostgreSQL: what it does to the server, and how it asks.

Belongs here: statements, streaming and connections. Does not belong here: what an export is, which is the same on
SQLite (`../cli/test_export.py`, `../dagster_defs/test_export_job.py`), values (`test_values.py`), failures
(`test_failures.py`), snapshots (`test_snapshot.py`)."""

import re
import time

import pytest
from support.pipeline import opened_connections, rows_of
from support.sample_v1 import COMPLETED_RUN, RUNNING_RUN

from benchmarks.generate import generate
from benchmarks.statements import count_statements
from landscape_assets.database import AuditDatabase


def test_the_database_is_not_changed(exporter, audit):
    """The role may do everything, and the transaction nothing but read."""
    audit.execute("CREATE TABLE kept AS SELECT oid, datname FROM pg_database")
    before = audit.execute('SELECT relname, relfilenode, xmin::text FROM pg_class ORDER BY relname COLLATE "C"')
    rows = audit.execute("SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_database, pg_stat_user_tables LIMIT 1")
    assert exporter.outcome(audit.url, COMPLETED_RUN)["status"] == "exported"
    assert audit.execute('SELECT relname, relfilenode, xmin::text FROM pg_class ORDER BY relname COLLATE "C"') == before
    assert (
        audit.execute("SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_database, pg_stat_user_tables LIMIT 1")
        == rows
    )
    with opened_connections() as opened, AuditDatabase(audit.url):
        (connection,) = opened
        with pytest.raises(Exception, match="read-only transaction"):
            connection.exec_driver_sql("UPDATE runs SET status = 'running'")


@pytest.fixture(scope="module")
def sizes(tmp_path_factory, copied):
    """Runs of 10 and of 10,000 rows of the source, in one database: 256 and 231,000 records."""
    path = tmp_path_factory.mktemp("sizes") / "landscape.db"
    for rows in (10, 10_000):
        generate(path, rows)
    return copied(path)


def test_statements_do_not_depend_on_the_size_of_the_run(exporter, sizes):
    """One for each of the 15 tables and a constant few, for 10 rows and for 10,000."""
    sent = {}
    for rows in (10, 10_000):
        with count_statements("none of SQLite's") as statements:
            outcome = exporter.outcome(sizes.url, f"run-{rows}", "--format", "jsonl")
        assert outcome["status"] == "exported"
        sent[rows] = [
            re.sub("SNAPSHOT '[0-9A-F-]+'", "SNAPSHOT '...'", statement).replace(f"'run-{rows}'", "'RUN'")
            for statement in statements
        ]
    # Two connections read at a time: what each sends is in order, both together are not.
    assert sorted(sent[10]) == sorted(sent[10_000])
    tables = [statement for statement in sent[10] if "IN ('RUN')" in statement]
    assert len(tables) == 15
    assert len(sent[10]) <= 15 + 14


def test_rows_come_as_the_server_sends_them(sizes):
    """The server is still sending when the first rows are here: neither side holds the result."""
    with AuditDatabase(sizes.url) as database:
        batches = rows_of(database, "calls", "run-10000")
        first = next(batches)
        for _ in range(200):
            # It has filled the buffers between, and waits until more is taken.
            sending = sizes.execute(
                "SELECT wait_event FROM pg_stat_activity "
                "WHERE application_name = 'landscape_assets' AND state = 'active'"
            )
            if sending == [("ClientWrite",)]:
                break
            time.sleep(0.05)
        assert sending == [("ClientWrite",)]
        assert first.num_rows < 60_000
        assert first.num_rows + sum(batch.num_rows for batch in batches) == 104_000


def test_connections_are_bounded_and_closed(exporter, audit):
    """An export takes one connection at a time, and none is left after it, also when it failed."""
    role = audit.server.new_role()
    audit.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}", f"ALTER ROLE {role} CONNECTION LIMIT 2")
    url = audit.url_for(role)  # 2, for the server notices a closed one a moment later
    assert exporter.outcome(url, COMPLETED_RUN)["status"] == "exported"
    assert exporter.outcome(url, RUNNING_RUN)["status"] == "failed"
    for _ in range(100):
        left = audit.execute(f"SELECT state FROM pg_stat_activity WHERE usename = '{role}'")
        if not left:
            break
        time.sleep(0.02)
    assert left == []
