"""The exports under test, each in a process of its own that was forked from one that has everything imported.

Belongs here: running one export, with a fault or a trace, and what became of it. Does not belong here: which
faults, and what must hold afterwards (`points.py`, `crashes.py`).

An export is made by the pipeline, as the command makes it; or, in a scenario whose tables stay (`stores`),
by the assets, called one after the other: most of the time of a Dagster run is Dagster's own work. The full kind is the
Dagster job itself.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import tempfile
import traceback
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import adbc_driver_sqlite.dbapi  # noqa: F401  (imported here once, and not in each of the processes)
import dagster as dg

import landscape_assets.database.sqlite  # noqa: F401
from landscape_assets import settings
from landscape_assets.dagster_defs.build import build_defs
from landscape_assets.dagster_defs.checks import verify_published_package
from landscape_assets.dagster_defs.exports import PACKAGE_STEP, PackageConfig, package
from landscape_assets.dagster_defs.jobs import EXPORT_RUN
from landscape_assets.dagster_defs.partitions import PARTITION_TAG, RUNS
from landscape_assets.dagster_defs.resources import Workspace
from landscape_assets.dagster_defs.tables import TablesConfig, tables
from landscape_assets.keygen import make_key_pair
from landscape_assets.package import package_path
from landscape_assets.pipeline import FAILED, Outcome, export_runs
from landscape_assets.report.page import environment
from landscape_assets.settings import Settings

from .shim import Call, Fault, Shim, read_trace

KEY = "the key of the exports that are made to fail"
FIRST_SECOND, SECOND_SECOND = 1_800_000_000, 1_800_000_060


@dataclass(frozen=True)
class Scenario:
    """An export, and what is there before it.

    Args:
        database: the audit database.
        run_id: the run.
        folder: `out` in it is watched, and holds the export folder.
        public_key: of the Ed25519 signature.
        environment: settings beyond the usual ones.
        supersede: whether a package that differs is replaced.
        before: a folder that `out` is a copy of, if it is not made by the export.
        second: the time, in seconds.
        stores: whether tables stay, in `out` too.
    """

    database: Path
    run_id: str
    folder: Path
    public_key: bytes
    environment: dict[str, str]
    supersede: bool = False
    before: Path | None = None
    second: int = FIRST_SECOND
    stores: bool = False

    @property
    def watched(self) -> Path:
        return self.folder / "out"

    @property
    def export_dir(self) -> Path:
        return self.watched / "exports"

    @property
    def package(self) -> Path:
        return package_path(self.export_dir, self.run_id)

    def reset(self) -> None:
        """Everything as before the first export."""
        shutil.rmtree(self.watched, ignore_errors=True)
        if self.before is None:
            self.watched.mkdir(parents=True)
        else:
            shutil.copytree(self.before, self.watched)

    def moved(self, folder: Path) -> Scenario:
        """The same in another folder."""
        return replace(self, folder=folder)


@dataclass(frozen=True)
class Result:
    """What became of a process: killed, or what its Outcome said; `crash` is an exception that got out of the
    export.
    """

    killed: bool
    status: str | None = None
    error: str | None = None
    crash: str | None = None
    hit: bool = True


@dataclass(frozen=True)
class _Context:
    """What the assets use of Dagster's context."""

    partition_key: str
    run: SimpleNamespace
    instance: dg.DagsterInstance
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("faults"))

    def log_event(self, event: object) -> None:
        """Dagster would store it."""


