"""How one measurement is taken: a process, the statements that it sends, and the floor.

Belongs here: whether a single figure means what it says. Does not belong here: arithmetic on figures
(`test_figures.py`), and the command (`test_command.py`).
"""

import os
import sys
import types

import adbc_driver_sqlite.dbapi
import pytest
import sqlalchemy as sa

from benchmarks import floor, statements
from benchmarks.generate import generate
from benchmarks.measure import measure
from benchmarks.statements import count_statements


def test_a_process_is_measured(tmp_path):
    program = """import time; held = bytearray(300_000_000); time.sleep(0.2)
while time.process_time() < 0.3: pass
print('done')"""
    taken = measure([sys.executable, "-c", program], dict(os.environ), tmp_path)
    assert taken.output == "done\n"
    assert 0.5 < taken.seconds < 20
    assert 0.3 <= taken.processor_seconds < taken.seconds
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
