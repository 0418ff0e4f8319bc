"""Which contract a database has: told from its columns, with errors that say what was looked for and found.

Belongs here: `contract.recognise` on column sets, and the same for files that are no audit database.
"""

import sqlite3
from pathlib import Path

import pytest
from support.databases import changing, make_v0, tables_of
from support.pipeline import url

from landscape_assets.contract import (
    CONTRACTS,
    V0,
    V060,
    V070,
    V071,
    V1,
    Contract,
    UnknownContract,
    recognise,
)
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


def columns_of(contract: Contract) -> dict[str, set[str]]:
    """A database that has what a contract reads, and the tables by which the later ones are told apart."""
    found = {name: set(table.columns.keys()) for name, table in contract.metadata.tables.items()}
    if contract in (V060, V070, V071):
        found |= {"run_coordination": {"run_id"}}
    if contract is V071:
        found |= {"coalesce_effects": {"effect_id"}}
    return found


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_each_contract_is_recognised_by_what_it_reads(contract):
    """The columns that a contract reads are enough to tell it, whatever the epoch."""
    for epoch in (None, 0, 2, 99):
        assert recognise(columns_of(contract), epoch) is contract


@pytest.mark.parametrize(
    ("contract", "table", "column", "writer"),
    [
        (V060, "token_outcomes", "completed", "ELSPETH 0.5.0 (epoch 2 to 6)"),
        (V060, "rows", "ingest_sequence", "ELSPETH 0.5.0 to 0.5.5 (epoch 7 to 11)"),
        (V071, "rows", "source_row_index", "ELSPETH 0.5.0 to 0.5.5 (epoch 7 to 11)"),
        (V060, "scheduler_events", None, "a development version of ELSPETH 0.6 (epoch 12 to 15)"),
        (V060, "run_coordination", None, "a development version of ELSPETH 0.6 (epoch 17 to 20)"),
        (V071, "sink_effects", None, "between ELSPETH 0.7.0 and 0.7.1 (epoch 23 to 28)"),
        (V071, "coalesce_effects", None, "between ELSPETH 0.7.0 and 0.7.1 (epoch 23 to 28)"),
        (V071, "token_parents", "run_id", "between ELSPETH 0.7.0 and 0.7.1 (epoch 23 to 28)"),
    ],
)
def test_a_shape_between_releases_is_named(contract, table, column, writer):
    """It is refused by what it lacks, with its epoch, and the message says which releases are supported."""
    columns = columns_of(contract)
    if column is None:
        del columns[table]
    else:
        columns[table].remove(column)
    with pytest.raises(UnknownContract) as refusal:
        recognise(columns, 13)
    supported = (
        "v0 of ELSPETH 0.1",
        "v1 of ELSPETH 0.4",
        "0.6.0 and 0.6.1",
        "v070 of ELSPETH 0.7.0",
        "0.7.1 and 0.7.2",
    )
    for part in (table if column is None else f"{table}.{column}", writer, "Its epoch is 13", *supported):
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
