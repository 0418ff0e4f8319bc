"""The part for the UI: a backfill of small runs by partition, through Dagster's daemon.

Belongs here: the one contender of this part, and what its figures are compared with. Does not belong here: how it is
run (`commands.py`, `daemon.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .commands import Commands
from .results import Case, Figure, Point, Results, figure
from .rounds import Task

TITLE = "A backfill through the daemon, on two processors"
SECONDS = (
    "Seconds: from the launch of the backfill to the end of its last Dagster run. Dagster's daemon looks for backfills "
    "every 30 seconds, whatever they are of; here it has just looked when the backfill is launched."
)
PICTURE = ""
ACROSS = ""

BACKFILL = "backfill"
CONTENDERS = (BACKFILL,)
EXPORTS = ()

EVENTS = 120
PACE = 2.0
TAKEN_UP = "seconds until it was taken up"


def tasks(commands: Commands, chosen: Any) -> Iterator[Task]:
    """The measurement of one round.

    Args:
        commands: what runs it.
        chosen: `small_rows`, `backfill_runs` and `only`.
    """
    if BACKFILL in chosen.only:
        case = Case(BACKFILL, chosen.small_rows, chosen.backfill_runs, chosen.backfill_runs)
        yield case, lambda: commands.backfill(case)


def notes(commands: Commands, chosen: Any) -> list[str]:
    """What was asked for and could not be measured: nothing."""
    return []


def figures(results: Results) -> list[Figure]:
    """Seconds and events."""
    found = []
    for case in results.of(BACKFILL):
        name = f"{BACKFILL} of {case.runs:,} runs"
        seconds, waited = results.seconds(case), results.detail(case, TAKEN_UP) or 0.0
        found += figure(f"{name}, {TAKEN_UP}", waited, "s")
        found += figure(f"{name}, seconds a run from then on", (seconds - waited) / case.runs, "s", PACE)
        found += figure(f"{name}, seconds a run from the launch on", seconds / case.runs, "s")
        found += figure(f"{name}, seconds of a Dagster run", results.detail(case, "seconds of a Dagster run"), "s")
        found += figure(f"{name}, most at once", results.detail(case, "most at once"), "")
        found += figure("events of one export", results.detail(case, "events"), "", EVENTS)
    return found


def lines(results: Results) -> dict[str, list[Point]]:
    """There is nothing to draw."""
    return {}
