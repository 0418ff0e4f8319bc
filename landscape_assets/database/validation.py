"""Whether table frames keep the contract: every rule of its section 4 that one row, or one table, can show.

Belongs here: vectorised checks of one record batch at a time, and the error that names table, id, column and value.
Does not belong here: what takes several tables to see (orphans, several terminal outcomes: `records/`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ..contract import Column, Kind, Table
from ..contract.canonical import InvalidJson, canonical_json, parse_json
from ..contract.rules import RowRule
from ..errors import CorruptTable
from .membership import RUN
from .rules import Violation, violations

_EXPONENT = 1e21
"""From here on canonical form writes a number with an exponent, which is parsed as a double."""

_NO_INTEGER = "which is parsed from its canonical form as an integer beyond 2^53-1, and has none then"

SAFE_INTEGER = 2**53 - 1
"""RFC 8785 section 3.2.2.3: integers beyond it have no canonical form."""

MAX_RUN_ID = 2**16
"""Bytes of the canonical form of a run_id, which stands in every record and in the manifest (docs/package.md,
"Limits")."""

TIME_PATTERN = r"^(?:\d{3}[1-9]|\d\d[1-9]0|\d[1-9]00|[1-9]000)-\d\d-\d\d[ T]\d\d:\d\d:[0-5]\d(\.\d{1,6})?$"

RAW = "raw "
"""Prefix of the columns that hold a value as the database gave it, where its declared type is another."""


class Checker:
    """The checks of one table's frames.

    Args:
        table: the table, of the contract that the database keeps.
        run_ids: the runs that are read, by number.
        parses_again: whether values are parsed from their canonical form (`Contract.parses_again`).
    """

    def __init__(self, table: Table, run_ids: Sequence[str], *, parses_again: bool = False) -> None:
        self._table, self._run_ids, self._parses_again = table, run_ids, parses_again
        for number, run_id in enumerate(run_ids):
            if table.name == "runs" and len(canonical_json(run_id).encode()) > MAX_RUN_ID:
                row = {"run_id": run_id, RUN: number}
                raise self._corrupt(row, "run_id", f"which is longer than {MAX_RUN_ID:,} bytes")
        self._violations: list[Violation] = []
        for column in table.columns:
            self._violations.extend(_column_violations(column))
            if parses_again and column.kind is Kind.FLOAT:
                size = pl.col(column.name).abs()
                beyond = (size > SAFE_INTEGER) & (size < _EXPONENT)
                self._violations.append((column.name, beyond, _NO_INTEGER))
        for rule in table.rules:
            self._violations.extend(violations(rule))
        self._row_rules = [rule for rule in table.rules if isinstance(rule, RowRule)]
        self._one_a_run = table.id == ("run_id",)
        self._seen: set[int] = set()
        ordering = {key.column for key in table.order}
        self._ordering_times = [c.name for c in table.columns if c.kind is Kind.TIME and c.name in ordering]
        self._forms: dict[tuple[str, int], int] = {}
        self._json = [column for column in table.columns if column.kind in (Kind.JSON, Kind.JSON_OBJECTS)]

    def check(self, frame: pl.DataFrame, claimed: pl.Series | None) -> None:
        """Raises CorruptTable for the first row of the frame that breaks a rule.

        Args:
            frame: the columns of the table with their declared types; RUN, the number of the run to which the row's
                path leads; for times and booleans also the value as stored, under its name with the prefix RAW, where
                the declared one is null because it did not convert.
            claimed: the number of the run that each row names itself, null where it is none of those that are read;
                None where that is not compared with the path.
        """
        if frame.is_empty():
            return
        if claimed is not None and not (mine := claimed.eq_missing(frame[RUN])).all():
            row = frame.filter(~mine).row(0, named=True)
            leads = f"but its {self._table.paths[0].column} leads to run {self._run_ids[row[RUN]]}"
            raise self._corrupt(row, "run_id", leads)
        broken = frame.select(
            expression.any().alias(str(i)) for i, (_, expression, _) in enumerate(self._violations)
        ).row(0)
        for (column, expression, rule), any_broken in zip(self._violations, broken, strict=True):
            if any_broken:
                row = frame.filter(expression.fill_null(False)).row(0, named=True)
                raise self._corrupt(row, column, rule)
        for name in self._ordering_times:
            self._check_form(frame, name)
        for json_column in self._json:
            self._check_json(frame, json_column)
        self._check_rows(frame)

    def _check_rows(self, frame: pl.DataFrame) -> None:
        if self._one_a_run:
            for row in frame.iter_rows(named=True):
                if row[RUN] in self._seen:
                    raise self._corrupt(row, "run_id", "for which there is more than one row")
                self._seen.add(row[RUN])
        parsed_columns = [column.name for column in self._json]
        for row in frame.iter_rows(named=True) if self._row_rules else ():
            parsed = row | {name: None if row[name] is None else parse_json(row[name]) for name in parsed_columns}
            for rule in self._row_rules:
                if (fault := rule.find(parsed)) is not None:
                    raise self._corrupt(row, *fault)

    def _check_form(self, frame: pl.DataFrame, column: str) -> None:
        """Times that records are ordered by are of one form in each run. Their order is that of the stored text
        (contract, section 2), and
        in one form that is the order of the times; in several, neither would be what the reader takes it for."""
        stored = frame[RAW + column]
        if stored.dtype != pl.String or frame.schema[column] != pl.Datetime("us"):
            return  # PostgreSQL keeps times, and no text
        text = stored.to_arrow(compat_level=pl.CompatLevel.oldest())
        has_letter = pc.match_substring(text, "T").cast(pa.int64())
        forms = pc.add(pc.binary_length(text), pc.multiply(has_letter, 100)).fill_null(0).to_numpy()
        given = np.flatnonzero(forms)
        runs, first, at = np.unique(frame[RUN].to_numpy()[given], return_index=True, return_inverse=True)
        firsts = zip(runs.tolist(), forms[given[first]].tolist(), strict=True)
        expected = [self._forms.setdefault((column, number), form) for number, form in firsts]
        different = given[forms[given] != np.array(expected, forms.dtype)[at]]
        if len(different):
            row = frame.row(int(different[0]), named=True)
            rule = "which is of another form than others in this run, and records are ordered by the stored text"
            raise self._corrupt(row | {column: row[RAW + column]}, column, rule)

    def _check_json(self, frame: pl.DataFrame, column: Column) -> None:
        for text in frame[column.name].drop_nulls().unique(maintain_order=True):
            try:
                value = parse_json(text)
                canonical = canonical_json(value)
                if self._parses_again:
                    canonical_json(json.loads(canonical))
                if column.kind is Kind.JSON_OBJECTS and not (
                    isinstance(value, list) and all(isinstance(item, dict) for item in value)
                ):
                    raise InvalidJson("is not a list of objects")
            except InvalidJson as error:
                row = frame.filter(pl.col(column.name) == text).row(0, named=True)
                raise self._corrupt(row, column.name, f"which {error}") from None

    def _corrupt(self, row: dict[str, Any], column: str, rule: str) -> CorruptTable:
        found = row.get(column)
        if found is None:
            found = row.get(RAW + column)
        label = row_label(self._table, {"run_id": self._run_ids[row[RUN]], **row})
        return CorruptTable(self._table.name, label, column, _format_value(found), rule)


def row_label(table: Table, row: dict[str, Any]) -> str:
    """How a message names a row: its id columns with their values, cut short where they are very long."""
    shown = ((name, repr(row[name])) for name in table.id if name in row)
    return ", ".join(f"{name} {text if len(text) <= 1000 else text[:1000] + '…'}" for name, text in shown)


def _format_value(value: object) -> str:
    return "null" if value is None else repr(value) if isinstance(value, str) else str(value)


def _column_violations(column: Column) -> list[Violation]:
    value = pl.col(column.name)
    found: list[Violation] = []

    def rule(expression: pl.Expr, sentence: str) -> None:
        found.append((column.name, expression, sentence))

    by_kind: dict[Kind, Callable[[], None]] = {
        Kind.ENUM: lambda: rule(~value.is_in(column.values), f"which is none of {', '.join(column.values)}"),
        Kind.INTEGER: lambda: rule(value > SAFE_INTEGER, "which is beyond 2^53-1 and has no canonical form"),
        Kind.FLOAT: lambda: rule(~value.is_finite(), "which is not finite"),
        Kind.TIME: lambda: rule(
            value.is_null() & pl.col(RAW + column.name).is_not_null(),
            "which is not a time YYYY-MM-DD HH:MM:SS.ffffff from year 1 to 9999",
        ),
        Kind.BOOLEAN: lambda: rule(
            value.is_null() & pl.col(RAW + column.name).is_not_null(), "which is neither 0 nor 1"
        ),
    }
    by_kind.get(column.kind, lambda: None)()
    if column.required:
        rule(value.is_null(), "where a value is required")
    if column.minimum is not None:
        rule(value < column.minimum, f"which is less than {column.minimum:g}")
    if column.not_empty:
        rule(value == "", "which is empty")
    if column.not_blank:
        rule(value.str.strip_chars() == "", "which is blank")
    if column.pattern is not None:
        rule(~value.str.contains(rf"^(?:{column.pattern})\z"), f"which does not match {column.pattern}")
    return found
