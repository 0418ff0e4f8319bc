"""Values on PostgreSQL: what only PostgreSQL can hold is refused or read, and every type that ELSPETH's tables have is
read.

Belongs here: one value at a time. Does not belong here: whole databases (`test_conformance.py`), damage that SQLite can
hold too (`../cli/test_corrupt_runs.py`)."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from support.databases import changing, empty_database, insert_copy, rows_of_sample
from support.offset import with_offset
from support.pipeline import make_records, rows_of, texts
from support.sample_v1 import COMPLETED_RUN
from support.server import Audit

from landscape_assets.database import AuditDatabase
from landscape_assets.errors import CorruptTable, DatabaseError

KEYS = {
    "runs": ("run_id",), "secret_resolutions": ("resolution_id",), "nodes": ("node_id",), "edges": ("edge_id",),
    "operations": ("operation_id",), "calls": ("call_id",), "rows": ("row_id",), "tokens": ("token_id",),
    "token_parents": ("token_id", "parent_token_id"), "token_outcomes": ("outcome_id",), "node_states": ("state_id",),
    "routing_events": ("event_id",), "batches": ("batch_id",), "batch_members": ("batch_id", "token_id"),
    "artifacts": ("artifact_id",),
}  # fmt: skip
"""By which columns a row is found."""


def refusal(database: Path | str, folder: Path) -> str:
    with pytest.raises(CorruptTable) as refused:
        make_records(database, COMPLETED_RUN, folder)
    return str(refused.value)


@pytest.mark.parametrize(
    ("table", "column", "value", "found"),
    [
        ("edges", "created_at", "'infinity'", "'infinity', which is not a time"),
        ("node_states", "started_at", "'-infinity'", "'-infinity', which is not a time"),
        ("runs", "completed_at", "'10000-01-01'", "'a time beyond the years 1 to 9999', which is not a time"),
        ("tokens", "created_at", "'294276-12-31'", "'a time beyond the years 1 to 9999', which is not a time"),
        ("batches", "created_at", "'0044-03-15 BC'", "'a time beyond the years 1 to 9999', which is not a time"),
        ("calls", "latency_ms", "'NaN'", "nan, which is not finite"),
        ("secret_resolutions", "timestamp", "'Infinity'", "inf, which is not finite"),
        ("operations", "duration_ms", "'-Infinity'", "-inf, which is not finite"),
    ],
)
def test_values_that_only_postgresql_holds_are_refused(audit, tmp_path, table, column, value, found):
    """Infinite times, times that no record can hold, numbers that are none."""
    key = KEYS[table][0]
    of_the_run = f"{key} LIKE 'c1103-%'" if table != "runs" else f"run_id = '{COMPLETED_RUN}'"
    chosen = f"SELECT ctid FROM {table} WHERE {column} IS NOT NULL AND {of_the_run} LIMIT 1"
    ((name,),) = audit.execute(f"UPDATE {table} SET {column} = {value} WHERE ctid = ({chosen}) RETURNING {key}")
    said = refusal(audit.url, tmp_path)
    assert said.startswith(f"Corrupt audit data: table {table}, ")
    assert f"{name!r}" in said
    assert f", column {column}: found {found}" in said


@pytest.mark.parametrize(
    "instant", ["0001-01-01 00:00:00+00", "1969-12-31 23:59:59.999999+00", "9999-12-31 23:59:59.999999+00"]
)
def test_the_first_and_the_last_time_are_read(audit, tmp_path, instant):
    """Years 1 to 9999, before 1970 too."""
    audit.execute(f"UPDATE artifacts SET created_at = '{instant}'", f"UPDATE operations SET started_at = '{instant}'")
    expected = instant.replace(" ", "T").replace("+00", "+00:00")
    operations = [
        text for text in texts(make_records(audit.url, COMPLETED_RUN, tmp_path)) if '"record_type":"operation"' in text
    ]
    assert operations and all(f'"started_at":"{expected}"' in text for text in operations)


def test_an_instant_is_exported_in_utc_whatever_the_time_zones(audit, tmp_path):
    """Server, database and role may say another zone; a time of another offset is the same instant."""
    before = texts(make_records(audit.url, COMPLETED_RUN, tmp_path / "before"))
    audit.execute(
        f"ALTER DATABASE {audit.name} SET timezone TO 'Asia/Kathmandu'",
        f"ALTER DATABASE {audit.name} SET datestyle TO 'German'",
    )
    assert texts(make_records(audit.url, COMPLETED_RUN, tmp_path / "after")) == before
    with AuditDatabase(audit.url) as database:
        assert database.runs[COMPLETED_RUN].started_at.startswith("2026-")


def test_other_widths_and_a_boolean_are_read(audit, sample_copy, tmp_path):
    """SMALLINT and BIGINT for INTEGER, TEXT and CHAR for VARCHAR, and BOOLEAN for is_terminal give the same records."""
    audit.execute(
        "DROP INDEX ix_token_outcomes_terminal_unique",
        "ALTER TABLE token_outcomes ALTER COLUMN is_terminal TYPE boolean USING is_terminal = 1",
        "ALTER TABLE node_states ALTER COLUMN attempt TYPE smallint, ALTER COLUMN step_index TYPE bigint",
        "ALTER TABLE rows ALTER COLUMN row_index TYPE bigint, ALTER COLUMN row_id TYPE text",
        "ALTER TABLE secret_resolutions ALTER COLUMN fingerprint TYPE char(64)",
    )
    made = texts(make_records(audit.url, COMPLETED_RUN, tmp_path / "other"))
    assert made == texts(make_records(sample_copy.url, COMPLETED_RUN, tmp_path / "usual"))


@pytest.mark.parametrize(
    ("table", "column", "given", "wanted"),
    [
        ("runs", "started_at", "timestamp", "timestamp with time zone"),
        ("calls", "latency_ms", "float4", "double precision"),
        ("calls", "latency_ms", "numeric", "double precision"),
        ("nodes", "config_json", "jsonb", "text"),
        ("rows", "row_index", "float8", "integer"),
    ],
)
def test_a_column_of_another_type_is_refused(audit, tmp_path, table, column, given, wanted):
    """A type that does not keep a value as the contract has it is refused, and not converted on a guess."""
    audit.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {given} USING {column}::{given}")
    with pytest.raises(
        DatabaseError, match=f"Column {column} of table {table} .* of the type {given}, .* keeps it as {wanted}"
    ):
        make_records(audit.url, COMPLETED_RUN, tmp_path)


HOSTILE = [
    "a'b", 'a"b', "a\\b", "%s %(x)s %%", "$1 :run_id", "'; DROP TABLE runs; --", "current_setting('x')", " ", "\n\t\r",
    "../x", "日本語 💥", "e\u0301", "é", "A", "a", "NULL", "0", "x" * 64,
]  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, copied) -> tuple[Path, Audit]:
    """The sample's completed run under each of the hostile names."""
    path = tmp_path_factory.mktemp("hostile") / "landscape.db"
    empty_database(path)
    original = rows_of_sample(COMPLETED_RUN)
    with changing(path) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for number, run_id in enumerate(HOSTILE):
            insert_copy(connection, original, run_id, f"{number}/", timedelta(days=number))
    return path, copied(path)


def test_any_run_id_is_data(hostile, tmp_path):
    """A run_id is never part of a statement; each gives the rows of its own run and no other's."""
    path, audit = hostile
    with AuditDatabase(audit.url) as on_postgresql, AuditDatabase(f"sqlite:///{path}") as on_sqlite:
        assert set(on_postgresql.runs) == set(HOSTILE)
        for number, run_id in enumerate(HOSTILE):
            assert on_postgresql.count(run_id) == on_sqlite.count(run_id)
            for name in ("rows", "tokens", "token_parents", "calls"):
                table = pa.Table.from_batches(rows_of(on_postgresql, name, run_id))
                assert len(table) == on_sqlite.count(run_id)[name]
                assert all(value.startswith(f"{number}/") for value in table.column(0).to_pylist())


@pytest.mark.parametrize("run_id", HOSTILE[5:7], ids=repr)
def test_records_of_a_hostile_run_id(hostile, tmp_path, run_id):
    """They are those of SQLite."""
    path, audit = hostile
    on_sqlite = texts(make_records(path, run_id, tmp_path / "sqlite"))
    assert texts(make_records(audit.url, run_id, tmp_path / "postgresql")) == list(map(with_offset, on_sqlite))
