"""The sensor that finds runs (https://docs.dagster.io/guides/automate/sensors).

Belongs here: registering partitions. It requests no Dagster run: exports are asked for by the schedule, or by a person,
so that nothing is exported because of two reasons at once.

It keeps no cursor. A tick compares the finished runs of the audit database with the partitions that are registered,
which is the truth, so that a run that finishes late, or with a time stamp that another has, is not missed, whatever the
clocks say. Both sides are one statement; 50,000 runs take about half a second.
"""

import hashlib
from contextlib import suppress

import dagster as dg

from ..errors import ExportError, PackageError
from ..package import Published, package_path, read_manifest
from ..settings import Settings
from ..status import published_packages
from .alerts import ALERTS
from .discovery import finished_runs, tell_refused
from .package_metadata import MANIFEST, package_events
from .partitions import CHUNK, RUNS, in_flight, unregistered

REPORTED_PER_TICK = 200
"""Packages reported by one tick at most."""

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
        settings = Settings.from_environment()
        run_ids, refused = finished_runs(settings)
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
    lost = _unknown_packages(context.instance, settings)
    if lost:
        said.append(f"{len(lost)} packages that are there and that Dagster did not know are reported as materialized.")
    return dg.SensorResult(
        asset_events=[event for published in lost for event in package_events(published)],
        skip_reason=" ".join(said),
        dynamic_partitions_requests=[RUNS.build_add_request(now[i : i + CHUNK]) for i in range(0, len(now), CHUNK)],
    )


def _unknown_packages(instance: dg.DagsterInstance, settings: Settings) -> list[Published]:
    """Published packages of registered runs that Dagster has no materialization of: made by the command, or known to an
    instance whose records were lost."""
    try:
        export_dir = settings.export_dir
    except ExportError:
        return []
    published = [run_id for run_id, _ in published_packages(export_dir)]
    known = instance.event_log_storage.get_materialized_partitions(MANIFEST) | in_flight(instance)
    known.update(unregistered(instance, published))  # they are partitions with the next tick
    found: list[Published] = []
    for run_id in [run_id for run_id in published if run_id not in known][:REPORTED_PER_TICK]:
        with suppress(PackageError):  # one that is damaged is not reported as materialized
            path = package_path(export_dir, run_id)
            manifest_sha256 = hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()
            found.append(Published(path, read_manifest(path), manifest_sha256, is_new=False))
    return found


SENSORS = [discover_runs, *ALERTS]
