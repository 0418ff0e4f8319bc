"""An export that is killed in a Dagster instance that stays.

Belongs here: what the instance makes different. Does not belong here: kills at every call (`../faults/`).
"""

import signal
import time

import dagster as dg

from landscape_assets.orchestration.partitions import in_flight
from landscape_assets.sample import COMPLETED_RUN


def test_the_next_export_clears_up_and_the_run_is_not_in_flight_for_ever(sample, exporter, tmp_path, monkeypatch):
    """Dagster would take the killed run for one that goes on: its staged files would stay, and the nightly job wait
    for it.
    """
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    options = ("export", "--database", f"sqlite:///{sample}", "--output", exporter.output, "--run-id", COMPLETED_RUN)
    process = exporter.start(*options, DAGSTER_HOME=str(home))
    while not list(exporter.output.glob(".staging/*/records.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        assert in_flight(instance) == {COMPLETED_RUN}

    process = exporter.start(*options, DAGSTER_HOME=str(home))
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert [path.name for path in exporter.output.iterdir()] == [COMPLETED_RUN]
    with dg.DagsterInstance.get() as instance:
        assert in_flight(instance) == set()
    assert not list(home.rglob("*.unfinished"))
