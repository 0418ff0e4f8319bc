"""Records: which there are, in which order, in which canonical form; compared with the naive reference exporter, on
both databases.

Belongs here: everything up to the canonical forms. Does not belong here: signatures and files (`test_files.py`), what
is refused (`../cli/test_corrupt_runs.py`), conformance databases on PostgreSQL (`../postgresql/test_conformance.py`).
"""

import json
import tempfile
from pathlib import Path

import pytest
import rfc8785
import sqlalchemy as sa
from hypothesis import given, settings
from support.databases import shuffle, to_v0
from support.pipeline import SmallBuckets, make_records, texts, url
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN
from support.strategies import RUN_ID, UNSHRUNK, runs

from benchmarks import reference
from benchmarks.generate import generate
from landscape_assets.budget import Budget
from landscape_assets.database import adbc
from landscape_assets.storage.arrow_file import ArrowReader

CONFORMANCE = Path(__file__).parents[1] / "data" / "conformance"


def expected(url: str, run_id: str) -> list[str]:
    """The canonical forms that the reference exporter gives."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        made = [rfc8785.dumps(record).decode() for record in reference.export_run(connection, run_id, None)]
    engine.dispose()
    return made


@pytest.mark.parametrize("run_id", [COMPLETED_RUN, FAILED_RUN])
def test_the_sample_s_records_are_the_reference_s(sample_database, tmp_path, run_id):
    """Every record of the sample, in order, in canonical form."""
    made = make_records(sample_database.url, run_id, tmp_path / "made")
    assert texts(made) == expected(sample_database.url, run_id)
    assert sum(made.counts.values()) == len(texts(made))


@pytest.mark.parametrize("run_id", json.loads((CONFORMANCE / "expected.json").read_text())["s12"])
def test_hard_records_are_the_reference_s(s12, tmp_path, run_id):
    """Control characters, astral code points, extreme floats, ties and retries."""
    assert texts(make_records(s12, run_id, tmp_path / "made")) == expected(url(s12), run_id)


def test_v0_records_are_the_reference_s(database, tmp_path):
    """In a database of v0 there are no token outcomes, and operations have no payload hashes."""
    to_v0(database)
    made = make_records(database.url, COMPLETED_RUN, tmp_path / "made")
    assert texts(made) == expected(database.url, COMPLETED_RUN)
    assert "token_outcome" not in made.counts


@pytest.fixture(scope="module")
def generated(kind, request, tmp_path_factory):
    """Makes a database with a generated run of so many rows: its URL, and the records that the reference gives."""

    def make(rows):
        path = tmp_path_factory.mktemp("generated") / "landscape.db"
        generate(path, rows, "run", states=4, calls=1)
        found = url(path) if kind == "sqlite" else request.getfixturevalue("copied")(path).url
        return found, expected(found, "run")

    return make


@pytest.fixture(scope="module")
def larger(generated):
    """A run of thousands of records."""
    return generated(400)


@pytest.mark.parametrize("budget", [Budget(), Budget(memory_mb=1), Budget(memory_mb=1, threads=1)], ids=str)
def test_the_records_of_a_larger_run_do_not_depend_on_the_memory(larger, tmp_path, budget):
    """A run of thousands of records is the same in one range and in many, on one thread and on several."""
    assert texts(make_records(larger[0], "run", tmp_path, budget)) == larger[1]


def test_rows_that_lie_together_are_taken_from_where_they_are(generated, tmp_path, monkeypatch):
    """Of a run recorded row by row nothing is moved; scattered rows are moved through temporary files, with the same
    result."""
    database, wanted = generated(240)  # each of its sort groups becomes a bucket
    monkeypatch.setattr(adbc, "BATCH_ROWS", 64)
    monkeypatch.setattr(adbc, "BATCH_BYTES", 16_384)
    for name, budget, moves in (
        ("together", Budget(memory_mb=1, threads=2), False),
        ("scattered", SmallBuckets(), True),
    ):
        made = make_records(database, "run", tmp_path / name, budget)
        assert texts(made) == wanted
        assert any((tmp_path / name / "scratch").iterdir()) == moves
    reader = ArrowReader(tmp_path / "together" / "tables" / "node_states.arrow")
    assert reader.batches > 10
    reader.close()


@settings(max_examples=12, phases=UNSHRUNK)
@given(tables=runs())
def test_any_valid_run_is_exported_as_the_reference_exports_it(filled, tables):
    """Whatever values a valid run has, its records are the reference's, one by one, and the same in buckets of one
    sort group each."""
    database = filled(tables)
    wanted = expected(database, RUN_ID)
    with tempfile.TemporaryDirectory() as folder:
        whole = make_records(database, RUN_ID, Path(folder) / "whole")
        assert texts(whole) == wanted
        small = make_records(database, RUN_ID, Path(folder) / "small", SmallBuckets(threads=2))
        assert texts(small) == wanted
        assert small.counts == whole.counts


def test_the_order_of_insertion_does_not_matter(sample_database, database, tmp_path):
    """The same rows, stored in another order, give the same records."""
    straight = texts(make_records(sample_database.url, COMPLETED_RUN, tmp_path / "straight"))
    for seed in range(2):
        shuffle(database, seed)
        shuffled = make_records(database.url, COMPLETED_RUN, tmp_path / str(seed), SmallBuckets())
        assert texts(shuffled) == straight


def test_attempts_sort_as_numbers_and_ids_as_bytes(filled, tmp_path):
    """Attempt 10 comes after 9; ids that a collation would take as equal, or in another order, sort by their UTF-8
    bytes."""
    run = {
        "runs": [{"run_id": "r", "status": "completed", "started_at": "2026-01-01 00:00:00",
                  "completed_at": "2026-01-01 00:00:00", "canonical_version": "v", "config_hash": "c",
                  "settings_json": "{}"}],
        "nodes": [{"node_id": i, "run_id": "r", "plugin_name": "p", "node_type": "source", "plugin_version": "1",
                   "config_hash": "c", "determinism": "seeded", "config_json": "1",
                   "registered_at": "2026-01-01 00:00:00"}
                  for i in ("\U00010000", "b", "\uffff", "B", "é", "a")],
        "rows": [{"row_id": "w", "run_id": "r", "row_index": 0, "source_node_id": "a", "source_data_hash": "h"}],
        "tokens": [{"token_id": "t", "run_id": "r", "row_id": "w", "created_at": "2026-01-01 00:00:00"}],
        "node_states": [{"state_id": f"s{attempt}", "token_id": "t", "run_id": "r", "node_id": "a", "step_index": 0,
                         "status": "open", "attempt": attempt, "input_hash": "h", "started_at": "2026-01-01 00:00:00"}
                        for attempt in (10, 9, 100, 1)],
    }  # fmt: skip
    records = [json.loads(text) for text in texts(make_records(filled(run), "r", tmp_path / "made"))]
    assert [record["node_id"] for record in records if record["record_type"] == "node"] == [
        "B", "a", "b", "é", "\uffff", "\U00010000"
    ]  # fmt: skip
    assert [record["attempt"] for record in records if record["record_type"] == "node_state"] == [1, 9, 10, 100]
