"""The schedules: what they ask for, in which order, and what they never ask for."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from support.databases import changing
from support.exporter import KEY
from support.operator import Operator, instance_folder
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

from landscape_assets.dagster_defs.build import build_defs
from landscape_assets.dagster_defs.checks import due_packages
from landscape_assets.errors import ExportError
from landscape_assets.settings import Settings
from landscape_assets.storage.names import folder_name


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance on SQLite: a schedule's tick takes none that could not be opened again."""
    with instance_folder() as home, dg.instance_for_test(temp_dir=home) as instance:
        yield instance


def add_finished(path: Path, *run_ids: str) -> None:
    """Adds finished runs, younger than those of the sample, in this order."""
    with changing(path) as connection:
        for number, run_id in enumerate(run_ids):
            connection.execute(
                "INSERT INTO runs (run_id, started_at, completed_at, config_hash, settings_json, canonical_version, "
                "status)"
                " VALUES (?, ?, '2026-12-31 00:00:00.000000', 'h', '{}', 'v', 'completed')",
                (run_id, f"2026-12-01 00:00:{number:02}.000000"),
            )


def publish(exports: Path, run_id: str) -> None:
    """What counts as a complete package: a folder with a manifest."""
    folder = exports / folder_name(run_id)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")


def test_the_nightly_schedule_asks_for_runs_without_a_package_the_oldest_first(
    operate: Operator, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every finished run without a complete package is asked for, oldest first, at most so many; partitions are
    registered."""
    add_finished(sample, "b", "a", "c")
    assert operate.tick("nightly_exports") == ([COMPLETED_RUN, FAILED_RUN, "b", "a", "c"], None)
    assert set(operate.partitions()) == {COMPLETED_RUN, FAILED_RUN, "a", "b", "c"}
    monkeypatch.setenv("LANDSCAPE_EXPORTS_PER_TICK", "3")
    assert operate.tick("nightly_exports")[0] == [COMPLETED_RUN, FAILED_RUN, "b"]


def test_what_counts_is_the_package_on_disk(operate: Operator, exports: Path) -> None:
    """A run is done when its package has a manifest, whatever Dagster's records say; they may be lost."""
    publish(exports, COMPLETED_RUN)
    (exports / FAILED_RUN).mkdir()  # a folder without a manifest is no package
    assert operate.tick("nightly_exports")[0] == [FAILED_RUN]
    publish(exports.parent / "other", FAILED_RUN)
    (exports / FAILED_RUN / "manifest.json").write_text("{}")
    asked, why = operate.tick("nightly_exports")
    assert asked == [] and "Each of the 2 finished runs has a complete package" in (why or "")


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_a_run_in_flight_is_not_asked_for_again(operate: Operator, status: str) -> None:
    """As long as a Dagster run of the partition is queued or at work, the export is left to it."""
    operate.start(COMPLETED_RUN, dg.DagsterRunStatus[status])
    assert operate.tick("nightly_exports")[0] == [FAILED_RUN]


def test_a_failed_export_is_asked_for_again_after_those_that_have_not_failed(
    operate: Operator, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes again the next night, and many that fail every night do not keep the others out."""
    add_finished(sample, "b")
    operate.start(COMPLETED_RUN, dg.DagsterRunStatus.FAILURE)
    assert operate.tick("nightly_exports")[0] == [FAILED_RUN, "b", COMPLETED_RUN]
    monkeypatch.setenv("LANDSCAPE_EXPORTS_PER_TICK", "1")
    operate.start(FAILED_RUN, dg.DagsterRunStatus.FAILURE)
    assert operate.tick("nightly_exports")[0] == ["b"]
    operate.start("b", dg.DagsterRunStatus.FAILURE)
    assert operate.tick("nightly_exports")[0] == [COMPLETED_RUN]


def test_a_run_id_that_dagster_cannot_hold_does_not_stop_the_others(operate: Operator, sample: Path) -> None:
    add_finished(sample, "a...b", "b")
    assert operate.tick("nightly_exports")[0] == [COMPLETED_RUN, FAILED_RUN, "b"]


def test_a_database_that_cannot_be_read_turns_the_night_red(operate: Operator, sample: Path) -> None:
    """The tick fails with the reason; it does not look like a night without work."""
    sample.unlink()
    with pytest.raises(dg.DagsterError) as failure:
        operate.tick("nightly_exports")
    assert "There is no file" in str(failure.value.__cause__)


def test_cron_and_time_zone_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_SCHEDULE_CRON", "30 3 * * 1-5")
    monkeypatch.setenv("LANDSCAPE_SCHEDULE_TIMEZONE", "Europe/Berlin")
    schedule = build_defs().resolve_schedule_def("nightly_exports")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 3 * * 1-5", "Europe/Berlin")
    for name, wrong in (("LANDSCAPE_SCHEDULE_CRON", "at night"), ("LANDSCAPE_SCHEDULE_TIMEZONE", "Mars/Olympus")):
        with monkeypatch.context() as changed:
            changed.setenv(name, wrong)
            with pytest.raises(ExportError, match=f"{name}.*{wrong}"):
                build_defs()


def test_schedules_are_nightly_in_utc_and_off_at_first(operate: Operator) -> None:
    schedules = {
        name: operate.defs.resolve_schedule_def(name) for name in ("nightly_exports", "reverification", "housekeeping")
    }
    assert {schedule.default_status for schedule in schedules.values()} == {dg.DefaultScheduleStatus.STOPPED}
    assert {schedule.execution_timezone for schedule in schedules.values()} == {"UTC"}
    assert schedules["nightly_exports"].cron_schedule == "0 2 * * *"


def test_the_longest_unchecked_package_is_checked_first(
    operate: Operator, exports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages that were never checked come first, then the one whose check is the longest ago; one Dagster run checks
    at most so many, and there is never a second one at work."""
    names = ["p", "q", "x" * 300]  # the last one's folder has a name from which the run_id cannot be read
    for run_id in names:
        publish(exports, run_id)
    (exports / folder_name(names[2]) / "manifest.json").write_text(f'{{"run_id": "{names[2]}"}}')
    monkeypatch.setenv("LANDSCAPE_CHECKS_PER_TICK", "2")
    operate.run("verify_package", "p")
    assert set(due_packages(operate.instance, Settings.from_environment())[:2]) == set(names[1:])
    (request,) = operate.requests("reverification")
    assert request.partition_key is None
    operate.run("verify_package", **request.run_config["ops"])
    assert due_packages(operate.instance, Settings.from_environment())[0] == "p"
    assert set(operate.partitions()) >= set(names[1:])
    operate.start(None, dg.DagsterRunStatus.STARTED, "verify_package")
    assert operate.tick("reverification") == ([], "The job verify_package is queued or at work.")


def test_without_a_package_there_is_nothing_to_check(operate: Operator) -> None:
    assert operate.tick("reverification") == ([], "There is no published package to check.")


def test_nothing_is_exported_twice_when_dagsters_storage_is_lost(operate: Operator, exports: Path) -> None:
    """A new instance knows no partition and no materialization; it asks for what has no package, and for nothing
    else."""
    with dg.DagsterInstance.ephemeral() as lost:
        assert Operator(lost, exports).export(COMPLETED_RUN).success
    manifest = (exports / COMPLETED_RUN / "manifest.json").read_bytes()
    assert operate.tick("nightly_exports")[0] == [FAILED_RUN]
    assert len(operate.requests("reverification")) == 1
    assert operate.export(COMPLETED_RUN).success
    assert (exports / COMPLETED_RUN / "manifest.json").read_bytes() == manifest
    assert KEY.encode() not in manifest
