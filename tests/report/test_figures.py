"""The figures of the report, against what the records say.

Belongs here: figures counted once more from records.jsonl, in a way of its own; percentiles and times; that pieces and
budgets do not matter. Does not belong here: the page in a browser (`tests/browser/test_report.py`).
"""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pipeline import jsonl, make_all_files, make_files
from support.report import cells
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

from landscape_assets.budget import Budget
from landscape_assets.records.sign import SigningKey
from landscape_assets.report.histogram import MOST_BUCKETS, PERCENTILE_ERROR, Distributions, Times

KEY = SigningKey("a key of the tests, longer than sixteen bytes", None)


@pytest.mark.parametrize("run_id", [COMPLETED_RUN, FAILED_RUN])
def test_figures_are_those_of_the_records(sample_file, tmp_path, run_id):
    """Counted once more from records.jsonl: key figures, nodes, outcomes, calls, and records by type."""
    _, files = make_files(sample_file, run_id, tmp_path, KEY)
    page = files["report.html"].facts.path.read_text("utf-8")
    records = jsonl(files["records.jsonl"].facts.path)[:-1]
    by_type = Counter(record["record_type"] for record in records)
    states = [record for record in records if record["record_type"] == "node_state"]
    failed = [state for state in states if state["status"] == "failed"]
    operations = [one for one in records if one["record_type"] == "operation" and one["status"] == "failed"]
    figures = files["report.html"].figures
    assert figures["rows"] == by_type["row"]
    assert figures["calls"] == by_type["call"]
    assert figures["failures"] == len(failed) + len(operations) > 0
    assert figures["error_rate"] == pytest.approx(len(failed) / len(states))

    nodes = {row[0]: row for row in cells(page, "Nodes: what they did")}
    assert set(nodes) == {record["node_id"] for record in records if record["record_type"] == "node"}
    for node, row in nodes.items():
        mine = [state for state in states if state["node_id"] == node]
        wanted = len(mine), sum(s["status"] == "failed" for s in mine), sum(s["attempt"] > 0 for s in mine)
        assert tuple(int(text.strip("▲ ")) for text in row[3:6]) == wanted, node
    outcomes = Counter(one["outcome"].replace("_", " ") for one in records if one["record_type"] == "token_outcome")
    assert {row[0].strip("▲ "): int(row[2]) for row in cells(page, "What became of the rows</h2>")} == outcomes
    counts = {name: int(count.replace(",", "")) for name, count in cells(page, "<caption>Records by type")}
    assert counts == by_type
    calls = Counter(record["call_type"] for record in records if record["record_type"] == "call")
    if calls:
        assert {row[0]: int(row[1]) for row in cells(page, "External calls</h2>")} == calls


def test_edges_carry_the_tokens_that_took_them(sample_file, tmp_path):
    """By routing events, and where there are none by states that follow one another; of a join, an aggregation too."""
    _, files = make_files(sample_file, COMPLETED_RUN, tmp_path, KEY, "html", "jsonl")
    records = jsonl(files["records.jsonl"].facts.path)[:-1]
    events = Counter(one["edge_id"] for one in records if one["record_type"] == "routing_event")
    edges = [one for one in records if one["record_type"] == "edge"]
    rows = cells(files["report.html"].facts.path.read_text("utf-8"), "Edges: how many tokens")
    assert len(rows) == len(edges)
    for edge, row in zip(edges, rows, strict=True):
        assert row[:3] == [edge["from_node_id"], edge["to_node_id"], edge["label"]]
        if events[edge["edge_id"]]:
            assert int(row[4]) == events[edge["edge_id"]]
    silent = {(row[0].split("_")[1], row[1].split("_")[1]): int(row[4]) for row in rows if row[2] == "continue"}
    assert silent["complaints", "normalise"] == 10
    assert silent["normalise", "triage"] == 9
    assert silent["checks", "replies"] == 1
    assert silent["digest", "digests"] == 1


def test_pieces_and_budgets_do_not_matter(sample_file, tmp_path):
    """The same run gives the same page, but for the export's time, whatever it is cut into and exported with."""
    pages = []
    for number, (runs, budget) in enumerate(
        [
            ([COMPLETED_RUN], Budget()),
            ([COMPLETED_RUN], Budget(memory_mb=1, threads=1)),
            ([FAILED_RUN, COMPLETED_RUN], Budget(memory_mb=1, threads=4)),
        ]
    ):
        made = make_all_files(sample_file, runs, tmp_path / str(number), KEY, "jsonl", "html", budget=budget)
        (staged,) = made[COMPLETED_RUN].files["html"]
        text = staged.facts.path.read_text("utf-8")
        assert staged.exported_at in text
        pages.append((text.replace(staged.exported_at, "TIME"), staged.content))
    assert pages[0] == pages[1] == pages[2]


numbers = st.floats(0, 1e12) | st.floats(0, 1) | st.just(0.0)


@given(st.lists(st.tuples(st.sampled_from("abc"), numbers), max_size=60), st.integers(1, 20), st.floats(0, 1))
def test_percentiles_are_near_the_exact_ones(values, size, fraction):
    """Within PERCENTILE_ERROR, in whatever pieces the values come."""
    found = Distributions()
    for start in range(0, len(values), size):
        some = values[start : start + size]
        names = sorted({name for name, _ in some}, reverse=True)
        codes = np.array([names.index(name) for name, _ in some], np.int64)
        found.add(Distributions(names, codes, np.array([value for _, value in some], np.float64)))
    for name in "abc":
        mine = sorted(value for of, value in values if of == name)
        (told,) = found.percentiles(name, fraction)
        if not mine:
            assert told is None
            continue
        exact = mine[max(1, math.ceil(fraction * len(mine))) - 1]
        assert told == pytest.approx(exact, rel=PERCENTILE_ERROR * 1.01, abs=1e-300)


@given(st.lists(st.tuples(st.integers(-(10**15), 10**16), st.booleans()), min_size=1, max_size=60), st.integers(1, 20))
def test_times_fall_into_few_buckets(times, size):
    """All are counted, in at most MOST_BUCKETS buckets, in whatever pieces they come."""

    def of(some):
        return Times(np.array([time for time, _ in some], np.int64), np.array([mark for _, mark in some], bool))

    found = Times()
    for start in range(0, len(times), size):
        found.add(of(times[start : start + size]))
    whole = of(times)
    assert (found.width, found.all, found.marked) == (whole.width, whole.all, whole.marked)
    assert sum(found.all.values()) == len(times)
    assert sum(found.marked.values()) == sum(mark for _, mark in times)
    assert max(found.all) - min(found.all) < MOST_BUCKETS


def test_the_page_has_what_the_settings_say(sample_file, tmp_path):
    """Folded, and as the record has them."""
    _, files = make_files(sample_file, COMPLETED_RUN, tmp_path, None, "jsonl", "html")
    settings = json.dumps(jsonl(files["records.jsonl"].facts.path)[0]["settings"], indent=2, ensure_ascii=False)
    page = files["report.html"].facts.path.read_text("utf-8")
    shown = page[page.index("The settings of the run</summary>") :]
    for line in settings.split("\n")[:5]:
        assert line.replace('"', "&#34;") in shown
