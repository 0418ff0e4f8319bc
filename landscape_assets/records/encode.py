"""Records in canonical form (RFC 8785), a whole column at a time.

Belongs here: how a frame of table rows becomes a column of records. Each record type has a fixed set of ASCII keys, so
that its canonical form is a template: sorted keys as literals, and one encoded column a value. Does not belong here:
single values (`contract/canonical.py`), order (`order.py`), signatures (`signing.py`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ..contract import Column, Kind, Table
from ..contract.canonical import canonical_json, parse_json
from ..database import RUN
from ..storage.arrow_file import text_of

SIGNATURE = "signature"
SIGNATURE_BYTES = len(',"signature":""') + 64

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
        self._plain = {field.name for field in schema if pa.types.is_string(field.type)}

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


def encode(
    rows: pa.RecordBatch, table: Table, run_ids: Sequence[str], plain: frozenset[str] = frozenset()
) -> pl.DataFrame:
    """The records of table rows.

    Args:
        rows: rows with the declared types of `table.columns`, the number of their run as RUN, and perhaps with columns
            besides.
        table: the table.
        run_ids: the runs by number.
        plain: columns whose text is known to need no escapes.

    Returns:
        As many rows, in the same order: `canonical`, the canonical form of the record without signature (text), and
        `head`, the length in bytes of the part of it before the place of the field `signature` (uint32). The keys
        `record_type` and
        `run_id` come before it in every record, so that the field is always put in with a comma in front.
    """
    pieces = _Pieces(rows.num_rows)
    head = None
    for i, (key, value) in enumerate(_sorted_fields(table)):
        if head is None and key > SIGNATURE:
            head = pieces.length()
        pieces.literal(f'{"{" if i == 0 else ","}"{key}":')
        if value is None:
            _encode_run(pl.from_arrow(rows.column(RUN)), run_ids, pieces)
        elif isinstance(value, str):
            pieces.literal(value)
        else:
            _encode_column(rows.column(value.name), value.kind, value.name in plain, pieces)
    if head is None:
        head = pieces.length()
    pieces.literal("}")
    return pl.select(canonical=pieces.text(), head=head.cast(pl.UInt32))


def _sorted_fields(table: Table) -> list[tuple[str, str | Column | None]]:
    """The record's keys in canonical order, each with its literal JSON or the column that it comes from; None for the
    run."""
    fields: dict[str, str | Column | None] = {"record_type": f'"{table.record_type}"', "run_id": None}
    fields |= {column.field: column for column in table.fields if column.field is not None}
    return sorted(fields.items())  # ASCII keys: UTF-16 order is byte order


def _encode_run(runs: pl.Series, run_ids: Sequence[str], pieces: _Pieces) -> None:
    """The run_id of each record: a literal where all are of one run."""
    first, last = runs.min(), runs.max()
    if first == last:
        pieces.literal(canonical_json(run_ids[first or 0]))
    else:
        texts = pl.Series([canonical_json(run_id) for run_id in run_ids[first : last + 1]])
        pieces.column(texts.gather(runs - first))


class _Pieces:
    """The template of a record: literal text and encoded columns in turn.

    Neighbouring pieces that have one width in all rows (literals, ids, hashes, times) are made one by copying blocks of
    bytes; then one `concat_str` makes the records of what is left (measured: half the time of joining all pieces by
    themselves).

    Args:
        rows: how many records there are.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._template = bytearray()
        self._fixed: list[tuple[int, np.ndarray]] = []
        self._texts: list[pl.Expr] = []
        self._fixed_bytes, self._used = 0, 0
        self._lengths: list[pl.Expr] = []

    def literal(self, text: str) -> None:
        data = text.encode()
        self._template += data
        self._fixed_bytes += len(data)

    def fixed(self, values: np.ndarray) -> None:
        """A column of octets of one width: for each record one element (`V`width)."""
        self._fixed.append((len(self._template), values))
        self._template += bytes(values.itemsize)
        self._fixed_bytes += values.itemsize

    def column(self, text: pl.Series) -> None:
        """A column of text without nulls."""
        self._add(pl.lit(text), pl.lit(text).str.len_bytes())

    def nullable(self, text: pl.Series, quote: str) -> None:
        """A column of text whose nulls are written so, and whose other values stand between quotation marks."""
        quoted = pl.concat_str(pl.lit(quote), pl.lit(text), pl.lit(quote)) if quote else pl.lit(text)
        length = pl.lit(text).str.len_bytes() + 2 * len(quote)
        self._add(quoted.fill_null("null"), length.fill_null(len("null")))

    def length(self) -> pl.Expr:
        """The bytes of each record so far."""
        fixed = pl.repeat(self._fixed_bytes, self._rows, dtype=pl.UInt32)
        return pl.sum_horizontal(fixed, *self._lengths)

    def text(self) -> pl.Expr:
        """The records, to be evaluated before this thread encodes others."""
        self._flush(is_all=not self._texts)
        return pl.concat_str(self._texts)

    def _add(self, text: pl.Expr, length: pl.Expr) -> None:
        self._flush()
        self._texts.append(text)
        self._lengths.append(length)

    def _flush(self, is_all: bool = False) -> None:
        width, rows = len(self._template), self._rows
        if not width:
            return
        # Where nothing else is joined to it, the block itself becomes the records, and no other batch may use its
        # memory.
        block = np.empty(rows * width, np.uint8) if is_all else _scratch(self._used, rows * width)
        self._used += rows * width
        block.reshape(rows, width)[:] = np.frombuffer(self._template, np.uint8)
        for start, values in self._fixed:
            np.ndarray((rows,), values.dtype, block.data, start, (width,))[:] = values
        text = _array(np.arange(rows + 1, dtype=np.int64) * width, pa.py_buffer(block))
        self._texts.append(pl.lit(pl.from_arrow(text)))
        self._template, self._fixed = bytearray(), []


