"""Exports of many runs in one Dagster run (https://docs.dagster.io/guides/build/ops).

Belongs here: the op that exports runs by the pipeline and logs a materialization for each, and its run config. Does not
belong here: the assets that a Dagster run of one partition materializes (`tables.py`, `exports.py`), and the pipeline
(`../pipeline.py`).

Dagster 1.13 cannot materialize several partitions in one asset run and keep their data versions, checks and failures
apart. An op can log a materialization of any asset and partition, and so each package has its own.
"""

import time
from typing import Optional

import dagster as dg
from pydantic import Field

from .. import settings
from ..evidence.export_log import append_or_say
from ..package.publish import is_complete
from ..pipeline import FAILED, Outcome, export_runs
from .discovery import finished_runs, tell_refused
from .export_log import log_index, tell_of_log
from .exports import MANIFEST, package_events
from .failures import explained
from .lineage import DATA_VERSION_TAG
from .partitions import in_flight, register
from .tables import statement_in_one_line

_LOGGED_SECONDS = 5
_NAMED = 20


class BacklogConfig(dg.Config):
    """The run config of the job export_backlog."""

    run_ids: Optional[list[str]] = Field(  # noqa: UP045 (Dagster reads no other form)
        default=None, description="The runs to export; all finished runs without a complete package when left out."
    )
    limit: Optional[int] = Field(default=None, ge=1, description="How many runs to export at most, the oldest first.")
    supersede: bool = Field(
        default=False,
        description="Replace packages that are there and differ; the old ones are kept aside, under their time stamps.",
    )


@dg.op(
    name="export_runs",
    description="Exports many runs together, and logs a materialization of each package by its partition.",
)
def export_runs_op(context: dg.OpExecutionContext, config: BacklogConfig) -> None:
    """Exports the runs that are due. A run that fails does not stop the others; in the end the step fails, naming it."""
    with explained():
        chosen = settings.export_settings(supersede=config.supersede)
        run_ids = _due(context, config)
        register(context.instance, run_ids)
        failed: dict[str, str] = {}
        started = told = time.monotonic()
        for count, outcome in enumerate(export_runs(run_ids, chosen), 1):
            if outcome.status == FAILED:
                failed[outcome.run_id] = outcome.error or ""
                context.log.error(f"{outcome.run_id}: {outcome.error}")
            else:
                _log(context, outcome)
            if time.monotonic() - told > _LOGGED_SECONDS or count == len(run_ids):
                told = time.monotonic()
                context.log.info(
                    f"{count:,} of {len(run_ids):,} runs done, {len(failed):,} failed, in {told - started:.0f} s."
                )
        if chosen.log is not None and run_ids:
            done, problem = append_or_say(chosen.export_dir, chosen.log, [])
            if done is None:
                context.log.warning(f"Packages are published and not in the log: {problem}")
            else:
                tell_of_log(context, chosen.export_dir, done)
        context.add_output_metadata({"runs": len(run_ids), "failed": len(failed)})
    if failed:
        names = "\n".join(f"{run_id}: {reason}" for run_id, reason in list(failed.items())[:_NAMED])
        more = f"\nand {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        raise dg.Failure(f"{len(failed)} of {len(run_ids)} runs were not exported.\n{names}{more}", allow_retries=False)


def _due(context: dg.OpExecutionContext, config: BacklogConfig) -> list[str]:
    """The runs to export, without those that another Dagster run is queued for or at work on."""
    if config.run_ids is None:
        finished, refused = finished_runs()
        if refused:
            context.log.warning(tell_refused(refused))
        export_dir = settings.export_dir()
        wanted = [run_id for run_id in finished if not is_complete(export_dir, run_id)]
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
    assert outcome.files is not None and outcome.published is not None
    for asset, version, metadata in package_events(outcome.files, outcome.published):
        if asset == MANIFEST:
            metadata |= {"made of": _made_of(outcome)} | log_index(outcome.log_index)
        event = dg.AssetMaterialization(
            asset, partition=outcome.run_id, metadata=metadata, tags={DATA_VERSION_TAG: version}
        )
        context.log_event(event)


def _made_of(outcome: Outcome) -> dg.MetadataValue:
    """The tables that a package was made of: they have no materializations of their own."""
    assert outcome.loaded is not None
    rows = [
        f"| {name} | {facts.rows[outcome.number]:,} | `{facts.contents[outcome.number]}` | {statement_in_one_line(facts)} |"
        for name, facts in outcome.loaded.tables.items()
    ]
    return dg.MetadataValue.md(
        f"From one snapshot of {outcome.loaded.database}:\n\n"
        + "\n".join(["| table | rows | content hash | statement |", "|---|---:|---|---|", *rows])
    )


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"landscape/work": "export"},
    description=(
        "Exports many runs in one Dagster run: those that the run config names, or all finished runs without a complete "
        "package. Each package is logged as a materialization of its partition. Its checks follow by the schedule "
        "reverification, which takes packages first that were never checked."
    ),
)
def export_backlog() -> None:
    """The job."""
    export_runs_op()


EXPORT_BACKLOG = export_backlog
