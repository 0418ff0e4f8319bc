"""Records in canonical form (RFC 8785), a whole column at a time.

Belongs here: how a frame of table rows becomes a column of records. Each record type has a fixed set of ASCII keys, so that its
canonical form is a template: sorted keys as literals, and one encoded column a value. Does not belong here: single values
(`contract/canonical.py`), order (`order.py`), signatures (`signing.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import numpy as np
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


_PIECE = 2**16


class PlainText:
    """Which text columns of a table hold no character that is escaped; found as the rows come from the database.

    The look costs little there, where the database is waited for, and then `encode` need not look into each value.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._plain = {field.name for field in schema if pa.types.is_large_string(field.type)}

    def see(self, batch: pa.RecordBatch) -> None:
        """Notes the text of a batch."""
        for name in list(self._plain):
            octets = np.frombuffer(text_of(batch.column(name)), np.uint8)
            # In pieces that stay in the processor's cache: three and a half times as fast.
            for start in range(0, len(octets), _PIECE):
                piece = octets[start : start + _PIECE]
                if piece.min() < 0x20 or (piece == ord('"')).any() or (piece == ord("\\")).any():
                    self._plain.remove(name)
                    break

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
        the length in bytes of the part of it before the place of the field `signature` (uint32). The keys `record_type` and
        `run_id` come before it in every record, so that the field is always put in with a comma in front.
    """
    pieces = _Pieces()
    head = None
    for i, (key, value) in enumerate(_sorted_fields(table, run_id)):
        if head is None and key > SIGNATURE:
            head = pieces.length()
        pieces.literal(f'{"{" if i == 0 else ","}"{key}":')
        if isinstance(value, str):
            pieces.literal(value)
        else:
            _encode_column(frame[value.name], value.kind, value.name in plain, pieces)
    if head is None:
        head = pieces.length()
    pieces.literal("}")
    return frame.select(pl.concat_str(pieces.expressions()).alias("canonical"), head.cast(pl.UInt32).alias("head"))


def _sorted_fields(table: Table, run_id: str) -> list[tuple[str, str | Column]]:
    """The record's keys in canonical order, each with its literal JSON or the column that it comes from."""
    fields: dict[str, str | Column] = {
        "record_type": f'"{table.record_type}"',
        "run_id": canonical_json(run_id),
    }
    fields |= {column.field: column for column in table.fields if column.field is not None}
    return sorted(fields.items())  # ASCII keys: UTF-16 order is byte order


class _Pieces:
    """The template of a record: literal text and encoded columns in turn, neighbouring literals made one.

    All of it is expressions, so that one `select` makes the records: each call of Polars costs as much as hundreds of values.
    """

    def __init__(self) -> None:
        self._expressions: list[pl.Expr] = []
        self._pending = ""
        self._literal_bytes = 0
        self._column_bytes: list[pl.Expr] = []

    def literal(self, text: str) -> None:
        self._pending += text
        self._literal_bytes += len(text.encode())

    def column(self, text: pl.Expr) -> None:
        """A column of text without nulls."""
        self._add(text, text.str.len_bytes())

    def nullable(self, text: pl.Expr, quote: str) -> None:
        """A column of text whose nulls are written so, and whose other values stand between quotation marks."""
        quoted = pl.concat_str(pl.lit(quote), text, pl.lit(quote)) if quote else text
        self._add(quoted.fill_null("null"), (text.str.len_bytes() + 2 * len(quote)).fill_null(len("null")))

    def length(self) -> pl.Expr:
        """The bytes of each record so far."""
        return pl.sum_horizontal(pl.lit(self._literal_bytes, pl.UInt32), *self._column_bytes)

    def expressions(self) -> list[pl.Expr]:
        self._flush()
        return self._expressions

    def _add(self, text: pl.Expr, length: pl.Expr) -> None:
        self._flush()
        self._expressions.append(text)
        self._column_bytes.append(length)

    def _flush(self) -> None:
        if self._pending:
            self._expressions.append(pl.lit(self._pending))
            self._pending = ""


def _encode_column(values: pl.Series, kind: Kind, is_plain: bool, pieces: _Pieces) -> None:
    nulls = values.null_count()
    if nulls == len(values):
        pieces.literal("null")
        return
    quote = '"' if kind in _QUOTED else ""
    text = _as_expression(values, kind, is_plain)
    if nulls:
        pieces.nullable(text, quote)
    else:
        pieces.literal(quote)
        pieces.column(text)
        pieces.literal(quote)


