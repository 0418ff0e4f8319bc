"""The code location, put together.

Belongs here: `build_defs`, which reads neither the environment nor a database. Does not belong here: the parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from .exports import EXPORT_ASSETS
from .jobs import EXECUTOR, JOBS
from .resources import AuditDatabaseResource, Workspace
from .storage import ParquetIOManager
from .tables import AUDIT_DATABASE, TABLE_ASSETS


def build_defs(
    *,
    resources: Mapping[str, Any] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """Everything that Dagster is told.

    Args:
        resources: resources in place of the default ones, by name.
        loggers: loggers in place of Dagster's own.
    """
    workspace = Workspace()
    return dg.Definitions(
        assets=[AUDIT_DATABASE, *TABLE_ASSETS, *EXPORT_ASSETS],
        jobs=JOBS,
        executor=EXECUTOR,
        loggers=loggers,
        resources={
            "audit_database": AuditDatabaseResource(),
            "workspace": workspace,
            "parquet": ParquetIOManager(workspace=workspace),
            **(resources or {}),
        },
    )
