"""Backfills by Dagster's daemon with the limits of dagster.yaml, and what the UI's GraphQL says of the result.

The daemon's own iterations run in this process, one after the other instead of every few seconds, and so do the Dagster
runs that the queue lets through. With processes and at the pace of a deployment it is seen in test_backfill.py, for as
many runs as wanted.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster_graphql.schema import create_schema
from support.databases import changing
from support.deployment import DAGSTER_YAML
from support.exporter import KEY
from support.operator import Operator, instance_folder

from benchmarks.generate import generate
from landscape_assets.contract import ALL_TABLES
from landscape_assets.dagster_defs.tables import group_of
from landscape_assets.formats import FORMATS

RUNS = [f"run-{number:02}" for number in range(5)]
BROKEN = RUNS[1]
QUEUED = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])


class Daemon:
    """The daemon's iterations, and the UI's questions, on one instance."""

    def __init__(self, instance: dg.DagsterInstance, workspace: Any, database: Path, exports: Path) -> None:
        self.instance, self.workspace, self.database, self.exports = instance, workspace, database, exports
        self.schema = create_schema()
        self.most_at_once = 0

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        context = self.workspace.create_request_context()
        result = asyncio.run(self.schema.execute_async(query, context_value=context, variables=variables))
        assert not result.errors, result.errors
        return result.data

    def backfill(self, partitions: list[str]) -> str:
        """Launches a backfill of all that has partitions and lets the daemon work until it has ended; gives its id.

        `most_at_once` is how many Dagster runs the queue let through in one iteration.
        """
        nodes = self.query("{ assetNodes { assetKey { path } isMaterializable isPartitioned } }")["assetNodes"]
        params = {
            "assetSelection": [
                node["assetKey"] for node in nodes if node["isMaterializable"] and node["isPartitioned"]
            ],
            "partitionNames": partitions,
        }
        launched = self.query(
            """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
                 __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            params=params,
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        backfill = launched["backfillId"]
        queue = QueuedRunCoordinatorDaemon(interval_seconds=1)
        end = time.monotonic() + 300
        while not self.instance.get_backfill(backfill).status.value.startswith("COMPLETED"):
            assert time.monotonic() < end, self.instance.get_backfill(backfill)
            list(execute_backfill_iteration(self.workspace, logging.getLogger("backfill")))
            waiting = self.instance.get_runs_count(QUEUED)
            list(queue.run_iteration(self.workspace))
            self.most_at_once = max(self.most_at_once, waiting - self.instance.get_runs_count(QUEUED))
        return backfill

    def outcome(self, backfill: str) -> dict[str, str]:
        runs = self.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill}))
        assert len(runs) == len({run.tags["dagster/partition"] for run in runs})
        return {run.tags["dagster/partition"]: run.status.value for run in runs}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """An instance with the project's dagster.yaml that has found a few runs, one of them corrupt, and has backfilled
    them."""
    folder = tmp_path_factory.mktemp("daemon")
    database = folder / "landscape.db"
    for run_id in RUNS:
        generate(database, 3, run_id, states=2, calls=1)
    with changing(database) as connection:
        connection.execute("UPDATE node_states SET status = 'lost ' || status WHERE run_id = ?", (BROKEN,))
    overrides = yaml.safe_load(DAGSTER_YAML.read_text()) | {
        "run_launcher": {
            "module": "dagster._core.launcher.sync_in_memory_run_launcher",
            "class": "SyncInMemoryRunLauncher",
        },
    }
    target = ModuleTarget("landscape_assets.definitions", None, None, "landscape_assets")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LANDSCAPE_DATABASE_URL", f"sqlite:///{database}")
        environment.setenv("LANDSCAPE_EXPORT_DIR", str(folder / "exports"))
        environment.setenv("LANDSCAPE_SIGNING_KEY", KEY)
        with (
            instance_folder() as home,
            dg.instance_for_test(overrides=overrides, temp_dir=home) as instance,
            create_test_daemon_workspace_context(target, instance) as workspace,
        ):
            Operator(instance, folder / "exports").discover()
            yield Daemon(instance, workspace, database, folder / "exports")


