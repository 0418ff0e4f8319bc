"""Exports of runs in this process, outside `dagster dev`: what the command line does.

Belongs here: the same job as everywhere, run in process in the instance that DAGSTER_HOME names or in a passing one.
Does not belong here: what can be begun without Dagster (`session.py`), options and output of the command line (`cli.py`).
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster_shared.check import CheckError

from ..errors import ExportError
from ..export.package import package_path
from ..export.staging import release_all, run_lock, staging_root
from ..export.tables import TablesAhead
from . import settings
from .build import build_defs
from .exports import EXPORTED, MANIFEST, UNCHANGED
from .failures import explain_os_error, explain_unforeseen
from .jobs import EXECUTOR, EXPORT_RUN
from .partitions import IN_FLIGHT, PARTITION_TAG, register
from .resources import BEGUN

FAILED = "failed"

FOLDER_TAG = "landscape/folder"
"""The tag by which a Dagster run of the command line says into which folder it exports."""

_WITHOUT_CHECKS = dg.define_asset_job(
    "export_run_without_checks", selection=EXPORT_RUN.selection.without_checks(), executor_def=EXECUTOR
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run: `status` is exported, unchanged or failed; `error` says why it failed."""

    run_id: str
    status: str
    package: Path | None = None
    record_count: int | None = None
    final_hash: str | None = None
    error: str | None = None


class Session:
    """Exports runs, one after the other. Made by `session.session`.

    Args:
        instance: where Dagster notes them.
        storage: a storage folder to be emptied after each run; None for one that stays.
        begun: tables of a run that are being loaded already.
        on_step: told the name of each step as it ends.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        storage: Path | None,
        begun: TablesAhead | None = None,
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._instance, self._storage, self._begun = instance, storage, begun
        # Checks are reports in an instance; in one that passes away nobody would see them.
        job = _WITHOUT_CHECKS if instance.is_ephemeral else EXPORT_RUN
        defs = build_defs(jobs=[_WITHOUT_CHECKS], loggers={"console": _step_logger(on_step)}, automation=False)
        self._job = defs.resolve_job_def(job.name)

    @classmethod
    @contextmanager
    def opened(
        cls, storage: Path | None, begun: TablesAhead | None, on_step: Callable[[str], None]
    ) -> Iterator[Session]:
        """A session in the instance that DAGSTER_HOME names, or in a passing one. Arguments as for the class.

        Raises:
            ExportError: there is no usable instance where DAGSTER_HOME says.
        """
        named = os.environ.get("DAGSTER_HOME")
        with _instance(named) if named else dg.DagsterInstance.ephemeral() as instance:
            yield cls(instance, storage, begun, on_step)

    @property
    def steps(self) -> int:
        """How many steps one export has."""
        return len(list(self._job.nodes))

    def export(self, run_id: str, *, supersede: bool = False) -> Outcome:
        """Exports one run.

        Args:
            run_id: the run.
            supersede: replace a package that differs.
        """
        try:
            with run_lock(settings.export_dir(), run_id):
                try:
                    return self._export(run_id, supersede)
                finally:
                    self._clear_up(run_id)
        except ExportError as error:
            return Outcome(run_id, FAILED, error=str(error))
        except OSError as error:
            return Outcome(run_id, FAILED, error=explain_os_error(error))
        except Exception as error:  # of Dagster's storage, for one: the other runs may do better
            return Outcome(run_id, FAILED, error=explain_unforeseen(error))

    def _clear_up(self, run_id: str) -> None:
        if self._instance.is_ephemeral:
            # Nobody can come back to what a failed export has staged.
            release_all(staging_root(settings.export_dir()), run_id)
        if self._storage is not None:
            for path in self._storage.iterdir():
                shutil.rmtree(path, ignore_errors=True)

    def _export(self, run_id: str, supersede: bool) -> Outcome:
        register(self._instance, [run_id])
        tags = {PARTITION_TAG: run_id, FOLDER_TAG: str(settings.export_dir())}
        self._end_killed(tags)
        BEGUN.set(self._begun)
        result = self._job.execute_in_process(
            instance=self._instance,
            tags=tags,
            raise_on_error=False,
            run_config={
                "ops": {MANIFEST.to_python_identifier(): {"config": {"supersede": supersede}}},
                "loggers": {"console": {}},
            },
        )
        if not result.success:
            return Outcome(run_id, FAILED, error=_reason(result))
        (made,) = result.asset_materializations_for_node(MANIFEST.to_python_identifier())
        metadata = {name: value.value for name, value in made.metadata.items()}
        return Outcome(
            run_id,
            UNCHANGED if metadata["result"] == UNCHANGED else EXPORTED,
            package_path(settings.export_dir(), run_id),
            metadata["record_count"],
            metadata["final_hash"],
        )

    def _end_killed(self, tags: dict[str, str]) -> None:
        """Ends the Dagster runs of earlier exports that were killed, which seem to go on for ever.

        This process holds the run's lock, so none of the command line is at work on it. What they staged is removed by
        the export that succeeds, and the run counts no longer as one in flight.
        """
        for killed in self._instance.get_runs(dg.RunsFilter(statuses=IN_FLIGHT, tags=tags)):
            self._instance.report_run_failed(killed, "The process ended before the export did.")


_AFTER_THE_PLACE = r"\. |\n| of original value "
"""Where Dagster's messages about dagster.yaml have said what is wrong where, and go on with values."""


