"""What a process needs before it begins: limits that suffice, libraries that take little memory, a garbage collector
that does not get in the way.

Belongs here: resource limits, the environment that libraries read as they are loaded, and when garbage is collected.
Does not belong here: settings (`settings.py`).
"""

from __future__ import annotations

import atexit
import gc
import os

from .errors import ExportError

LIBRARY_ENVIRONMENT = {
    # The allocators of Arrow and of Polars keep freed memory for the next batch, each for itself, and so hold several
    # batches that are not used. Of those that Arrow has, jemalloc gives most back (measured with all formats: 40 MB
    # less than mimalloc, at the same speed). That of Polars keeps some for each of eight arenas, and for half a second
    # unless told otherwise; one arena and a tenth of a second are as fast (measured: 45 MB less).
    "ARROW_DEFAULT_MEMORY_POOL": "jemalloc",
    "_RJEM_MALLOC_CONF": "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0",
    # NumPy's linear algebra, which is not used here, would start threads that wait for work in a loop.
    "OPENBLAS_NUM_THREADS": "1",
}
"""What Arrow, Polars and NumPy read from the environment as they are loaded; deploy/Dockerfile has the same."""

_OPEN_FILES = 256
"""Files that an export may have open at a time: tables, databases, and what libraries open as they are loaded."""

_ADDRESSES_KB = 4_000_000
"""Address space that an export needs: libraries and the stacks of threads reserve far more than they use."""


def prepare_libraries() -> None:
    """Sets what libraries read as they are loaded, unless it is set already; to be called before they are."""
    for name, value in LIBRARY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def collect_seldom() -> None:
    """Makes Python look for garbage less often, and not at its end; to be called before libraries are loaded.

    Dagster, Polars and SQLAlchemy are half a million objects that stay. By default they are gone through again and
    again while they are loaded, and once more as the process ends (measured: 0.7 s of the 1.7 s that a process takes to
    load the definitions and end). What an export makes is freed without the collector.
    """
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)


def require_limits() -> None:
    """Makes sure that the limits of this process let libraries load and threads start; where they fail, they end the
    process or wait without end.

    Raises:
        ExportError: a limit is too low.
    """
    import resource  # not everywhere, and of no use to `verify`

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _OPEN_FILES:
        if 0 <= hard < _OPEN_FILES:
            raise ExportError(
                f"This process may have {hard} files open at a time, and needs {_OPEN_FILES}. Raise the limit "
                f"(ulimit -n)."
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, hard))
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= addresses // 1024 < _ADDRESSES_KB:
        raise ExportError(
            f"This process may have {addresses // 1024:,} KB of address space, and needs {_ADDRESSES_KB:,}. Raise the "
            f"limit (ulimit -v)."
        )
