"""Alerts (https://docs.dagster.io/guides/automate/sensors/run-status-sensors): one JSON document to a webhook for each
Dagster run that failed, and for each tick of a schedule that failed.

Belongs here: what an alert says, and how it is sent. A package or a database that does not pass its checks fails the
Dagster run that checked it, so that failed checks alert, too. Does not belong here: why something failed.

Both sensors are off until they are switched on. A receiver that does not answer stops nothing: an alert is tried a few
times, and then only the sensor's log has it.
"""

import json
import time
import urllib.request
from typing import Any

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorType, TickStatus

from ..errors import ExportError
from ..settings import ALERT_URL, Settings
from .partitions import PARTITION_TAG

_ATTEMPTS, _TIMEOUT_SECONDS = 3, 5
"""All attempts together stay well inside the minute that a tick has."""

_TOLD = 1000
"""How much of a message is sent at most, in characters."""

_TICKS = 20
"""Failed ticks of one schedule that are told at a time."""


@dg.run_failure_sensor(
    name="alert_on_failed_run",
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=f"Posts a JSON document to {ALERT_URL} for each Dagster run that failed: run_id, step, reason, link.",
)
def alert_on_failed_run(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """Tells of one failed Dagster run."""
    run = context.dagster_run
    steps = context.get_step_failure_events()
    reason = context.failure_event.message or ""
    if steps:
        failure = steps[0].step_failure_data
        if failure.user_failure_data is not None and failure.user_failure_data.description:
            reason = failure.user_failure_data.description
        elif failure.error is not None:
            reason = failure.error.message
    return _send(
        context.log,
        {
            "event": "run failed",
            "job": run.job_name,
            "run_id": run.tags.get(PARTITION_TAG),
            "step": steps[0].step_key if steps else None,
            "message": reason.strip()[:_TOLD],
            "dagster_run_id": run.run_id,
            "link": _link(f"/runs/{run.run_id}"),
        },
    )


@dg.sensor(
    name="alert_on_failed_tick",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        f"Posts a JSON document to {ALERT_URL} for each tick of a schedule that failed: no Dagster run tells of it."
    ),
)
def alert_on_failed_tick(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Tells of the schedules' failed ticks since the last time; the first time of none."""
    instance, now = context.instance, time.time()
    told = 0
    if context.cursor is not None:
        for schedule in instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE):
            ticks = instance.get_ticks(
                schedule.instigator_origin_id,
                schedule.selector_id,
                after=float(context.cursor),
                limit=_TICKS,
                statuses=[TickStatus.FAILURE],
            )
            for tick in ticks:
                told += 1
                _send(
                    context.log,
                    {
                        "event": "schedule tick failed",
                        "schedule": schedule.name,
                        "message": (tick.error.message if tick.error else "").strip()[:_TOLD],
                        "link": _link(f"/automation?search={schedule.name}"),
                    },
                )
    context.update_cursor(str(now))
    return dg.SkipReason(f"{told} failed ticks of schedules since the last look.")


def _link(path: str) -> str:
    """A page of the UI; without its address, the path."""
    try:
        return f"{Settings.from_environment().ui_url}{path}"
    except ExportError:  # an alert without the address is better than none
        return path


def _send(log: Any, document: dict[str, str | None]) -> dg.SkipReason | None:
    """Posts a document; why it did not arrive, as a skip reason of the tick."""
    try:
        url = Settings.from_environment().alert_url
    except ExportError as error:
        return dg.SkipReason(f"No alert was sent: {error}")
    if url is None:
        return dg.SkipReason(f"{ALERT_URL} is not set: no alert was sent.")
    reason = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(attempt)
        try:
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(url, json.dumps(document).encode(), headers, method="POST")
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):
                return None
        except (OSError, ValueError) as error:
            # Not what it says: it may hold the URL, which may hold a secret.
            reason = f"HTTP {code}" if (code := getattr(error, "code", None)) else type(error).__name__
    said = (
        f"The receiver of {ALERT_URL} did not take the alert in {_ATTEMPTS} attempts ({reason}): {document['message']}"
    )
    log.warning(said)
    return dg.SkipReason(said)


ALERTS = [alert_on_failed_run, alert_on_failed_tick]
