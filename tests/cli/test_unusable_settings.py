"""Settings that cannot be used: one sentence that names the setting, on standard error, and exit status 2.

Belongs here: wrong folders, a wrong Dagster home, bytes that are no text, of every command. Does not belong here: what
a setting that is right does (`test_settings.py`).
"""

import os
import stat
from pathlib import Path

import pytest
from support.exporter import KEY, Exporter
from support.pipeline import url
from support.sample_v1 import COMPLETED_RUN

NOT_UTF8 = os.fsdecode(b"abcdefghijklmnopqrst\xff")
EXPORT = (f"--run-id={COMPLETED_RUN}", "--format=jsonl", "--json")


def said(result) -> str:
    """The one sentence that a command ended with, which is all that it said."""
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ") and "Traceback" not in result.stderr
    return lines[0]


@pytest.fixture
def taken(tmp_path) -> Path:
    """A file, where a folder would have to be."""
    path = tmp_path / "taken"
    path.write_text("a file")
    return path


@pytest.mark.parametrize("setting", ["LANDSCAPE_EXPORT_DIR", "LANDSCAPE_SCRATCH_DIR"])
@pytest.mark.parametrize("below", ["", "x/y"])
def test_a_file_in_the_way_of_a_folder(sample, exporter, taken, setting, below):
    """It ends the command before anything is read."""
    settings = {"LANDSCAPE_DATABASE_URL": url(sample), "LANDSCAPE_EXPORT_DIR": str(exporter.output)}
    settings |= {setting: str(taken / below)}
    sentence = said(exporter.run("export", *EXPORT, **settings))
    assert setting in sentence
    assert f"{taken} is not a folder" in sentence
    assert not exporter.output.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize(("mode", "below"), [(0o500, ""), (0o500, "x"), (0o300, ""), (0o300, ".staging")])
def test_an_export_folder_without_permissions(sample, exporter, mode, below):
    """Read-only, below a read-only folder, or not to be read."""
    folder = exporter.output / below if below.startswith(".") else exporter.output
    folder.mkdir(parents=True)
    folder.chmod(mode)
    try:
        output = exporter.output if below.startswith(".") else exporter.output / below
        sentence = said(exporter.run("export", "--database", url(sample), "--output", output, *EXPORT))
    finally:
        folder.chmod(stat.S_IRWXU)
    assert "LANDSCAPE_EXPORT_DIR" in sentence
    assert str(folder) in sentence


def test_a_folder_that_can_never_be_made_ends_the_command(sample, exporter):
    """In /proc there is a folder above, and none can be made in it: not tried without end."""
    process = exporter.start("export", "--database", url(sample), "--output", "/proc/x", *EXPORT)
    try:
        stdout, stderr = process.communicate(timeout=300)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (2, "")
    assert "(/proc/x): No such file or directory" in stderr
    assert "LANDSCAPE_EXPORT_DIR" in stderr


def test_an_export_folder_that_cannot_be_read(sample, exporter):
    """`runs` cannot tell which packages there are."""
    output = exporter.folder / ("y" * 300)
    sentence = said(exporter.run("runs", "--database", url(sample), "--output", output, "--json"))
    assert "LANDSCAPE_EXPORT_DIR" in sentence
    assert "File name too long" in sentence


def test_an_export_does_not_look_at_dagster_s_home(sample, exporter, tmp_path):
    """DAGSTER_HOME means nothing to `export`, be it there or not."""
    assert exporter.outcome(sample, COMPLETED_RUN, "--format=jsonl", DAGSTER_HOME="nowhere")["status"] == "exported"


def test_a_demo_with_an_unusable_dagster_home(exporter, tmp_path):
    """The sentence names the variable, and no value of dagster.yaml, which may hold a password."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: needle\n")
    result = exporter.run("demo", tmp_path / "demo", DAGSTER_HOME=str(home))
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: The Dagster instance that DAGSTER_HOME names cannot be opened")
    assert "needle" not in result.output


def test_an_export_on_the_command_line_needs_no_schedule(sample, exporter, monkeypatch):
    """A wrong cron expression is for whoever loads the schedules to mend."""
    monkeypatch.setenv("LANDSCAPE_SCHEDULE_CRON", "bad")
    assert exporter.outcome(sample, COMPLETED_RUN, "--format=jsonl")["status"] == "exported"


@pytest.mark.parametrize(
    "setting",
    [
        "LANDSCAPE_SIGNING_KEY",
        "LANDSCAPE_SIGNING_KEY_ID",
        "LANDSCAPE_SIGNING_KEY_FILE",
        "LANDSCAPE_SIGNING_PRIVATE_KEY_FILE",
        "LANDSCAPE_EXPORT_DIR",
        "LANDSCAPE_DATABASE_URL",
    ],
)
def test_a_setting_that_is_not_utf8(sample, exporter, setting):
    """It is named, and not repeated."""
    settings = {"LANDSCAPE_DATABASE_URL": url(sample), "LANDSCAPE_EXPORT_DIR": str(exporter.output), setting: NOT_UTF8}
    if setting == "LANDSCAPE_SIGNING_KEY_FILE":
        settings["LANDSCAPE_SIGNING_KEY"] = None
    sentence = said(exporter.run("export", *EXPORT, **settings))
    assert sentence == f"Error: {setting} is not UTF-8 text."
    assert not exporter.output.exists()


def test_a_run_id_that_is_not_utf8(sample, exporter):
    """Wrong usage."""
    result = exporter.export(sample, "--run-id", NOT_UTF8)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'--run-id': 'abcdefghijklmnopqrst\\udcff' is not UTF-8 text" in result.stderr


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n", "\n\n"])
def test_a_key_that_ends_in_a_line_end_is_refused(sample, exporter, ending):
    """As a key that was made of a file with its line end: the file itself stands for another key."""
    sentence = said(exporter.export(sample, *EXPORT, LANDSCAPE_SIGNING_KEY=KEY + ending))
    assert "LANDSCAPE_SIGNING_KEY ends in a line end" in sentence
    assert "LANDSCAPE_SIGNING_KEY_FILE" in sentence
    assert KEY not in sentence
    assert not exporter.output.exists()


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"])
def test_a_package_verifies_with_the_key_file_that_it_was_signed_with(sample, exporter, tmp_path, ending):
    """Whatever the file ends in, export and verify take the same key from it."""
    file = tmp_path / "key"
    file.write_bytes(KEY.encode() + ending)
    settings = {"LANDSCAPE_SIGNING_KEY": None, "LANDSCAPE_SIGNING_KEY_FILE": str(file)}
    package = exporter.outcome(sample, COMPLETED_RUN, "--format=jsonl", **settings)["package"]
    assert exporter.run("verify", package, "--key-file", file).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("export", *EXPORT, "--output", "relative"), "'relative', relative to the working folder"),
        (("runs", "--json", "--output", "relative"), "'relative', relative to the working folder"),
        (("demo",), "The sample cannot be written"),
    ],
)
def test_a_working_folder_that_is_gone(sample, exporter: Exporter, tmp_path, monkeypatch, arguments, says):
    """Only what is relative to it cannot be used."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        assert says in said(exporter.run(*arguments, LANDSCAPE_DATABASE_URL=url(sample)))
    finally:
        os.chdir(tmp_path)
