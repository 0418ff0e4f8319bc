"""The code location, put together.

Belongs here: `build_defs`, which reads no database and no key, and of the environment only when schedules tick. Does
not belong here: the parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from .checks import CHECKS
from .database_check import rows_belong_to_runs
from .export_log import export_log, log_agrees_with_folder
from .exports import EXPORT_ASSETS
from .jobs import EXECUTOR, JOBS
from .resources import workspace
from .schedules import schedules
from .sensors import SENSORS
from .tables import AUDIT_DATABASE, tables


def build_defs(
    *,
    resources: Mapping[str, Any] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
    automation: bool = True,
) -> dg.Definitions:
    """Everything that Dagster is told.

    Args:
        resources: resources in place of the default ones, by name.
        loggers: loggers in place of Dagster's own.
        automation: with schedules and sensors. Without them their settings are not looked at.

    Raises:
        ExportError: the environment names a cron expression or a time zone that is none.
    """
    return dg.Definitions(
        assets=[AUDIT_DATABASE, tables, *EXPORT_ASSETS, export_log],
        asset_checks=[*CHECKS, rows_belong_to_runs, log_agrees_with_folder],
        jobs=JOBS,
        schedules=schedules() if automation else [],
        sensors=SENSORS if automation else [],
        executor=EXECUTOR,
        loggers=loggers,
        resources={"workspace": workspace(), **(resources or {})},
    )
