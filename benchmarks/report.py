"""What was measured, shown: as tables and as pictures.

Belongs here: printing and drawing. Does not belong here: what the figures are (`summary.py`). Imported when all is
measured: the measuring process has to be small until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .one_run import FLOOR
from .peer import SOURCE
from .results import Point

COLUMNS = {
    # heading: what is shown of a case, and how
    "records": ("records", ",d"),
    "seconds": ("seconds", ",.2f"),
    "records/s": ("records_per_second", ",.0f"),
    "CPU s": ("processor_seconds", ",.2f"),
    "peak MB": ("peak_mb", ",.0f"),
    "statements": ("statements", ",d"),
    "speed ÷ naive": ("speed_to_naive", ".1f"),
    "time ÷ floor": ("time_to_floor", ".2f"),
}


def print_part(title: str, seconds: str, part: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a part's costs, its figures with their targets, and its notes. Columns without any value are left out.

    Args:
        title: the part's.
        seconds: which seconds are meant.
        part: its summary.
        console: where to print; standard output when None.
    """
    console = console or Console(width=140)
    costs = part["costs"]
    table = Table(title=f"{title}: medians over the rounds")
    table.add_column("contender")
    table.add_column("runs", justify="right")
    columns = {heading: how for heading, how in COLUMNS.items() if any(cost[how[0]] is not None for cost in costs)}
    peers = any(cost["peer"] for cost in costs)
    for heading in (*columns, *(["peer s", "peer MB"] if peers else [])):
        table.add_column(heading, justify="right")
    for cost in costs:
        held = f"{cost['runs']:,}" if cost["runs"] == cost["among"] else f"{cost['runs']:,} of {cost['among']:,}"
        peer = cost["peer"] or {}
        table.add_row(
            cost["contender"],
            "–" if cost["rows"] is None else held,
            *(_or_dash(cost[name], form) for name, form in columns.values()),
            *([_or_dash(peer.get("seconds"), ",.1f"), _or_dash(peer.get("peak_mb"), ",.0f")] if peers else []),
        )
    console.print(table)
    console.print(seconds)
    if peers:
        console.print(SOURCE)
    if part["figures"]:
        table = Table(title=f"{title}: figures and targets")
        for heading in ("figure", "measured", "target", ""):
            table.add_column(heading, justify="right" if heading in ("measured", "target") else "left")
        for one in part["figures"]:
            target = "" if one["limit"] is None else f"≤ {one['limit']:g} {one['unit']}".rstrip()
            table.add_row(one["name"], f"{one['value']:.2f} {one['unit']}".rstrip(), target, one["verdict"])
        console.print(table)
    for note in part["notes"]:
        console.print(note)


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def plot(lines: Mapping[str, Sequence[Point]], title: str, across: str, path: Path) -> None:
    """Draw time and peak memory against a size, one line for each contender, as a PNG.

    Args:
        lines: by contender: size, seconds and peak MB of each point.
        title: the picture's.
        across: what the size is.
        path: the file.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for panel, cost, name in zip(panels, (1, 2), ("Time (seconds)", "Peak memory (MB)"), strict=True):
        for contender, points in lines.items():
            dashes = "--" if contender == FLOOR else "-"
            sizes, costs = [point[0] for point in points], [point[cost] for point in points]
            panel.plot(sizes, costs, marker="o", linestyle=dashes, label=contender)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(name)
        panel.set_xlabel(across)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(NullFormatter())
        panel.grid(visible=True, which="both", alpha=0.25)
    panels[0].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
