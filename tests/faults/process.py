"""The exports under test, each in a process of its own that was forked from one that has everything imported.

Belongs here: running one export, with a fault or a trace, and what became of it. Does not belong here: which
faults, and what must hold afterwards (`points.py`, `crashes.py`).

Most of an export's time is Dagster's own work. The quick kind (`_Steps`) therefore calls the very same assets one after
the other, each with its inputs and outputs through the IO manager as Dagster would; the full kind is `Session`, as the
command line uses it.
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import adbc_driver_sqlite.dbapi  # noqa: F401  (imported here once, and not in each of the processes)
import dagster as dg

import landscape_assets.landscape.sqlite  # noqa: F401
from landscape_assets.export.files import FileFacts
from landscape_assets.export.package import package_path
from landscape_assets.keygen import make_key_pair
from landscape_assets.orchestration import settings
from landscape_assets.orchestration.build import build_defs
from landscape_assets.orchestration.exports import EXPORT_ASSETS, MANIFEST, ManifestConfig
from landscape_assets.orchestration.in_process import FAILED, Outcome, Session
from landscape_assets.orchestration.session import passing_storage, session
from landscape_assets.orchestration.tables import TABLE_ASSETS

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
        stores: whether tables and records stay, in `out` too.
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
    """What the assets and the IO manager use of Dagster's contexts."""

    asset_key: dg.AssetKey
    partition_key: str
    run_id: str
    instance: dg.DagsterInstance
    selected_asset_keys: frozenset[dg.AssetKey]
    log: logging.Logger = logging.getLogger("faults")

    @property
    def run(self) -> SimpleNamespace:
        return SimpleNamespace(run_id=self.run_id)

    def log_event(self, event: object) -> None:
        """Dagster would store it."""


class _Steps(Session):
    """A session that calls the assets itself."""

    def __init__(
        self,
        storage: Path | None,
        instance: dg.DagsterInstance,
        resources: Mapping[str, Any],
        init: dg.InitResourceContext,
    ) -> None:
        self._instance, self._storage, self._resources = instance, storage, resources
        resources["workspace"].setup_for_execution(init)

    def _export(self, run_id: str, supersede: bool) -> Outcome:
        owner = str(uuid.uuid4())
        made: Mapping[str, Any] = {}
        try:
            for asset in (*TABLE_ASSETS, *EXPORT_ASSETS):
                own, *others = asset.keys
                context = _Context(own, run_id, owner, self._instance, frozenset(asset.keys))
                arguments = {name: self._resources[name] for name in asset.op.required_resource_keys}
                for one in asset.op.input_defs:
                    if not one.dagster_type.is_nothing:
                        key = asset.keys_by_input_name[one.name]
                        manager = self._resources[_BY_KEY[key].get_io_manager_key_for_asset_key(key)]
                        arguments[one.name] = manager.load_input(replace(context, asset_key=key))
                if own == MANIFEST:
                    arguments["config"] = ManifestConfig(supersede=supersede)
                result = asset.op.compute_fn.decorated_fn(context, **arguments)
                if others:
                    list(result)  # a step that gives its results one by one
                    continue
                if isinstance(result.value, FileFacts):
                    manager = self._resources[asset.get_io_manager_key_for_asset_key(own)]
                    manager.handle_output(context, result.value)
                made = result.metadata
        except dg.Failure as failure:
            return Outcome(run_id, FAILED, error=failure.description)
        except Exception as error:  # Dagster would fail the step
            return Outcome(run_id, FAILED, error="".join(traceback.format_exception_only(error)))
        return Outcome(run_id, made["result"], package_path(settings.export_dir(), run_id), made["record_count"])


_BY_KEY = {key: asset for asset in (*TABLE_ASSETS, *EXPORT_ASSETS) for key in asset.keys}


class Runner:
    """Runs exports in forked processes. Nothing that starts threads may be used in this one."""

    def __init__(self) -> None:
        self._shim = Shim()
        self._instance = dg.DagsterInstance.ephemeral()
        self._resources = build_defs().resources or {}
        self._init = dg.build_init_resource_context(instance=self._instance)
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
            with session(scenario.run_id) if full else self._steps() as exporting:
                outcome = exporting.export(scenario.run_id, supersede=scenario.supersede)
        except OSError as error:
            # The command line says so and answers with status 2.
            return Result(False, "failed", str(error), hit=self._shim.hit)
        except BaseException:
            return Result(False, crash=traceback.format_exc(), hit=self._shim.hit)
        return Result(False, outcome.status, outcome.error, hit=self._shim.hit)

    @contextmanager
    def _steps(self) -> Iterator[_Steps]:
        with passing_storage() as storage:
            yield _Steps(storage, self._instance, self._resources, self._init)


def key_pair(folder: Path) -> tuple[Path, bytes]:
    """A private key's file, and the public key."""
    private = folder / "private.pem"
    public, _ = make_key_pair(private)
    return private, public.read_bytes()
