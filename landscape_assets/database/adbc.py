"""SQLAlchemy over ADBC: statements are SQLAlchemy Core, results are Arrow record batches.

Belongs here: the dialect that makes an ADBC driver a DBAPI for SQLAlchemy, so that statements are compiled, bound and
counted (`before_cursor_execute`) as any other, and a helper that takes a result's record batches. Does not belong here:
how a database is opened (`sqlite.py`, `postgresql.py`)."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Any

import adbc_driver_sqlite.dbapi as adbc_sqlite
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGDialect, PGExecutionContext
from sqlalchemy.dialects.sqlite.base import SQLiteDialect, SQLiteExecutionContext

BATCH_ROWS = 8_192
"""Rows of one record batch from SQLite: larger ones are no faster and hold more memory."""

BATCH_BYTES = 4 * 2**20
"""Bytes of one record batch from PostgreSQL, about as many as SQLite's have."""


COMPILED: dict[Any, Any] = {}
"""Statements as they were compiled, by the dialect and the statement: an engine of each connection would compile all of
them anew (https://docs.sqlalchemy.org/en/21/core/connections.html#sql-caching). There are as many as contracts have
tables, and some."""


class _AnyInstance:
    """A dialect all of whose instances compile a statement alike, so that they share what is in COMPILED."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


class _SQLiteContext(SQLiteExecutionContext):
    def create_default_cursor(self) -> Any:
        return self._dbapi_connection.cursor(adbc_stmt_kwargs={"adbc.sqlite.query.batch_rows": BATCH_ROWS})


class AdbcSQLiteDialect(_AnyInstance, SQLiteDialect):
    """SQLite through `adbc_driver_sqlite`; transactions are stated by the caller."""

    driver = "adbc"
    supports_statement_cache = True
    default_paramstyle = "qmark"
    execution_ctx_cls = _SQLiteContext

    @classmethod
    def import_dbapi(cls) -> Any:
        """The driver's DBAPI module, with the one attribute that SQLAlchemy's SQLite dialect asks for besides."""
        return types.SimpleNamespace(**vars(adbc_sqlite), sqlite_version_info=(3, 40, 0))

    def initialize(self, connection: sa.Connection) -> None:
        """Asks the server nothing: what the dialect would find out is not used, and every statement is counted."""

    def on_connect(self) -> None:
        """No hooks: Python functions cannot be registered through ADBC."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        """The connection is in autocommit mode; the caller states BEGIN and ROLLBACK."""

    def do_commit(self, dbapi_connection: Any) -> None:
        """As do_rollback."""


class _PostgreSQLContext(PGExecutionContext):
    def create_default_cursor(self) -> Any:
        size = {"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)}
        return self._dbapi_connection.cursor(adbc_stmt_kwargs=size)


class AdbcPostgreSQLDialect(_AnyInstance, PGDialect):
    """PostgreSQL through `adbc_driver_postgresql`; transactions are stated by the caller."""

    driver = "adbc"
    supports_statement_cache = True
    execution_ctx_cls = _PostgreSQLContext

    @classmethod
    def import_dbapi(cls) -> Any:
        """The driver's DBAPI module, with the style of parameters that it in fact takes (`$1`)."""
        import adbc_driver_postgresql.dbapi as adbc_postgresql  # only the extra `postgres` installs it

        return types.SimpleNamespace(**vars(adbc_postgresql) | {"paramstyle": "numeric_dollar"})

    def initialize(self, connection: sa.Connection) -> None:
        """Asks the server nothing: what the dialect would find out is not used, and every statement is counted."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        """The connection is in autocommit mode; the caller states BEGIN, and closing the connection ends the
        transaction."""

    def do_commit(self, dbapi_connection: Any) -> None:
        """As do_rollback."""


def record_batches(result: sa.CursorResult[Any]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The rows of a result as they come, in Arrow.

    Args:
        result: what `Connection.execute` gave for a statement that returns rows, nothing of it fetched yet.

    Returns:
        The schema that the driver found, and the record batches, which can be taken once.
    """
    reader = result.cursor.fetch_record_batch()
    return reader.schema, iter(reader)


def text_rows(batches: Iterable[pa.RecordBatch], encoding: str = "utf-8") -> Iterator[tuple[str | None, ...]]:
    """Rows of text or bytes, each value as text in which bytes that are not text are escaped."""
    for batch in batches:
        columns = (column.cast(pa.binary()).to_pylist() for column in batch.columns)
        for row in zip(*columns, strict=True):
            yield tuple(None if value is None else value.decode(encoding, "backslashreplace") for value in row)
