"""The schedules (https://docs.dagster.io/guides/automate/schedules): the check of the database, nightly
exports, re-verification, housekeeping.

Belongs here: when Dagster runs are asked for, and for which runs. Does not belong here: what the jobs do (`jobs.py`).
All are off until somebody switches them on in the UI. Cron and time zone are read from the environment when definitions
load; everything else is read at each tick.

What has been exported is asked of the export folder, never of Dagster's records: a package with a manifest is complete,
also after Dagster's storage was lost.
"""

import time
from collections.abc import Callable

import dagster as dg

from .. import settings
from ..errors import DatabaseError, ExportError
from ..package.publish import is_complete
from .checks import CHECK_KEYS
from .discovery import finished_runs, published_packages, tell_refused
from .jobs import CHECK_DATABASE, EXPORT_RUN, HOUSEKEEPING, VERIFY_LOG, VERIFY_PACKAGE
from .partitions import PARTITION_TAG, in_flight, register, why_not_a_key

_ATTEMPTS, _WAIT_SECONDS = 3, 3
"""A locked database is tried again within the tick: with ten seconds of waiting each, well inside the minute that a
tick has."""

_FAILURES_SEEN = 1000


def schedules() -> list[dg.ScheduleDefinition]:
    """The schedules of the code location.

    Raises:
        ExportError: a cron expression or the time zone in the environment is none.
    """
    return [
        _schedule(settings.CHECK_CRON, CHECK_DATABASE.name, database_check),
        _schedule(settings.SCHEDULE_CRON, EXPORT_RUN.name, nightly_exports),
        _schedule(settings.VERIFY_CRON, VERIFY_PACKAGE.name, reverification),
        _schedule(settings.VERIFY_CRON, VERIFY_LOG.name, log_verification),
        _schedule(settings.HOUSEKEEPING_CRON, HOUSEKEEPING.name, housekeeping),
    ]


def _schedule(
    cron_setting: str,
    job_name: str,
    evaluate: Callable[[dg.ScheduleEvaluationContext], list[dg.RunRequest] | dg.SkipReason],
) -> dg.ScheduleDefinition:
    cron, timezone = settings.cron(cron_setting), settings.schedule_timezone()
    try:
        return dg.schedule(
            cron_schedule=cron,
            execution_timezone=timezone,
            job_name=job_name,
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description=" ".join((evaluate.__doc__ or "").split()),
        )(evaluate)
    except dg.DagsterInvalidDefinitionError:
        raise ExportError(
            f"{cron_setting} is {cron!r} and {settings.SCHEDULE_TIMEZONE} is {timezone!r}; they must be a cron "
            f"expression of five "
            f"fields, such as '0 2 * * *', and a time zone of the IANA database, such as Europe/Berlin."
        ) from None


def database_check(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Looks through the whole audit database for damage that belongs to no run, or to two: what no export can see."""
    return [dg.RunRequest()]


def nightly_exports(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Asks for an export of each finished run that has no complete package and no Dagster run in flight, the oldest
    first, at most LANDSCAPE_EXPORTS_PER_TICK a night. A run whose export failed is asked for again the next night,
    after those that have not failed, so that it cannot keep others out."""
    export_dir = settings.export_dir()
    run_ids, refused = _finished_runs()
    if refused:
        context.log.warning(tell_refused(refused))
    busy = in_flight(context.instance)
    failed = _failed(context.instance)
    due = [run_id for run_id in run_ids if run_id not in busy and not is_complete(export_dir, run_id)]
    due.sort(key=lambda run_id: failed.get(run_id, 0.0))  # stable: the oldest stay first
    limit = settings.exports_per_tick()
    if len(due) > limit:
        context.log.info(f"{len(due)} exports are due; {limit} are asked for now, and the rest the next nights.")
    if not due:
        return dg.SkipReason(
            f"Each of the {len(run_ids)} finished runs has a complete package, or an export in flight. "
            f"{tell_refused(refused)}"
        )
    register(context.instance, due[:limit])
    return [dg.RunRequest(run_key=run_id, partition_key=run_id) for run_id in due[:limit]]


def reverification(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Asks for a check of published packages, the longest unchecked first, at most LANDSCAPE_CHECKS_PER_TICK a tick."""
    checked = _last_checked(context.instance)
    busy = in_flight(context.instance)
    due = sorted(
        (checked.get(run_id, 0), written, run_id)
        for run_id, written in published_packages(settings.export_dir())
        if run_id not in busy and why_not_a_key(run_id) is None
    )
    if not due:
        return dg.SkipReason("There is no published package to check.")
    # A job of checks alone has no partitions in Dagster 1.13, but its Dagster runs take the tag, and the results are
    # stamped.
    run_ids = [run_id for _, _, run_id in due[: settings.checks_per_tick()]]
    register(context.instance, run_ids)
    return [dg.RunRequest(run_key=run_id, tags={PARTITION_TAG: run_id}) for run_id in run_ids]


def log_verification(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Checks that the export log and the export folder agree; without a private key there is no log."""
    if settings.log_settings() is None:
        return dg.SkipReason(f"There is no export log: {settings.PRIVATE_KEY_FILE} names no key.")
    return [dg.RunRequest()]


def housekeeping(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Removes what is kept between the assets for runs whose package is complete and older than LANDSCAPE_KEEP_DAYS
    days."""
    return [dg.RunRequest()]


def _finished_runs() -> tuple[list[str], dict[str, str]]:
    """As `discovery.finished_runs`, but a locked database does not cost the night."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return finished_runs()
        except DatabaseError as error:
            if not error.transient:
                raise
            time.sleep(_WAIT_SECONDS)
    return finished_runs()


def _failed(instance: dg.DagsterInstance) -> dict[str, float]:
    """When the last Dagster run of a partition failed, among the latest failures."""
    failures = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=_FAILURES_SEEN, ascending=False
    )
    found: dict[str, float] = {}
    for failure in failures:
        if (run_id := failure.dagster_run.tags.get(PARTITION_TAG)) is not None:
            found.setdefault(run_id, failure.create_timestamp.timestamp())
    return found


def _last_checked(instance: dg.DagsterInstance) -> dict[str, int]:
    """A number for each package that was checked, which is greater the later that was: of its least recent check."""
    found: dict[str, int] = {}
    for info in instance.event_log_storage.get_asset_check_partition_info(CHECK_KEYS):
        if info.partition_key is not None:
            event = info.latest_check_event_storage_id
            found[info.partition_key] = min(event, found.get(info.partition_key, event))
    return found
