"""A sample audit database of contract v1, made by code.

Belongs here: three runs of a made-up pipeline with every record type, status and outcome (`content.py`), and writing
them. Does not belong here: the tables as DDL, which the benchmarks have (`benchmarks/schema_v1.sql`), and the sample of
the product (`landscape_assets/sample/`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .content import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN, sample_tables

_SCHEMA = Path(__file__).parents[3] / "benchmarks" / "schema_v1.sql"

__all__ = ["COMPLETED_RUN", "FAILED_RUN", "RUNNING_RUN", "insert_rows", "sample_tables", "schema_sql", "write_sample"]


def schema_sql() -> str:
    """The DDL of an empty audit database of contract v1, for SQLite; statements end in a semicolon and a line break."""
    return _SCHEMA.read_text("utf-8")


def insert_rows(connection: sqlite3.Connection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows into an audit table.

    Args:
        connection: an open transaction is left open.
        table: the table.
        rows: column → value; a column that a row does not mention is null.

    Raises:
        sqlite3.Error: a row breaks a constraint, or names a column that is not there.
    """
    for row in rows:
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def write_sample(path: Path) -> None:
    """Write the sample audit database. The content is the same every time.

    It has the runs `COMPLETED_RUN` (with every record type, every outcome and every state), `FAILED_RUN` and
    `RUNNING_RUN` (unfinished). It is written under another name in the same folder, which is made where it is missing,
    and renamed when whole.

    Args:
        path: the file to write.

    Raises:
        FileExistsError: there is something of that name already; it is left as it is.
        OSError: the file cannot be written.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already and is not overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        connection = sqlite3.connect(partial)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executescript(schema_sql())
            with connection:
                for table, rows in sample_tables().items():
                    insert_rows(connection, table, rows)
        finally:
            connection.close()
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
