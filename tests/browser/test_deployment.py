"""`dg dev` on the sample: discovery, exports, a Dagster run that is killed, and the pages that a person opens.

The tests of this file build on one another, in their order: the deployment starts once. With SCREENSHOTS naming a
folder the pages are saved there; the README's pictures come from it.
"""

import base64
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.deployment import Deployment

from landscape_assets.sample import COMPLETED_RUN, FAILED_RUN

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

SECONDS = 300
"""That a busy machine may take for what takes a few: the daemons look again after a while, and later when something
failed."""


def eventually(what: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What comes true, once it has."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds} seconds"
        time.sleep(0.3)
    return found


def launch(deployment: Deployment, partition: str) -> str:
    """Launches the job export_run for a run of the audit database, as the UI does; gives the Dagster run's id."""
    params = {
        "selector": {
            "jobName": "export_run",
            "repositoryName": "__repository__",
            "repositoryLocationName": "landscape_assets",
        },
        "runConfigData": {},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
    }
    launched = deployment.query(
        """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
             __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
        params=params,
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return launched["run"]["runId"]


def process_of(deployment: Deployment, run: str) -> int | None:
    """The process that a Dagster run is at work in."""
    events = deployment.query(
        """query ($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
             ... on MessageEvent { message } } } } }""",
        run=run,
    )["logsForRun"]["events"]
    found = re.search(r"Executing steps in process \(pid: (\d+)\)", "\n".join(event["message"] for event in events))
    return int(found[1]) if found else None


def status_of(deployment: Deployment, run: str) -> str:
    return deployment.query("query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }", run=run)[
        "runOrError"
    ]["status"]


def test_the_sensor_finds_the_finished_runs(deployment: Deployment) -> None:
    """It is on from the start; the partitions appear without anybody doing anything."""
    eventually(lambda: deployment.partitions("export", "manifest")["all"] == {COMPLETED_RUN, FAILED_RUN})


def test_a_killed_dagster_run_leaves_no_package_and_is_started_again(deployment: Deployment) -> None:
    """Its process dies: the Dagster run fails, nothing is published, its slot is free; the retry publishes."""
    other = launch(deployment, COMPLETED_RUN)
    run = launch(deployment, FAILED_RUN)
    process = eventually(lambda: process_of(deployment, run))
    os.kill(process, signal.SIGKILL)
    assert not (deployment.exports / FAILED_RUN).exists()
    eventually(lambda: status_of(deployment, run) == "FAILURE")
    eventually((deployment.exports / FAILED_RUN / "manifest.json").is_file)
    eventually(lambda: status_of(deployment, other) == "SUCCESS")
    (again,) = eventually(lambda: deployment.runs(dagster_parent_run_id=run))
    eventually(lambda: status_of(deployment, again["runId"]) == "SUCCESS")
    assert deployment.partitions("export", "manifest")["materialized"] == {COMPLETED_RUN, FAILED_RUN}
    assert not (deployment.exports / ".staging").exists()


class Pages:
    """Opens pages, waits for what they must show, and saves pictures when asked to."""

    def __init__(self, browser: "Chrome", deployment: Deployment) -> None:
        self.browser, self.url = browser, deployment.url

    def open(self, path: str, height: int = 1000) -> None:
        self.browser.set_window_size(1440, height + 143)  # what the window takes for itself
        self.browser.get(self.url + path)

    def see(self, *texts: str) -> None:
        """The page shows these texts; if it does not, soon, it is said what it shows."""
        end = time.monotonic() + 30
        while missing := [text for text in texts if text not in self.text()]:
            assert time.monotonic() < end, f"the page does not show {missing}:\n{self.text()}"
            time.sleep(0.2)

    def text(self) -> str:
        return self.browser.execute_script("return document.body.innerText")

    def click(self, text: str) -> None:
        """Clicks on the last element with this text."""
        found = eventually(lambda: self.browser.find_elements("xpath", f"//*[normalize-space(text())='{text}']"), 20)
        found[-1].click()

    def picture(self, name: str, left: int = 0, top: int = 0, scale: float = 1) -> None:
        """Saves the page from a corner on, when pictures are asked for."""
        if folder := os.environ.get("SCREENSHOTS"):
            time.sleep(6)  # what moves has arrived in its place, and every status is there
            width, height = self.browser.execute_script("return [innerWidth, innerHeight]")
            clip = {"x": left, "y": top, "width": width - left, "height": height - top, "scale": scale}
            taken = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip})
            (Path(folder) / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


@pytest.fixture
def pages(browser: "Chrome", deployment: Deployment) -> Pages:
    eventually(lambda: deployment.partitions("export", "manifest")["all"])
    return Pages(browser, deployment)


def test_the_graph_shows_where_everything_comes_from(pages: Pages) -> None:
    """From the audit database by way of its tables to the published package."""
    pages.open("/asset-groups", 760)
    pages.see("audit_database", "audit_rows", "audit_sinks", "export")
    pages.picture("graph", 540, 108)
    pages.open("/assets/export/manifest?view=lineage&lineageScope=upstream&lineageDepth=5", 1260)
    pages.see("audit_rows", "node_states", "signed_records", "manifest")


def test_a_partition_shows_its_package_and_what_it_was_made_of(pages: Pages) -> None:
    """The manifest's page: path, counts, hashes, the manifest itself, and the way back to the tables."""
    pages.open(f"/assets/export/manifest?view=partitions&partition={COMPLETED_RUN}", 860)
    pages.see("Materialized", "record_count", "302", "final_hash", "made of", f"exports/{COMPLETED_RUN}")
    pages.picture("partition")
    pages.click("[Show Markdown]")
    pages.see("landscape/node_states", "51")
    pages.picture("made-of")
    link = pages.browser.find_element("link text", "landscape/node_states").get_attribute("href")
    pages.browser.get(link)
    pages.see(f"Partition {COMPLETED_RUN} materialized", "SELECT", "FROM node_states")
    pages.picture("table")


def test_a_check_that_passed_is_shown_for_each_run(pages: Pages) -> None:
    pages.open("/assets/export/manifest?view=checks&checkDetail=package_verifies", 620)
    pages.see(
        "package_verifies",
        "references_resolve",
        "counts_match_database",
        "Passed",
        "Everything was verified, the signatures included.",
    )
    pages.picture("check")


def test_a_dagster_run_shows_its_steps(pages: Pages, deployment: Deployment) -> None:
    (run, *_) = [run for run in deployment.runs(dagster_partition=COMPLETED_RUN) if run["status"] == "SUCCESS"]
    pages.open(f"/runs/{run['runId']}", 1300)
    pages.see("Success", "landscape__tables", "export__package")
    pages.picture("run")


def test_sensor_and_schedules_are_listed_with_their_switches(pages: Pages) -> None:
    pages.open("/automation", 740)
    pages.see("discover_runs", "nightly_exports", "reverification", "housekeeping", "Scheduled At 02:00 AM UTC")
    pages.picture("automation")
