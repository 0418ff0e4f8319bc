"""What comes out of a table: declared types whatever is stored, one statement, and every row that is the run's.

Belongs here: `AuditDatabase.read`. Does not belong here: what is refused (`../cli/test_corrupt_runs.py`).
"""

import datetime
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
import sqlalchemy as sa
from support.databases import changing, empty_database, insert_copy, make_v0, rows_of_sample
from support.pipeline import read as read_table
from support.pipeline import rows_of, url
from support.sample_v1 import COMPLETED_RUN, insert_rows

from benchmarks.generate import generate
from landscape_assets.contract import V1
from landscape_assets.database import RUN, AuditDatabase
from landscape_assets.database.schemas import arrow_schema
from landscape_assets.database.statements import display, select_runs
from landscape_assets.database.tables import load_tables
from landscape_assets.errors import CorruptTable


def read(path, table, *run_ids, by_scan=None) -> pa.Table:
    with TemporaryDirectory() as folder:
        return read_table(path, table, *(run_ids or (COMPLETED_RUN,)), folder=Path(folder), by_scan=by_scan)


def schema_of(table: str) -> pa.Schema:
    """The declared types of a table's rows, and the run."""
    return arrow_schema(V1.tables[table]).append(pa.field(RUN, pa.uint32()))


@pytest.mark.parametrize("table", V1.tables)
def test_an_empty_table_has_the_declared_types(tmp_path, table):
    """A table without rows comes out with every column and its declared type."""
    path = tmp_path / "empty.db"
    empty_database(path)
    with AuditDatabase(url(path)) as audit:
        found = pa.Table.from_batches(list(rows_of(audit, table, "r")), schema_of(table))
    assert found.num_rows == 0
    assert found.schema == schema_of(table)


def calls(path, rows):
    """A database with a run, a state and these calls of it."""
    empty_database(path, constraints=False)
    with changing(path) as connection:
        insert_copy(connection, rows_of_sample(COMPLETED_RUN), "r", "r/", timedelta())
        connection.execute("DELETE FROM calls")
        (state,) = connection.execute("SELECT min(state_id) FROM node_states").fetchone()
        base = {
            "state_id": state,
            "call_type": "llm",
            "status": "success",
            "request_hash": "h",
            "created_at": "2026-01-01 00:00:00.000000",
        }
        insert_rows(
            connection, "calls", ({"call_id": f"c{i:06}", "call_index": i, **base, **row} for i, row in enumerate(rows))
        )


@pytest.mark.parametrize("before", [0, 1, 1023, 1024, 16_383, 16_384, 40_000])
def test_late_values_after_many_nulls_have_the_declared_type(tmp_path, before):
    """A column of nulls in which text, or a number, turns up late keeps its type: it is declared and not guessed."""
    path = tmp_path / "late.db"
    calls(path, [{}] * before + [{"response_hash": "late", "latency_ms": 5}])
    found = read(path, "calls", "r").sort_by("call_index")
    assert found.schema == schema_of("calls")
    assert found.num_rows == before + 1
    assert found["response_hash"].null_count == found["latency_ms"].null_count == before
    assert (found["response_hash"][before].as_py(), found["latency_ms"][before].as_py()) == ("late", 5.0)
    assert found["error_json"].null_count == before + 1


def test_integers_in_a_real_column_are_floats(tmp_path):
    """An integer stored in a REAL column, or in one without affinity, is the float of its value."""
    path = tmp_path / "reals.db"
    calls(path, [{"latency_ms": 5}, {"latency_ms": 0.25}, {"latency_ms": 2**53}, {"latency_ms": None}])
    with changing(path) as connection:
        connection.execute(
            "CREATE TABLE plain (latency_ms, call_id, call_index, state_id, operation_id, call_type, status, "
            "request_hash, response_hash, request_ref, response_ref, error_json, created_at)"
        )
        connection.execute(
            "INSERT INTO plain SELECT CAST(latency_ms AS INTEGER), call_id, call_index, state_id, operation_id, "
            "call_type, status, request_hash, response_hash, request_ref, response_ref, error_json, created_at "
            "FROM calls"
        )
    assert read(path, "calls", "r").sort_by("call_index")["latency_ms"].to_pylist() == [5.0, 0.25, 2.0**53, None]
    with changing(path) as connection:
        connection.execute("DROP TABLE calls")
        connection.execute("ALTER TABLE plain RENAME TO calls")
    assert read(path, "calls", "r").sort_by("call_index")["latency_ms"].to_pylist() == [5.0, 0.0, 2.0**53, None]


