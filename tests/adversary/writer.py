"""A process that moves an audit database from one known state to the next until it is told to stop.

Belongs here: the states, and the process, which uses nothing of the project. Does not belong here: exports.

    python writer.py SETTINGS

where SETTINGS is a JSON object; see `Writer`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

STAMPED = {
    "runs": "canonical_version", "secret_resolutions": "env_var_name", "nodes": "plugin_version", "edges": "label",
    "operations": "input_data_ref", "calls": "request_hash", "rows": "source_data_hash", "tokens": "branch_name",
    "token_outcomes": "sink_name", "node_states": "input_hash", "routing_events": "reason_ref",
    "batches": "trigger_reason",
    "artifacts": "content_hash",
}  # fmt: skip
"""Table → the column into which each state is stamped."""


def stamp(state: int) -> str:
    """What is stamped into the tables: of many lengths, so that rows move from page to page."""
    return f"state-{state}-" + "x" * (state * 37 % 150)


def statements(state: int) -> Iterator[str]:
    """The statements of the transaction that moves a database from any state to this one.

    Values change in every row of every table; and there is one call more in each state of a node, or not.
    """
    for table, column in STAMPED.items():
        yield f"UPDATE {table} SET {column} = '{stamp(state)}'"
    yield f"UPDATE token_parents SET ordinal = {state}"
    yield f"UPDATE batch_members SET ordinal = {state}"
    yield "DELETE FROM calls WHERE call_id LIKE 'extra %'"
    if state % 2:
        yield (
            "INSERT INTO calls (call_id, state_id, call_index, call_type, status, request_hash, created_at) "
            f"SELECT 'extra ' || state_id, state_id, {state}, 'sql', 'success', '{stamp(state)}', "
            "'2026-01-02 03:04:05.000001' FROM node_states"
        )


class Writer:
    """Moves the database on, one transaction a state.

    Args:
        database: a path of the SQLite file, as it is to be opened; or a PostgreSQL connection string.
        postgresql: which of the two it is.
        mode: SQLite's journal mode.
        keeps: whether the database stays open between transactions.
        pause: seconds between transactions.
        cache: pages in memory; with few, pages are written before the transaction is committed.
        checkpoint: pages after which a write-ahead log is copied into the file.
        log: a file to which it writes `begun N` and `done N`.
        stop: it ends when there is a file of that name.
    """

    def __init__(
        self, *, database: str, log: str, stop: str, pause: float, postgresql: bool = False, mode: str = "delete",
        keeps: bool = True, cache: int = 2000, checkpoint: int = 1000,
    ) -> None:  # fmt: skip
        self.database, self.postgresql, self.mode, self.keeps = database, postgresql, mode, keeps
        self.pause, self.cache, self.checkpoint = pause, cache, checkpoint
        self.log = Path(log).open("a", buffering=1)  # noqa: SIM115  # open for as long as the writer lives
        self.stop = Path(stop)

    def work(self) -> None:
        connection = self._open()
        state = 0
        parent = os.getppid()  # when that ends, so does this
        while not self.stop.exists() and os.getppid() == parent:
            state += 1
            self.log.write(f"begun {state}\n")
            if connection is None:
                connection = self._open()
            self._move(connection, state)
            self.log.write(f"done {state}\n")
            if not self.keeps:
                connection.close()
                connection = None
            time.sleep(self.pause)
        if connection is not None:
            connection.close()

    def _open(self):
        if self.postgresql:
            import psycopg

            return psycopg.connect(self.database, autocommit=True)
        connection = sqlite3.connect(self.database, timeout=120, isolation_level=None)
        connection.execute(f"PRAGMA journal_mode = {self.mode}").fetchall()
        pragmas = {"synchronous": "OFF", "cache_size": self.cache, "wal_autocheckpoint": self.checkpoint}
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name} = {value}").fetchall()
        return connection

    def _move(self, connection, state: int) -> None:
        while True:
            try:
                connection.execute("BEGIN" if self.postgresql else "BEGIN IMMEDIATE")
                for statement in statements(state):
                    connection.execute(statement)
                connection.execute("COMMIT")
                return
            except sqlite3.OperationalError as error:  # a reader was in the way for long
                if "locked" not in str(error):
                    raise
                if connection.in_transaction:
                    connection.execute("ROLLBACK")


if __name__ == "__main__":
    Writer(**json.loads(sys.argv[1])).work()
