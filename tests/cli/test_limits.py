"""Limits of the process (ulimit): one sentence each, no traceback, and no part of a package.

Belongs here: too few files and too little memory, as real processes meet them. Does not belong here: a full disk
(`../faults/`).
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from support.exporter import KEY, Exporter
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.dagster_defs.failures import explained
from landscape_assets.errors import NO_MEMORY
from landscape_assets.settings import Settings
from landscape_assets.storage.arrow_file import ArrowReader


def limited(exporter: Exporter, limit: int, values: tuple[int, int], *arguments: object) -> tuple[int, str, str]:
    """Exit status, output and standard error of a command with a limit of its own."""
    process = subprocess.run(
        [sys.executable, "-m", "landscape_assets.cli", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=exporter.folder,
        env=os.environ | {"LANDSCAPE_SIGNING_KEY": KEY},
        preexec_fn=lambda: resource.setrlimit(limit, values),
    )
    return process.returncode, process.stdout, process.stderr


FILES = "Error: This process may have {} files open at a time, and needs 256. Raise the limit (ulimit -n).\n"
MEMORY = "Error: This process may have {:,} KB of address space, and needs 4,000,000. Raise the limit (ulimit -v).\n"


@pytest.mark.parametrize("command", ["export", "runs", "demo"])
@pytest.mark.parametrize(
    ("limit", "value", "says"),
    [
        (resource.RLIMIT_NOFILE, 10, FILES.format(10)),
        (resource.RLIMIT_NOFILE, 40, FILES.format(40)),
        (resource.RLIMIT_NOFILE, 255, FILES.format(255)),
        (resource.RLIMIT_AS, 400_000 * 1024, MEMORY.format(400_000)),
        (resource.RLIMIT_AS, 1_500_000 * 1024, MEMORY.format(1_500_000)),
    ],
)
def test_a_limit_that_is_too_low(
    sample: Path, exporter: Exporter, command: str, limit: int, value: int, says: str
) -> None:
    """It is said before libraries are loaded, which would end the process or never end; nothing is written."""
    of_command = {
        "export": ("--database", f"sqlite:///{sample}", "--output", exporter.output, "--all"),
        "runs": ("--database", f"sqlite:///{sample}"),
        "demo": (),
    }[command]
    assert limited(exporter, limit, (value, value), command, *of_command) == (2, "", says)
    assert list(exporter.folder.iterdir()) == [sample]


@pytest.mark.parametrize("values", [(40, 256), (256, 256)])
def test_the_number_of_files_that_is_asked_for_is_enough(
    sample: Path, exporter: Exporter, values: tuple[int, int]
) -> None:
    """A lower limit that may be raised is raised."""
    arguments = ("export", "--database", f"sqlite:///{sample}", "--output", exporter.output, "--all", "--json")
    status, _, stderr = limited(exporter, resource.RLIMIT_NOFILE, values, *arguments)
    assert (status, stderr) == (0, "")
    assert len(list(exporter.output.glob("*/manifest.json"))) == 2


def test_the_address_space_that_is_asked_for_is_enough(sample: Path, exporter: Exporter) -> None:
    """For a small run."""
    if (os.cpu_count() or 1) > 8:
        pytest.skip("each processor has threads, and each thread a stack")
    room = 4_000_000 * 1024
    arguments = ("--database", f"sqlite:///{sample}", "--output", exporter.output, f"--run-id={COMPLETED_RUN}")
    status, _, stderr = limited(exporter, resource.RLIMIT_AS, (room, room), "export", *arguments)
    assert (status, stderr) == (0, "")


def test_memory_that_is_not_there_is_said_to_be_missing() -> None:
    """Where Arrow or Python ask the system for too much."""
    for ask in (lambda: pa.allocate_buffer(2**60), lambda: bytearray(2**62)):
        with pytest.raises(dg.Failure) as failure, explained(Settings.from_environment()):
            ask()
        assert failure.value.description == NO_MEMORY


def test_too_many_open_files_are_not_the_fault_of_a_stored_file(tmp_path: Path) -> None:
    """The file may be as it was written; the message names the limit."""
    path = tmp_path / "file.arrow"
    path.write_bytes(b"")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(dg.Failure) as failure, explained(Settings.from_environment()):
            ArrowReader(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (failure.value.description or "").startswith("Too many files are open")
