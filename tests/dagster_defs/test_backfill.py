"""A backfill of past runs, by a real deployment: the daemon, its queue, and Dagster runs in processes of their own.

With BACKFILL_RUNS=300 in the environment it is the trial whose figures docs/operations.md has (`pytest -n 0 -s`
prints them).
"""

import json
import os
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.databases import changing
from support.deployment import Deployment, dagster_dev

from benchmarks.generate import generate

RUNS = int(os.environ.get("BACKFILL_RUNS", "10"))
BROKEN = "run-0003"
LIMIT = 3
"""What dagster.yaml allows a backfill at a time."""


def run_ids() -> list[str]:
    return [f"run-{number:04}" for number in range(RUNS)]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "landscape.db"
    for run_id in run_ids():
        generate(path, 3, run_id, states=2, calls=1)
    with changing(path) as connection:
        connection.execute("UPDATE node_states SET status = 'lost ' || status WHERE run_id = ?", (BROKEN,))
    return path


def wait(deployment: Deployment, backfill: str) -> int:
    """Until a backfill has ended; gives how many of its Dagster runs were seen at work at once."""
    most, end = 0, time.monotonic() + 60 + 20 * RUNS
    while time.monotonic() < end:
        runs = deployment.runs(dagster_backfill=backfill)
        most = max(most, sum(run["status"] in ("STARTING", "STARTED") for run in runs))
        if deployment.backfill_status(backfill) != "REQUESTED":
            return most
        time.sleep(max(0.3, RUNS / 60))
    raise AssertionError(f"The backfill has not ended: {[run['status'] for run in runs]}")


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.skipif("BACKFILL_RUNS" not in os.environ, reason="a trial: set BACKFILL_RUNS to how many runs")
@pytest.mark.timeout(60 + 20 * RUNS)
def test_past_runs_are_backfilled_one_dagster_run_each_and_again_only_what_is_missing(
    tmp_path: Path, database: Path
) -> None:
    """The sensor registers the runs; a backfill exports each, three at a time; one that fails does not stop the rest;
    what is failed or missing is launched again alone, and succeeds when the database is mended."""
    with dagster_dev(tmp_path, database) as deployment:
        end = time.monotonic() + 90
        while (found := deployment.partitions("export", "manifest")["all"]) != set(
            run_ids()
        ) and time.monotonic() < end:
            time.sleep(0.3)
        assert found == set(run_ids())

        started = time.monotonic()
        backfill = deployment.backfill(run_ids())
        most = wait(deployment, backfill)
        seconds = time.monotonic() - started

        runs = deployment.runs(dagster_backfill=backfill)
        assert sorted(run["tags"]["dagster/partition"] for run in runs) == run_ids()
        assert {run["tags"]["dagster/partition"] for run in runs if run["status"] != "SUCCESS"} == {BROKEN}
        assert 1 <= most <= LIMIT
        published = {path.parent.name for path in deployment.exports.glob("*/manifest.json")}
        assert published == set(run_ids()) - {BROKEN}
        assert deployment.partitions("export", "manifest")["failed"] == {BROKEN}
        figures = {
            "runs": RUNS,
            "seconds": round(seconds, 1),
            "seconds per run": round(seconds / RUNS, 2),
            "seconds of a Dagster run": _median(run["endTime"] - run["startTime"] for run in runs),
            "most at once": most,
            "bytes of Dagster's records per run": bytes_below(deployment.home / "history") // RUNS,
            "bytes of logs per run": sum(bytes_below(p) for p in (deployment.home / "storage").glob("*-*-*")) // RUNS,
            "bytes between the assets per run": bytes_below(deployment.home / "storage" / "landscape_assets") // RUNS,
            "bytes of packages per run": bytes_below(deployment.exports) // RUNS,
        }
        print(json.dumps(figures, indent=2))

        with changing(database) as connection:
            connection.execute("UPDATE node_states SET status = substr(status, 6) WHERE run_id = ?", (BROKEN,))
        left = deployment.partitions("export", "manifest")
        again = deployment.backfill(sorted(left["failed"] | left["unmaterialized"]))
        wait(deployment, again)
        (run,) = deployment.runs(dagster_backfill=again)
        assert (run["tags"]["dagster/partition"], run["status"]) == (BROKEN, "SUCCESS")
        assert (deployment.exports / BROKEN / "manifest.json").is_file()
