"""A sample audit database of the newest generation (ELSPETH 0.7.1): what `landscape-assets demo` exports.

Belongs here: the tables as DDL (`schema.sql`), what they hold (`content.sql`), and writing both into a file. Does not
belong here: reading or exporting audit databases, and databases of other generations, which are the tests'.
"""

from __future__ import annotations

import os
import sqlite3
from importlib import resources
from pathlib import Path

COMPLETED_RUN = "complaints-2026-11-03"
FAILED_RUN = "complaints-2026-11-10"
RUNNING_RUN = "complaints-2026-11-17"

__all__ = ["COMPLETED_RUN", "FAILED_RUN", "RUNNING_RUN", "write_sample"]


def write_sample(path: Path) -> None:
    """Write the sample audit database. The content is the same every time.

    It has the runs `COMPLETED_RUN` (with every record type, and an export of itself that ELSPETH made), `FAILED_RUN`
    and `RUNNING_RUN` (unfinished). It is written under another name in the same folder, which is made where it is
    missing, and renamed when whole.

    Args:
        path: the file to write.

    Raises:
        FileExistsError: there is something of that name already; it is left as it is.
        OSError: the file cannot be written.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already and is not overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        connection = sqlite3.connect(partial)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            for name in ("schema.sql", "content.sql"):
                connection.executescript(resources.files(__name__).joinpath(name).read_text("utf-8"))
        finally:
            connection.close()
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
