"""A log to which the job export_backlog and two processes append at once.

Belongs here: many real exports, each logged once. Does not belong here: large logs of manifests alone
(`test_log_files.py`).
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from support.exporter import KEY, Exporter
from support.sample_v1 import COMPLETED_RUN

from benchmarks.generate import generate_all
from landscape_assets.dagster_defs.backlog import EXPORT_BACKLOG
from landscape_assets.dagster_defs.build import build_defs
from landscape_assets.dagster_defs.export_log import LOG
from landscape_assets.evidence import LogSettings, sync, tiles
from landscape_assets.records.sign import ManifestKey
from landscape_assets.verify import Status, verify_log

from .conftest import ORIGIN, Signer
from .test_log_files import add_manifests

EXPORTING = """
import sys
from landscape_assets.pipeline import FAILED, export_runs
from landscape_assets.settings import Settings
run_ids = [f"run-{number:05d}" for number in range(int(sys.argv[1]), int(sys.argv[2]))]
outcomes = list(export_runs(run_ids, Settings.from_environment()))
assert not any(one.status == FAILED or one.log_problem for one in outcomes), outcomes
assert len({one.log_index for one in outcomes} - {None}) == len(run_ids)
"""


@pytest.mark.parametrize(
    ("count", "before"), [(60, 0), pytest.param(1_000, 9_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_a_backlog_and_two_processes(
    count: int,
    before: int,
    exports: Path,
    exporter: Exporter,
    tmp_path: Path,
    signer: Signer,
    monkeypatch: pytest.MonkeyPatch,
):
    """Each package has one entry, and its own place; every checkpoint on the way is a beginning of the last.

    Packages of before, in which there is only the manifest, make the log as long as it is after years.
    """
    database, folder = tmp_path / "many.db", exporter.output
    generate_all(database, 1, [f"run-{number:05d}" for number in range(count)], states=1, calls=0)
    given = {
        "LANDSCAPE_DATABASE_URL": f"sqlite:///{database}",
        "LANDSCAPE_EXPORT_DIR": str(folder),
        "LANDSCAPE_SIGNING_KEY": KEY,
        "LANDSCAPE_FORMATS": "jsonl",
        **signer.settings,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    add_manifests(folder, exports / COMPLETED_RUN / "manifest.json", count, count + before)
    folder.mkdir(exist_ok=True)
    assert sync(folder, LogSettings(ManifestKey.load(signer.private), ORIGIN)).added == before
    share = count // 10
    parts = [(0, share), (share, 2 * share)]
    others = [subprocess.Popen([sys.executable, "-c", EXPORTING, *map(str, part)]) for part in parts]
    run_ids = [f"run-{number:05d}" for number in range(2 * share, count)]
    config = {"ops": {"export_runs": {"config": {"run_ids": run_ids}}}, "loggers": {"console": {"config": {}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(automation=False).resolve_job_def(EXPORT_BACKLOG.name)
        assert job.execute_in_process(instance=instance, run_config=config).success
        assert [process.wait(500) for process in others] == [0, 0]
        event = instance.get_latest_materialization_event(LOG)
        assert event is not None
    log = folder / ".log"
    size = int((log / "checkpoint").read_text().split("\n")[1])
    found = [json.loads(entry)["run_id"] for entry in tiles.read_entries(log, size)]
    assert sorted(found) == sorted(f"run-{number:05d}" for number in range(count + before))
    earlier = sorted((log / "checkpoints").glob("*"), key=lambda path: int(path.name))
    kept = (earlier or [log / "checkpoint"])[0].read_bytes()
    started = time.process_time()
    report = verify_log(folder, public_key=signer.public_key, checkpoint=kept, packages=False)
    print(f"{size} entries, {len(earlier)} earlier checkpoints: {time.process_time() - started:.1f} s")
    assert report.status is Status.VERIFIED, report.to_text()
