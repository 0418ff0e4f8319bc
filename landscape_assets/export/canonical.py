"""Records in canonical form (RFC 8785), a whole column at a time.

Belongs here: how a frame of table rows becomes a column of records. Each record type has a fixed set of ASCII keys, so that its
canonical form is a template: sorted keys as literals, and one encoded column a value. Does not belong here: single values
(`contract/canonical.py`), order (`order.py`), signatures (`signing.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ..contract import Column, Kind, Table
from ..contract.canonical import canonical_json, parse_json

SIGNATURE = "signature"

# RFC 8785 section 3.2.2.2: the only characters that are escaped, and how.
_SHORT_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_ESCAPES = {chr(i): f"\\u{i:04x}" for i in range(0x20)} | _SHORT_ESCAPES
_NEEDS_ESCAPE = r'[\x00-\x1f"\\]'


class PlainText:
    """Which text columns of a table hold no character that is escaped; found as the rows come from the database.

    The look costs little there, where the database is waited for, and then `encode` need not look into each value.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._plain = {field.name for field in schema if pa.types.is_large_string(field.type)}

    def see(self, batch: pa.RecordBatch) -> None:
        """Notes the text of a batch."""
        for name in list(self._plain):
            text = text_of(batch.column(name))
            octets = pa.Array.from_buffers(pa.uint8(), len(text), [None, pa.py_buffer(text)])
            if len(text) and (
                pc.min(octets).as_py() < 0x20
                or any(pc.any(pc.equal(octets, pa.scalar(ord(escaped), pa.uint8()))).as_py() for escaped in '"\\')
            ):
                self._plain.remove(name)

    def metadata(self) -> dict[str, str]:
        """What was found, for the metadata of the table's file."""
        return {"plain": json.dumps(sorted(self._plain))}


def plain_columns(metadata: Mapping[str, str]) -> frozenset[str]:
    """The columns that `PlainText` found without escaped characters; none where nobody looked."""
    return frozenset(json.loads(metadata.get("plain", "[]")))


def text_of(values: pa.LargeStringArray) -> memoryview:
    """The UTF-8 of an array's values, one behind the other, without a copy."""
    if not len(values):
        return memoryview(b"")
    offsets, data = memoryview(values.buffers()[1]).cast("q"), memoryview(values.buffers()[2] or b"")
    return data[offsets[values.offset] : offsets[values.offset + len(values)]]


def encode(frame: pl.DataFrame, table: Table, run_id: str, plain: frozenset[str] = frozenset()) -> pl.DataFrame:
    """The records of a frame of table rows.

    Args:
        frame: rows with the declared types of `table.columns`.
        table: the table.
        run_id: the run that they belong to.
        plain: columns whose text is known to need no escapes.

    Returns:
        As many rows, in the same order: `canonical`, the canonical form of the record without signature (text), and `head`,
        the length in bytes of the part of it before the place of the field `signature` (uint32).
    """
    pieces = _Pieces()
    head = None
    for i, (key, value) in enumerate(_sorted_fields(table, run_id)):
        if head is None and key > SIGNATURE:
            # What is put in begins with the key and ends with a comma.
            pieces.literal("" if i == 0 else ",")
            head = pieces.length()
            pieces.literal(f'"{key}":')
        else:
            pieces.literal(f'{"{" if i == 0 else ","}"{key}":')
        if isinstance(value, str):
            pieces.literal(value)
        else:
            _encode_column(frame[value.name], value.kind, value.name in plain, pieces)
    if head is None:
        head = pieces.length()
    pieces.literal("}")
    return frame.select(pl.concat_str(pieces.expressions()).alias("canonical"), head.cast(pl.UInt32).alias("head"))


def signature_is_last(table: Table) -> bool:
    """Whether no key of the record sorts after `signature`: then a comma stands before the field, else behind it."""
    return not any(key > SIGNATURE for key, _ in _sorted_fields(table, ""))


def _sorted_fields(table: Table, run_id: str) -> list[tuple[str, str | Column]]:
    """The record's keys in canonical order, each with its literal JSON or the column that it comes from."""
    fields: dict[str, str | Column] = {
        "record_type": f'"{table.record_type}"',
        "run_id": canonical_json(run_id),
    }
    fields |= {column.field: column for column in table.fields if column.field is not None}
    return sorted(fields.items())  # ASCII keys: UTF-16 order is byte order


