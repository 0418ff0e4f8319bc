"""run_ids that are no good file names: each is exported to a folder of its own, below the export folder, from both
databases.

Belongs here: whole exports under such names. Does not belong here: the mapping by itself
(`../storage/test_folder_names.py`).
"""

import json
from datetime import timedelta

import pytest
from support.databases import AuditFile, changing, empty_database, insert_copy, rows_of_sample
from support.sample_v1 import FAILED_RUN

from landscape_assets.storage.names import folder_name, run_id_of

HOSTILE = [
    "",
    "../evil",
    ".",
    "a/b",
    "C:\\run",
    "run[1]*",
    "run%2F1",
    "UPPER",
    "upper",
    "-rf",
    "a...b",
    "\U0001f525" * 64,
    "прогон-日本-é",
    "line\nbreak\ttab\x01\x7f",
    "x" * 64,
]


@pytest.fixture
def database(kind, request, tmp_path_factory):
    """A database in which each of them is the run_id of a copy of the sample's failed run."""
    path = tmp_path_factory.mktemp("hostile") / "landscape.db"
    empty_database(path)
    rows = rows_of_sample(FAILED_RUN)
    with changing(path) as connection:
        for number, run_id in enumerate(HOSTILE):
            insert_copy(connection, rows, run_id, f"{number}-", timedelta(days=number))
    return AuditFile(path) if kind == "sqlite" else request.getfixturevalue("copied")(path)


def test_every_run_id_has_a_package_of_its_own(database, exporter):
    """Named on the command line, each is exported, and nothing outside the export folder is touched."""
    before = set(exporter.folder.rglob("*"))
    arguments = [f"--run-id={run_id}" for run_id in HOSTILE]
    outcomes = exporter.outcomes(database.url, *arguments, "--format", "jsonl")
    assert [(outcome["run_id"], outcome["status"]) for outcome in outcomes] == [
        (run_id, "exported") for run_id in HOSTILE
    ]
    assert sorted(path.name for path in exporter.output.iterdir()) == sorted(map(folder_name, HOSTILE))
    assert set(exporter.folder.iterdir()) - before == {exporter.output}
    for run_id, outcome in zip(HOSTILE, outcomes, strict=True):
        package = exporter.output / folder_name(run_id)
        assert outcome["package"] == str(package)
        manifest = json.loads((package / "manifest.json").read_bytes())
        assert manifest["run_id"] == run_id
        assert run_id_of(package.name) in (run_id, None)
        first = json.loads((package / "records.jsonl").read_text().partition("\n")[0])
        assert first["run_id"] == run_id
    listed = json.loads(exporter.run("runs", "--database", database.url, "--output", exporter.output, "--json").stdout)
    assert {row["run_id"]: row["package"] for row in listed} == {
        outcome["run_id"]: outcome["package"] for outcome in outcomes
    }
