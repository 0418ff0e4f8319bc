"""The part for many runs: all of a database by one command or one job, one among many, and growth with their number.

Belongs here: the contenders of this part, and what their figures are compared with. Does not belong here: how they are
run (`commands.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from .commands import Commands
from .results import Case, Figure, Point, Results, figure
from .rounds import Task

TITLE = "Signed export of many runs, jsonl"
PICTURE = "many-runs.png"
ACROSS = "small runs, all exported"
SECONDS = (
    "Seconds: of whole processes, from start to exit; «small runs by job» from the job's start event to its end event."
)

NO_RUN, SMALL_RUNS, SMALL_BY_JOB = "no run", "small runs", "small runs by job"
LARGER_RUNS, AS_ONE_RUN = "larger runs", "as one run"
ALONE, AMONG = "alone", "among others"
CONTENDERS = (NO_RUN, SMALL_RUNS, SMALL_BY_JOB, LARGER_RUNS, AS_ONE_RUN, ALONE, AMONG)

EXPORTS = (SMALL_RUNS, LARGER_RUNS, AS_ONE_RUN, ALONE, AMONG)
"""The contenders that do what the peer did."""

JOB = "export_backlog"
JOB_CONFIG = {"ops": {"export_runs": {"config": {"run_ids": None, "limit": None}}}}

THOUSAND = 1_000

SMALL_RUNS_SECONDS = 5.0
"""For 200 small runs of 10 rows; other numbers and sizes have no target."""
JOB_TO_COMMAND = 2.0
MANY_TO_ONE = 2.5
MEMORY_TO_ONE = 1.1
"""As for one run, but for what differs between two measurements of the same."""
AMONG_TO_ALONE = 1.3
EXPONENT = 1.05


def tasks(commands: Commands, chosen: Any) -> Iterator[Task]:
    """The measurements of one round.

    Args:
        commands: what runs them.
        chosen: `small_rows`, `small_runs`, `run_counts`, `larger_rows`, `larger_runs`, `thousand` and `only`.
    """
    none = Case(NO_RUN, chosen.small_rows, 0, 0)
    if NO_RUN in chosen.only:
        yield none, partial(commands.export, none)
    for runs in sorted({*chosen.run_counts, chosen.small_runs}):
        small = Case(SMALL_RUNS, chosen.small_rows, runs, runs)
        if SMALL_RUNS in chosen.only:
            yield small, partial(commands.export, small)
        if SMALL_BY_JOB in chosen.only and runs == chosen.small_runs and JOB in commands.jobs():
            by_job = Case(SMALL_BY_JOB, chosen.small_rows, runs, runs)
            yield by_job, partial(commands.job, JOB, by_job, JOB_CONFIG)
    rows, runs = chosen.larger_rows, chosen.larger_runs
    if LARGER_RUNS in chosen.only:
        larger = Case(LARGER_RUNS, rows, runs, runs)
        yield larger, partial(commands.export, larger)
    if AS_ONE_RUN in chosen.only:
        as_one = Case(AS_ONE_RUN, rows * runs)
        yield as_one, partial(commands.export, as_one)
    # One in the middle: what lies before it and behind it must not matter.
    middle = runs // 2
    if ALONE in chosen.only:
        alone = Case(ALONE, rows, first=middle)
        yield alone, partial(commands.export, alone)
    if AMONG in chosen.only:
        for held in (runs, *([THOUSAND] if chosen.thousand else [])):
            among = Case(AMONG, rows, among=held, first=middle)
            yield among, partial(commands.export, among)


def notes(commands: Commands, chosen: Any) -> list[str]:
    """What was asked for and could not be measured, in sentences."""
    if SMALL_BY_JOB in chosen.only and JOB not in commands.jobs():
        return [f"The code location has no job {JOB}, so that «{SMALL_BY_JOB}» was not measured."]
    return []


def figures(results: Results) -> list[Figure]:
    """What there is a target for."""
    found = []
    for case in results.of(SMALL_RUNS):
        limit = SMALL_RUNS_SECONDS if (case.runs, case.rows) == (200, 10) else None
        found += figure(f"{case.runs:,} {SMALL_RUNS} by one command", results.median(case), "s", limit)
    for case in results.of(SMALL_BY_JOB):
        command = Case(SMALL_RUNS, case.rows, case.runs, case.among)
        name = f"{case.runs:,} {SMALL_BY_JOB} ÷ by one command, time"
        found += figure(name, results.ratio(case, command), "×", JOB_TO_COMMAND)
    for case in results.of(LARGER_RUNS):
        one = Case(AS_ONE_RUN, (case.rows or 0) * case.runs)
        for cost, name, limit in (("seconds", "time", MANY_TO_ONE), ("peak_mb", "peak memory", MEMORY_TO_ONE)):
            ratio = results.ratio(case, one, cost)
            found += figure(f"{case.runs:,} {LARGER_RUNS} ÷ {AS_ONE_RUN} with as many rows, {name}", ratio, "×", limit)
    for case in results.of(AMONG):
        ratio = results.ratio(case, Case(ALONE, case.rows, first=case.first))
        found += figure(f"one run among {case.among:,} ÷ alone in its database, time", ratio, "×", AMONG_TO_ALONE)
    small = results.of(SMALL_RUNS)
    ways = ((None, ""), *((case, f", beyond {NO_RUN}") for case in results.of(NO_RUN)))
    for beyond, name in ways:
        growth = results.growth(small, lambda case: case.runs, beyond=beyond)
        found += figure(f"{SMALL_RUNS}, exponent of time against runs{name}", growth, "", EXPONENT)
    for beyond, name in ways:
        growth = results.growth(small, lambda case: case.runs, "processor_seconds", beyond)
        found += figure(f"{SMALL_RUNS}, exponent of processor time against runs{name}", growth, "")
    growth = results.growth(small, lambda case: case.runs, "peak_mb")
    return found + figure(f"{SMALL_RUNS}, exponent of peak memory against runs", growth, "")


def lines(results: Results) -> dict[str, list[Point]]:
    """Runs, median seconds and median peak MB, at each number of small runs."""
    small: list[Point] = [
        (case.runs, results.median(case), results.median(case, "peak_mb")) for case in results.of(SMALL_RUNS)
    ]
    return {SMALL_RUNS: small} if small else {}
