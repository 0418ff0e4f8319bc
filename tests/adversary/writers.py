"""Exports while a writer is at work: each package must be of one committed state.

Belongs here: the kinds `writers` (SQLite) and `postgresql`. Does not belong here: the writing process (`writer.py`).
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.exporter import KEY, Exporter

from benchmarks.fields import TIMES
from landscape_assets.verify import verify_package

from . import naive, random_runs, writer
from .trials import Tally, at_exit, busy_problem

if TYPE_CHECKING:
    from support.server import Server

MODES = ("wal", "delete", "truncate", "persist")
RUNS = 3
"""Of each database; each is exported by every command."""
PATIENCE = 240
"""Seconds after which a command counts as one that does not end."""


class States:
    """The states of a database, as the naive reader reads them.

    Args:
        path: the database in any state, at rest; it is copied.
    """

    def __init__(self, path: Path) -> None:
        self._copy = sqlite3.connect(":memory:")
        with closing(sqlite3.connect(path)) as source:
            source.backup(self._copy)
        self._known: dict[int, naive.Tables] = {}

    def tables(self, state: int) -> naive.Tables:
        """All tables in that state."""
        if state not in self._known:
            for statement in writer.statements(state):
                self._copy.execute(statement)
            self._known[state] = naive.tables_of(self._copy)
        return self._known[state]


class InstantStates(States):
    """The same, with the times as PostgreSQL keeps them."""

    def tables(self, state: int) -> naive.Tables:
        return {
            table: [{name: _instant(name, value) for name, value in row.items()} for row in rows]
            for table, rows in super().tables(state).items()
        }


def _instant(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if name in TIMES and value is not None else value


def make(path: Path, rng: random.Random, *, nul: bool = True) -> list[str]:
    """Writes the database in state 0, with rows in every table; the run_ids."""
    maker = random_runs.Maker(rng, nul=nul)
    run_ids = [f"run-{i}" for i in range(RUNS)]
    runs: list[random_runs.Rows] = [{}]
    while not all(any(run.get(table) for run in runs) for table in random_runs.TABLES):
        runs = [maker.run(run_id, rng.choice([5, 40, 200])) for run_id in run_ids]
    random_runs.write(path, runs, rng, indexes=rng.random() < 0.7, page_size=rng.choice([1024, 4096]))
    with closing(sqlite3.connect(path)) as connection:
        for statement in writer.statements(0):
            connection.execute(statement)
        connection.commit()
    return run_ids


class Progress:
    """What a writer says of its work."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def last(self, word: str) -> int:
        """The last state of which `begun` or `done` is said; 0 when none is."""
        text = self._path.read_text() if self._path.exists() else ""
        return max((int(number) for number in re.findall(rf"{word} (\d+)\n", text)), default=0)


@contextmanager
def writing(folder: Path, settings: dict[str, Any], where: Path) -> Iterator[Progress]:
    """Within it a writer is at work; afterwards it has ended, and has to have ended well.

    Args:
        folder: for its log.
        settings: of `writer.Writer`, but for the log and the stop file.
        where: its working folder.
    """
    log, stop = folder / "writer.log", folder / "writer.stop"
    command = [sys.executable, writer.__file__, json.dumps(settings | {"log": str(log), "stop": str(stop)})]
    process = subprocess.Popen(command, cwd=where, stderr=subprocess.PIPE, text=True)
    try:
        progress = Progress(log)
        while progress.last("done") < 2:
            try:
                process.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                pass
        yield progress
    finally:
        stop.touch()
        try:
            _, said = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"The writer failed: {said[-400:]}")


