"""The commands `runs` and `demo`, and the command line as such.

Belongs here: what they print and leave behind. Does not belong here: `export` (`test_export.py`).
"""

import json
import os
import subprocess
import sys

import dagster as dg
import pytest
from support.databases import changing
from support.exporter import KEY, Exporter, content
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN

from landscape_assets import __version__
from landscape_assets.process import LIBRARY_ENVIRONMENT
from landscape_assets.sample import write_sample


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


def test_importing_changes_no_environment():
    """The package is a guest in the process that imports it. Polars does change one variable as it is imported."""

    def changed_by(*names):
        code = (
            f"import os\nbefore = dict(os.environ)\nimport {', '.join(names)}\n"
            "print(sorted(before.items() ^ dict(os.environ).items()))"
        )
        mine = {key: value for key, value in os.environ.items() if key not in LIBRARY_ENVIRONMENT}
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=mine).stdout

    for name in ("landscape_assets", "landscape_assets.verify", "landscape_assets.cli"):
        assert changed_by(name) == "[]\n", name
    assert changed_by("landscape_assets.definitions") == changed_by("dagster", "polars", "pyarrow", "sqlalchemy")


@pytest.mark.parametrize("set_before", [False, True])
def test_the_command_line_sets_what_libraries_read_as_they_are_loaded(set_before):
    """Before Arrow, Polars and NumPy are, and unless it is set already."""
    code = (
        "import builtins, os, sys\nfrom landscape_assets import cli, process\nfrom click.testing import CliRunner\n"
        "assert not {'pyarrow', 'polars', 'numpy'} & set(sys.modules)\n"
        "CliRunner().invoke(cli.main, ['runs', '--database', 'sqlite:///nowhere.db'])\n"
        "print(*(os.environ[name] for name in process.LIBRARY_ENVIRONMENT))\n"
        "assert {'pyarrow', 'polars', 'numpy'} <= set(sys.modules)"
    )
    mine = {key: value for key, value in os.environ.items() if key not in LIBRARY_ENVIRONMENT}
    mine |= {"OPENBLAS_NUM_THREADS": "2"} if set_before else {}
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=mine)
    assert done.returncode == 0, done.stderr
    arrow, polars, numpy = done.stdout.split()
    assert (arrow, numpy) == ("jemalloc", "2" if set_before else "1")
    assert "narenas:1" in polars.split(",")  # Polars adds its own


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_export_of_nothing_says_so(sample, exporter, form):
    """A database whose runs all go on: that is no failure, and no silence."""
    with changing(sample) as connection:
        connection.execute("UPDATE runs SET status = 'running', completed_at = NULL")
    result = exporter.export(sample, "--all", *form)
    assert (result.exit_code, result.stdout) == (0, "[]\n" if form else "")
    assert result.stderr == "Nothing to export: the audit database has no finished run.\n"
    assert not exporter.output.exists()


FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")


def on_full_device(exporter, *arguments, **environment):
    """Exit status and standard error of a command whose standard output is full."""
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "landscape_assets.cli", *map(str, arguments)],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=exporter.folder,
            env=os.environ | {"LANDSCAPE_SIGNING_KEY": KEY} | environment,
        )
    return process.returncode, process.stderr


@FULL
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_export_whose_report_cannot_be_written_is_done(sample, exporter, form):
    """All runs are exported; what could not be written is the report, and the message says both."""
    status, said = on_full_device(
        exporter, "export", "--database", f"sqlite:///{sample}", "--output", exporter.output, "--all", *form
    )
    assert said == (
        "Error: The output could not be written: No space left on device. The work itself is done: 2 exported. "
        "`landscape-assets runs` lists the packages.\n"
    )
    assert status == 2
    assert {path.parent.name for path in exporter.output.glob("*/manifest.json")} == {COMPLETED_RUN, FAILED_RUN}


@FULL
@pytest.mark.parametrize("words", [["--help"], ["export", "--help"], ["runs"], ["runs", "--json"], ["keygen", "key"]])
def test_output_that_cannot_be_written_ends_a_command_with_a_sentence(sample, exporter, words):
    """And without a traceback, at the end of the process too."""
    status, said = on_full_device(exporter, *words, LANDSCAPE_DATABASE_URL=f"sqlite:///{sample}")
    assert (status, said) == (2, "Error: The output could not be written: No space left on device.\n")


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
    assert [line.split("\t") for line in exporter.run("runs", *options).stdout.splitlines()] == [
        [COMPLETED_RUN, "completed", rows[0]["started_at"], rows[0]["completed_at"], "none"],
        [FAILED_RUN, "failed", rows[1]["started_at"], rows[1]["completed_at"], str(exporter.output / FAILED_RUN)],
        [RUNNING_RUN, "running", rows[2]["started_at"], "", "not finished"],
    ]


def on_terminal(exporter, columns, *arguments):
    """What a command shows on a terminal of some width."""
    reader, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "landscape_assets.cli", *map(str, arguments)],
        env=os.environ | {"LANDSCAPE_SIGNING_KEY": KEY, "COLUMNS": str(columns), "TERM": "xterm"},
        cwd=exporter.folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    with open(reader, "rb", buffering=0) as screen:
        try:
            while data := screen.read(4096):
                shown += data
        except OSError:  # the other end is closed
            pass
    assert process.wait() == 0, shown
    return shown.decode()


