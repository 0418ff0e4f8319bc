"""What the UI says a package was made of, while other exports go on beside it in the same Dagster instance.

Belongs here: the table "made of" of a manifest. Does not belong here: what is fresh and what is stale
(`test_staleness.py`).
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from support.databases import changing, insert_copy, rows_of_sample
from support.operator import Operator, instance_folder
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

from landscape_assets.contract import ALL_TABLES, V1
from landscape_assets.dagster_defs.build import build_defs
from landscape_assets.dagster_defs.exports import SIGNED_RECORDS, package
from landscape_assets.dagster_defs.jobs import EXECUTOR, EXPORT_RUN
from landscape_assets.dagster_defs.package_metadata import MANIFEST
from landscape_assets.dagster_defs.partitions import PARTITION_TAG
from landscape_assets.dagster_defs.tables import table_key

ROW = re.compile(
    r"\| \[(?P<asset>[a-z_/]+)\]\(/assets/\S+\?view=events&time=(?P<time>\d+)\) \| [\d,]* \| `(?P<version>[^`]+)` \| "
    r"\[[0-9a-f]{8}\]\(/runs/(?P<dagster_run>[0-9a-f-]+)\) \|"
)
TABLES = [table_key(name) for name in ALL_TABLES]
PACKAGE = list(package.keys)
SOURCES = {table_key(name).to_user_string() for name in V1.tables}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance with files, as a deployment without PostgreSQL has it."""
    with (
        instance_folder() as home,
        dg.DagsterInstance.local_temp(home, overrides={"telemetry": {"enabled": False}}) as instance,
    ):
        yield instance


@pytest.fixture(autouse=True)
def _one_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_FORMATS", "jsonl")


def made_of(instance: dg.DagsterInstance, event: dg.EventLogRecord) -> dict[str, dg.EventLogRecord]:
    """Asset → the materialization that a manifest's table names; it must be there, and of the manifest's partition."""
    assert event.asset_materialization is not None
    lines = str(event.asset_materialization.metadata["made of"].value).splitlines()
    lines = lines[lines.index("|---|---:|---|---|") + 1 :]
    found = {}
    for line in lines:
        row = ROW.fullmatch(line)
        assert row is not None, line
        asset = dg.AssetKey.from_user_string(row["asset"])
        (found[row["asset"]],) = (
            each
            for each in materializations(instance, asset, event.partition_key or "")
            if each.run_id == row["dagster_run"]
            and int(each.timestamp * 1000) == int(row["time"])
            and version(each).startswith(row["version"])
        )
    assert len(found) == len(lines)
    return found


def materializations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str = COMPLETED_RUN
) -> Sequence[dg.EventLogRecord]:
    """All of an asset's partition, the newest first."""
    return instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[partition]), limit=100
    ).records


def version(event: dg.EventLogRecord) -> str:
    assert event.asset_materialization is not None
    return (event.asset_materialization.tags or {})["dagster/data_version"]


def manifest_of(operator: Operator, partition: str) -> dg.EventLogRecord:
    return materializations(operator.instance, MANIFEST, partition)[0]


def materialize(operator: Operator, partition: str, *keys: dg.AssetKey) -> str:
    """Materializes some assets of a run in a Dagster run of their own; gives its id."""
    operator.instance.add_dynamic_partitions("run_id", [partition])
    job = operator.defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=operator.instance, partition_key=partition, asset_selection=list(keys), raise_on_error=False
    )
    assert result.success
    return result.run_id


def export_interrupted(operator: Operator, partition: str, do: Callable[[], object]) -> str:
    """Exports a run; when its tables are loaded, does something else before the next step. Gives the Dagster run's
    id."""
    done = []

    @dg.success_hook
    def then(context: dg.HookContext) -> None:
        if context.op.name == "landscape__tables":
            done.append(do())

    job = dg.define_asset_job("interrupted", selection=EXPORT_RUN.selection, executor_def=EXECUTOR, hooks={then})
    operator.instance.add_dynamic_partitions("run_id", [partition])
    result = (
        dg.Definitions.merge(build_defs(), dg.Definitions(jobs=[job]))
        .resolve_job_def("interrupted")
        .execute_in_process(instance=operator.instance, tags={PARTITION_TAG: partition}, raise_on_error=False)
    )
    assert result.success and len(done) == 1
    return result.run_id


def test_steps_of_two_runs_in_turn(operate: Operator) -> None:
    """Each step is materialized by itself, those of the one run between those of the other."""
    dagster_runs = {}
    for keys in (TABLES, PACKAGE):
        for partition in (COMPLETED_RUN, FAILED_RUN):
            dagster_run = materialize(operate, partition, *keys)
            dagster_runs |= {(partition, key.to_user_string()): dagster_run for key in keys}
    for partition in (COMPLETED_RUN, FAILED_RUN):
        found = made_of(operate.instance, manifest_of(operate, partition))
        assert found.keys() == SOURCES
        assert {(partition, name): event.run_id for name, event in found.items()}.items() <= dagster_runs.items()


