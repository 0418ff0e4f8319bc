"""Settings of the command `export`: keys, options and their environment variables, and wrong usage.

Belongs here: what a setting does, on SQLite alone: none of it has to do with the database. Does not belong here: what
an export is (`test_export.py`).
"""

import hashlib
import hmac
import json
import shutil
from pathlib import Path

import pytest
from support.exporter import KEY, Exporter
from support.pipeline import url
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN


@pytest.fixture(scope="module")
def exported(sample_file, tmp_path_factory):
    """An export folder with the completed run of the sample; not to be changed."""
    exporter = Exporter(tmp_path_factory.mktemp("exported"))
    exporter.outcome(sample_file, COMPLETED_RUN)
    return exporter.output


@pytest.fixture
def package(exported, exporter):
    """A copy of that package, in the exporter's export folder."""
    shutil.copytree(exported, exporter.output)
    return exporter.output / COMPLETED_RUN


def manifest_of(package: Path) -> dict:
    return json.loads((package / "manifest.json").read_bytes())


@pytest.mark.parametrize(
    ("key", "says"), [(None, "--no-sign"), ("", "blank"), ("  \n", "blank")], ids=["missing", "empty", "blank"]
)
def test_without_a_key_the_command_stops(sample, exporter, key, says):
    """Signing is the default: a missing or blank key is said before anything is read, with both ways out."""
    result = exporter.export(sample, "--all", LANDSCAPE_SIGNING_KEY=key)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "LANDSCAPE_SIGNING_KEY" in result.stderr
    assert result.stdout == ""
    assert not exporter.output.exists()


def test_a_short_key_is_warned_of(sample, exporter):
    """It signs, and the warning goes to standard error without it."""
    result = exporter.export(
        sample, "--run-id", COMPLETED_RUN, "--format", "jsonl", "--json", LANDSCAPE_SIGNING_KEY="abcXYZ"
    )
    assert result.exit_code == 0
    assert "shorter than 16 bytes" in result.stderr
    assert "abcXYZ" not in result.output
    assert json.loads(result.stdout)[0]["status"] == "exported"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_key_file_ends_in_a_line_end_or_not(sample, exporter, package, tmp_path, ending):
    """One line end at the end of the file is not part of the key."""
    file = tmp_path / "key"
    file.write_bytes((KEY + ending).encode())
    outcome = exporter.outcome(sample, COMPLETED_RUN, LANDSCAPE_SIGNING_KEY=None, LANDSCAPE_SIGNING_KEY_FILE=str(file))
    assert outcome["status"] == "unchanged"


def test_other_white_space_belongs_to_the_key(sample, exporter, package, tmp_path):
    """A blank, or a second line end, is part of it."""
    file = tmp_path / "key"
    file.write_text(KEY + " \n\n")
    signs = hmac.new(f"{KEY} \n".encode(), b"landscape-assets key id", hashlib.sha256).hexdigest()
    outcome = exporter.outcome(sample, COMPLETED_RUN, LANDSCAPE_SIGNING_KEY=None, LANDSCAPE_SIGNING_KEY_FILE=str(file))
    assert f"signing key_id is hmac:{signs[:16]}" in outcome["error"]


