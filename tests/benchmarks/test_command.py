"""The command `python -m benchmarks`: its options, the order of measurements, and small runs of it from end to end.

Belongs here: what is measured when, with real exports of a few rows. Does not belong here: what figures follow from
results (`test_figures.py`).
"""

import json
import os
from pathlib import Path

import pytest

from benchmarks import backfill, cli, many_runs, one_run
from benchmarks.backfill import BACKFILL
from benchmarks.commands import Commands
from benchmarks.generate import generate
from benchmarks.many_runs import ALONE, AMONG, AS_ONE_RUN, JOB, LARGER_RUNS, NO_RUN, SMALL_BY_JOB, SMALL_RUNS
from benchmarks.one_run import BATCHED, DAGSTER, EXPORT_ALL, EXPORT_JSONL, FLOOR, IMPORTS, NAIVE, SMALL
from benchmarks.results import Case, Taken
from benchmarks.rounds import describe, take_all


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    with Commands(tmp_path_factory.mktemp("data")) as commands:
        yield commands


def cases(part, commands, *arguments):
    return [case for case, _ in part.tasks(commands, cli.parse(list(arguments)))]


def test_the_cases_of_one_run(commands):
    chosen = ("--sizes", "10,20", "--naive-rows", "10", "--batched-up-to", "10")
    assert cases(one_run, commands, *chosen) == [
        Case(NAIVE, 10),
        Case(BATCHED, 10),
        *(Case(contender, 10) for contender in (EXPORT_JSONL, EXPORT_ALL, DAGSTER, FLOOR)),
        *(Case(contender, 20) for contender in (EXPORT_JSONL, EXPORT_ALL, DAGSTER, FLOOR)),
        Case(IMPORTS),
        Case(SMALL, 10),
    ]
    assert cases(one_run, commands, *chosen, "--only", f"{FLOOR},{NAIVE}") == [
        Case(NAIVE, 10),
        Case(FLOOR, 10),
        Case(FLOOR, 20),
    ]


def test_the_cases_of_many_runs(commands):
    small = ("--many", "--small-runs", "4", "--run-counts", "2,4,8", "--larger-runs", "6", "--larger-rows", "20")
    wanted = [
        Case(NO_RUN, 10, 0, 0),
        *(Case(SMALL_RUNS, 10, runs, runs) for runs in (2, 4, 8)),
        Case(LARGER_RUNS, 20, 6, 6),
        Case(AS_ONE_RUN, 120),
        Case(ALONE, 20, first=3),
        Case(AMONG, 20, among=6, first=3),
    ]
    only = f"{NO_RUN},{SMALL_RUNS},{LARGER_RUNS},{AS_ONE_RUN},{ALONE},{AMONG}"
    assert cases(many_runs, commands, *small, "--only", only) == wanted
    thousand = Case(AMONG, 20, among=1_000, first=3)
    assert cases(many_runs, commands, *small, "--only", only, "--thousand") == [*wanted, thousand]
    assert cases(backfill, commands, "--ui", "--backfill-runs", "3") == [Case(BACKFILL, 10, 3, 3)]


def test_the_targets_are_for_what_is_measured_by_default():
    chosen = cli.parse(["--many", "--ui", "--full"])
    assert (chosen.small_runs, chosen.small_rows, chosen.larger_runs, chosen.larger_rows) == (200, 10, 100, 1_000)
    assert (min(chosen.run_counts), max(chosen.run_counts)) == (50, 800)
    assert chosen.backfill_runs == 40
    assert chosen.repeats == 3
    for sizes in (cli.DEFAULT_SIZES, cli.FULL_SIZES):
        assert max(sizes) // 4 in sizes, "memory is compared at four times the rows"


