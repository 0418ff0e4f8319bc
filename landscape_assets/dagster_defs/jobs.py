"""The jobs: what is run together (https://docs.dagster.io/guides/build/jobs).

Belongs here: job definitions. The in-process executor is the default: a step takes milliseconds where a process of its
own takes seconds, and exports are kept apart by one Dagster run each.
"""

from __future__ import annotations

import dagster as dg

from .backlog import EXPORT_BACKLOG
from .database_check import rows_belong_to_runs
from .export_log import LOG, VERIFY_LOG
from .housekeeping import HOUSEKEEPING
from .package_metadata import MANIFEST
from .tables import AUDIT_DATABASE

EXECUTOR = dg.in_process_executor

EXPORT_RUN = dg.define_asset_job(
    "export_run",
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets(AUDIT_DATABASE.key, LOG),
    executor_def=EXECUTOR,
    tags={"landscape/work": "export"},
    description=(
        "Exports one run of the audit database: loads its tables, makes and signs its records, publishes the package, "
        "checks it."
    ),
)

VERIFY_PACKAGE = dg.define_asset_job(
    "verify_package",
    selection=dg.AssetSelection.checks_for_assets(MANIFEST),
    executor_def=EXECUTOR,
    tags={"landscape/work": "verification"},
    description=(
        "Checks published packages again: that they are unchanged, and still agree with the audit database. Of all, "
        "the longest unchecked first, or of the one that the tag dagster/partition names. It fails when one is bad."
    ),
)

CHECK_DATABASE = dg.define_asset_job(
    "check_database",
    selection=dg.AssetSelection.checks(rows_belong_to_runs),
    executor_def=EXECUTOR,
    tags={"landscape/work": "verification"},
    description="Looks through the whole audit database for damage that belongs to no run, or to two.",
)

JOBS = (EXPORT_RUN, EXPORT_BACKLOG, VERIFY_PACKAGE, VERIFY_LOG, CHECK_DATABASE, HOUSEKEEPING)
