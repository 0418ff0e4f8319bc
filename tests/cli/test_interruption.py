"""Exports that are killed, run at the same time, or run out of room: no package that is not whole, and the next one is
right.

Belongs here: processes of their own. Does not belong here: what one command alone does (`test_export.py`).
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rfc8785
from support.exporter import KEY, content
from support.pipeline import make_records, texts

from benchmarks.generate import generate

RUN = "run-large"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A run whose export takes a second or two."""
    path = tmp_path_factory.mktemp("large") / "landscape.db"
    generate(path, 6_000, RUN, states=3, calls=2)
    return path


def arguments(database: Path, output: Path, *more: str) -> list[str]:
    return ["export", "--database", f"sqlite:///{database}", "--output", str(output), "--run-id", RUN, "--json", *more]


def staged(output: Path) -> list[Path]:
    """The files that are there while an export is at work, and removes folders."""
    return [Path(folder) / name for folder, _, names in os.walk(output / ".staging") for name in names]


@pytest.mark.parametrize("stage", ["tables", "files"])
def test_what_a_killed_export_left_is_gone_after_the_next(large, exporter, stage):
    """Killed while it reads tables, or while it stages files: no package; the same command again succeeds, leaves
    nothing else
    behind, and gives the records that an undisturbed export gives."""
    process = exporter.start(*arguments(large, exporter.output))
    deadline = time.monotonic() + 60
    wanted = "node_states.arrow" if stage == "tables" else "records.jsonl"
    while not any(path.name == wanted for path in staged(exporter.output)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert staged(exporter.output), "it was killed in the middle"
    assert [path.name for path in exporter.output.iterdir()] == [".staging"]

    outcome = exporter.outcome(large, RUN)
    assert outcome["status"] == "exported"
    assert [path.name for path in exporter.output.iterdir()] == [RUN]
    made = make_records(large, RUN, exporter.folder / "undisturbed")
    assert outcome["record_count"] == len(texts(made))
    package = exporter.output / RUN
    lines = (package / "records.jsonl").read_text("utf-8").splitlines()
    assert [
        rfc8785.dumps({k: v for k, v in json.loads(line).items() if k != "signature"}).decode()
        for line in lines[:-1:97]
    ] == (texts(made)[::97])


def test_two_exports_at_once_give_one_package(large, exporter):
    """Of two processes that export the same run, one makes the package; the other says that it is under way, or that it
    is there."""
    processes = [exporter.start(*arguments(large, exporter.output)) for _ in range(2)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    results = [json.loads(output)[0] for (output, _), _ in ended]
    statuses = sorted(result["status"] for result in results)
    assert statuses in (["exported", "failed"], ["exported", "unchanged"]), ended
    for result, (_, code) in zip(results, ended, strict=True):
        assert code == (1 if result["status"] == "failed" else 0)
        if result["status"] == "failed":
            assert "Another export of run 'run-large'" in result["error"]
            assert "is under way" in result["error"]
    assert [path.name for path in exporter.output.iterdir()] == [RUN]
    assert exporter.outcome(large, RUN)["status"] == "unchanged"


@pytest.mark.parametrize("megabytes", [1, 9])
def test_without_room_there_is_a_message_and_no_package(large, exporter, megabytes):
    """A file that cannot grow (as on a full disk) ends the export, with a message that says so and no package."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * 2**20, megabytes * 2**20))

    mine = {name: value for name, value in os.environ.items() if not name.startswith(("LANDSCAPE_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-m", "landscape_assets.cli", *arguments(large, exporter.output)],
        env=mine | {"LANDSCAPE_SIGNING_KEY": KEY},
        cwd=exporter.folder,
        preexec_fn=limit,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    (outcome,) = json.loads(done.stdout)
    assert outcome["status"] == "failed"
    assert "There is no room left to write" in outcome["error"]
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert content(exporter.output) in ({}, {".staging": None})
    assert exporter.outcome(large, RUN, "--format", "jsonl")["status"] == "exported"


def test_plain_lines_where_there_is_no_terminal(sample, exporter):
    """Without a terminal there is a line a run and no progress bar; `--json` prints one document on standard output."""
    common = ("export", "--database", f"sqlite:///{sample}", "--output", exporter.output, "--all", "--format", "jsonl")
    process = exporter.start(*common)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert [line.split(":")[1].split(",")[0] for line in output.splitlines()] == [" exported", " exported"]
    process = exporter.start(*common, "--json")
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert [outcome["status"] for outcome in json.loads(output)] == ["unchanged", "unchanged"]
