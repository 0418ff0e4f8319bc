"""The batched reference exporter: a bounded number of queries, the whole run in dictionaries, then record by record.

Belongs here: how ELSPETH's own later exporter reads a run, which is the remedy that the bug reports proposed: one query
per table, rows looked up by their parent in memory. Order, records and signatures are the naive reference's own code,
so the two differ in their queries and their memory alone. Does not belong here: anything else.

    python -m benchmarks.batched DATABASE_URL RUN_ID FILE

does what `python -m benchmarks.reference` does.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa

from .reference import Children, Record, Row, contract_of, in_order, main, sign_all, walk

BY_RUN = ("runs", "secret_resolutions", "nodes", "edges", "operations", "rows", "batches", "artifacts")
"""The tables whose rows hang below the run itself."""

BY_PARENT = {
    ("calls", "operation_id"): "SELECT t.* FROM calls t JOIN operations o ON o.operation_id = t.operation_id"
    " WHERE o.run_id = :run_id",
    ("calls", "state_id"): "SELECT t.* FROM calls t JOIN node_states s ON s.state_id = t.state_id"
    " WHERE s.run_id = :run_id",
    ("tokens", "row_id"): "SELECT t.* FROM tokens t JOIN rows r ON r.row_id = t.row_id WHERE r.run_id = :run_id",
    ("token_parents", "token_id"): "SELECT t.* FROM token_parents t JOIN tokens k ON k.token_id = t.token_id"
    " JOIN rows r ON r.row_id = k.row_id WHERE r.run_id = :run_id",
    ("token_outcomes", "token_id"): "SELECT t.* FROM token_outcomes t WHERE t.run_id = :run_id",
    ("node_states", "token_id"): "SELECT t.* FROM node_states t WHERE t.run_id = :run_id",
    ("routing_events", "state_id"): "SELECT t.* FROM routing_events t JOIN node_states s ON s.state_id = t.state_id"
    " WHERE s.run_id = :run_id",
    ("batch_members", "batch_id"): "SELECT t.* FROM batch_members t JOIN batches b ON b.batch_id = t.batch_id"
    " WHERE b.run_id = :run_id",
}
"""The tables whose rows hang below another one's, by the column that says which, and the query for all of a run."""


def export_run(
    connection: sa.Connection, run_id: str, key: bytes | None, *, exported_at: datetime | None = None
) -> Iterator[Record]:
    """All records of one run, in order, read with one query per table and parent.

    Arguments, records and errors are those of `benchmarks.reference.export_run`.
    """
    return sign_all(walk(preload(connection, run_id), run_id, contract_of(connection)), run_id, key, exported_at)


def preload(connection: sa.Connection, run_id: str) -> Children:
    """Read the whole run into memory, and answer for each parent from there."""
    of_run = {
        table: in_order(
            table,
            connection.execute(sa.text(f"SELECT * FROM {table} WHERE run_id = :run_id"), {"run_id": run_id}).mappings(),
        )
        for table in BY_RUN
    }
    of_parent = {}
    for (table, column), query in BY_PARENT.items():
        groups: defaultdict[str, list[Row]] = defaultdict(list)
        for row in connection.execute(sa.text(query), {"run_id": run_id}).mappings():
            groups[row[column]].append(row)
        of_parent[table, column] = groups

    def children(table: str, column: str, value: str) -> list[Row]:
        return of_run[table] if table in of_run else in_order(table, of_parent[table, column].get(value, ()))

    return children


if __name__ == "__main__":
    main(export_run, sys.argv[1:])
