"""The command `check`: exit status and output.

Belongs here: what it prints, on both databases. Does not belong here: what counts as damage
(`../landscape/test_integrity.py`).
"""

import json

import pytest
from support.databases import AuditFile, changing
from support.sample_v1 import FAILED_RUN

from landscape_assets.contract import V1


def check(exporter, audit, *options):
    return exporter.run("check", "--database", audit.url, *options)


def test_a_database_without_damage(exporter, sample_database):
    """Exit status 0, and how much was looked at."""
    result = check(exporter, sample_database)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"Nothing found; {len(V1.tables)} tables of 3 run(s) were looked at.\n"
    result = check(exporter, sample_database, "--json")
    assert (result.exit_code, json.loads(result.stdout), result.stderr) == (0, [], "")


def test_every_finding_is_a_line(exporter, database):
    """Exit status 1; each finding by table, id and column on standard output; their number on standard error."""
    database.execute("UPDATE rows SET source_node_id = 'ghost'", f"DELETE FROM runs WHERE run_id = '{FAILED_RUN}'")
    rows = database.execute("SELECT row_id FROM rows")
    result = check(exporter, database)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    rule = "column source_node_id: found 'ghost', which is the id of no row of nodes."
    assert {line for line in lines if "ghost" in line} == {
        f"Corrupt audit data: table rows, row_id '{row_id}', {rule}" for (row_id,) in rows
    }
    assert all(line.startswith("Corrupt audit data: table ") for line in lines)
    assert result.stderr == f"{len(lines):,} finding(s); {len(V1.tables)} tables of 2 run(s) were looked at.\n"
    listed = check(exporter, database, "--json")
    assert (listed.exit_code, listed.stderr) == (1, "")
    findings = json.loads(listed.stdout)
    assert len(findings) == len(lines) > len(rows)
    assert {
        "table": "rows",
        "id": f"row_id '{rows[0][0]}'",
        "column": "source_node_id",
        "found": "'ghost'",
        "rule": "which is the id of no row of nodes",
    } in findings
    sentence = "Corrupt audit data: table {table}, {id}, column {column}: found {found}, {rule}."
    assert sorted(sentence.format(**each) for each in findings) == sorted(lines)


def test_the_database_can_come_from_the_environment(exporter, sample):
    result = exporter.run("check", LANDSCAPE_DATABASE_URL=AuditFile(sample).url)
    assert (result.exit_code, result.stderr) == (0, "")


def test_an_id_cannot_steer_the_terminal(exporter, sample):
    """Control characters are shown escaped, and a finding is one line."""
    with changing(sample) as connection:
        connection.execute("UPDATE artifacts SET produced_by_state_id = ?", ("a\x1b[2J\nb",))
    result = check(exporter, AuditFile(sample))
    assert result.exit_code == 1
    assert all("found 'a\\x1b[2J\\nb', which" in line for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    "arguments", [[], ["--database", "sqlite:///nowhere.db"], ["--database", "nothing"], ["--what"], ["a run"]]
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_wrong_usage_and_unusable_databases_end_with_2(exporter, arguments, options):
    """A message on standard error, and nothing on standard output."""
    result = exporter.run("check", *arguments, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


def test_a_database_that_is_broken_in_the_middle_ends_with_2(exporter, sample):
    """A table that cannot be read to its end does not look like one without damage."""
    with changing(sample) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'artifacts'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with sample.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    result = check(exporter, AuditFile(sample))
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ") and "cannot be read" in result.stderr
