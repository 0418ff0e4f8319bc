"""Times of several forms in one ordering column of a SQLite database. The contract's order is that of the stored text,
which is how ELSPETH's own statements order them (ORDER BY on the column); in one form it is that of the times, and a
mixture is refused.

Belongs here: order. Does not belong here: how a time is written in a record (`../export/test_canonical_form.py`).
"""

import sqlite3
from pathlib import Path

import pytest
from support.databases import changing
from support.exporter import Exporter
from support.pipeline import jsonl
from support.sample_v1 import COMPLETED_RUN

EDGES = "SELECT edge_id FROM edges WHERE run_id = ? ORDER BY created_at, edge_id"


@pytest.mark.parametrize(
    "times",
    [
        pytest.param(("2026-11-03 06:00:00.000002", "2026-11-03 06:00:00.000001"), id="one form"),
        pytest.param(("2026-11-03 06:00:01", "2026-11-03 06:00:00.900000"), id="no fraction"),
        pytest.param(("2026-11-03 06:00:00.5", "2026-11-03 06:00:00.49", "2026-11-03 06:00:00.500001"), id="short"),
        pytest.param(("2026-11-03T06:00:00.000000", "2026-11-03 07:00:00.000000"), id="T"),
        pytest.param(("2026-11-03 06:00:00.000000", "2026-11-03 06:00:00"), id="same, no fraction"),
        pytest.param(("2026-11-03 06:00:00.500000", "2026-11-03 06:00:00.5"), id="same, short"),
        pytest.param(("2026-11-03T06:00:00", "2026-11-03 06:00:00"), id="same, T"),
    ],
)
def test_times_of_several_forms(sample: Path, exporter: Exporter, times: tuple[str, ...]) -> None:
    """The first edges by id get these times; an order of their ids alone, or of the instants, is another one."""
    with changing(sample) as connection:
        by_id = "SELECT edge_id FROM edges WHERE run_id = ? ORDER BY edge_id"
        ids = [row[0] for row in connection.execute(by_id, (COMPLETED_RUN,))]
        for edge_id, time in zip(ids, times, strict=False):
            connection.execute("UPDATE edges SET created_at = ? WHERE edge_id = ?", (time, edge_id))
    with sqlite3.connect(sample) as connection:
        expected = [row[0] for row in connection.execute(EDGES, (COMPLETED_RUN,))]
        stored = [
            row[0] for row in connection.execute("SELECT created_at FROM edges WHERE run_id = ?", (COMPLETED_RUN,))
        ]
    outcome = exporter.outcome(sample, COMPLETED_RUN, "--format=jsonl")
    if len({(len(time), "T" in time) for time in stored}) > 1:
        assert outcome["status"] == "failed"
        assert "table edges, edge_id" in outcome["error"] and "column created_at" in outcome["error"]
        return
    records = jsonl(exporter.output / COMPLETED_RUN / "records.jsonl")
    assert [record["edge_id"] for record in records if record["record_type"] == "edge"] == expected
