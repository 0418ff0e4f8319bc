"""Runs of the generations after v1, exported through Dagster.

Belongs here: that the assets give what the command gives, and say what the generation has. Does not belong here: the
records (`../generations/`).
"""

import json
from pathlib import Path

import pytest
from support.databases import changing
from support.exporter import KEY, Exporter, content
from support.generations import EPOCHS, GENERATIONS, SHARED, SUBJECT, damaged, database
from support.operator import Operator, checks, messages

from landscape_assets.contract import ALL_TABLES, CONTRACTS

OWN_EXPORT = SHARED / "v071" / "own_export.db"
BY_NAME = {contract.name: contract for contract in CONTRACTS}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_package_is_that_of_the_command(
    generation: str, operate: Operator, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both write the same bytes but for the time; every table of every generation has its event, and says whether the
    run's generation has it; the checks of the package pass."""
    url, run_id = f"sqlite:///{database(generation)}", SUBJECT[generation]
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", url)
    result = operate.export(run_id)
    assert result.success
    assert all(check.passed for check in checks(result).values())
    made = {event.asset_key.path[-1]: event for event in result.get_asset_materialization_events()}
    for name in ALL_TABLES:
        metadata = made[name].step_materialization_data.materialization.metadata
        assert metadata["in the contract of the run"].value is (name in BY_NAME[generation].tables)
        assert metadata["epoch"].value == EPOCHS[generation]
    outcome = exporter.outcome(url, run_id)
    ours, theirs = content(operate.exports / run_id), content(Path(outcome["package"]))
    assert ours.keys() == theirs.keys()
    same = {path for path in ours if ours[path] == theirs[path]}
    assert {path for path in ours if path.startswith("csv/")} <= same
    assert ("records.jsonl" in same) is (generation == "v071")  # an older manifest record says when it was made


def test_raw_error_rows_are_of_the_tables_that_were_loaded(operate: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that changed between the tables and the package is noticed: the manifest says what is so."""
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", f"sqlite:///{database('v071')}")
    run_id = SUBJECT["v071"]
    assert operate.export(run_id).success
    monkeypatch.setenv("LANDSCAPE_RAW_ERROR_ROWS", "yes")
    job = operate.defs.resolve_job_def("export_run")
    again = job.execute_in_process(
        instance=operate.instance, partition_key=run_id, op_selection=["export__package"], raise_on_error=False
    )
    (message,) = messages(again)
    assert "LANDSCAPE_RAW_ERROR_ROWS says otherwise now" in message


def test_an_interrupted_run_is_exported_when_the_run_config_says_so(
    operate: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused else, saying where to ask for it; the sensor does not register it."""
    path = damaged("v070", tmp_path, "UPDATE runs SET status = 'interrupted' WHERE run_id = '{run}'")
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", f"sqlite:///{path}")
    operate.discover()
    assert SUBJECT["v070"] not in operate.partitions()
    (message,) = messages(operate.export(SUBJECT["v070"]))
    assert "was interrupted and may be resumed" in message
    assert operate.export(SUBJECT["v070"], landscape__tables={"config": {"interrupted": True}}).success
    manifest = json.loads((operate.exports / SUBJECT["v070"] / "manifest.json").read_text("utf-8"))
    assert manifest["status"] == "interrupted"


def test_statuses_of_the_generation_are_finished(
    operate: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that completed with failures, or was empty, is found by the sensor like one that completed."""
    path = damaged("v060", tmp_path)
    with changing(path) as connection:
        (other,) = connection.execute("SELECT run_id FROM runs WHERE run_id <> ?", (SUBJECT["v060"],)).fetchone()
        for status, run_id in (("completed_with_failures", SUBJECT["v060"]), ("empty", other)):
            connection.execute("UPDATE runs SET status = ? WHERE run_id = ?", (status, run_id))
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", f"sqlite:///{path}")
    operate.discover()
    assert set(operate.partitions()) == {SUBJECT["v060"], other}


@pytest.mark.skipif(not OWN_EXPORT.is_file(), reason=f"no conformance data at {SHARED}")
def test_the_comparison_with_elspeth_s_own_export_is_shown(operate: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the manifest's materialization, as in manifest.json."""
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", f"sqlite:///{OWN_EXPORT}")
    result = operate.export("54fbb85acb24474fb334c8debdc8bb62")
    assert result.success, messages(result)
    made = {event.asset_key.path[-1]: event for event in result.get_asset_materialization_events()}
    shown = made["manifest"].step_materialization_data.materialization.metadata["ELSPETH's own export"].value
    assert "| equal |" in shown
    assert KEY not in shown
