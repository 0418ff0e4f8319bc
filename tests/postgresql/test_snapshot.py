"""One state of the database: all tables of a run are read from it, whatever a writer does meanwhile.

Belongs here: a writer at work while tables are read. Does not belong here: failures
(`test_failures.py`).
"""

from support.pipeline import rows_of
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.database import AuditDatabase

LATE = (
    "INSERT INTO calls (call_id, state_id, call_index, call_type, status, request_hash, created_at) "
    "SELECT 'late', state_id, 99, 'llm', 'success', 'x', started_at "
    f"FROM node_states WHERE run_id = '{COMPLETED_RUN}' LIMIT 1"
)
"""What a late writer adds to a run that had ended."""


def test_a_writer_during_the_export_is_not_seen(audit):
    """Rows that are committed after the first statement are in none of the tables. (`../landscape/test_read_only.py`
    has
    the same for SQLite, where it takes a write-ahead log.)"""
    writer, url = audit, audit.url
    with AuditDatabase(url) as audit:
        before = audit.count(COMPLETED_RUN)
        read = {}
        for number, name in enumerate(audit.contract.tables):
            if number == 2:
                writer.execute(
                    LATE, f"UPDATE runs SET status = 'failed' WHERE run_id = '{COMPLETED_RUN}'", "DELETE FROM artifacts"
                )
            read[name] = sum(batch.num_rows for batch in rows_of(audit, name, COMPLETED_RUN))
        assert read == before
        assert audit.finished_run(COMPLETED_RUN).status == "completed"
    with AuditDatabase(url) as audit:
        assert audit.count(COMPLETED_RUN)["calls"] == before["calls"] + 1
        assert audit.count(COMPLETED_RUN)["artifacts"] == 0
