"""From the tables of a run to its records: every one in its place, in canonical form.

Belongs here: the whole of that step, range by range. Does not belong here: signatures (`signing.py`) and files of the package
(`formats.py`).
"""

from __future__ import annotations

import ctypes
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import xxhash

from ..contract import Contract, Table
from ..errors import CorruptTable
from ..landscape.checks import row_label
from ..parallel import in_order
from .arrow_file import ArrowReader, ArrowWriter
from .canonical import encode, plain_columns, text_of
from .files import FileFacts
from .order import Placement, RangeOrder, ordering_columns, place
from .ranges import Prepare, RowsByRange
from .settings import Budget

MAX_RECORD = 64 * 2**20
"""Bytes of a record with its signature (docs/package.md, "Limits")."""

SIGNATURE_BYTES = len(',"signature":""') + 64

RECORDS_SCHEMA = pa.schema(
    [
        pa.field("record_type", pa.uint8()),
        pa.field("canonical", pa.large_string()),
        pa.field("head", pa.uint32()),
    ]
)
"""The records of a run in order: the type (its place among `Contract.record_types`), the canonical form without signature, and how
many bytes of it come before the signature's place."""


@dataclass(frozen=True, slots=True)
class RecordsFacts:
    """What the step made: the file, the records by type, and a hash of the records in their order.

    `content` is the hex XXH3-128 of the canonical forms, one behind the other: it tells contents apart, and proves nothing. What
    proves is the chain of the signed records.
    """

    file: FileFacts
    counts: dict[str, int]
    content: str


def write_records(
    contract: Contract,
    run_id: str,
    tables: Mapping[str, ArrowReader],
    path: Path,
    scratch: Path,
    budget: Budget,
    metadata: dict[str, str],
) -> RecordsFacts:
    """Writes the records of a run to an Arrow file, in record order (contract, section 2), one batch a range.

    Args:
        contract: the contract of the tables.
        run_id: the run.
        tables: table → its rows, for every table of the contract.
        path: the file to write.
        scratch: an empty folder for temporary files.
        budget: how much memory the step may take.
        metadata: text for the file's metadata.

    Raises:
        CorruptTable: the tables do not fit together: an orphan, a reference that leads nowhere, an id that occurs twice.
        OSError: no room, or no right, to write.
    """
    _give_back_memory()
    placement = place(contract, tables, budget)
    rows = RowsByRange(placement, tables, _preparation(contract, run_id, tables, placement), scratch, budget)
    counts: Counter[int] = Counter()
    content = xxhash.xxh3_128()
    with ArrowWriter(path, RECORDS_SCHEMA, metadata) as writer:
        for batch in _ranges(contract, placement, rows, budget):
            for value in batch.column("record_type").value_counts():
                counts[value["values"].as_py()] += value["counts"].as_py()
            content.update(text_of(batch.column("canonical")))
            writer.write(batch)
        by_type = {name: counts[code] for code, name in enumerate(contract.record_types) if counts[code]}
        writer.annotate({"record_counts": json.dumps(by_type)})
    return RecordsFacts(writer.facts(), by_type, content.hexdigest())


def _give_back_memory() -> None:
    """Gives the system what the allocators of Arrow and of the database drivers keep of freed memory (measured: 20 MB)."""
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError):  # glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _preparation(
    contract: Contract, run_id: str, tables: Mapping[str, ArrowReader], placement: Placement
) -> Prepare:
    """Makes of table rows what the records need of them: their text, and what they are ordered by."""
    plain = {name: plain_columns(reader.metadata) for name, reader in tables.items()}
    codes = {table.name: code for code, table in enumerate(contract.record_types.values())}
    ordering = {name: ordering_columns(contract, contract.tables[name]) for name in tables}

    def prepare(name: str, rows: pa.RecordBatch) -> pl.DataFrame:
        table = contract.tables[name]
        placement.require(contract, table, rows)
        code = pl.repeat(codes[name], rows.num_rows, dtype=pl.UInt8, eager=True).alias("record_type")
        records = encode(rows, table, run_id, plain[name])
        _require_size(table, rows, run_id, records["canonical"])
        return pl.from_arrow(rows.select(ordering[name])).hstack([code, *records])

    return prepare


def _require_size(table: Table, rows: pa.RecordBatch, run_id: str, canonical: pl.Series) -> None:
    """Makes sure that no record is longer than MAX_RECORD; of one that is, the error names the longest value."""
    sizes = canonical.str.len_bytes()
    if (sizes.max() or 0) <= MAX_RECORD - SIGNATURE_BYTES:
        return
    row = rows.slice(sizes.arg_max(), 1).to_pylist()[0]
    column = max((column.name for column in table.fields), key=lambda name: len(str(row[name])))
    label, found = row_label(table, {"run_id": run_id, **row}), f"a value of {len(str(row[column])):,} characters"
    rule = f"with which the record and its signature have more than {MAX_RECORD:,} bytes"
    raise CorruptTable(table.name, label, column, found, rule)


def _ranges(
    contract: Contract, placement: Placement, rows: RowsByRange, budget: Budget
) -> Iterator[pa.RecordBatch]:
    with ThreadPoolExecutor(budget.threads, "records") as pool:
        yield from in_order(
            pool,
            lambda number: _order(contract, rows.frames(number)),
            range(placement.ranges),
            budget.threads + 1,  # one is written while the others are worked on
        )


def _order(contract: Contract, frames: dict[str, pl.DataFrame]) -> pa.RecordBatch:
    """The records of one range in order, as a batch of RECORDS_SCHEMA."""
    order = RangeOrder(contract, frames)
    records = pl.concat([frame[RECORDS_SCHEMA.names] for frame in order.frames], rechunk=True)[order.permutation()]
    return pa.RecordBatch.from_arrays(
        [
            records["record_type"].to_arrow(),
            records["canonical"].to_arrow(compat_level=pl.CompatLevel.oldest()),
            records["head"].to_arrow(),
        ],
        schema=RECORDS_SCHEMA,
    )
