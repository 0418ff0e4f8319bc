"""The sensor that finds runs (https://docs.dagster.io/guides/automate/sensors).

Belongs here: registering partitions. It requests no Dagster run: exports are asked for by the schedule, or by a person,
so that nothing is exported because of two reasons at once.

It keeps no cursor. A tick compares the finished runs of the audit database with the partitions that are registered,
which is the truth, so that a run that finishes late, or with a time stamp that another has, is not missed, whatever the
clocks say. Both sides are one statement; 50,000 runs take about half a second.
"""

import dagster as dg

from ..errors import ExportError
from ..settings import Settings
from .discovery import finished_runs, tell_refused
from .partitions import CHUNK, RUNS, unregistered

PER_TICK = 5000
"""Partitions registered by one tick at most; the rest follow with the next ones. A second's work."""


@dg.sensor(
    name="discover_runs",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Registers a partition for every finished run of the audit database, so that it can be exported. It starts no "
        "export. Runs that have not finished appear when they have."
    ),
)
def discover_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Registers finished runs that are not partitions yet, the oldest first."""
    try:
        run_ids, refused = finished_runs(Settings.from_environment())
    except (ExportError, OSError) as error:
        # Skipped, not empty: nothing is concluded from a database that could not be read.
        return dg.SkipReason(str(error))
    new = unregistered(context.instance, run_ids)
    now = new[:PER_TICK]
    said = [f"{len(run_ids)} finished runs, {len(now)} of them newly registered."]
    if len(new) > len(now):
        said.append(f"{len(new) - len(now)} more follow with the next ticks.")
    if refused:
        said.append(tell_refused(refused))
        context.log.warning(said[-1])
    return dg.SensorResult(
        skip_reason=" ".join(said),
        dynamic_partitions_requests=[RUNS.build_add_request(now[i : i + CHUNK]) for i in range(0, len(now), CHUNK)],
    )


SENSORS = [discover_runs]
