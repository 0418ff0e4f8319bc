"""What the benchmark's figures say: medians, ratios, growth; as a table and a picture.

Belongs here: arithmetic on results, and showing it. Does not belong here: taking measurements.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression, median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from .run import ALL_FORMATS, BATCHED, FLOOR, IMPORTS, JSONL, MANY, NAIVE, SMALL

if TYPE_CHECKING:
    from .run import Result

BY_SIZE = (NAIVE, BATCHED, JSONL, ALL_FORMATS, FLOOR)
"""The contenders whose cost is shown against the number of records."""


def summarise(results: Sequence[Result], *, small_runs: int) -> dict[str, Any]:
    """Medians over rounds, by contender and size.

    Ratios are taken within each round first, and the median is of those: what slows the machine for a whole round then
    falls out.

    Args:
        results: every measurement.
        small_runs: how many runs the contender MANY exported.

    Returns:
        `contenders`: per contender and size, medians of seconds, records per second and peak MB, the statements, and the
        ratios: of speed (records per second) to the naive reference, of time to the floor of the same size.
        `growth`: per contender, the exponents of seconds and of peak MB against records. `small`: seconds that an export of 10
        rows takes beyond the imports, and seconds for each of many small runs. What was not measured is None or left out.
    """
    groups: defaultdict[tuple[str, int | None], list[Result]] = defaultdict(list)
    for result in results:
        groups[result.contender, result.rows].append(result)
    naive = {result.round: result for result in results if result.contender == NAIVE}
    floor = {(result.round, result.rows): result for result in results if result.contender == FLOOR}
    imports = {result.round: result for result in results if result.contender == IMPORTS}

    contenders = []
    for (contender, rows), taken in groups.items():
        rated = contender in BY_SIZE
        to_naive = [_speed(one) / _speed(naive[one.round]) for one in taken if rated and one.round in naive]
        to_floor = [
            one.seconds / floor[one.round, one.rows].seconds
            for one in taken
            if rated and (one.round, one.rows) in floor
        ]
        contenders.append(
            {
                "contender": contender,
                "rows": rows,
                "records": taken[0].records,
                "seconds": median(one.seconds for one in taken),
                "records_per_second": median(map(_speed, taken)) if taken[0].records else None,
                "peak_mb": median(one.peak_mb for one in taken),
                "statements": taken[0].statements,
                "speed_to_naive": median(to_naive) if to_naive else None,
                "time_to_floor": median(to_floor) if to_floor else None,
            }
        )

    growth = []
    for contender in BY_SIZE:
        line = [entry for entry in contenders if entry["contender"] == contender]
        if len(line) > 1:
            growth.append(
                {
                    "contender": contender,
                    "seconds": exponent([(entry["records"], entry["seconds"]) for entry in line]),
                    "peak_mb": exponent([(entry["records"], entry["peak_mb"]) for entry in line]),
                }
            )

    small = {}
    extra = [one.seconds - imports[one.round].seconds for one in groups[SMALL, 10] if one.round in imports]
    if extra:
        small["seconds_beyond_imports"] = median(extra)
    if many := groups[MANY, 10]:
        small["seconds_for_each_of_many"] = median(one.seconds / small_runs for one in many)
    return {"contenders": contenders, "growth": growth, "small": small}


def _speed(result: Result) -> float:
    return result.records / result.seconds


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The exponent b of the least-squares fit y = a·x^b through points (x, y), all positive, at two or more x."""
    return linear_regression([math.log(x) for x, _ in points], [math.log(y) for _, y in points]).slope


def print_table(summary: dict[str, Any], console: Console | None = None) -> None:
    """Print a summary: the contenders, their growth, and the cost of small runs."""
    console = console or Console(width=120)
    table = Table(title="Medians over the rounds; each contender in a process of its own, from start to exit")
    for heading in (
        "contender",
        "records",
        "seconds",
        "records/s",
        "peak MB",
        "statements",
        "speed ÷ naive",
        "time ÷ floor",
    ):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for entry in summary["contenders"]:
        table.add_row(
            entry["contender"],
            f"{entry['records']:,}",
            f"{entry['seconds']:.2f}",
            _or_dash(entry["records_per_second"], ",.0f"),
            f"{entry['peak_mb']:,.0f}",
            _or_dash(entry["statements"], ",d"),
            _or_dash(entry["speed_to_naive"], ".1f"),
            _or_dash(entry["time_to_floor"], ".2f"),
        )
    console.print(table)
    if summary["growth"]:
        table = Table(title="Exponent of growth with records")
        for heading in ("contender", "time", "peak memory"):
            table.add_column(heading, justify="left" if heading == "contender" else "right")
        for entry in summary["growth"]:
            table.add_row(entry["contender"], f"{entry['seconds']:.2f}", f"{entry['peak_mb']:.2f}")
        console.print(table)
    small = summary["small"]
    if "seconds_beyond_imports" in small:
        console.print(
            f"An export of 10 rows takes {small['seconds_beyond_imports']:.2f} s more than the imports alone."
        )
    if "seconds_for_each_of_many" in small:
        console.print(f"Each of many small runs takes {small['seconds_for_each_of_many']:.2f} s.")


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def plot(summary: dict[str, Any], path: Path) -> None:
    """Draw time and peak memory against the number of records, for every contender, as a PNG.

    Args:
        summary: from `summarise`.
        path: the file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for panel, cost, title in zip(panels, ("seconds", "peak_mb"), ("Time (seconds)", "Peak memory (MB)"), strict=True):
        for contender in BY_SIZE:
            line = sorted(
                (entry["records"], entry[cost]) for entry in summary["contenders"] if entry["contender"] == contender
            )
            if line:
                dashes = "--" if contender == FLOOR else "-"
                panel.plot(*zip(*line, strict=True), marker="o", linestyle=dashes, label=contender)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(title)
        panel.set_xlabel("records in the run")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(NullFormatter())
        panel.grid(visible=True, which="both", alpha=0.25)
    panels[0].legend()
    figure.suptitle("Signed export of one run, whole process")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
