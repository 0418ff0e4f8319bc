"""What was measured, as a document.

Belongs here: the summary of one part's results, as results.json has it. Does not belong here: arithmetic on results
(`results.py`), which figures there are (`one_run.py`, `many_runs.py`, `backfill.py`), and showing them (`report.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .one_run import BY_SIZE, FLOOR, NAIVE
from .peer import peer_of
from .results import Case, Figure, Results, Taken


def summarise(
    results: Results, figures: Sequence[Figure], notes: Sequence[str] = (), exports: Sequence[str] = ()
) -> dict[str, Any]:
    """One part of the benchmark, as a document.

    Ratios are taken within each round first, and the median is of those.

    Args:
        results: what was measured.
        figures: what there may be targets for.
        notes: what could not be measured, in sentences.
        exports: the contenders that the peer's figures are shown beside.

    Returns:
        `costs`: per case, the medians of its costs, its statements, the peer's figures, and the ratios of speed
        (records per second) to the naive reference and of time to the floor of the same size. `figures`, with the
        verdict of each. `notes`. `results`: every measurement. What was not measured is None.
    """
    naive = next(iter(results.of(NAIVE)), None)
    costs = []
    for case in results.cases:
        taken = results.taken(case)
        records = taken[0].records
        rated = case.contender in BY_SIZE
        peer = peer_of(case) if case.contender in exports else None
        costs.append(
            {
                **asdict(case),
                "records": records,
                "seconds": results.median(case),
                "records_per_second": records / results.seconds(case) if records else None,
                "processor_seconds": results.median(case, "processor_seconds"),
                "peak_mb": results.median(case, "peak_mb"),
                "statements": taken[0].statements,
                "details": {name: results.detail(case, name) for name in taken[0].details},
                "speed_to_naive": results.compare(case, naive, _speed_ratio) if rated and naive else None,
                "time_to_floor": results.ratio(case, Case(FLOOR, case.rows)) if rated else None,
                "peer": asdict(peer) if peer else None,
            }
        )
    return {
        "costs": costs,
        "figures": [asdict(one) | {"verdict": one.verdict} for one in figures],
        "notes": list(notes),
        "results": [asdict(result) for result in results.all],
    }


def _speed_ratio(one: Taken, other: Taken) -> float:
    return (one.records / one.seconds) / (other.records / other.seconds)