class Runner:
    """Runs exports in forked processes. Nothing that starts threads may be used in this one."""

    def __init__(self) -> None:
        self._shim = Shim()
        self._instance = dg.DagsterInstance.ephemeral()
        environment().get_template("report.html")  # compiled here, and not in each of the processes
        # What was imported is never garbage; looking for it took a third of the time of an export.
        gc.collect()
        gc.freeze()

    def run(
        self, scenario: Scenario, fault: Fault | None = None, trace: Path | None = None, *, full: bool = False
    ) -> Result:
        """One export.

        Args:
            scenario: which.
            fault: what is to fail.
            trace: a file for the calls.
            full: through Dagster's own machinery.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            try:
                result = self._export(scenario, fault, trace, full)
                os.write(writing, json.dumps(vars(result)).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        return (
            Result(**json.loads(said))
            if said
            else Result(killed=os.WIFSIGNALED(status), crash=None if os.WIFSIGNALED(status) else "no answer")
        )

    def calls(self, scenario: Scenario, *, full: bool = False) -> tuple[list[Call], Result]:
        """The calls of an export."""
        with tempfile.TemporaryDirectory() as folder:
            result = self.run(scenario, trace=Path(folder) / "trace", full=full)
            return read_trace(Path(folder) / "trace"), result

    def _export(self, scenario: Scenario, fault: Fault | None, trace: Path | None, full: bool) -> Result:
        for name in list(os.environ):
            if name.startswith("LANDSCAPE_") or name == "DAGSTER_HOME":
                del os.environ[name]
        os.environ |= {
            settings.DATABASE_URL: f"sqlite:///{scenario.database}",
            settings.EXPORT_DIR: str(scenario.export_dir),
            settings.SIGNING_KEY: KEY,
        } | scenario.environment
        if scenario.stores:
            os.environ[settings.STORAGE_DIR] = str(scenario.watched / "storage")
        self._shim.stop_clock(scenario.second)
        self._shim.watch(scenario.watched)
        if trace is not None:
            self._shim.trace(trace)
        if fault is not None:
            self._shim.arm(fault)
        try:
            outcome = self._by_dagster(scenario, full) if full or scenario.stores else self._by_pipeline(scenario)
        except OSError as error:
            # The command line says so and answers with status 2.
            return Result(False, "failed", str(error), hit=self._shim.hit)
        except BaseException:
            return Result(False, crash=traceback.format_exc(), hit=self._shim.hit)
        return Result(False, outcome.status, outcome.error, hit=self._shim.hit)

    def _by_pipeline(self, scenario: Scenario) -> Outcome:
        (outcome,) = export_runs([scenario.run_id], Settings.from_environment(supersede=scenario.supersede))
        return outcome

    def _by_dagster(self, scenario: Scenario, full: bool) -> Outcome:
        if full:
            return self._by_job(scenario)
        context = _Context(scenario.run_id, SimpleNamespace(run_id=str(uuid.uuid4())), self._instance)
        workspace = Workspace(Settings.from_environment(), self._instance)
        try:
            for asset, config in ((tables, TablesConfig()), (package, PackageConfig(supersede=scenario.supersede))):
                results = list(asset.op.compute_fn.decorated_fn(context, workspace=workspace, config=config))
        except dg.Failure as failure:
            return Outcome(scenario.run_id, FAILED, failure.description)
        except Exception as error:  # Dagster would fail the step
            return Outcome(scenario.run_id, FAILED, "".join(traceback.format_exception_only(error)))
        return Outcome(scenario.run_id, results[-1].metadata["result"])

    def _by_job(self, scenario: Scenario) -> Outcome:
        with dg.DagsterInstance.ephemeral() as instance:
            instance.add_dynamic_partitions(RUNS.name, [scenario.run_id])
            config = {"ops": {PACKAGE_STEP: {"config": {"supersede": scenario.supersede}}}, "loggers": {"console": {}}}
            result = (
                build_defs(loggers={"console": quiet})
                .resolve_job_def(EXPORT_RUN.name)
                .execute_in_process(
                    instance=instance,
                    tags={PARTITION_TAG: scenario.run_id},
                    run_config=config,
                    raise_on_error=False,
                )
            )
            # The check of the package comes after its publication, and fails a Dagster run of its own right.
            failed = [
                event.step_failure_data
                for event in result.all_events
                if event.is_step_failure and event.step_key != verify_published_package.op.name
            ]
            if failed:
                description = failed[0].user_failure_data and failed[0].user_failure_data.description
                return Outcome(scenario.run_id, FAILED, description or str(failed[0].error))
            *_, made = result.asset_materializations_for_node(PACKAGE_STEP)
            return Outcome(scenario.run_id, made.metadata["result"].value)


@dg.logger
def quiet(context: dg.InitLoggerContext) -> logging.Logger:
    """Prints nothing."""
    return logging.Logger("faults", logging.CRITICAL + 1)


def key_pair(folder: Path) -> tuple[Path, bytes]:
    """A private key's file, and the public key."""
    private = folder / "private.pem"
    public, _ = make_key_pair(private)
    return private, public.read_bytes()