def test_a_backfill_exports_each_run_and_again_only_what_is_missing(daemon: Daemon) -> None:
    """One Dagster run each, three at a time as dagster.yaml says; one that fails does not stop the rest; launched again
    for what is failed or missing, only that is done."""
    first = daemon.outcome(daemon.backfill(RUNS))
    assert first == {run_id: "FAILURE" if run_id == BROKEN else "SUCCESS" for run_id in RUNS}
    assert daemon.most_at_once == 3
    manifests = {path: path.read_bytes() for path in daemon.exports.glob("*/manifest.json")}
    assert {path.parent.name for path in manifests} == set(RUNS) - {BROKEN}

    with changing(daemon.database) as connection:
        connection.execute("UPDATE node_states SET status = substr(status, 6) WHERE run_id = ?", (BROKEN,))
    statuses = manifest_node(daemon)["assetPartitionStatuses"]
    assert statuses["failedPartitions"] == [BROKEN]
    left = sorted({*statuses["failedPartitions"], *statuses["unmaterializedPartitions"]})
    assert daemon.outcome(daemon.backfill(left)) == {BROKEN: "SUCCESS"}
    assert {path: path.read_bytes() for path in manifests} == manifests
    assert set(manifest_node(daemon)["assetPartitionStatuses"]["materializedPartitions"]) == set(RUNS)


def manifest_node(daemon: Daemon) -> dict[str, Any]:
    return daemon.query(
        """{ assetNodeOrError(assetKey: {path: ["export", "manifest"]}) { ... on AssetNode {
               partitionKeys groupName kinds owners { ... on TeamAssetOwner { team } } description
               assetPartitionStatuses { ... on DefaultPartitionStatuses {
                 materializedPartitions failedPartitions unmaterializedPartitions } } } } }"""
    )["assetNodeOrError"]


def test_the_graph_runs_from_the_audit_database_to_the_manifest(daemon: Daemon) -> None:
    """What the lineage page draws: one external source, the tables of every generation, and the export."""
    nodes = daemon.query(
        """{ assetNodes { assetKey { path } groupName isExecutable isPartitioned description kinds
               dependencyKeys { path } } }"""
    )["assetNodes"]
    graph = {"/".join(node["assetKey"]["path"]): node for node in nodes}
    assert {name for name, node in graph.items() if not node["isExecutable"]} == {"landscape/audit_database"}
    tables = {name for name, node in graph.items() if node["groupName"] in set(map(group_of, ALL_TABLES.values()))}
    assert len(tables) == len(ALL_TABLES) and all(node["description"] for node in nodes)
    above = {name: {"/".join(key["path"]) for key in node["dependencyKeys"]} for name, node in graph.items()}
    assert all("landscape/audit_database" in above[name] for name in tables)
    assert above["export/records"] == tables
    assert above["export/manifest"] == {"export/signed_records", *(f"export/{name}" for name in FORMATS)}
    node = manifest_node(daemon)
    assert node["partitionKeys"] == RUNS
    assert node["owners"] == [{"team": "audit-exports"}]


def test_each_materialization_says_what_was_done(daemon: Daemon) -> None:
    """What a partition's page shows: rows, columns, statement, sizes and hashes; and the manifest, whole."""
    if not list(daemon.exports.glob("*/manifest.json")):
        daemon.backfill(RUNS[:1])

    def metadata(*asset: str) -> dict[str, dict[str, Any]]:
        (event,) = daemon.query(
            """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
                 assetMaterializations(partitions: ["run-00"], limit: 1) { metadataEntries { label __typename
                   ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text }
                   ... on MarkdownMetadataEntry { mdStr } ... on JsonMetadataEntry { jsonString }
                   ... on PathMetadataEntry { path }
                   ... on TableSchemaMetadataEntry { schema { columns { name type description } } }
                   ... on TableColumnLineageMetadataEntry { lineage { columnName columnDeps { columnName assetKey { path
                   } } } }
                 } } } } }""",
            key={"path": list(asset)},
        )["assetNodeOrError"]["assetMaterializations"]
        return {entry["label"]: entry for entry in event["metadataEntries"]}

    table = metadata("landscape", "rows")
    assert table["dagster/partition_row_count"]["intValue"] == 3
    assert all(column["description"] for column in table["dagster/column_schema"]["schema"]["columns"])
    assert "FROM rows" in table["statement"]["mdStr"] and "of the database" in table["statement"]["mdStr"]
    assert {"seconds", "content hash"} <= set(table)

    records = metadata("export", "records")
    lineage = {column["columnName"]: column["columnDeps"] for column in records["dagster/column_lineage"]["lineage"]}
    assert lineage["token.token_id"] == [{"columnName": "token_id", "assetKey": {"path": ["landscape", "tokens"]}}]
    assert "| row | 3 |" in records["records by type"]["mdStr"]
    assert {"key id", "final_hash"} <= set(metadata("export", "signed_records"))
    assert "records.jsonl" in metadata("export", "jsonl")["files"]["mdStr"]

    manifest = metadata("export", "manifest")
    assert manifest["package"]["path"] == str(daemon.exports / "run-00")
    assert (
        manifest["manifest"]["jsonString"].startswith("{")
        and '"run_id": "run-00"' in manifest["manifest"]["jsonString"]
    )
    for asset in ("landscape/tokens", "landscape/runs"):
        assert f"| [{asset}](/assets/{asset}?view=events&time=" in manifest["made of"]["mdStr"]


