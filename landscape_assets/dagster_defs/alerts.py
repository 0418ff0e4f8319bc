"""Alerts (https://docs.dagster.io/guides/automate/sensors/run-status-sensors): a JSON document to a webhook, or a mail,
for each Dagster run that failed, and for each tick of a schedule that failed.

Belongs here: what an alert says, and how it is sent. A package or a database that does not pass its checks fails the
Dagster run that checked it, so that failed checks alert, too. Does not belong here: why something failed.

Both sensors are off until they are switched on. A receiver that does not answer stops nothing: an alert is tried a few
times, and then only the sensor's log has it.
"""

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorType, TickStatus

from ..errors import ExportError
from ..printable import printable
from ..settings import ALERT_MAIL, ALERT_URL, Settings
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
    description=(
        f"Tells {ALERT_URL} (a JSON document) and {ALERT_MAIL} (a mail) of each Dagster run that failed: run_id, step, "
        f"reason, link."
    ),
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
        f"Tells {ALERT_URL} (a JSON document) and {ALERT_MAIL} (a mail) of each tick of a schedule that failed: no "
        f"Dagster run tells of it."
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
    """Sends a document to every receiver; why it did not arrive, as a skip reason of the tick."""
    try:
        settings = Settings.from_environment()
        url, server = settings.alert_url, settings.alert_mail
    except ExportError as error:
        return dg.SkipReason(f"No alert was sent: {error}")
    if url is None and server is None:
        return dg.SkipReason(f"Neither {ALERT_URL} nor {ALERT_MAIL} is set: no alert was sent.")
    refused = []
    if url is not None:
        refused += _attempt(ALERT_URL, lambda: _post(url, document))
    if server is not None:
        lines = [f"{name}: {text}" for name, text in document.items() if text and name != "event"]
        subject = f"landscape_assets: {document['event']}: {document.get('run_id') or document.get('schedule') or ''}"
        refused += _attempt(ALERT_MAIL, lambda: server.send(printable(subject), "\n".join(lines), _TIMEOUT_SECONDS))
    if not refused:
        return None
    said = f"{' '.join(refused)} The alert: {document['message']}"
    log.warning(said)
    return dg.SkipReason(said)


def _post(url: str, document: dict[str, str | None]) -> None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(document).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):
        """The answer's status is all that is asked for."""


def _attempt(name: str, send: Callable[[], None]) -> list[str]:
    """Sends, a few times if need be; what is said of a receiver that did not take it, named by its setting."""
    reason = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(attempt)
        try:
            send()
            return []
        except (OSError, ValueError) as error:
            # Not what it says: it may hold the URL, which may hold a secret.
            reason = f"HTTP {code}" if (code := getattr(error, "code", None)) else type(error).__name__
    return [f"The receiver of {name} did not take the alert in {_ATTEMPTS} attempts ({reason})."]


ALERTS = [alert_on_failed_run, alert_on_failed_tick]
