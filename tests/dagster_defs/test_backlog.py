"""The job export_backlog: many runs in one Dagster run, each with a materialization of its own.

Belongs here: that job. Does not belong here: the pipeline that it uses (`../cli/test_many_runs.py`).
"""

import json
import re
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from support.databases import changing, insert_copy, rows_of_sample
from support.operator import Operator, messages
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN

RUNS = [f"run-{number}" for number in range(5)]
ASSETS = [dg.AssetKey(["export", name]) for name in ("jsonl", "csv", "parquet", "html", "manifest")]


@pytest.fixture(autouse=True)
def _more_runs(sample: Path) -> None:
    with changing(sample) as connection:
        for number, run_id in enumerate(RUNS):
            insert_copy(connection, rows_of_sample(FAILED_RUN), run_id, f"{run_id}-", timedelta(hours=number))


def backlog(operate: Operator, **config: object) -> dg.ExecuteInProcessResult:
    return operate.run("export_backlog", export_runs={"config": config})


def materialization(operate: Operator, asset: dg.AssetKey, run_id: str) -> dg.AssetMaterialization | None:
    records = operate.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[run_id]), limit=1
    ).records
    return records[0].asset_materialization if records else None


def test_every_missing_package_is_made_and_shown(operate: Operator) -> None:
    """Each run is a partition with materializations of the files and the manifest, with the metadata and data versions
    that the assets
    give, and the tables that it was made of."""
    assert operate.export(FAILED_RUN).success
    alone = {asset: materialization(operate, asset, FAILED_RUN) for asset in ASSETS}
    assert backlog(operate).success
    assert {path.name for path in operate.exports.iterdir()} == {COMPLETED_RUN, FAILED_RUN, *RUNS}
    for run_id in (COMPLETED_RUN, *RUNS):
        assert run_id in operate.partitions()
        for asset in ASSETS:
            made = materialization(operate, asset, run_id)
            assert set(alone[asset].metadata) - {"seconds"} <= set(made.metadata)
            assert made.tags["dagster/data_version"]
        assert made.metadata["result"].value == "exported"
        table = made.metadata["made of"].value
        assert f"with run_id bound to `{run_id}`" in table
        exported = json.loads((operate.exports / run_id / "manifest.json").read_text())["tables"]
        told = dict(re.findall(r"^\| (\w+) \| ([\d,]+) \|", table, re.MULTILINE))
        assert told == {name: f"{rows:,}" for name, rows in exported.items()}
        assert "one snapshot of" in table and "| calls | " in table and "FROM calls AS t" in table
    assert RUNNING_RUN not in operate.partitions()


def test_packages_and_data_versions_are_those_of_the_assets(operate: Operator) -> None:
    """The same run by both doors: but for the manifest's time, what the UI compares is the same."""
    assert backlog(operate, run_ids=[RUNS[2]]).success
    versions = {asset: materialization(operate, asset, RUNS[2]).tags["dagster/data_version"] for asset in ASSETS[:3]}
    (operate.exports / RUNS[2]).rename(operate.exports / "moved away")
    assert operate.export(RUNS[2]).success
    for asset, version in versions.items():
        assert materialization(operate, asset, RUNS[2]).tags["dagster/data_version"] == version


def test_a_run_that_fails_does_not_stop_the_others(operate: Operator, sample: Path) -> None:
    """In the end the Dagster run fails, naming it. Launched again after the fix, it does only what is missing."""
    with changing(sample) as connection:
        connection.execute("UPDATE calls SET call_type = 'fax' WHERE call_id LIKE 'run-1-%'")
    (message,) = messages(backlog(operate))
    assert message.startswith("1 of 7 runs were not exported.\nrun-1: Corrupt audit data: table calls")
    assert {path.name for path in operate.exports.iterdir()} == {COMPLETED_RUN, FAILED_RUN, *RUNS} - {"run-1"}
    with changing(sample) as connection:
        connection.execute("UPDATE calls SET call_type = 'llm' WHERE call_type = 'fax'")
    again = backlog(operate)
    assert again.success
    assert {event.partition for event in again.get_asset_materialization_events()} == {"run-1"}
    assert backlog(operate).success, "nothing is left to do"


def test_a_limit_and_runs_in_flight(operate: Operator) -> None:
    """The oldest first, at most as many as is said; runs that another Dagster run is at work on are left to it."""
    operate.start(COMPLETED_RUN, dg.DagsterRunStatus.STARTED)
    assert backlog(operate, limit=2).success
    made = {path.name for path in operate.exports.iterdir()}
    assert len(made) == 2 and COMPLETED_RUN not in made
    assert backlog(operate, run_ids=[COMPLETED_RUN, RUNS[4], RUNS[4]]).success
    assert {path.name for path in operate.exports.iterdir()} - made <= {RUNS[4]}
