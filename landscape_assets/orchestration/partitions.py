"""The one partitioning of the project: by run_id.

Belongs here: the partitions definition (https://docs.dagster.io/guides/build/partitions-and-backfills) and adding keys to it.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

RUNS = dg.DynamicPartitionsDefinition(name="run_id")
"""One partition for each run of the audit database; the key is the run_id, which may be any text."""

_CHUNK = 500


def register(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> None:
    """Adds the runs that are not partitions yet.

    In chunks: one large call is more variables than SQLite takes (dagster issue 16260).
    """
    wanted = list(run_ids)
    known = set(instance.get_dynamic_partitions(RUNS.name))
    new = [run_id for run_id in dict.fromkeys(wanted) if run_id not in known]
    for i in range(0, len(new), _CHUNK):
        instance.add_dynamic_partitions(RUNS.name, new[i : i + _CHUNK])
