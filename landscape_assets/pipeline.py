"""The export without Dagster: the stages composed for a set of runs, streaming.

Belongs here: the way of some runs from the database to their packages, in sets that are worked on as one; what becomes
of a run that cannot be exported. Does not belong here: what a stage does (`database/`, `records/`, `formats/`,
`package/`), settings (`settings.py`), and the same stages as assets (`dagster_defs/`).
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .contract import Contract
from .database import AuditDatabase
from .database.tables import LoadedTables, RunFacts, StoredTables, load_tables
from .errors import DatabaseError, ExportError
from .evidence import append_or_say
from .failures import explain
from .formats import RunFiles, StagedFile, fields_wanted, write_files
from .package import Export, Published, publish
from .parallel import in_order
from .records.ordered import ordered_records
from .records.own_snapshot import Comparison, OwnSnapshots
from .records.sign import sign
from .settings import Settings
from .storage.work_dirs import make_work_dir, remove_stale, remove_work_dir, remove_work_dirs, run_lock, staging_root

RUNS_AT_ONCE = 100
"""Runs of one set at most: each holds a lock, which is an open file."""

ROWS_AT_ONCE = 200_000
"""Rows of the table `rows` in one set at most, unless a single run has more: what a set takes on disk is bounded."""

_PUBLISHED_AT_ONCE = 4
"""Packages that are published at a time: publishing waits for the disk, and hardly works."""

EXPORTED, UNCHANGED, FAILED = "exported", "unchanged", "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run.

    Args:
        run_id: the run.
        status: EXPORTED, UNCHANGED (the same package was there) or FAILED.
        error: why it failed.
        published: its package.
        files: format → its files, of a run that did not fail.
        loaded: the tables that it was made of, together with those of other runs; and its number among these runs.
        number: see `loaded`.
        log_index: the place of the package in the log of the export folder, where there is a log.
        log_problem: why the package, which is published, could not be logged.
    """

    run_id: str
    status: str
    error: str | None = None
    published: Published | None = None
    files: RunFiles | None = None
    loaded: LoadedTables | None = None
    number: int = 0
    log_index: int | None = None
    log_problem: str | None = None


OnProgress = Callable[[int, int], None]
"""Told how many records of the runs at hand are written, and how many there are."""


def export_runs(
    run_ids: Sequence[str], settings: Settings, on_progress: OnProgress = lambda done, total: None
) -> Iterator[Outcome]:
    """Exports runs.

    Args:
        run_ids: the runs, each once.
        settings: what they are exported with; checked.
        on_progress: called now and then.

    Yields:
        What became of each run, in no promised order. A run that cannot be exported does not stop the others.
    """
    root = settings.scratch_dir or staging_root(settings.export_dir)
    work = make_work_dir(root, None, uuid.uuid4().hex)
    try:
        remove_stale(root, None)
        for some in _sets(list(run_ids), settings):
            with ExitStack() as locks:
                held = []
                for run_id in some:
                    try:
                        locks.enter_context(run_lock(settings.export_dir, run_id))
                        held.append(run_id)
                    except (ExportError, OSError) as error:
                        yield Outcome(run_id, FAILED, explain(error))
                if held:
                    yield from _logged(_export_set(held, work, settings, on_progress), settings)
    finally:
        remove_work_dir(work)


def _logged(outcomes: Iterator[Outcome], settings: Settings) -> Iterator[Outcome]:
    """The outcomes of a set, once its packages are in the log: one append for all of them.

    An export never fails because of the log: the package is in its place, and the next export, or `log sync`, appends
    it.
    """
    if settings.log is None:
        yield from outcomes
        return
    done = list(outcomes)
    paths = [outcome.published.path for outcome in done if outcome.published is not None]
    log, problem = append_or_say(settings.export_dir, settings.log, paths) if paths else (None, None)
    for outcome in done:
        if outcome.published is None:
            yield outcome
        else:
            index = None if log is None else log.indices.get(outcome.published.manifest_sha256)
            yield replace(outcome, log_index=index, log_problem=problem)


def _sets(run_ids: list[str], settings: Settings) -> Iterator[list[str]]:
    """The runs in sets that are exported together, in the order of the database: its rows are then read in the order of
    the records, and few are held."""
    if len(run_ids) == 1:
        yield run_ids
        return
    with AuditDatabase(settings.database_url) as database:
        rows = database.rows_by_run()
    places = {run_id: place for place, run_id in enumerate(rows)}
    run_ids = sorted(run_ids, key=lambda run_id: places.get(run_id, len(places)))
    some: list[str] = []
    size = 0
    for run_id in run_ids:
        if some and (len(some) == RUNS_AT_ONCE or size + rows.get(run_id, 0) > ROWS_AT_ONCE):
            yield some
            some, size = [], 0
        some.append(run_id)
        size += rows.get(run_id, 0)
    if some:
        yield some


