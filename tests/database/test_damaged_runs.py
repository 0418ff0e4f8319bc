"""Damage in the table runs itself: only that run is refused, by name, and the others are listed and exported.

Belongs here: what is read of every run, whether it is exported or not. Does not belong here: other tables
(`../cli/test_corrupt_runs.py`).
"""

import json
from pathlib import Path

import pytest
from support.databases import changing, remove_constraints
from support.exporter import Exporter
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

VALUES = {
    "a blob": "x'00ff'",
    "a blob of text": "CAST('completed' AS BLOB)",
    "bytes that are not UTF-8": "CAST(x'61ff62' AS TEXT)",
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("column", ["run_id", "status", "started_at", "completed_at"])
def test_one_bad_run_row_stops_that_run_alone(sample: Path, exporter: Exporter, column: str, value: str) -> None:
    """In each column that is read of every run."""
    with changing(sample) as connection:
        connection.execute(f"UPDATE runs SET {column} = {VALUES[value]} WHERE run_id = ?", (FAILED_RUN,))
    outcomes = {outcome["run_id"]: outcome for outcome in exporter.outcomes(sample, "--all", "--format", "jsonl")}
    assert outcomes.pop(COMPLETED_RUN)["status"] == "exported"
    ((run_id, outcome),) = outcomes.items()
    assert outcome["status"] == "failed"
    assert f"table runs, run_id {run_id!r}, column {column}: found" in outcome["error"]
    listed = {
        run["run_id"]: run
        for run in json.loads(exporter.run("runs", "--database", f"sqlite:///{sample}", "--json").stdout)
    }
    assert listed[COMPLETED_RUN]["exportable"] and not listed[run_id]["exportable"]
    assert len(exporter.run("runs", "--database", f"sqlite:///{sample}").stdout.splitlines()) == len(listed) == 3


def test_a_run_id_that_only_looks_like_another_s(sample: Path, exporter: Exporter) -> None:
    """A blob with the bytes of another run's id: that run is exported, and the damaged one is refused under a name of
    its own."""
    with changing(sample) as connection:
        connection.execute("UPDATE runs SET run_id = CAST(? AS BLOB) WHERE run_id = ?", (COMPLETED_RUN, FAILED_RUN))
    outcomes = {outcome["run_id"]: outcome for outcome in exporter.outcomes(sample, "--all", "--format", "jsonl")}
    assert outcomes[COMPLETED_RUN]["status"] == "exported"
    assert "stored as blob" in outcomes[f"{COMPLETED_RUN} (damaged)"]["error"]
    assert len(outcomes) == 2


def test_a_run_that_is_there_twice_is_refused(sample: Path, exporter: Exporter) -> None:
    """Nothing tells which of its two rows is the run's."""
    remove_constraints(sample)
    with changing(sample) as connection:
        connection.execute("INSERT INTO runs SELECT * FROM runs WHERE run_id = ?", (FAILED_RUN,))
    outcomes = {outcome["run_id"]: outcome for outcome in exporter.outcomes(sample, "--all", "--format", "jsonl")}
    assert outcomes[COMPLETED_RUN]["status"] == "exported"
    assert "column run_id" in outcomes[FAILED_RUN]["error"] and "more than once" in outcomes[FAILED_RUN]["error"]


@pytest.mark.parametrize(
    ("table", "column", "value", "names"),
    [
        ("calls", "call_id", "x'00ff'", "call_id X'00FF'"),
        ("nodes", "config_hash", "x'ff'", "node_id '"),
        ("rows", "row_index", "CAST(x'61ff' AS TEXT)", "row_id '"),
        ("calls", "latency_ms", "CAST(x'ff' AS TEXT)", "call_id '"),
        ("runs", "config_hash", "x'ff'", "run_id '"),
    ],
)
def test_odd_values_are_refused_by_table_id_and_column(
    sample: Path, exporter: Exporter, table: str, column: str, value: str, names: str
) -> None:
    """A blob in an id column, and bytes that are not UTF-8 in a numeric column."""
    remove_constraints(sample)
    with changing(sample) as connection:
        connection.execute(f"UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT min(rowid) FROM {table})")
    outcomes = exporter.outcomes(sample, "--all", "--format", "jsonl")
    errors = [outcome["error"] for outcome in outcomes if outcome["status"] == "failed"]
    assert len(errors) == 1
    assert f"table {table}, {names}" in errors[0] and f"column {column}: found" in errors[0]
