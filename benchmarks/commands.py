"""The commands that are measured, and the databases, folders and settings that they get.

Belongs here: how each contender is run, through the project's commands and jobs alone; how its success is seen. Does
not belong here: which contenders are run (`one_run.py`, `many_runs.py`, `backfill.py`), and how a process is measured
(`measure.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .measure import Measurement, measure
from .results import Case, Taken

ROOT = Path(__file__).resolve().parents[1]

KEY = "the signing key of the benchmark"

ALL_FORMATS = ("jsonl", "csv", "parquet", "html")
JSONL = ("jsonl",)

DEFINITIONS = "landscape_assets.definitions"


class Commands:
    """Runs contenders. A context manager, which removes what they wrote, and keeps the databases.

    Args:
        data: where databases are made, and kept for the next time.
        generation: of the databases, by its contract.
    """

    def __init__(self, data: Path, generation: str = "v1") -> None:
        self._generation = generation
        data.mkdir(parents=True, exist_ok=True)
        self.data = data.resolve()
        self.scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=self.data))
        self.exports = self.scratch / "exports"
        self._jsonl_bytes: dict[Case, int] = {}
        self._statements: dict[Case, int] = {}
        # Settings of the person who measures would be measured too. Where compiled modules are not kept, each start
        # takes seconds more.
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DAGSTER_", "LANDSCAPE_"))
            and name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
        }
        self._environment |= {"LANDSCAPE_SIGNING_KEY": KEY, "PYTHONWARNINGS": "ignore"}
        self.jobs = cache(self._jobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    def empty_scratch(self) -> None:
        """Remove what the last command wrote."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()

    def warm_up(self) -> None:
        """Export a small run, so that Python's modules are compiled and read from the disk before measuring begins."""
        self.export(Case("warm-up", 10))

    # What commands need.

    def database(self, case: Case) -> Path:
        """The database of a case, with runs `run-0`, `run-1` and so on; made when it is not there yet."""
        # A run that is exported alone, and is not the first of its kind, is the only one of its database.
        first = case.first if case.among == 1 else 0
        generation = "" if self._generation == "v1" else f"{self._generation}-"
        path = self.data / f"{generation}{case.among}-runs-of-{case.rows}-rows{f'-from-{first}' if first else ''}.db"
        if not path.exists():
            partial = path.with_suffix(f".{os.getpid()}.partial")
            partial.unlink(missing_ok=True)
            arguments = ("-m", "benchmarks.generate", partial, case.rows, "--runs", case.among, "--first", first)
            self.python(*arguments, "--generation", self._generation)
            partial.rename(path)
        return path

    def run(self, *command: object, **settings: str) -> Measurement:
        """Run a command in the repository's root, with further environment variables."""
        return measure([str(word) for word in command], self._environment | settings, ROOT)

    def python(self, *arguments: object, **settings: str) -> Measurement:
        """Run this Python."""
        return self.run(sys.executable, *arguments, **settings)

    def installed(self, program: str, *arguments: object, **settings: str) -> Measurement:
        """Run a program that is installed beside this Python."""
        return self.run(Path(sys.executable).with_name(program), *arguments, **settings)

    def dagster_home(self, case: Case) -> dict[str, str]:
        """A new Dagster instance on disk, with the runs of a case as partitions.

        Returns:
            The settings that lead to it, to the database and to the export folder.
        """
        home = self.scratch / "dagster_home"
        home.mkdir()
        shutil.copy(ROOT / "landscape_assets" / "dagster_defs" / "dagster.yaml", home)
        settings = {
            "DAGSTER_HOME": str(home),
            "LANDSCAPE_DATABASE_URL": f"sqlite:///{self.database(case)}",
            "LANDSCAPE_EXPORT_DIR": str(self.exports),
        }
        self.dagster_records("prepare", *run_ids(case), **settings)
        return settings

    def dagster_records(self, *arguments: str, **settings: str) -> Any:
        """What `dagster_records.py` answers."""
        return json.loads(self.python("-m", "benchmarks.dagster_records", *arguments, **settings).output)

    def _jobs(self) -> list[str]:
        jobs: list[str] = self.dagster_records("jobs")
        return jobs

    # The contenders.

    def imports(self) -> Taken:
        """What any program pays that uses Dagster and Polars."""
        return _taken(0, self.python("-c", "import dagster, polars"))

    def reference(self, module: str, case: Case) -> Taken:
        """One of the reference exporters, for one run."""
        file = self.scratch / "records.jsonl"
        url = f"sqlite:///{self.database(case)}"
        done = self.python("-m", f"benchmarks.{module}", url, *run_ids(case), file)
        answer = json.loads(done.output)
        return _taken(answer["record_count"], done, answer["statements"])

    def floor(self, case: Case) -> Taken:
        """The floor, for as many bytes as the records.jsonl of the same run has."""
        arguments = (self.database(case), *run_ids(case), self._size(case), self.scratch / "bytes")
        done = self.python("-m", "benchmarks.floor", *arguments)
        answer = json.loads(done.output)
        return _taken(answer["record_count"], done, answer["statements"])

    def export(self, case: Case, formats: Sequence[str] = JSONL, *, count: bool = False) -> Taken:
        """The exporter's own command: one run by its name, or all of a database.

        Args:
            case: what to export.
            formats: the formats.
            count: with the statements that it sends, counted once in a process that is not timed.

        Raises:
            RuntimeError: a run was not exported.
        """
        done = self.installed("landscape-assets", *self._arguments(case, formats))
        answer = json.loads(done.output)
        if len(answer) != case.runs or any(run["status"] != "exported" for run in answer):
            raise RuntimeError(f"{case.contender}: not all of {case.runs} runs were exported: {done.output[-2_000:]}")
        records = sum(run["record_count"] for run in answer)
        if case.runs == 1 and "jsonl" in formats:
            self._note_size(case)
        return _taken(records, done, self._count(case) if count else None)

    def through_dagster(self, case: Case, formats: Sequence[str] = JSONL) -> Taken:
        """One run, by Dagster's own command, in an instance on disk. The steps that only check are not counted.

        Raises:
            RuntimeError: the run was not exported.
        """
        (run_id,) = run_ids(case)
        settings = self.dagster_home(case) | {"LANDSCAPE_FORMATS": ",".join(formats)}
        command = ("asset", "materialize", "-m", DEFINITIONS, "--select", "*", "--partition", run_id)
        done = self.installed("dagster", *command, **settings)
        (run,) = self.dagster_records("runs", **settings)
        details = {
            "whole process": done.seconds,
            "checks": run["check_seconds"],
            "start to end event": run["end"] - run["start"],
            "events": run["events"],
        }
        seconds = done.seconds - run["check_seconds"]
        return Taken(self._published(case), seconds, done.peak_mb, done.processor_seconds, details=details)

    def job(self, name: str, case: Case, config: dict[str, Any], formats: Sequence[str] = JSONL) -> Taken:
        """All runs of a database by a job of the code location. The seconds are those from its start to its end event.

        Raises:
            RuntimeError: a run was not exported.
        """
        settings = self.dagster_home(case) | {"LANDSCAPE_FORMATS": ",".join(formats)}
        file = self.scratch / "config.yaml"
        file.write_text(json.dumps(config))  # which is YAML too
        done = self.installed("dagster", "job", "execute", "-m", DEFINITIONS, "-j", name, "-c", file, **settings)
        (run,) = [run for run in self.dagster_records("runs", **settings) if run["job"] == name]
        details = {"whole process": done.seconds, "events": run["events"]}
        seconds = run["end"] - run["start"]
        return Taken(self._published(case), seconds, done.peak_mb, done.processor_seconds, details=details)

    def backfill(self, case: Case) -> Taken:
        """All runs of a database, by Dagster's daemon: a Dagster run each. The seconds are those from the launch to the
        end of the last one.

        Raises:
            RuntimeError: a run was not exported.
        """
        settings = self.dagster_home(case)
        answer = json.loads(self.python("-m", "benchmarks.daemon", *run_ids(case), **settings).output)
        return Taken(self._published(case), answer.pop("seconds"), details=answer)

    def _arguments(self, case: Case, formats: Sequence[str]) -> list[str]:
        which = ["--run-id", *run_ids(case)] if case.runs == 1 else ["--all"]
        named = [word for name in formats for word in ("--format", name)]
        url = f"sqlite:///{self.database(case)}"
        return ["export", "--database", url, "--output", str(self.exports), "--sign", "--json", *which, *named]

    def _published(self, case: Case) -> int:
        """The records of all packages of a case.

        Raises:
            RuntimeError: not all of them are there.
        """
        manifests = list(self.exports.glob("*/manifest.json"))
        if len(manifests) != case.runs:
            raise RuntimeError(f"{case.contender}: {len(manifests)} of {case.runs} runs were exported")
        return sum(json.loads(path.read_bytes())["record_count"] for path in manifests)

    def _count(self, case: Case) -> int:
        key = _same_run(case)
        if key not in self._statements:
            self.empty_scratch()
            arguments = self._arguments(case, JSONL)
            done = self.python("-m", "benchmarks.statements", self.database(case), *arguments)
            self._statements[key] = json.loads(done.output)["statements"]
        return self._statements[key]

    def _size(self, case: Case) -> int:
        """The bytes of the records.jsonl of a run, which is exported now if it was not before."""
        if _same_run(case) not in self._jsonl_bytes:
            self.export(case)
            self.empty_scratch()
        return self._jsonl_bytes[_same_run(case)]

    def _note_size(self, case: Case) -> None:
        (lines,) = self.exports.rglob("records.jsonl")
        self._jsonl_bytes[_same_run(case)] = lines.stat().st_size


def run_ids(case: Case) -> list[str]:
    """The runs that a case exports."""
    return [f"run-{number}" for number in range(case.first, case.first + case.runs)]


def _same_run(case: Case) -> Case:
    return Case("", case.rows, case.runs, case.among, case.first)


def _taken(records: int, done: Measurement, statements: int | None = None) -> Taken:
    return Taken(records, done.seconds, done.peak_mb, done.processor_seconds, statements)