def test_every_other_round_runs_backwards(commands, capsys):
    taken = []

    def task(name):
        return Case(name), lambda: taken.append(name) or Taken(1, 0.5, 10.0)

    results = take_all(commands, [task("first"), task("second")], 3)
    assert taken == ["first", "second", "second", "first", "first", "second"]
    assert [len(results.taken(case)) for case in results.cases] == [3, 3]
    assert "round 3: second: 0.50 s, 10 MB" in capsys.readouterr().err
    assert describe(Case("among", 20, among=6)) == "among, 1 of 6 runs, 20 rows"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "elspeth"], "not a contender of --one: elspeth"),
        (["--many", "--only", FLOOR], "not a contender of --many: floor"),
        (["--sizes", "0"], "0 is not a whole number of 1 or more"),
        (["--repeats", "-1"], "-1 is not a whole number of 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.parse(arguments)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


def test_an_export_that_fails_stops_the_benchmark(tmp_path):
    """It is not measured as a quick one."""
    with Commands(tmp_path) as commands:
        generate(tmp_path / "1-runs-of-2-rows.db", 2, "another")
        with pytest.raises(RuntimeError, match="run-0"):
            commands.export(Case(EXPORT_JSONL, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["1-runs-of-2-rows.db"]


def test_runs_that_are_not_there_are_missed(tmp_path):
    with Commands(tmp_path) as commands:
        generate(tmp_path / "2-runs-of-2-rows.db", 2, "run-0")
        with pytest.raises(RuntimeError, match="not all of 2 runs"):
            commands.export(Case(SMALL_RUNS, 2, 2, 2))


def test_settings_of_the_person_who_measures_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setenv("LANDSCAPE_FORMATS", "csv")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    with Commands(tmp_path) as commands:
        program = "import os; print(sorted(n for n in os.environ if n.startswith(('LANDSCAPE', 'DAGSTER', 'PYTHOND'))))"
        assert commands.python("-c", program).output == "['LANDSCAPE_SIGNING_KEY']\n"


def test_one_run_from_end_to_end(tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    contenders = (NAIVE, BATCHED, EXPORT_JSONL, DAGSTER, FLOOR)
    options = ["--sizes", "20", "--naive-rows", "20", "--repeats", "1", "--only", ",".join(contenders)]
    cli.main([*options, "--data", str(data), "--out", str(out)])
    text = (out / "results.json").read_text()
    part = json.loads(text)["parts"]["one"]
    costs = {cost["contender"]: cost for cost in part["costs"]}
    assert set(costs) == set(contenders)
    assert {cost["records"] for cost in costs.values()} == {23.1 * 20 + 14}
    assert costs[BATCHED]["statements"] == 17 < costs[NAIVE]["statements"]
    details = costs[DAGSTER]["details"]
    assert 0 < details["checks"] < details["start to end event"] < details["whole process"]
    assert costs[DAGSTER]["seconds"] == pytest.approx(details["whole process"] - details["checks"])
    assert all(cost["peak_mb"] > 20 and cost["processor_seconds"] > 0 for cost in costs.values())
    assert {figure["verdict"] for figure in part["figures"]} <= {"ok", "missed", ""}
    assert "through Dagster − export jsonl" in capsys.readouterr().out
    assert sorted(path.name for path in data.iterdir()) == ["1-runs-of-10-rows.db", "1-runs-of-20-rows.db"]
    assert str(Path.home()) not in text


def test_many_runs_from_end_to_end(tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    sizes = "--small-rows 1 --small-runs 2 --run-counts 2 --larger-rows 2 --larger-runs 3"
    only = f"{NO_RUN},{SMALL_RUNS},{SMALL_BY_JOB},{ALONE},{AMONG}"
    cli.main(["--many", *sizes.split(), "--only", only, "--repeats", "1", "--data", str(data), "--out", str(out)])
    part = json.loads((out / "results.json").read_text())["parts"]["many"]
    records = {(cost["contender"], cost["runs"]): cost["records"] for cost in part["costs"]}
    job = records.pop((SMALL_BY_JOB, 2), None)
    assert records == {
        (NO_RUN, 0): 0,
        (SMALL_RUNS, 2): 116,
        (ALONE, 1): 80,
        (AMONG, 1): 80,
    }
    names = {figure["name"] for figure in part["figures"]}
    assert "one run among 3 ÷ alone in its database, time" in names
    # A code location without the job is measured all the same, and the report says so.
    measured = "2 small runs by job ÷ by one command, time" in names
    assert (job, measured, part["notes"]) in (
        (116, True, []),
        (None, False, [f"The code location has no job {JOB}, so that «{SMALL_BY_JOB}» was not measured."]),
    )
    assert all(note in capsys.readouterr().out for note in part["notes"])


@pytest.mark.skipif("BACKFILL_RUNS" not in os.environ, reason="a trial: set BACKFILL_RUNS to how many runs")
@pytest.mark.timeout(1200)
def test_a_backfill_from_end_to_end(tmp_path):
    runs, out = os.environ["BACKFILL_RUNS"], tmp_path / "out"
    sizes = ["--small-rows", "1", "--backfill-runs", runs]
    cli.main(["--ui", *sizes, "--repeats", "1", "--data", str(tmp_path / "data"), "--out", str(out)])
    (cost,) = json.loads((out / "results.json").read_text())["parts"]["ui"]["costs"]
    assert cost["records"] == 58 * int(runs)
    assert 0 < cost["details"]["seconds of a Dagster run"] < cost["seconds"]
    assert cost["details"]["events"] > 50
