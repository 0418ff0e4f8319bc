"""Records in canonical form (RFC 8785), a whole column at a time.

Belongs here: how a frame of table rows becomes a column of records. Each record type has a fixed set of ASCII keys, so
that its canonical form is a template: sorted keys as literals, and one encoded column a value. Does not belong here:
single values (`contract/canonical.py`), order (`sort.py`), signatures (`sign.py`).
"""

from __future__ import annotations

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

_QUOTED = (Kind.TEXT, Kind.ENUM, Kind.TIME)

Texts = Mapping[str, pl.Series]
"""Column → the text of its values' canonical form, strings without quotation marks or escapes; null where the value is
null. Columns that are text already are left out."""

_Parts = list[str | pl.Expr]
"""Literals and columns of text without nulls, one behind the other."""


def column_texts(rows: pa.RecordBatch, table: Table) -> Texts:
    """The text of each column of table rows that is not text already."""
    columns = [column for column in table.fields if column.kind in _TEXT]
    return {column.name: _TEXT[column.kind](pl.Series(rows.column(column.name))) for column in columns}


def encode(rows: pa.RecordBatch, texts: Texts, table: Table, run_ids: Sequence[str]) -> pl.DataFrame:
    """The records of table rows.

    Args:
        rows: rows with the declared types of `table.columns`, the number of their run as RUN, and perhaps with columns
            besides.
        texts: `column_texts` of the rows.
        table: the table.
        run_ids: the runs by number.

    Returns:
        As many rows, in the same order: `canonical`, the canonical form of the record without signature (text), and
        `head`, the length in bytes of the part of it before the place of the field `signature` (uint32). The keys
        `record_type` and `run_id` come before it in every record, so that the field is always put in with a comma in
        front.
    """
    before: _Parts = []
    after: _Parts = []
    for key, value in _sorted_fields(table):
        parts = before if key < SIGNATURE else after
        parts.append(f'{"," if before else "{"}"{key}":')
        if value is None:
            parts.append(_run(rows.column(RUN), run_ids))
        elif isinstance(value, str):
            parts.append(value)
        else:
            parts.extend(_column(rows.column(value.name), texts.get(value.name), value.kind))
    after.append("}")
    heads = pl.DataFrame(rows.select([RUN])).with_columns(before=_joined(before))
    return heads.select(canonical=pl.concat_str("before", _joined(after)), head=pl.col("before").str.len_bytes())


def _sorted_fields(table: Table) -> list[tuple[str, str | Column | None]]:
    """The record's keys in canonical order, each with its literal JSON or the column that it comes from; None for the
    run."""
    fields: dict[str, str | Column | None] = {"record_type": f'"{table.record_type}"', "run_id": None}
    fields |= {column.field: column for column in table.fields if column.field is not None}
    return sorted(fields.items())  # ASCII keys: UTF-16 order is byte order


def _run(runs: pa.UInt32Array, run_ids: Sequence[str]) -> str | pl.Expr:
    """The run_id of each record: a literal where all are of one run."""
    texts = run_texts(runs, run_ids, lambda ids: pa.array(map(canonical_json, ids.to_pylist()), pa.large_string()))
    return texts.as_py() if isinstance(texts, pa.Scalar) else pl.lit(pl.Series(texts))


def run_texts(
    runs: pa.UInt32Array, run_ids: Sequence[str], change: Callable[[pa.LargeStringArray], pa.LargeStringArray]
) -> pa.LargeStringScalar | pa.LargeStringArray:
    """The changed run_id of each row: one for all where all are of one run.

    Args:
        runs: the number of each row's run.
        run_ids: the runs by number.
        change: makes of the run_ids that occur, each once, what is wanted of them.
    """
    distinct = runs.dictionary_encode()
    given = pa.array([run_ids[number] for number in distinct.dictionary.to_pylist()], pa.large_string())
    texts = change(given)
    return texts[0] if len(texts) == 1 else texts.take(distinct.indices)


def _column(values: pa.Array, text: pl.Series | None, kind: Kind) -> _Parts:
    """The JSON values of a column."""
    if values.null_count == len(values):
        return ["null"]
    quote = '"' if kind in _QUOTED else ""
    if text is None:
        text = _escaped(values) if kind is Kind.TEXT else pl.Series(values)
    if text.null_count():
        quoted = pl.concat_str(pl.lit(quote), pl.lit(text), pl.lit(quote)) if quote else pl.lit(text)
        return [quoted.fill_null("null")]
    return [quote, pl.lit(text), quote]


def _joined(parts: _Parts) -> pl.Expr:
    """The parts of each record as one text. Literals that stand side by side are joined once for all records."""
    joined: list[pl.Expr] = []
    literal = ""
    for part in parts:
        if isinstance(part, str):
            literal += part
        else:
            joined += [pl.lit(literal), part]
            literal = ""
    return pl.concat_str([*joined, pl.lit(literal)])


def _escaped(values: pa.StringArray) -> pl.Series:
    """Text as it stands between the quotation marks of JSON."""
    if not _needs_escapes(values):
        return pl.Series(values)
    # Polars escapes as RFC 8785 section 3.2.2.2 wants.
    objects = pl.struct("text").struct.json_encode()
    return change_text(values, objects.str.strip_prefix('{"text":"').str.strip_suffix('"}'))


def change_text(values: pa.StringArray | pa.LargeStringArray, change: pl.Expr) -> pl.Series:
    """Text after `change`, an expression of the column `text`.

    Each text that occurs is changed once, because errors and reasons are mostly alike.
    """
    distinct = values.dictionary_encode()
    changed = pl.Series(distinct.dictionary).to_frame("text").select(change).to_series()
    return changed.gather(pl.Series(distinct.indices))


def _needs_escapes(values: pa.StringArray) -> bool:
    octets = np.frombuffer(text_of(values), np.uint8)
    return len(octets) > 0 and bool(octets.min() < 0x20 or any((octets == ord(each)).any() for each in ('"', "\\")))


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


_NO_FRACTION = ".000000"


def _time_text(values: pl.Series) -> pl.Series:
    """As Python's isoformat: the fraction is left out when it is zero (contract, section 1, Values)."""
    # Arrow prints times twice as fast as Polars does.
    text = values.to_arrow().cast(pa.timestamp("us")).cast(pa.large_string())
    blank = len("YYYY-MM-DD")
    text = pc.binary_replace_slice(text, blank, blank + 1, "T")
    is_whole = pc.any(pc.ends_with(text, _NO_FRACTION), min_count=0).as_py()
    found = pl.Series(text).str.strip_suffix(_NO_FRACTION) if is_whole else pl.Series(text)
    return found + "+00:00" if values.dtype == pl.Datetime("us", "UTC") else found


def _json_text(values: pl.Series) -> pl.Series:
    """Stored JSON text as the canonical form of its value, or null; tables with such columns are small."""
    parsed = [None if text is None else parse_json(text) for text in values]
    return pl.Series(values.name, [None if one is None else canonical_json(one) for one in parsed], dtype=pl.String)


_TEXT: dict[Kind, Callable[[pl.Series], pl.Series]] = {
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
