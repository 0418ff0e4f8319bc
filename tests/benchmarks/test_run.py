"""The benchmark itself: measuring a process, arithmetic on results, and a small run of it from end to end.

Belongs here: whether figures mean what they say. Does not belong here: what the figures ought to be.
"""

import io
import json
import os
import sys
import types
from pathlib import Path

import adbc_driver_sqlite.dbapi
import pytest
import sqlalchemy as sa
from rich.console import Console

from benchmarks import floor, report, run, statements
from benchmarks.generate import generate
from benchmarks.measure import measure
from benchmarks.run import ALL_FORMATS, BATCHED, FLOOR, IMPORTS, JSONL, MANY, NAIVE, SMALL, Result
from benchmarks.statements import count_statements


def test_a_process_is_measured(tmp_path):
    program = "import time; held = bytearray(300_000_000); time.sleep(0.2); print('done')"
    taken = measure([sys.executable, "-c", program], dict(os.environ), tmp_path)
    assert taken.output == "done\n"
    assert 0.2 < taken.seconds < 20
    assert taken.peak_mb > 300


def test_a_process_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="ended with 3: because"):
        program = "import sys; print('because', file=sys.stderr); sys.exit(3)"
        measure([sys.executable, "-c", program], dict(os.environ), tmp_path)


