"""Databases of the generations after v1 are read by index, redacted, and looked through for damage of no run.

Belongs here: statements on ELSPETH's own schema of each generation.
"""

import sqlite3
from pathlib import Path

import pytest
from support.exporter import Exporter
from support.generations import EPOCHS, GENERATIONS, SUBJECT, damaged, database
from support.pipeline import make_records, texts, url

from landscape_assets.contract import CONTRACTS
from landscape_assets.database import AuditDatabase
from landscape_assets.database.integrity import find_damage
from landscape_assets.database.statements import RUN_IDS, select_runs


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_rows_of_a_run_are_found_by_index(generation: str) -> None:
    """ELSPETH's schema has an index for every table's way to its run: no table is scanned."""
    with AuditDatabase(url(database(generation))) as audit:
        contract = audit.contract
    connection = sqlite3.connect(f"file:{database(generation)}?mode=ro", uri=True)
    for table in contract.tables.values():
        statement = str(select_runs(contract, table)).replace(f"(__[POSTCOMPILE_{RUN_IDS}])", "('a', 'b')")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        scans = [step for step in plan if step.startswith("SCAN") and not step.startswith("SCAN (subquery")]
        assert not scans, (table.name, plan)
    connection.close()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_by_index_and_by_scan_are_the_same(generation: str, tmp_path: Path) -> None:
    """Both ways give the same records, positions among attempts included."""
    by_index, by_scan = (
        make_records(database(generation), SUBJECT[generation], tmp_path / str(scan), by_scan=scan)
        for scan in (False, True)
    )
    assert by_index == by_scan


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_contract_and_the_epoch_are_told(generation: str) -> None:
    """The contract by tables and columns, the epoch as it is noted."""
    with AuditDatabase(url(database(generation))) as audit:
        assert (audit.contract.name, audit.epoch) == (generation, EPOCHS[generation])
        assert audit.contract.epoch == audit.epoch
        assert list(find_damage(audit)) == []


@pytest.mark.parametrize("generation", GENERATIONS)
def test_an_attribution_of_no_run_is_found(generation: str, tmp_path: Path) -> None:
    """The table has no records of its own, and is looked at all the same."""
    path = damaged(generation, tmp_path, "UPDATE run_attributions SET run_id = 'lost' WHERE run_id = '{run}'")
    with AuditDatabase(url(path)) as audit:
        found = [(each.table, each.column, each.found) for each in find_damage(audit)]
    assert found == [("run_attributions", "run_id", "'lost'")]


@pytest.mark.parametrize(("generation", "redacts"), [("v060", False), ("v070", True), ("v071", True)])
def test_raw_error_rows_are_redacted_as_the_generation_does(
    generation: str, redacts: bool, exporter: Exporter, tmp_path: Path
) -> None:
    """Null unless they are asked for, and the manifest says which; a redacted row is not even read."""
    path = damaged(generation, tmp_path, "UPDATE transform_errors SET row_data_json = '\"secret\"' WHERE 1")
    secret = '"row_data_json":"\\"secret\\""'
    plain = texts(make_records(path, SUBJECT[generation], tmp_path / "records"))
    assert any(secret in text for text in plain) is not redacts
    for environment, is_raw in (({}, not redacts), ({"LANDSCAPE_RAW_ERROR_ROWS": "yes"}, True)):
        outcome = exporter.outcome(path, SUBJECT[generation], "--supersede", "--format", "jsonl", **environment)
        package = Path(outcome["package"])
        assert (secret in (package / "records.jsonl").read_text("utf-8")) is is_raw
        assert f'"raw_error_rows":{str(is_raw).lower()}' in (package / "manifest.json").read_text("utf-8")


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_an_interrupted_run_is_exported_only_when_asked_for(contract: object, tmp_path: Path) -> None:
    """Every contract has the status, and none takes it for finished."""
    assert "interrupted" in contract.resumable
    assert "interrupted" not in contract.finished
    assert {*contract.resumable, *contract.finished, "running"} == set(contract.tables["runs"].column("status").values)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_status_of_an_interrupted_run_is_in_the_manifest(
    generation: str, exporter: Exporter, tmp_path: Path
) -> None:
    """It is refused, saying how to ask for it; asked for, it is exported, and verifies."""
    path = damaged(generation, tmp_path, "UPDATE runs SET status = 'interrupted' WHERE run_id = '{run}'")
    refused = exporter.outcome(path, SUBJECT[generation], "--format", "jsonl")
    assert "--interrupted" in refused["error"]
    made = exporter.outcome(path, SUBJECT[generation], "--format", "jsonl", "--interrupted")
    assert '"status":"interrupted"' in (Path(made["package"]) / "manifest.json").read_text("utf-8")
    again = exporter.outcome(path, SUBJECT[generation], "--format", "jsonl", "--interrupted")
    assert (made["status"], again["status"]) == ("exported", "unchanged")
