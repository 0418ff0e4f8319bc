"""Audit databases for tests: copies of the sample, changed as a test needs.

Belongs here: making and changing SQLite files. Does not belong here: exporting them, databases on PostgreSQL
(`copying.py`, `server.py`).
"""

import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from support.sample_v1 import insert_rows, sample_tables, schema_sql

if TYPE_CHECKING:
    from .server import Audit

TIME = "%Y-%m-%d %H:%M:%S.%f"


@contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection without any constraint, committed at the end: as whoever damages a database has."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("PRAGMA synchronous = OFF")
    connection.row_factory = sqlite3.Row
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


@dataclass(frozen=True)
class AuditFile:
    """An audit database in a SQLite file, for tests that run on both: what `Audit` (`server.py`) is on PostgreSQL."""

    path: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def execute(self, *statements: str) -> list[tuple]:
        """Executes statements without any constraint; the rows of the last."""
        with changing(self.path) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return [tuple(row) for row in cursor.fetchall()]


def tables_of(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Table → its columns."""
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    return {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}


def schema_facts(connection: sqlite3.Connection) -> dict:
    """Per table its columns, foreign keys and indexes; indexes that a constraint makes have no name of their own."""
    facts = {}
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        indexes = set()
        for _, name, unique, origin, partial in connection.execute(f"PRAGMA index_list({table})").fetchall():
            columns = tuple(row[2] for row in connection.execute(f"PRAGMA index_info({name})"))
            indexes.add((name if origin == "c" else origin, unique, partial, columns))
        facts[table] = (
            [tuple(row) for row in connection.execute(f"PRAGMA table_info({table})")],
            sorted(tuple(row[2:]) for row in connection.execute(f"PRAGMA foreign_key_list({table})")),
            indexes,
        )
    return facts


def rename_run(path: Path, old: str, new: str) -> None:
    """Gives a run another run_id, wherever it stands."""
    with changing(path) as connection:
        for table, columns in tables_of(connection).items():
            if "run_id" in columns:
                connection.execute(f"UPDATE {table} SET run_id = ? WHERE run_id = ?", (new, old))


def empty_database(path: Path, *, constraints: bool = True) -> None:
    """An audit database of contract v1 without rows; without constraints a damaged one can be built."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.executescript(schema_sql())
    connection.commit()
    connection.close()
    if not constraints:
        remove_constraints(path)


def remove_constraints(path: Path) -> None:
    """Makes every table one of columns and nothing else."""
    with changing(path) as connection:
        for table in tables_of(connection):
            # The copy keeps each column's affinity, and nothing else.
            connection.execute(f"CREATE TABLE free AS SELECT * FROM {table}")
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE free RENAME TO {table}")


def rows_of_sample(run_id: str) -> dict[str, list[dict[str, Any]]]:
    """Table → the sample's rows of one run; a row of a table without a run_id is the run's when its parent is."""
    found: dict[str, list[dict[str, Any]]] = {}
    ids: set[str] = set()
    for table, rows in sample_tables().items():
        found[table] = [
            row
            for row in rows
            if row.get("run_id") == run_id
            or (
                "run_id" not in row
                and ids & {row.get(name) for name in ("token_id", "state_id", "operation_id", "batch_id")}
            )
        ]
        ids |= {
            value
            for row in found[table]
            for name, value in row.items()
            if name in ("token_id", "state_id", "operation_id", "batch_id")
            if value
        }
    return found


def insert_copy(
    connection: sqlite3.Connection, rows: Mapping[str, list[dict[str, Any]]], run_id: str, prefix: str, later: timedelta
) -> None:
    """Inserts rows of a run as another run: ids begin with `prefix`, times are `later`."""

    def changed(name: str, value: Any) -> Any:
        if value is None:
            return None
        if name == "run_id":
            return run_id
        if name.endswith("_id"):
            return prefix + value
        if name.endswith("_at"):
            return (datetime.strptime(value, TIME) + later).strftime(TIME)
        return value

    for table, originals in rows.items():
        insert_rows(
            connection, table, ({name: changed(name, value) for name, value in row.items()} for row in originals)
        )


def make_v0(path: Path) -> None:
    """Makes a database of contract v1 one of v0, as far as the columns tell."""
    with changing(path) as connection:
        columns = tables_of(connection)
        for table, gone in (("operations", ("input_data_hash", "output_data_hash")), ("tokens", ("run_id",))):
            kept = ", ".join(name for name in columns[table] if name not in gone)
            connection.execute(f"CREATE TABLE older AS SELECT {kept} FROM {table}")
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE older RENAME TO {table}")
        connection.execute("DROP TABLE preflight_results")
        connection.execute("PRAGMA user_version = 0")


def to_v0(audit: "AuditFile | Audit") -> None:
    """The same on either database."""
    if isinstance(audit, AuditFile):
        make_v0(audit.path)
    else:
        audit.execute(
            "ALTER TABLE operations DROP COLUMN input_data_hash, DROP COLUMN output_data_hash",
            "ALTER TABLE tokens DROP COLUMN run_id",
            "DROP TABLE preflight_results",
        )


def shuffled_copy(source: Path, target: Path, seed: int) -> None:
    """The same rows, inserted in another order, into tables without keys that would order them again."""
    empty_database(target, constraints=False)
    mixed = random.Random(seed)
    with changing(source) as rows, changing(target) as connection:
        for table in tables_of(rows):
            found = [dict(row) for row in rows.execute(f"SELECT * FROM {table}")]
            mixed.shuffle(found)
            insert_rows(connection, table, found)


def shuffle(audit: "AuditFile | Audit", seed: int) -> None:
    """Stores the rows of a database in another order."""
    if isinstance(audit, AuditFile):
        shuffled_copy(audit.path, copy := audit.path.with_suffix(".shuffled"), seed)
        copy.replace(audit.path)
        return
    for (table,) in audit.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        audit.execute(
            f"CREATE TABLE mixed AS SELECT t.* FROM {table} AS t ORDER BY md5(t::text || '{seed}')",
            f"DROP TABLE {table}",
            f"ALTER TABLE mixed RENAME TO {table}",
        )


def fill(path: Path, tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """A database without constraints that has these rows."""
    path.write_bytes(_free_database())
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    for table, rows in tables.items():
        insert_rows(connection, table, rows)
    connection.commit()
    connection.close()


@cache
def _free_database() -> bytes:
    with TemporaryDirectory() as folder:
        empty_database(Path(folder) / "landscape.db", constraints=False)
        return (Path(folder) / "landscape.db").read_bytes()
