"""The command `python -m tests.adversary`: tries each kind with one seed after the other until the time is over.

Belongs here: options, whose turn it is, and the report. Does not belong here: what is tried (`kinds.py`).

Exit status 0 when all held, 1 when anything failed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from multiprocessing.connection import wait
from pathlib import Path

from .kinds import KINDS
from .trials import Tally
from .workers import Worker

LONGEST = 300
"""Seconds after which an attempt counts as one that does not end."""
SHOWN = 5
"""Failures printed of each class."""


def main() -> int:
    """Does what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.adversary", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=5, help="begin no attempt later; 0 for one attempt of each kind"
    )
    parser.add_argument(
        "--kind", action="append", choices=KINDS, metavar="NAME", help=f"of {', '.join(KINDS)}; all by default"
    )
    parser.add_argument("--seed", type=int, help="the first seed; attempts count up from it. A random one by default")
    parser.add_argument("--jobs", type=int, default=1, help="attempts at the same time")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the folders of failed attempts in DIR")
    options = parser.parse_args()
    kinds = options.kind or list(KINDS)
    first = random.randrange(10**6) if options.seed is None else options.seed
    keep = options.keep and options.keep.resolve()
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    print(f"first seed {first}", flush=True)
    totals, attempts = _all_attempts(
        list(dict.fromkeys(kinds)), first, options.minutes * 60, max(1, options.jobs), keep
    )
    _report(totals, attempts)
    return 1 if any(total.failures for total in totals.values()) else 0


def _all_attempts(
    kinds: list[str], first: int, seconds: float, jobs: int, keep: Path | None
) -> tuple[dict[str, Tally], Counter[str]]:
    """Makes attempts until the time is over, of each kind for as long; counts and numbers of attempts, by kind."""
    totals = {kind: Tally(kind) for kind in kinds}
    begun: Counter[str] = Counter()
    spent: dict[str, float] = dict.fromkeys(kinds, 0.0)
    started = time.monotonic()
    workers = [Worker(keep) for _ in range(jobs)]
    try:
        while True:
            for number in range(len(workers)):
                worker = workers[number]
                if worker.job is not None:
                    over = time.monotonic() - worker.began > LONGEST
                    if not over and worker.process.is_alive() and not worker.pipe.poll():
                        continue
                    kind, seed = worker.job
                    spent[kind] += time.monotonic() - worker.began
                    tally = worker.result()
                    if tally is None:
                        worker.end(kill=True)
                        how = f"not ended after {LONGEST} seconds" if over else f"exit code {worker.process.exitcode}"
                        tally = Tally(kind, seed)
                        tally.judge("the attempt", ("an attempt's process died or did not end", how))
                        worker = workers[number] = Worker(keep)
                    totals[kind].add(tally)
                    worker.job = None
                # Of the kinds that are due, the one that has had least time.
                due = [kind for kind in kinds if not begun[kind] or time.monotonic() - started < seconds]
                if due:
                    kind = min(due, key=lambda kind: (spent[kind], begun[kind]))
                    worker.begin(kind, first + begun[kind])
                    begun[kind] += 1
            busy = [worker for worker in workers if worker.job is not None]
            if not busy:
                return totals, begun
            wait([thing for worker in busy for thing in (worker.pipe, worker.process.sentinel)], timeout=5)
    except KeyboardInterrupt:
        return totals, begun
    finally:
        for worker in workers:
            worker.end(kill=worker.job is not None)


def _report(totals: dict[str, Tally], attempts: Counter[str]) -> None:
    for kind, total in totals.items():
        print(
            f"{kind}: {attempts[kind]} attempts, tried {total.tried}, held {total.held}, failed {len(total.failures)}"
        )
        for note, count in sorted(total.notes.items()):
            print(f"    {count:5}  {note}")
        by_class: dict[str, list] = {}
        for failure in total.failures:
            by_class.setdefault(failure.what, []).append(failure)
        for what, failures in by_class.items():
            print(f"  FAILED {len(failures)} times: {what}")
            for failure in failures[:SHOWN]:
                print(f"    --kind {kind} --seed {failure.seed} --minutes 0: {failure.detail}")
            if len(failures) > SHOWN:
                seeds = dict.fromkeys(failure.seed for failure in failures[SHOWN:])
                print(f"    and with the seeds {', '.join(map(str, seeds))}")


if __name__ == "__main__":
    began = time.monotonic()
    status = main()
    print(f"{time.monotonic() - began:.0f} seconds", file=sys.stderr)
    sys.exit(status)
