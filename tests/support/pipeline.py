"""The stages of an export, one after the other.

Belongs here: what the pipeline composes, for tests of single stages and for those that export often.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from landscape_assets.budget import Budget
from landscape_assets.database import RUN, AuditDatabase, RunNumbers, RunsOfIds
from landscape_assets.database.tables import StoredTables, load_tables
from landscape_assets.errors import CorruptTable
from landscape_assets.formats import FORMATS, RunFiles, StagedFile, fields_wanted, write_files
from landscape_assets.parallel import Deferred, results
from landscape_assets.records.manifest_v2 import ManifestOptions
from landscape_assets.records.ordered import FieldsWanted, ordered_records
from landscape_assets.records.ordered import Records as OrderedRecords
from landscape_assets.records.sign import SigningKey, sign
from landscape_assets.storage.arrow_file import ArrowReader


class SmallBuckets(Budget):
    """A budget by which a bucket holds next to nothing, so that every sort group becomes a bucket of its own."""

    bucket_bytes = 1


def url(database: Path | str) -> str:
    """The URL of a SQLite file; a text is a URL already."""
    return database if isinstance(database, str) else f"sqlite:///{database}"


@contextmanager
def opened_connections() -> Iterator[list[sa.Connection]]:
    """The connections that SQLAlchemy opens within it."""
    opened: list[sa.Connection] = []

    def note(connection: sa.Connection) -> None:
        opened.append(connection)

    sa.event.listen(sa.Engine, "engine_connect", note)
    try:
        yield opened
    finally:
        sa.event.remove(sa.Engine, "engine_connect", note)


def all_runs(database: Path | str) -> list[str]:
    """The finished runs of a database."""
    with AuditDatabase(url(database)) as audit:
        return [run.run_id for run in audit.runs.values() if run.is_finished(audit.contract)]


def rows_of(audit: AuditDatabase, table: str, *run_ids: str, by_scan: bool = False) -> Iterator[pa.RecordBatch]:
    """The rows of runs in one table, as one connection gives them."""
    numbers = RunNumbers(run_ids)

    def runs_of_ids(parent: str) -> RunsOfIds:
        found = RunsOfIds()
        for batch in rows_of(audit, parent, *run_ids, by_scan=by_scan):
            found.add(batch.column(audit.contract.tables[parent].id[0]), pl.from_arrow(batch.column(RUN)))
        found.finish(parent)
        return found

    return audit.read(table, numbers, runs_of_ids, by_scan=by_scan).batches


def read(database: Path | str, table: str, *run_ids: str, folder: Path, by_scan: bool | None = None) -> pa.Table:
    """The rows of runs in one table, as they are stored."""
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load_tables(url(database), run_ids, lambda name: folder / f"{name}.arrow", by_scan=by_scan)
    with ArrowReader(loaded.tables[table].file.path) as reader:
        batches = [reader.batch(i) for i in range(reader.batches)]
        return pa.Table.from_batches(batches, reader.schema)


@contextmanager
def loaded(
    database: Path | str,
    run_ids: str | list[str],
    folder: Path,
    *,
    by_scan: bool | None = None,
    raw_error_rows: bool = False,
) -> Iterator[StoredTables]:
    """The tables of runs as Arrow files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    run_ids = [run_ids] if isinstance(run_ids, str) else run_ids
    load_tables(
        url(database), run_ids, lambda name: folder / f"{name}.arrow", by_scan=by_scan, raw_error_rows=raw_error_rows
    )
    with StoredTables(lambda name: folder / f"{name}.arrow") as tables:
        yield tables


def _records(
    tables: StoredTables, folder: Path, budget: Budget, wanted: FieldsWanted
) -> AbstractContextManager[Iterator[Deferred[OrderedRecords]]]:
    (folder / "scratch").mkdir()
    return ordered_records(tables.contract, tables.run_ids, tables.readers, folder / "scratch", budget, wanted)


@dataclass(frozen=True)
class Records:
    """Ordered records: for each run the canonical forms of its records, and record type → how many of all runs."""

    by_run: dict[str, list[str]]
    counts: dict[str, int]


def make_records(
    database: Path | str,
    run_ids: str | list[str],
    folder: Path,
    budget: Budget | None = None,
    *,
    by_scan: bool | None = None,
) -> Records:
    """The records of runs; what the stages write is in `folder`."""
    with loaded(database, run_ids, folder / "tables", by_scan=by_scan) as tables:
        by_run: dict[str, list[str]] = {run_id: [] for run_id in tables.run_ids}
        counts: dict[str, int] = {}
        types = list(tables.contract.record_types)
        with (
            _records(tables, folder, budget or Budget(), FieldsWanted()) as deferred,
            results(deferred, 2) as batches,
        ):
            for batch in batches:
                for run, code, text in zip(*(batch.texts.column(i).to_pylist() for i in range(3)), strict=True):
                    by_run[tables.run_ids[run]].append(text)
                    counts[types[code]] = counts.get(types[code], 0) + 1
        return Records(by_run, counts)


def refusal(audit: AuditDatabase, database: Path | str, run_id: str, table: str, folder: Path) -> CorruptTable:
    """The error by which a run is refused: reading one table finds most damage, in a tenth of the time of an export;
    where it finds none, the records are made.

    Args:
        audit: the database, opened.
        database: the same.
        run_id: the run.
        table: the table that is damaged.
        folder: for what is made of it.
    """
    with pytest.raises(CorruptTable) as refused:
        audit.finished_run(run_id)
        for _ in rows_of(audit, table, run_id):
            pass
        make_records(database, run_id, folder)
    return refused.value


def texts(records: Records) -> list[str]:
    """The canonical form of every record."""
    return [text for found in records.by_run.values() for text in found]


def make_all_files(
    database: Path | str,
    run_ids: str | list[str],
    folder: Path,
    key: SigningKey | None,
    *formats: str,
    budget: Budget | None = None,
    by_scan: bool | None = None,
    options: ManifestOptions | None = None,
) -> dict[str, RunFiles]:
    """The files of runs in `folder`/files/NUMBER, before they become packages."""
    formats = formats or FORMATS
    budget = fields_wanted(formats).budget(budget or Budget())

    def target(number: int) -> Path:
        path = folder / "files" / str(number)
        path.mkdir(parents=True)
        return path

    raw = options is not None and options.raw_error_rows
    with (
        loaded(database, run_ids, folder / "tables", by_scan=by_scan, raw_error_rows=raw) as tables,
        _records(tables, folder, budget, fields_wanted(formats)) as records,
    ):
        signed = sign(records, key, tables.contract.tagged_key)
        made = write_files(
            signed, tables.contract, tables.run_ids, key, formats, target, budget, options or ManifestOptions()
        )
        return {tables.run_ids[files.number]: files for files in made}


def make_files(
    database: Path | str, run_id: str, folder: Path, key: SigningKey | None, *formats: str
) -> tuple[RunFiles, dict[str, StagedFile]]:
    """The same of one run; path → file."""
    made = make_all_files(database, run_id, folder, key, *formats)[run_id]
    return made, {file.path: file for files in made.files.values() for file in files}


def jsonl(path: Path) -> list[dict]:
    """The records of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