def test_runs_on_a_narrow_terminal_cuts_nothing(sample, exporter):
    """What does not fit goes on in the next line of its cell."""
    exporter.export(sample, "--run-id", FAILED_RUN, "--format", "jsonl")
    shown = on_terminal(exporter, 80, "runs", "--database", f"sqlite:///{sample}", "--output", exporter.output)
    assert "…" not in shown
    lines = [line for line in shown.splitlines() if line.startswith("│")]
    assert {len(line) for line in lines} == {80}
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
    columns = ["".join(column) for column in zip(*cells, strict=True)]
    assert columns[0] == COMPLETED_RUN + FAILED_RUN + RUNNING_RUN
    assert str(exporter.output / FAILED_RUN).replace(" ", "") in columns[4].replace(" ", "")


ODD = "a\x1b[2J\nb\tc\x9bd"
SHOWN = "a\\x1b[2J\\nb\\tc\\x9bd"


def test_a_run_id_cannot_steer_the_terminal(sample, exporter):
    """Control characters in a run_id are shown escaped by `runs`, by `export` and by its progress; JSON escapes them,
    too."""
    with changing(sample) as connection:
        connection.execute("UPDATE runs SET run_id = ? WHERE run_id = ?", (ODD, RUNNING_RUN))
        connection.execute("DELETE FROM runs WHERE run_id != ?", (ODD,))
        connection.execute("UPDATE runs SET status = 'completed', completed_at = started_at")
    options = ("--database", f"sqlite:///{sample}", "--output", exporter.output)
    assert exporter.run("runs", *options).stdout.startswith(f"{SHOWN}\tcompleted\t")
    result = exporter.run("export", *options, f"--run-id={ODD}")
    assert (result.stdout + result.stderr).startswith(f"{SHOWN}: ")
    assert len((result.stdout + result.stderr).splitlines()) == 1
    missing = exporter.run("export", *options, f"--run-id={ODD}x")
    assert missing.stderr.startswith(f"{SHOWN}x: failed: ")
    assert json.loads(exporter.run("runs", *options, "--json").stdout)[0]["run_id"] == ODD
    shown = on_terminal(exporter, 80, "runs", *options)
    assert ODD[:3] not in shown and "\x9b" not in shown


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


def test_the_help_of_export_says_what_there_is_to_know(exporter):
    """Both kinds of database, the variables behind options, and the exit statuses."""
    text = " ".join(exporter.run("export", "--help").stdout.split())
    for part in ("sqlite:///FILE", "postgresql+psycopg://", "LANDSCAPE_SIGN=", "LANDSCAPE_FORMATS=", "Exit status: 0 "):
        assert part in text


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo run twice in one folder: what it printed each time, what was there after each, and the folder. Settings
    of
    the environment, and a dagster.yaml and a workspace.yaml of somebody else's project, are in its way."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "dagster.yaml").write_text("nonsense: 1\n")
    (folder / "workspace.yaml").write_text("nonsense: 1\n")
    others = {
        "LANDSCAPE_SIGNING_KEY": KEY,
        "LANDSCAPE_SIGNING_KEY_ID": "of somebody",
        "LANDSCAPE_SIGNING_PRIVATE_KEY_FILE": "/nowhere/private.pem",
        "LANDSCAPE_SIGN": "no",
        "LANDSCAPE_FORMATS": "csv",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exporter = Exporter(folder)
        first = exporter.run("demo", "here", **others)
        packages = content(folder / "here" / "exports")
        second = exporter.run("demo", "here", **others)
    return first, second, packages, folder / "here"


def test_demo_exports_a_signed_sample(demo):
    """Two packages, signed with a key of its own that nobody else may read; and it says where everything is."""
    first, _, packages, folder = demo
    assert first.exit_code == 0
    assert (folder / "signing.key").stat().st_mode & 0o077 == 0
    assert (folder / "landscape.db").is_file()
    for run_id in (COMPLETED_RUN, FAILED_RUN):
        manifest = json.loads(packages[f"{run_id}/manifest.json"])
        assert manifest["signing"]["key_id"].startswith("hmac:")
        assert manifest["public_key"] is None
        assert f"{run_id}/records.jsonl" in packages
        assert f"{run_id}: exported, " in first.stdout
    for text in ("landscape.db", "signing.key", "exports", "dg dev", "VERIFY.md", "DAGSTER_HOME=", "-m landscape"):
        assert text in first.stdout
    assert (folder / "signing.key").read_text().strip() not in first.output


def test_demo_says_that_an_export_equals_elspeth_s_own(demo):
    """From the manifest of the package, the second time too."""
    for result in demo[:2]:
        (line,) = (line for line in result.stdout.splitlines() if "what is derived" in line)
        assert line.startswith(f"  {COMPLETED_RUN}, export ")
        assert line.endswith(": what is derived from the database now equals it")


def test_demo_says_what_differs_from_elspeth_s_own(exporter, tmp_path):
    """And still exports the run: the database is what is exported."""
    write_sample(tmp_path / "here" / "landscape.db")
    with changing(tmp_path / "here" / "landscape.db") as connection:
        connection.execute("UPDATE artifacts SET size_bytes = 1 WHERE run_id = ?", (COMPLETED_RUN,))
    result = exporter.run("demo", "here")
    assert result.exit_code == 0
    assert "what is derived from the database now is DIFFERENT (from " in result.stdout


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
