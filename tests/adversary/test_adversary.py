"""A short portion of `python -m tests.adversary`, with fixed seeds, and whether its checks notice anything at all.

Belongs here: running it, and its verdict. Does not belong here: what it tries.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.databases import changing
from support.exporter import KEY, Exporter
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

from . import naive, trials, writer, writers
from .kinds import KINDS, attempt
from .trials import Tally

ROOT = Path(__file__).parents[2]


def require_held(kind: str, seeds: range) -> Tally:
    """All trials of some attempts held; their counts."""
    total = Tally(kind)
    for seed in seeds:
        total.add(attempt(kind, seed))
    shown = [
        f"{failure.what} (--kind {kind} --seed {failure.seed} --minutes 0): {failure.detail}"
        for failure in total.failures
    ]
    assert not shown, f"{len(shown)} of {total.tried} trials failed:\n" + "\n".join(shown[:10])
    assert total.tried >= len(seeds)
    return total


def test_databases():
    """Random databases give the packages that the naive reader gives, byte for byte."""
    require_held("databases", range(4))


@pytest.mark.writers
def test_a_writer_of_a_sqlite_database():
    """Packages made beside a writer are of one committed state each."""
    require_held("writers", range(1))


@pytest.mark.writers
@pytest.mark.postgresql
def test_a_writer_of_a_postgresql_database():
    """On PostgreSQL no export is refused either."""
    total = require_held("postgresql", range(1))
    assert set(total.notes) == {"postgresql: run exported"}


@pytest.mark.writers
@pytest.mark.slow
@pytest.mark.parametrize("mode", range(4), ids=["wal", "delete", "truncate", "persist"])
def test_writers_for_longer(mode):
    """Each journal mode, twice with the database kept open and twice with it opened for each transaction. Some of the
    exports succeed."""
    total = Tally("writers")
    for seed in range(mode, 16, 4):
        total.add(require_held("writers", range(seed, seed + 1)))
    assert any(note.endswith("run exported") for note in total.notes)


def test_damaged_files():
    """A damaged database is exported as it was, or refused in a sentence."""
    total = require_held("damage", range(4))
    assert {"the command refused", "a run exported as before"} <= set(total.notes)


def test_bad_values():
    """A bad value refuses its run by name, and no other."""
    require_held("values", range(3))


def test_forgeries():
    """Nothing that was changed is verified."""
    assert require_held("forgeries", range(2)).notes["status 40"] > 200


FORMATS = ("jsonl", "csv", "parquet")


@pytest.fixture(scope="module")
def exported(sample_file, tmp_path_factory):
    """The sample exported, and its tables."""
    exporter = Exporter(tmp_path_factory.mktemp("exported"))
    exporter.outcomes(sample_file, "--all", *(f"--format={name}" for name in FORMATS))
    return exporter.output, naive.read_tables(sample_file)


@pytest.mark.parametrize("run_id", [COMPLETED_RUN, FAILED_RUN])
def test_the_naive_reader_notices_a_difference(exported, run_id):
    """A record less, another value, another order, another key, other formats: each is a difference."""
    output, tables = exported
    records = naive.records_of(tables, run_id, "v1")

    def difference(records=records, formats=FORMATS, key=KEY):
        return naive.difference(output / run_id, records, "v1", formats, key.encode())

    assert difference() is None
    assert difference(records[:-1]) is not None
    assert difference([*records[:-2], records[-1], records[-2]]) is not None
    assert difference([records[0] | {"canonical_version": "other"}, *records[1:]]) is not None
    assert difference(formats=("jsonl", "csv")) is not None
    assert difference(key="another key of the tests") is not None


def test_every_statement_of_a_writer_is_seen(tmp_path):
    """The records of a state that lacks any one statement of its transaction are others."""
    path = tmp_path / "landscape.db"
    run_ids = writers.make(path, random.Random(1))
    statements = list(writer.statements(3))
    found = {}
    for left_out in (None, *range(len(statements))):
        with changing(path) as connection:
            before = list(writer.statements(2))
            for statement in before + [one for number, one in enumerate(statements) if number != left_out]:
                connection.execute(statement)
        tables = naive.read_tables(path)
        found[left_out] = [naive.records_of(tables, run_id, "v1") for run_id in run_ids]
    same = [statements[left_out] for left_out in range(len(statements)) if found[left_out] == found[None]]
    assert [statement.split()[0] for statement in same] == [
        "DELETE"
    ]  # of the calls of state 1, of which state 2 has none


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("The audit database x.db is locked: another process writes to it; try again.", None),
        ("The audit database x.db cannot be read: malformed; check the file.", "check the file"),
        ("The run changed; try again: materialize its tables again.", "materializing"),
        ("The database is locked.", "to try again"),
        ("Corrupt audit data: table runs; try again.", "corrupt"),
        ("IndexError: list index out of range. Try again.", "not foreseen"),
        ("Traceback (most recent call last):\n  File", "not foreseen"),
    ],
)
def test_messages_are_judged(message, what):
    problem = trials.busy_problem(message)
    assert problem is None if what is None else what in problem[0]


def test_the_command_reports_counts_and_seeds(tmp_path):
    """One attempt of a kind: its counts; the exit status says whether all held."""
    command = [sys.executable, "-m", "tests.adversary", "--minutes", "0", "--kind", "databases", "--seed", "3"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=os.environ, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "first seed 3" in ended.stdout
    assert "databases: 1 attempts, tried" in ended.stdout


def test_a_failed_attempt_is_counted_and_kept(tmp_path, monkeypatch):
    """What an attempt raises is a failure with its seed, and its folder is left for a look."""

    def broken(seed: int, folder: Path, tally: Tally) -> None:
        (folder / "left").write_text(json.dumps(seed))
        raise LookupError("nothing there")

    monkeypatch.setitem(KINDS, "broken", broken)
    tally = attempt("broken", 7, tmp_path)
    assert [(failure.kind, failure.seed) for failure in tally.failures] == [("broken", 7)]
    assert "LookupError: nothing there" in tally.failures[0].detail
    assert [path.name for path in tmp_path.glob("broken-7-*/*")] == ["left"]