def test_times_and_booleans_have_their_types(sample):
    """Times come as timestamps in microseconds without a zone, is_terminal as a boolean."""
    outcomes = read(sample, "token_outcomes")
    assert outcomes.schema.field("recorded_at").type == pa.timestamp("us")
    assert outcomes.schema.field("is_terminal").type == pa.bool_()
    assert set(outcomes["is_terminal"].to_pylist()) == {True, False}
    (run,) = read(sample, "runs").to_pylist()
    assert run["started_at"] == datetime.datetime(2026, 11, 3, 6, 0)


def sent(path, *run_ids) -> list[str]:
    """The statements that loading the tables of runs sends, the opening included."""
    statements = []

    def listen(connection, cursor, statement, parameters, *_):
        statements.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    try:
        read(path, "runs", *run_ids)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", listen)
    return statements


def test_statements_do_not_depend_on_the_size_of_the_run(tmp_path):
    """A run of 10 rows, one of 5,000 and both take as many statements: one a table, and a constant number besides. The
    runs are bound
    parameters, and no part of a statement."""
    path = tmp_path / "landscape.db"
    odd = "small'); --"
    generate(path, 10, odd, states=2, calls=1)
    generate(path, 5_000, "large", states=2, calls=1)
    for run_ids in ((odd,), ("large",), (odd, "large")):
        statements = sent(path, *run_ids)
        for table in V1.tables.values():
            texts = [text.replace("\n", " ") for text, _ in statements if "count(*)" not in text]
            reading = [text for text in texts if f" FROM {table.name} AS t" in text]
            assert len(reading) == 1, table.name
        assert len(statements) <= len(V1.tables) + 9
        assert not any(odd in text or "large" in text for text, _ in statements)


def test_a_small_run_is_read_by_index_and_a_large_one_by_scan(tmp_path):
    """The way is chosen by the share that the runs have of the rows; the statement that people are shown says which."""
    path = tmp_path / "landscape.db"
    generate(path, 10, "small", states=2, calls=1)
    generate(path, 500, "large", states=2, calls=1)
    for run_ids, word in ((["small"], "by index"), (["large"], "a scan"), (["small", "large"], "a scan")):
        folder = tmp_path / "-".join(run_ids)
        folder.mkdir()
        tables = load_tables(url(path), run_ids, lambda name, folder=folder: folder / name).tables
        assert all(word in (tables[name].statement or "") for name in V1.tables), run_ids


def test_rows_found_by_index_are_found_by_the_indexes_of_the_schema(tmp_path):
    """SQLite looks up every table of a small run, and scans none."""
    path = tmp_path / "landscape.db"
    generate(path, 50, "run", states=2, calls=1)
    with changing(path) as connection:
        for table in V1.tables.values():
            text = display(select_runs(V1, table)).replace(":run_ids", "'run'")
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
            assert not [step for step in plan if step.startswith("SCAN")], (table.name, plan)


@pytest.mark.parametrize("by_scan", [True, False])
def test_another_run_s_damage_does_not_stop_a_run_in_the_middle(tmp_path, by_scan):
    """Rows of another run that cannot be read are met after thousands of this one's: each of these is given once."""
    path = tmp_path / "landscape.db"
    generate(path, 3_000, "before", states=2, calls=2)
    generate(path, 10, "damaged", states=1, calls=2)
    generate(path, 3_000, "after", states=2, calls=2)
    wanted = {run: read(path, "calls", run).sort_by("call_id") for run in ("before", "after")}
    with changing(path) as connection:
        connection.execute(
            "UPDATE calls SET call_index = 'x' || call_index"
            " WHERE state_id IN (SELECT state_id FROM node_states WHERE run_id = 'damaged')"
        )
    for run, rows in wanted.items():
        assert rows.num_rows > 12_000
        assert read(path, "calls", run, by_scan=by_scan).sort_by("call_id") == rows
    with pytest.raises(CorruptTable, match="call_index"):
        read(path, "calls", "damaged", by_scan=by_scan)


def test_rows_of_other_runs_stay_out(sample):
    """Each run has its own rows of every table, and together they are all there are."""
    with AuditDatabase(url(sample)) as audit:
        for name in audit.contract.tables:
            counts = [sum(batch.num_rows for batch in rows_of(audit, name, run)) for run in audit.runs]
            with changing(sample) as connection:
                assert sum(counts) == connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0], name


def test_rows_of_a_v0_run_are_found_through_their_parents(sample):
    """Tokens of v0 belong to the run of their row."""
    before = read(sample, "tokens").num_rows
    make_v0(sample)
    assert read(sample, "tokens").num_rows == before == 18
