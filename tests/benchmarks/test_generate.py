"""The generator of runs: shape, determinism, and that its runs keep the contract.

Belongs here: what holds for generated databases at any size. Does not belong here: their speed.
"""

import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa
from support.sample_v1 import schema_sql

from benchmarks.generate import BLOCK, generate, generate_all
from benchmarks.reference import export_run
from landscape_assets.database import AuditDatabase


def count(path, table, where="1"):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}").fetchone()[0]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("generated") / "run.db"
    assert generate(path, 200) == 23.1 * 200 + 14
    return path


def test_the_proportions_of_the_run_of_the_bug_reports(database):
    counts = {
        table: count(database, table)
        for table in ("rows", "tokens", "token_parents", "token_outcomes", "node_states", "routing_events", "calls")
    }
    assert counts == {
        "rows": 200,
        "tokens": 220,
        "token_parents": 20,
        "token_outcomes": 220,
        "node_states": 1_040,
        "routing_events": 840,
        "calls": 2_080,
    }
    assert count(database, "token_outcomes", "outcome = 'forked'") == 10
    assert 5 <= count(database, "node_states", "status = 'failed'") <= 20


def test_the_run_is_sound_and_every_row_becomes_a_record(database):
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA user_version").fetchone()[0] == 2
    with sa.create_engine(f"sqlite:///{database}").connect() as connection:
        records = list(export_run(connection, "run-200", None))
    assert len(records) == 23.1 * 200 + 14
    assert records[0]["status"] == "completed"
    for state in (record for record in records if record["record_type"] == "node_state"):
        failed = state["status"] == "failed"
        assert (state["output_hash"] is None, state["success_reason_json"] is None) == (failed, failed)
        assert (state["error_json"] is not None) == failed


def test_other_shapes(tmp_path):
    path = tmp_path / "run.db"
    for states, calls in ((1, 0), (2, 1), (8, 3)):
        run_id = f"{states}-{calls}"
        records = generate(path, 21, run_id, states=states, calls=calls)
        with sa.create_engine(f"sqlite:///{path}").connect() as connection:
            assert len(list(export_run(connection, run_id, None))) == records
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_the_same_arguments_give_the_same_rows(database, tmp_path):
    again, other = tmp_path / "again.db", tmp_path / "other.db"
    generate(again, 200)
    generate(other, 200, "another")
    with closing(sqlite3.connect(database)) as first, closing(sqlite3.connect(again)) as second:
        assert list(first.iterdump()) == list(second.iterdump())
    with closing(sqlite3.connect(database)) as first, closing(sqlite3.connect(other)) as second:
        query = "SELECT call_id FROM calls"
        assert not set(first.execute(query).fetchall()) & set(second.execute(query).fetchall())


def test_a_further_run_leaves_the_others_as_they_are(database, tmp_path):
    path = tmp_path / "both.db"
    generate(path, 200)
    with sa.create_engine(f"sqlite:///{path}").connect() as connection:
        before = list(export_run(connection, "run-200", None))
    generate(path, 10, "small")
    with sa.create_engine(f"sqlite:///{path}").connect() as connection:
        assert list(export_run(connection, "run-200", None)) == before
    with pytest.raises(ValueError, match="'small'"):
        generate(path, 10, "small")
    assert count(path, "rows") == 210


def test_blocks_do_not_show(tmp_path, monkeypatch):
    assert BLOCK > 200
    one, several = tmp_path / "one.db", tmp_path / "several.db"
    generate(one, 45)
    monkeypatch.setattr("benchmarks.generate.BLOCK", 20)
    generate(several, 45)
    with closing(sqlite3.connect(one)) as first, closing(sqlite3.connect(several)) as second:
        assert list(first.iterdump()) == list(second.iterdump())


def test_many_runs_in_one_database_are_those_that_are_made_one_by_one(tmp_path):
    together, one_by_one = tmp_path / "together.db", tmp_path / "one-by-one.db"
    run_ids = ["run-0", "run-1", "run-2"]
    assert generate_all(together, 20, run_ids) == sum(generate(one_by_one, 20, run_id) for run_id in run_ids)
    with closing(sqlite3.connect(together)) as first, closing(sqlite3.connect(one_by_one)) as second:
        assert list(first.iterdump()) == list(second.iterdump())
        assert first.execute("SELECT COUNT(DISTINCT run_id) FROM node_states").fetchone() == (3,)


def test_no_run_makes_a_database_without_rows(tmp_path):
    path = tmp_path / "empty.db"
    assert generate_all(path, 20, []) == 0
    assert count(path, "runs") == 0


@pytest.mark.parametrize("run_ids", [[], ["a"], ["a", "b"]])
def test_a_database_has_the_tables_and_indexes_of_the_schema(tmp_path, run_ids):
    """Indexes decide how a run is read, and they are made after the rows."""
    path = tmp_path / "run.db"
    generate_all(path, 1, run_ids)
    generate(path, 1, "later")
    query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
    with closing(sqlite3.connect(path)) as made, closing(sqlite3.connect(":memory:")) as wanted:
        wanted.executescript(schema_sql())
        assert made.execute(query).fetchall() == wanted.execute(query).fetchall()


def test_times_go_over_the_second(tmp_path):
    path = tmp_path / "run.db"
    generate(path, 1_000)
    with closing(sqlite3.connect(path)) as connection:
        times = [time for (time,) in connection.execute("SELECT created_at FROM rows ORDER BY row_index")]
    assert times[0] == "2026-03-01 12:00:00.123456"
    assert times[876:878] == ["2026-03-01 12:00:00.999456", "2026-03-01 12:00:01.000456"]


def test_runs_of_the_newest_generation(tmp_path, exporter):
    """The same run in the tables of ELSPETH 0.7.1, with three events of the scheduler for each token; it is sound."""
    path = tmp_path / "run.db"
    assert generate_all(path, 100, ["run-0", "run-1"], generation="v071") == 2 * (23.1 * 100 + 14 + 3 * 110)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with AuditDatabase(f"sqlite:///{path}") as database:
        assert database.contract.name == "v071"
    assert exporter.run("check", "--database", f"sqlite:///{path}").exit_code == 0
    outcomes = exporter.outcomes(path, "--all")
    assert [(outcome["run_id"], outcome["status"]) for outcome in outcomes] == [
        ("run-0", "exported"),
        ("run-1", "exported"),
    ]
