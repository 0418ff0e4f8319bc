"""Processes that make attempts.

Belongs here: `Worker`. Does not belong here: which attempts are made (`__main__.py`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from .kinds import attempt
from .trials import Tally


class Worker:
    """A process that makes attempts. One that dies takes nothing with it but its attempt."""

    def __init__(self, keep: Path | None) -> None:
        context = multiprocessing.get_context("spawn")  # what was imported here may have threads
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, keep), daemon=False)
        self.process.start()
        theirs.close()
        self.job: tuple[str, int] | None = None
        self.began = 0.0

    def begin(self, kind: str, seed: int) -> None:
        self.job, self.began = (kind, seed), time.monotonic()
        self.pipe.send(self.job)

    def result(self) -> Tally | None:
        """The counts of the attempt; None when there are none, and will not be any."""
        try:
            return self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, OSError):
            return None

    def end(self, *, kill: bool = False) -> None:
        """Ends the process: after its attempt, or at once."""
        if kill:
            self.process.terminate()
            self.process.join(20)
            self.process.kill()
        else:
            with suppress(OSError):
                self.pipe.send(None)
        self.process.join()
        self.pipe.close()


def _work(jobs: Connection, keep: Path | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which reports what it has
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is left to do at the end of a process is done
    for name in list(os.environ):
        if name.startswith("LANDSCAPE_") or name == "DAGSTER_HOME":
            del os.environ[name]
    while (job := jobs.recv()) is not None:
        jobs.send(attempt(*job, keep))
