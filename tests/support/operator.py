"""What an operator does with the code location and an instance, in this process.

Belongs here: ticks as the daemon evaluates them, Dagster runs, and reading their results. Instances are real ones;
most keep their records in memory, which takes a third of the time. Nothing of Dagster is replaced. Does not belong
here: a deployment in processes of its own (`deployment.py`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from landscape_assets.dagster_defs.build import build_defs
from landscape_assets.dagster_defs.partitions import PARTITION_TAG


@cache
def _definitions() -> dg.Definitions:
    return build_defs()


class Operator:
    """A code location and a Dagster instance, and what one does with them.

    Args:
        instance: the Dagster instance.
        exports: the export folder.
    """

    def __init__(self, instance: dg.DagsterInstance, exports: Path) -> None:
        self.instance, self.exports = instance, exports
        self.defs = _definitions()

    def discover(self) -> Any:
        """One tick of the sensor; what it asks for is done, as the daemon does it."""
        sensor = self.defs.resolve_sensor_def("discover_runs")
        with dg.build_sensor_context(instance=self.instance, definitions=self.defs) as context:
            tick = sensor.evaluate_tick(context)
        for request in tick.dynamic_partitions_requests:
            self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        return tick

    def partitions(self) -> list[str]:
        """The registered partitions."""
        return list(self.instance.get_dynamic_partitions("run_id"))

    def tick(self, schedule: str) -> tuple[list[str], str | None]:
        """One tick of a schedule: the partitions that it asks for, and why it asks for none."""
        tick = self._tick(schedule)
        return [request.tags[PARTITION_TAG] for request in tick.run_requests or []], tick.skip_message

    def requests(self, schedule: str) -> list[dg.RunRequest]:
        """One tick of a schedule: the Dagster runs that it asks for."""
        return list(self._tick(schedule).run_requests or [])

    def _tick(self, schedule: str) -> Any:
        with dg.build_schedule_context(
            instance=self.instance, repository_def=self.defs.get_repository_def()
        ) as context:
            return self.defs.resolve_schedule_def(schedule).evaluate_tick(context)

    def run(self, job: str, partition: str | None = None, **config: object) -> dg.ExecuteInProcessResult:
        """A Dagster run of a job."""
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            tags={} if partition is None else {PARTITION_TAG: partition},
            run_config={"ops": config} if config else None,
            raise_on_error=False,
        )

    def export(self, run_id: str, **config: object) -> dg.ExecuteInProcessResult:
        """A Dagster run of export_run."""
        self.instance.add_dynamic_partitions("run_id", [run_id])
        return self.run("export_run", run_id, **config)

    def start(self, run_id: str | None, status: dg.DagsterRunStatus, job: str = "export_run") -> str:
        """A Dagster run of a partition in some state, as the queue or another machine may have it; gives its id."""
        run = self.instance.create_run_for_job(
            self.defs.resolve_job_def(job), status=status, tags={} if run_id is None else {PARTITION_TAG: run_id}
        )
        return run.run_id


@contextmanager
def instance_folder() -> Iterator[str]:
    """A folder for an instance with files; in memory where the system offers that, for Dagster waits for the disk at
    each of the thousands of events."""
    with TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield folder


def messages(result: dg.ExecuteInProcessResult) -> list[str]:
    """The description of each step that failed for a reason that a person can act on."""
    return [
        event.step_failure_data.user_failure_data.description or ""
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data
    ]


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """The check results of a Dagster run by name."""
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