def _as_expression(values: pl.Series, kind: Kind, is_plain: bool) -> pl.Expr:
    if kind is Kind.ENUM or (kind is Kind.TEXT and is_plain):
        return pl.col(values.name)
    if kind is Kind.TEXT:
        return pl.lit(_escaped(values))
    if kind in (Kind.INTEGER, Kind.BOOLEAN):
        return pl.col(values.name).cast(pl.String)
    return pl.lit(as_text(values, kind))


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
    value, size = pl.col("value"), pl.col("value").abs()
    frame = values.to_frame("value").select(
        value, text=value.cast(pl.String).str.strip_suffix(".0"), special=(size < 1e-4) | (size >= 1e15)
    )
    if not frame["special"].any():
        return frame["text"].alias(values.name)
    special = frame.filter("special")["value"].unique()
    exact = pl.Series([canonical_json(value) for value in special], dtype=pl.String)
    mapped = frame["value"].replace_strict(special, exact, default=None, return_dtype=pl.String)
    return frame.select(pl.coalesce(pl.lit(mapped), "text").alias(values.name)).to_series()


_TIME_WIDTH = len("YYYY-MM-DD HH:MM:SS.ffffff")


def _time_text(values: pl.Series) -> pl.Series:
    """As Python's isoformat: the fraction is left out when it is zero (contract, section 1, Values)."""
    zone = values.dtype.time_zone if isinstance(values.dtype, pl.Datetime) else None
    # Arrow prints each time in the same width, twice as fast as Polars formats it; then the blank in it becomes a T.
    local = values if zone is None else values.dt.replace_time_zone(None)
    text = local.to_arrow().cast(pa.large_string())
    digits = np.frombuffer(text_of(text), np.uint8).copy()
    digits.reshape(-1, _TIME_WIDTH)[:, _TIME_WIDTH - len(" HH:MM:SS.ffffff")] = ord("T")
    validity, offsets, _ = text.buffers()
    text = pa.Array.from_buffers(text.type, len(text), [validity, offsets, pa.py_buffer(digits)], offset=text.offset)
    found = pl.from_arrow(text).str.strip_suffix(".000000").alias(values.name)
    return found if zone is None else found + "+00:00"


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


def lines(canonical: pa.LargeStringArray, head: pa.UInt32Array, signature: pa.LargeStringArray | None) -> memoryview:
    """The lines of records.jsonl: each record in canonical form, with its signature where there is one, and a line end.

    The text of the records is cut at the places of the signatures without being copied, and one copy makes the lines
    (`binary_join_element_wise`): half the time of joining columns of pieces.

    Args:
        canonical: canonical forms without signature.
        head: for each, the bytes before the place of the signature.
        signature: 64 digits of lower-case hex for each, or None for an unsigned export.

    Returns:
        The UTF-8 of all lines, one behind the other.
    """
    count = len(canonical)
    if signature is None or count == 0:
        return text_of(pc.binary_join_element_wise(canonical, _text("\n"), _text("")))
    starts = np.frombuffer(canonical.buffers()[1], np.int64)[canonical.offset : canonical.offset + count + 1]
    cuts = np.empty(2 * count + 1, np.int64)
    cuts[0::2] = starts
    cuts[1::2] = starts[:-1] + np.asarray(head)
    parts = _array(cuts, canonical.buffers()[2])

    before, after = np.frombuffer(f',"{SIGNATURE}":"'.encode(), np.uint8), np.frombuffer(b'"\n', np.uint8)
    hex_digits = np.frombuffer(text_of(signature), np.uint8).reshape(count, -1)
    width = len(before) + hex_digits.shape[1] + len(after)
    fields = np.empty((count, width), np.uint8)
    fields[:, : len(before)] = before
    fields[:, len(before) : -len(after)] = hex_digits
    fields[:, -len(after) :] = after
    ends = np.empty(2 * count + 1, np.int64)
    ends[0::2] = np.arange(count + 1) * width
    ends[1::2] = ends[2::2] - 1  # the line end goes behind the second part of the record
    return text_of(pc.binary_join_element_wise(parts, _array(ends, pa.py_buffer(fields)), _text("")))


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, pa.large_string())


def _array(offsets: np.ndarray, data: pa.Buffer) -> pa.LargeStringArray:
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, [None, pa.py_buffer(offsets), data])
