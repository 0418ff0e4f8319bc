"""Several runs read and exported together: the same rows, records and files as of each by itself, by every way.

Belongs here: what is promised of one run, with several at a time, on both databases. Does not belong here: which way is
chosen (`test_reading.py`), and packages (`../cli/test_many_runs.py`).
"""

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pipeline import SmallBuckets, loaded, make_all_files, make_records, read
from support.strategies import UNSHRUNK, runs

from landscape_assets.budget import Budget
from landscape_assets.contract import V1
from landscape_assets.errors import ExportError
from landscape_assets.records.sign import SigningKey

KEY = SigningKey("a key of the tests, longer than sixteen bytes")
RUN_IDS = ["run-é/1", "b", "\U00010000", ""]


def merged(tables: list[dict], seed: int) -> dict[str, list[dict]]:
    """Runs in one database, their rows interleaved; ids are made different, but for those of nodes, which may occur in
    several runs."""
    found: dict[str, list[dict]] = {}
    for number, run in enumerate(tables):
        for table, rows in run.items():
            for row in rows:
                changed = {
                    name: value
                    if value is None or not name.endswith("_id") or "node_id" in name
                    else RUN_IDS[number]
                    if name == "run_id"
                    else f"{value}{number}"
                    for name, value in row.items()
                }
                found.setdefault(table, []).append(changed)
    mixed = random.Random(seed)
    for rows in found.values():
        mixed.shuffle(rows)
    return found


several_runs = st.builds(merged, st.lists(runs(), min_size=2, max_size=4), st.integers(0, 99))


def rows_by_run(url: str, folder: Path, run_ids: list[str], *, by_scan: bool) -> dict[str, dict[str, list[str]]]:
    """Run → table → its rows, in no order."""
    found = {run_id: {table: [] for table in V1.tables} for run_id in run_ids}
    with loaded(url, run_ids, folder, by_scan=by_scan) as tables:
        for table, reader in tables.readers.items():
            for *row, number in reader.frame(reader.schema.names).iter_rows():
                found[run_ids[number]][table].append(repr(row))
    return {run_id: {table: sorted(rows) for table, rows in by_table.items()} for run_id, by_table in found.items()}


@settings(max_examples=6, phases=UNSHRUNK)
@given(tables=several_runs)
def test_every_way_gives_the_same_rows(filled, tables):
    """By index and by scan, each run alone and all together: the same rows of every table, and all that there are."""
    url = filled(tables)
    run_ids = sorted(row["run_id"] for row in tables["runs"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        together = rows_by_run(url, folder / "index", run_ids, by_scan=False)
        assert rows_by_run(url, folder / "scan", run_ids, by_scan=True) == together
        for i, run_id in enumerate(run_ids):
            for by_scan in (False, True):
                alone = rows_by_run(url, folder / f"{i}-{by_scan}", [run_id], by_scan=by_scan)
                assert alone == {run_id: together[run_id]}
    for table in V1.tables:
        assert sum(len(rows[table]) for rows in together.values()) == len(tables.get(table, []))


@settings(max_examples=6, phases=UNSHRUNK)
@given(tables=several_runs)
def test_runs_together_have_the_records_of_each_alone(filled, tables):
    """Whatever the memory: the run is the first key of the order."""
    url = filled(tables)
    run_ids = [row["run_id"] for row in tables["runs"]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = {run_id: make_records(url, run_id, folder / str(i)).by_run[run_id] for i, run_id in enumerate(run_ids)}
        assert make_records(url, run_ids, folder / "together").by_run == alone
        small = make_records(url, run_ids, folder / "small", SmallBuckets(threads=2), by_scan=True)
        assert small.by_run == alone


@settings(max_examples=4, phases=UNSHRUNK)
@given(tables=several_runs)
def test_files_of_runs_together_are_those_of_each_alone(filled, tables):
    """In every format, signed and unsigned."""
    url = filled(tables)
    run_ids = [row["run_id"] for row in tables["runs"]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key in (KEY, None):
            together = make_all_files(
                url, run_ids, folder / f"together-{key}", key, budget=Budget(memory_mb=1, threads=3)
            )
            assert list(together) == run_ids
            for i, run_id in enumerate(run_ids):
                alone = make_all_files(url, run_id, folder / f"{i}-{key}", key)[run_id]
                assert together[run_id].final_hash == alone.final_hash
                assert together[run_id].record_counts == alone.record_counts
                contents = [
                    {file.path: file.content for files in made.files.values() for file in files}
                    for made in (together[run_id], alone)
                ]
                assert contents[0] == contents[1]


@pytest.mark.parametrize("by_scan", [True, False])
def test_an_id_of_two_runs_is_not_read_together(filled, tmp_path, by_scan):
    """Two runs that share an id of a token cannot be told apart by it: together they are refused, and the export takes
    them one by
    one."""
    time = "2026-01-01 00:00:00.000000"
    tables = {
        "runs": [
            {"run_id": run, "status": "completed", "started_at": time, "completed_at": time, "canonical_version": "1",
             "config_hash": "h", "settings_json": "{}"} for run in "ab"
        ],
        "rows": [
            {"row_id": f"row-{run}", "run_id": run, "row_index": 0, "source_node_id": "n", "source_data_hash": "h"}
            for run in "ab"
        ],
        "tokens": [{"token_id": "same", "row_id": f"row-{run}", "run_id": run, "created_at": time} for run in "ab"],
    }  # fmt: skip
    url = filled(tables)
    with pytest.raises(ExportError, match="tokens occurs in two runs"):
        read(url, "tokens", "a", "b", folder=tmp_path / "both", by_scan=by_scan)
    assert read(url, "tokens", "b", folder=tmp_path / "one", by_scan=by_scan).num_rows == 1
