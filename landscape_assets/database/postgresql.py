"""A PostgreSQL audit database: one connection, one read-only snapshot, rows streamed as Arrow with declared types.

Belongs here: what is particular to PostgreSQL (connection, session, types, the meaning of its errors). Does not belong
here: what holds for every database (`database.py`).

The driver streams a result (`COPY ... TO STDOUT`, binary) when its statement has no bound parameters, and else holds
all of it in memory. The run_ids are therefore written into the statements, as literals that SQLAlchemy quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import polars as pl
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from ..contract import Contract, Kind, Table
from ..errors import DatabaseError
from .adbc import record_batches, text_rows
from .schemas import arrow_schema
from .source import RUN_COLUMNS, RunValue
from .statements import RUN_IDS, select_all, select_runs
from .validation import RAW

registry.register("postgresql.adbc", "landscape_assets.database.adbc", "AdbcPostgreSQLDialect")

_CONNECTION_DEFAULTS = {
    "application_name": "landscape_assets",
    "connect_timeout": "10",
    # A server that is no longer there is noticed after about a minute, also in the middle of a result.
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


class PostgreSQLSource:
    """One connection to a PostgreSQL database, in one read-only transaction with one snapshot (REPEATABLE READ).

    Args:
        url: a SQLAlchemy URL; user, password, host and query parameters are libpq's, as with `postgresql+psycopg://`.
        snapshot: one that another transaction exported and this one is to see; None for its own.

    Raises:
        DatabaseError: the URL is wrong, or the database cannot be reached or entered.
    """

    name = "postgresql"
    utc = True

    def __init__(self, url: sa.URL, snapshot: str | None = None) -> None:
        self._url, self.shown = url, _shown(url)
        self._secrets = _secrets(url)
        parameters = _conninfo(url)
        self._engine = sa.create_engine(
            "postgresql+adbc://",
            creator=lambda: adbc.connect(parameters, autocommit=True),
            poolclass=sa.pool.NullPool,
        )
        try:
            self._connection = self._engine.connect()
        except (sa.exc.DBAPIError, adbc.Error) as error:
            raise self._unreachable(error) from None
        try:
            self._connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").close()
            if snapshot is not None:
                # Its id is hexadecimal digits and hyphens, and the statement takes no parameter.
                self._connection.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{snapshot}'").close()
            self._all(_SESSION)
        except BaseException as error:
            self.close()
            if isinstance(error, (sa.exc.DBAPIError, adbc.Error)):
                raise self._failure(error) from None
            raise

    def same_snapshot(self) -> PostgreSQLSource | None:
        """Another connection with the same snapshot; None where the server has none to give, or no connection left."""
        try:
            (exported,) = self._all(sa.text("SELECT pg_export_snapshot() AS id"))
            return PostgreSQLSource(self._url, exported["id"])
        except DatabaseError:
            return None

    def close(self) -> None:
        """Ends the transaction and the connection."""
        self._connection.close()
        self._engine.dispose()

    def columns(self) -> dict[str, set[str]]:
        """Table name → its column names, for the tables that the search path leads to."""
        found: dict[str, set[str]] = {}
        for row in self._all(_COLUMNS):
            found.setdefault(row["table_name"], set()).add(row["column_name"])
        return found

    def epoch(self) -> int | None:
        """None: PostgreSQL has no place of its own where ELSPETH could note an epoch."""
        return None

    def runs(self, contract: Contract) -> list[dict[str, RunValue]]:
        """The values of every run in the columns RUN_COLUMNS."""
        row = contract.metadata.tables["runs"]
        return self._all(sa.select(*(sa.cast(row.c[name], sa.Text).label(name) for name in RUN_COLUMNS)))

    def counts(self, statements: Mapping[str, sa.Select], run_ids: Sequence[str]) -> dict[str, int]:
        """What statements that count give, by name, for some runs."""
        counts = [
            sa.select(sa.literal_column(f"'{name}'"), select.scalar_subquery()) for name, select in statements.items()
        ]
        rows = self._all(sa.union_all(*counts), run_ids)
        return {name: count for name, count in map(dict.values, rows)}

    def rows_by_run(self, contract: Contract) -> dict[str, int]:
        """How many rows of the table `rows` each run has."""
        rows = contract.metadata.tables["rows"]
        counted = self._all(sa.select(rows.c.run_id.label("id"), sa.func.count().label("rows")).group_by(rows.c.run_id))
        return {row["id"]: row["rows"] for row in counted}

    def prefers_scan(self, contract: Contract, run_ids: Sequence[str]) -> bool:
        """No: the server knows how its tables are filled, and scans them itself where that is faster."""
        return False

    def read(self, contract: Contract, table: Table, run_ids: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Reads rows of a table in the driver's types.

        Args:
            contract: the contract of the database.
            table: one of its tables.
            run_ids: the runs; None for the rows of all runs.

        Yields:
            The columns of `statements.select_runs`.

        Raises:
            DatabaseError: the database cannot be read, or a column is of another type than the contract's.
        """
        select = select_all(contract, table) if run_ids is None else select_runs(contract, table, literal=True)
        result = self._execute(select, run_ids, table=table.name)
        try:
            schema, batches = record_batches(result)
            self._require_types(table, schema)
            yield from batches
        except (adbc.Error, pa.ArrowException, OSError) as error:
            raise self._failure(error, table.name) from None
        finally:
            result.close()

    def file_damage(self) -> Iterator[str]:
        """Nothing: the server looks after its files."""
        yield from ()

    def texts(self, select: sa.Select, run_ids: Sequence[str] | None = None) -> Iterator[tuple[str | None, ...]]:
        """The rows of a statement, every value as text."""
        columns = (sa.cast(column, sa.Text).label(f"v{i}") for i, column in enumerate(select.selected_columns))
        result = self._execute(select.with_only_columns(*columns), run_ids)
        try:
            yield from text_rows(record_batches(result)[1])
        except (adbc.Error, pa.ArrowException, OSError) as error:
            raise self._failure(error) from None
        finally:
            result.close()

    def typed(self, table: Table, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pl.DataFrame]:
        """Rows of `read` with their declared types, and the frame to check: the same columns, and what the checks need
        besides
        (`checks.RAW`)."""
        return _typed(table, batch)

    def _execute(
        self, statement: sa.Executable, run_ids: Sequence[str] | None = None, *, table: str | None = None
    ) -> sa.CursorResult:
        try:
            return self._connection.execute(statement, {} if run_ids is None else {RUN_IDS: list(run_ids)})
        except (sa.exc.DBAPIError, adbc.Error, OSError) as error:
            raise self._failure(error, table) from None

    def _all(self, statement: sa.Executable, run_ids: Sequence[str] | None = None) -> list[dict[str, Any]]:
        result = self._execute(statement, run_ids)
        try:
            _, batches = record_batches(result)
            return [row for batch in batches for row in batch.to_pylist()]
        except (adbc.Error, pa.ArrowException, OSError) as error:
            raise self._failure(error) from None
        finally:
            result.close()

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
        for pattern, signs, advice, transient in _MEANINGS:
            if (state is not None and re.match(pattern, state)) or (state is None and re.search(signs, reason)):
                break
        else:
            advice, transient = "check the database and the rights of the role", False
        return DatabaseError(f"{what} cannot be read: {reason}; {advice}.", transient=transient)

    def _reason(self, error: Exception) -> str:
        """What the server or libpq said, in one line, without statement and secrets."""
        cause = getattr(error, "orig", error)
        details = dict(getattr(cause, "details", None) or ())
        text = details.get("PG_DIAG_MESSAGE_PRIMARY", details.get(b"PG_DIAG_MESSAGE_PRIMARY", b"")).decode()
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


