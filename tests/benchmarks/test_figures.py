"""Arithmetic on results, and showing them: medians, ratios within rounds, growth, targets, tables, pictures.

Belongs here: whether figures follow from results. Does not belong here: what the figures ought to be, and taking
measurements.
"""

import io
import json

import pytest
from rich.console import Console

from benchmarks import backfill, many_runs, one_run, report
from benchmarks.many_runs import ALONE, AMONG, AS_ONE_RUN, LARGER_RUNS, NO_RUN, SMALL_BY_JOB, SMALL_RUNS
from benchmarks.one_run import DAGSTER, EXPORT_ALL, EXPORT_JSONL, FLOOR, IMPORTS, NAIVE, SMALL
from benchmarks.peer import SOURCE, peer_of
from benchmarks.results import Case, Figure, Result, Results, Taken, exponent
from benchmarks.summary import summarise


def in_two_rounds(taken: dict[Case, tuple[int, float, float]]) -> Results:
    """Records, seconds and peak MB by case, on a machine that is half as fast in the second round."""
    return Results(
        [
            Result(case, number, Taken(records, seconds * slow, peak_mb, seconds * slow, 15))
            for number, slow in ((0, 1), (1, 2))
            for case, (records, seconds, peak_mb) in taken.items()
        ]
    )


@pytest.fixture
def one() -> Results:
    return in_two_rounds(
        {
            Case(NAIVE, 100): (2_000, 1.0, 50),
            Case(EXPORT_JSONL, 100): (2_000, 0.2, 200),
            Case(FLOOR, 100): (2_000, 0.1, 100),
            Case(EXPORT_JSONL, 400): (8_000, 0.8, 280),
            Case(EXPORT_ALL, 400): (8_000, 1.2, 220),
            Case(DAGSTER, 400): (8_000, 2.8, 300),
            Case(FLOOR, 400): (8_000, 0.4, 100),
            Case(IMPORTS): (0, 1.0, 90),
            Case(SMALL, 10): (256, 2.0, 150),
        }
    )


@pytest.fixture
def many() -> Results:
    seconds = {runs: 2 + 0.01 * runs for runs in (50, 100, 200)}
    return in_two_rounds(
        {
            Case(NO_RUN, 10, 0, 0): (0, 2.0, 200),
            **{Case(SMALL_RUNS, 10, runs, runs): (256 * runs, took, 300) for runs, took in seconds.items()},
            Case(SMALL_BY_JOB, 10, 200, 200): (51_200, 8.4, 300),
            Case(LARGER_RUNS, 1_000, 100, 100): (2_311_400, 30.0, 480),
            Case(AS_ONE_RUN, 100_000): (2_310_014, 10.0, 400),
            Case(ALONE, 1_000, first=50): (23_114, 2.0, 300),
            Case(AMONG, 1_000, among=100, first=50): (23_114, 3.0, 300),
        }
    )


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    assert len({figure.name for figure in figures}) == len(figures)
    return {figure.name: figure for figure in figures}


def test_the_exponent_of_growth() -> None:
    assert exponent([(x, 3 * x**1.5) for x in (10, 200, 3_000)]) == pytest.approx(1.5)
    assert exponent([(10, 7), (1_000, 7)]) == pytest.approx(0)


def test_a_figure_meets_its_target_or_misses_it() -> None:
    assert Figure("x", 5.0, "s", 5.0).verdict == "ok"
    assert Figure("x", 5.01, "s", 5.0).verdict == "missed"
    assert Figure("x", 5.0, "s").verdict == ""


def test_the_costs_of_one_run(one: Results) -> None:
    """Ratios are taken within a round: the machine's speed does not matter."""
    costs = {(cost["contender"], cost["rows"]): cost for cost in summarise(one, [])["costs"]}
    assert costs[EXPORT_JSONL, 400]["time_to_floor"] == pytest.approx(2)
    assert costs[EXPORT_JSONL, 400]["speed_to_naive"] == pytest.approx(5)
    assert costs[NAIVE, 100]["speed_to_naive"] == 1
    assert costs[EXPORT_JSONL, 100]["seconds"] == pytest.approx(0.3)
    assert costs[EXPORT_JSONL, 100]["statements"] == 15
    assert costs[IMPORTS, None]["records_per_second"] is None
    assert costs[SMALL, 10]["time_to_floor"] is None


def test_the_figures_of_one_run(one: Results) -> None:
    figures = by_name(one_run.figures(one))
    floor = figures["export jsonl ÷ floor, time, at 400 rows"]
    assert (floor.value, floor.verdict) == (pytest.approx(2), "missed")
    every = figures["export all formats ÷ export jsonl, time, at 400 rows"]
    assert (every.value, every.verdict) == (pytest.approx(1.5), "missed")
    dagster = figures["through Dagster − export jsonl, time, at 400 rows, without checks"]
    assert (dagster.value, dagster.verdict) == (pytest.approx(3), "ok")
    memory = figures["export jsonl, peak memory, 400 ÷ 100 rows"]
    assert (memory.value, memory.verdict) == (pytest.approx(1.4), "missed")
    assert figures["export jsonl, exponent of time against records"].value == pytest.approx(1)
    assert figures["floor, exponent of peak memory against records"].value == pytest.approx(0)
    assert figures["export of 10 rows − imports, time"].value == pytest.approx(1.5)
    assert "naive reference, exponent of time against records" not in figures, "one size is no growth"


