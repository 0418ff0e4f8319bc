"""The tests' sample of contract v1: that it is whole, keeps every rule of the contract, and shows everything that it
promises.

Belongs here: what holds for its content and for writing it. Does not belong here: exporting it with the product.
"""

import re
import sqlite3
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.databases import schema_facts
from support.sample_v1 import (
    COMPLETED_RUN,
    FAILED_RUN,
    RUNNING_RUN,
    insert_rows,
    sample_tables,
    schema_sql,
    write_sample,
)

from benchmarks import reference
from landscape_assets.contract import V1, Kind, recognise
from landscape_assets.contract.rules import AtMostOne, ExactlyOne, StatusRule

RUNS = (COMPLETED_RUN, FAILED_RUN, RUNNING_RUN)
CONFORMANCE_DATABASE = Path(__file__).parents[1] / "data" / "conformance" / "s12.db"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "folder" / "sample.db"
    write_sample(path)
    return path


@pytest.fixture(scope="module")
def connection(database):
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def records(database):
    with sa.create_engine(f"sqlite:///{database}").connect() as connection:
        return {run: list(reference.export_run(connection, run, None)) for run in RUNS}


def test_the_tables_are_those_of_a_real_database(connection):
    real = sqlite3.connect(f"{CONFORMANCE_DATABASE.as_uri()}?mode=ro", uri=True)
    assert schema_facts(connection) == schema_facts(real)
    assert len(schema_facts(connection)) == 20
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 2
    real.close()


def test_it_is_recognised_as_v1(connection):
    columns = {table: {column[1] for column in facts[0]} for table, facts in schema_facts(connection).items()}
    assert recognise(columns) is V1


def test_sqlite_finds_it_sound(connection):
    assert connection.execute("PRAGMA integrity_check").fetchall()[0][0] == "ok"
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize("table", V1.tables.values(), ids=V1.tables)
def test_every_value_keeps_the_rules_of_its_column(connection, table):
    rows = connection.execute(f"SELECT * FROM {table.name}").fetchall()
    assert rows
    for row in rows:
        for column in table.columns:
            value = row[column.name]
            where = f"{table.name}.{column.name} = {value!r}"
            if value is None:
                assert not column.required, where
                continue
            if column.values:
                assert value in column.values, where
            if column.not_empty:
                assert value != "", where
            if column.pattern:
                assert re.fullmatch(column.pattern, value), where
            if column.minimum is not None:
                assert value >= column.minimum, where
            if column.kind is Kind.TIME:
                assert datetime.fromisoformat(value).strftime("%Y-%m-%d %H:%M:%S.%f") == value, where
            if column.kind is Kind.FLOAT:
                assert isinstance(value, float), where
            if column.kind in (Kind.INTEGER, Kind.BOOLEAN):
                assert isinstance(value, int), where


@pytest.mark.parametrize("table", V1.tables.values(), ids=V1.tables)
def test_every_table_keeps_its_rules(connection, table):
    rows = connection.execute(f"SELECT * FROM {table.name}").fetchall()
    for rule in table.rules:
        match rule:
            case StatusRule():
                for row in rows:
                    if row[rule.column] in rule.values:
                        assert all(row[name] is not None for name in rule.required), dict(row)
                        assert all(row[name] is None for name in rule.forbidden), dict(row)
                        assert all(row[name] == value for name, value in rule.equals), dict(row)
            case ExactlyOne():
                assert all(sum(row[name] is not None for name in rule.columns) == 1 for row in rows)
            case AtMostOne():
                counts = Counter(row[rule.per] for row in rows if row[rule.column] == rule.value)
                assert all(count == 1 for count in counts.values())


def test_every_row_becomes_a_record(connection, records):
    """No row is lost by a parent that is missing, or that belongs to another run."""
    found = Counter(record["record_type"] for run in RUNS for record in records[run])
    stored = {
        table.record_type: connection.execute(f"SELECT COUNT(*) FROM {table.name}").fetchone()[0]
        for table in V1.tables.values()
    }
    assert found == stored


def test_the_completed_run_shows_everything(records):
    run = records[COMPLETED_RUN]

    def seen(record_type: str, field: str) -> set:
        return {record[field] for record in run if record["record_type"] == record_type}

    assert {record["record_type"] for record in run} == set(V1.record_types)
    for record_type, field in (
        ("token_outcome", "outcome"),
        ("node_state", "status"),
        ("node", "node_type"),
        ("node", "determinism"),
        ("routing_event", "mode"),
        ("call", "call_type"),
        ("call", "status"),
        ("operation", "operation_type"),
    ):
        assert seen(record_type, field) == set(V1.record_types[record_type].column(field).values)
    assert seen("operation", "status") == {"completed", "failed", "pending"}
    assert max(seen("node_state", "attempt")) == 2
    assert {bool(operation) for operation in seen("call", "operation_id")} == {True, False}
    for group in ("fork_group_id", "join_group_id", "expand_group_id"):
        assert len(seen("token", group) - {None}) >= 1
    assert any(reason and reason.startswith("=") for reason in seen("batch", "trigger_reason"))
    assert "" in seen("batch", "trigger_reason")
    assert any("." not in time for time in seen("run", "started_at"))
    text = "".join(str(record) for record in run)
    for kind in ("é", "ü", "日本語", "中文", "🔥"):
        assert kind in text
    assert 100 <= len(run) <= 220


def test_the_runs_are_completed_failed_and_running(records):
    ends = {run: (records[run][0]["status"], records[run][0]["completed_at"] is None) for run in RUNS}
    assert ends == {COMPLETED_RUN: ("completed", False), FAILED_RUN: ("failed", False), RUNNING_RUN: ("running", True)}
    open_operations = [
        record for record in records[RUNNING_RUN] if record.get("operation_type") and record["status"] == "open"
    ]
    assert len(open_operations) == 1


def test_the_same_content_every_time(database, tmp_path):
    again = tmp_path / "again.db"
    write_sample(again)
    first, second = (sqlite3.connect(path) for path in (database, again))
    assert list(first.iterdump()) == list(second.iterdump())
    first.close()
    second.close()


def test_an_existing_file_is_left_as_it_is(tmp_path):
    path = tmp_path / "sample.db"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="not overwritten"):
        write_sample(path)
    assert path.read_bytes() == b"mine"


def test_nothing_is_left_when_it_fails(tmp_path, monkeypatch):
    broken = {
        "tokens": [{"token_id": "t", "row_id": "nowhere", "run_id": "r", "created_at": "2026-11-03 00:00:00.000000"}]
    }
    monkeypatch.setattr("support.sample_v1.sample_tables", lambda: broken)
    with pytest.raises(sqlite3.IntegrityError):
        write_sample(tmp_path / "sample.db")
    assert list(tmp_path.iterdir()) == []


def test_rows_go_into_tables_with_nulls_for_what_they_do_not_mention():
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema_sql())
    insert_rows(connection, "runs", sample_tables()["runs"])
    assert connection.execute("SELECT COUNT(*) FROM runs WHERE export_status IS NULL").fetchone()[0] == 3
    connection.close()