def test_settings_come_from_the_environment(sample, exporter, tmp_path):
    """Everything that an option says can be said in the environment; the option wins."""
    environment = {
        "LANDSCAPE_DATABASE_URL": url(sample),
        "LANDSCAPE_EXPORT_DIR": str(tmp_path / "of environment"),
        "LANDSCAPE_SIGN": "no",
        "LANDSCAPE_FORMATS": "jsonl",
        "LANDSCAPE_SIGNING_KEY": None,
    }
    assert exporter.run("export", "--run-id", FAILED_RUN, **environment).exit_code == 0
    assert manifest_of(tmp_path / "of environment" / FAILED_RUN)["signing"] is None
    other = environment | {"LANDSCAPE_SIGNING_KEY": KEY, "LANDSCAPE_SIGNING_KEY_ID": "key 7"}
    assert exporter.run("export", "--run-id", FAILED_RUN, "--sign", "--output", exporter.output, **other).exit_code == 0
    assert manifest_of(exporter.output / FAILED_RUN)["signing"] == {"algorithm": "hmac-sha256", "key_id": "key 7"}


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ([], {}, "--run-id, or take every finished run with --all"),
        (["--all", "--run-id", "x"], {}, "--run-id, or take every finished run with --all"),
        (["--all", "--format", "xml"], {}, "'xml' is not one of"),
        (["--all"], {"LANDSCAPE_SIGN": "maybe"}, "it must be yes or no"),
        (["--all"], {"LANDSCAPE_FORMATS": "jsonl,xml"}, "names 'xml'"),
        (["--all"], {"LANDSCAPE_MEMORY_MB": "much"}, "it must be a whole number"),
        (
            ["--all"],
            {"LANDSCAPE_SIGNING_KEY": None, "LANDSCAPE_SIGNING_KEY_FILE": "/nowhere/key"},
            "/nowhere/key cannot be read",
        ),
        (["--all", "--database", "sqlite:///nowhere.db"], {}, "There is no file"),
        (["--all", "--database", ""], {}, "it is empty"),
        (["--all", "--output", ""], {}, "it is empty"),
        (["--all", "--format", ""], {}, "'' is not one of"),
    ],
)
def test_wrong_usage_ends_with_2(sample, exporter, arguments, environment, says):
    """What is wrong is said on standard error, nothing is said on standard output, and nothing is made."""
    result = exporter.export(sample, *arguments, "--json", **environment)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""
    assert not exporter.output.exists()


@pytest.mark.parametrize(
    "arguments", [["demo", ""], ["keygen", ""], ["runs", "--output", ""], ["runs", "--database", ""]]
)
def test_an_empty_path_is_not_the_working_folder(exporter, arguments):
    """As a variable of the shell that is not set gives it; nothing is written there."""
    result = exporter.run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "it is empty" in result.stderr
    assert list(exporter.folder.iterdir()) == []


def test_the_empty_run_id_is_one(sample, exporter):
    """It is looked for like any other."""
    outcome = exporter.outcome(sample, "", "--format=jsonl")
    assert (outcome["run_id"], outcome["status"]) == ("", "failed")
    assert "no run" in outcome["error"]


def test_without_an_export_folder_the_command_ends_with_2(sample, exporter):
    """There is no default for where packages go."""
    result = exporter.run("export", "--database", url(sample), "--all")
    assert result.exit_code == 2
    assert "--output" in result.stderr


def test_an_export_folder_that_cannot_be_made_is_an_error(sample, exporter):
    """The run fails with what the file system says."""
    exporter.output.write_text("a file")
    result = exporter.export(sample, "--run-id", COMPLETED_RUN)
    assert result.exit_code in (1, 2)
    assert str(exporter.output) in result.output


def test_the_key_is_nowhere(sample, tmp_path, monkeypatch):
    """Neither what is printed nor any file of the package or of Dagster's storage holds the key."""
    monkeypatch.chdir(tmp_path)
    exporter = Exporter(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    key = "needle-in-a-haystack-0123456789"
    environment = {"LANDSCAPE_SIGNING_KEY": key, "DAGSTER_HOME": str(home)}
    result = exporter.export(sample, "--run-id", FAILED_RUN, **environment)
    assert result.exit_code == 0
    failing = exporter.export(
        sample, "--run-id", FAILED_RUN, "--run-id", "nowhere", "--format", "csv", "--json", **environment
    )
    assert failing.exit_code == 1
    assert key not in result.output + failing.output
    files = [path for path in (*home.rglob("*"), *exporter.output.rglob("*")) if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if key.encode() in path.read_bytes()]
