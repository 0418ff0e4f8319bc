"""Data versions: what is fresh and what is stale, as the UI has it, after something was materialized again."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._utils.test.data_versions import get_stale_status_resolver
from support.databases import changing
from support.exporter import KEY
from support.operator import Operator, messages
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

from landscape_assets.contract import ALL_TABLES
from landscape_assets.dagster_defs.exports import RECORDS, SIGNED_RECORDS, package
from landscape_assets.dagster_defs.package_metadata import MANIFEST
from landscape_assets.dagster_defs.tables import table_key, tables
from landscape_assets.formats import FORMATS
from landscape_assets.verify import Status, verify_package

ASSETS = [tables, package]
TABLES = [table_key(name) for name in ALL_TABLES]
PACKAGE = [RECORDS, SIGNED_RECORDS, *(dg.AssetKey(["export", name]) for name in (*FORMATS, "manifest"))]


def stale(operator: Operator) -> set[str]:
    """The assets whose partition is stale, with those that are not materialized."""
    resolver: CachingStaleStatusResolver = get_stale_status_resolver(operator.instance, ASSETS)
    keys = [key for asset in ASSETS for key in asset.keys]
    return {key.to_user_string() for key in keys if resolver.get_status(key, COMPLETED_RUN).value != "FRESH"}


def materialize(operator: Operator, *keys: dg.AssetKey) -> dg.ExecuteInProcessResult:
    """Materializes some assets of the run alone, as from the graph of the UI."""
    job = operator.defs.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=operator.instance, partition_key=COMPLETED_RUN, asset_selection=list(keys), raise_on_error=False
    )


def test_the_same_content_leaves_all_fresh_and_a_changed_table_makes_downstream_stale(
    operate: Operator, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an export all is fresh; loading or exporting again changes nothing; a change in a table makes
    stale what is made of it; then the package is superseded knowingly."""
    monkeypatch.setenv("LANDSCAPE_FORMATS", "jsonl,csv")  # a format that is left out has a data version too
    assert operate.export(COMPLETED_RUN).success
    assert stale(operate) == set()
    assert materialize(operate, *TABLES).success
    assert operate.export(COMPLETED_RUN).success
    assert stale(operate) == set()

    with changing(sample) as connection:
        connection.execute("UPDATE artifacts SET size_bytes = size_bytes + 1 WHERE run_id = ?", (COMPLETED_RUN,))
    assert materialize(operate, *TABLES).success
    assert stale(operate) == {"export/records"}

    # The package is not replaced by accident; superseding it is a choice, after which all is fresh again.
    (message,) = messages(operate.export(COMPLETED_RUN))
    assert "this export differs" in message and "supersede" in message
    package = operate.exports / COMPLETED_RUN / "manifest.json"
    before = package.read_bytes()
    assert operate.export(COMPLETED_RUN, export__package={"config": {"supersede": True}}).success
    (kept,) = operate.exports.glob(f".superseded/*/{COMPLETED_RUN}/manifest.json")
    assert kept.read_bytes() == before != package.read_bytes()
    assert stale(operate) == set()


def test_data_versions_are_noted_with_code_versions_and_those_of_inputs(operate: Operator) -> None:
    """What staleness compares is of the partition: of another run's tables, only the empty ones have the same."""
    versions = {}
    for partition in (COMPLETED_RUN, FAILED_RUN):
        assert operate.export(partition).success
        for key, inputs in ((RECORDS, set(map(table_key, ALL_TABLES))), (MANIFEST, {SIGNED_RECORDS})):
            event = operate.instance.get_latest_materialization_event(key)
            assert event is not None and event.asset_materialization is not None
            assert event.asset_materialization.partition == partition
            tags = event.asset_materialization.tags or {}
            noted = {name: tags[f"dagster/input_data_version/{name}"] for name in (i.to_user_string() for i in inputs)}
            noted |= {"code": tags["dagster/code_version"], "own": tags["dagster/data_version"]}
            versions[partition, key] = noted
    assert {key: each["code"] for (_, key), each in versions.items()} == {RECORDS: "3", MANIFEST: "2"}
    for key, name in ((RECORDS, "landscape/tokens"), (MANIFEST, "export/signed_records"), (RECORDS, "own")):
        assert versions[COMPLETED_RUN, key][name] != versions[FAILED_RUN, key][name]


def test_a_step_can_be_materialized_alone(operate: Operator) -> None:
    """The package is made from what is stored; tables are loaded, and packages made, all together or not at all."""
    operate.instance.add_dynamic_partitions("run_id", [COMPLETED_RUN])
    (message,) = messages(materialize(operate, *PACKAGE))
    assert "landscape/runs of run 'complaints-2026-11-03' is not stored" in message
    for keys in (TABLES, PACKAGE):
        made = materialize(operate, *keys)
        assert {event.asset_key for event in made.get_asset_materialization_events()} == set(keys)
    for key in (table_key("calls"), SIGNED_RECORDS, MANIFEST):
        with pytest.raises(dg.DagsterInvalidSubsetError):
            materialize(operate, key)
    package = operate.exports / COMPLETED_RUN
    assert {path.name for path in package.iterdir()} >= {"records.jsonl", "csv", "parquet", "manifest.json"}
    assert verify_package(package, key=KEY.encode(), run_id=COMPLETED_RUN).status is Status.VERIFIED


def test_stored_tables_of_two_loads_are_not_mixed(operate: Operator, sample: Path) -> None:
    """A stored table of an earlier time beside present ones is refused, with what to materialize."""
    assert operate.export(COMPLETED_RUN).success
    (storage,) = (path.parent.parent for path in Path(operate.instance.storage_directory()).rglob("landscape/runs"))
    calls = next(storage.glob("landscape/calls/*.arrow"))
    old = calls.read_bytes()
    with changing(sample) as connection:
        connection.execute("UPDATE artifacts SET size_bytes = size_bytes + 1 WHERE run_id = ?", (COMPLETED_RUN,))
    assert materialize(operate, *TABLES).success
    calls.write_bytes(old)
    assert "of several loads" in str(messages(materialize(operate, *PACKAGE)))
