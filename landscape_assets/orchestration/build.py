"""The code location, put together.

Belongs here: `build_defs`, which reads no database and no key, and of the environment only when schedules tick. Does
not belong here: the parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from .checks import CHECKS
from .exports import EXPORT_ASSETS
from .jobs import EXECUTOR, JOBS
from .resources import AuditDatabaseResource, Workspace
from .schedules import schedules
from .sensors import SENSORS
from .storage import FileIOManager
from .tables import AUDIT_DATABASE, TABLE_ASSETS


def build_defs(
    *,
    resources: Mapping[str, Any] | None = None,
    jobs: Sequence[dg.UnresolvedAssetJobDefinition | dg.JobDefinition] = (),
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
    automation: bool = True,
) -> dg.Definitions:
    """Everything that Dagster is told.

    Args:
        resources: resources in place of the default ones, by name.
        jobs: jobs beside the default ones.
        loggers: loggers in place of Dagster's own.
        automation: with schedules and sensors; whoever needs none need not set them right.

    Raises:
        ExportError: the environment names a cron expression or a time zone that is none.
    """
    workspace = Workspace()
    return dg.Definitions(
        assets=[AUDIT_DATABASE, *TABLE_ASSETS, *EXPORT_ASSETS],
        asset_checks=CHECKS,
        jobs=[*JOBS, *jobs],
        schedules=schedules() if automation else [],
        sensors=SENSORS if automation else [],
        executor=EXECUTOR,
        loggers=loggers,
        resources={
            "audit_database": AuditDatabaseResource(),
            "workspace": workspace,
            "arrow": FileIOManager(workspace=workspace),
            **(resources or {}),
        },
    )
