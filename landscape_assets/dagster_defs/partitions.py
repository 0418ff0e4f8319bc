"""The one partitioning of the project: by run_id.

Belongs here: the partitions definition (https://docs.dagster.io/guides/build/partitions-and-backfills), which run_ids
it can hold, adding keys to it, and which of its partitions are being worked on. Does not belong here: when keys are
added (`sensors.py`, `schedules.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import dagster as dg

_NAME = "run_id"
RUNS = dg.DynamicPartitionsDefinition(name=_NAME)
"""One partition for each run of the audit database; the key is the run_id, which may be any text."""

PARTITION_TAG = "dagster/partition"
"""The tag by which Dagster says which partition a Dagster run is of."""

CHUNK = 500
"""Keys in one addition: one large call is more variables than SQLite takes (dagster issue 16260)."""

_LONGEST = 1000
_FINISHED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
IN_FLIGHT = [status for status in dg.DagsterRunStatus if status not in _FINISHED]
"""The statuses of a Dagster run that is queued or at work."""


def why_not_a_key(run_id: str) -> str | None:
    """Why Dagster cannot hold a run_id as a partition key; None when it can.

    Dagster itself refuses none (dynamic keys are not checked), and fails later: a Dagster run with the empty
    key counts as one without a partition, "..." is its sign for a range, control characters are not shown, and
    PostgreSQL indexes no long key. Commas, brackets, blanks and the like are no trouble: the UI puts such keys in
    quotation marks.
    """
    if not run_id:
        return "it is empty"
    if "..." in run_id:
        return 'it has "...", which means a range of partitions'
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in run_id):
        return "it has a control character"
    if len(run_id.encode()) > _LONGEST:
        return f"it is longer than {_LONGEST} bytes"
    return None


def unregistered(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> list[str]:
    """Those run_ids that are not partitions yet, each once, in their order."""
    known = set(instance.get_dynamic_partitions(_NAME))
    return [run_id for run_id in dict.fromkeys(run_ids) if run_id not in known]


def register(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> None:
    """Adds the runs that are not partitions yet."""
    new = unregistered(instance, run_ids)
    for i in range(0, len(new), CHUNK):
        instance.add_dynamic_partitions(_NAME, new[i : i + CHUNK])


def in_flight(instance: dg.DagsterInstance, run_id: str | None = None) -> set[str]:
    """The partitions that a Dagster run is queued for or at work on.

    Args:
        instance: the Dagster instance.
        run_id: look for this partition alone.
    """
    tags = {} if run_id is None else {PARTITION_TAG: run_id}
    runs = instance.get_runs(dg.RunsFilter(statuses=IN_FLIGHT, tags=tags))
    return {run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags}
