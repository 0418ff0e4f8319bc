"""The command `python -m benchmarks`: options, and what becomes of the results.

Belongs here: choosing parts and sizes, and writing the report. Does not belong here: what the parts measure
(`one_run.py`, `many_runs.py`, `backfill.py`).

    python -m benchmarks [--one] [--many] [--ui] [--full] [--only NAME,...] [--repeats 3] [--data DIR] [--out DIR]

makes its databases by itself, prints tables, and writes results.json and pictures. The exit status is 0 when everything
could be measured, whatever the figures are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import backfill, many_runs, one_run
from .commands import ROOT, Commands
from .generations import GENERATIONS
from .rounds import take_all
from .summary import summarise

DEFAULT_SIZES = (1_000, 5_000, 20_000)
FULL_SIZES = (1_000, 5_000, 20_000, 25_000, 100_000)
"""Rows of the source; each makes 23.1 records, so this is 23 thousand to 2.3 million of them. Memory is compared
between sizes of which one is four times the other."""

RUN_COUNTS = (50, 100, 200, 400, 800)

PARTS = {"one": one_run, "many": many_runs, "ui": backfill}
CONTENDERS = tuple(name for part in PARTS.values() for name in part.CONTENDERS)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options, with the parts that are chosen as `parts`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the exporter: one run beside reference exporters and the floor, many runs in one "
        "database, and a backfill through Dagster's daemon. Without --one, --many or --ui: --one.",
    )
    what = parser.add_argument_group("what is measured")
    what.add_argument("--one", action="store_true", help="one run, at several sizes")
    what.add_argument("--many", action="store_true", help="many runs in one database")
    what.add_argument("--ui", action="store_true", help="a backfill through Dagster's daemon")
    what.add_argument("--only", type=_names, help=f"only these contenders, with commas: {', '.join(CONTENDERS)}")
    what.add_argument("--repeats", type=_positive, default=3, help="rounds (default: 3)")
    one = parser.add_argument_group("one run")
    one.add_argument("--full", action="store_true", help=f"rows: {_listed(FULL_SIZES)}")
    one.add_argument("--sizes", type=_numbers, help=f"rows of the source, 23.1 records each ({_listed(DEFAULT_SIZES)})")
    one.add_argument("--naive-rows", type=_positive, default=1_000, help="size of the naive reference (1000)")
    one.add_argument("--batched-up-to", type=int, default=20_000, help="largest size of the batched reference (20000)")
    many = parser.add_argument_group("many runs")
    many.add_argument("--small-rows", type=_positive, default=10, help="rows of each small run (10)")
    many.add_argument("--small-runs", type=_positive, default=200, help="small runs by command and by job (200)")
    many.add_argument(
        "--run-counts",
        type=_numbers,
        default=RUN_COUNTS,
        help=f"numbers of small runs for growth ({_listed(RUN_COUNTS)})",
    )
    many.add_argument("--larger-rows", type=_positive, default=1_000, help="rows of each larger run (1000)")
    many.add_argument("--larger-runs", type=_positive, default=100, help="larger runs in a database (100)")
    many.add_argument(
        "--thousand", action="store_true", help="one run also among 1000 larger ones: a database of 10 GB"
    )
    many.add_argument("--generation", choices=GENERATIONS, default="v1", help="of the databases (v1)")
    ui = parser.add_argument_group("backfill")
    ui.add_argument("--backfill-runs", type=_positive, default=40, help="small runs that are backfilled (40)")
    places = parser.add_argument_group("folders")
    places.add_argument(
        "--data", type=Path, help="where databases are made, and kept for the next time (default: a temporary folder)"
    )
    places.add_argument("--out", type=Path, default=ROOT / "build" / "benchmark", help="where the report goes")
    chosen = parser.parse_args(arguments)
    chosen.sizes = chosen.sizes or (FULL_SIZES if chosen.full else DEFAULT_SIZES)
    chosen.parts = {name: part for name, part in PARTS.items() if getattr(chosen, name)} or {"one": one_run}
    if chosen.generation != "v1" and "one" in chosen.parts:
        parser.error("--one has references that read contract v1 alone; give --many or --ui with --generation")
    offered = [name for part in chosen.parts.values() for name in part.CONTENDERS]
    chosen.only = offered if chosen.only is None else chosen.only
    if unknown := [name for name in chosen.only if name not in offered]:
        parser.error(f"not a contender of {', '.join(f'--{part}' for part in chosen.parts)}: {', '.join(unknown)}")
    return chosen


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_positive(number) for number in text.split(","))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of 1 or more")
    return number


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def main(arguments: list[str] | None = None) -> None:
    """Measure, print tables, and write results.json and pictures.

    results.json is written after each part, so that it is not lost with the next.
    """
    chosen = parse(arguments)
    document: dict[str, Any] = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "rounds": chosen.repeats,
        "generation": chosen.generation,
        "parts": {},
    }
    measured = {}
    temporary = tempfile.TemporaryDirectory(prefix="benchmark-") if chosen.data is None else nullcontext(chosen.data)
    with temporary as data, Commands(Path(data), chosen.generation) as commands:
        try:
            commands.warm_up()
            for name, part in chosen.parts.items():
                measured[name] = results = take_all(commands, list(part.tasks(commands, chosen)), chosen.repeats)
                notes = part.notes(commands, chosen)
                document["parts"][name] = summarise(results, part.figures(results), notes, part.EXPORTS)
                _write(document, chosen.out)
        except RuntimeError as error:
            sys.exit(f"The benchmark stopped: {error}")

    # Only now: the measuring process has to be small while it measures.
    from . import report

    for name, results in measured.items():
        part = chosen.parts[name]
        report.print_part(part.TITLE, part.SECONDS, document["parts"][name])
        if lines := part.lines(results):
            try:
                report.plot(lines, part.TITLE, part.ACROSS, chosen.out / part.PICTURE)
            except ImportError:
                sys.stderr.write(f"{part.PICTURE} was not drawn: matplotlib is not installed (the extra `bench`).\n")


def _write(document: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n")