def _typed(table: Table, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pl.DataFrame]:
    """A batch of the driver with the declared types, and the frame to check."""
    plain = pa.schema([pa.field(field.name, field.type) for field in batch.schema])
    frame = pl.from_arrow(pa.RecordBatch.from_arrays(batch.columns, schema=plain))
    frame = frame.with_columns(
        expression
        for column in table.columns
        for expression in _declared(column.name, column.kind, plain.field(column.name).type)
    )
    schema = arrow_schema(table, utc=True)
    arrays = [
        (
            frame[column.name].to_arrow(compat_level=pl.CompatLevel.oldest())
            if column.kind in (Kind.TIME, Kind.BOOLEAN)
            else batch.column(column.name)
        ).cast(schema.field(column.name).type)
        for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema), frame


def _declared(name: str, kind: Kind, given: pa.DataType) -> list[pl.Expr]:
    """The columns that a column becomes: its declared value, and as RAW what no declared value stands for."""
    value = pl.col(name)
    if kind is Kind.TIME:
        microseconds = value.to_physical()
        usual = microseconds.is_between(_FIRST, _LAST)
        said = (
            pl.when(microseconds == _INFINITY)
            .then(pl.lit("infinity"))
            .when(microseconds == _MINUS_INFINITY)
            .then(pl.lit("-infinity"))
            .otherwise(pl.lit("a time beyond the years 1 to 9999"))
        )
        return [pl.when(usual).then(value).alias(name), pl.when(~usual).then(said).alias(RAW + name)]
    if kind is Kind.BOOLEAN and pa.types.is_boolean(given):
        return [value.alias(RAW + name)]
    if kind is Kind.BOOLEAN:
        return [pl.when(value.is_in([0, 1])).then(value.cast(pl.Boolean)).alias(name), value.alias(RAW + name)]
    return []


def _conninfo(url: sa.URL) -> str:
    """The libpq connection string of a SQLAlchemy URL, read as SQLAlchemy's own dialect for psycopg does.

    Raises:
        DatabaseError: hosts and ports in the URL do not go together, or a part of the password seems to be in them.
    """
    # In the query, one at the start of a host stands for a socket without a file.
    if "@" in f"{url.host or ''}{url.database or ''}{_text(url.query.get('host', ''))[1:]}":
        raise DatabaseError(
            "The host or the database's name in the database URL holds an `@`. If it belongs to the password, write %40 "
            "for it there (and %2F for `/`, %3F for `?`)."
        )
    try:
        _, given = PGDialect_psycopg().create_connect_args(url)
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


def _shown(url: sa.URL) -> str:
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
