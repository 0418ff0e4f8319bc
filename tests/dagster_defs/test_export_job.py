"""The job `export_run` in a real Dagster instance, on both databases: what it materializes, and how it fails.

Belongs here: the job and its assets. Does not belong here: the command line (`../cli/`), sensors, schedules and checks.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from support.databases import AuditFile
from support.exporter import KEY, Exporter, content
from support.operator import Operator
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN
from support.server import Audit

from landscape_assets.contract import ALL_TABLES, V1
from landscape_assets.dagster_defs.build import build_defs
from landscape_assets.dagster_defs.tables import group_of
from landscape_assets.formats import FORMATS
from landscape_assets.package import figures_of

TABLES = [f"landscape__{table}" for table in ALL_TABLES]
EXPORTS = [f"export__{name}" for name in ("records", "signed_records", *FORMATS, "manifest")]

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def operate(
    instance: dg.DagsterInstance, database: AuditFile | Audit, exports: Path, monkeypatch: pytest.MonkeyPatch
) -> Operator:
    """The sample's audit database, on SQLite and PostgreSQL; its runs are partitions, as after a tick of the sensor."""
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", database.url)
    monkeypatch.setenv("LANDSCAPE_EXPORT_DIR", str(exports))
    monkeypatch.setenv("LANDSCAPE_SIGNING_KEY", KEY)
    instance.add_dynamic_partitions("run_id", [COMPLETED_RUN, FAILED_RUN, "nowhere"])
    return Operator(instance, exports)


@dataclass(frozen=True)
class Exported:
    """What an export made: the Dagster run, its instance, and the folder of the packages."""

    result: dg.ExecuteInProcessResult
    instance: dg.DagsterInstance
    exports: Path