def test_another_run_is_exported_meanwhile(operate: Operator) -> None:
    """A whole export of another run between two steps leaves no trace in the table."""
    mine = export_interrupted(operate, COMPLETED_RUN, lambda: operate.export(FAILED_RUN))
    found = made_of(operate.instance, manifest_of(operate, COMPLETED_RUN))
    assert found.keys() == SOURCES
    assert {event.run_id for event in found.values()} == {mine}
    assert (operate.exports / FAILED_RUN / "manifest.json").is_file()


def test_the_same_run_is_loaded_meanwhile(operate: Operator) -> None:
    """Another Dagster run loads the tables of the same run, with the same content: the export's own ones are named."""
    mine = export_interrupted(operate, COMPLETED_RUN, lambda: materialize(operate, COMPLETED_RUN, *TABLES))
    found = made_of(operate.instance, manifest_of(operate, COMPLETED_RUN))
    assert found.keys() == SOURCES
    assert {event.run_id for event in found.values()} == {mine}


def test_a_table_of_the_same_run_is_changed_meanwhile(operate: Operator, sample: Path) -> None:
    """Another Dagster run stores other content of a table: named is the materialization that is in the package."""

    def change() -> None:
        with changing(sample) as connection:
            connection.execute("UPDATE artifacts SET size_bytes = 4242424242 WHERE run_id = ?", (COMPLETED_RUN,))
        materialize(operate, COMPLETED_RUN, *TABLES)

    mine = export_interrupted(operate, COMPLETED_RUN, change)
    found = made_of(operate.instance, manifest_of(operate, COMPLETED_RUN))
    named = found.pop("landscape/artifacts")
    stored = {event.run_id: version(event) for event in materializations(operate.instance, table_key("artifacts"))}
    (changed,) = (found_version for dagster_run, found_version in stored.items() if dagster_run != mine)
    records = (operate.exports / COMPLETED_RUN / "records.jsonl").read_bytes()
    assert (version(named) == changed) == (b"4242424242" in records)
    assert named.run_id == mine or stored[mine] != version(named)
    assert {event.run_id for event in found.values()} == {mine}


def test_a_part_is_materialized_again(operate: Operator) -> None:
    """The package again, after others have exported other runs: named are the old tables."""
    first = operate.export(COMPLETED_RUN)
    assert first.success and operate.export(FAILED_RUN).success
    (operate.exports / COMPLETED_RUN).rename(operate.exports / "moved away")
    again = materialize(operate, COMPLETED_RUN, *PACKAGE)
    assert manifest_of(operate, COMPLETED_RUN).run_id == again
    found = made_of(operate.instance, manifest_of(operate, COMPLETED_RUN))
    assert found.keys() == SOURCES
    assert {event.run_id for event in found.values()} == {first.run_id}


EXPORTS = 8
"""Two for each process, so that a second one begins while others are at work. Each takes Dagster some seconds."""

EXPORTS_IN_TURN = """
import sys
from pathlib import Path

import dagster as dg
from support.operator import Operator

home, exports, *runs = sys.argv[1:]
with dg.DagsterInstance.local_temp(home, overrides={"telemetry": {"enabled": False}}) as instance:
    operator = Operator(instance, Path(exports))
    for run_id in runs:
        result = operator.export(run_id)
        print(run_id, result.run_id, result.success, flush=True)
"""
"""Exports runs, in a process of its own: Dagster's in-process execution is not made for several threads of one process
(it configures logging anew, and they wait for one another without end)."""


def test_exports_four_at_a_time(operate: Operator, sample: Path) -> None:
    """Each package's table names what that very export has materialized of that very run, and all of it."""
    runs = [f"run-{number:02}" for number in range(EXPORTS)]
    with changing(sample) as connection:
        for number, run_id in enumerate(runs):
            insert_copy(connection, rows_of_sample(FAILED_RUN), run_id, f"{run_id}-", timedelta(hours=1 + number))
    operate.instance.add_dynamic_partitions("run_id", runs)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", EXPORTS_IN_TURN, operate.instance.root_directory, operate.exports, *runs[first::4]],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for first in range(4)
    ]
    lines = [line.split() for process in processes for line in process.communicate()[0].splitlines()]
    assert {success for _, _, success in lines} == {"True"}
    dagster_runs = {run_id: dagster_run for run_id, dagster_run, _ in lines}
    assert dagster_runs.keys() == set(runs)
    spans = []
    for run_id, dagster_run in dagster_runs.items():
        event = manifest_of(operate, run_id)
        assert event.run_id == dagster_run
        found = made_of(operate.instance, event)
        assert found.keys() == SOURCES
        assert {each.run_id for each in found.values()} == {dagster_run}
        # The final hash is in the package and in the data version of what was signed.
        manifest = json.loads((operate.exports / run_id / "manifest.json").read_bytes())
        (signed,) = materializations(operate.instance, SIGNED_RECORDS, run_id)
        assert signed.run_id == dagster_run and version(signed).startswith(manifest["final_hash"])
        spans.append((min(each.timestamp for each in found.values()), event.timestamp))
    # They did go on side by side.
    assert max(sum(begun <= at <= ended for begun, ended in spans) for at, _ in spans) >= 3
