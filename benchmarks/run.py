"""The benchmark: the exporter beside the references and the floor, at several sizes, in fresh processes and in turn.

Belongs here: which commands are measured, in which order, and what their figures are compared with. Does not belong here: how
one measurement is taken (`measure.py`), and how results are shown (`report.py`).

    python -m benchmarks [--full] [--sizes ROWS,...] [--repeats 3] [--out DIR]

makes its databases by itself, prints a table, and writes results.json and benchmark.png.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from .measure import measure

ROOT = Path(__file__).resolve().parents[1]

KEY = "benchmark-key"

DEFAULT_SIZES = (1_000, 5_000, 20_000)
FULL_SIZES = (1_000, 4_000, 20_000, 100_000)
"""Rows of the source; each makes 23.1 records, so this is 23 thousand to 2.3 million of them."""

FULL_SMALL_RUNS = 200

NAIVE, BATCHED, FLOOR = "naive reference", "batched reference", "floor"
JSONL, ALL_FORMATS = "export, jsonl", "export, all formats"
IMPORTS, SMALL, MANY = "import dagster, polars", "export of 10 rows", "export --all, small runs"
CONTENDERS = (NAIVE, BATCHED, JSONL, ALL_FORMATS, FLOOR, IMPORTS, SMALL, MANY)

SMALL_ROWS = 10


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement of one contender.

    Args:
        contender: one of CONTENDERS.
        round: in which round it was taken; figures of one round are compared with one another.
        rows: rows of the source; None where the contender reads no run.
        records: data records that were exported (the floor: rows that were read); 0 where there are none.
        seconds: wall time of the whole process.
        peak_mb: its peak resident size in MB.
        statements: statements sent to the audit database; None where they were not counted.
    """

    contender: str
    round: int
    rows: int | None
    records: int
    seconds: float
    peak_mb: float
    statements: int | None