def test_the_figures_of_many_runs(many: Results) -> None:
    figures = by_name(many_runs.figures(many))
    assert figures["200 small runs by one command"].limit == 5
    assert figures["200 small runs by one command"].value == pytest.approx(6)
    assert figures["100 small runs by one command"].limit is None
    job = figures["200 small runs by job ÷ by one command, time"]
    assert (job.value, job.verdict) == (pytest.approx(2.1), "missed")
    time = figures["100 larger runs ÷ as one run with as many rows, time"]
    assert (time.value, time.verdict) == (pytest.approx(3), "missed")
    memory = figures["100 larger runs ÷ as one run with as many rows, peak memory"]
    assert (memory.value, memory.verdict) == (pytest.approx(1.2), "missed")
    among = figures["one run among 100 ÷ alone in its database, time"]
    assert (among.value, among.verdict) == (pytest.approx(1.5), "missed")
    whole = figures["small runs, exponent of time against runs"]
    beyond = figures["small runs, exponent of time against runs, beyond no run"]
    assert 0 < whole.value < 1 == pytest.approx(beyond.value)
    assert (whole.verdict, beyond.verdict) == ("ok", "ok")
    processor = figures["small runs, exponent of processor time against runs, beyond no run"]
    assert (processor.value, processor.verdict) == (pytest.approx(1), "")


def test_runs_that_cost_more_with_each_other_miss_the_target() -> None:
    quadratic = {Case(SMALL_RUNS, 10, runs, runs): (runs, 2 + 0.01 * runs**2, 300) for runs in (50, 100, 200)}
    figures = by_name(many_runs.figures(in_two_rounds({Case(NO_RUN, 10, 0, 0): (0, 2.0, 200), **quadratic})))
    beyond = figures["small runs, exponent of time against runs, beyond no run"]
    assert (beyond.value, beyond.verdict) == (pytest.approx(2), "missed")


def test_time_below_that_of_no_run_has_no_exponent() -> None:
    quick = {Case(SMALL_RUNS, 10, runs, runs): (runs, 1.0, 300) for runs in (50, 100)}
    figures = by_name(many_runs.figures(in_two_rounds({Case(NO_RUN, 10, 0, 0): (0, 2.0, 200), **quick})))
    assert "small runs, exponent of time against runs" in figures
    assert "small runs, exponent of time against runs, beyond no run" not in figures


def test_the_figures_of_a_backfill() -> None:
    details = {
        "seconds until it was taken up": 20.0,
        "seconds of a Dagster run": 2.0,
        "events": 121,
        "most at once": 2,
    }
    results = Results([Result(Case(backfill.BACKFILL, 10, 40, 40), 0, Taken(10_240, 180.0, details=details))])
    figures = by_name(backfill.figures(results))
    assert figures["backfill of 40 runs, seconds a run from the launch on"].value == 4.5
    assert figures["backfill of 40 runs, seconds a run from then on"].value == 4.0
    assert figures["backfill of 40 runs, seconds a run from then on"].verdict == "missed"
    assert figures["events of one export"].verdict == "missed"


def test_cases_that_were_not_measured_have_no_figures() -> None:
    for part in (one_run, many_runs, backfill):
        assert part.figures(Results([])) == []
        assert part.lines(Results([])) == {}


def test_the_peer_is_shown_beside_the_same_runs(many: Results) -> None:
    costs = {(cost["contender"], cost["runs"]): cost for cost in summarise(many, [], [], many_runs.EXPORTS)["costs"]}
    assert costs[SMALL_RUNS, 200]["peer"] == {"seconds": 9.9, "peak_mb": None}
    assert costs[AS_ONE_RUN, 1]["peer"] == {"seconds": 149.2, "peak_mb": 1_942}
    assert costs[AMONG, 1]["peer"]["seconds"] == 5.2
    assert costs[ALONE, 1]["peer"] is None
    assert costs[SMALL_BY_JOB, 200]["peer"] is None
    assert peer_of(Case("anything", 10, 100, 100)) is None


def test_tables_have_every_case_figure_and_note(one: Results, many: Results) -> None:
    console = Console(file=io.StringIO(), width=160)
    for part, results in ((one_run, one), (many_runs, many)):
        summary = summarise(results, part.figures(results), ["A note."], part.EXPORTS)
        assert json.loads(json.dumps(summary)) == summary
        report.print_part(part.TITLE, part.SECONDS, summary, console)
        text = console.file.getvalue()
        for case in results.cases:
            assert case.contender in text
        for figure in part.figures(results):
            assert figure.name in text
        assert "A note." in text
    assert "≤ 1.3 ×" in text
    assert "1 of 100" in text
    assert "149.2" in text
    assert SOURCE in text


def test_pictures_are_pictures(one: Results, many: Results, tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra `bench`)")
    for part, results in ((one_run, one), (many_runs, many)):
        report.plot(part.lines(results), part.TITLE, part.ACROSS, tmp_path / part.PICTURE)
        assert (tmp_path / part.PICTURE).read_bytes().startswith(b"\x89PNG")
