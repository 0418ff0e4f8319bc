"""The naive reference exporter: one query per entity, one canonical form and one signature per record.

Belongs here: the record contract said a second time, in plain Python, so that it can be believed at sight: the order of
records, how a value is written, how a record is signed (`fields.py` lists the fields). It is the oracle of the
project's tests and the slowest contender of the benchmark, and uses nothing of `landscape_assets`. Does not belong
here: speed, and checks for corruption (contract notes, section 4): the run is taken to be valid.

    python -m benchmarks.reference DATABASE_URL RUN_ID FILE

writes a signed export as JSON Lines, with the key in LANDSCAPE_SIGNING_KEY, and prints what it did as one JSON object.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import rfc8785
import sqlalchemy as sa

from .fields import FIELDS, NOT_IN_V0, ORDER, PARSED, TIMES

Record = dict[str, Any]
Row = Mapping[str, Any] | sa.RowMapping
Children = Callable[[str, str, str], list[Row]]
"""`children(table, column, id)`: the rows of the table whose column holds the id, in the contract's order."""


def export_run(
    connection: sa.Connection, run_id: str, key: bytes | None, *, exported_at: datetime | None = None
) -> Iterator[Record]:
    """All records of one run, in order, read with one query per entity.

    Args:
        connection: to an audit database of contract v0 or v1, of any kind that SQLAlchemy knows.
        run_id: the run.
        key: signs every record, and adds the manifest record at the end; None leaves both out.
        exported_at: the manifest's time, with an offset; the time at which the manifest is made when None.

    Raises:
        LookupError: the database has no such run.
        ValueError: the key is blank.
    """
    return sign_all(walk(query_children(connection), run_id, contract_of(connection)), run_id, key, exported_at)


def query_children(connection: sa.Connection) -> Children:
    """Each parent's children by a query of their own, as the exporter of the bug reports read them."""

    def children(table: str, column: str, value: str) -> list[Row]:
        found = connection.execute(sa.text(f"SELECT * FROM {table} WHERE {column} = :value"), {"value": value})
        return in_order(table, found.mappings())

    return children


def contract_of(connection: sa.Connection) -> str:
    """The contract that a database keeps, `v0` or `v1`, told by the column that the contract notes name."""
    columns = connection.execute(sa.text("SELECT * FROM operations WHERE 1 = 0")).keys()
    return "v1" if "output_data_hash" in columns else "v0"


def walk(children: Children, run_id: str, contract: str) -> Iterator[Record]:
    """The data records of a run in the contract's order (section 2), unsigned.

    Args:
        children: where rows come from.
        run_id: the run.
        contract: `v0` or `v1`.

    Raises:
        LookupError: there is no such run.
    """

    def record(record_type: str, row: Row) -> Record:
        return to_record(record_type, row, run_id, contract)

    runs = children("runs", "run_id", run_id)
    if not runs:
        raise LookupError(f"no run {run_id!r} in this database")
    yield record("run", runs[0])
    for secret in children("secret_resolutions", "run_id", run_id):
        yield record("secret_resolution", secret)
    for node in children("nodes", "run_id", run_id):
        yield record("node", node)
    for edge in children("edges", "run_id", run_id):
        yield record("edge", edge)
    for operation in children("operations", "run_id", run_id):
        yield record("operation", operation)
        for call in children("calls", "operation_id", operation["operation_id"]):
            yield record("call", call)
    for row in children("rows", "run_id", run_id):
        yield record("row", row)
        for token in children("tokens", "row_id", row["row_id"]):
            yield record("token", token)
            for parent in children("token_parents", "token_id", token["token_id"]):
                yield record("token_parent", parent)
            if contract != "v0":
                for outcome in children("token_outcomes", "token_id", token["token_id"]):
                    yield record("token_outcome", outcome)
            for state in children("node_states", "token_id", token["token_id"]):
                yield record("node_state", state)
                for event in children("routing_events", "state_id", state["state_id"]):
                    yield record("routing_event", event)
                for call in children("calls", "state_id", state["state_id"]):
                    yield record("call", call)
    for batch in children("batches", "run_id", run_id):
        yield record("batch", batch)
        for member in children("batch_members", "batch_id", batch["batch_id"]):
            yield record("batch_member", member)
    for artifact in children("artifacts", "run_id", run_id):
        yield record("artifact", artifact)


