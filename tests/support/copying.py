"""Audit databases in PostgreSQL that are copies of SQLite ones.

Belongs here: the copy: the same tables, keys and indexes, with the types that ELSPETH's tables have on PostgreSQL.
Foreign keys and check constraints are left out, so that tests can put in what breaks them. Does not belong here: the
server (`server.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql


def _type(column: sa.Column) -> sa.types.TypeEngine:
    """The type on PostgreSQL of a column of ELSPETH's tables."""
    if isinstance(column.type, sa.DateTime):
        return sa.DateTime(timezone=True)
    if isinstance(column.type, sa.Float):
        return sa.Double()
    return column.type


def copy_landscape(
    database: Path, connection: psycopg.Connection, *, nullable: bool = False, free: bool = False
) -> None:
    """Copies a SQLite audit database into an empty PostgreSQL one. Times are taken to be UTC.

    A column that holds more than it declares, which SQLite allows, gets a type with room: BIGINT, TEXT. PostgreSQL
    keeps no NUL character in text: a value that has one fails the copy.

    Args:
        database: the SQLite file.
        connection: to the PostgreSQL database, in autocommit mode.
        nullable: leaves out NOT NULL.
        free: leaves out keys and indexes too, and gives every column a type with room.
    """
    source = sa.create_engine(f"sqlite:///file:{database}?mode=ro&uri=true")
    with source.connect() as reader:
        metadata = sa.MetaData()
        metadata.reflect(reader)
        for table in metadata.tables.values():
            for column in table.columns:
                if isinstance(column.type, sa.Integer):
                    if free or (reader.scalar(sa.select(sa.func.max(column))) or 0) >= 2**31:
                        column.type = sa.BigInteger()
                elif length := getattr(column.type, "length", None):
                    if free or (reader.scalar(sa.select(sa.func.max(sa.func.length(column)))) or 0) > length:
                        column.type = sa.Text()
        for statement in _free_ddl(metadata) if free else _ddl(metadata, nullable):
            connection.execute(statement)
        connection.execute("SET TIME ZONE 'UTC'")
        for table in metadata.tables.values():
            names = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), names)
            quoted = ", ".join(f'"{column.name}"' for column in table.columns)
            rows = reader.connection.driver_connection.execute(f'SELECT {quoted} FROM "{table.name}"')
            with connection.cursor() as cursor, cursor.copy(copy) as target:
                for row in rows:
                    target.write_row(row)
    source.dispose()
    connection.execute("ANALYZE")


def _free_ddl(metadata: sa.MetaData) -> Iterator[str]:
    """The statements that make the tables of columns and nothing else."""
    for table in metadata.tables.values():
        columns = (sa.Column(column.name, _type(column)) for column in table.columns)
        yield str(
            sa.schema.CreateTable(sa.Table(table.name, sa.MetaData(), *columns)).compile(dialect=postgresql.dialect())
        )


def _ddl(metadata: sa.MetaData, nullable: bool) -> Iterator[str]:
    """The statements that make the tables."""
    dialect = postgresql.dialect()
    for table in metadata.tables.values():
        for constraint in list(table.constraints):
            if isinstance(constraint, (sa.ForeignKeyConstraint, sa.CheckConstraint)):
                table.constraints.remove(constraint)
        for column in table.columns:
            column.type = _type(column)
            column.server_default = None  # a flag that is 0 on SQLite
            column.nullable = column.nullable or (nullable and not column.primary_key)
        yield str(sa.schema.CreateTable(table, include_foreign_key_constraints=[]).compile(dialect=dialect))
        for index in table.indexes:
            index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]
            yield str(sa.schema.CreateIndex(index).compile(dialect=dialect))


def refill(connection: psycopg.Connection, tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Puts rows into an audit database, in place of all that is in it. A NUL character, which PostgreSQL keeps in no
    text, becomes another control character."""
    there = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(sql.Identifier(name) for (name,) in there)))
    with connection.transaction(), connection.cursor() as cursor:
        for table, rows in tables.items():
            for row in rows:
                names = sql.SQL(", ").join(map(sql.Identifier, row))
                values = [value.replace("\0", "\1") if isinstance(value, str) else value for value in row.values()]
                marks = sql.SQL(", ").join([sql.Placeholder()] * len(row))
                cursor.execute(
                    sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), names, marks), values
                )
