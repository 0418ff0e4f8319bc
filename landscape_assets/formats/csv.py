"""csv/<record_type>.csv: the records by type, for spreadsheets (RFC 4180, docs/package.md).

Belongs here: these files, and the defusing of cells that a spreadsheet would take for formulas. Does not belong here:
other formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ..contract import Kind, Table
from ..database import RUN
from ..records.encode import Texts, change_text, run_texts
from ..records.ordered import FieldsWanted
from ..storage.arrow_file import text_of
from ..storage.files import FileFacts, NewFile
from .base import Part, View, ViewWriter

FORMULA_STARTS = ("=", "+", "-", "@", "'", "\t", "\r", "\n", "\0")
"""First characters of a text cell before which an apostrophe is put (OWASP, CSV injection; docs/package.md)."""

_FREE_TEXT = (Kind.TEXT, Kind.JSON, Kind.JSON_OBJECTS)
"""Times begin with a digit, and the values of an enum with a letter; neither holds a comma."""

_TEXT = pa.large_string()

_Rows = tuple[memoryview, int]
"""The UTF-8 of lines, and how many records they are."""


_ROW = "csv row"
"""The text of a record's cells, without its signature and the end of the line."""


def _rows(rows: pa.RecordBatch, texts: Texts, table: Table, run_ids: Sequence[str]) -> pa.LargeStringArray:
    cells = [pa.scalar(table.record_type, _TEXT), run_texts(rows.column(RUN), run_ids, _text_cells)]
    for column in table.fields:
        if column.name in texts:
            values = texts[column.name].to_arrow(compat_level=pl.CompatLevel.oldest())
        else:
            values = rows.column(column.name).cast(_TEXT)
        cells.append(_text_cells(values) if column.kind in _FREE_TEXT else values)
    return _joined(*cells, separator=",")


class Csv(View):
    """The format. Arguments as for `base.Format`."""

    wanted: ClassVar[FieldsWanted] = FieldsWanted(texts={_ROW: _rows})

    def prepare(self, part: Part) -> list[tuple[str, _Rows]]:
        """The lines of each record type."""
        found = []
        for one in part.by_type:
            rows = one.fields.column(_ROW)
            lines = _joined(rows, ",", one.signatures, "\r\n") if self._is_signed else _joined(rows, "\r\n")
            found.append((one.table.record_type, (text_of(lines), len(rows))))
        return found

    def open(self, run_id: str, folder: Path) -> ViewWriter[_Rows]:
        """Begins the files of a run."""

        def begin(path: Path, table: Table, rows: _Rows) -> _File:
            return _File(path, ",".join(self.header(table)) + "\r\n")

        return ViewWriter(self._contract, folder / "csv", "text/csv; charset=utf-8; header=present", begin)


def _joined(*cells: pa.Array | pa.Scalar | str, separator: str = "") -> pa.LargeStringArray:
    """The cells of each row as one text; null is empty."""
    texts = [pa.scalar(cell, _TEXT) if isinstance(cell, str) else cell for cell in (*cells, separator)]
    return pc.binary_join_element_wise(*texts, null_handling="replace", null_replacement="")


def _text_cells(values: pa.LargeStringArray) -> pa.LargeStringArray:
    if not _needs_change(values):
        return values
    text = pl.col("text")
    defused = pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text)
    quoted = pl.concat_str(pl.lit('"'), defused.str.replace_all('"', '""', literal=True), pl.lit('"'))
    cell = pl.when(text.str.contains(_QUOTED) | (text == "")).then(quoted).otherwise(defused)
    return change_text(values, cell).to_arrow(compat_level=pl.CompatLevel.oldest())


_FORMULA = "^[" + "".join(f"\\x{{{ord(character):x}}}" for character in FORMULA_STARTS) + "]"
_QUOTED = '[",\r\n]'

_STARTS_FORMULA = np.isin(np.arange(256), [ord(character) for character in FORMULA_STARTS])


def _needs_change(values: pa.LargeStringArray) -> bool:
    """Whether a text is empty, begins as a formula does, or holds what is quoted: seldom, and cheap to see of all."""
    text = text_of(values)
    octets = bytes(text)
    if any(character in octets for character in b'",\r\n'):
        return True
    offsets = np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1]
    given = np.diff(offsets) > 0
    if np.count_nonzero(given) < len(values) - values.null_count:
        return True
    return bool(_STARTS_FORMULA[np.frombuffer(text, np.uint8)[(offsets[:-1] - offsets[0])[given]]].any())


class _File:
    """A CSV file of one record type."""

    def __init__(self, path: Path, header: str) -> None:
        self._rows = 0
        self._file = NewFile(path, for_package=True)
        self._file.write(header.encode())

    def write(self, rows: _Rows) -> None:
        text, count = rows
        self._file.write(text)
        self._rows += count

    def finish(self) -> FileFacts:
        self._file.close()
        return self._file.facts(self._rows)

    def abandon(self) -> None:
        self._file.abandon()