def to_record(record_type: str, row: Row, run_id: str, contract: str) -> Record:
    """The record that a table's row becomes under a contract, fields in emission order."""
    record: Record = {"record_type": record_type, "run_id": run_id}
    for field in FIELDS[record_type]:
        if contract != "v0" or (record_type, field) not in NOT_IN_V0:
            record[field] = to_value(field, row[PARSED.get(field, field)])
    return record


def to_value(field: str, stored: Any) -> Any:
    """A field's value for what the database returned."""
    if stored is None:
        return None
    if field in PARSED:
        return json.loads(stored)
    if field in TIMES:
        return to_time(stored).isoformat()
    if field == "is_terminal":
        return bool(stored)
    return stored


def to_time(stored: str | datetime) -> datetime:
    """The time that the database returned: text from SQLite, an instant from PostgreSQL, which is given in UTC."""
    time = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return time if time.tzinfo is None else time.astimezone(UTC)


def in_order(table: str, rows: Iterable[Row]) -> list[Row]:
    """The rows in the contract's order: numbers as numbers, times as times, text as UTF-8 bytes, nulls last."""

    def sort_key(row: Row) -> list[tuple[bool, Any]]:
        return [(row[column] is None, comparable(column, row[column])) for column in ORDER[table]]

    return sorted(rows, key=sort_key)


def comparable(column: str, stored: Any) -> Any:
    """What a stored value compares by; nothing for a null, which only compares with other nulls."""
    if stored is None:
        return ()
    if column in TIMES:
        return to_time(stored)
    return stored.encode() if isinstance(stored, str) else stored


def sign_all(
    records: Iterable[Record], run_id: str, key: bytes | None, exported_at: datetime | None = None
) -> Iterator[Record]:
    """The same records, each with its signature, and the manifest record after them (contract notes, section 3).

    Args:
        records: all data records of the run, in order.
        run_id: the run.
        key: the signing key; None passes the records through as they are, with no manifest.
        exported_at: the manifest's time, with an offset; now when None.

    Raises:
        ValueError: the key is blank.
    """
    if key is None:
        yield from records
        return
    if not key.strip():
        raise ValueError("the signing key is blank")
    running_hash = hashlib.sha256()
    count = 0
    for record in records:
        record["signature"] = signature(record, key)
        running_hash.update(record["signature"].encode())
        count += 1
        yield record
    manifest: Record = {
        "record_type": "manifest",
        "run_id": run_id,
        "record_count": count,
        "final_hash": running_hash.hexdigest(),
        "hash_algorithm": "sha256",
        "signature_algorithm": "hmac-sha256",
        "exported_at": (exported_at or datetime.now(UTC)).isoformat(),
    }
    manifest["signature"] = signature(manifest, key)
    yield manifest


def signature(record: Record, key: bytes) -> str:
    """Hex HMAC-SHA256 of the canonical form of a record that has no signature yet."""
    return hmac.new(key, rfc8785.dumps(record), hashlib.sha256).hexdigest()


def final_hash(records: Iterable[Record]) -> str:
    """The chain over data records, a manifest record left aside: SHA-256 over their concatenated links, in hex.

    A signed record's link is its signature; an unsigned one's is the hex SHA-256 of its canonical form.
    """
    running_hash = hashlib.sha256()
    for record in records:
        if record["record_type"] != "manifest":
            link = record.get("signature") or hashlib.sha256(rfc8785.dumps(record)).hexdigest()
            running_hash.update(link.encode())
    return running_hash.hexdigest()


def main(export: Callable[[sa.Connection, str, bytes], Iterator[Record]], arguments: list[str]) -> None:
    """Write a signed export to a file as JSON Lines, and print its record count, final hash and statements as JSON.

    Args:
        export: the exporter, as `export_run`.
        arguments: database URL, run id, file.
    """
    url, run_id, file = arguments
    key = os.environ["LANDSCAPE_SIGNING_KEY"].encode()
    engine = sa.create_engine(url)
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *event: statements.append(event[2]))
    record: Record = {}
    with engine.connect() as connection, open(file, "w", encoding="utf-8") as lines:
        for record in export(connection, run_id, key):
            lines.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
    done = {name: record[name] for name in ("record_count", "final_hash")}
    print(json.dumps(done | {"statements": len(statements)}))


if __name__ == "__main__":
    main(export_run, sys.argv[1:])
