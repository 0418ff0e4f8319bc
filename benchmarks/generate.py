"""Runs to measure on: the run of the bug reports, at any size, and many of them in one database.

Belongs here: making an audit database with completed runs in which every row passes through a few node states, each
with calls, and one row in twenty forks into two branches. Does not belong here: the tables (`generations.py`),
measuring, and runs made to look at (`landscape_assets.sample`).

    python -m benchmarks.generate DATABASE ROWS [--run-id ID] [--runs N] [--first K] [--states 5] [--calls 2]
        [--generation v1|v071]

The same arguments give the same rows. 100,000 rows of 5 states with 2 calls each are 2.31 million records, about 1 GB
and a minute of work. A database that exists gets further runs. It is not protected against a crash while it is being
written.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from .generations import GENERATIONS, Inserts

FORK_EVERY = 20
"""One row in so many forks."""

FAIL_EVERY = 97
"""About one node state in so many fails."""

BLOCK = 5_000
"""Rows of the source that are held in memory before they are inserted."""

START = datetime(2026, 3, 1, 12, 0, 0, 123456)


def generate(path: Path, rows: int, run_id: str | None = None, *, states: int = 5, calls: int = 2) -> int:
    """Add a completed run to a database, which is made where there is none.

    Args:
        path: the SQLite file.
        rows: how many rows the source delivered.
        run_id: the run; `run-<rows>` when None.
        states: node states of each row's first token.
        calls: calls of each node state.

    Returns:
        How many records the run has.

    Raises:
        ValueError: the database has the run already.
    """
    return generate_all(path, rows, [run_id or f"run-{rows}"], states=states, calls=calls)


def generate_all(
    path: Path, rows: int, run_ids: Sequence[str], *, states: int = 5, calls: int = 2, generation: str = "v1"
) -> int:
    """Add completed runs of one size to a database, which is made where there is none, one after the other.

    Args:
        path: the SQLite file.
        rows: how many rows the source of each run delivered.
        run_ids: the runs.
        states: node states of each row's first token.
        calls: calls of each node state.
        generation: of the database, by its contract: one of GENERATIONS.

    Returns:
        How many records the runs have together.

    Raises:
        ValueError: the database has one of the runs already.
    """
    is_new = not path.exists()
    records, tables = 0, GENERATIONS[generation]
    with closing(sqlite3.connect(path)) as connection:
        # Speed at the price of safety: a benchmark's database can be made again.
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000;")
        if is_new:
            connection.executescript(tables.ddl())
        # An index that is made at the end, sorted, costs a fraction of one that grows row by row.
        indexes = _drop_indexes(connection) if is_new else []
        for run_id in run_ids:
            if connection.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone():
                raise ValueError(f"{path} has the run {run_id!r} already")
            run = _Run(run_id, rows, states, calls)
            records += _insert(connection, tables.adapt(run_id, run.frame()), tables.columns)
            for start in range(0, rows, BLOCK):
                block = run.block(start, min(start + BLOCK, rows))
                records += _insert(connection, tables.adapt(run_id, block), tables.columns)
        connection.commit()
        for statement in indexes:
            connection.execute(statement)
    return records


def _drop_indexes(connection: sqlite3.Connection) -> list[str]:
    """Drop the indexes that are not part of a table's own definition, and give the statements that make them."""
    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY rowid"
    indexes = connection.execute(query).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    return [statement for _, statement in indexes]


def _insert(connection: sqlite3.Connection, inserts: Inserts, columns: Mapping[str, str]) -> int:
    for table, rows in inserts.items():
        marks = ", ".join("?" * len(columns[table].split(",")))
        connection.executemany(f"INSERT INTO {table} ({columns[table]}) VALUES ({marks})", rows)
    return sum(map(len, inserts.values()))


@lru_cache
def _second(seconds: int) -> str:
    """A time so many seconds after the start, without its fraction: making one for each row's times takes long."""
    return (START.replace(microsecond=0) + timedelta(seconds=seconds)).isoformat(" ")


