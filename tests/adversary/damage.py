"""Damaged database files: an export is right, or is refused in a sentence.

Belongs here: the kind `damage`: bytes, pages and lengths of the file, its log and its journal; other files in its
place. Does not belong here: values of one run (`values.py`).

What right is: the package of the file before it was damaged, or of what a full scan by SQLite finds in the damaged
file. SQLite keeps no checksums of pages: a byte within a stored value that is another one cannot be noticed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from support.exporter import KEY, Exporter

from . import naive, random_runs, writer
from .trials import Tally, sentence_problem

Damage = Callable[[random.Random, Path, int], str]
"""Damages a file; its page size is given. What was done."""


def _write(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def _swap_pages(rng: random.Random, path: Path, page: int) -> str:
    data = path.read_bytes()
    one, two = rng.sample(range(1, len(data) // page), 2)
    first, second = (data[number * page : (number + 1) * page] for number in (one, two))
    _write(path, one * page, second)
    _write(path, two * page, first)
    return f"pages {one + 1} and {two + 1} swapped"


def _copy_page(rng: random.Random, path: Path, page: int) -> str:
    data = path.read_bytes()
    one, two = rng.sample(range(1, len(data) // page), 2)
    _write(path, two * page, data[one * page : (one + 1) * page])
    return f"page {one + 1} copied over page {two + 1}"


def _blank_page(rng: random.Random, path: Path, page: int) -> str:
    number, byte = rng.randrange(path.stat().st_size // page), rng.choice([0, 255, rng.randrange(256)])
    _write(path, number * page, bytes([byte]) * page)
    return f"page {number + 1} filled with {byte:#x}"


def _random_page(rng: random.Random, path: Path, page: int) -> str:
    number = rng.randrange(1, path.stat().st_size // page)
    _write(path, number * page, rng.randbytes(page))
    return f"page {number + 1} filled at random"


def _flip_bytes(rng: random.Random, path: Path, page: int) -> str:
    size, places = path.stat().st_size, []
    for _ in range(rng.choice([1, 1, 4, 50])):
        # Half of them where the structure of a page is.
        at = rng.randrange(size) if rng.random() < 0.5 else rng.randrange(size // page) * page + rng.randrange(16)
        _write(path, at, bytes([path.read_bytes()[at] ^ rng.randrange(1, 256)]))
        places.append(at)
    return f"bytes at {places[:6]} changed"


def _header(rng: random.Random, path: Path, page: int) -> str:
    at, value = rng.randrange(100), rng.randrange(256)
    _write(path, at, bytes([value]))
    return f"byte {at} of the header set to {value}"


def _truncate(rng: random.Random, path: Path, page: int) -> str:
    size = path.stat().st_size
    length = rng.choice(
        [0, 1, 15, 16, 99, 100, 512, page, size - 1, rng.randrange(size), rng.randrange(size // page) * page]
    )
    os.truncate(path, min(length, size - 1))
    return f"cut to {min(length, size - 1)} of {size} bytes"


def _zeros_at_the_end(rng: random.Random, path: Path, page: int) -> str:
    size = path.stat().st_size
    length = rng.randrange(1, min(size, 20 * page))
    _write(path, size - length, bytes(length))
    return f"the last {length} bytes are zero, as after a crash"


def _longer(rng: random.Random, path: Path, page: int) -> str:
    more = rng.randbytes(rng.choice([1, page, 3 * page]))
    _write(path, path.stat().st_size, more)
    return f"{len(more)} bytes more"


def _foreign(rng: random.Random, path: Path, page: int) -> str:
    what = rng.choice(
        ["text", "zeros", "random", "magic", "another database", "folder", "gzip", "nothing", "link to itself", "fifo"]
    )
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "link to itself":
        path.symlink_to(path)
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "another database":
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(
                "CREATE TABLE runs (run_id TEXT); INSERT INTO runs VALUES ('a'); CREATE VIEW nodes AS SELECT 1 x"
            )
    else:
        path.write_bytes(
            {
                "text": b"run_id,status\na,completed\n" * 50,
                "zeros": bytes(8192),
                "random": rng.randbytes(8192),
                "magic": b"SQLite format 3\0" + rng.randbytes(8176),
                "gzip": b"\x1f\x8b\x08" + rng.randbytes(3000),
                "nothing": b"",
            }[what]
        )
    return f"{what} in place of the database"


def _damage_log(rng: random.Random, path: Path) -> str:
    log = path.with_name(f"{path.name}-wal")
    size = log.stat().st_size
    how = rng.choice(["flip", "flip in its header", "cut", "nothing"])
    if how == "cut":
        length = rng.choice([rng.randrange(size), rng.randrange(32), size - 1])
        os.truncate(log, length)
        return f"log cut to {length} of {size} bytes"
    if how == "nothing":
        return "log left as it was"
    at = rng.randrange(32 if how == "flip in its header" else size)
    _write(log, at, bytes([log.read_bytes()[at] ^ (1 << rng.randrange(8))]))
    return f"byte {at} of the log changed"


FILE: tuple[Damage, ...] = (
    _swap_pages, _swap_pages, _copy_page, _blank_page, _random_page, _flip_bytes, _flip_bytes, _header, _truncate,
    _zeros_at_the_end, _longer, _foreign,
)  # fmt: skip


def attempt(seed: int, folder: Path, tally: Tally) -> None:
    """One database, exported before and after it is damaged in some ways, each of them a trial."""
    rng = random.Random(f"damage {seed}")
    if seed % 4 == 3:
        _beside(rng, folder, tally)
        return
    maker = random_runs.Maker(rng)
    run_ids = ["run-a", "run-b"][: rng.randint(1, 2)]
    runs = [maker.run(run_id, rng.choice([5, 40])) for run_id in run_ids]
    path, page = folder / "landscape.db", rng.choice([512, 4096])
    random_runs.write(path, runs, rng, indexes=rng.random() < 0.5, page_size=page)
    # All but the time of the export is the same in a package of the same records.
    wanted = {run_id: naive.records_of(naive.read_tables(path), run_id, "v1") for run_id in run_ids}
    for number in range(4):
        damaged = folder / str(number) / "landscape.db"
        damaged.parent.mkdir()
        shutil.copy(path, damaged)
        what = rng.choice(FILE)(rng, damaged, page)
        what = f"{what}; pages of {page} bytes, {len(run_ids)} runs"
        _export(damaged, run_ids, [wanted, _scan(damaged, run_ids)], tally, what)


def _beside(rng: random.Random, folder: Path, tally: Tally) -> None:
    """A log, or a journal, that a crash left, damaged or not: the package is of one committed state."""
    maker = random_runs.Maker(rng)
    path = folder / "landscape.db"
    random_runs.write(path, [maker.run("run-a", 30)], rng)
    crashed = folder / "crashed" / "landscape.db"
    crashed.parent.mkdir()
    suffix = rng.choice(["-wal", "-journal"])
    states = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {'wal' if suffix == '-wal' else 'delete'}").fetchall()
        connection.execute("PRAGMA cache_size = 5")
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        for state in range(3):
            connection.execute("BEGIN")
            for statement in writer.statements(state):
                connection.execute(statement)
            if suffix == "-journal" and state == 2:
                break  # in the middle of a transaction, of which parts are in the file already
            connection.execute("COMMIT")
            states.append({"run-a": naive.records_of(naive.tables_of(connection), "run-a", "v1")})
        for entry in folder.glob("landscape.db*"):
            if not entry.name.endswith("-shm") or rng.random() < 0.5:
                shutil.copy(entry, crashed.parent / entry.name)
    if suffix == "-wal":
        states.append(_without_log(crashed, folder / "without-log.db"))
    for number in range(3):
        damaged = folder / str(number) / "landscape.db"
        shutil.copytree(crashed.parent, damaged.parent)
        if suffix == "-journal":
            # A journal that is changed rolls back something else, or nothing, which cannot be told: it stays as it is.
            what, right = "a journal of a transaction that was not committed is left", states[-1:]
        else:
            # A log ends where its checksums do not hold: an earlier state is what SQLite makes of it.
            what, right = _damage_log(rng, damaged), states
        _export(damaged, ["run-a"], right, tally, what)
        if suffix == "-journal":
            break


def _without_log(crashed: Path, target: Path) -> dict[str, list] | None:
    """The state of the file that a log is beside, without the log."""
    shutil.copy(crashed, target)
    _write(target, 18, b"\x01\x01")  # so that SQLite opens it without a log
    return _scan(target, ["run-a"])


def _scan(path: Path, run_ids: list[str]) -> dict[str, list] | None:
    """The records of each run by full scans of the file; None where SQLite, or the naive reader, cannot."""
    if not path.is_file():
        return None
    try:
        tables = naive.read_tables(path)
        found = {}
        for run_id in run_ids:
            found[run_id] = naive.records_of(tables, run_id, "v1")
        # What no record of a run leads to must not be lost: such a scan is not an export.
        return found if sum(map(len, found.values())) == sum(map(len, tables.values())) else None
    except Exception:  # the naive reader takes data for valid, and fails in any way on others
        return None


def _export(path: Path, run_ids: list[str], right: list[dict[str, list] | None], tally: Tally, what: str) -> None:
    exporter = Exporter(path.parent)
    try:
        result = exporter.export(path, "--all", "--format=jsonl", "--json")
    except Exception as error:  # it would be a traceback
        tally.judge(what, ("a traceback", f"{type(error).__name__}: {error}"))
        return
    there = [entry.name for entry in exporter.output.iterdir()] if exporter.output.exists() else []
    packages = [name for name in there if not name.startswith(".")]
    if result.exit_code == 2:
        tally.note("the command refused")
        left = ("a refused export left a package", str(packages)) if packages else None
        tally.judge(what, left or sentence_problem(result.stderr))
        return
    outcomes = json.loads(result.stdout)
    for outcome in outcomes:
        run_id, detail = outcome["run_id"], f"{what}, run {outcome['run_id']!r:.40}"
        package = exporter.output / naive.folder_name(run_id)
        if outcome["status"] == "failed":
            tally.note("a run refused")
            left = ("a failed export left a package", str(package)) if package.exists() else None
            tally.judge(detail, left or sentence_problem(outcome["error"]))
            continue
        different = [
            "there is no such run" if run_id not in state
            else naive.difference(package, state[run_id], "v1", ("jsonl",), KEY.encode())
            for state in right if state is not None
        ]  # fmt: skip
        if None not in different and exporter.run("check", "--database", f"sqlite:///{path}").exit_code == 1:
            # Rows are found by indexes; that an index is damaged is what the check of the database finds.
            tally.note("damage that the check of the database finds")
            tally.judge(detail, None)
        elif None in different:
            tally.note("a run exported as before" if different[0] is None else "a run exported as SQLite scans it")
            tally.judge(detail, None)
        else:
            tally.judge(
                detail, ("a package that is neither of the sound file nor of a scan", "; ".join(map(str, different)))
            )
    missing = set(run_ids) - {outcome["run_id"] for outcome in outcomes}
    if missing and result.exit_code == 0:
        tally.judge(what, ("a run is missing in --all, without a word", str(missing)))