@pytest.fixture(scope="module")
def exported(sample_database: AuditFile | Audit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """One export of the completed run, for those tests that look at what it made; not to be changed."""
    exports = tmp_path_factory.mktemp("dagster") / "dagster_exports"
    with pytest.MonkeyPatch.context() as environment, dg.DagsterInstance.ephemeral() as instance:
        environment.setenv("LANDSCAPE_DATABASE_URL", sample_database.url)
        environment.setenv("LANDSCAPE_EXPORT_DIR", str(exports))
        environment.setenv("LANDSCAPE_SIGNING_KEY", KEY)
        yield Exported(Operator(instance, exports).export(COMPLETED_RUN), instance, exports)


def failure_of(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """The one step that failed by itself, and its message."""
    failed = [event for event in result.all_events if event.is_step_failure]
    (event,) = failed
    assert event.step_failure_data.user_failure_data is not None
    assert not [e for e in result.all_events if e.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
    return event.step_key, event.step_failure_data.user_failure_data.description


def test_every_asset_is_materialized_for_the_run(exported: Exported) -> None:
    """One Dagster run materializes each table and each export asset, with contents as data versions and rows as
    metadata."""
    result = exported.result
    assert result.success
    made = {event.asset_key.to_python_identifier(): event for event in result.get_asset_materialization_events()}
    assert set(made) == {*TABLES, *EXPORTS}
    rows = 0
    for name, event in made.items():
        materialization = event.step_materialization_data.materialization
        assert event.partition == COMPLETED_RUN
        assert materialization.tags["dagster/code_version"]
        assert materialization.tags["dagster/data_version"]
        if name in TABLES:
            rows += materialization.metadata["dagster/partition_row_count"].value
            is_there = name.removeprefix("landscape__") in V1.tables
            assert materialization.metadata["in the contract of the run"].value is is_there
            said = materialization.metadata["statement"].value
            assert "SELECT" in said if is_there else said.startswith("Contract v1 has no such table")
    manifest = made["export__manifest"].step_materialization_data.materialization.metadata
    assert manifest["record_count"].value == rows == 202
    assert manifest["result"].value == "exported"
    assert (exported.exports / COMPLETED_RUN / "manifest.json").is_file()


def test_the_key_figures_are_numbers_of_the_manifest(operate: Operator) -> None:
    """As the command reads them from the page: Dagster plots numbers over the partitions. A digest stands with them."""
    result = operate.run("export_run", COMPLETED_RUN)
    made = {event.asset_key.path[-1]: event for event in result.get_asset_materialization_events()}
    report = operate.exports / COMPLETED_RUN / "report.html"
    figures = figures_of(report)
    assert set(figures) == {"rows", "failures", "error_rate", "calls", "duration_seconds"}
    for name in ("html", "manifest"):
        metadata = made[name].step_materialization_data.materialization.metadata
        assert metadata["report"].value == str(report)
        assert {figure: metadata[figure].value for figure in figures} == figures
        assert "The run completed" in metadata["digest"].value


def test_a_package_made_without_report_is_found_unchanged(
    operate: Operator, exporter: Exporter, database: AuditFile | Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an older version left it. The export says that it has none; superseding gives it one."""
    monkeypatch.setenv("LANDSCAPE_FORMATS", "jsonl,csv,parquet")
    assert operate.run("export_run", COMPLETED_RUN).success
    before = content(operate.exports)
    monkeypatch.delenv("LANDSCAPE_FORMATS")
    result = operate.run("export_run", COMPLETED_RUN)
    assert result.success
    made = {event.asset_key.path[-1]: event for event in result.get_asset_materialization_events()}
    said = made["html"].step_materialization_data.materialization.metadata["files"].value
    assert said == "None: the package was made without it."
    assert content(operate.exports) == before
    assert operate.export(COMPLETED_RUN, export__package={"config": {"supersede": True}}).success
    assert (operate.exports / COMPLETED_RUN / "report.html").is_file()


def test_the_same_content_has_the_same_data_version(operate: Operator) -> None:
    """Exported again, every asset has the data version that it had, so that nothing downstream counts as stale."""

    def versions(result: dg.ExecuteInProcessResult) -> dict[str, str]:
        return {
            event.asset_key.to_user_string(): event.step_materialization_data.materialization.tags[
                "dagster/data_version"
            ]
            for event in result.get_asset_materialization_events()
        }

    first = operate.run("export_run", FAILED_RUN)
    second = operate.run("export_run", FAILED_RUN)
    assert versions(first) == versions(second)
    assert len(versions(first)) == len(TABLES) + len(EXPORTS)


@pytest.mark.parametrize(
    ("partition", "change", "step", "says"),
    [
        ("nowhere", None, "landscape__tables", "There is no run 'nowhere'"),
        (COMPLETED_RUN, "UPDATE runs SET status = 'running'", "landscape__tables", "has not finished"),
        (COMPLETED_RUN, "UPDATE calls SET call_type = 'fax'", "landscape__tables", "Corrupt audit data: table calls"),
        (COMPLETED_RUN, "DELETE FROM edges", "export__package", "Corrupt audit data: table routing_events"),
    ],
)
def test_a_run_that_cannot_be_exported_fails_one_step_with_one_message(
    operate: Operator, database: AuditFile | Audit, partition: str, change: str | None, step: str, says: str
) -> None:
    """No retry, one failed step with the reason alone, nothing published and nothing staged."""
    if change:
        database.execute(change)
    failed, message = failure_of(operate.run("export_run", partition))
    assert failed == step
    assert message.startswith(says) or says in message
    assert "Traceback" not in message
    assert [path for path in content(operate.exports) if "manifest.json" in path] == []


def test_without_a_key_signing_fails_and_says_how_to_give_one(
    operate: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables are loaded; the step that needs the key fails with what to do."""
    monkeypatch.delenv("LANDSCAPE_SIGNING_KEY")
    failed, message = failure_of(operate.run("export_run", FAILED_RUN))
    assert failed == "export__package"
    assert "LANDSCAPE_SIGNING_KEY_FILE" in message
    assert "LANDSCAPE_SIGN=no" in message


def test_an_unusable_database_fails_the_first_step(operate: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the step that reads first says so."""
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", "sqlite:////nowhere/landscape.db")
    assert failure_of(operate.run("export_run", FAILED_RUN)) == (
        "landscape__tables",
        "There is no file /nowhere/landscape.db. Check the database URL.",
    )


def test_an_export_is_few_events(exported: Exported) -> None:
    """What the UI has to load, and the event log to keep, for one export."""
    assert len(exported.instance.all_logs(exported.result.run_id)) <= 120


def test_the_package_is_that_of_the_command(
    exported: Exported, exporter: Exporter, sample_database: AuditFile | Audit
) -> None:
    """By either door the same bytes, but for the time of the export and the hashes that it is in."""
    assert exported.result.success
    assert exporter.outcome(sample_database.url, COMPLETED_RUN)["status"] == "exported"
    packages = [content(folder / COMPLETED_RUN) for folder in (exported.exports, exporter.folder / "exports")]
    assert exported.exports != exporter.output
    assert set(packages[0]) == set(packages[1])
    changed = {name for name in packages[0] if packages[0][name] != packages[1][name]}
    assert changed == {"manifest.json", "records.jsonl", "VERIFY.md", "report.html"}


def test_every_asset_is_described() -> None:
    """Whoever meets an asset in the UI reads what it is, of which kind and whose, and where to read on; columns of
    table assets are described."""
    specs = {
        spec.key: spec
        for asset in build_defs().assets
        for spec in ([asset] if isinstance(asset, dg.AssetSpec) else asset.specs)
    }
    of_all_runs = {"audit_database", "log"}
    assert len(specs) == len(TABLES) + len(EXPORTS) + len(of_all_runs)
    for spec in specs.values():
        assert spec.description
        assert spec.kinds
        assert spec.owners
        assert spec.group_name in ("export", "audit_database", *map(group_of, ALL_TABLES.values()))
        assert spec.partitions_def is not None or spec.key.path[-1] in of_all_runs
        assert all((PROJECT / spec.metadata[name]).is_file() for name in ("documentation", "code"))


def test_definitions_are_valid_without_database_and_key(tmp_path: Path) -> None:
    """`dagster definitions validate` passes in an empty environment, as `dg dev` starts in one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LANDSCAPE_", "DAGSTER_"))}
    done = subprocess.run(
        [f"{sys.prefix}/bin/dagster", "definitions", "validate", "-w", str(PROJECT / "workspace.yaml")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr
