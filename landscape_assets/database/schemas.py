"""The declared types of table frames: contract kinds as Arrow types.

Belongs here: schemas, and bringing a batch into one. Does not belong here: where batches come from, and whether their
values keep the contract (`validation.py`).
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from ..contract import Kind, Table

ARROW_TYPES: dict[Kind, pa.DataType] = {
    Kind.TEXT: pa.string(),
    Kind.ENUM: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.TIME: pa.timestamp("us"),
    Kind.BOOLEAN: pa.bool_(),
    Kind.JSON: pa.string(),
    Kind.JSON_OBJECTS: pa.string(),
}


def arrow_schema(table: Table, *, utc: bool = False) -> pa.Schema:
    """The schema of the table's frames, columns as in `table.selected`.

    Args:
        table: a table of a contract.
        utc: whether times are instants (PostgreSQL) or have no zone (SQLite).
    """
    times = pa.timestamp("us", tz="UTC") if utc else ARROW_TYPES[Kind.TIME]
    return pa.schema(
        [
            pa.field(column.name, times if column.kind is Kind.TIME else ARROW_TYPES[column.kind])
            for column in table.columns
        ]
    )


def declared_columns(table: Table, stored: pa.RecordBatch, frame: pl.DataFrame, *, utc: bool) -> list[pa.Array]:
    """The columns of a table in their declared types, as in `table.selected`.

    Args:
        table: a table of a contract.
        stored: its rows as the database gives them.
        frame: the same with declared types (`Source.typed`).
        utc: see `arrow_schema`.
    """
    return [
        (
            frame[field.name].to_arrow(compat_level=pl.CompatLevel.oldest())
            if column.kind in (Kind.TIME, Kind.BOOLEAN)
            else stored.column(field.name)
        ).cast(field.type)
        for column, field in zip(table.columns, arrow_schema(table, utc=utc), strict=True)
    ]
