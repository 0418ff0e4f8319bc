"""The floor: what no exporter of this kind can be faster than with one thread.

Belongs here: reading the run's rows once, as Arrow record batches with the best connection settings known, and after
that hashing and writing as many bytes as the export's records.jsonl has. Nothing is ordered, encoded or signed, and the
file is not forced to the disk. The database is mapped into memory, so the peak resident size counts its pages. Does not
belong here: anything that makes records.

    python -m benchmarks.floor DATABASE RUN_ID BYTES FILE

prints what it read as one JSON object. Databases are those of `benchmarks.generate` (contract v1, SQLite).
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path

import adbc_driver_sqlite.dbapi

from .fields import FIELDS, ORDER, PARSED

BATCH_ROWS = 65_536
"""Rows of a record batch; the driver's own default of 1,024 is slower."""

PIECE = 1 << 24
"""Bytes that are hashed and written at a time."""

FROM = {
    "run": "runs t WHERE t.run_id = ?",
    "secret_resolution": "secret_resolutions t WHERE t.run_id = ?",
    "node": "nodes t WHERE t.run_id = ?",
    "edge": "edges t WHERE t.run_id = ?",
    "operation": "operations t WHERE t.run_id = ?",
    "row": "rows t WHERE t.run_id = ?",
    "token": "tokens t WHERE t.run_id = ?",
    "token_parent": "token_parents t JOIN tokens k ON k.token_id = t.token_id WHERE k.run_id = ?",
    "token_outcome": "token_outcomes t WHERE t.run_id = ?",
    "node_state": "node_states t WHERE t.run_id = ?",
    # LEFT makes SQLite scan the large table and look up its parents, which is twice as fast as the other way about.
    "routing_event": "routing_events t LEFT JOIN node_states s ON s.state_id = t.state_id WHERE s.run_id = ?",
    "call": "calls t LEFT JOIN node_states s ON s.state_id = t.state_id"
    " LEFT JOIN operations o ON o.operation_id = t.operation_id WHERE COALESCE(s.run_id, o.run_id) = ?",
    "batch": "batches t WHERE t.run_id = ?",
    "batch_member": "batch_members t JOIN batches b ON b.batch_id = t.batch_id WHERE b.run_id = ?",
    "artifact": "artifacts t WHERE t.run_id = ?",
}
"""Where the rows of each record type come from."""


def read(database: Path, run_id: str) -> int:
    """Read all rows of a run that become records, with the columns that these need, and forget them.

    Args:
        database: the SQLite file, which is opened read-only.
        run_id: the run.

    Returns:
        How many rows were read.
    """
    rows = 0
    with (
        adbc_driver_sqlite.dbapi.connect(f"{database.resolve().as_uri()}?mode=ro") as connection,
        connection.cursor() as cursor,
    ):
        for pragma in ("mmap_size = 2147483648", "cache_size = -200000"):
            cursor.execute(f"PRAGMA {pragma}")
            cursor.fetchall()
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
        for record_type, source in FROM.items():
            table = source.split()[0]
            columns = dict.fromkeys((*(PARSED.get(field, field) for field in FIELDS[record_type]), *ORDER[table]))
            cursor.execute(f"SELECT {', '.join(f't.{column}' for column in columns)} FROM {source}", (run_id,))
            for batch in cursor.fetch_record_batch():
                rows += batch.num_rows
    return rows


def write(file: Path, size: int) -> None:
    """Hash and write `size` bytes that do not compress, piece by piece."""
    piece = memoryview(random.Random(0).randbytes(PIECE))
    digest = hashlib.sha256()
    with file.open("wb", buffering=0) as out:
        for start in range(0, size, PIECE):
            part = piece[: min(PIECE, size - start)]
            digest.update(part)
            out.write(part)


if __name__ == "__main__":
    database, run_id, size, file = sys.argv[1:]
    rows = read(Path(database), run_id)
    write(Path(file), int(size))
    print(json.dumps({"record_count": rows, "statements": len(FROM)}))
