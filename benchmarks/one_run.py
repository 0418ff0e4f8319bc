"""The part for one run of a database: the exporter beside the references and the floor, at several sizes.

Belongs here: the contenders of this part, and what their figures are compared with. Does not belong here: how they are
run (`commands.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from .commands import ALL_FORMATS, Commands
from .results import Case, Figure, Point, Results, figure
from .rounds import Task

TITLE = "Signed export of one run"
PICTURE = "benchmark.png"
ACROSS = "records in the run"
SECONDS = "Seconds: of whole processes, from start to exit; «through Dagster» without the steps that only check."

NAIVE, BATCHED, FLOOR = "naive reference", "batched reference", "floor"
EXPORT_JSONL, EXPORT_ALL, DAGSTER = "export jsonl", "export all formats", "through Dagster"
IMPORTS, SMALL = "imports", "export of 10 rows"
CONTENDERS = (NAIVE, BATCHED, EXPORT_JSONL, EXPORT_ALL, DAGSTER, FLOOR, IMPORTS, SMALL)

BY_SIZE = (NAIVE, BATCHED, EXPORT_JSONL, EXPORT_ALL, DAGSTER, FLOOR)
"""The contenders whose cost is shown against the number of records."""

EXPORTS = (EXPORT_JSONL, EXPORT_ALL, DAGSTER)

SMALL_ROWS = 10

TO_FLOOR = 1.6
ALL_TO_JSONL = 1.4
DAGSTER_SECONDS = 3.0
MEMORY_AT_FOUR_TIMES = 1.3


def tasks(commands: Commands, chosen: Any) -> Iterator[Task]:
    """The measurements of one round.

    Args:
        commands: what runs them.
        chosen: `sizes` (rows), `naive_rows`, `batched_up_to` and `only` (names of contenders).
    """
    for rows in sorted({*chosen.sizes, chosen.naive_rows}):
        of_size = {contender: Case(contender, rows) for contender in BY_SIZE if contender in chosen.only}
        if NAIVE in of_size and rows == chosen.naive_rows:
            yield of_size[NAIVE], partial(commands.reference, "reference", of_size[NAIVE])
        if rows not in chosen.sizes:
            continue
        if BATCHED in of_size and rows <= chosen.batched_up_to:
            yield of_size[BATCHED], partial(commands.reference, "batched", of_size[BATCHED])
        if EXPORT_JSONL in of_size:
            yield of_size[EXPORT_JSONL], partial(commands.export, of_size[EXPORT_JSONL], count=True)
        if EXPORT_ALL in of_size:
            yield of_size[EXPORT_ALL], partial(commands.export, of_size[EXPORT_ALL], ALL_FORMATS, count=True)
        if DAGSTER in of_size:
            yield of_size[DAGSTER], partial(commands.through_dagster, of_size[DAGSTER])
        if FLOOR in of_size:
            yield of_size[FLOOR], partial(commands.floor, of_size[FLOOR])
    if IMPORTS in chosen.only:
        yield Case(IMPORTS), commands.imports
    if SMALL in chosen.only:
        small = Case(SMALL, SMALL_ROWS)
        yield small, partial(commands.export, small, ALL_FORMATS, count=True)


def notes(commands: Commands, chosen: Any) -> list[str]:
    """What was asked for and could not be measured: nothing."""
    return []


def figures(results: Results) -> list[Figure]:
    """What there is a target for: at the largest size, and memory wherever one size is four times another."""
    found = []
    sizes = {case.rows for contender in EXPORTS for case in results.of(contender) if case.rows is not None}
    if sizes:
        rows = max(sizes)
        jsonl, every, dagster, floor = (Case(name, rows) for name in (EXPORT_JSONL, EXPORT_ALL, DAGSTER, FLOOR))
        at = f"at {rows:,} rows"
        found += figure(f"{EXPORT_JSONL} ÷ {FLOOR}, time, {at}", results.ratio(jsonl, floor), "×", TO_FLOOR)
        found += figure(f"{EXPORT_ALL} ÷ {EXPORT_JSONL}, time, {at}", results.ratio(every, jsonl), "×", ALL_TO_JSONL)
        found += figure(
            f"{DAGSTER} − {EXPORT_JSONL}, time, {at}, without checks",
            results.difference(dagster, jsonl),
            "s",
            DAGSTER_SECONDS,
        )
    for contender in EXPORTS:
        for rows in sorted(sizes):
            name = f"{contender}, peak memory, {4 * rows:,} ÷ {rows:,} rows"
            ratio = results.ratio(Case(contender, 4 * rows), Case(contender, rows), "peak_mb")
            found += figure(name, ratio, "×", MEMORY_AT_FOUR_TIMES)
    for contender in BY_SIZE:
        cases = results.of(contender)
        for cost, name in (("seconds", "time"), ("peak_mb", "peak memory")):
            growth = results.growth(cases, lambda case: results.taken(case)[0].records, cost)
            found += figure(f"{contender}, exponent of {name} against records", growth, "")
    found += figure(f"{SMALL} − {IMPORTS}, time", results.difference(Case(SMALL, SMALL_ROWS), Case(IMPORTS)), "s")
    return found


def lines(results: Results) -> dict[str, list[Point]]:
    """For each contender: records, median seconds and median peak MB at each size."""
    return {
        contender: [
            (results.taken(case)[0].records, results.median(case), results.median(case, "peak_mb"))
            for case in results.of(contender)
        ]
        for contender in BY_SIZE
        if results.of(contender)
    }
