"""Counting the statements that a piece of code sends to databases.

Belongs here: the counter, for the two ways by which this project reaches a database (SQLAlchemy and ADBC, or one over
the other), and a command that counts for the exporter's command line. Does not belong here: what is done with the
count.

    python -m benchmarks.statements DATABASE ARGUMENT...

runs `landscape-assets ARGUMENT...` in this process, and prints how many statements it sent to the SQLite file as JSON.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import adbc_driver_manager.dbapi
import sqlalchemy as sa


@contextmanager
def count_statements(database: str | None = None) -> Iterator[list[str]]:
    """Collect the text of every statement sent within the block, by any thread or library.

    Args:
        database: path of a SQLite file; statements that SQLAlchemy sends elsewhere (Dagster keeps its own databases
            that way) are left out. Statements sent through ADBC always count. None: everything counts.
    """
    sent: list[str] = []
    execute = adbc_driver_manager.dbapi.Cursor.execute

    def through_sqlalchemy(connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
        if isinstance(cursor, adbc_driver_manager.dbapi.Cursor):
            return  # it is counted where ADBC sends it
        if database is None or _is_open_on(connection, database):
            sent.append(statement)

    def through_adbc(cursor: Any, operation: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(str(operation))
        return execute(cursor, operation, *arguments, **options)

    sa.event.listen(sa.Engine, "before_cursor_execute", through_sqlalchemy)
    try:
        with mock.patch.object(adbc_driver_manager.dbapi.Cursor, "execute", through_adbc):
            yield sent
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", through_sqlalchemy)


def _is_open_on(connection: sa.Connection, database: str) -> bool:
    # The URL does not tell: it may be a `file:` URI, or absent where a function makes the connections.
    if connection.dialect.name != "sqlite":
        return False
    files = connection.connection.cursor().execute("PRAGMA database_list").fetchall()
    return any(file and os.path.samefile(file, database) for _, _, file in files)


def main() -> None:
    """Runs the command `landscape-assets` and counts the statements that it sends."""
    database, *arguments = sys.argv[1:]
    sys.argv = ["landscape-assets", *arguments]
    status: str | int | None = 0
    with count_statements(database) as sent, contextlib.redirect_stdout(io.StringIO()):
        try:
            importlib.import_module("landscape_assets.cli").main()
        except SystemExit as end:
            status = end.code
    if status:
        sys.exit(f"landscape-assets ended with {status}")
    print(json.dumps({"statements": len(sent)}))


if __name__ == "__main__":
    main()
