"""The files of a package, all from the signed records.

Belongs here: records.jsonl, and the views of the records by type, csv/ and parquet/ (docs/package.md). A new view is one more class
here and one more entry in `_VIEWS`. Does not belong here: how files become a package (`package.py`).
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import polars as pl
import pyarrow as pa

from ..contract import Contract, Kind, Table
from ..contract.canonical import canonical_json
from ..parallel import in_order
from .arrow_file import ArrowReader
from .canonical import SIGNATURE, as_text, lines
from .files import FileFacts, NewFile
from .parquet_file import ParquetWriter
from .settings import Budget
from .signing import SigningKey, manifest_record, now

R = TypeVar("R")

FORMULA_STARTS = ("=", "+", "-", "@", "'", "\t", "\r", "\n", "\0")
"""First characters of a text cell before which an apostrophe is put (OWASP, CSV injection; docs/package.md)."""

_FORMULA = "^[" + "".join(f"\\x{{{ord(character):x}}}" for character in FORMULA_STARTS) + "]"


@dataclass(frozen=True, slots=True)
class SignedRecords:
    """The records of a run in order with their signatures, as the two steps before left them.

    Args:
        contract: the contract.
        run_id: the run.
        utc: whether times are instants.
        records: the file of `records.write_records`.
        signatures: the file of `signing.write_signatures`.
        key: the key of the signatures; None where that file holds hashes, for an unsigned export.
        is_last: whether nobody reads them after this.
    """

    contract: Contract
    run_id: str
    utc: bool
    records: ArrowReader
    signatures: ArrowReader
    key: SigningKey | None
    is_last: bool = False

    @property
    def is_signed(self) -> bool:
        return self.key is not None

    @property
    def types(self) -> list[str]:
        """The record types by their code in the file of records."""
        return list(self.contract.record_types)

    def batches(self, i: int) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
        """One batch of records, and that of its signatures when signed. Each is asked for once."""
        records = self.records.consume(i) if self.is_last else self.records.batch(i)
        return records, self.signatures.batch(i) if self.is_signed else None

    def group(self, i: int) -> pl.DataFrame:
        """The same as one frame, with the column `signature` when signed."""
        records, signatures = self.batches(i)
        frame = pl.from_arrow(records)
        return frame if signatures is None else frame.hstack(pl.from_arrow(signatures))


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file for the package.

    Args:
        path: in the package.
        media_type: of the file.
        facts: what was written.
        content: the SHA-256 of the records in it, which two exports of the same records have in common.
        exported_at: when it says that it was exported, if it does.
    """

    path: str
    media_type: str
    facts: FileFacts
    content: str
    exported_at: str | None = None


def write_files(
    signed: SignedRecords, folder: Path, budget: Budget, formats: Collection[str]
) -> dict[str, list[StagedFile]]:
    """The files of some formats, by format.

    Args:
        signed: the records.
        folder: where the package is staged.
        budget: how much memory the step may take.
        formats: some of FORMATS.
    """
    staged, views = {}, [name for name in formats if name in _VIEWS]
    if JSONL in formats:
        staged[JSONL] = _write_jsonl(replace(signed, is_last=signed.is_last and not views), folder, budget)
    return staged | (_write_views(signed, folder, budget, views) if views else {})


def _write_jsonl(signed: SignedRecords, folder: Path, budget: Budget) -> list[StagedFile]:
    """records.jsonl; the last line of a signed one is the contract's manifest record."""

    def group(i: int) -> tuple[memoryview, int]:
        batch, signatures = signed.batches(i)
        signature = None if signatures is None else signatures.column(SIGNATURE)
        return lines(batch.column("canonical"), batch.column("head"), signature), batch.num_rows

    file, rows = NewFile(folder / "records.jsonl", for_package=True), 0
    with file, ThreadPoolExecutor(budget.threads, "jsonl") as pool:
        for text, count in in_order(pool, group, range(signed.records.batches), budget.threads + 1):
            file.write(text)
            rows += count
        content, exported_at = file.facts(rows).sha256, None
        if signed.key is not None:
            exported_at = now()
            final_hash = signed.signatures.metadata["final_hash"]
            file.write(manifest_record(signed.run_id, rows, final_hash, exported_at, signed.key) + b"\n")
    return [StagedFile("records.jsonl", "application/jsonl", file.facts(rows), content, exported_at)]


