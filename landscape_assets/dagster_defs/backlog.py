"""Exports of many runs in one Dagster run (https://docs.dagster.io/guides/build/ops).

Belongs here: the op that exports runs by the pipeline and logs a materialization for each, and its run config. Does not
belong here: the assets that a Dagster run of one partition materializes (`tables.py`, `exports.py`), and the pipeline
(`../pipeline.py`).

Dagster 1.13 cannot materialize several partitions in one asset run and keep their data versions, checks and failures
apart. An op can log a materialization of any asset and partition, and so each package has its own.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Optional

import dagster as dg
from pydantic import Field

from ..package import is_complete
from ..pipeline import FAILED, Outcome, export_runs
from ..settings import Settings
from .discovery import finished_runs, tell_refused
from .export_log import log_index, tell_of_backlog
from .failures import explained, named
from .lineage import source_line
from .package_metadata import MANIFEST, manifest_metadata, package_events
from .partitions import in_flight, register
from .resources import Workspace
from .tables import source_metadata, statement_in_one_line

_LOGGED_SECONDS = 5
_NAMED = 20


class BacklogConfig(dg.Config):
    """The run config of the job export_backlog."""

    run_ids: Optional[list[str]] = Field(  # noqa: UP045 (Dagster reads no other form)
        default=None, description="The runs to export; all finished runs without a complete package when left out."
    )
    limit: int | None = Field(default=None, ge=1, description="How many runs to export at most, the oldest first.")
    supersede: bool = Field(
        default=False,
        description="Replace packages that are there and differ; the old ones are kept aside, under their time stamps.",
    )
    interrupted: bool = Field(
        default=False,
        description="Export those of `run_ids`, too, that were interrupted and may be resumed.",
    )


@dg.op(
    name="export_runs",
    description="Exports many runs together, and logs a materialization of each package by its partition.",
)
def export_runs_op(
    context: dg.OpExecutionContext, config: BacklogConfig, workspace: dg.ResourceParam[Workspace]
) -> None:
    """Exports the runs that are due. One that fails does not stop the others; in the end the step fails, naming it."""
    settings = replace(workspace.settings, supersede=config.supersede, interrupted=config.interrupted)
    with explained(settings):
        run_ids = _due(context, config, settings.check())
        register(context.instance, run_ids)
        failed: dict[str, str] = {}
        logged = []
        started = told = time.monotonic()
        with ThreadPoolExecutor(1, "events") as pool:  # an event waits for the disk, while the next packages are made
            for done, outcome in enumerate(export_runs(run_ids, settings), 1):
                if outcome.status == FAILED:
                    failed[outcome.run_id] = outcome.error or ""
                    context.log.error(f"{outcome.run_id}: {outcome.error}")
                else:
                    logged.append(pool.submit(_log, context, outcome))
                if time.monotonic() - told > _LOGGED_SECONDS or done == len(run_ids):
                    told = time.monotonic()
                    context.log.info(
                        f"{done:,} of {len(run_ids):,} runs done, {len(failed):,} failed, in {told - started:.0f} s."
                    )
        for event in logged:
            event.result()
        tell_of_backlog(context, settings)
        context.add_output_metadata({"runs": len(run_ids), "failed": len(failed)})
    if failed:
        message = named(failed, f"of {len(run_ids):,} runs were not exported")
        raise dg.Failure(message, allow_retries=False)


def _due(context: dg.OpExecutionContext, config: BacklogConfig, settings: Settings) -> list[str]:
    """The runs to export, without those that another Dagster run is queued for or at work on."""
    if config.run_ids is None:
        finished, refused = finished_runs(settings)
        if refused:
            context.log.warning(tell_refused(refused))
        wanted = [run_id for run_id in finished if not is_complete(settings.export_dir, run_id)]
    else:
        wanted = list(dict.fromkeys(config.run_ids))
    busy = in_flight(context.instance)
    if skipped := [run_id for run_id in wanted if run_id in busy]:
        context.log.info(
            f"{len(skipped)} runs are left to the Dagster runs that export them now: {', '.join(skipped[:_NAMED])}"
        )
    return [run_id for run_id in wanted if run_id not in busy][: config.limit]


def _log(context: dg.OpExecutionContext, outcome: Outcome) -> None:
    """Logs the materializations of a package: those of the assets of a Dagster run for this partition alone."""
    assert outcome.files is not None
    assert outcome.published is not None
    made_of = _made_of(outcome)
    added = manifest_metadata(context.instance, outcome.published, made_of) | log_index(outcome.log_index)
    for event in package_events(outcome.published, outcome.files):
        of_manifest = event.asset_key == MANIFEST
        context.log_event(event.with_metadata({**event.metadata, **added}) if of_manifest else event)


def _made_of(outcome: Outcome) -> dg.MetadataValue:
    """The audit database and the tables that a package was made of: they have no materializations of their own."""
    assert outcome.loaded is not None
    source = source_metadata(outcome.loaded, outcome.number)
    number = outcome.number
    rows = [
        f"| {name} | {facts.rows[number]:,} | `{facts.contents[number]}` | {statement_in_one_line(facts)} |"
        for name, facts in outcome.loaded.tables.items()
    ]
    first = source_line(source["database"], source["bound run_id"], source["state of the run"], "")
    return dg.MetadataValue.md(
        "\n".join([first, "", "| table | rows | content hash | statement |", "|---|---:|---|---|", *rows])
    )


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"landscape/work": "export"},
    description=(
        "Exports many runs in one Dagster run: those that the run config names, or all finished runs without a "
        "package. Each is logged as a materialization of its partition. Its checks follow by the schedule "
        "reverification, which takes packages first that were never checked."
    ),
)
def export_backlog() -> None:
    """The job."""
    export_runs_op()


EXPORT_BACKLOG = export_backlog
