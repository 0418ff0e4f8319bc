"""What a record contract is made of: columns, tables, their order and the rules that their values must keep.

Belongs here: the types in which a contract is written down, and what follows from the data alone (SQLAlchemy tables,
record fields, look-ups). Does not belong here: the contracts themselves (`v1.py`, `v0.py`), statements
(`statements.py`), anything that reads a database or writes a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import sqlalchemy as sa


class Kind(StrEnum):
    """The kind of value that a column holds, which decides its type everywhere and its canonical form."""

    TEXT = "text"
    ENUM = "enum"
    INTEGER = "integer"
    FLOAT = "float"
    TIME = "time"
    BOOLEAN = "boolean"
    JSON = "json"
    """JSON text that is parsed, and exported as the value that it denotes."""
    JSON_OBJECTS = "json list of objects"
    """As JSON, but the value must be a list of objects."""


SQL_TYPES: dict[Kind, type[sa.types.TypeEngine]] = {
    Kind.TEXT: sa.Text,
    Kind.ENUM: sa.Text,
    Kind.INTEGER: sa.BigInteger,
    Kind.FLOAT: sa.Double,
    Kind.TIME: sa.DateTime,
    Kind.BOOLEAN: sa.Integer,
    Kind.JSON: sa.Text,
    Kind.JSON_OBJECTS: sa.Text,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an audit table.

    Args:
        name: the column's name in the database.
        kind: what it holds.
        description: one sentence for people (UI, documentation).
        required: a null is corruption (`!` in the contract, section 1).
        field: the record field that it becomes; None when it is read for order or checks alone.
        values: for an enum, every value that may occur.
        not_empty: the empty text is corruption.
        pattern: a regular expression that the whole text must match.
        minimum: the least number that may occur.
    """

    name: str
    kind: Kind
    description: str
    required: bool = False
    field: str | None = None
    values: tuple[str, ...] = ()
    not_empty: bool = False
    pattern: str | None = None
    minimum: float | None = None


@dataclass(frozen=True, slots=True)
class OrderKey:
    """A column to order by, ascending; `nulls_last` only where nulls may occur. Text compares as UTF-8 bytes."""

    column: str
    nulls_last: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that, unless null, holds the id of a row of another table of the same run."""

    column: str
    table: str


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


Rule = StatusRule | ExactlyOne | AtMostOne


@dataclass(frozen=True, slots=True)
class ParentLink:
    """A way from a row to the run that it belongs to: its `column` is the id of a row of `table`, and so on from there."""

    column: str
    table: str


@dataclass(frozen=True, slots=True)
class Table:
    """One audit table: what is read of it, how its rows reach their run, what record they become.

    Args:
        name: the table.
        record_type: the record type that each row becomes.
        id: the columns that name a row in messages; the first is the id that other tables refer to.
        columns: what is read, record fields in emission order.
        order: the order of the rows under one parent (contract, section 2); total.
        own_run_id: the table has a run_id column of its own.
        id_per_run: the id is unique within a run; elsewhere it is unique in the table.
        paths: the ways by which rows belong to a run: one of them is enough. Empty when their own run_id says it. When
            there are paths and `own_run_id` too, both must lead to the same run.
        references: columns that hold ids of other tables.
        rules: what its values must keep beyond each column's own.
    """

    name: str
    record_type: str
    id: tuple[str, ...]
    columns: tuple[Column, ...]
    order: tuple[OrderKey, ...]
    own_run_id: bool = True
    id_per_run: bool = False
    paths: tuple[ParentLink, ...] = ()
    references: tuple[Reference, ...] = ()
    rules: tuple[Rule, ...] = ()
    description: str = ""

    def column(self, name: str) -> Column:
        """The column of that name. Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name}.{name}")

    @property
    def fields(self) -> tuple[Column, ...]:
        """The columns that become record fields, in emission order; they follow `record_type` and `run_id`."""
        return tuple(column for column in self.columns if column.field is not None)

    @property
    def selected(self) -> tuple[str, ...]:
        """The names of the columns read, in statement order."""
        return tuple(column.name for column in self.columns)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that name a row among those of all runs."""
        return (*self.id, *(["run_id"] if self.id_per_run else []))

    @property
    def claims_run(self) -> bool:
        """Whether a row says by itself to which run it belongs, besides the path that must lead to the same run."""
        return self.own_run_id and bool(self.paths)


@dataclass(frozen=True, slots=True)
class Group:
    """A place in the order of records: the rows of `table` that `link` ties to the parent's id, each followed by
    `children`."""

    table: str
    link: str | None = None
    children: tuple[Group, ...] = ()

    def walk(self) -> Iterator[Group]:
        """This group and every one below it, in record order."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Marker:
    """A column whose presence or absence tells generations of the Landscape apart."""

    table: str
    column: str
    present: bool

    def __str__(self) -> str:
        return f"{'a' if self.present else 'no'} column {self.table}.{self.column}"


@dataclass(frozen=True)
class Contract:
    """A record contract: which tables are read, which records they become, and in which order.

    Args:
        name: `v0`, `v1`, ...
        written_by: the ELSPETH releases whose databases it describes.
        markers: columns by which such a database is recognised.
        tables: by name, in the order in which they are documented.
        order: the order of records, as a forest of groups.
        finished: the run states in which a run can be exported.
    """

    name: str
    written_by: str
    markers: tuple[Marker, ...]
    tables: dict[str, Table]
    order: tuple[Group, ...]
    finished: tuple[str, ...] = ("completed", "failed")
    metadata: sa.MetaData = field(default_factory=sa.MetaData, compare=False, repr=False)

    def __post_init__(self) -> None:
        for table in self.tables.values():
            columns = [sa.Column(column.name, SQL_TYPES[column.kind]()) for column in table.columns]
            if table.own_run_id:
                columns.insert(0, sa.Column("run_id", sa.Text()))
            sa.Table(table.name, self.metadata, *columns)

    @cached_property
    def record_types(self) -> dict[str, Table]:
        """Record type → its table, in the order of the documentation."""
        return {table.record_type: table for table in self.tables.values()}

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Every group, in record order."""
        return tuple(group for root in self.order for group in root.walk())