_of_thread = threading.local()


def _scratch(used: int, size: int) -> np.ndarray:
    """Memory of this thread, used again for each batch: new memory costs more than what is done with it.

    Args:
        used: how many bytes of it are in use.
        size: how many more are needed.
    """
    have: np.ndarray = getattr(_of_thread, "scratch", np.empty(0, np.uint8))
    if used + size > len(have):
        # What is in use stays where it is, in the memory of before.
        have = _of_thread.scratch = np.empty(used + size, np.uint8)
    return have[used : used + size]


def _encode_column(values: pa.Array, kind: Kind, is_plain: bool, pieces: _Pieces) -> None:
    if values.null_count == len(values):
        pieces.literal("null")
        return
    quote = '"' if kind in _QUOTED else ""
    text = _text_array(values, kind, is_plain)
    if values.null_count:
        pieces.nullable(pl.from_arrow(text), quote)
        return
    pieces.literal(quote)
    octets = _octets(text)
    if octets is None:
        pieces.column(pl.from_arrow(text))
    else:
        pieces.fixed(octets)
    pieces.literal(quote)


def _text_array(values: pa.Array, kind: Kind, is_plain: bool) -> pa.Array:
    if kind is Kind.ENUM or (kind is Kind.TEXT and is_plain):
        return values
    if kind is Kind.TEXT:
        return _escaped(values)
    if kind is Kind.INTEGER:
        return values.cast(pa.string())
    if kind is Kind.TIME:
        return _time_array(values)
    return as_text(pl.from_arrow(values), kind).to_arrow(compat_level=pl.CompatLevel.oldest())


def _octets(text: pa.StringArray | pa.LargeStringArray) -> np.ndarray | None:
    """The UTF-8 of an array without nulls where all values have the same width, one element (`V`width) a value;
    otherwise None."""
    count = len(text)
    kind = np.int64 if pa.types.is_large_string(text.type) else np.int32
    offsets = np.frombuffer(text.buffers()[1], kind)[text.offset : text.offset + count + 1]
    width = int(offsets[-1] - offsets[0]) // count
    if width == 0 or (np.diff(offsets) != width).any():
        return None
    return np.frombuffer(text_of(text), f"V{width}")


_QUOTED = (Kind.TEXT, Kind.ENUM, Kind.TIME)


def as_text(values: pl.Series, kind: Kind) -> pl.Series:
    """A column's values as the text of their canonical form, strings without quotation marks or escapes; nulls stay
    null."""
    return _TEXT[kind](values)


def _escaped(values: pa.StringArray) -> pa.StringArray | pa.LargeStringArray:
    """Text with its escapes: each value that occurs is looked at once, because errors and reasons are mostly alike."""
    distinct = values.dictionary_encode()
    text = pl.from_arrow(distinct.dictionary)
    if not text.str.contains(_NEEDS_ESCAPE).any():
        return values
    escaped = text.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))
    return escaped.to_arrow(compat_level=pl.CompatLevel.oldest()).take(distinct.indices)


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
    return pl.from_arrow(_time_array(values.to_arrow())).alias(values.name)


def _time_array(values: pa.TimestampArray) -> pa.LargeStringArray:
    """As Python's isoformat: the fraction is left out when it is zero (contract, section 1, Values)."""
    # Arrow prints each time in the same width, twice as fast as Polars formats it; then the blank in it becomes a T.
    text = values.cast(pa.timestamp("us")).cast(pa.large_string())
    digits = np.frombuffer(text_of(text), np.uint8).copy()
    digits.reshape(-1, _TIME_WIDTH)[:, _TIME_WIDTH - len(" HH:MM:SS.ffffff")] = ord("T")
    validity, offsets, _ = text.buffers()
    text = pa.Array.from_buffers(text.type, len(text), [validity, offsets, pa.py_buffer(digits)], offset=text.offset)
    if (np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values)] % 1_000_000).all():
        return text if values.type.tz is None else pc.binary_join_element_wise(text, _text("+00:00"), _text(""))
    stripped = pl.from_arrow(text).str.strip_suffix(".000000")
    stripped = stripped if values.type.tz is None else stripped + "+00:00"
    return stripped.to_arrow(compat_level=pl.CompatLevel.oldest())


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


def line_lengths(canonical: pa.LargeStringArray, *, is_signed: bool) -> np.ndarray:
    """The bytes of each of `lines`, its line end included."""
    count = len(canonical)
    starts = np.frombuffer(canonical.buffers()[1], np.int64)[canonical.offset : canonical.offset + count + 1]
    return np.diff(starts) + (SIGNATURE_BYTES if is_signed else 0) + len("\n")


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, pa.large_string())


def _array(offsets: np.ndarray, data: pa.Buffer) -> pa.LargeStringArray:
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, [None, pa.py_buffer(offsets), data])
