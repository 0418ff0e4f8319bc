"""Exports of runs through Dagster, in this process: what `landscape-assets demo` does, so that the UI has something to
show.

Belongs here: the job of the UI, run in process. Does not belong here: exports
without Dagster (`../pipeline.py`), options and output of the command line (`../cli.py`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from ..errors import ExportError
from ..package import MANIFEST, Published, package_path, read_manifest
from ..pipeline import EXPORTED, FAILED, UNCHANGED, Outcome
from ..settings import Settings
from .build import build_defs
from .exports import PACKAGE_STEP
from .jobs import EXPORT_RUN
from .partitions import PARTITION_TAG, register
from .resources import workspace


def export_in_process(run_ids: Sequence[str], settings: Settings, home: Path) -> Iterator[Outcome]:
    """Exports runs by the job export_run, one after the other.

    Args:
        run_ids: the runs.
        settings: what they are exported with.
        home: the folder of the Dagster instance.

    Raises:
        ExportError: the Dagster instance cannot be used.
    """
    try:
        instance = dg.DagsterInstance.from_config(str(home))
    except Exception as error:
        # What Dagster says is not repeated: it may quote dagster.yaml, which may hold a password.
        raise ExportError(
            f"The Dagster instance that DAGSTER_HOME names cannot be opened ({type(error).__name__}). Check "
            f"its dagster.yaml, or unset DAGSTER_HOME."
        ) from None
    defs = build_defs(automation=False, loggers={"console": _quiet}, resources={"workspace": workspace(settings)})
    with instance:
        register(instance, run_ids)
        for run_id in run_ids:
            yield _export(defs.resolve_job_def(EXPORT_RUN.name), instance, run_id, settings.export_dir)


def _export(job: dg.JobDefinition, instance: dg.DagsterInstance, run_id: str, export_dir: Path) -> Outcome:
    result = job.execute_in_process(
        instance=instance,
        tags={PARTITION_TAG: run_id},
        raise_on_error=False,
        run_config={"loggers": {"console": {}}},
    )
    if not result.success:
        return Outcome(run_id, FAILED, _reason(result))
    results = [
        event.metadata["result"].value
        for event in result.asset_materializations_for_node(PACKAGE_STEP)
        if "result" in event.metadata
    ]
    path = package_path(export_dir, run_id)
    sha256 = hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()
    is_new = results != [UNCHANGED]
    published = Published(path, read_manifest(path), sha256, is_new)
    return Outcome(run_id, EXPORTED if is_new else UNCHANGED, published=published)


@dg.logger
def _quiet(context: dg.InitLoggerContext) -> logging.Logger:
    """Dagster's console logger replaced by one that prints nothing."""
    logger = logging.Logger("landscape_assets.console", logging.CRITICAL + 1)
    logger.addHandler(logging.NullHandler())
    return logger


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """The message of the first step that failed."""
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data is not None and failure.user_failure_data.description:
                return failure.user_failure_data.description
            return f"Step {event.step_key} failed: {failure.error.message if failure.error else 'unknown error'}"
    return "The Dagster run failed before any step."
