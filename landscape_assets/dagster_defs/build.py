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
from .export_log import LOG, export_log, log_agrees_with_folder
from .exports import RECORDS, package
from .jobs import EXECUTOR, JOBS
from .resources import workspace
from .schedules import schedules
from .sensors import SENSORS
from .tables import AUDIT_DATABASE, tables

_TABLE = ("docs/records.md", "landscape_assets/dagster_defs/tables.py")
_EXPORT = ("docs/package.md", "landscape_assets/dagster_defs/exports.py")
_REFERENCES = {
    AUDIT_DATABASE.key: ("docs/operations.md", _TABLE[1]),
    RECORDS: ("docs/records.md", _EXPORT[1]),
    LOG: ("docs/log.md", "landscape_assets/dagster_defs/export_log.py"),
}
"""Where to read on about an asset: in the documents and in the code of the repository. All others are a table or a part
of the export."""


def _with_references(spec: dg.AssetSpec) -> dg.AssetSpec:
    documentation, code = _REFERENCES.get(spec.key, _TABLE if spec.key.path[0] == "landscape" else _EXPORT)
    return spec.merge_attributes(metadata={"documentation": documentation, "code": code})


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
        assets=dg.map_asset_specs(_with_references, [AUDIT_DATABASE, tables, package, export_log]),
        asset_checks=[*CHECKS, rows_belong_to_runs, log_agrees_with_folder],
        jobs=JOBS,
        schedules=schedules() if automation else [],
        sensors=SENSORS if automation else [],
        executor=EXECUTOR,
        loggers=loggers,
        resources={"workspace": workspace(), **(resources or {})},
    )