def test_checks_are_shown_for_each_run(daemon: Daemon) -> None:
    """A backfill runs the checks too; each partition has its own result."""
    if not list(daemon.exports.glob("*/manifest.json")):
        daemon.backfill(RUNS[:1])
    infos = daemon.instance.event_log_storage.get_asset_check_partition_info(
        [dg.AssetCheckKey(dg.AssetKey(["export", "manifest"]), "package_verifies")]
    )
    published = {path.parent.name for path in daemon.exports.glob("*/manifest.json")}
    assert {info.partition_key for info in infos if info.latest_execution_status.value == "SUCCEEDED"} == published


def test_execute_all_checks_every_package(daemon: Daemon) -> None:
    """Checks → Execute all names no partition: each published package is checked, with a result of its own, and the
    Dagster run says in one message which are bad."""
    if not list(daemon.exports.glob("*/manifest.json")):
        daemon.backfill(RUNS)
    names = ["package_verifies", "references_resolve", "counts_match_database", "all_packages_verify"]
    published = sorted(path.parent.name for path in daemon.exports.glob("*/manifest.json"))
    (daemon.exports / published[0] / "csv" / "run.csv").write_text("changed")
    launched = daemon.query(
        """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
             __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
        params={
            "mode": "default",
            "runConfigData": "{}",
            "selector": {
                "pipelineName": "__ASSET_JOB",
                "repositoryName": "__repository__",
                "repositoryLocationName": "landscape_assets",
                "assetSelection": [],
                "assetCheckSelection": [{"assetKey": {"path": ["export", "manifest"]}, "name": name} for name in names],
            },
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    list(QueuedRunCoordinatorDaemon(interval_seconds=1).run_iteration(daemon.workspace))
    run_id = launched["run"]["runId"]
    assert daemon.instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE
    (failure,) = [
        entry.dagster_event.step_failure_data
        for entry in daemon.instance.all_logs(run_id)
        if entry.is_dagster_event and entry.dagster_event.is_step_failure
    ]
    assert failure.user_failure_data.description.startswith(
        f"1 package(s) did not pass the checks.\n{published[0]}: csv/run.csv: "
    )
    checked = {
        entry.dagster_event.asset_check_evaluation_data.partition
        for entry in daemon.instance.all_logs(run_id)
        if entry.is_dagster_event and entry.dagster_event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    }
    assert checked == {*published, None}
    shutil.rmtree(daemon.exports / published[0])


def test_superseding_is_offered_in_the_launchpad(daemon: Daemon) -> None:
    """The run config of the manifest has `supersede`, off by default, with what it means."""
    schema = daemon.query(
        """{ runConfigSchemaOrError(selector: {pipelineName: "export_run", repositoryName: "__repository__",
               repositoryLocationName: "landscape_assets"}) { ... on RunConfigSchema { rootDefaultYaml
               allConfigTypes { ... on CompositeConfigType { fields { name description } } } } } }"""
    )["runConfigSchemaOrError"]
    fields = [field for kind in schema["allConfigTypes"] for field in kind.get("fields") or []]
    assert any(field["name"] == "supersede" and "kept aside" in (field["description"] or "") for field in fields)
    assert "supersede: false" in schema["rootDefaultYaml"]
