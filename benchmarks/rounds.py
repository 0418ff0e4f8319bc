"""Taking measurements round by round.

Belongs here: the order in which cases are measured. Does not belong here: which ones are, and how.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from .commands import Commands
from .results import Case, Result, Results, Taken

Task = tuple[Case, Callable[[], Taken]]
"""A case, and what measures it once."""


def take_all(commands: Commands, tasks: Sequence[Task], repeats: int) -> Results:
    """Measure every case once in each round, and say so on standard error.

    Every other round runs backwards, so that a machine that slows down or speeds up favours none of the cases.

    Args:
        commands: whose scratch folder is emptied before each measurement.
        tasks: what to measure, in the order of the first round.
        repeats: how many rounds.
    """
    results = []
    for number in range(repeats):
        for case, take in tasks if number % 2 == 0 else reversed(tasks):
            commands.empty_scratch()
            taken = take()
            results.append(Result(case, number, taken))
            peak = "" if taken.peak_mb is None else f", {taken.peak_mb:,.0f} MB"
            print(f"round {number + 1}: {describe(case)}: {taken.seconds:.2f} s{peak}", file=sys.stderr, flush=True)
    commands.empty_scratch()
    return Results(results)


def describe(case: Case) -> str:
    """A case in words."""
    words = [case.contender]
    if case.runs != 1:
        words.append(f"{case.runs:,} runs")
    elif case.among != 1:
        words.append(f"1 of {case.among:,} runs")
    if case.rows is not None:
        words.append(f"{case.rows:,} rows")
    return ", ".join(words)
