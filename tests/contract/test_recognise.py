"""Which contract a database has: told from its columns, with errors that say what was looked for and found.

Belongs here: `contract.recognise` on column sets, and the same for files that are no audit database.
"""

import sqlite3
from pathlib import Path

import pytest
from support.databases import changing, make_v0, tables_of
from support.pipeline import url

from landscape_assets.contract import V0, V1, UnknownContract, recognise
from landscape_assets.database import AuditDatabase


@pytest.fixture
def columns(sample_file: Path) -> dict[str, set[str]]:
    """Table → columns of the sample."""
    with changing(sample_file) as connection:
        return {table: set(names) for table, names in tables_of(connection).items()}


def test_the_sample_is_v1(columns):
    """A database with output_data_hash and is_terminal is of v1."""
    assert recognise(columns) is V1


def test_a_database_without_output_data_hash_is_v0(sample):
    """A database without operations.output_data_hash is of v0, opened as such."""
    make_v0(sample)
    with AuditDatabase(url(sample)) as audit:
        assert audit.contract is V0


def test_more_columns_and_tables_do_no_harm(columns):
    """What the contract does not speak of may be there."""
    columns["runs"].add("colour")
    columns["something_else"] = {"a"}
    assert recognise(columns) is V1


@pytest.mark.parametrize(
    ("table", "column", "writer"),
    [
        ("token_outcomes", "path", "ELSPETH 0.6 or later"),
        ("rows", "ingest_sequence", "ELSPETH 0.6 or later"),
        ("artifacts", "sink_effect_id", "ELSPETH 0.7.1 or later"),
    ],
)
def test_a_later_generation_is_named(columns, table, column, writer):
    """A database of a generation that has no contract here is refused by the column that shows it, and says which are
    known."""
    columns[table].add(column)
    with pytest.raises(UnknownContract) as refusal:
        recognise(columns)
    for part in (f"{table}.{column}", writer, "v0 of ELSPETH 0.1", "v1 of ELSPETH 0.4"):
        assert part in str(refusal.value)


@pytest.mark.parametrize("table", V1.tables)
def test_a_missing_table_or_column_is_named(columns, table):
    """A database that lacks one column of v1 fits nothing; the message names the column, or the table."""
    column = V1.tables[table].selected[0]
    columns[table].remove(column)
    with pytest.raises(UnknownContract) as refusal:
        recognise(columns)
    assert f"{table}.{column}" in str(refusal.value)
    del columns[table]
    with pytest.raises(UnknownContract, match=rf"\b{table}\b"):
        recognise(columns)


def test_a_missing_run_id_is_named(columns):
    """The run_id by which rows belong to a run is a column like any other."""
    columns["nodes"].remove("run_id")
    with pytest.raises(UnknownContract, match=r"lacks nodes\.run_id"):
        recognise(columns)


def test_another_application_s_database_is_no_landscape(tmp_path):
    """A SQLite database of something else is refused by what it lacks and what it has."""
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE customers (id INTEGER)")
    connection.execute("CREATE TABLE rows (id INTEGER)")
    connection.commit()
    connection.close()
    with pytest.raises(UnknownContract) as refusal:
        AuditDatabase(url(path))
    assert "no Landscape audit database" in str(refusal.value)
    assert "runs, nodes, tokens, node_states" in str(refusal.value)
    assert "Found: customers, rows" in str(refusal.value)


def test_a_database_without_tables_is_no_landscape(tmp_path):
    """A database in which there is nothing is refused, saying so."""
    path = tmp_path / "empty.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(UnknownContract, match="Found: no table at all"):
        AuditDatabase(url(path))
