"""Discovery: which partitions the sensor registers, what it says, and what it leaves alone."""

import json
import sqlite3
from pathlib import Path

import dagster as dg
import pytest
from support.databases import changing
from support.operator import Operator, checks
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN, schema_sql

from landscape_assets.dagster_defs.sensors import PER_TICK, discover_runs


def add_runs(path: Path, *runs: tuple[str, str | None]) -> None:
    """Adds finished runs by id and time of their end; unfinished ones without."""
    with changing(path) as connection:
        connection.executemany(
            "INSERT INTO runs (run_id, started_at, completed_at, config_hash, settings_json, canonical_version, status)"
            " VALUES (?, '2026-01-01 00:00:00.000000', ?, 'h', '{}', 'v', ?)",
            [(run_id, ended, "running" if ended is None else "completed") for run_id, ended in runs],
        )


def test_finished_runs_become_partitions_and_nothing_is_started(operate: Operator) -> None:
    """A tick registers every finished run; the next has nothing to do; no Dagster run is asked for by either."""
    first = operate.discover()
    assert operate.partitions() == [COMPLETED_RUN, FAILED_RUN]
    second = operate.discover()
    assert first.run_requests == second.run_requests == []
    assert "2 of them newly registered" in (first.skip_message or "")
    assert "0 of them newly registered" in (second.skip_message or "")
    assert operate.instance.get_runs() == []
    assert discover_runs.default_status is dg.DefaultSensorStatus.RUNNING


def test_a_run_that_finishes_late_or_at_the_same_moment_is_not_missed(operate: Operator, sample: Path) -> None:
    """What counts is that a run has finished and is not registered; neither its time nor its id needs to be new."""
    moment = "2026-11-01 00:00:00.000000"
    add_runs(sample, ("m", moment), ("unfinished", None))
    operate.discover()
    add_runs(sample, ("a", moment), ("z", moment), ("old", "2020-01-01 00:00:00.000000"))
    with changing(sample) as connection:
        ended = "UPDATE runs SET status = 'failed', completed_at = '2026-10-01 00:00:00.000000' WHERE run_id IN (?, ?)"
        connection.execute(ended, (RUNNING_RUN, "unfinished"))
    operate.discover()
    assert set(operate.partitions()) == {COMPLETED_RUN, FAILED_RUN, RUNNING_RUN, "m", "unfinished", "a", "z", "old"}


def test_a_failed_read_is_skipped_with_its_reason(operate: Operator, sample: Path) -> None:
    """A database that cannot be read is not an empty one: the tick says why, and no partition is lost."""
    operate.discover()
    sample.unlink()
    missing = operate.discover()
    sample.write_text("no database")
    broken = operate.discover()
    assert "There is no file" in (missing.skip_message or "")
    assert "is not a SQLite database" in (broken.skip_message or "")
    assert missing.dynamic_partitions_requests == broken.dynamic_partitions_requests == []
    assert operate.partitions() == [COMPLETED_RUN, FAILED_RUN]


@pytest.mark.parametrize(
    ("run_id", "reason"),
    [("", "it is empty"), ("a...b", "range"), ("a\nb", "control character"), ("x" * 1001, "longer than 1000 bytes")],
)
def test_a_run_id_that_dagster_cannot_hold_is_reported(
    operate: Operator, sample: Path, run_id: str, reason: str
) -> None:
    """It is named with the reason and with what to do, and the other runs are registered."""
    add_runs(sample, (run_id, "2026-01-01 00:00:01.000000"))
    said = operate.discover().skip_message or ""
    assert repr(run_id[:80]) in said and reason in said and "landscape-assets export --run-id" in said
    assert operate.partitions() == [COMPLETED_RUN, FAILED_RUN]


def test_run_ids_that_look_odd_are_registered_as_they_are(operate: Operator, sample: Path) -> None:
    """Commas, brackets, quotes, slashes and other scripts are no trouble to Dagster."""
    odd = ["a,b", "[x]", "a|b", "../x", "a*", '"q"', " blank ", "日本語", "😀", "%2F"]
    add_runs(sample, *((run_id, "2026-01-01 00:00:01.000000") for run_id in odd))
    operate.discover()
    assert set(operate.partitions()) == {COMPLETED_RUN, FAILED_RUN, *odd}


def test_each_tick_is_bounded_and_the_rest_follows(operate: Operator, sample: Path) -> None:
    """Of many new runs a tick registers a bounded number, in additions that SQLite can take."""
    sample.unlink()
    with sqlite3.connect(sample) as connection:
        connection.executescript(schema_sql())
    many = 2 * PER_TICK + 1
    add_runs(sample, *((f"run-{number:06}", "2026-01-01 00:00:01.000000") for number in range(many)))
    for registered in (PER_TICK, 2 * PER_TICK, many, many):
        tick = operate.discover()
        assert all(len(request.partition_keys) <= 500 for request in tick.dynamic_partitions_requests)
        assert len(operate.partitions()) == registered


def test_packages_that_dagster_does_not_know_are_reported_with_what_their_manifests_say(operate: Operator) -> None:
    """After Dagster's records were lost, or after exports by the command: each package becomes a materialization of its
    partition, once; a damaged one does not."""
    with dg.DagsterInstance.ephemeral() as lost:
        before = Operator(lost, operate.exports)
        assert before.export(COMPLETED_RUN).success
        assert before.export(FAILED_RUN).success
    (operate.exports / FAILED_RUN / "manifest.json").write_text("{}")
    operate.discover()
    reported = {event.asset_key.to_user_string(): event for event in operate.discover().asset_events}
    assert set(reported) == {f"export/{name}" for name in ("jsonl", "csv", "parquet", "html", "manifest")}
    assert {event.partition for event in reported.values()} == {COMPLETED_RUN}
    manifest = json.loads((operate.exports / COMPLETED_RUN / "manifest.json").read_text())
    metadata = reported["export/manifest"].metadata
    assert metadata["final_hash"].value == manifest["final_hash"]
    assert metadata["record_count"].value == manifest["record_count"]
    for name, path in (("jsonl", "records.jsonl"), ("html", "report.html")):
        (file,) = [file for file in manifest["files"] if file["path"] == path]
        assert file["sha256"] in reported[f"export/{name}"].metadata["files"].value
    for event in (reported["export/html"], reported["export/manifest"]):
        assert event.metadata["rows"].value == manifest["record_counts"]["row"]
        assert event.metadata["failures"].value > 0
    assert operate.instance.get_runs() == []
    for event in reported.values():  # as the daemon does it
        operate.instance.report_runless_asset_event(event)
    assert operate.discover().asset_events == []


def test_a_reported_package_does_not_speak_for_itself(operate: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sensor reports is what the package says. A check with another key still says that nothing proves it."""
    with dg.DagsterInstance.ephemeral() as lost:
        assert Operator(lost, operate.exports).export(COMPLETED_RUN).success
    operate.discover()
    for event in operate.discover().asset_events:
        operate.instance.report_runless_asset_event(event)
    monkeypatch.setenv("LANDSCAPE_SIGNING_KEY", "another key, of more than sixteen bytes")
    check = checks(operate.run("verify_package", COMPLETED_RUN))["package_verifies"]
    assert not check.passed
    assert "Nor does Dagster know the manifest that was published" in (check.description or "")
