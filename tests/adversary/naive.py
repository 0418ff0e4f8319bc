"""What a package must hold, from a reader that reads whole tables and sorts them in Python.

Belongs here: reading tables with `sqlite3` alone, and the comparison of a package, byte for byte, with what the naive
reference (`benchmarks/reference.py`) and the naive package writer (`../verify/build.py`) make of them. Neither shares
anything with the exporter. Does not belong here: what is exported.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import rfc8785
from verify import build

from benchmarks import reference
from benchmarks.fields import FIELDS, ORDER, PARSED, TIMES

Tables = Mapping[str, list[dict[str, Any]]]
"""Table → its rows."""

INTEGERS = ("call_index", "row_index", "step_in_pipeline", "ordinal", "step_index", "attempt", "size_bytes",
            "sequence_in_pipeline")  # fmt: skip
FLOATS = ("timestamp", "resolution_latency_ms", "duration_ms", "latency_ms")


def read_tables(path: Path) -> Tables:
    """All rows of a SQLite audit database, by full scans of its tables.

    Raises:
        sqlite3.Error: SQLite cannot read one.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return tables_of(connection)


def tables_of(connection: sqlite3.Connection) -> Tables:
    """The same of an open connection."""
    connection.row_factory = sqlite3.Row
    return {table: [dict(row) for row in connection.execute(f"SELECT * FROM {table} NOT INDEXED")] for table in ORDER}


def contract_of(tables: Mapping[str, list[dict[str, Any]]]) -> str:
    """The contract that the columns tell; v1 where no run has an operation, which is for the caller to know better."""
    operations = tables["operations"]
    return "v0" if operations and "output_data_hash" not in operations[0] else "v1"


def records_of(tables: Tables, run_id: str, contract: str) -> list[dict[str, Any]]:
    """The data records of a run, unsigned, in the contract's order."""
    return list(reference.walk(_children(tables), run_id, contract))


def _children(tables: Tables) -> reference.Children:
    known: dict[tuple[str, str], dict[Any, list[dict[str, Any]]]] = {}

    def children(table: str, column: str, value: str) -> list[dict[str, Any]]:
        if (table, column) not in known:
            by_value = known[table, column] = defaultdict(list)
            for row in tables[table]:
                by_value[row[column]].append(row)
        return reference.in_order(table, known[table, column].get(value, ()))

    return children


def folder_name(run_id: str) -> str:
    """The name of a run's package (docs/package.md)."""
    name = build.folder_name(run_id)
    if len(name) <= 200:
        return name
    kept = name[:120]
    if "%" in kept[-2:]:
        kept = kept[: kept.rindex("%")]
    return f"{kept}%~{hashlib.sha256(run_id.encode()).hexdigest()}"


def difference(
    package: Path, records: list[dict[str, Any]], contract: str, formats: tuple[str, ...], key: bytes | None
) -> str | None:
    """How a package differs from what it must be; None when it does not.

    Every file is compared byte for byte, the manifest too, but for VERIFY.md, of which the verifier judges, and Parquet
    files, whose values and types are compared.

    Args:
        package: its folder.
        records: the data records that it must hold, unsigned.
        contract: `v0` or `v1`.
        formats: those that were asked for.
        key: the signing key; None for an unsigned package.
    """
    there = {str(path.relative_to(package)): path for path in package.rglob("*") if path.is_file()}
    if "manifest.json" not in there:
        return "there is no manifest.json"
    said = json.loads(there["manifest.json"].read_bytes())
    exported_at = said["exported_at"]
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", exported_at):
        return f"exported_at is {exported_at!r}"
    files, manifest = build.contents(
        [dict(record) for record in records],
        key,
        formats,
        contract,
        final=lambda last: last.update(exported_at=exported_at),
        version=2,
    )
    names = {*files, "manifest.json"}
    if names != set(there):
        return f"the files are not those that must be there: {sorted(names ^ set(there))}"
    signed = [dict(record, **({} if key is None else build.sign(record, key))) for record in records]
    for name in files:
        if name.endswith(".parquet"):
            of_type = [record for record in signed if record["record_type"] == Path(name).stem]
            if wrong := _parquet_difference(there[name], of_type, contract):
                return f"{name}: {wrong}"
        if name.endswith((".parquet", ".md")):
            files[name] = there[name].read_bytes()
    manifest["exported_at"] = exported_at
    manifest["exporter"] = {"name": "landscape-assets", "version": version("landscape-assets")}
    build.list_files(manifest, files)
    files["manifest.json"] = build.seal(manifest, key)
    for name, content in files.items():
        if (found := there[name].read_bytes()) != content:
            return f"{name}: {_first_difference(found, content)}"
    return None


def _first_difference(found: bytes, wanted: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), min(len(found), len(wanted)))
    near = slice(max(0, at - 60), at + 60)
    return f"at byte {at} of {len(found)} is {found[near]!r}, and must be {wanted[near]!r}"


def _parquet_difference(path: Path, records: list[dict[str, Any]], contract: str) -> str | None:
    table = pq.read_table(path)
    metadata = pq.ParquetFile(path).metadata.metadata
    first = records[0]
    said = [metadata[b"landscape." + name].decode() for name in (b"run_id", b"contract", b"record_type")]
    if said != [first["run_id"], contract, first["record_type"]]:
        return f"the metadata are {said}"
    fields = [name for name in ("record_type", "run_id", *FIELDS[first["record_type"]], "signature") if name in first]
    if table.column_names != fields:
        return f"the columns are {table.column_names}"
    zone = "UTC" if any(str(first.get(name)).endswith("+00:00") for name in TIMES) else None
    for name in fields:
        kind = table.schema.field(name).type
        wanted = (
            pa.timestamp("us", zone) if name in TIMES else pa.int64() if name in INTEGERS
            else pa.float64() if name in FLOATS else pa.bool_() if name == "is_terminal" else None
        )  # fmt: skip
        if kind != wanted if wanted is not None else not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return f"column {name} is of type {kind}"
    if table.num_rows != len(records):
        return f"there are {table.num_rows} rows for {len(records)} records"
    for number, (row, record) in enumerate(zip(table.to_pylist(), records, strict=True)):
        for name in fields:
            meant = record[name]
            if name in PARSED and meant is not None:
                meant = rfc8785.dumps(meant).decode()
            found = row[name].isoformat() if row[name] is not None and name in TIMES else row[name]
            if found != meant:
                return f"row {number}, column {name} is {found!r}, and must be {meant!r}"
    return None
