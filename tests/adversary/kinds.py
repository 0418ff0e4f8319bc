"""The kinds of trials by name, and one attempt of any.

Belongs here: the list, and the care for an attempt's folder. Does not belong here: what a kind tries.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from pathlib import Path

from . import damage, databases, forgeries, values, writers
from .trials import Attempt, Tally

KINDS: dict[str, Attempt] = {
    "databases": databases.attempt,
    "writers": writers.attempt,
    "postgresql": writers.postgresql_attempt,
    "damage": damage.attempt,
    "values": values.attempt,
    "forgeries": forgeries.attempt,
}


def attempt(kind: str, seed: int, keep: Path | None = None) -> Tally:
    """Makes one attempt in a folder of its own, which is the working folder meanwhile.

    Args:
        kind: its name.
        seed: decides all that is random about it.
        keep: where folders of attempts that failed are left; None to remove them all.
    """
    tally = Tally(kind, seed)
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-{seed}-", dir=keep))
    before = Path.cwd()
    os.chdir(folder)
    try:
        KINDS[kind](seed, folder, tally)
    except Exception as error:  # of the trial's own code, or out of a public entry point
        where = traceback.extract_tb(error.__traceback__)[-1]
        seen = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
        tally.judge("the attempt", ("an attempt ended with an exception", seen))
    finally:
        os.chdir(before)
        if keep is None or not tally.failures:
            shutil.rmtree(folder, ignore_errors=True)
    return tally