class Workshop:
    """The databases, scratch files and commands of one benchmark.

    Args:
        folder: where databases are made, and kept for the next time; everything else there is removed after use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "scratch"
        self.jsonl_bytes: dict[int, int] = {}
        self.statements: dict[int, int] = {}
        self.environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
        self.environment["LANDSCAPE_SIGNING_KEY"] = KEY
        folder.mkdir(parents=True, exist_ok=True)

    def python(self, *arguments: object) -> tuple[str, float, float]:
        """Run Python in the repository's root: its output, seconds and peak memory in MB."""
        return self.run(sys.executable, *arguments)

    def run(self, *command: object) -> tuple[str, float, float]:
        done = measure([str(word) for word in command], self.environment, ROOT)
        return done.output, done.seconds, done.peak_mb

    def database(self, rows: int, runs: int = 1) -> Path:
        """A database with runs of some rows each, `run-0`, `run-1` and so on; made when it is not there yet."""
        path = self.folder / f"{runs}-runs-of-{rows}-rows.db"
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            for number in range(runs):
                self.python("-m", "benchmarks.generate", partial, rows, "--run-id", f"run-{number}")
            partial.rename(path)
        return path

    def export_arguments(self, database: Path, output: Path, *options: str) -> list[str]:
        """The arguments of `landscape-assets` for a signed export."""
        return ["export", "--database", f"sqlite:///{database}", "--output", str(output), "--sign", "--json", *options]

    def empty_scratch(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()

    def reference(self, module: str, contender: str, number: int, rows: int) -> Result:
        """Measure one of the reference exporters."""
        file = self.scratch / "records.jsonl"
        url = f"sqlite:///{self.database(rows)}"
        output, seconds, peak_mb = self.python("-m", f"benchmarks.{module}", url, "run-0", file)
        self.jsonl_bytes.setdefault(rows, file.stat().st_size)
        done = json.loads(output)
        return Result(contender, number, rows, done["record_count"], seconds, peak_mb, done["statements"])

    def floor(self, number: int, rows: int) -> Result:
        """Measure the floor, for as many bytes as an export of the same run has written before."""
        arguments = (self.database(rows), "run-0", self.jsonl_bytes[rows], self.scratch / "bytes")
        output, seconds, peak_mb = self.python("-m", "benchmarks.floor", *arguments)
        done = json.loads(output)
        return Result(FLOOR, number, rows, done["record_count"], seconds, peak_mb, done["statements"])

    def export(self, contender: str, number: int, rows: int, *options: str, runs: int = 1) -> Result:
        """Measure the exporter's own command.

        Raises:
            RuntimeError: a run was not exported.
        """
        which = ("--run-id", "run-0") if runs == 1 else ("--all",)
        arguments = self.export_arguments(self.database(rows, runs), self.scratch, *which, *options)
        # The command as it is installed beside this Python.
        output, seconds, peak_mb = self.run(Path(sys.executable).with_name("landscape-assets"), *arguments)
        exported = json.loads(output)
        if len(exported) != runs or any(run["status"] != "exported" for run in exported):
            raise RuntimeError(f"{contender}: not all of {runs} runs were exported: {output[-2_000:]}")
        if runs == 1:
            (lines,) = self.scratch.rglob("records.jsonl")
            self.jsonl_bytes[rows] = lines.stat().st_size
        records = sum(run["record_count"] for run in exported)
        return Result(contender, number, rows, records, seconds, peak_mb, self.count(rows) if runs == 1 else None)

    def count(self, rows: int) -> int:
        """Statements that an export sends: counted once for each size, in a process of its own that is not timed."""
        if rows not in self.statements:
            database = self.database(rows)
            self.empty_scratch()
            arguments = self.export_arguments(database, self.scratch, "--run-id", "run-0", "--format", "jsonl")
            output, _, _ = self.python("-m", "benchmarks.statements", database, *arguments)
            self.statements[rows] = json.loads(output)["statements"]
        return self.statements[rows]

    def imports(self, number: int) -> Result:
        """Measure what any program pays that uses Dagster and Polars."""
        _, seconds, peak_mb = self.python("-c", "import dagster, polars")
        return Result(IMPORTS, number, None, 0, seconds, peak_mb, None)


def tasks(workshop: Workshop, chosen: argparse.Namespace, number: int) -> Iterator[Callable[[], Result]]:
    """The measurements of one round, each size's references and exports before its floor, which needs their size."""
    wanted = chosen.contenders
    for rows in sorted({*chosen.sizes, chosen.naive_rows}):
        if NAIVE in wanted and rows == chosen.naive_rows:
            yield lambda rows=rows: workshop.reference("reference", NAIVE, number, rows)
        if rows not in chosen.sizes:
            continue
        if BATCHED in wanted and rows <= chosen.batched_up_to:
            yield lambda rows=rows: workshop.reference("batched", BATCHED, number, rows)
        if JSONL in wanted:
            yield lambda rows=rows: workshop.export(JSONL, number, rows, "--format", "jsonl")
        if ALL_FORMATS in wanted:
            yield lambda rows=rows: workshop.export(ALL_FORMATS, number, rows)
        if FLOOR in wanted:
            yield lambda rows=rows: workshop.floor(number, rows)
    if IMPORTS in wanted:
        yield lambda: workshop.imports(number)
    if SMALL in wanted:
        yield lambda: workshop.export(SMALL, number, SMALL_ROWS)
    if MANY in wanted and number == 0:
        yield lambda: workshop.export(MANY, number, SMALL_ROWS, runs=chosen.small_runs)


def take_all(workshop: Workshop, chosen: argparse.Namespace) -> list[Result]:
    """All rounds. Every other one runs backwards, so that a machine that slows down or speeds up favours nobody."""
    results = []
    for number in range(chosen.repeats):
        in_turn = list(tasks(workshop, chosen, number))
        for task in in_turn if number % 2 == 0 else reversed(in_turn):
            workshop.empty_scratch()
            result = task()
            results.append(result)
            size = f", {result.rows:,} rows" if result.rows else ""
            done = f"{result.seconds:.1f} s, {result.peak_mb:,.0f} MB"
            print(f"round {number + 1}: {result.contender}{size}: {done}", file=sys.stderr)
    shutil.rmtree(workshop.scratch)
    return results


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the exporter beside the reference exporters and the floor."
    )
    parser.add_argument("--full", action="store_true", help="23 thousand to 2.3 million records, and 200 small runs")
    parser.add_argument("--sizes", type=_numbers, help="rows of the source, with commas (23.1 records each)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--naive-rows", type=int, default=1_000, help="size of the naive reference (default: 1000)")
    parser.add_argument(
        "--batched-up-to", type=int, default=20_000, help="largest size of the batched reference (default: 20000)"
    )
    parser.add_argument("--small-runs", type=int, help="runs of 10 rows for export --all (default: 20; full: 200)")
    parser.add_argument(
        "--contenders",
        type=lambda text: tuple(text.split(";")),
        default=CONTENDERS,
        help=f"only these, with semicolons: {'; '.join(CONTENDERS)}",
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "benchmark", help="folder for databases, which are kept"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "benchmark", help="folder for the results")
    chosen = parser.parse_args(arguments)
    chosen.sizes = chosen.sizes or (FULL_SIZES if chosen.full else DEFAULT_SIZES)
    chosen.small_runs = chosen.small_runs or (FULL_SMALL_RUNS if chosen.full else 20)
    if unknown := set(chosen.contenders) - set(CONTENDERS):
        parser.error(f"no such contender: {', '.join(sorted(unknown))}")
    return chosen


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark, print its table, and write results.json and benchmark.png."""
    chosen = parse(arguments)
    results = take_all(Workshop(chosen.work.resolve()), chosen)

    # Only now: the measuring process has to be small while it measures.
    from . import report

    summary = report.summarise(results, small_runs=chosen.small_runs)
    chosen.out.mkdir(parents=True, exist_ok=True)
    document = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "rounds": chosen.repeats,
        "summary": summary,
        "results": [asdict(result) for result in results],
    }
    (chosen.out / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    report.print_table(summary)
    report.plot(summary, chosen.out / "benchmark.png")
