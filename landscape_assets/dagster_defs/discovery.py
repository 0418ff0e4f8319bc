"""Which runs there are to export, and which are done: the audit database and the export folder say it, not Dagster's
records.

Belongs here: what sensor and schedules ask of the two. Does not belong here: what they do about it (`sensors.py`,
`schedules.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..database import AuditDatabase
from ..package import MANIFEST, run_id_in
from ..settings import Settings
from ..storage.names import run_id_of
from .partitions import why_not_a_key

_SHOWN = 5


def finished_runs(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """The finished runs of the audit database, the oldest first.

    Args:
        settings: which name the database.

    Returns:
        The run_ids that Dagster can hold as partition keys, and for each other one why it cannot.

    Raises:
        DatabaseError, UnknownContract: it cannot be read.
    """
    with AuditDatabase(settings.database_url) as database:
        finished = [run.run_id for run in database.runs.values() if run.is_finished(database.contract)]
    refused = {run_id: reason for run_id in finished if (reason := why_not_a_key(run_id)) is not None}
    return [run_id for run_id in finished if run_id not in refused], refused


def tell_refused(refused: dict[str, str]) -> str:
    """Which run_ids cannot be partitions, as a sentence for a tick's page; empty when there are none."""
    if not refused:
        return ""
    shown = "; ".join(f"{run_id[:80]!r}: {reason}" for run_id, reason in list(refused.items())[:_SHOWN])
    more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
    return (
        f"{len(refused)} finished run(s) cannot be partitions of Dagster ({shown}{more}). Export them with "
        f"`landscape-assets export --run-id`."
    )


def published_packages(export_dir: Path) -> Iterator[tuple[str, float]]:
    """The complete packages of an export folder: run_id, and when the manifest was written (seconds of the epoch).

    Raises:
        OSError: the folder cannot be read.
    """
    if not export_dir.is_dir():
        return
    with os.scandir(export_dir) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                written = os.stat(os.path.join(entry.path, MANIFEST)).st_mtime
            except (FileNotFoundError, NotADirectoryError):
                continue
            run_id = run_id_of(entry.name)
            if run_id is None:  # the name was cut; only the manifest tells
                run_id = run_id_in(Path(entry.path))
            if run_id is not None:
                yield run_id, written
