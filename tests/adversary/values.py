"""Values that break the contract in one run of several: that run is refused by name, and no other.

Belongs here: the kind `values`: values of another storage class, and bytes that are not UTF-8, anywhere in a run.
Does not belong here: values of the right type that the contract forbids (`../cli/test_corrupt_runs.py`).
"""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from support.exporter import KEY, Exporter

from benchmarks.fields import TIMES

from . import naive, random_runs
from .trials import Tally, sentence_problem

IDS = {
    "runs": "run_id", "nodes": "node_id", "secret_resolutions": "resolution_id", "edges": "edge_id",
    "operations": "operation_id",
    "rows": "row_id", "tokens": "token_id", "token_parents": "token_id", "token_outcomes": "outcome_id",
    "node_states": "state_id",
    "routing_events": "event_id", "calls": "call_id", "batches": "batch_id", "batch_members": "batch_id",
    "artifacts": "artifact_id",
}  # fmt: skip
"""Table → the column by whose value a row is named."""

TEXT = ("run_id", "status", "node_type", "call_type", "outcome", "from_node_id", "token_id", "state_id", "row_id",
        "settings_json",
        "config_json", "label", "request_hash", "path_or_uri", "input_hash", "canonical_version", "parent_token_id",
        "source_data_hash", "plugin_name", "mode")  # fmt: skip
BAD_TEXT = {
    "a blob": "X'00FF10'", "a blob that is text": "CAST('run-b' AS BLOB)",
    "bytes that are not UTF-8": "CAST(X'72756EFF' AS TEXT)",
    "a cut character": "CAST(X'61E282' AS TEXT)", "a surrogate": "CAST(X'EDA080' AS TEXT)", "an empty blob": "X''",
    "no text": "CAST(X'FFFE' AS TEXT)",
}  # fmt: skip
BAD_NUMBERS = {
    "text": "'many'", "text with a number in it": "'12a'", "an empty text": "''", "a blob": "X'01'",
    "bytes that are not UTF-8": "CAST(X'31FF' AS TEXT)",
    "a fraction": "1.5", "a great number": "1e300", "infinity": "9e999",
}  # fmt: skip
ANY_FLOAT = ("a fraction", "a great number")
"""What is not wrong in a column of floats."""


def attempt(seed: int, folder: Path, tally: Tally) -> None:
    """One database of three runs, in one of which one value is bad; and the same bad value in the columns of `runs`."""
    rng = random.Random(f"values {seed}")
    maker = random_runs.Maker(rng)
    run_ids = ["run-a", "run-b", "run-c"]
    bad, path = rng.choice(run_ids), folder / "landscape.db"
    runs = [_within(maker.run(run_id, 8), month, rng) for month, run_id in enumerate(run_ids, 1)]
    random_runs.write(path, runs, rng, indexes=rng.random() < 0.3)
    tables = naive.read_tables(path)
    wanted = {run_id: naive.records_of(tables, run_id, "v1") for run_id in run_ids}
    table, column, row = _place(rng, tables, wanted[bad], bad)
    numeric = column in (*naive.INTEGERS, *naive.FLOATS, "is_terminal")
    kinds = {name: value for name, value in (BAD_NUMBERS if numeric else BAD_TEXT).items()
             if not (column in naive.FLOATS and name in ANY_FLOAT)}  # fmt: skip
    kind = rng.choice(list(kinds))
    with closing(sqlite3.connect(path)) as connection:
        where = " AND ".join(f"{name} IS ?" for name in row)
        changed = connection.execute(f"UPDATE {table} SET {column} = {kinds[kind]} WHERE {where}", tuple(row.values()))
        assert changed.rowcount >= 1, "nothing was damaged"
        connection.commit()
    what = f"{table}.{column} of {bad}, {IDS[table]} {row[IDS[table]]!r:.40}, is {kind}"
    exporter = Exporter(folder)
    _judge_list(exporter, path, bad, column if table == "runs" else None, run_ids, tally, what)
    try:
        result = exporter.export(path, "--all", "--format=jsonl", "--json")
    except Exception as error:  # it would be a traceback
        tally.judge(what, ("a traceback of export", f"{type(error).__name__}: {error}"))
        return
    if result.exit_code == 2:
        tally.judge(what, sentence_problem(result.stderr) or ("one bad run stops the command", result.stderr))
        return
    outcomes = {outcome["run_id"]: outcome for outcome in json.loads(result.stdout)}
    for run_id in run_ids:
        if run_id == bad:
            continue
        outcome, package = outcomes.get(run_id), exporter.output / run_id
        if outcome is None:
            problem = "a sound run is missing in --all", str(list(outcomes))
        elif outcome["status"] == "failed":
            problem = "a sound run is refused because of another", outcome["error"]
        else:
            different = naive.difference(package, wanted[run_id], "v1", ("jsonl",), KEY.encode())
            problem = ("a package of a sound run differs from the naive export", different) if different else None
        tally.judge(f"{what}; {run_id}", problem)
    tally.judge(what, _bad_run_problem(outcomes, exporter.output, bad, run_ids, table, column, row))


