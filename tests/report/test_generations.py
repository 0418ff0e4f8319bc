"""The report of every generation of the Landscape, against what the records say.

Belongs here: figures counted once more from records.jsonl, record types that only some generations have included. Does
not belong here: figures of the sample in detail (`test_figures.py`).
"""

import html
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.databases import make_v0
from support.generations import GENERATIONS, SUBJECT, database
from support.hostile import write_records
from support.pipeline import jsonl, make_all_files
from support.report import body, cells
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

from landscape_assets.formats import RunFiles
from landscape_assets.records.sign import SigningKey
from landscape_assets.report import text
from landscape_assets.reporting import report_of

KEY = SigningKey("a key of the tests, longer than sixteen bytes", None)
OF_V071 = ("sink_effect", "sink_effect_attempt")


def runs(generation: str, sample: Path) -> tuple[Path, list[str]]:
    """A database of a generation, and its finished runs."""
    if generation == "v0":
        make_v0(sample)
    if generation in ("v0", "v1"):
        return sample, [COMPLETED_RUN, FAILED_RUN]
    return database(generation), [SUBJECT[generation]]


@pytest.fixture(params=("v0", "v1", *GENERATIONS))
def made(request: pytest.FixtureRequest, sample: Path, tmp_path: Path) -> list[tuple[str, RunFiles]]:
    """The files of some runs of each generation, with the generation's name."""
    path, run_ids = runs(request.param, sample)
    files = make_all_files(path, run_ids, tmp_path / "made", KEY)
    return [(request.param, files[run_id]) for run_id in run_ids]


def shown(value: Any) -> str:
    """A value as a table has it."""
    return text.visible(value, 60).replace("\n", " ")


def table(page: str, after: str) -> list[list[str]]:
    """The rows of a table without its signs; none when there is no such table."""
    if after not in page:
        return []
    return [[html.unescape(cell).removeprefix("▲ ") for cell in row] for row in cells(page, after)]


def counted(rows: list[list[str]]) -> Counter[tuple[str, ...]]:
    """The numbers in the last cells, by the others."""
    found: Counter[tuple[str, ...]] = Counter()
    for *key, number in rows:
        found[tuple(key)] += int(number.replace(",", ""))
    return found


def of(records: list[dict[str, Any]], record_type: str) -> list[dict[str, Any]]:
    """The records of a type."""
    return [record for record in records if record["record_type"] == record_type]


def words(value: str | None) -> str:
    """An enum's value as the page writes it."""
    return (value or "").replace("_", " ")


def outcome(record: dict[str, Any]) -> str:
    """An outcome with the way to it."""
    path = record.get("path")
    name = words(record["outcome"]) or "not final"
    return f"{name} ({words(path)})" if path else name


def test_figures_are_those_of_the_records(made: list[tuple[str, RunFiles]]) -> None:
    """Of the run, its nodes, outcomes, sinks, operations and calls, of whatever record types there are."""
    for generation, files in made:
        page_file, records_file = files.files["html"][0], files.files["jsonl"][0]
        page = page_file.facts.path.read_text("utf-8")
        records = [one for one in jsonl(records_file.facts.path) if one["record_type"] != "manifest"]
        states, operations = of(records, "node_state"), of(records, "operation")
        failed = [one for one in (*states, *operations) if one["status"] == "failed"]
        figures = page_file.figures
        assert figures is not None
        assert figures["rows"] == len(of(records, "row"))
        assert figures["calls"] == len(of(records, "call"))
        not_valid = Counter(one["node_id"] for one in of(records, "validation_error"))
        states_failed = Counter(one["node_id"] for one in states if one["status"] == "failed")
        assert figures["failures"] == len(failed) + sum((not_valid - states_failed).values())
        assert page_file.digest is not None and f"{figures['failures']:,}" in page_file.digest
        by_type = Counter(one["record_type"] for one in records)
        assert counted(table(page, "<caption>Records by type")) == {(name,): n for name, n in by_type.items()}

        nodes = {row[0]: row for row in table(page, "Nodes: what they did")}
        assert len(nodes) == len(of(records, "node"))
        for node in of(records, "node"):
            mine = [one for one in states if one["node_id"] == node["node_id"]]
            row = nodes[shown(node["node_id"])]
            assert row[1] == node["node_type"]
            wanted = len(mine), sum(s["status"] == "failed" for s in mine), sum(s["attempt"] > 0 for s in mine)
            assert tuple(int(cell.removeprefix("▲ ")) for cell in row[3:6]) == wanted

        outcomes = of(records, "token_outcome")
        if generation == "v0":
            assert outcomes == []
            assert "The records of this run hold no outcomes." in page
            sinks = {node["node_id"] for node in of(records, "node") if node["node_type"] == "sink"}
            at_sinks = Counter(
                (one["node_id"].split("_")[1], one["status"]) for one in states if one["node_id"] in sinks
            )
            assert counted(table(page, 'id="h-sinks"')) == at_sinks
        else:
            final = {True: "yes", False: "no"}
            wanted_rows = Counter(
                (outcome(one), final[bool(one.get("is_terminal") or one.get("completed"))]) for one in outcomes
            )
            assert counted(table(page, "What became of the rows</h2>")) == wanted_rows
            by_sink = Counter(
                (shown(one["sink_name"]), outcome(one)) for one in outcomes if one["sink_name"] is not None
            )
            assert counted(table(page, 'id="h-sinks"')) == by_sink

        if operations:
            told = {
                tuple(row[:2]): [int(cell.strip("▲ ")) for cell in row[2:4]] for row in table(page, 'id="h-operations"')
            }
            by_way = Counter((shown(one["node_id"]), words(one["operation_type"])) for one in operations)
            bad = Counter(
                (shown(one["node_id"]), words(one["operation_type"])) for one in operations if one["status"] == "failed"
            )
            assert told == {way: [count, bad[way]] for way, count in by_way.items()}


