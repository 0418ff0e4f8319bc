"""A backfill through a real daemon, on two processors.

Belongs here: starting Dagster's daemon, launching a backfill by Dagster's GraphQL as the UI does, waiting for its end.
Does not belong here: what the figures are compared with (`backfill.py`).

    python -m benchmarks.daemon RUN_ID...

backfills all assets for these partitions, which are registered, in the instance that DAGSTER_HOME names, and prints
JSON: `seconds` from the launch to the end of the last Dagster run, `seconds until it was taken up` by the daemon, which
looks for backfills every 30 seconds, and medians over the Dagster runs. Processes that it
starts end with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import IO, Any

import dagster as dg

from .dagster_records import runs

ROOT = Path(__file__).resolve().parents[1]
WORKSPACE = ROOT / "workspace.yaml"

PROCESSORS = 2

DAEMONS = {"BACKFILL", "QUEUED_RUN_COORDINATOR"}
"""What must be at work before a backfill is launched."""

START_SECONDS = 120
SECONDS_A_RUN = 60
"""How long is waited at most."""

ASSETS = "{ assetNodes { assetKey { path } isMaterializable isPartitioned } }"
LAUNCH = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""


def backfill(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> dict[str, float]:
    """Backfill all assets that have partitions, a Dagster run each.

    Returns:
        `seconds` from the launch to the end of the last Dagster run; `seconds of a Dagster run` from its start to its
        end, and its `events`, both medians; `most at once`, how many went on at the same time.

    Raises:
        RuntimeError: the daemon does not start, or not every Dagster run succeeded.
    """
    nodes = _query(ASSETS, {})["assetNodes"]
    assets = [
        {"path": node["assetKey"]["path"]} for node in nodes if node["isMaterializable"] and node["isPartitioned"]
    ]
    with tempfile.TemporaryFile() as log, _daemon(log):
        end = time.monotonic() + START_SECONDS
        while not instance.get_daemon_heartbeats().keys() >= DAEMONS:
            _wait(end, "Dagster's daemon has not started", log)
        params = {"assetSelection": assets, "partitionNames": list(run_ids)}
        launched = _query(LAUNCH, {"params": params})["launchPartitionBackfill"]
        if "backfillId" not in launched:
            raise RuntimeError(f"the backfill was not launched: {launched}")
        end = time.monotonic() + START_SECONDS + SECONDS_A_RUN * len(run_ids)
        while (found := instance.get_backfill(launched["backfillId"])) is None or found.status.value == "REQUESTED":
            _wait(end, "the backfill has not ended", log)
        taken = [run for run in runs(instance) if run["backfill"] == found.backfill_id]
    failed = [run["partition"] for run in taken if run["status"] != "SUCCESS"]
    if failed or len(taken) != len(run_ids):
        raise RuntimeError(f"{len(taken)} of {len(run_ids)} runs were backfilled; of these failed: {failed}")
    return {
        "seconds": max(run["end"] for run in taken) - found.backfill_timestamp,
        "seconds until it was taken up": min(run["created"] for run in taken) - found.backfill_timestamp,
        "seconds of a Dagster run": median(run["end"] - run["start"] for run in taken),
        "events": median(run["events"] for run in taken),
        "most at once": max(sum(run["start"] <= one["start"] < run["end"] for run in taken) for one in taken),
    }


def _query(text: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The answer to a GraphQL query, by Dagster's command for it."""
    with tempfile.NamedTemporaryFile("r") as answer:
        command = ("-w", WORKSPACE, "-t", text, "-v", json.dumps(variables), "-o", answer.name)
        done = subprocess.run(
            [Path(sys.executable).with_name("dagster-graphql"), *command],
            cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        text = answer.read()
    if done.returncode or not text:
        raise RuntimeError(f"dagster-graphql ended with {done.returncode}: {done.stderr[-2_000:]}")
    document = json.loads(text)
    if document.get("errors"):
        raise RuntimeError(f"GraphQL: {document['errors'][0]['message']}")
    data: dict[str, Any] = document["data"]
    return data


@contextmanager
def _daemon(log: IO[bytes]) -> Iterator[None]:
    """Dagster's daemon, and all that it starts, in a process group of its own, which ends with the block."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name("dagster-daemon"), "run", "-w", WORKSPACE],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        for sent, seconds in ((signal.SIGINT, 20), (signal.SIGKILL, 5)):
            try:
                os.killpg(process.pid, sent)
                process.wait(seconds)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue


def _wait(end: float, otherwise: str, log: IO[bytes]) -> None:
    """A moment; or, past the end, an error with the end of the daemon's log."""
    if time.monotonic() > end:
        log.seek(0)
        raise RuntimeError(f"{otherwise}: {log.read().decode(errors='replace')[-2_000:]}")
    time.sleep(0.5)


def main(run_ids: list[str]) -> None:
    """Backfill, and print the figures."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
    with dg.DagsterInstance.get() as instance:
        print(json.dumps(backfill(instance, run_ids)))


if __name__ == "__main__":
    main(sys.argv[1:])