def attempt(seed: int, folder: Path, tally: Tally) -> None:
    """One writer of a SQLite database, one or two commands beside it."""
    rng = random.Random(f"writers {seed}")
    mode, keeps = MODES[seed % 4], bool(seed // 4 % 2)
    real = folder / "real"
    real.mkdir()
    run_ids = make(real / "landscape.db", rng)
    states = States(real / "landscape.db")
    (folder / "linked").symlink_to(real)
    (folder / "link.db").symlink_to(real / "landscape.db")
    (folder / "links.db").symlink_to(folder / "link.db")
    names = {
        "its path": (str(real / "landscape.db"), folder),
        "a link to the file": (str(folder / "link.db"), folder),
        "a link to a link": (str(folder / "links.db"), folder),
        "a link to the folder": (str(folder / "linked" / "landscape.db"), folder),
        "a relative path": ("landscape.db", real),
        "a relative path up and down": ("../real/./landscape.db", real),
    }
    name = rng.choice(list(names))
    settings = {
        "database": names[name][0],
        "mode": mode,
        "keeps": keeps,
        "pause": rng.choice([0.005, 0.03, 0.1, 0.4]),
        "cache": rng.choice([2000, 5]),
        "checkpoint": rng.choice([1000, 1, 20]),
    }
    read_as = rng.choice(["its path", "its path", "a link to the file", "a link to the folder"])
    what = (
        f"{mode}, {'kept open' if keeps else 'opened each time'}, {settings['pause']} s apart, "
        f"{settings['cache']} pages, written by {name}, read by {read_as}"
    )
    with writing(folder, settings, names[name][1]) as progress:
        url = f"sqlite:///{names[read_as][0]}"
        _export(folder, url, run_ids, states, progress, rng, tally, what, f"{mode}, {'kept' if keeps else 'reopened'}")


def postgresql_attempt(seed: int, folder: Path, tally: Tally) -> None:
    """One writer of a database on PostgreSQL, one command beside it."""
    from support.copying import copy_landscape
    from support.server import Audit

    rng = random.Random(f"postgresql {seed}")
    path = folder / "landscape.db"
    run_ids = make(path, rng, nul=False)
    states = InstantStates(path)
    server = _server()
    audit = Audit(server, server.new_database())
    try:
        with server.admin(audit.name) as connection:
            copy_landscape(path, connection, free=True)
            for statement in writer.statements(0):
                connection.execute(statement)
        keeps = rng.random() < 0.5
        settings = {
            "database": f"host={server.socket_folder} port={server.port} user=postgres dbname={audit.name} "
            "options='-c timezone=UTC'",
            "postgresql": True,
            "keeps": keeps,
            "pause": rng.choice([0.005, 0.03, 0.1]),
        }
        with writing(folder, settings, folder) as progress:
            what = f"{'kept open' if keeps else 'opened each time'}, {settings['pause']} s apart"
            _export(folder, audit.url, run_ids, states, progress, rng, tally, what, "postgresql")
    finally:
        server.drop_database(audit.name)


@cache
def _server() -> Server:
    from support.server import Server

    server = Server()
    at_exit(server.remove)
    return server


def _export(
    folder: Path, url: str, run_ids: list[str], states: States, progress: Progress, rng: random.Random, tally: Tally,
    what: str, group: str,
) -> None:  # fmt: skip
    """One command that exports all runs; each of them is a trial."""
    formats = rng.choice([("jsonl",), ("jsonl", "csv"), ("jsonl", "csv", "parquet")])
    which = ["--all"] if rng.random() < 0.5 else [f"--run-id={run_id}" for run_id in run_ids]
    environment = {"LANDSCAPE_MEMORY_MB": "1"} if rng.random() < 0.2 else {}
    exporter = Exporter(folder)
    earliest = progress.last("done")
    options = [*which, *(f"--format={name}" for name in formats), "--json"]
    process = exporter.start("export", "--database", url, "--output", exporter.output, *options, **environment)
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        tally.judge(what, ("a command that does not end", f"within {PATIENCE} seconds"))
        return
    latest = progress.last("begun")
    what = f"{what}, {' '.join(options)}, states {earliest} to {latest}"
    problem = _traceback(stderr)
    if process.returncode == 2 and not stdout.strip():
        tally.note(f"{group}: command failed")
        tally.judge(what, problem or busy_problem(stderr))
        return
    if problem or process.returncode not in (0, 1):
        tally.judge(what, problem or (f"exit status {process.returncode}", stderr[-400:]))
        return
    outcomes = {outcome["run_id"]: outcome for outcome in json.loads(stdout)}
    if set(outcomes) != set(run_ids):
        tally.judge(what, ("a run is not reported", str(sorted(outcomes))))
    for run_id, outcome in outcomes.items():
        package = exporter.output / naive.folder_name(run_id)
        if outcome["status"] == "failed":
            tally.note(f"{group}: run failed")
            left = ("a failed export left a package", str(package)) if package.exists() else None
            tally.judge(f"{what}, {run_id}", left or busy_problem(outcome["error"]))
        else:
            tally.note(f"{group}: run exported")
            tally.judge(f"{what}, {run_id}", _problem(package, run_id, states, formats, (earliest, latest)))


def _traceback(stderr: str) -> tuple[str, str] | None:
    return ("a traceback", stderr[-400:]) if "Traceback" in stderr else None


def _problem(
    package: Path, run_id: str, states: States, formats: tuple[str, ...], bounds: tuple[int, int]
) -> tuple[str, str] | None:
    """What is wrong with a package: it has to be of one state that was committed no earlier than the command began."""
    text = (package / "records.jsonl").read_text("utf-8")
    stamps = sorted(set(map(int, re.findall(r'"state-(\d+)-x*"', text))))
    if len(stamps) != 1:
        return "a package is a mixture of states", str(stamps)
    if not bounds[0] <= stamps[0] <= bounds[1]:
        return "a package is of a state that was not in force", str(stamps)
    tables = states.tables(stamps[0])
    if different := naive.difference(package, naive.records_of(tables, run_id, "v1"), "v1", formats, KEY.encode()):
        return "a package is of no committed state", different
    report = verify_package(package, key=KEY.encode(), processes=1)
    return None if report.status == 0 else ("a package does not verify", report.to_text())
