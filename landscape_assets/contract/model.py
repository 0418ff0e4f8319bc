"""What a record contract is made of: columns, tables, their order and the rules that their values must keep.

Belongs here: the types in which a contract is written down, and what follows from the data alone (SQLAlchemy tables,
record fields, look-ups). Does not belong here: the contracts themselves (`v0.py` to
`v071.py`), statements (`database/`), anything that reads a database or writes a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from .rules import Rule


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


SQL_TYPES: dict[Kind, type[sa.types.TypeEngine[Any]]] = {
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
class ByPresence:
    """The value of a column that the table does not have: one text where `column` is given, else another."""

    column: str
    given: str
    absent: str


@dataclass(frozen=True, slots=True)
class Position:
    """The value of a column that the table does not have: the place of the row, from 0, among those with the same
    `per`, in the order of the columns `by`. Text in these is such that every collation orders it by its bytes."""

    per: str
    by: tuple[str, ...]


Derived = ByPresence | Position


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
        not_blank: text of nothing but white space is corruption, too.
        pattern: a regular expression that the whole text must match.
        minimum: the least number that may occur.
        of: another table, with at most one row a run, that has the column; it is null where there is no such row.
        derived: how it follows from columns of the table, which does not have it.
        redacted: it is exported as null, unless raw error rows are asked for.
    """

    name: str
    kind: Kind
    description: str
    required: bool = False
    field: str | None = None
    values: tuple[str, ...] = ()
    not_empty: bool = False
    not_blank: bool = False
    pattern: str | None = None
    minimum: float | None = None
    of: str | None = None
    derived: Derived | None = None
    redacted: bool = False

    @property
    def is_own(self) -> bool:
        """Whether the table itself has it."""
        return self.of is None and self.derived is None


@dataclass(frozen=True, slots=True)
class OrderKey:
    """A column to order by, ascending; `nulls_last` only where nulls may occur. Text compares as UTF-8 bytes.

    `nulls_last_on_postgresql`: nulls come first on SQLite and last on PostgreSQL, as either orders them itself."""

    column: str
    nulls_last: bool = False
    nulls_last_on_postgresql: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that, unless null, holds the id of a row of another table of the same run."""

    column: str
    table: str


@dataclass(frozen=True, slots=True)
class ParentLink:
    """A way from a row to its run: its `column` is the id of a row of `table`, and so on from there."""

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
        about: what the table is about, in one word, which groups the tables for people.
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
    about: str = ""

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
    """A column, or a table (`column` is None), whose presence or absence tells generations of the Landscape apart."""

    table: str
    column: str | None
    present: bool

    def __str__(self) -> str:
        article = "a" if self.present else "no"
        return (
            f"{article} table {self.table}" if self.column is None else f"{article} column {self.table}.{self.column}"
        )


@dataclass(frozen=True, eq=False)
class Contract:
    """A record contract: which tables are read, which records they become, and in which order.

    Contracts are told apart by identity, so that they can be keys of a cache.

    Args:
        name: `v0`, `v1`, ...
        written_by: the ELSPETH releases whose databases it describes.
        tables: by name, in the order in which they are documented.
        order: the order of records, as a forest of groups.
        markers: columns that tell it from other contracts that answer the same questions (`recognise.STEPS`).
        finished: the run states in which a run can be exported.
        resumable: the run states in which a run has stopped and may go on; it is exported when expressly asked for.
        epoch: the schema epoch of such a database, where ELSPETH notes one that is its own.
        backends: the kinds of database on which ELSPETH can keep it.
        manifest: the version of the manifest record with which records end (contract, section 5).
        parses_again: records are made of values that were canonicalised and parsed, so that a float that becomes an
            integer without a canonical form is corruption.
        tagged_key: a key that makes an object be signed in another form (contract, section 2, Values).
    """

    name: str
    written_by: str
    tables: dict[str, Table]
    order: tuple[Group, ...]
    markers: tuple[Marker, ...] = ()
    finished: tuple[str, ...] = ("completed", "failed")
    resumable: tuple[str, ...] = ("interrupted",)
    epoch: int | None = None
    backends: tuple[str, ...] = ("sqlite", "postgresql")
    manifest: int = 1
    parses_again: bool = False
    tagged_key: str | None = None
    metadata: sa.MetaData = field(default_factory=sa.MetaData, repr=False)

    def __post_init__(self) -> None:
        columns: dict[str, dict[str, sa.Column[object]]] = {}
        for table in self.tables.values():
            if table.own_run_id:
                columns.setdefault(table.name, {})["run_id"] = sa.Column("run_id", sa.Text())
            for column in table.columns:
                if column.derived is None:
                    owner = columns.setdefault(column.of or table.name, {})
                    owner[column.name] = sa.Column(column.name, SQL_TYPES[column.kind]())
        for name, own in columns.items():
            if name not in self.tables:
                own["run_id"] = sa.Column("run_id", sa.Text())
            sa.Table(name, self.metadata, *own.values())

    @cached_property
    def record_types(self) -> dict[str, Table]:
        """Record type → its table, in the order of the documentation."""
        return {table.record_type: table for table in self.tables.values()}

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Every group, in record order."""
        return tuple(group for root in self.order for group in root.walk())

    @cached_property
    def joined(self) -> dict[str, tuple[str, ...]]:
        """Table → its columns, for every table that gives columns to the records of another and has none of its own."""
        found: dict[str, tuple[str, ...]] = {}
        for table in self.tables.values():
            for column in table.columns:
                if column.of is not None:
                    found[column.of] = (*found.get(column.of, ()), column.name)
        return found

    @property
    def redacts(self) -> bool:
        """Whether there are columns that are exported as null unless raw error rows are asked for."""
        return any(column.redacted for table in self.tables.values() for column in table.columns)

    @cached_property
    def with_raw_error_rows(self) -> Contract:
        """The same contract where raw error rows are asked for."""

        def shown(table: Table) -> Table:
            columns = tuple(replace(column, redacted=False) for column in table.columns)
            return replace(table, columns=columns)

        tables = {name: shown(table) for name, table in self.tables.items()}
        return replace(self, tables=tables, metadata=sa.MetaData())

    @cached_property
    def on_postgresql(self) -> Contract:
        """The same contract with the order that PostgreSQL gives."""

        def ordered(table: Table) -> Table:
            keys = (replace(k, nulls_last=k.nulls_last or k.nulls_last_on_postgresql) for k in table.order)
            return replace(table, order=tuple(keys))

        tables = {name: ordered(table) for name, table in self.tables.items()}
        return replace(self, tables=tables, metadata=sa.MetaData())