def test_what_only_some_generations_record(made: list[tuple[str, RunFiles]]) -> None:
    """Errors of rows, the scheduler, effects of sinks, who began the run: shown where they are, and nowhere else."""
    for generation, files in made:
        page = files.files["html"][0].facts.path.read_text("utf-8")
        records = jsonl(files.files["jsonl"][0].facts.path)
        failures = table(page, 'aria-label="Table of failures"')
        for record_type, place, word in (
            ("validation_error", "node_id", "validation"),
            ("transform_error", "transform_id", "transform"),
        ):
            some = of(records, record_type)
            assert bool(some) is (generation in GENERATIONS)
            told = sum(int(row[2].replace(",", "")) for row in failures if row[0].startswith(word))
            assert told == len(some), (record_type, place)
        events = Counter(words(one["event_type"]) for one in of(records, "scheduler_event"))
        assert bool(events) is (generation in GENERATIONS)
        told_events = {row[0]: int(row[1].replace(",", "")) for row in table(page, 'id="h-ways"')}
        assert {name: n for name, n in told_events.items() if name.startswith("Scheduler: ")} == {
            f"Scheduler: {name}": count for name, count in events.items()
        }
        effects, attempts = (of(records, record_type) for record_type in OF_V071)
        assert bool(effects) is bool(attempts) is (generation == "v071") is ('id="h-effects"' in page)
        if effects:
            assert counted(table(page, 'aria-label="Effects of sinks"')) == Counter(
                (shown(one["sink_node_id"]), one["role"], words(one["state"])) for one in effects
            )
            assert counted(table(page, 'aria-label="Attempts of effects"')) == Counter(
                (one["action"], words(one["state"])) for one in attempts
            )
        (run,) = of(records, "run")
        assert ("<dt>Started by</dt>" in page) is (run.get("initiated_by_user_id") is not None)
        assert ("under a policy of plugins" in page) is bool(of(records, "web_plugin_policy"))


def test_it_is_the_same_made_from_records_alone(made: list[tuple[str, RunFiles]]) -> None:
    """The page of an export, and the one of its records.jsonl, say the same of the run."""
    for _, files in made:
        page = files.files["html"][0].facts.path
        assert body(report_of(page.parent).decode()) == body(page.read_text("utf-8"))


