"""The rules that the values of a row must keep, as data.

Belongs here: the kinds of rules that a table of a contract may have (contract, section 4). Does not belong here: the
rules of a table (`v1.py` and the other generations), and how they are checked (`database/rules.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StatusRule:
    """What other columns must and must not hold when `column` has one of `values` (contract, section 4)."""

    column: str
    values: tuple[str, ...]
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    equals: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class ExactlyOne:
    """Exactly one of these columns is not null."""

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AtMostOne:
    """Among the rows with the same `per`, at most one has `column` equal to `value`."""

    per: str
    column: str
    value: object
    meaning: str


@dataclass(frozen=True, slots=True)
class Is:
    """A condition: the column holds one of these values. None among them stands for null."""

    column: str
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """A condition: the column is not null."""

    column: str


@dataclass(frozen=True, slots=True)
class Above:
    """A condition: the column holds a number above this one."""

    column: str
    number: int


Condition = Is | Given | Above


@dataclass(frozen=True, slots=True)
class When:
    """What columns must hold where all conditions are met.

    Args:
        conditions: when the rule applies.
        required: columns that must not be null.
        filled: columns that must be neither null nor empty.
        forbidden: columns that must be null.
        among: column → the values that it may have.
    """

    conditions: tuple[Condition, ...]
    required: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    among: tuple[tuple[str, tuple[object, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One of the combinations of values that may occur, and what goes with it.

    Args:
        values: a value for each of the columns of the `Cases`; None for null.
        required: which of `Cases.ruled` must be given.
        allowed: which of them may be given besides; all others must be null.
        equals: columns that must hold one value.
    """

    values: tuple[object, ...]
    required: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    equals: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Cases:
    """The combinations of values of some columns that may occur; any other is corruption.

    Args:
        columns: the columns; the last is the one that is found at fault.
        ruled: columns that each case requires, allows or forbids.
        cases: what may occur.
    """

    columns: tuple[str, ...]
    ruled: tuple[str, ...]
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Together:
    """These columns are all null, or all given."""

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotBefore:
    """The time in `column`, where given, is not before that in `other`."""

    column: str
    other: str


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule on the parsed JSON of one row that no other kind of rule can say.

    Args:
        meaning: what it asks, as a sentence without a full stop.
        find: column → value, or the parsed value of JSON; gives the column at fault and the rule that it breaks, as the
            end of a sentence, or None.
    """

    meaning: str
    find: Callable[[Mapping[str, object]], tuple[str, str] | None]


Rule = StatusRule | ExactlyOne | AtMostOne | When | Cases | Together | NotBefore | RowRule
