"""The schedules (https://docs.dagster.io/guides/automate/schedules): the check of the database, nightly
exports, re-verification, housekeeping.

Belongs here: when Dagster runs are asked for, and for which runs. Does not belong here: what the jobs do (`jobs.py`).
All are off until they are switched on in the UI. Cron and time zone are read from the environment when definitions
load; everything else is read at each tick.

What has been exported is asked of the export folder, never of Dagster's records: a package with a manifest is complete,
also after Dagster's storage was lost.
"""

import time
from collections.abc import Callable

import dagster as dg

from ..errors import DatabaseError, ExportError
from ..package import is_complete
from ..settings import (
    CHECK_CRON,
    HOUSEKEEPING_CRON,
    PRIVATE_KEY_FILE,
    SCHEDULE_CRON,
    SCHEDULE_TIMEZONE,
    VERIFY_CRON,
    Settings,
)
from .checks import due_packages, verify_published_package
from .discovery import finished_runs, tell_refused
from .export_log import VERIFY_LOG
from .housekeeping import HOUSEKEEPING
from .jobs import CHECK_DATABASE, EXPORT_RUN, VERIFY_PACKAGE
from .partitions import IN_FLIGHT, PARTITION_TAG, in_flight, register

_ATTEMPTS, _WAIT_SECONDS = 3, 3
"""A locked database is tried again within the tick: with ten seconds of waiting each, well inside the minute that a
tick has."""

_FAILURES_SEEN = 1000


def schedules() -> list[dg.ScheduleDefinition]:
    """The schedules of the code location.

    Raises:
        ExportError: a cron expression or the time zone in the environment is none.
    """
    settings = Settings.from_environment()
    return [
        _schedule(settings, CHECK_CRON, CHECK_DATABASE.name, database_check),
        _schedule(settings, SCHEDULE_CRON, EXPORT_RUN.name, nightly_exports),
        _schedule(settings, VERIFY_CRON, VERIFY_PACKAGE.name, reverification),
        _schedule(settings, VERIFY_CRON, VERIFY_LOG.name, log_verification),
        _schedule(settings, HOUSEKEEPING_CRON, HOUSEKEEPING.name, housekeeping),
    ]


def _schedule(
    settings: Settings,
    cron_setting: str,
    job_name: str,
    evaluate: Callable[[dg.ScheduleEvaluationContext], list[dg.RunRequest] | dg.SkipReason],
) -> dg.ScheduleDefinition:
    cron, timezone = settings.cron(cron_setting), settings.schedule_timezone
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
            f"{cron_setting} is {cron!r} and {SCHEDULE_TIMEZONE} is {timezone!r}; they must be a cron "
            f"expression of five "
            f"fields, such as '0 2 * * *', and a time zone of the IANA database, such as Europe/Berlin."
        ) from None


def database_check(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Looks through the whole audit database for damage that belongs to no run, or to two: what no export can see."""
    return [dg.RunRequest()]


def nightly_exports(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Requests an export of each finished run that has no complete package and no Dagster run in flight, the oldest
    first, at most LANDSCAPE_EXPORTS_PER_TICK a night. A run whose export failed is asked for again the next night,
    after those that have not failed, so that it cannot keep others out."""
    settings = Settings.from_environment()
    export_dir = settings.export_dir
    run_ids, refused = _finished_runs(settings)
    if refused:
        context.log.warning(tell_refused(refused))
    busy = in_flight(context.instance)
    failed = _failed(context.instance)
    due = [run_id for run_id in run_ids if run_id not in busy and not is_complete(export_dir, run_id)]
    due.sort(key=lambda run_id: failed.get(run_id, 0.0))  # stable: the oldest stay first
    limit = settings.exports_per_tick
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
    """Asks for one Dagster run that checks published packages, the longest unchecked first, at most
    LANDSCAPE_CHECKS_PER_TICK and for an hour."""
    settings = Settings.from_environment()
    if context.instance.get_runs(dg.RunsFilter(job_name=VERIFY_PACKAGE.name, statuses=IN_FLIGHT), limit=1):
        return dg.SkipReason("The job verify_package is queued or at work.")
    if not (run_ids := due_packages(context.instance, settings)[: settings.checks_per_tick]):
        return dg.SkipReason("There is no published package to check.")
    register(context.instance, run_ids)
    config = {"most": settings.checks_per_tick}
    return [dg.RunRequest(run_config={"ops": {verify_published_package.op.name: {"config": config}}})]


def log_verification(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Checks that the export log and the export folder agree; without a private key there is no log."""
    if Settings.from_environment().log is None:
        return dg.SkipReason(f"There is no export log: {PRIVATE_KEY_FILE} names no key.")
    return [dg.RunRequest()]


def housekeeping(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Removes what is kept between the steps for runs whose package is complete and older than LANDSCAPE_KEEP_DAYS
    days."""
    return [dg.RunRequest()]


def _finished_runs(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """As `discovery.finished_runs`, but a locked database does not cost the night."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return finished_runs(settings)
        except DatabaseError as error:
            if not error.transient:
                raise
            time.sleep(_WAIT_SECONDS)
    return finished_runs(settings)


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
