"""One state of the database: all tables of a run are read from it, whatever a writer does meanwhile, or the package
says no.

Belongs here: writers at work during an export, in one process and in separate steps. Does not belong here: failures
(`test_failures.py`).
"""

import dagster as dg
import pytest
from support.exporter import KEY

from landscape_assets.landscape import AuditDatabase
from landscape_assets.orchestration.build import build_defs
from landscape_assets.orchestration.exports import EXPORT_ASSETS
from landscape_assets.orchestration.partitions import RUNS
from landscape_assets.orchestration.tables import TABLE_ASSETS
from landscape_assets.sample import COMPLETED_RUN

LATE = (
    "INSERT INTO calls (call_id, state_id, call_index, call_type, status, request_hash, created_at) "
    "SELECT 'late', state_id, 99, 'llm', 'success', 'x', started_at "
    f"FROM node_states WHERE run_id = '{COMPLETED_RUN}' LIMIT 1"
)
"""What a late writer adds to a run that had ended."""


@pytest.fixture
def settings(database, monkeypatch, tmp_path):
    """The sample on either database, as the Dagster steps find it."""
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", database.url)
    monkeypatch.setenv("LANDSCAPE_EXPORT_DIR", str(tmp_path / "exports"))
    monkeypatch.setenv("LANDSCAPE_STORAGE_DIR", str(tmp_path / "storage"))
    monkeypatch.setenv("LANDSCAPE_SIGNING_KEY", KEY)


def test_a_writer_during_the_export_is_not_seen(audit):
    """Rows that are committed after the first statement are in none of the tables. (`../landscape/test_read_only.py` has
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
            read[name] = sum(batch.num_rows for batch in audit.read(name, COMPLETED_RUN).batches)
        assert read == before
        assert audit.has_read(COMPLETED_RUN, read)
        assert audit.finished_run(COMPLETED_RUN).status == "completed"
    with AuditDatabase(url) as audit:
        assert audit.count(COMPLETED_RUN)["calls"] == before["calls"] + 1
        assert audit.count(COMPLETED_RUN)["artifacts"] == 0
        assert not audit.has_read(COMPLETED_RUN, read)


class Steps:
    """Assets materialized in Dagster runs of their own, each with a connection of its own, as separate steps have."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._resources = dict(build_defs().resources)

    def make(self, *assets: dg.AssetsDefinition) -> str | None:
        """Materializes assets in one Dagster run; why it failed, if it did."""
        result = dg.materialize(
            [*TABLE_ASSETS, *EXPORT_ASSETS],
            selection=dg.AssetSelection.assets(*(key for asset in assets for key in asset.keys)),
            partition_key=COMPLETED_RUN,
            instance=self._instance,
            resources=self._resources,
            raise_on_error=False,
        )
        failed = [
            event.step_failure_data.user_failure_data.description
            for event in result.all_events
            if event.is_step_failure
        ]
        return failed[0] if failed else None


@pytest.fixture
def steps(settings):
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(RUNS.name, [COMPLETED_RUN])
        yield Steps(instance)


CHANGES = [
    # A row more, a row less, another state, a run that goes on.
    (LATE, "DELETE FROM calls WHERE call_id = 'late'", "of table calls 26 rows were read, and there are 27 now"),
    (
        f"UPDATE artifacts SET run_id = 'other' WHERE run_id = '{COMPLETED_RUN}'",
        f"UPDATE artifacts SET run_id = '{COMPLETED_RUN}' WHERE run_id = 'other'",
        "rows were read, and there are 0 now",
    ),
    (
        f"UPDATE runs SET status = 'failed' WHERE run_id = '{COMPLETED_RUN}'",
        f"UPDATE runs SET status = 'completed' WHERE run_id = '{COMPLETED_RUN}'",
        "it was completed at 2026-",
    ),
    (
        f"UPDATE runs SET status = 'running' WHERE run_id = '{COMPLETED_RUN}'",
        f"UPDATE runs SET status = 'completed' WHERE run_id = '{COMPLETED_RUN}'",
        "has not finished",
    ),
]


def test_separate_steps_publish_only_what_is_still_the_run(database, steps, tmp_path):
    """Tables were read in different transactions: before it publishes, the manifest step looks at the run once more."""
    *others, manifest = EXPORT_ASSETS
    for part in (TABLE_ASSETS[:7], TABLE_ASSETS[7:], others):
        assert steps.make(*part) is None
    for change, undo, said in CHANGES:
        database.execute(change)
        assert said in (steps.make(manifest) or "")
        assert not (tmp_path / "exports" / COMPLETED_RUN).exists()
        database.execute(undo)
    assert steps.make(manifest) is None
    assert (tmp_path / "exports" / COMPLETED_RUN / "manifest.json").is_file()


def test_tables_of_different_states_make_no_records(database, steps):
    """The run was taken up again and ended again between two tables: the files say so themselves."""
    assert steps.make(*TABLE_ASSETS[:5]) is None
    database.execute(f"UPDATE runs SET completed_at = '2026-12-24 00:00:00' WHERE run_id = '{COMPLETED_RUN}'")
    assert steps.make(*TABLE_ASSETS[5:]) is None
    assert "The stored tables are of different states of the run" in (steps.make(EXPORT_ASSETS[0]) or "")
