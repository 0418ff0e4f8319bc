"""A Dagster deployment as an operator has it: `dg dev` with the project's dagster.yaml, and its
GraphQL.

Belongs here: starting and stopping it, and asking it what the UI asks. Does not belong here: what tests expect of the
answers.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .exporter import KEY
from .webserver import ask, free_port

PROJECT = Path(__file__).parents[2]
DAGSTER_YAML = PROJECT / "landscape_assets" / "dagster_defs" / "dagster.yaml"
"""The project's instance."""
START_SECONDS = 60
_POLLS = "poll_interval_seconds: 60"


class Deployment:
    """A running `dg dev`.

    Args:
        url: where its UI is.
        exports: the export folder.
        home: its DAGSTER_HOME.
    """

    def __init__(self, url: str, exports: Path, home: Path) -> None:
        self.url, self.exports, self.home = url, exports, home

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer to a GraphQL query; an error in it is raised."""
        return ask(self.url, query, **variables)

    def backfill(self, partitions: list[str]) -> str:
        """Launches a backfill of all assets, as the UI does; gives its id."""
        assets = self.query("{ assetNodes { assetKey { path } isMaterializable } }")["assetNodes"]
        selection = [{"path": asset["assetKey"]["path"]} for asset in assets if asset["isMaterializable"]]
        launched = self.query(
            """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
                 __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            params={"assetSelection": selection, "partitionNames": partitions},
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def backfill_status(self, backfill: str) -> str:
        """REQUESTED while it goes on, then COMPLETED_SUCCESS, COMPLETED_FAILED or another end."""
        return self.query(
            """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
                 ... on PartitionBackfill { status } } }""",
            id=backfill,
        )["partitionBackfillOrError"]["status"]

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        """The Dagster runs with these tags (`_` stands for `/`): status, tags, startTime, endTime."""
        wanted = [{"key": name.replace("_", "/", 1), "value": value} for name, value in tags.items()]
        runs = self.query(
            """query ($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs {
                 results { runId status jobName startTime endTime tags { key value } } } } }""",
            filter={"tags": wanted},
        )["runsOrError"]["results"]
        return [run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in runs]

    def partitions(self, *asset: str) -> dict[str, set[str]]:
        """The partitions of an asset by status, as its page shows them: materialized, failed, materializing,
        missing."""
        node = self.query(
            """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
                 partitionKeys
                 assetPartitionStatuses { ... on DefaultPartitionStatuses {
                   materializedPartitions failedPartitions materializingPartitions unmaterializedPartitions } } } }
                   }""",
            key={"path": list(asset)},
        )["assetNodeOrError"]
        statuses = node["assetPartitionStatuses"]
        return {"all": set(node["partitionKeys"])} | {
            name: set(statuses[f"{name}Partitions"])
            for name in ("materialized", "failed", "materializing", "unmaterialized")
        }


@contextmanager
def dagster_dev(folder: Path, database: Path, **environment: str) -> Iterator[Deployment]:
    """`dg dev` on a free port, in the project's folder, with a DAGSTER_HOME of its own, and its dagster.yaml
    but for one number: Dagster runs that died are looked for every few seconds, and not once a minute.

    Args:
        folder: what it writes goes below; a DAGSTER_HOME that is there is used.
        database: the audit database.
        environment: further settings.
    """
    home = folder / "dagster_home"
    home.mkdir(exist_ok=True)
    instance = DAGSTER_YAML.read_text("utf-8")
    assert _POLLS in instance
    (home / "dagster.yaml").write_text(instance.replace(_POLLS, "poll_interval_seconds: 3"), "utf-8")
    port = free_port()
    settings = {
        "DAGSTER_HOME": str(home),
        "LANDSCAPE_DATABASE_URL": f"sqlite:///{database}",
        "LANDSCAPE_EXPORT_DIR": str(folder / "exports"),
        "LANDSCAPE_SIGNING_KEY": KEY,
        "PYTHONWARNINGS": "ignore",
    }
    command = [Path(sys.executable).with_name("dg"), "dev", "--host", "127.0.0.1", "--port", str(port)]
    log = (folder / "dg-dev.log").open("wb")
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        env=os.environ | settings | environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    deployment = Deployment(f"http://127.0.0.1:{port}", folder / "exports", home)
    try:
        _wait_until_loaded(deployment, process, Path(log.name))
        yield deployment
    finally:
        _stop(process)
        log.close()


def _wait_until_loaded(deployment: Deployment, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if deployment.query("{ assetNodes { id } }")["assetNodes"]:
                return
        except (urllib.error.URLError, OSError, ValueError):
            pass
        time.sleep(0.3)
    raise AssertionError(f"dg dev did not come up:\n{log.read_text()[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends it and whatever it started: all are of its process group."""
    for sent, seconds in ((signal.SIGINT, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, sent)
            process.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
