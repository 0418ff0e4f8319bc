"""One command for many runs: the packages of each alone; one that is refused falls out alone.

Belongs here: what is promised of one run, with several at a time. Does not belong here: single stages
(`../landscape/test_several_runs.py`).
"""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from support.databases import changing, insert_copy, rows_of_sample
from support.exporter import KEY, Exporter, content
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

import landscape_assets.pipeline

RUNS = [f"run-{number:02}" for number in range(8)]


@pytest.fixture
def many(sample: Path) -> Path:
    """The sample with eight more runs, and rows of all of them interleaved by their ids."""
    with changing(sample) as connection:
        for number, run_id in enumerate(RUNS):
            insert_copy(
                connection, rows_of_sample(FAILED_RUN if number % 3 else COMPLETED_RUN), run_id, f"{run_id}-",
                timedelta(minutes=number),
            )  # fmt: skip
    return sample


def same_but_for_the_time(one: dict, other: dict) -> bool:
    return set(one) == set(other) and {name for name in one if one[name] != other[name]} <= {
        "manifest.json", "records.jsonl", "report.html", "VERIFY.md"
    }  # fmt: skip


def test_packages_made_together_are_those_made_one_by_one(many: Path, exporter: Exporter) -> None:
    """All runs by one command, and some of them each by one of its own: the same bytes, but for the time."""
    outcomes = exporter.outcomes(many, "--all")
    assert {outcome["status"] for outcome in outcomes} == {"exported"}
    assert {outcome["run_id"] for outcome in outcomes} == {COMPLETED_RUN, FAILED_RUN, *RUNS}
    together = {run_id: content(exporter.output / run_id) for run_id in RUNS}
    exporter.output.rename(exporter.folder / "together")
    for run_id in RUNS[::5]:
        assert exporter.outcome(many, run_id)["status"] == "exported"
        assert same_but_for_the_time(together[run_id], content(exporter.output / run_id))
    assert {path.name for path in (exporter.folder / "together").iterdir()} == {COMPLETED_RUN, FAILED_RUN, *RUNS}


def test_a_set_is_cut_where_it_would_become_too_large(
    many: Path, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By runs and by rows: every run is exported once, whatever the sets."""
    for limit, value in (("RUNS_AT_ONCE", 3), ("ROWS_AT_ONCE", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(landscape_assets.pipeline, limit, value)
            result = exporter.export(many, "--all", "--format", "jsonl", "--supersede")
            assert result.exit_code == 0
            assert len(result.stdout.splitlines()) == len(RUNS) + 2


@pytest.mark.parametrize("bad", [RUNS[:1], RUNS[3:4], RUNS[-1:], RUNS[2:9:2], RUNS])
def test_a_run_that_is_refused_falls_out_alone(many: Path, exporter: Exporter, bad: list[str]) -> None:
    """At the beginning, in the middle, several, all: each with its own message, and the others are exported once."""
    with changing(many) as connection:
        for run_id in bad:
            connection.execute(f"UPDATE calls SET call_type = 'fax' WHERE call_id LIKE '{run_id}-%'")
    outcomes = exporter.outcomes(many, "--all", "--format", "jsonl")
    assert [outcome["run_id"] for outcome in outcomes if outcome["status"] == "failed"] == sorted(
        bad, key=[outcome["run_id"] for outcome in outcomes].index
    )
    for outcome in outcomes:
        if outcome["run_id"] in bad:
            assert f"table calls, call_id '{outcome['run_id']}-" in outcome["error"]
        else:
            assert outcome["status"] == "exported"
    assert not (exporter.output / ".staging").exists()


def test_orphans_and_differing_packages_fall_out_alone_too(many: Path, exporter: Exporter) -> None:
    """What is found when records are ordered, and when packages are published."""
    assert exporter.outcome(many, RUNS[4], "--format", "jsonl")["status"] == "exported"
    with changing(many) as connection:
        connection.execute("DELETE FROM edges WHERE run_id = ?", (RUNS[1],))
        connection.execute("UPDATE runs SET canonical_version = 'other' WHERE run_id = ?", (RUNS[4],))
        connection.execute("UPDATE runs SET status = 'running', completed_at = NULL WHERE run_id = ?", (RUNS[7],))
    outcomes = exporter.outcomes(many, *(f"--run-id={run_id}" for run_id in RUNS), "--format", "jsonl")
    failed = {outcome["run_id"]: outcome["error"] for outcome in outcomes if outcome["status"] == "failed"}
    assert set(failed) == {RUNS[1], RUNS[4], RUNS[7]}
    assert "the id of no row of edges" in failed[RUNS[1]]
    assert "this export differs" in failed[RUNS[4]]
    assert "has not finished" in failed[RUNS[7]]
    assert len(outcomes) == len(RUNS)


def test_an_export_imports_no_dagster(sample: Path, exporter: Exporter) -> None:
    """The command runs the stages by itself."""
    code = (
        "import sys; from landscape_assets.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('dagster' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "export",
            "--database",
            f"sqlite:///{sample}",
            "--output",
            exporter.output,
            "--all",
        ],
        env=os.environ | {"LANDSCAPE_SIGNING_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "False\n")
