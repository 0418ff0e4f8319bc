"""A PostgreSQL audit database: one connection, one read-only snapshot, rows streamed as Arrow with declared types.

Belongs here: what is particular to PostgreSQL (connection, session, types, the meaning of its errors). Does not belong
here: what holds for every database (`audit_database.py`).

The driver streams a result (`COPY ... TO STDOUT`, binary) when its statement has no bound parameters, and else holds
all of it in memory. The run_ids are therefore written into the statements, as literals that SQLAlchemy quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import polars as pl
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from ..contract import Contract, Kind, Table
from ..errors import DatabaseError
from .adbc import COMPILED, record_batches, text_rows
from .source import DRIVER_ERRORS, RUN_COLUMNS, RunValue, Source
from .statements import select_all, select_runs
from .validation import RAW

registry.register("postgresql.adbc", "landscape_assets.database.adbc", "AdbcPostgreSQLDialect")

_CONNECTION_DEFAULTS = {
    "application_name": "landscape_assets",
    "connect_timeout": "10",
    # A server that is gone is noticed after about a minute, also in the middle of a result.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
"""libpq parameters that hold unless the URL says otherwise; times in seconds."""

_SESSION = sa.text(
    """
    SELECT
        set_config('TimeZone', 'UTC', true),
        set_config('DateStyle', 'ISO, YMD', true),
        -- A backslash in a literal is a backslash.
        set_config('standard_conforming_strings', 'on', true),
        -- The same rows come in the same order: not from where another scan happens to be, nor from workers in turn.
        set_config('synchronize_seqscans', 'off', true),
        set_config('max_parallel_workers_per_gather', '0', true),
        -- Compiling costs more than it saves: each statement is sent once.
        set_config('jit', 'off', true),
        -- Waiting is bounded, unless the role, the database or the URL has a bound of its own.
        set_config('lock_timeout', coalesce(nullif(current_setting('lock_timeout'), '0'), '10s'), true),
        set_config('statement_timeout', coalesce(nullif(current_setting('statement_timeout'), '0'), '2h'), true)
    """
)

_COLUMNS = sa.text(
    """
    SELECT c.relname::text AS table_name, a.attname::text AS column_name
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
        AND pg_catalog.pg_table_is_visible(c.oid)
        AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    """
)
# Not information_schema: it leaves out the tables that the role has no right to, which then seem not to be there.

_INTEGERS = (pa.int16(), pa.int32(), pa.int64())
_TEXTS = (pa.string(), pa.large_string())
_INSTANT = pa.timestamp("us", tz="UTC")

_TYPES: dict[Kind, tuple[tuple[pa.DataType, ...], str]] = {
    Kind.TEXT: (_TEXTS, "text"),
    Kind.ENUM: (_TEXTS, "text"),
    Kind.JSON: (_TEXTS, "text"),
    Kind.JSON_OBJECTS: (_TEXTS, "text"),
    Kind.INTEGER: (_INTEGERS, "integer"),
    Kind.BOOLEAN: ((*_INTEGERS, pa.bool_()), "integer or boolean"),
    Kind.FLOAT: ((pa.float64(),), "double precision"),
    Kind.TIME: ((_INSTANT,), "timestamp with time zone"),
}
"""The types in which the driver gives a kind, and the kind's type as a message names it."""

# Microseconds since 1970 of the first and the last instant that a record can hold.
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999

# What the driver makes of the greatest and the least 64-bit integer, PostgreSQL's infinities: it counts from 1970
# instead of 2000, past the end.
_EPOCH_SHIFT = 946_684_800_000_000
_INFINITY, _MINUS_INFINITY = -(2**63) + _EPOCH_SHIFT - 1, -(2**63) + _EPOCH_SHIFT


