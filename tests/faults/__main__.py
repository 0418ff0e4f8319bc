"""The command `python -m tests.faults`: what is tried, on all processors, and what it covered.

Belongs here: the scenarios, and the report. Does not belong here: the checks (`points.py`, `crashes.py`).

Exit status 0 when everything holds, 1 when something does not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from .shim import Fault, restart_with_shim

restart_with_shim()

# The shim is loaded: only now is anything imported that takes a while.
from benchmarks.generate import generate  # noqa: E402
from landscape_assets import settings  # noqa: E402
from landscape_assets.sample import FAILED_RUN, write_sample  # noqa: E402

from .crashes import Crashes  # noqa: E402
from .points import Bench, faults, tree  # noqa: E402
from .process import SECOND_SECOND, Runner, Scenario, key_pair  # noqa: E402

FAULTS = ("sample", "spill", "stored", "supersede", "log", "session")
CRASHES = ("sample crashes", "supersede crashes")
SLOWER = {"stored": 7, "session": 41}
"""Of these, which differ little from `sample` or take long, each so many-th fault is tried when all are asked for."""
AT_LEAST = 4
"""Faults of each part are tried, however far spread."""
SHOWN = 20
"""Problems printed of one part."""
RERUNS = 120
"""In about so many crash states, spread out, the export is run again."""


def scenarios(folder: Path) -> dict[str, Scenario]:
    """Every scenario by name."""
    database, large = folder / "landscape.db", folder / "large.db"
    write_sample(database)
    generate(large, 130, run_id="run-130")
    private, public = key_pair(folder)
    signed = {settings.PRIVATE_KEY_FILE: str(private)}
    sample = Scenario(database, FAILED_RUN, folder, public, signed)
    return {
        "sample": sample,
        # Rows are moved into temporary files: calls are more than two buckets of the smallest budget.
        "spill": replace(sample, database=large, run_id="run-130", environment=signed | {settings.MEMORY_MB: "1"}),
        # Tables stay, as with DAGSTER_HOME.
        "stored": replace(sample, stores=True),
        # There is a package already, of other formats.
        "supersede": replace(sample, supersede=True, before=folder / "before", second=SECOND_SECOND),
        # The same, at every call of the append to the export log.
        "log": replace(sample, supersede=True, before=folder / "before", second=SECOND_SECOND),
        # The same as the first through Dagster's own machinery.
        "session": sample,
    }


def selected(name: str, bench: Bench, spread: int) -> list[Fault]:
    """The faults that are tried: each so many-th, and (but where Dagster takes long) those around the moment of
    publication.
    """
    found = faults(bench.calls)
    if name == "spill":
        found = [fault for fault in found if "/scratch/" in fault.pattern]
    elif name == "log":
        found = [fault for fault in found if "/.log" in fault.pattern]
    elif name == "stored":
        found = [fault for fault in found if "/storage/" in fault.pattern]
    elif name == "supersede":
        first = next(i for i, fault in enumerate(found) if "/package/" in fault.pattern)
        found = found[first:]
    step = max(spread, SLOWER.get(name, 1)) * (3 if name == "session" and spread > 1 else 1)
    step = min(step, max(1, len(found) // AT_LEAST))
    moment = set() if name == "session" else {bench.scenario.package.name, bench.scenario.export_dir.name}
    return [
        fault
        for i, fault in enumerate(found)
        if i % step == 0 or (fault.call in ("rename", "exchange", "sync") and Path(fault.pattern).name in moment)
    ]


class Work:
    """What the processes of the pool do; each has its own folder, and what it prepared."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._runner = folder, Runner()
        self._scenarios = scenarios(folder)
        self._benches: dict[str, Bench] = {}
        sample = self._scenarios["sample"]
        first = replace(sample, environment=sample.environment | {settings.FORMAT_NAMES: "jsonl"})
        first.reset()
        assert self._runner.run(first).status == "exported"
        first.watched.rename(folder / "before")

    def bench(self, name: str) -> Bench:
        """A scenario, prepared in this process."""
        if name not in self._benches:
            folder = self._folder / f"process-{os.getpid()}"
            self._benches[name] = Bench(self._scenarios[name].moved(folder), self._runner, full=name == "session")
            self._benches[name].prepare()
        return self._benches[name]

    def faults(self, name: str, spread: int, share: int, of: int) -> tuple[Counter[str], list[str]]:
        """Tries a share of the faults: how many of each mode, and problems."""
        bench = self.bench(name)
        tried: Counter[str] = Counter()
        problems = []
        for fault in selected(name, bench, spread)[share::of]:
            tried[fault.mode] += 1
            shown = replace(fault, pattern=fault.pattern.removeprefix(str(bench.scenario.watched)))
            problems += [f"{shown}: {problem}" for problem in bench.problems(fault)]
        tried["calls"] = len(bench.calls) if share == 0 else 0
        return tried, problems

    def crashes(self, name: str, spread: int) -> tuple[Counter[str], list[str]]:
        """Goes through the crash states: how many, and problems."""
        bench = self.bench(name)
        crashes = Crashes(bench, tree(bench.scenario.before) if bench.scenario.before else {})
        problems = crashes.problems(spread)
        reruns, more = crashes.rerun_problems(max(1, len(crashes.distinct) * min(spread, 12) // RERUNS))
        counts = Counter(
            {f"states ({model})": count for model, count in crashes.by_model.items()}
            | {
                "calls": crashes.calls,
                "distinct states": len(crashes.distinct),
                "of them with a package to be seen": crashes.visible,
                "different packages verified": crashes.packages,
                "different logs verified": crashes.logs,
                "run again": reruns,
            }
        )
        return counts, problems + more


_work: Work


def _faults(name: str, spread: int, share: int, of: int) -> tuple[Counter[str], list[str]]:
    return _work.faults(name, spread, share, of)


def _crashes(name: str, spread: int) -> tuple[Counter[str], list[str]]:
    return _work.crashes(name, spread)


def main() -> int:
    """Does what the command line asks for."""
    global _work  # noqa: PLW0603  # the processes that are forked find it there
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(FAULTS + CRASHES)}; all by default")
    parser.add_argument("--spread", type=int, default=1, metavar="N", help="try each N-th fault only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    parts = options.parts or [*FAULTS, *CRASHES]
    if unknown := set(parts) - {*FAULTS, *CRASHES}:
        parser.error(f"there is no part {', '.join(unknown)}")
    report = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        _work = Work(Path(folder))
        processors = os.cpu_count() or 1
        with ProcessPoolExecutor(processors, multiprocessing.get_context("fork")) as pool:
            jobs = {}
            for part in parts:
                name = part.removesuffix(" crashes")
                if part in CRASHES:
                    jobs[part] = [pool.submit(_crashes, name, options.spread)]
                else:
                    of = 1 if options.spread > 1 else processors * 16  # each share prepares the scenario anew
                    jobs[part] = [pool.submit(_faults, name, options.spread, share, of) for share in range(of)]
            for part, mine in jobs.items():
                counts, problems = Counter(), []
                for job in mine:
                    more_counts, more_problems = job.result()
                    counts += more_counts
                    problems += more_problems
                report[part] = {"counts": counts, "problems": problems}
                if not options.json:
                    print(f"{part}: {', '.join(f'{name} {count:,}' for name, count in counts.items())}", flush=True)
                    print("".join(f"  PROBLEM {problem}\n" for problem in problems[:SHOWN]), end="", flush=True)
                    if len(problems) > SHOWN:
                        print(f"  and {len(problems) - SHOWN:,} problems more")
    if options.json:
        print(json.dumps(report))
    return 1 if any(found["problems"] for found in report.values()) else 0


if __name__ == "__main__":
    started = time.monotonic()
    status = main()
    print(f"{time.monotonic() - started:.0f} seconds", file=sys.stderr)
    sys.exit(status)