def _write_views(
    signed: SignedRecords, folder: Path, budget: Budget, names: Collection[str]
) -> dict[str, list[StagedFile]]:
    """The files of some views, for every type that occurs. The records are decoded once for all: that takes longer than the rest."""
    with ExitStack() as stack:
        views = {name: _VIEWS[name](signed, folder, stack) for name in names}

        def rows(table: Table, decoded: pl.DataFrame) -> dict[str, Any]:
            return {name: view.rows(table, decoded) for name, view in views.items()}

        for table, made in _by_type(signed, budget, rows):
            for name, view in views.items():
                view.write(table, made[name])
    return {name: view.files() for name, view in views.items()}


class _View(Protocol[R]):
    """The files of one view of the records, one a type, made batch by batch."""

    def __init__(self, signed: SignedRecords, folder: Path, stack: ExitStack) -> None: ...

    def rows(self, table: Table, decoded: pl.DataFrame) -> R:
        """What is written of some records; called on several threads."""

    def write(self, table: Table, rows: R) -> None:
        """Writes it; in the order of the records."""

    def files(self) -> list[StagedFile]:
        """What was written, once the stack is closed."""


class _Csv:
    """csv/<record_type>.csv."""

    def __init__(self, signed: SignedRecords, folder: Path, stack: ExitStack) -> None:
        self._signed, self._folder, self._stack = signed, folder / "csv", stack
        self._files: dict[str, NewFile] = {}
        self._counts: Counter[str] = Counter()
        self._folder.mkdir()

    def rows(self, table: Table, decoded: pl.DataFrame) -> tuple[memoryview, int]:
        return _csv_rows(self._signed, table, decoded)

    def write(self, table: Table, rows: tuple[memoryview, int]) -> None:
        name, (text, count) = table.record_type, rows
        if name not in self._files:
            file = NewFile(self._folder / f"{name}.csv", for_package=True)
            self._files[name] = self._stack.enter_context(file)
            file.write((",".join(_header(self._signed, table)) + "\r\n").encode())
        self._files[name].write(text)
        self._counts[name] += count

    def files(self) -> list[StagedFile]:
        media_type = "text/csv; charset=utf-8; header=present"
        return [
            _staged(f"csv/{name}.csv", media_type, file.facts(self._counts[name])) for name, file in self._files.items()
        ]


class _Parquet:
    """parquet/<record_type>.parquet."""

    def __init__(self, signed: SignedRecords, folder: Path, stack: ExitStack) -> None:
        self._signed, self._folder, self._stack = signed, folder / "parquet", stack
        self._writers: dict[str, ParquetWriter] = {}
        self._folder.mkdir()

    def rows(self, table: Table, decoded: pl.DataFrame) -> pa.RecordBatch:
        return _parquet_rows(self._signed, table, decoded)

    def write(self, table: Table, rows: pa.RecordBatch) -> None:
        name = table.record_type
        if name not in self._writers:
            metadata = {
                "landscape.run_id": self._signed.run_id,
                "landscape.contract": self._signed.contract.name,
                "landscape.record_type": name,
            }
            writer = ParquetWriter(self._folder / f"{name}.parquet", rows.schema, metadata)
            self._writers[name] = self._stack.enter_context(writer)
        self._writers[name].write(rows)

    def files(self) -> list[StagedFile]:
        media_type = "application/vnd.apache.parquet"
        return [
            _staged(f"parquet/{name}.parquet", media_type, writer.facts()) for name, writer in self._writers.items()
        ]


def _staged(path: str, media_type: str, facts: FileFacts) -> StagedFile:
    return StagedFile(path, media_type, facts, facts.sha256)


JSONL = "jsonl"

_VIEWS: dict[str, type[_View]] = {"csv": _Csv, "parquet": _Parquet}

FORMATS = (JSONL, *_VIEWS)
"""Every output format."""


def _header(signed: SignedRecords, table: Table) -> list[str]:
    fields = [column.field for column in table.fields if column.field is not None]
    return ["record_type", "run_id", *fields, *([SIGNATURE] if signed.is_signed else [])]


