"""Dagster from outside: making an instance ready, and what it has noted of its runs.

Belongs here: what the benchmark asks of Dagster in a process of its own, so that the measuring process stays small.
Does not belong here: what is measured.

    python -m benchmarks.dagster_records jobs
    python -m benchmarks.dagster_records prepare RUN_ID...
    python -m benchmarks.dagster_records runs

print JSON: the names of the code location's jobs; the number of partitions after registering these; the Dagster runs of
the instance that DAGSTER_HOME names.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import dagster as dg

STEP_ENDS = (dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE)


def jobs() -> list[str]:
    """The names of the jobs of the code location."""
    from landscape_assets.definitions import defs

    return sorted(job.name for job in defs.get_repository_def().get_all_jobs())


def prepare(instance: dg.DagsterInstance, run_ids: list[str]) -> int:
    """Register partitions, as the sensor does; the instance makes its own databases as it is opened."""
    from landscape_assets.definitions import defs

    partitions = defs.resolve_job_def("export_run").partitions_def
    assert isinstance(partitions, dg.DynamicPartitionsDefinition)
    assert partitions.name
    # Not all at once: one large addition has more variables than SQLite takes.
    for start in range(0, len(run_ids), 100):
        instance.add_dynamic_partitions(partitions.name, run_ids[start : start + 100])
    return len(instance.get_dynamic_partitions(partitions.name))


def runs(instance: dg.DagsterInstance) -> list[dict[str, Any]]:
    """The Dagster runs of an instance, the oldest first.

    Returns:
        For each: `job`; `status`; `partition` or None; `backfill` or None; `created`, `start` and `end`, the times when
        it was put into the queue, and of its start and end events, in seconds of the epoch; `events`, how many entries
        its log has; `check_seconds`, what the steps took that only check.
    """
    return [
        {
            "job": record.dagster_run.job_name,
            "status": record.dagster_run.status.value,
            "partition": record.dagster_run.tags.get("dagster/partition"),
            "backfill": record.dagster_run.tags.get("dagster/backfill"),
            "created": record.create_timestamp.timestamp(),
            "start": record.start_time,
            "end": record.end_time,
            **_events(instance, record.dagster_run.run_id),
        }
        for record in reversed(instance.get_run_records())
    ]


def _events(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    log = instance.all_logs(run_id)
    started: dict[str, float] = {}
    took: dict[str, float] = {}
    checking, making = set(), set()
    for entry in log:
        event = entry.dagster_event
        if event is None or event.step_key is None:
            continue
        step, kind = event.step_key, event.event_type
        if kind is dg.DagsterEventType.STEP_START:
            started[step] = entry.timestamp
        elif kind in STEP_ENDS and step in started:
            took[step] = entry.timestamp - started[step]
        elif kind is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            checking.add(step)
        elif kind is dg.DagsterEventType.ASSET_MATERIALIZATION:
            making.add(step)
    return {"events": len(log), "check_seconds": sum(took.get(step, 0.0) for step in checking - making)}


def main(arguments: list[str]) -> None:
    """Do what the arguments say, and print the answer."""
    what, *rest = arguments
    if what == "jobs":
        answer: Any = jobs()
    else:
        with dg.DagsterInstance.get() as instance:
            answer = prepare(instance, rest) if what == "prepare" else runs(instance)
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