@pytest.mark.parametrize("size", [1, 3_000, 20_000])
def test_it_is_the_same_whatever_is_read_at_a_time(
    made: list[tuple[str, RunFiles]], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what belongs together, a token and its states or a batch and its members, some is in the next piece."""
    for _, files in made:
        folder = files.files["html"][0].facts.path.parent
        whole = report_of(folder)
        with monkeypatch.context() as smaller:
            smaller.setattr("landscape_assets.reporting._BLOCK", size)
            assert report_of(folder) == whole


def test_an_edge_is_taken_by_no_more_tokens_than_there_are(made: list[tuple[str, RunFiles]]) -> None:
    """Routing events of an edge, one by one; steps between nodes for the others."""
    for _, files in made:
        page = files.files["html"][0].facts.path.read_text("utf-8")
        records = jsonl(files.files["jsonl"][0].facts.path)
        events = Counter(one["edge_id"] for one in of(records, "routing_event"))
        edges = of(records, "edge")
        rows = table(page, 'id="h-edges"')
        assert len(rows) == len(edges)
        states = Counter(one["node_id"] for one in of(records, "node_state"))
        aggregations = {one["aggregation_node_id"] for one in of(records, "batch")}
        for edge, row in zip(edges, rows, strict=True):
            taken = int(row[4].replace(",", ""))
            if events[edge["edge_id"]]:
                assert taken == events[edge["edge_id"]]
            elif edge["to_node_id"] not in aggregations:
                assert taken <= states[edge["to_node_id"]]
            else:
                assert taken <= len(of(records, "batch_member"))


@pytest.mark.parametrize("seen", [re.compile(r"\bNone\b"), re.compile(r"\bnan\b"), re.compile(r"\{\{|\}\}")])
def test_no_value_is_shown_that_is_not_there(made: list[tuple[str, RunFiles]], seen: re.Pattern[str]) -> None:
    """What a generation does not have leaves no trace of the program."""
    for _, files in made:
        page = body(files.files["html"][0].facts.path.read_text("utf-8"))
        assert not seen.search(re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL))


def run_of(*nodes: tuple[str, str], edges: list[tuple[str, str]], rest: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of a run with nodes (id and kind) and edges without routing events."""
    return [
        {"record_type": "run", "run_id": "r", "status": "completed"},
        *({"record_type": "node", "node_id": node, "plugin_name": "p", "node_type": kind} for node, kind in nodes),
        *(
            {"record_type": "edge", "edge_id": f"{a}-{b}", "from_node_id": a, "to_node_id": b}
            | {"label": "continue", "default_mode": "move"}
            for a, b in edges
        ),
        *rest,
    ]


def taken(folder: Path, records: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """How many tokens took each edge, by the report."""
    page = report_of(write_records(folder, iter(records))).decode()
    return {(row[0], row[1]): int(row[4]) for row in table(page, 'id="h-edges"')}


def state(node: str, status: str = "completed") -> dict[str, Any]:
    """A state of the token before it."""
    return {"record_type": "node_state", "node_id": node, "attempt": 0, "status": status}


def test_tokens_come_to_an_aggregation_as_members_of_its_batches(tmp_path: Path) -> None:
    """One state for each batch, and each token once, though a batch was tried again."""
    tokens = [one for i in range(5) for one in row_of("s", i, state("s"))]
    batches = [
        {
            "record_type": "batch",
            "batch_id": f"b{i}",
            "aggregation_node_id": "a",
            "attempt": attempt,
            "status": "failed",
        }
        for i, attempt in enumerate((0, 1, 0))
    ]
    members = [[{"record_type": "batch_member", "batch_id": f"b{i}"}] * count for i, count in enumerate((3, 3, 2))]
    rest = [*tokens, *(one for batch, some in zip(batches, members, strict=True) for one in (batch, *some))]
    records = run_of(("s", "source"), ("a", "aggregation"), edges=[("s", "a")], rest=rest)
    assert taken(tmp_path / "records", records) == {("s", "a"): 5}


def test_tokens_pass_a_queue_without_a_state(tmp_path: Path) -> None:
    """What completed at the sources came to it, and went on."""
    rest = [
        *(one for i in range(3) for one in row_of("s", i, state("s"), state("t"))),
        *(one for i in range(4) for one in row_of("z", i, state("z"), state("t"))),
        *row_of("z", 9, state("z", "failed")),
    ]
    nodes = [("s", "source"), ("z", "source"), ("q", "queue"), ("t", "transform")]
    records = run_of(*nodes, edges=[("s", "q"), ("z", "q"), ("q", "t")], rest=rest)
    assert taken(tmp_path / "records", records) == {("s", "q"): 3, ("z", "q"): 4, ("q", "t"): 7}


def row_of(source: str, number: int, *states: dict[str, Any]) -> list[dict[str, Any]]:
    """A row with one token and its states."""
    name = f"{source}{number}"
    row = {"record_type": "row", "row_id": name, "source_node_id": source}
    return [row, {"record_type": "token", "token_id": name, "row_id": name}, *states]
