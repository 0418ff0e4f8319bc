"""From the tables of a run to its records: every one in its place, in canonical form.

Belongs here: the whole of that step, range by range. Does not belong here: signatures (`signing.py`) and files of the package
(`formats.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import polars_hash
import pyarrow as pa

from ..contract import Contract
from ..parallel import in_order
from .arrow_file import ArrowWriter
from .canonical import encode, plain_columns
from .files import FileFacts, ParquetReader
from .order import Placement, RangeOrder, place
from .settings import Budget
from .spill import Spill

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

    `content` is the hex SHA-256 over the XXH3-64 hashes of the canonical forms: it tells contents apart, and proves nothing. What
    proves is the chain of the signed records.
    """

    file: FileFacts
    counts: dict[str, int]
    content: str


def write_records(
    contract: Contract,
    run_id: str,
    tables: Mapping[str, ParquetReader],
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
    placement = place(contract, tables, budget.range_bytes)
    spill = Spill(None if placement.ranges == 1 else scratch, placement)
    with ThreadPoolExecutor(budget.threads, "spill") as pool:
        # The largest table first, so that no thread is left alone with it at the end.
        by_size = sorted(tables.items(), key=lambda item: -item[1].rows)
        list(pool.map(lambda item: spill.add(*item), by_size))
    counts: Counter[int] = Counter()
    content = hashlib.sha256()
    with ArrowWriter(path, RECORDS_SCHEMA, metadata) as writer:
        for batch, hashes in _ranges(contract, run_id, tables, placement, spill, budget):
            for value in batch.column("record_type").value_counts():
                counts[value["values"].as_py()] += value["counts"].as_py()
            content.update(hashes)
            writer.write(batch)
        by_type = {name: counts[code] for code, name in enumerate(contract.record_types) if counts[code]}
        writer.annotate({"record_counts": json.dumps(by_type)})
    return RecordsFacts(writer.facts(), by_type, content.hexdigest())


def _ranges(
    contract: Contract,
    run_id: str,
    tables: Mapping[str, ParquetReader],
    placement: Placement,
    spill: Spill,
    budget: Budget,
) -> Iterator[tuple[pa.RecordBatch, pa.Buffer]]:
    plain = {name: plain_columns(reader.metadata) for name, reader in tables.items()}
    with ThreadPoolExecutor(budget.threads, "records") as pool:
        yield from in_order(
            pool,
            lambda number: _order_and_encode(contract, run_id, placement, spill.frames(number), plain),
            range(placement.ranges),
            budget.threads,
        )


def _order_and_encode(
    contract: Contract,
    run_id: str,
    placement: Placement,
    frames: Mapping[str, pl.DataFrame],
    plain: Mapping[str, frozenset[str]],
) -> tuple[pa.RecordBatch, pa.Buffer]:
    """The records of one range in order, as a batch of RECORDS_SCHEMA, and the hashes of their canonical forms."""
    order = RangeOrder(contract, placement, frames)
    codes = {name: code for code, name in enumerate(contract.record_types)}
    encoded = []
    for group, frame in order.groups:
        table = contract.tables[group.table]
        encoded.append(
            encode(frame, table, run_id, plain[table.name]).with_columns(record_type=pl.lit(codes[table.record_type], pl.UInt8))
        )
    records = pl.concat(encoded)[order.permutation()]
    hashes = records.select(hash=polars_hash.col("canonical").nchash.xxh3_64())["hash"]
    batch = pa.RecordBatch.from_arrays(
        [
            records["record_type"].to_arrow(),
            records["canonical"].to_arrow(compat_level=pl.CompatLevel.oldest()),
            records["head"].to_arrow(),
        ],
        schema=RECORDS_SCHEMA,
    )
    return batch, hashes.rechunk().to_arrow().buffers()[1]
