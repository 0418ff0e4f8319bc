"""The terms in which the verifier states a record contract.

Belongs here: kinds, fields, rules, types and their order, as classes, and the short notation in which contracts are
written. Does not belong here: what any contract says (`contract_v1.py` and its fellows), and code that checks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

ERROR_ROW = "row_data_json"
"""The field of records of errors that has the row."""
Scalar = str | bool | None
"""What a rule compares a field with."""


class Kind(Enum):
    """The kind of value that a field holds."""

    TEXT = "text"
    INTEGER = "an integer from 0 to 2^53-1"
    FLOAT = "a number"
    TIME = "an ISO 8601 time"
    BOOLEAN = "true or false"
    JSON = "any JSON value"
    OBJECTS = "a list of objects or null"
    LIST = "a sorted list without repetitions"

    @property
    def is_nested(self) -> bool:
        """Whether a value may be an array or an object."""
        return self in (Kind.JSON, Kind.OBJECTS, Kind.LIST)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record.

    Args:
        name: the field.
        kind: what it holds.
        required: it is never null (`!` in the contract).
        values: the texts that it may hold, when they are listed.
        not_empty: the empty text is corruption.
        pattern: a regular expression that a text matches, when it has a fixed form.
        minimum: the least number.
        items: for a list: what each element matches; an element of several parts is a list of as many texts, and a part
            whose expression ends with `|` may be null.
    """

    name: str
    kind: Kind
    required: bool = False
    values: tuple[str, ...] = ()
    not_empty: bool = False
    pattern: str = ""
    minimum: float | None = None
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """That a field has one of `values`, or, when `negated`, none of them."""

    field: str
    values: tuple[Scalar | int, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """What a record must hold when all conditions are met: fields that are not null, fields that are, fixed values.

    When it is `forbidden`, the conditions exclude each other.
    """

    when: tuple[Condition, ...]
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    equal: tuple[tuple[str, Scalar], ...] = ()
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class RecordType:
    """A type of record.

    Args:
        name: the value of `record_type`.
        table: the audit table that it is read from.
        fields: after `record_type`, in the contract's order; `run_id` first.
        id: the field, or fields, that no two records of the run have the same.
        order: the fields that order the records under one parent, as far as they are exported.
        ties: the order is total with the last part of `id` as its last key.
        nulls_first: null in an order field comes first on SQLite; it comes last elsewhere, and in other types.
        references: (field, record type) for ids of other records; null refers to nothing.
        rules: what some fields decide about others.
        exactly_one: of these fields exactly one is not null.
        at_most_one: (per, field): among the records with the same `per`, `field` is true at most once.
        numbered: (per, field): `field` counts the records with the same `per` from 0, in their order.
        within: (field, part, list): that part of each element of a list, where it is not null, is in the other list.
        not_repeated: lists of which the first parts of the elements differ from each other.
        not_empty: lists that have an element.
        not_before: (earlier, later): the first of two times, where both are given, is not after the second.
    """

    name: str
    table: str
    fields: tuple[Field, ...]
    id: tuple[str, ...]
    order: tuple[str, ...] = ()
    ties: bool = True
    nulls_first: bool = False
    references: tuple[tuple[str, str], ...] = ()
    rules: tuple[Rule, ...] = ()
    exactly_one: tuple[str, ...] = ()
    at_most_one: tuple[str, str] | None = None
    numbered: tuple[str, str] | None = None
    within: tuple[tuple[str, int, str], ...] = ()
    not_repeated: tuple[str, ...] = ()
    not_empty: tuple[str, ...] = ()
    not_before: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the order of records: the records of `type` whose `link` is the id of the record they follow."""

    type: str
    link: str | None = None
    children: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Contract:
    """A record contract.

    Args:
        name: as manifest.json has it.
        types: of data records, by name.
        order: of the records, as a forest.
        manifest: the last record.
        always_manifest: an unsigned export has the manifest record too.
        statuses: of runs that may be exported.
        redacts: the rows of errors are left out unless they are asked for.
        signs_tagged_mappings: objects with the tag key are signed in another form (`judge.py`).
        refuses_large_integers: a number that canonical form writes as an integer beyond ±(2^53-1) is corruption.
    """

    name: str
    types: dict[str, RecordType]
    order: tuple[Place, ...]
    manifest: RecordType
    statuses: tuple[str, ...]
    always_manifest: bool = False
    redacts: bool = False
    signs_tagged_mappings: bool = False
    refuses_large_integers: bool = False

    @property
    def has_error_rows(self) -> bool:
        """Whether there are records of errors, with the rows that they are about."""
        return any(ERROR_ROW in {field.name for field in one.fields} for one in self.types.values())

    def redacted(self) -> Contract:
        """The contract of an export that leaves the rows of errors out."""
        types = {}
        for name, one in self.types.items():
            is_error = ERROR_ROW in {field.name for field in one.fields}
            types[name] = replace(one, rules=(*one.rules, rule(absent=ERROR_ROW))) if is_error else one
        return replace(self, types=types)


HEX_64 = "[0-9a-f]{64}"
SHORT_SHA256 = "sha256:[0-9a-f]{16}"

_KINDS: dict[str, tuple[Kind, dict[str, object]]] = {
    "": (Kind.TEXT, {}),
    "filled": (Kind.TEXT, {"not_empty": True}),
    "hash": (Kind.TEXT, {"pattern": HEX_64}),
    "file_hash": (Kind.TEXT, {"pattern": SHORT_SHA256}),
    "int": (Kind.INTEGER, {}),
    "count": (Kind.INTEGER, {"minimum": 1}),
    "float": (Kind.FLOAT, {}),
    "duration": (Kind.FLOAT, {"minimum": 0}),
    "time": (Kind.TIME, {}),
    "bool": (Kind.BOOLEAN, {}),
    "json": (Kind.JSON, {}),
    "objects": (Kind.OBJECTS, {}),
}


def fields(text: str, **values: str | tuple[str, ...]) -> tuple[Field, ...]:
    """Fields in the notation of the contracts: `name`, `name!` when never null, `name:kind` when it is not just text.

    Args:
        text: the fields, separated by spaces; `run_id!` is added at the front.
        values: for a field with listed values, these, separated by spaces; for a list, what its elements match.
    """
    made = []
    for word in ["run_id!", *text.split()]:
        name, _, kind_name = word.partition(":")
        given = values.get(name.removesuffix("!"), ())
        kind, more = _KINDS[kind_name]
        field = replace(Field(name.removesuffix("!"), kind, name.endswith("!")), **more)  # type: ignore[arg-type]
        if isinstance(given, str):
            field = replace(field, values=tuple(given.split()))
        elif given:
            field = replace(field, kind=Kind.LIST, items=given)
        made.append(field)
    return tuple(made)


def when(field: str, *values: Scalar | int) -> Condition:
    """The condition that a field has one of these values."""
    return Condition(field, values)


def unless(field: str, *values: Scalar | int) -> Condition:
    """The condition that a field has none of these values."""
    return Condition(field, values, negated=True)


def rule(*conditions: Condition, present: str = "", absent: str = "", **equal: Scalar) -> Rule:
    """A rule; `present` and `absent` are separated by spaces. Conditions alone exclude each other."""
    forbidden = not (present or absent or equal)
    return Rule(conditions, tuple(present.split()), tuple(absent.split()), tuple(equal.items()), forbidden)


SIGNATURE = Field("signature", Kind.TEXT, True, pattern=HEX_64)
PATTERN_WORDS = {HEX_64: "64 lower-case hex digits", SHORT_SHA256: "sha256: and 16 lower-case hex digits"}
"""Patterns in words."""
