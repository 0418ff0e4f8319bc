"""The rules of a table (`contract.model.Rule`) as expressions on a frame of its rows.

Belongs here: each kind of rule that one row can break. Does not belong here: what a column by itself must keep
(`validation.py`), and what takes several rows to see (`records/`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import and_, or_

import polars as pl

from ..contract.rules import (
    Above,
    Case,
    Cases,
    Condition,
    ExactlyOne,
    Given,
    Is,
    NotBefore,
    Rule,
    StatusRule,
    Together,
    When,
)

Violation = tuple[str, pl.Expr, str]
"""Column, expression that is true for a row that breaks the rule, the rule as the end of a sentence."""


def violations(rule: Rule) -> Iterator[Violation]:
    """How a row can break a rule; nothing for a rule that takes more than expressions on its row."""
    match rule:
        case StatusRule():
            conditions = (Is(rule.column, rule.values),)
            among = tuple((name, (value,)) for name, value in rule.equals)
            yield from _when(When(conditions, rule.required, (), rule.forbidden, among))
        case When():
            yield from _when(rule)
        case Cases():
            yield from _cases(rule)
        case ExactlyOne():
            either = " and ".join(rule.columns)
            yield rule.columns[0], _given(rule.columns) != 1, f"where exactly one of {either} must be given"
        case Together():
            given = _given(rule.columns)
            for name in rule.columns:
                lonely = pl.col(name).is_null() & (given > 0)
                yield name, lonely, f"where a value is required when {' or '.join(rule.columns)} is given"
        case NotBefore():
            yield rule.column, pl.col(rule.column) < pl.col(rule.other), f"which is before {rule.other}"


def condition_text(condition: Condition) -> str:
    """A condition in words."""
    match condition:
        case Is():
            return f"{condition.column} is {' or '.join(map(value_text, condition.values))}"
        case Given():
            return f"{condition.column} is given"
        case Above():
            return f"{condition.column} is above {condition.number}"


def value_text(value: object) -> str:
    """A value as messages and documents name it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _given(columns: tuple[str, ...]) -> pl.Expr:
    return pl.sum_horizontal(pl.col(name).is_not_null().cast(pl.UInt8) for name in columns)


def _holds(condition: Condition) -> pl.Expr:
    column = pl.col(condition.column)
    match condition:
        case Is():
            return _is_one_of(column, condition.values)
        case Given():
            return column.is_not_null()
        case Above():
            return (column > condition.number).fill_null(False)


def _is_one_of(column: pl.Expr, values: tuple[object, ...]) -> pl.Expr:
    known = [value for value in values if value is not None]
    found = column.is_in(known).fill_null(False) if known else pl.lit(False)
    return found | column.is_null() if None in values else found


def _when(rule: When) -> Iterator[Violation]:
    applies = reduce(and_, map(_holds, rule.conditions))
    state = f"when {' and '.join(map(condition_text, rule.conditions))}"
    for name in rule.required:
        yield name, applies & pl.col(name).is_null(), f"where a value is required {state}"
    for name in rule.filled:
        empty = pl.col(name).is_null() | (pl.col(name) == "")
        yield name, applies & empty, f"where a value that is not empty is required {state}"
    for name in rule.forbidden:
        yield name, applies & pl.col(name).is_not_null(), f"where none may be {state}"
    for name, values in rule.among:
        wrong = ~_is_one_of(pl.col(name), values)
        yield name, applies & wrong, f"where it must be {' or '.join(map(value_text, values))} {state}"


def _cases(rule: Cases) -> Iterator[Violation]:
    def combination(case: Case) -> tuple[Condition, ...]:
        return tuple(Is(name, (value,)) for name, value in zip(rule.columns, case.values, strict=True))

    known = [reduce(and_, map(_holds, combination(case))) for case in rule.cases]
    yield rule.columns[-1], ~reduce(or_, known), f"which does not go with {' and '.join(rule.columns[:-1])}"
    for case in rule.cases:
        forbidden = tuple(name for name in rule.ruled if name not in (*case.required, *case.allowed))
        among = tuple((name, (value,)) for name, value in case.equals)
        yield from _when(When(combination(case), case.required, (), forbidden, among))
