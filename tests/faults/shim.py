"""The shim `shim.c` from Python: compiled, loaded into this process, and its traces read.

Belongs here: what concerns the shim alone. Does not belong here: what is done with it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODES = ("none", "kill", "half", "nospace", "ioerror", "short", "flip", "full")
"""As the enum in shim.c."""

_LOADED = "LANDSCAPE_TEST_SHIM"


def compiler() -> str | None:
    """The C compiler, if there is one."""
    return shutil.which("cc") or shutil.which("gcc")


def restart_with_shim() -> None:
    """Starts this program again with the shim loaded, unless it is."""
    if _LOADED in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        library, source = folder / "shim.so", Path(__file__).with_name("shim.c")
        subprocess.run([compiler(), "-O1", "-fPIC", "-shared", "-o", library, source, "-ldl", "-lpthread"], check=True)
        # One thread of BLAS: the process forks.
        environment = os.environ | {"LD_PRELOAD": str(library), _LOADED: str(library), "OPENBLAS_NUM_THREADS": "1"}
        status = subprocess.run(
            [sys.executable, "-m", "tests.faults", *sys.argv[1:]], check=False, env=environment
        ).returncode
    finally:
        shutil.rmtree(folder)
    sys.exit(status)


@dataclass(frozen=True)
class Fault:
    """One call and what is to happen to it.

    Args:
        call: its kind, as the trace has it.
        pattern: of its path; `*` stands for what differs from process to process.
        n: the how many-th call of that kind and path.
        mode: one of MODES.
    """

    call: str
    pattern: str
    n: int
    mode: str

    def __str__(self) -> str:
        return f"{self.mode} at {self.call} {self.n} of {self.pattern}"


@dataclass(frozen=True)
class Call:
    """One call of a trace."""

    name: str
    path: str
    second: str
    offset: int
    data: bytes


class Shim:
    """The shim in this process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ[_LOADED])

    def watch(self, folder: Path) -> None:
        """Calls on paths below this folder are seen from now on."""
        self._library.fault_watch(os.fsencode(folder))

    def trace(self, file: Path) -> None:
        """Calls that succeed are written to this file from now on."""
        self._library.fault_trace(os.fsencode(file))

    def arm(self, fault: Fault) -> None:
        """One call is to fail."""
        self._library.fault_arm(fault.call.encode(), os.fsencode(fault.pattern), fault.n, MODES.index(fault.mode))

    @property
    def hit(self) -> bool:
        """Whether that call came."""
        return bool(self._library.fault_hit())

    def stop_clock(self, second: int) -> None:
        """It is this second from now on, so that two exports give the same bytes."""
        self._library.fault_clock(ctypes.c_long(second))


def read_trace(file: Path) -> list[Call]:
    """The calls of a trace, in the order in which they took effect."""
    calls = []
    with file.open("rb") as trace:
        while line := trace.readline():
            name, path, second, offset, size = line.decode().rstrip("\n").split("\t")
            calls.append(Call(name, path, second, int(offset), trace.read(int(size))))
    return calls
