"""Housekeeping: what it removes, what it leaves, and that an export copes afterwards."""

import os
import time
from pathlib import Path

import dagster as dg
import pytest
from support.operator import Operator, messages
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

from landscape_assets.contract import V1
from landscape_assets.dagster_defs.exports import package

DAY = 24 * 60 * 60


def stored(operator: Operator) -> set[str]:
    """The runs of which something is stored between the assets."""
    storage = Path(operator.instance.storage_directory()) / "landscape_assets"
    return {path.stem for path in storage.glob("landscape/*/*.arrow")}


def age(operator: Operator, days: float) -> None:
    """Makes everything stored and published older."""
    then = time.time() - days * DAY
    storage = Path(operator.instance.storage_directory()) / "landscape_assets"
    for path in [*storage.rglob("*"), *operator.exports.rglob("*")]:
        os.utime(path, (then, then))


def removed(operator: Operator) -> dict[str, object]:
    """Runs the job; what it says it did."""
    result = operator.run("housekeeping")
    assert result.success
    (output,) = [event.step_output_data for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in output.metadata.items()}


def test_what_old_packages_hold_is_removed_and_comes_back(operate: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored tables of an old package are removed, the package is not; exporting again finds it unchanged."""
    assert operate.export(COMPLETED_RUN).success
    published = {path: path.read_bytes() for path in operate.exports.rglob("*") if path.is_file()}
    age(operate, 29)
    assert removed(operate)["runs"] == 0
    age(operate, 31)
    said = removed(operate)
    assert (said["runs"], said["files"]) == (1, len(V1.tables)) and said["bytes"] > 0
    assert stored(operate) == set()
    assert {path: path.read_bytes() for path in operate.exports.rglob("*") if path.is_file()} == published

    alone = operate.defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=operate.instance,
        partition_key=COMPLETED_RUN,
        asset_selection=list(package.keys),
        raise_on_error=False,
    )
    (message,) = messages(alone)
    assert "of run 'complaints-2026-11-03' is not stored" in message and "export_run" in message
    again = operate.export(COMPLETED_RUN)
    *_, made = again.asset_materializations_for_node("export__package")
    assert made.metadata["result"].value == "unchanged"


def test_what_is_needed_stays(operate: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without a package, runs in flight, and tables that were loaded again since are left alone."""
    assert operate.export(COMPLETED_RUN).success
    assert operate.export(FAILED_RUN).success
    age(operate, 365)
    (operate.exports / FAILED_RUN / "manifest.json").unlink()
    busy = operate.start(COMPLETED_RUN, dg.DagsterRunStatus.STARTED)
    assert removed(operate)["runs"] == 0
    operate.instance.report_run_canceled(operate.instance.get_run_by_id(busy))
    fresh = (
        Path(operate.instance.storage_directory())
        / "landscape_assets"
        / "landscape"
        / "tokens"
        / f"{COMPLETED_RUN}.arrow"
    )
    os.utime(fresh)
    assert removed(operate)["files"] == len(V1.tables) - 1
    assert stored(operate) == {COMPLETED_RUN, FAILED_RUN} and fresh.is_file()