class PostgreSQLSource(Source):
    """One connection to a PostgreSQL database, in one read-only transaction with one snapshot (REPEATABLE READ).

    Args:
        url: a SQLAlchemy URL; user, password, host and query parameters are libpq's, as with `postgresql+psycopg://`.
        beside: a connection whose snapshot this one is to see; None for a snapshot of its own.

    Raises:
        DatabaseError: the URL is wrong, or the database cannot be reached or entered.
    """

    name = "postgresql"
    utc = True

    def __init__(self, url: sa.URL, beside: PostgreSQLSource | None = None) -> None:
        self._url, self.shown = url, _display_url(url)
        self._secrets = _secrets(url)
        parameters = _conninfo(url)
        # The driver asks for all types of the server first, which takes longer than anything else when an export is
        # small. A clone knows them.
        self._engine = sa.create_engine(
            "postgresql+adbc://",
            creator=lambda: beside._driver.adbc_clone() if beside else adbc.connect(parameters, autocommit=True),
            poolclass=sa.pool.NullPool,
            execution_options={"compiled_cache": COMPILED},
        )
        try:
            self._connection = self._engine.connect()
        except (sa.exc.DBAPIError, adbc.Error) as error:
            raise self._unreachable(error) from None
        try:
            self._connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").close()
            if beside is not None:
                (exported,) = beside._all(sa.text("SELECT pg_export_snapshot() AS id"))
                # Its id is hexadecimal digits and hyphens, and the statement takes no parameter.
                self._connection.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{exported['id']}'").close()
            self._all(_SESSION)
        except BaseException as error:
            self.close()
            if isinstance(error, (sa.exc.DBAPIError, adbc.Error)):
                raise self._failure(error) from None
            raise

    def same_snapshot(self) -> PostgreSQLSource | None:
        """Another connection with the same snapshot; None where the server has none to give, or no connection left."""
        try:
            return PostgreSQLSource(self._url, self)
        except DatabaseError:
            return None

    @property
    def _driver(self) -> adbc.Connection:
        return self._connection.connection.dbapi_connection

    def runs(self, contract: Contract) -> list[dict[str, RunValue]]:
        """The values of every run in the columns RUN_COLUMNS."""
        row = contract.metadata.tables["runs"]
        return self._all(sa.select(*(sa.cast(row.c[name], sa.Text).label(name) for name in RUN_COLUMNS)))

    def rows_by_run(self, contract: Contract) -> dict[str, int]:
        """See `Source.rows_by_run`: in no order."""
        rows = contract.metadata.tables["rows"]
        counted = self._all(sa.select(rows.c.run_id.label("id"), sa.func.count().label("rows")).group_by(rows.c.run_id))
        return {row["id"]: row["rows"] for row in counted}

    def read(self, contract: Contract, table: Table, run_ids: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """See `Source.read`."""
        select = select_all(contract, table) if run_ids is None else select_runs(contract, table, literal=True)
        result = self._execute(select, run_ids, table=table.name)
        try:
            schema, batches = record_batches(result)
            self._require_types(table, schema)
            yield from batches
        except DRIVER_ERRORS as error:
            raise self._failure(error, table.name) from None
        finally:
            result.close()

    def texts(self, select: sa.Select[Any], run_ids: Sequence[str] | None = None) -> Iterator[tuple[str | None, ...]]:
        """The rows of a statement, every value as text."""
        columns = (sa.cast(column, sa.Text).label(f"v{i}") for i, column in enumerate(select.selected_columns))
        yield from text_rows(self._batches(select.with_only_columns(*columns), run_ids))

    def _columns(self) -> sa.Executable:
        return _COLUMNS

    def _times(self, stored: pl.Series) -> list[pl.Series]:
        value = pl.col(stored.name)
        microseconds = value.to_physical()
        usual = microseconds.is_between(_FIRST, _LAST)
        name = (
            pl.when(microseconds == _INFINITY)
            .then(pl.lit("infinity"))
            .when(microseconds == _MINUS_INFINITY)
            .then(pl.lit("-infinity"))
            .otherwise(pl.lit("a time beyond the years 1 to 9999"))
        )
        return (
            stored.to_frame()
            .select(pl.when(usual).then(value).alias(stored.name), pl.when(~usual).then(name).alias(RAW + stored.name))
            .get_columns()
        )

    def _require_types(self, table: Table, schema: pa.Schema) -> None:
        for column in table.columns:
            found = schema.field(column.name)
            types, wanted = _TYPES[column.kind]
            if found.type not in types:
                metadata = found.metadata or {}
                given = metadata.get(b"POSTGRESQL:type", str(found.type).encode()).decode()
                raise DatabaseError(
                    f"Column {column.name} of table {table.name} of the audit database {self.shown} is of the type "
                    f"{given}, and ELSPETH keeps it as {wanted}. "
                    f"It is not read: its values could not be exported as they are."
                )

    def _unreachable(self, error: Exception) -> DatabaseError:
        reason = self._reason(error)
        if _sqlstate(error) is not None or re.search("statement timeout", reason):
            return self._failure(error)  # it was entered, and a statement failed
        plain = re.sub('"[^"]*"', '""', reason)  # names could look like anything
        permanent = next((advice for sign, advice in _PERMANENT if re.search(sign, plain)), None)
        advice = permanent or "check that the server is up and can be reached, and try again"
        return DatabaseError(
            f"The audit database {self.shown} cannot be opened: {reason}; {advice}.", transient=permanent is None
        )

    def _failure(self, error: Exception, table: str | None = None) -> DatabaseError:
        what = f"Table {table} of the audit database {self.shown}" if table else f"The audit database {self.shown}"
        reason, state = self._reason(error), _sqlstate(error)
        advice, transient = next(
            (
                (advice, transient)
                for pattern, signs, advice, transient in _MEANINGS
                if (re.search(signs, reason) if state is None else re.match(pattern, state))
            ),
            ("check the database and the rights of the role", False),
        )
        return DatabaseError(f"{what} cannot be read: {reason}; {advice}.", transient=transient)

    def _reason(self, error: Exception) -> str:
        """What the server or libpq said, in one line, without statement and secrets."""
        cause = getattr(error, "orig", error)
        details = dict(getattr(cause, "details", None) or ())
        primary: bytes = details.get("PG_DIAG_MESSAGE_PRIMARY") or details.get(b"PG_DIAG_MESSAGE_PRIMARY") or b""
        text = primary.decode()
        if not text:
            text = re.split(r"\n\s*Query was:|\nLINE \d|\. SQLSTATE:", str(cause))[0]
            text = re.sub(r"^[A-Z_]+: ", "", text)
            text = re.sub(r"^(\[libpq\] )?(Failed to (connect|prepare query): ?|Execution error \[\w+\]: )", "", text)
            text = re.sub(r"\b(FATAL|ERROR|PANIC): +", "", text)
        text = " ".join(text.split()).rstrip(".") or "the connection is lost"
        for secret in self._secrets:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
        return text


_MEANINGS: tuple[tuple[str, str, str, bool], ...] = (
    (
        "57014",
        "statement timeout|user request",
        "the setting statement_timeout bounds each statement: raise it for the role "
        "(ALTER ROLE ... SET statement_timeout), or in the URL (?options=-c%20statement_timeout%3D4h)",
        False,
    ),
    ("42501", "permission denied", "grant the role SELECT on the audit tables and USAGE on their schema", False),
    ("55P03|40", "lock timeout|deadlock|could not serialize|conflict with recovery", "try again", True),
    ("53", "too many|out of memory|No space left", "the server is short of resources; try again later", True),
    (
        "08|57P",
        "server closed|connection|terminating|timed out|could not receive|could not send|SSL",
        "the connection was lost; try again",
        True,
    ),
    ("42P01|42703|3F000", "does not exist", "check that the URL leads to the audit tables of ELSPETH", False),
    ("22021|22P05", "encoding", "the text of the table cannot be given as UTF-8", False),
)
"""Classes of SQLSTATE; what the message says where the driver gives no SQLSTATE; what to do; whether trying again may
help."""

_PERMANENT: tuple[tuple[str, str], ...] = (
    ("password|authentication|pg_hba|certificate", "check user, password and the server's access rules"),
    ('(role|user) "" does not exist', "check the user in the URL"),
    ('database "" does not exist', "check the database's name in the URL"),
    ("permission denied|is not permitted to log in", "grant the role LOGIN, and CONNECT on the database"),
    ("SSL", "check sslmode in the URL"),
    ("definition of service|service file", "check the service in the URL, and the file that defines it"),
    ("invalid|missing|unrecognized|requires a value", "check the database URL"),
)
"""Why trying again to connect does not help, by what the message says: libpq gives no SQLSTATE there. All else may
pass."""


def _conninfo(url: sa.URL) -> str:
    """The libpq connection string of a SQLAlchemy URL, read as SQLAlchemy's own dialect for psycopg does.

    Raises:
        DatabaseError: hosts and ports in the URL do not go together, or a part of the password seems to be in them.
    """
    # In the query, one at the start of a host stands for a socket without a file.
    if "@" in f"{url.host or ''}{url.database or ''}{_text(url.query.get('host', ''))[1:]}":
        raise DatabaseError(
            "The host or the database's name in the database URL holds an `@`. If it belongs to the password, write "
            "%40 for it there (and %2F for `/`, %3F for `?`)."
        )
    try:
        _, given = PGDialect_psycopg().create_connect_args(url)  # type: ignore[no-untyped-call]
    except (sa.exc.ArgumentError, ValueError):
        raise DatabaseError("Hosts and ports in the database URL do not go together. Check the database URL.") from None
    # Values in quotation marks need no percent-encoding, whatever is in them.
    parameters = _CONNECTION_DEFAULTS | {name: _text(value) for name, value in given.items()}
    parameters["client_encoding"] = "UTF8"
    return " ".join(f"{name}='{_escaped(value)}'" for name, value in parameters.items())


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _display_url(url: sa.URL) -> str:
    """The database as messages name it: host, port and database."""
    hosts = _text(url.host or url.query.get("host", ""))
    if "@" in hosts:
        hosts = ""  # a password with an unencoded `@` would end here
    port = f":{url.port}" if url.port and hosts else ""
    return f"postgresql://{hosts}{port}/{url.database or ''}"


def _secrets(url: sa.URL) -> list[str]:
    """Parts of the URL that no message may hold, the longest first."""
    given = [url.password, *(_text(url.query[name]) for name in ("password", "sslpassword") if name in url.query)]
    found = {secret for value in given if value for secret in (str(value), _escaped(str(value)))}
    return sorted(found, key=len, reverse=True)


def _sqlstate(error: Exception) -> str | None:
    return getattr(getattr(error, "orig", error), "sqlstate", None)
