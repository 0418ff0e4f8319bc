"""The commands `runs` and `demo`, and the command line as such.

Belongs here: what they print and leave behind. Does not belong here: `export` (`test_export.py`).
"""

import json
import subprocess
import sys

import dagster as dg
import pytest
from support.exporter import Exporter, content

from landscape_assets import __version__
from landscape_assets.sample import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN


def test_help_answers_without_dagster_and_polars():
    """`--help` of every command imports neither: it answers at once."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom landscape_assets.cli import main\n"
        "for words in (['--help'], ['--version'], *([name, '-h'] for name in main.commands)):\n"
        "    result = CliRunner().invoke(main, words)\n"
        "    assert result.exit_code == 0 and result.output, words\n"
        "print(*sorted({'dagster', 'polars', 'pyarrow', 'sqlalchemy'} & set(sys.modules)), len(main.commands))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    words = done.stdout.split()
    assert len(words) == 1, f"imported: {words[:-1]}"
    assert int(words[0]) >= 3


def test_the_command_is_installed_under_its_name():
    """`landscape-assets` is on the path of the environment, and says its version."""
    command = f"{sys.prefix}/bin/landscape-assets"
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert __version__ in done.stdout


def test_runs_lists_every_run(sample, exporter):
    """Status, times as stored, and whether a complete package is there."""
    exporter.export(sample, "--run-id", FAILED_RUN, "--format", "jsonl")
    options = ("--database", f"sqlite:///{sample}", "--output", exporter.output)
    rows = json.loads(exporter.run("runs", *options, "--json").stdout)
    assert [(row["run_id"], row["status"], row["exportable"]) for row in rows] == [
        (COMPLETED_RUN, "completed", True),
        (FAILED_RUN, "failed", True),
        (RUNNING_RUN, "running", False),
    ]
    assert [row["package"] for row in rows] == [None, str(exporter.output / FAILED_RUN), None]
    assert rows[0]["started_at"] == "2026-11-03 06:00:00.000000"
    assert (rows[2]["started_at"] is None, rows[2]["completed_at"]) == (False, None)
    table = exporter.run("runs", *options, COLUMNS="200").stdout
    for text in (COMPLETED_RUN, FAILED_RUN, RUNNING_RUN, "none", "not finished", str(exporter.output / FAILED_RUN)):
        assert text in table.replace("\n", "") or text in table


def test_a_folder_without_a_manifest_is_no_package(sample, exporter):
    """Only a manifest says that an export is complete."""
    (exporter.output / COMPLETED_RUN).mkdir(parents=True)
    options = ("--database", f"sqlite:///{sample}", "--output", exporter.output)
    rows = json.loads(exporter.run("runs", *options, "--json").stdout)
    assert [row["package"] for row in rows] == [None, None, None]


@pytest.mark.parametrize("arguments", [["--database", "sqlite:///nowhere.db"], []])
def test_runs_of_an_unusable_database_end_with_2(exporter, arguments):
    """An error on standard error, and nothing on standard output."""
    result = exporter.run("runs", *arguments, "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")


def test_unknown_options_end_with_2(exporter):
    """Wrong usage."""
    assert exporter.run("export", "--everything").exit_code == 2
    assert exporter.run("explode").exit_code == 2


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo run twice in one folder: what it printed each time, what was there after each, and the folder."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exporter = Exporter(folder)
        first = exporter.run("demo", "here", LANDSCAPE_SIGNING_KEY=None)
        packages = content(folder / "here" / "exports")
        second = exporter.run("demo", "here", LANDSCAPE_SIGNING_KEY=None)
    return first, second, packages, folder / "here"


def test_demo_exports_a_signed_sample(demo):
    """Two packages, signed with a key of its own that nobody else may read; and it says where everything is."""
    first, _, packages, folder = demo
    assert first.exit_code == 0
    assert (folder / "signing.key").stat().st_mode & 0o077 == 0
    assert (folder / "landscape.db").is_file()
    for run_id in (COMPLETED_RUN, FAILED_RUN):
        manifest = json.loads(packages[f"{run_id}/manifest.json"])
        assert manifest["signing"]["algorithm"] == "hmac-sha256"
        assert f"{run_id}: exported, " in first.stdout
    for text in ("landscape.db", "signing.key", "exports", "dagster dev", "VERIFY.md", "DAGSTER_HOME="):
        assert text in first.stdout
    assert (folder / "signing.key").read_text().strip() not in first.output


def test_demo_again_says_unchanged(demo):
    """The second time nothing is made anew."""
    _, second, packages, folder = demo
    assert second.exit_code == 0
    assert second.stdout.count(": unchanged, ") == 2
    assert content(folder / "exports") == packages


def test_the_demo_s_export_is_seen_in_its_dagster_instance(demo):
    """In the instance that the demo names, every asset of the run is materialized for the partition."""
    with dg.DagsterInstance.from_config(str(demo[3] / "dagster_home")) as instance:
        assert {COMPLETED_RUN, FAILED_RUN} <= set(instance.get_dynamic_partitions("run_id"))
        for key in (["landscape", "runs"], ["landscape", "calls"], ["export", "records"], ["export", "manifest"]):
            assert instance.get_materialized_partitions(dg.AssetKey(key)) == {COMPLETED_RUN, FAILED_RUN}


def test_demo_where_nothing_can_be_written_ends_with_2(exporter, tmp_path):
    """What the file system says, and no traceback."""
    (tmp_path / "taken").write_text("a file")
    result = exporter.run("demo", "taken")
    assert result.exit_code == 2
    assert "taken" in result.stderr
