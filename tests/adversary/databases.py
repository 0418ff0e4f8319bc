"""Random databases, exported by the command, against the naive reader.

Belongs here: the kind `databases`. Does not belong here: how databases are made (`random_runs.py`) and compared
(`naive.py`).
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

from support.exporter import KEY, Exporter

from landscape_assets.verify import verify_package

from . import naive, random_runs
from .trials import Tally

FORMATS = ("jsonl", "csv", "parquet")


def attempt(seed: int, folder: Path, tally: Tally) -> None:
    """One database of one to four runs, exported once; each package, and each refusal, is one trial."""
    rng = random.Random(f"databases {seed}")
    maker = random_runs.Maker(rng)
    contract = rng.choice(["v0", "v1", "v1"])
    large = rng.random() < 0.1
    runs, statuses = [], {}
    for run_id in rng.sample(random_runs.RUN_IDS, rng.randint(1, 4)):
        statuses[run_id] = rng.choice(["completed", "completed", "completed", "failed", "running", "interrupted"])
        size = rng.choice([0, 1, 4, 12, 30]) if not large else rng.choice([500, 3000])
        runs.append(maker.run(run_id, size, statuses[run_id]))
    path = folder / "landscape.db"
    layout = {
        "contract": contract,
        "encoding": rng.choice(["UTF-8"] * 6 + ["UTF-16le", "UTF-16be"]),
        "indexes": rng.random() < 0.4,
        "page_size": rng.choice([512, 1024, 4096, 65536]),
    }
    random_runs.write(path, runs, rng, **layout)
    before = hashlib.sha256(path.read_bytes()).digest()
    tables = naive.read_tables(path)
    rows = sum(len(found) for name, found in tables.items() if (contract, name) != ("v0", "token_outcomes"))
    assert rows == sum(len(naive.records_of(tables, run_id, contract)) for run_id in statuses), (
        "the naive reader lost rows"
    )

    formats = tuple(rng.sample(FORMATS, rng.randint(1, 3)))
    key = rng.choice([KEY, KEY, "schlüssel \U0001f511 mit sechzehn", None]) if rng.random() < 0.9 else None
    options = [f"--format={name}" for name in formats]
    environment: dict[str, str | None] = {"LANDSCAPE_SIGNING_KEY": key}
    if key is None:
        options.append("--no-sign")
    if large or rng.random() < 0.3:
        environment["LANDSCAPE_MEMORY_MB"] = "1"
    # A run_id with a NUL cannot be an argument, and none has one.
    asked = list(statuses) if rng.random() < 0.4 else rng.sample(list(statuses), rng.randint(1, len(statuses)))
    every = rng.random() < 0.4
    if every:
        asked = [run_id for run_id, status in statuses.items() if status in ("completed", "failed")]
    which = ["--all"] if every else [f"--run-id={run_id}" for run_id in asked]
    shown = f"{layout}, {len(runs)} runs, {' '.join(options + which)!r}, {environment.get('LANDSCAPE_MEMORY_MB')} MB"

    exporter = Exporter(folder)
    result = exporter.export(path, *which, *options, "--json", **environment)
    if result.exit_code == 2 or not result.stdout.strip():
        tally.judge(shown, ("the command refuses a valid database", result.stderr))
        return
    outcomes = {outcome["run_id"]: outcome for outcome in json.loads(result.stdout)}
    names = set()
    for run_id in asked:
        outcome = outcomes.get(run_id)
        what = f"{shown}, run {run_id!r:.60}"
        if outcome is None:
            tally.judge(what, ("a run that was asked for is not reported", str(sorted(outcomes))))
        elif statuses[run_id] not in ("completed", "failed"):
            good = outcome["status"] == "failed" and "has not finished" in outcome.get("error", "")
            tally.judge(what, None if good else ("an unfinished run is not refused as such", str(outcome)))
        elif outcome["status"] != "exported":
            tally.judge(what, ("a valid run is refused", str(outcome.get("error"))))
        else:
            package = exporter.output / naive.folder_name(run_id)
            names.add(package.name)
            tally.judge(what, _problem(package, tables, run_id, contract, formats, key))
    if exporter.output.exists():
        there = {entry.name for entry in exporter.output.iterdir() if not entry.name.startswith(".")}
        if there != names:
            tally.judge(shown, ("folders that are not packages of these runs", str(there ^ names)))
    beside = [entry.name for entry in folder.iterdir() if entry.name.startswith(f"{path.name}-")]
    if beside or hashlib.sha256(path.read_bytes()).digest() != before:
        tally.judge(shown, ("the database is not as it was", str(beside)))
    if set(outcomes) - set(asked):
        tally.judge(shown, ("a run that was not asked for is reported", str(set(outcomes) - set(asked))))
    tally.note(f"contract {contract}")
    tally.note(layout["encoding"])


def _problem(
    package: Path, tables: naive.Tables, run_id: str, contract: str, formats: tuple[str, ...], key: str | None
) -> tuple[str, str] | None:
    secret = None if key is None else key.encode()
    records = naive.records_of(tables, run_id, contract)
    if different := naive.difference(package, records, contract, formats, secret):
        return "a package differs from the naive export", different
    report = verify_package(package, key=secret, processes=1)
    wanted = 10 if key is None else 0
    if report.status != wanted:
        return "a package does not verify", report.to_text()
    return None