def _instance(home: str) -> dg.DagsterInstance:
    """The Dagster instance of a folder.

    Raises:
        ExportError: there is none that can be used. What dagster.yaml says is not repeated: it may hold a password.
    """
    path = Path(home)
    if not path.is_absolute():
        raise ExportError(f"DAGSTER_HOME is {home!r}; it must be an absolute path.")
    if not path.is_dir():
        raise ExportError(f"DAGSTER_HOME is {home!r}, and there is no such folder. Make it, or unset DAGSTER_HOME.")
    try:
        return dg.DagsterInstance.get()
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or home})"
    except dg.DagsterInvalidConfigError as error:
        said = [one.message for one in error.errors] or [error.message]
        reason = f"its dagster.yaml is wrong: {'; '.join(re.split(_AFTER_THE_PLACE, one)[0] for one in said)}"
    except Exception as error:
        mark = getattr(error, "problem_mark", None)
        if mark is not None:
            reason = f"its dagster.yaml is no YAML at line {mark.line + 1}, column {mark.column + 1}"
        elif isinstance(error, CheckError):
            reason = "its dagster.yaml is no mapping of names to settings"
        else:
            reason = f"Dagster says {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    raise ExportError(
        f"DAGSTER_HOME is {home!r}, and no Dagster instance can be opened there: {reason.rstrip('.')}. Mend it, or "
        f"unset DAGSTER_HOME."
    )


def _step_logger(on_step: Callable[[str], None]) -> dg.LoggerDefinition:
    """Dagster's console logger replaced by one that prints nothing but warnings, and reports steps as they end."""

    class Steps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            event = getattr(record, "dagster_event", None)
            if event is None:
                event = (getattr(record, "dagster_meta", None) or {}).get("dagster_event")
            if event is not None and getattr(event, "is_step_success", False):
                on_step(event.step_key)

    @dg.logger
    def console(context: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("landscape_assets.console", logging.DEBUG)
        logger.addHandler(Steps())
        return logger

    return console


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """The message of the first step that failed."""
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data is not None and failure.user_failure_data.description:
                return failure.user_failure_data.description
            error = failure.error
            while error is not None and error.cause is not None:
                error = error.cause  # what Dagster says of it is only in which step it was
            said = "unknown error" if error is None else " ".join(error.message.split())
            return f"Step {event.step_key} failed: {said}"
    return "The Dagster run failed before any step."
