"""The jobs: what is run together (https://docs.dagster.io/guides/build/jobs).

Belongs here: job definitions. The in-process executor is the default: a step takes milliseconds where a process of its own
takes seconds, and exports are kept apart by one Dagster run each.
"""

from __future__ import annotations

import dagster as dg

from .partitions import RUNS
from .tables import AUDIT_DATABASE

EXECUTOR = dg.in_process_executor

EXPORT_RUN = dg.define_asset_job(
    "export_run",
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets(AUDIT_DATABASE.key),
    partitions_def=RUNS,
    executor_def=EXECUTOR,
    description="Exports one run of the audit database: loads its tables, makes and signs its records, publishes the package.",
)

JOBS = [EXPORT_RUN]