def _by_type(
    signed: SignedRecords, budget: Budget, work: Callable[[Table, pl.DataFrame], R]
) -> Iterator[tuple[Table, R]]:
    """What `work` gives for the decoded records of each type in each batch, in order."""

    def group(i: int) -> list[tuple[Table, R]]:
        found = []
        for (code,), frame in signed.group(i).partition_by("record_type", as_dict=True).items():
            table = signed.contract.record_types[signed.types[code]]
            decoded = _decode(frame["canonical"], table)
            if signed.is_signed:
                decoded = decoded.with_columns(frame["signature"])
            found.append((table, work(table, decoded)))
        return found

    with ThreadPoolExecutor(budget.threads, "formats") as pool:
        for group_results in in_order(pool, group, range(signed.records.batches), budget.threads + 1):
            yield from group_results


_JSON_KINDS = (Kind.JSON, Kind.JSON_OBJECTS)

_DECODED: dict[Kind, pl.DataType] = {
    Kind.INTEGER: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.BOOLEAN: pl.Boolean(),
}


def _decode(texts: pl.Series, table: Table) -> pl.DataFrame:
    """Records in canonical form as columns: fields by name; times as text, nested values as canonical JSON text."""
    types = {column.field: _DECODED.get(column.kind, pl.String()) for column in table.fields}
    if not any(column.kind in _JSON_KINDS for column in table.fields):
        return texts.str.json_decode(pl.Struct(types)).struct.unnest()
    # Tables with nested values are small; Polars would want to know the shape of the values.
    nested = [column.field for column in table.fields if column.kind in _JSON_KINDS]
    rows = []
    for text in texts:
        record = json.loads(text, parse_int=_integer)
        rows.append(
            {
                name: canonical_json(record[name]) if name in nested and record[name] is not None else record[name]
                for name in types
            }
        )
    return pl.DataFrame(rows, schema=types)


def _integer(digits: str) -> int | float:
    """Canonical form writes whole doubles as integers; those beyond 2^53-1 can only be doubles."""
    value = int(digits)
    return value if abs(value) <= 2**53 - 1 else float(value)


def _csv_rows(signed: SignedRecords, table: Table, decoded: pl.DataFrame) -> tuple[memoryview, int]:
    kinds = {column.field: column.kind for column in table.fields}
    # Few columns ever hold what looks like a formula: a rough look at all of them costs less than a close one at each. Times begin
    # with a digit, and the values of an enum with a letter.
    free = [name for name, kind in kinds.items() if kind in (Kind.TEXT, *_JSON_KINDS)]
    looks = decoded.select(_looks_like_formula(pl.col(name)).any() for name in free).row(0)
    suspicious = {name for name, does_look in zip(free, looks, strict=True) if does_look}
    cells = [pl.lit(table.record_type).alias("record_type"), _defused(pl.lit(signed.run_id)).alias("run_id")]
    for name, kind in kinds.items():
        if name in suspicious:
            cells.append(_defused(pl.col(name)).alias(name))
        elif kind in (Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN):
            cells.append(pl.lit(as_text(decoded[name], kind)).alias(name))
        else:
            cells.append(pl.col(name))
    if signed.is_signed:
        cells.append(pl.col(SIGNATURE))
    text = io.BytesIO()
    decoded.select(cells).write_csv(text, include_header=False, line_terminator="\r\n", quote_style="necessary")
    return text.getbuffer(), len(decoded)


def _looks_like_formula(text: pl.Expr) -> pl.Expr:
    """True for every text that begins as a formula does, and for some others: those characters come before `.`, or are from `=` to `@`."""
    return (text < ".") | ((text >= "=") & (text < "A"))


def _defused(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text)


def _parquet_rows(signed: SignedRecords, table: Table, decoded: pl.DataFrame) -> pa.RecordBatch:
    columns = [pl.lit(table.record_type).alias("record_type"), pl.lit(signed.run_id).alias("run_id")]
    for column in table.fields:
        if column.kind is Kind.TIME:
            columns.append(pl.lit(_times(decoded[column.field], utc=signed.utc)).alias(column.field))
        else:
            columns.append(pl.col(column.field))
    if signed.is_signed:
        columns.append(pl.col(SIGNATURE))
    (batch,) = decoded.select(columns).rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).to_batches()
    return batch


def _times(text: pl.Series, *, utc: bool) -> pl.Series:
    """Times from the text that records have. Arrow reads it, many times as fast as Polars."""
    local = text.str.strip_suffix("+00:00") if utc else text
    times = pl.from_arrow(local.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.timestamp("us")))
    return times.dt.replace_time_zone("UTC") if utc else times
