"""The export log in Dagster: appended by the step that publishes, an asset of its own, and a check of it.

Belongs here: what the UI is told. Does not belong here: the log itself (`test_log.py`).
"""

import shutil
from pathlib import Path

import dagster as dg
import pytest
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.dagster_defs.backlog import EXPORT_BACKLOG
from landscape_assets.dagster_defs.build import build_defs
from landscape_assets.dagster_defs.export_log import LOG
from landscape_assets.dagster_defs.jobs import EXPORT_RUN, VERIFY_LOG
from landscape_assets.dagster_defs.package_metadata import MANIFEST
from landscape_assets.dagster_defs.partitions import RUNS
from landscape_assets.dagster_defs.resources import workspace
from landscape_assets.verify import Status
from landscape_assets.verify.log import verify_log

from .conftest import KEY, Signer, packages


@pytest.fixture
def settings(sample: Path, tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of the code location; gives the export folder."""
    exports = tmp_path / "exports"
    given = {
        "LANDSCAPE_DATABASE_URL": f"sqlite:///{sample}",
        "LANDSCAPE_EXPORT_DIR": str(exports),
        "LANDSCAPE_SIGNING_KEY": KEY,
        "LANDSCAPE_STORAGE_DIR": str(tmp_path / "storage"),
        **signer.settings,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return exports


def run(job: dg.JobDefinition, instance: dg.DagsterInstance, **more: object) -> dg.ExecuteInProcessResult:
    resolved = build_defs(automation=False).resolve_job_def(job.name)
    return resolved.execute_in_process(instance=instance, **more)


def latest(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.AssetMaterialization:
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def checked(instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    """What the check found; a Dagster run that found something wrong has failed."""
    result = run(VERIFY_LOG, instance, raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    assert result.success == evaluation.passed
    return evaluation


def test_the_log_follows_publications(settings: Path, signer: Signer):
    """A run's export appends, and tells its place; the backlog appends the rest; the check is green, then red with
    names."""
    with dg.instance_for_test() as instance:
        assert checked(instance).description == "Nothing was exported yet."
        instance.add_dynamic_partitions(RUNS.name, [COMPLETED_RUN])
        run(EXPORT_RUN, instance, partition_key=COMPLETED_RUN)
        assert latest(instance, MANIFEST).metadata["log index"].value == 0
        first = latest(instance, LOG).metadata
        assert first["size"].value == 1
        assert first["checkpoint"].value == (settings / ".log" / "checkpoint").read_text()
        assert checked(instance).passed

        run(EXPORT_BACKLOG, instance)
        assert latest(instance, LOG).metadata["size"].value == len(packages(settings)) == 2
        kept = str(latest(instance, LOG).metadata["checkpoint"].value).encode()
        assert verify_log(settings, public_key=signer.public_key, checkpoint=kept).status is Status.VERIFIED
        evaluation = checked(instance)
        assert evaluation.passed
        assert evaluation.description == "2 entries and 2 packages agree."

        shutil.rmtree(settings / COMPLETED_RUN)
        evaluation = checked(instance)
        assert not evaluation.passed
        assert COMPLETED_RUN in str(evaluation.description)
        assert COMPLETED_RUN in str(evaluation.metadata["findings"].value)


def test_a_log_that_was_cut_is_noticed(settings: Path):
    """Dagster kept the checkpoint of the last materialization: the shorter one, validly signed, is not its sequel."""
    with dg.instance_for_test() as instance:
        run(EXPORT_BACKLOG, instance)
        shutil.rmtree(settings / ".log")
        evaluation = checked(instance)
        assert not evaluation.passed
        instance.add_dynamic_partitions(RUNS.name, [COMPLETED_RUN])
        shutil.rmtree(next(path for run_id, path in packages(settings).items() if run_id != COMPLETED_RUN))
        kept = latest(instance, LOG).metadata["checkpoint"].value
        asset = dg.materialize(
            [build_defs(automation=False).get_assets_def(LOG)], instance=instance, resources={"workspace": workspace()}
        )
        assert asset.success
        assert latest(instance, LOG).metadata["size"].value == 1
        assert kept != latest(instance, LOG).metadata["checkpoint"].value


def test_without_a_key_there_is_no_log(settings: Path, monkeypatch: pytest.MonkeyPatch):
    """Exports are as before, and the check says so."""
    monkeypatch.delenv("LANDSCAPE_SIGNING_PRIVATE_KEY_FILE")
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(RUNS.name, [COMPLETED_RUN])
        run(EXPORT_RUN, instance, partition_key=COMPLETED_RUN)
        assert "log index" not in latest(instance, MANIFEST).metadata
        assert instance.get_latest_materialization_event(LOG) is None
        evaluation = checked(instance)
        assert evaluation.passed
        assert "There is no log" in str(evaluation.description)
        asset = dg.materialize(
            [build_defs(automation=False).get_assets_def(LOG)], instance=instance, resources={"workspace": workspace()}
        )
        assert asset.success
        assert "There is no log" in str(latest(instance, LOG).metadata["log"].value)
    assert not (settings / ".log").exists()