def _within(run: random_runs.Rows, month: int, rng: random.Random) -> random_runs.Rows:
    """The same rows with times in one month, by which a row whose parent is gone can be told to be the run's."""
    for rows in run.values():
        for row in rows:
            for name in TIMES:
                if row.get(name) is not None:
                    row[name] = f"2026-{month:02}-{rng.randint(2, 27):02} 03:04:05.000001"
    run["runs"][0] |= {"started_at": f"2026-{month:02}-01 00:00:00", "completed_at": f"2026-{month:02}-28 00:00:00"}
    return run


def _place(
    rng: random.Random, tables: naive.Tables, records: list[dict[str, Any]], run_id: str
) -> tuple[str, str, dict[str, Any]]:
    """A table, a column of it, and the columns by which a row of the run is found."""
    if rng.random() < 0.4:
        return (
            "runs",
            rng.choice(["run_id", "status", "started_at", "completed_at", "canonical_version"]),
            {"run_id": run_id},
        )
    places = []
    for table, rows in tables.items():
        record_type = "batch" if table == "batches" else table.removesuffix("s")
        mine = {record.get(IDS[table]) for record in records if record["record_type"] == record_type}
        for row in rows:
            if row[IDS[table]] in mine and row.get("run_id", run_id) == run_id:
                usable = [
                    c
                    for c in row
                    if c in (*TEXT, *naive.INTEGERS, *naive.FLOATS, "is_terminal", IDS[table]) and row[c] is not None
                ]
                places += [(table, column, row) for column in usable]
    table = rng.choice(sorted({place[0] for place in places}))
    _, column, row = rng.choice([place for place in places if place[0] == table])
    names = {
        "token_parents": ("token_id", "parent_token_id"),
        "batch_members": ("batch_id", "token_id"),
        "nodes": ("node_id", "run_id"),
    }
    return table, column, {name: row[name] for name in names.get(table, (IDS[table],))}


def _judge_list(
    exporter: Exporter, path: Path, bad: str, column: str | None, run_ids: list[str], tally: Tally, what: str
) -> None:
    """The command `runs` lists the sound runs as ever, and the bad one in some way."""
    try:
        result = exporter.run("runs", "--database", f"sqlite:///{path}", "--json")
    except Exception as error:  # it would be a traceback
        tally.judge(what, ("a traceback of runs", f"{type(error).__name__}: {error}"))
        return
    if result.exit_code != 0:
        tally.judge(what, ("one bad run stops the command runs", result.stderr))
        return
    listed = json.loads(result.stdout)
    missing = set(run_ids) - {row["run_id"] for row in listed} - ({bad} if column == "run_id" else set())
    complete = not missing and len(listed) == len(run_ids)
    tally.judge(
        what, None if complete else ("the command runs leaves runs out", str([row["run_id"] for row in listed]))
    )


def _bad_run_problem(
    outcomes: dict[str, dict[str, Any]],
    output: Path,
    bad: str,
    run_ids: list[str],
    table: str,
    column: str,
    row: dict[str, Any],
) -> tuple[str, str] | None:
    """What is wrong with what is said of the bad run: it has to be refused, and to name the place."""
    if (table, column) == ("runs", "run_id"):
        others = [outcome for run_id, outcome in outcomes.items() if run_id not in run_ids or run_id == bad]
    else:
        others = [outcomes[bad]] if bad in outcomes else []
    if not others:
        return "the bad run is missing in --all", str(list(outcomes))
    there = {entry.name for entry in output.iterdir() if not entry.name.startswith(".")} if output.exists() else set()
    if column == "run_id" and others[0]["status"] == "exported":
        return "a row whose run_id is bad is left out of its run, without a word", str(others[0])
    if others[0]["status"] != "failed" or there - (set(run_ids) - {bad}):
        return "the bad run is not refused", str([others[0], sorted(there)])
    message = others[0]["error"]
    if problem := sentence_problem(message):
        return problem
    named = f"table {table}" in message and f"column {column}" in message
    if column != IDS[table]:
        named = named and repr(row[IDS[table]]) in message
    return None if named else ("a refusal that does not name table, id and column", message)
