"""Time and peak memory of one command in a fresh process.

Belongs here: how one measurement is taken. Does not belong here: which commands are measured (`commands.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which the system reports a peak resident size."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one process took.

    Args:
        seconds: wall time from its start to its end.
        peak_mb: its peak resident size in MB (10^6 bytes): the process itself, or the largest that it waited for.
        processor_seconds: processor time that it used, with the processes that it waited for.
        output: its standard output.
    """

    seconds: float
    peak_mb: float
    processor_seconds: float
    output: str


def measure(command: Sequence[str], environment: Mapping[str, str], directory: Path) -> Measurement:
    """Run a command to its end.

    The system counts the resident size of the measuring process until the new one has started, so a peak below that
    cannot be seen: keep the measuring process small.

    Args:
        command: program and arguments.
        environment: all environment variables.
        directory: where it runs.

    Raises:
        RuntimeError: the command ended with an error; with the end of what it wrote to standard error.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        _, wait_status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        # The process has been waited for here, and Popen must not do it again.
        process.returncode = os.waitstatus_to_exitcode(wait_status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            ending = errors.read().decode(errors="replace")[-2_000:]
            raise RuntimeError(f"{' '.join(command)}\nended with {process.returncode}: {ending}")
        processor_seconds = usage.ru_utime + usage.ru_stime
        return Measurement(seconds, usage.ru_maxrss * RSS_UNIT / 1e6, processor_seconds, output.read().decode())
