"""Removing what is kept between the steps once the package holds it (https://docs.dagster.io/guides/build/ops).

Belongs here: the op that removes stored tables of exported runs. It never touches a package. What was
removed comes back when the job export_run, or the assets concerned, are materialized again.
"""

import time
from pathlib import Path

import dagster as dg

from ..status import published_packages
from .failures import explained
from .partitions import in_flight
from .resources import Workspace

_DAY = 24 * 60 * 60


@dg.op(description="Removes the stored tables of runs whose package is complete and old enough.")
def remove_stored_files(context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace]) -> None:
    """Goes through the published packages, and removes what is stored of each that is older than LANDSCAPE_KEEP_DAYS
    days."""
    with explained(workspace.settings):
        before = time.time() - workspace.settings.keep_days * _DAY
        busy = in_flight(context.instance)
        runs, files, size = 0, 0, 0
        for run_id, written in published_packages(workspace.settings.export_dir):
            stored = [path for path in workspace.stored_of(run_id) if _is_older(path, before)]
            # Asked again at the last moment for a run that has something to remove: it may have been taken up
            # meanwhile.
            if written >= before or not stored or run_id in busy or in_flight(context.instance, run_id):
                continue
            runs += 1
            for path in stored:
                size += path.stat().st_size
                files += 1
                path.unlink()
    context.log.info(f"Removed {files:,} files with {size:,} bytes, of {runs:,} runs.")
    context.add_output_metadata({"runs": runs, "files": files, "bytes": size})


def _is_older(path: Path, before: float) -> bool:
    """Whether a stored file is old too: one that was made since is left for the Dagster run that made it."""
    try:
        return path.stat().st_mtime < before
    except FileNotFoundError:
        return False


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"landscape/work": "housekeeping"},
    description=(
        "Removes the tables between the steps for runs whose package is complete and older than "
        "LANDSCAPE_KEEP_DAYS days, "
        "never for one in flight. The packages hold the same and are not touched."
    ),
)
def housekeeping() -> None:
    """The job."""
    remove_stored_files()


HOUSEKEEPING = housekeeping