class _Pieces:
    """The template of a record: literal text and encoded columns in turn, neighbouring literals made one."""

    def __init__(self) -> None:
        self._expressions: list[pl.Expr] = []
        self._pending = ""
        self._literal_bytes = 0
        self._column_bytes: list[pl.Expr] = []

    def literal(self, text: str) -> None:
        self._pending += text
        self._literal_bytes += len(text.encode())

    def column(self, values: pl.Series) -> None:
        """A column of text without nulls."""
        self._flush()
        self._expressions.append(pl.lit(values))
        self._column_bytes.append(pl.lit(values.str.len_bytes()))

    def length(self) -> pl.Expr:
        """The bytes of each record so far."""
        return pl.sum_horizontal(pl.lit(self._literal_bytes, pl.UInt32), *self._column_bytes)

    def expressions(self) -> list[pl.Expr]:
        self._flush()
        return self._expressions

    def _flush(self) -> None:
        if self._pending:
            self._expressions.append(pl.lit(self._pending))
            self._pending = ""


def _encode_column(values: pl.Series, kind: Kind, is_plain: bool, pieces: _Pieces) -> None:
    nulls = values.null_count()
    if nulls == len(values):
        pieces.literal("null")
        return
    text = as_text(values, kind)
    quoted = kind in _QUOTED
    if kind is Kind.TEXT and not is_plain:
        text = _escaped(text)
    if nulls == 0:
        quote = '"' if quoted else ""
        pieces.literal(quote)
        pieces.column(text)
        pieces.literal(quote)
    elif quoted:
        name = text.name
        pieces.column(
            text.to_frame().select(pl.concat_str(pl.lit('"'), pl.col(name), pl.lit('"')).fill_null("null")).to_series()
        )
    else:
        pieces.column(text.fill_null("null"))


_QUOTED = (Kind.TEXT, Kind.ENUM, Kind.TIME)


def as_text(values: pl.Series, kind: Kind) -> pl.Series:
    """A column's values as the text of their canonical form, strings without quotation marks or escapes; nulls stay null."""
    return _TEXT[kind](values)


def _escaped(text: pl.Series) -> pl.Series:
    if not text.str.contains(_NEEDS_ESCAPE).any():
        return text
    return text.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))


def number_text(values: pl.Series) -> pl.Series:
    """Finite doubles as ECMAScript prints them (RFC 8785 section 3.2.2.3).

    Both print the shortest digits that denote the value; they differ in zeros, and in when an exponent is used.
    """
    text = values.cast(pl.String).str.strip_suffix(".0")
    special = values.filter((values.abs() < 1e-4) | (values.abs() >= 1e15)).unique()
    if special.is_empty():
        return text
    exact = pl.Series([canonical_json(value) for value in special], dtype=pl.String)
    frame = pl.DataFrame({"value": values, "text": text})
    mapped = frame["value"].replace_strict(special, exact, default=None, return_dtype=pl.String)
    return frame.select(pl.coalesce(pl.lit(mapped), "text")).to_series()


def _time_text(values: pl.Series) -> pl.Series:
    """As Python's isoformat: the fraction is left out when it is zero (contract, section 1, Values)."""
    text = values.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f").str.strip_suffix(".000000")
    zone = values.dtype.time_zone if isinstance(values.dtype, pl.Datetime) else None
    return text if zone is None else text + "+00:00"


def _json_text(values: pl.Series) -> pl.Series:
    """Stored JSON text as the canonical form of its value; tables with such columns are small."""
    return pl.Series(
        values.name, [None if text is None else canonical_json(parse_json(text)) for text in values], dtype=pl.String
    )


_TEXT: dict[Kind, Callable[[pl.Series], pl.Series]] = {
    Kind.TEXT: lambda values: values,
    Kind.ENUM: lambda values: values,
    Kind.INTEGER: lambda values: values.cast(pl.String),
    Kind.FLOAT: number_text,
    Kind.TIME: _time_text,
    Kind.BOOLEAN: lambda values: values.cast(pl.String),
    Kind.JSON: _json_text,
    Kind.JSON_OBJECTS: _json_text,
}


def lines(canonical: pl.Series, head: pl.Series, last: pl.Series, signature: pl.Series | None) -> pl.Series:
    """The lines of records.jsonl: each record in canonical form, with its signature where there is one, and a line end.

    Args:
        canonical: canonical forms without signature.
        head: for each, the bytes before the place of the signature.
        last: for each, whether the signature is the last field.
        signature: lower-case hex, or None for an unsigned export.
    """
    frame = pl.DataFrame({"canonical": canonical, "head": head, "last": last})
    if signature is None:
        return frame.select(pl.concat_str("canonical", pl.lit("\n"))).to_series()
    binary = pl.col("canonical").cast(pl.Binary)
    return frame.select(
        pl.concat_str(
            binary.bin.slice(0, pl.col("head")).cast(pl.String),
            pl.when("last").then(pl.lit(',"signature":"')).otherwise(pl.lit('"signature":"')),
            pl.lit(signature),
            pl.when("last").then(pl.lit('"')).otherwise(pl.lit('",')),
            binary.bin.slice(pl.col("head")).cast(pl.String),
            pl.lit("\n"),
        )
    ).to_series()