def test_statements_are_counted_once_whichever_way_they_go(tmp_path):
    database, other = tmp_path / "counted.db", tmp_path / "other.db"
    generate(database, 1)
    generate(other, 1)
    with count_statements(str(database)) as sent:
        for path in (database, other):
            with sa.create_engine(f"sqlite:///{path}").connect() as connection:
                connection.execute(sa.text("SELECT 1"))
        with adbc_driver_sqlite.dbapi.connect(database.as_uri()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 2")
            cursor.fetchall()
    assert sent == ["SELECT 1", "SELECT 2"]


def test_the_floor_reads_every_row_and_writes_every_byte(tmp_path):
    database = tmp_path / "run.db"
    records = generate(database, 100)
    generate(database, 10)
    assert floor.read(database, "run-100") == records
    for size in (0, 1, floor.PIECE, floor.PIECE + 1):
        floor.write(tmp_path / "bytes", size)
        assert (tmp_path / "bytes").stat().st_size == size


def test_the_exponent_of_growth():
    assert report.exponent([(x, 3 * x**1.5) for x in (10, 200, 3_000)]) == pytest.approx(1.5)
    assert report.exponent([(10, 7), (1_000, 7)]) == pytest.approx(0)


@pytest.fixture
def results():
    """Two rounds, the second on a machine half as fast."""
    results = []
    for number, slow in ((0, 1), (1, 2)):
        results += [
            Result(NAIVE, number, 100, 2_000, 1.0 * slow, 50, 1_500),
            Result(JSONL, number, 100, 2_000, 0.2 * slow, 200, 15),
            Result(FLOOR, number, 100, 2_000, 0.1 * slow, 100, 15),
            Result(JSONL, number, 1_000, 20_000, 1.0 * slow, 200, 15),
            Result(ALL_FORMATS, number, 1_000, 20_000, 1.5 * slow, 220, 15),
            Result(FLOOR, number, 1_000, 20_000, 0.5 * slow, 100, 15),
            Result(IMPORTS, number, None, 0, 1.0 * slow, 90, None),
            Result(SMALL, number, 10, 200, 2.0 * slow, 150, 15),
        ]
    return [*results, Result(MANY, 0, 10, 4_000, 30.0, 180, None)]


def test_ratios_are_taken_within_a_round(results):
    summary = report.summarise(results, small_runs=20)
    entries = {(entry["contender"], entry["rows"]): entry for entry in summary["contenders"]}
    assert entries[JSONL, 1_000]["time_to_floor"] == pytest.approx(2)
    assert entries[JSONL, 1_000]["speed_to_naive"] == pytest.approx(10)
    assert entries[NAIVE, 100]["speed_to_naive"] == 1
    assert entries[JSONL, 100]["seconds"] == pytest.approx(0.3)
    assert entries[IMPORTS, None]["records_per_second"] is None
    assert entries[SMALL, 10]["time_to_floor"] is None
    growth = {entry["contender"]: entry for entry in summary["growth"]}
    assert set(growth) == {JSONL, FLOOR}
    assert growth[JSONL]["seconds"] == pytest.approx(0.699, abs=0.001)
    assert growth[JSONL]["peak_mb"] == pytest.approx(0)
    assert summary["small"] == pytest.approx({"seconds_beyond_imports": 1.5, "seconds_for_each_of_many": 1.5})


def test_the_table_has_every_contender(results):
    console = Console(file=io.StringIO(), width=120)
    report.print_table(report.summarise(results, small_runs=20), console)
    text = console.file.getvalue()
    for contender in (NAIVE, JSONL, ALL_FORMATS, FLOOR, IMPORTS, SMALL, MANY):
        assert contender in text
    assert "Each of many small runs takes 1.50 s." in text


def test_the_plot_is_a_picture(results, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra `bench`)")
    report.plot(report.summarise(results, small_runs=20), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_commands_of_one_round():
    chosen = run.parse(["--sizes", "10,20", "--naive-rows", "10", "--batched-up-to", "10"])
    asked = []

    class Noted:
        def __getattr__(self, name):
            return lambda *arguments, **options: asked.append((name, *arguments, *options.values()))

    for number in (0, 1):
        for task in run.tasks(Noted(), chosen, number):
            task()
    assert asked[:10] == [
        ("reference", "reference", NAIVE, 0, 10),
        ("reference", "batched", BATCHED, 0, 10),
        ("export", JSONL, 0, 10, "--format", "jsonl"),
        ("export", ALL_FORMATS, 0, 10),
        ("floor", 0, 10),
        ("export", JSONL, 0, 20, "--format", "jsonl"),
        ("export", ALL_FORMATS, 0, 20),
        ("floor", 0, 20),
        ("imports", 0),
        ("export", SMALL, 0, 10),
    ]
    assert asked[10] == ("export", MANY, 0, 10, 20)
    assert len(asked) == 11 + 10


def test_an_export_that_did_not_happen_is_an_error(tmp_path, monkeypatch):
    workshop = run.Workshop(tmp_path)
    workshop.empty_scratch()
    generate(workshop.folder / "1-runs-of-10-rows.db", 10, "run-0")
    told = json.dumps([{"run_id": "run-0", "status": "failed", "error": "no space left"}])
    monkeypatch.setattr(workshop, "run", lambda *command: (told, 1.0, 1.0))
    with pytest.raises(RuntimeError, match="no space left"):
        workshop.export(SMALL, 0, 10)


def test_unknown_contenders_are_refused(capsys):
    with pytest.raises(SystemExit):
        run.parse(["--contenders", "elspeth"])
    assert "no such contender: elspeth" in capsys.readouterr().err


def test_from_end_to_end(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra `bench`)")
    work, out = tmp_path / "work", tmp_path / "out"
    contenders = f"{NAIVE};{BATCHED};{FLOOR}"
    options = ["--sizes", "20,40", "--naive-rows", "20", "--repeats", "2", "--contenders", contenders]
    run.main([*options, "--work", str(work), "--out", str(out)])
    document = json.loads((out / "results.json").read_text())
    assert len(document["results"]) == 2 * (1 + 2 + 2)
    by_contender = {entry["contender"]: entry for entry in document["summary"]["contenders"] if entry["rows"] == 20}
    assert {entry["records"] for entry in by_contender.values()} == {23 * 20 + 2 + 14}
    assert by_contender[BATCHED]["statements"] == 17 < by_contender[NAIVE]["statements"]
    assert (out / "benchmark.png").exists()
    assert "naive reference" in capsys.readouterr().out
    assert sorted(path.name for path in work.iterdir()) == ["1-runs-of-20-rows.db", "1-runs-of-40-rows.db"]
    assert str(Path.home()) not in (out / "results.json").read_text()


def test_statements_of_the_command_line_are_counted(tmp_path, monkeypatch, capsys):
    database = tmp_path / "run.db"
    generate(database, 1)
    command_line = types.ModuleType("landscape_assets.cli")

    def main():
        print("what --json prints")
        with sa.create_engine(f"sqlite:///{database}").connect() as connection:
            for word in sys.argv:
                connection.execute(sa.text("SELECT :word"), {"word": word})
        sys.exit(0 if sys.argv[0] == "landscape-assets" else 1)

    command_line.main = main
    monkeypatch.setitem(sys.modules, "landscape_assets.cli", command_line)
    monkeypatch.setattr(sys, "argv", ["statements", str(database), "export", "--json"])
    statements.main()
    assert capsys.readouterr().out == '{"statements": 3}\n'