class _Run:
    """The rows of the audit tables of one run, block by block; all that is random follows from the run id."""

    def __init__(self, run_id: str, rows: int, states: int, calls: int) -> None:
        self.run_id = run_id
        self.rows = rows
        self.states = states
        self.calls = calls
        self.random = random.Random(run_id)
        self.hex = self._hex_digits()
        self.nodes = ["source_csv", *(f"transform_llm_{step}" for step in range(1, states)), "sink_csv"]
        self.edges = [self.id() for _ in range(states)]

    def _hex_digits(self) -> Iterator[str]:
        """Pieces of 32 random hex digits, drawn in bulk: one at a time would take most of the generator's time."""
        while True:
            digits = self.random.randbytes(1 << 16).hex()
            for start in range(0, len(digits), 32):
                yield digits[start : start + 32]

    def id(self) -> str:
        return next(self.hex)

    def hash(self) -> str:
        return next(self.hex) + next(self.hex)

    @staticmethod
    def time(microseconds: int) -> str:
        seconds, rest = divmod(START.microsecond + microseconds, 1_000_000)
        return f"{_second(seconds)}.{rest:06}"

    def frame(self) -> Inserts:
        """The run, its pipeline and its operations."""
        settings = {
            "source": {"plugin": "csv", "options": {"path": "complaints.csv", "threshold": 0.75, "ceiling": 1e21}},
            "languages": ["français", "日本語", "€"],
        }
        last = 1_000 * self.rows + 1_000_000
        run, kinds = self.run_id, ("source", *["transform"] * (self.states - 1), "sink")
        plugins = {"source": ("csv", "io_read"), "transform": ("llm", "external_call"), "sink": ("csv", "io_write")}
        return {
            "runs": [
                (run, self.time(0), self.time(last), self.hash(), json.dumps(settings), "attributable_only",
                 "sha256-rfc8785-v1", "completed")
            ],
            "nodes": [
                (node, run, plugins[kind][0], kind, "1.0.0", plugins[kind][1], self.hash(),
                 json.dumps({"step": step, "rate": step / 10}), step, self.time(step), "observed")
                for step, (node, kind) in enumerate(zip(self.nodes, kinds, strict=True))
            ],
            "edges": [
                (edge, run, self.nodes[step], self.nodes[step + 1], "continue", "move", self.time(step))
                for step, edge in enumerate(self.edges)
            ],
            "operations": [
                (self.id(), run, self.nodes[0], "source_load", self.time(1), self.time(100), "completed", 99.5),
                (self.id(), run, self.nodes[-1], "sink_write", self.time(last - 100), self.time(last), "completed",
                 12.25),
            ],
        }  # fmt: skip

    def block(self, start: int, stop: int) -> Inserts:
        """The source's rows from `start` up to `stop`, and all that hangs below them."""
        block: Inserts = {
            table: []
            for table in ("rows", "tokens", "token_parents", "token_outcomes", "node_states", "routing_events", "calls")
        }
        for index in range(start, stop):
            now = 1_000 * index
            row_id, token = self.id(), self.id()
            block["rows"].append((row_id, self.run_id, self.nodes[0], index, self.hash(), self.time(now)))
            block["tokens"].append((token, row_id, self.run_id, None, None, None, self.time(now + 1)))
            self.pass_through(block, index, token, range(self.states), 0)
            if index % FORK_EVERY:
                self.end(block, now, token, "completed", "out")
                continue
            fork = self.id()
            self.end(block, now, token, "forked", None, fork)
            for ordinal, branch in enumerate(("left", "right")):
                child = self.id()
                block["tokens"].append((child, row_id, self.run_id, fork, branch, 1, self.time(now + 2)))
                block["token_parents"].append((child, token, ordinal))
                self.pass_through(block, index, child, range(1, 1 + min(2, self.states)), 10)
                self.end(block, now, child, "completed", "out")
        return block

    def end(
        self, block: Inserts, now: int, token: str, outcome: str, sink: str | None, fork: str | None = None
    ) -> None:
        block["token_outcomes"].append((self.id(), self.run_id, token, outcome, 1, self.time(now + 900), sink, fork))

    def pass_through(self, block: Inserts, index: int, token: str, nodes: Iterable[int], first_step: int) -> None:
        """A token's node states at some nodes, with their routing events (none after the last transform) and calls."""
        for place, node in enumerate(nodes):
            state = self.id()
            started = 1_000 * index + 10 * place + first_step
            failed = (7 * index + node) % FAIL_EVERY == 0
            block["node_states"].append(
                (
                    state, token, self.run_id, self.nodes[node], first_step + place, 0,
                    "failed" if failed else "completed",
                    self.hash(),
                    None if failed else self.hash(),
                    json.dumps({"prompt": place}) if place == 1 else None,
                    round(self.random.random() * 250, 6),
                    json.dumps({"type": "ValueError", "message": f'row {index}: é "quoted"'}) if failed else None,
                    None if failed else '{"action":"transformed","fields_added":["x"]}',
                    self.time(started), self.time(started + 5),
                )
            )  # fmt: skip
            if place < self.states - 1:
                block["routing_events"].append(
                    (self.id(), state, self.edges[node], self.id(), 0, "move", self.time(started + 6))
                )
            for call in range(self.calls):
                block["calls"].append(
                    (
                        self.id(), state, call, "llm", "success", self.hash(),
                        None if call else self.hash(), self.hash(),
                        round(self.random.random() * 900, 4), self.time(started + call),
                    )
                )  # fmt: skip


def main() -> None:
    """Does what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate", description="Make runs to measure on.")
    parser.add_argument("database", type=Path, help="a SQLite file; one that exists gets further runs")
    parser.add_argument("rows", type=int, help="rows of the source of each run")
    parser.add_argument("--run-id", help="the one run (default: run-ROWS)")
    parser.add_argument("--runs", type=int, help="so many runs instead, called run-0, run-1 and so on")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them (default: 0)")
    parser.add_argument("--states", type=int, default=5, help="node states of each row (default: 5)")
    parser.add_argument("--calls", type=int, default=2, help="calls of each node state (default: 2)")
    parser.add_argument("--generation", choices=GENERATIONS, default="v1", help="of the database (default: v1)")
    chosen = parser.parse_args()
    if chosen.runs is None:
        run_ids = [chosen.run_id or f"run-{chosen.rows}"]
    elif chosen.run_id is not None:
        parser.error("give --run-id or --runs, not both")
    else:
        run_ids = [f"run-{number}" for number in range(chosen.first, chosen.first + chosen.runs)]
    records = generate_all(
        chosen.database,
        chosen.rows,
        run_ids,
        states=chosen.states,
        calls=chosen.calls,
        generation=chosen.generation,
    )
    print(f"{records} records")


if __name__ == "__main__":
    main()
