"""csv/<record_type>.csv: the records by type, for spreadsheets (RFC 4180, docs/package.md).

Belongs here: these files, and the defusing of cells that a spreadsheet would take for formulas. Does not belong here:
other formats.
"""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import ClassVar

import polars as pl

from ..contract import Contract, Kind, Table
from ..records.encode import SIGNATURE, as_text
from ..storage.files import NewFile
from .base import Format, Part, RunEnd, StagedFile, header

FORMULA_STARTS = ("=", "+", "-", "@", "'", "\t", "\r", "\n", "\0")
"""First characters of a text cell before which an apostrophe is put (OWASP, CSV injection; docs/package.md)."""

_FORMULA = "^[" + "".join(f"\\x{{{ord(character):x}}}" for character in FORMULA_STARTS) + "]"

_FREE_TEXT = (Kind.TEXT, Kind.JSON, Kind.JSON_OBJECTS)
"""Times begin with a digit, and the values of an enum with a letter."""

_Rows = list[tuple[Table, memoryview, int]]


class Csv(Format):
    """The format. Arguments as for `base.Format`."""

    needs_fields: ClassVar[bool] = True

    def __init__(self, contract: Contract, *, is_signed: bool) -> None:
        self._contract, self._is_signed = contract, is_signed

    def prepare(self, part: Part) -> _Rows:
        """The lines of each record type, and how many records they are."""
        found = []
        for table, fields, signatures in part.by_type(self._contract):
            values = {column.field: pl.from_arrow(array) for column, array in zip(table.fields, fields, strict=True)}
            cells = [
                pl.lit(table.record_type).alias("record_type"),
                _defused(pl.lit(part.run_id)).alias("run_id"),
                *_cells(table, values),
            ]
            if self._is_signed:
                cells.append(pl.lit(pl.from_arrow(signatures)).alias(SIGNATURE))
            text = io.BytesIO()
            rows = pl.DataFrame(values).select(cells)
            rows.write_csv(text, include_header=False, line_terminator="\r\n", quote_style="necessary")
            found.append((table, text.getbuffer(), len(rows)))
        return found

    def open(self, run_id: str, folder: Path) -> _CsvWriter:
        return _CsvWriter(folder / "csv", self._is_signed)


def _cells(table: Table, values: dict[str, pl.Series]) -> list[pl.Expr]:
    # Few columns ever hold what looks like a formula: a rough look at all of them costs less than a close one at each.
    free = [column.field for column in table.fields if column.kind in _FREE_TEXT]
    looks = pl.DataFrame(values).select(_looks_like_formula(pl.col(name)).any() for name in free).row(0)
    suspicious = {name for name, does_look in zip(free, looks, strict=True) if does_look}
    cells = []
    for column in table.fields:
        if column.field in suspicious:
            cells.append(_defused(pl.col(column.field)).alias(column.field))
        elif column.kind in (Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.TIME):
            cells.append(pl.lit(as_text(values[column.field], column.kind)).alias(column.field))
        else:
            cells.append(pl.col(column.field))
    return cells


def _looks_like_formula(text: pl.Expr) -> pl.Expr:
    """True for every text that begins as a formula does, and for some others: those characters come before `.`, or are
    from `=` to `@`."""
    return (text < ".") | ((text >= "=") & (text < "A"))


def _defused(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text)


class _CsvWriter:
    def __init__(self, folder: Path, is_signed: bool) -> None:
        self._folder, self._is_signed = folder, is_signed
        self._files: dict[str, NewFile] = {}
        self._counts: Counter[str] = Counter()
        folder.mkdir()

    def write(self, prepared: _Rows) -> None:
        for table, text, count in prepared:
            name = table.record_type
            if name not in self._files:
                self._files[name] = NewFile(self._folder / f"{name}.csv", for_package=True)
                self._files[name].write((",".join(header(table, is_signed=self._is_signed)) + "\r\n").encode())
            self._files[name].write(text)
            self._counts[name] += count

    def finish(self, end: RunEnd) -> list[StagedFile]:
        made = []
        for name, file in self._files.items():
            file.close()
            facts = file.facts(self._counts[name])
            made.append(StagedFile(f"csv/{name}.csv", "text/csv; charset=utf-8; header=present", facts, facts.sha256))
        return made

    def abandon(self) -> None:
        for file in self._files.values():
            file.abandon()