def _export_set(run_ids: list[str], work: Path, settings: Settings, on_progress: OnProgress) -> Iterator[Outcome]:
    """Exports runs together. If one of them stops the others, the rest is exported in two halves, and so on down to
    that one."""
    left = dict.fromkeys(run_ids)
    try:
        for outcome in _export_together(run_ids, work, settings, on_progress):
            del left[outcome.run_id]
            yield outcome
    except Exception as error:
        is_down = isinstance(error, DatabaseError) and error.transient
        if len(left) > 1 and not is_down:
            rest = list(left)
            for half in (rest[: len(rest) // 2], rest[len(rest) // 2 :]):
                yield from _export_set(half, work, settings, on_progress)
            return
        reason = explain(error, settings.key.secret if settings.key else None)
        for run_id in left:
            yield Outcome(run_id, FAILED, reason)


def _export_together(run_ids: list[str], work: Path, settings: Settings, on_progress: OnProgress) -> Iterator[Outcome]:
    def staging(number: int) -> Path:
        return make_work_dir(root, run_ids[number], work.name.rpartition(".")[2])

    root, scratch = staging_root(settings.export_dir), work / "scratch"
    for run_id in run_ids:
        remove_stale(root, run_id)
    try:
        loaded = load_tables(
            settings.database_url,
            run_ids,
            lambda table: work / f"{table}.arrow",
            raw_error_rows=settings.options.raw_error_rows,
            interrupted=settings.interrupted,
        )
        scratch.mkdir()
        with (
            StoredTables(lambda table: work / f"{table}.arrow") as tables,
            ThreadPoolExecutor(_PUBLISHED_AT_ONCE, "publish") as pool,
        ):

            def published(one: Written) -> Outcome:
                return _publish(loaded, one, staging(one.files.number), settings)

            written = write_packages(tables, settings, scratch, staging, on_progress)
            yield from in_order(pool, published, written, _PUBLISHED_AT_ONCE)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        for run_id in run_ids:
            remove_work_dirs(root, run_id)


@dataclass(slots=True)
class _Progress:
    total: int
    on_progress: OnProgress
    done: int = 0

    def add(self, records: int) -> None:
        self.done += records
        self.on_progress(self.done, self.total)


@dataclass(frozen=True, slots=True)
class Written:
    """A run whose files are written, and which is not published yet.

    Args:
        export: what its manifest says.
        files: its files.
        staged: the same in the order of the formats, as `publish` takes them.
    """

    export: Export
    files: RunFiles
    staged: list[StagedFile]


def write_packages(
    tables: StoredTables,
    settings: Settings,
    scratch: Path,
    staging: Callable[[int], Path],
    on_progress: OnProgress = lambda done, total: None,
) -> Generator[Written, None, None]:
    """Makes records of stored tables, signs them and writes their files: all that is between loading and publishing.

    Args:
        tables: the tables of some runs.
        settings: what they are exported with.
        scratch: an empty folder for temporary files.
        staging: number of a run → the empty folder for its files.
        on_progress: called now and then.

    Yields:
        Each run when its files are written, in the order of their numbers.

    Raises:
        ExportError: the records break the contract, or cannot be signed.
        OSError: no room, or no right, to write.
    """
    facts, key, options = tables.facts(), settings.key, settings.options
    wanted = fields_wanted(settings.formats)
    budget = wanted.budget(settings.budget)
    snapshots = OwnSnapshots(tables.contract, facts, key, options)
    progress = _Progress(sum(sum(run.tables.values()) for run in facts), on_progress)
    run_ids = [run.run_id for run in facts]
    with ordered_records(tables.contract, run_ids, tables.readers, scratch, budget, wanted) as records:
        for files in write_files(
            sign(records, key, tables.contract.tagged_key),
            tables.contract,
            run_ids,
            key,
            settings.formats,
            staging,
            budget,
            options,
            settings.manifest_key.key_id if settings.manifest_key else None,
            snapshots.see if snapshots else None,
            progress.add,
        ):
            comparisons = snapshots.results(files.number)
            export = _export(tables.contract, facts[files.number], files, settings, comparisons)
            yield Written(export, files, [file for name in settings.formats for file in files.files[name]])


def _publish(loaded: LoadedTables, written: Written, staging: Path, settings: Settings) -> Outcome:
    run_id, files = written.export.run_id, written.files
    try:
        published = publish(written.export, written.staged, settings.export_dir, staging, supersede=settings.supersede)
    except Exception as error:
        reason = explain(error, settings.key.secret if settings.key else None)
        return Outcome(run_id, FAILED, reason)
    finally:
        remove_work_dir(staging)
    status = EXPORTED if published.is_new else UNCHANGED
    return Outcome(run_id, status, None, published, files, loaded, files.number)


def _export(
    contract: Contract, facts: RunFacts, files: RunFiles, settings: Settings, comparisons: Sequence[Comparison]
) -> Export:
    """What is known of an export when its files are written."""
    options, key = settings.options, settings.key
    said: dict[str, Any] = {}
    if "validation_errors" in contract.tables:
        said["raw_error_rows"] = options.raw_error_rows or not contract.redacts
    if contract.manifest == 2:
        said["export_config"] = options.public(key)
    if comparisons:
        said["elspeth_snapshots"] = [comparison.as_dict() for comparison in comparisons]
    return Export(
        contract=contract.name,
        run_id=facts.run_id,
        status=facts.status,
        started_at=facts.started_at,
        completed_at=facts.completed_at,
        record_counts=files.record_counts,
        final_hash=files.final_hash,
        merkle_root=files.merkle_root,
        tables=facts.tables,
        key=key,
        manifest_key=settings.manifest_key,
        said=said,
    )
