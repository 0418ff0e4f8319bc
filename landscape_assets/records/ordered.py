"""From the tables of some runs to their records: every one in its place, in canonical form.

Belongs here: the whole of that stage, bucket by bucket. Does not belong here: signatures (`sign.py`) and files of the
package (`formats/`).

Records come in batches (`Records`): the text of every record, and beside it, for each record type, the columns of its
records, so that views are written from columns.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ..budget import Budget
from ..contract import Contract, Kind, Table
from ..database import RUN
from ..database.validation import row_label
from ..errors import CorruptTable
from ..parallel import Deferred
from ..storage.arrow_file import ArrowReader
from .buckets import BucketedRows, Prepare, PreparedRows
from .encode import SIGNATURE_BYTES, Texts, column_texts, encode
from .plan import SortPlan, plan_sort
from .sort import BucketSorter, ordering_columns

_ROW = "row"
"""The column of a row's place among the rows of its table in the bucket."""

MAX_RECORD = 64 * 2**20
"""Bytes of a record with its signature (docs/package.md, "Limits")."""

_TEXTS = pa.schema(
    [
        pa.field(RUN, pa.uint32()),
        pa.field("record_type", pa.int8()),
        pa.field("canonical", pa.large_string()),
        pa.field("head", pa.uint32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Records:
    """A batch of records in order.

    Args:
        texts: of every record the number of its `run` (ascending), its `record_type` (the place among
            `Contract.record_types`), `canonical`, the canonical form without signature, and `head`, how many bytes of
            that come before the signature's place.
        fields: code of a record type → of its records, in the same order, what is wanted besides (`FieldsWanted`): the
            values of fields by name, where nested values (JSON) are text in canonical form; and texts by name. Empty
            where nothing is wanted.
    """

    texts: pa.RecordBatch
    fields: Mapping[int, pa.RecordBatch]


def places_by_type(codes: np.ndarray) -> list[np.ndarray]:
    """For each code of a record type, up to the last that occurs, the places of its records, ascending.

    Args:
        codes: the code of each record.
    """
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])


RowText = Callable[[pa.RecordBatch, Texts, Table, Sequence[str]], pa.LargeStringArray]
"""Makes a text of each row. Arguments as for `encode`."""


@dataclass(frozen=True, slots=True)
class FieldsWanted:
    """What is wanted of records besides their canonical form.

    Args:
        typed: whether their typed values are.
        texts: name → makes a text of each record. It is made before records are ordered: of many rows at once, and with
            the texts of columns that the canonical form is made of too.
        only: record type → the fields whose typed values are; None for all.
    """

    typed: bool = False
    texts: Mapping[str, RowText] = field(default_factory=dict)
    only: Mapping[str, Collection[str]] | None = None

    def __bool__(self) -> bool:
        return self.typed or bool(self.texts)

    def budget(self, given: Budget) -> Budget:
        """The budget with which ordering and writing take no more memory than `given` allows without fields.

        With a few fields a batch takes half as much again, with all of them more than twice as much (measured). The
        thread that writes files then has as much to do as one that makes batches, and counts as one of them: measured
        on two processors, another one takes a sixth more of their time, and saves none.
        """
        if not self:
            return given
        is_little = self.only is not None and not self.texts
        if is_little:
            return replace(given, memory_mb=max(1, given.memory_mb * 4 // 6))
        return replace(given, memory_mb=max(1, given.memory_mb // 2), threads=max(1, given.threads - 1))

    def is_wanted(self, record_type: str, name: str) -> bool:
        """Whether the typed values of a field are."""
        return self.typed and (self.only is None or name in self.only.get(record_type, ()))


@contextmanager
def ordered_records(
    contract: Contract,
    run_ids: Sequence[str],
    tables: Mapping[str, ArrowReader],
    scratch: Path,
    budget: Budget,
    wanted: FieldsWanted,
) -> Iterator[Iterator[Deferred[Records]]]:
    """The records of some runs, one run after the other, in record order (contract, section 2).

    Args:
        contract: the contract of the tables.
        run_ids: the runs by number.
        tables: table → its rows, for every table of the contract.
        scratch: an empty folder for temporary files.
        budget: how much memory and how many threads the stage may take (`FieldsWanted.budget`).
        wanted: what is wanted of the records besides their canonical form.

    Returns:
        A context manager of batches, one a bucket. Each is made when it is called for, within the context.

    Raises:
        CorruptTable: the tables do not fit together: an orphan, a reference that leads nowhere, an id that occurs
            twice. Raised for what a batch shows when that is made.
        OSError: no room, or no right, to write.
    """
    _release_memory()
    plan = plan_sort(contract, len(run_ids), tables, budget)
    prepare = _preparation(contract, run_ids, tables, plan, wanted)
    with BucketedRows(plan, tables, prepare, scratch, budget) as rows:

        def ordered(number: int) -> Records:
            return _order(contract, rows.of(number))

        yield (partial(ordered, number) for number in range(plan.buckets))


def _release_memory() -> None:
    """Gives the system what the allocators of Arrow and of the drivers keep of freed memory (measured: 20 MB)."""
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError):  # glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _preparation(
    contract: Contract,
    run_ids: Sequence[str],
    tables: Mapping[str, ArrowReader],
    plan: SortPlan,
    wanted: FieldsWanted,
) -> Prepare:
    """Makes of table rows what the records need: their text, what they are ordered by, and what is wanted besides."""
    ordering = {name: ordering_columns(contract, contract.tables[name]) for name in tables}

    def prepare(name: str, rows: pa.RecordBatch) -> PreparedRows:
        table = contract.tables[name]
        plan.require(contract, table, rows)
        texts = column_texts(rows, table)
        records = encode(rows, texts, table, run_ids)
        _require_size(table, rows, run_ids, records["canonical"])
        fields = _typed_fields(rows, texts, table, wanted)
        fields |= {name: make(rows, texts, table, run_ids) for name, make in wanted.texts.items()}
        return PreparedRows(
            pl.DataFrame(rows.select(ordering[name])).hstack(records),
            pa.RecordBatch.from_pydict(fields) if fields else None,
        )

    return prepare


def _require_size(table: Table, rows: pa.RecordBatch, run_ids: Sequence[str], canonical: pl.Series) -> None:
    """Makes sure that no record is longer than MAX_RECORD; of one that is, the error names the longest value."""
    sizes = canonical.str.len_bytes()
    if sizes.to_numpy().max(initial=0) <= MAX_RECORD - SIGNATURE_BYTES:
        return
    row = rows.slice(sizes.arg_max(), 1).to_pylist()[0]
    column = max((column.name for column in table.fields), key=lambda name: len(str(row[name])))
    label = row_label(table, {"run_id": run_ids[row[RUN]], **row})
    found = f"a value of {len(str(row[column])):,} characters"
    rule = f"with which the record and its signature have more than {MAX_RECORD:,} bytes"
    raise CorruptTable(table.name, label, column, found, rule)


def _typed_fields(rows: pa.RecordBatch, texts: Texts, table: Table, wanted: FieldsWanted) -> dict[str, pa.Array]:
    found = {}
    for column in table.fields:
        assert column.field is not None  # as of all of `Table.fields`
        if not wanted.is_wanted(table.record_type, column.field):
            continue
        values = rows.column(column.name)
        if column.kind in (Kind.JSON, Kind.JSON_OBJECTS):
            values = texts[column.name].to_arrow(compat_level=pl.CompatLevel.oldest())
        elif column.kind is Kind.FLOAT:
            values = pc.add(values, 0.0)  # canonical form knows no negative zero
        elif pa.types.is_string(values.type):
            values = values.cast(pa.large_string())
        found[column.field] = values
    return found


def _order(contract: Contract, rows: Mapping[str, PreparedRows]) -> Records:
    """The records of one bucket in order."""
    order = BucketSorter(contract, {name: each.frame.with_row_index(_ROW) for name, each in rows.items()})
    at = order.permutation()
    tables = list(contract.record_types.values())
    codes = {table.name: code for code, table in enumerate(tables)}
    code_of_row = np.repeat(
        np.array([codes[placed.group.table] for placed in order.placed], np.int8),
        [len(placed.frame) for placed in order.placed],
    )
    wanted = [placed.frame[[RUN, "canonical", "head", _ROW]] for placed in order.placed]
    records = pl.concat(wanted, rechunk=True)[at]
    types, row = code_of_row[at.to_numpy()], records[_ROW].to_numpy()
    texts = [
        records[RUN].to_arrow(),
        pa.array(types),
        records["canonical"].to_arrow(compat_level=pl.CompatLevel.oldest()),
        records["head"].to_arrow(),
    ]
    fields = {
        code: found.take(pa.array(row[places]))
        for code, places in enumerate(places_by_type(types))
        if len(places) and (found := rows[tables[code].name].fields) is not None
    }
    return Records(pa.RecordBatch.from_arrays(texts, schema=_TEXTS), fields)
