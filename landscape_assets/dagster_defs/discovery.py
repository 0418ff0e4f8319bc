"""Which runs there are to export: the audit database says it, not Dagster's records.

Belongs here: what sensor and schedules ask of it. Does not belong here: what they do about it (`sensors.py`,
`schedules.py`).
"""

from __future__ import annotations

from ..database import AuditDatabase
from ..settings import Settings
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
