"""Exports and readers at the same time.

Belongs here: processes that meet in one export folder. Does not belong here: two exports of one run that start at the
same time, of which one may lose or may find the package (`../cli/test_interruption.py`).
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.exporter import KEY, content
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

from landscape_assets.storage.work_dirs import make_work_dir, remove_work_dir, run_lock, staging_root
from landscape_assets.verify import Status, verify_package


def read_through(folder: Path) -> str | None:
    """The manifest's hash of a package that is there and whole, read as one reader sees it; None where there is none.

    The folder is opened once, and everything read through it: a reader that goes by names could meet two packages
    in turn.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        with open("manifest.json", "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=descriptor)) as file:
            data = file.read()
        for listed in json.loads(data)["files"]:
            with open(listed["path"], "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=descriptor)) as file:
                assert hashlib.file_digest(file, "sha256").hexdigest() == listed["sha256"], listed["path"]
    finally:
        os.close(descriptor)
    return hashlib.sha256(data).hexdigest()


def poll(process: subprocess.Popen[str], folder: Path) -> list[str | None]:
    """What a reader sees until the process has ended, without repetition."""
    seen = [read_through(folder)]
    with process:
        while process.poll() is None:
            if (now := read_through(folder)) != seen[-1]:
                seen.append(now)
            time.sleep(0.001)  # and no more: what lasts longer is seen, and the export has the processor too
        assert process.returncode == 0, process.communicate()
    now = read_through(folder)
    return seen if now == seen[-1] else [*seen, now]


def test_a_reader_sees_no_package_or_a_whole_one(sample, exporter):
    """While a package is published, and then superseded, who looks finds none, the one, or the other: never a part."""
    options = ("export", "--database", f"sqlite:///{sample}", "--output", exporter.output, "--run-id", COMPLETED_RUN)
    package = exporter.output / COMPLETED_RUN
    first = poll(exporter.start(*options), package)
    assert [one is None for one in first] == [True, False]
    second = poll(exporter.start(*options, "--supersede", "--format", "jsonl"), package)
    assert len(second) == 2
    assert second[0] == first[1]
    assert verify_package(package, key=KEY.encode(), processes=1).status is Status.VERIFIED


def test_two_runs_at_once_do_not_disturb_each_other(sample, exporter):
    """Two processes export two runs into one folder; both packages are whole and nothing else is left."""
    run_ids = (COMPLETED_RUN, FAILED_RUN)
    options = (
        "export",
        "--database",
        f"sqlite:///{sample}",
        "--output",
        exporter.output,
        "--format",
        "jsonl",
        "--run-id",
    )
    processes = [exporter.start(*options, run_id) for run_id in run_ids]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert [code for _, code in ended] == [0, 0], ended
    assert sorted(path.name for path in exporter.output.iterdir()) == sorted(run_ids)
    for run_id in run_ids:
        report = verify_package(exporter.output / run_id, key=KEY.encode(), run_id=run_id, processes=1)
        assert report.status is Status.VERIFIED


@pytest.mark.parametrize("published", [False, True])
def test_who_comes_while_another_exports_the_run_loses_clearly(sample, exporter, published):
    """As long as one process exports a run, another that is asked for it fails, says why, and changes nothing: neither
    what the first has staged, nor a package that is there. Other runs are free, and so is this one afterwards."""
    if published:
        exporter.outcome(sample, COMPLETED_RUN, "--format", "jsonl")
    options = ("export", "--database", f"sqlite:///{sample}", "--output", exporter.output, "--json")
    command = (*options, "--format", "csv", "--supersede", "--run-id")

    def run(run_id: str) -> tuple[int, dict]:
        process = exporter.start(*command, run_id)
        output, _ = process.communicate(timeout=120)
        (outcome,) = json.loads(output)
        return process.returncode, outcome

    with run_lock(exporter.output, COMPLETED_RUN):
        staged = make_work_dir(staging_root(exporter.output), COMPLETED_RUN, "the-first")
        (staged / "records.jsonl").write_text("half of a rec")
        before = content(exporter.output)
        code, outcome = run(COMPLETED_RUN)
        assert (code, outcome["status"]) == (1, "failed")
        assert f"Another export of run '{COMPLETED_RUN}' into {exporter.output} is under way." in outcome["error"]
        assert content(exporter.output) == before
        assert run(FAILED_RUN)[0] == 0
        assert {name: now for name, now in content(exporter.output).items() if name in before} == before
        remove_work_dir(staged)
    code, outcome = run(COMPLETED_RUN)
    assert (code, outcome["status"]) == (0, "exported")
    assert (exporter.output / ".superseded").exists() == published


_MANY_FOLDERS = """
import sys
import uuid
from pathlib import Path
from landscape_assets.storage.work_dirs import make_work_dir, remove_stale, remove_work_dir, run_lock, staging_root

output = Path(sys.argv[1])
for _ in range(300):
    remove_stale(staging_root(output), None)
    folder = make_work_dir(staging_root(output), None, uuid.uuid4().hex)
    with run_lock(output, sys.argv[2]):
        (folder / "file").write_text("kept as long as it is held")
    remove_work_dir(folder)
"""


def test_a_folder_that_is_held_is_never_taken_for_abandoned(tmp_path):
    """Processes that make, clear and remove work folders below one root all the time do not lose one to another."""
    processes = [
        subprocess.Popen([sys.executable, "-c", _MANY_FOLDERS, tmp_path, f"run-{i}"], stderr=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert errors == [""] * len(processes)
    assert content(tmp_path) == {}
