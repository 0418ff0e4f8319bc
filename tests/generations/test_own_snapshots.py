"""Whether an export is what ELSPETH itself exported, where the database says what that was.

Belongs here: the comparison, and what manifest.json says of it. The databases are of the conformance data, which hold
exports that runs made of themselves.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.databases import changing
from support.exporter import Exporter
from support.generations import KEY, KEY_ID, SHARED

SOURCE = SHARED / "v071" / "own_export.db"
UNSIGNED, RAW, SIGNED = (
    "54fbb85acb24474fb334c8debdc8bb62",
    "8a2652376b1943e0b3091ce996a775e9",
    "98b6579c45e8461b9dfc966c7a0c855a",
)
"""The runs by what their own exports were: unsigned, signed with raw error rows, signed."""

pytestmark = pytest.mark.skipif(not SOURCE.is_file(), reason=f"no conformance data at {SHARED}")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copyfile(SOURCE, tmp_path / "own_export.db"))


def compared(exporter: Exporter, database: Path, *arguments: str, **environment: str) -> dict[str, tuple[str, str]]:
    """Run → what its manifest says of the one snapshot of it: result and reason."""
    keys = {"LANDSCAPE_SIGNING_KEY": KEY, "LANDSCAPE_SIGNING_KEY_ID": KEY_ID}
    outcomes = exporter.outcomes(database, "--all", "--format", "jsonl", *arguments, **(keys | environment))
    found = {}
    for outcome in outcomes:
        manifest: dict[str, Any] = json.loads((Path(outcome["package"]) / "manifest.json").read_text("utf-8"))
        (snapshot,) = manifest["elspeth_snapshots"]
        found[outcome["run_id"]] = (snapshot["result"], snapshot["reason"])
    return found


def test_equal_where_the_options_are_the_same(exporter: Exporter, database: Path) -> None:
    """One has raw error rows, and is compared when the export has them; the others hold no errors, or none of rows."""
    found = compared(exporter, database)
    assert found[UNSIGNED] == found[SIGNED] == ("equal", None)
    assert found[RAW][0] == "not compared"
    assert "LANDSCAPE_RAW_ERROR_ROWS=yes" in found[RAW][1]


def test_equal_with_raw_error_rows(exporter: Exporter, database: Path) -> None:
    """The snapshot of 14 chunks is the same in each."""
    assert compared(exporter, database, LANDSCAPE_RAW_ERROR_ROWS="yes")[RAW] == ("equal", None)


@pytest.mark.parametrize(
    ("arguments", "environment", "reason"),
    [
        (("--no-sign",), {}, "it is signed, and this export is not"),
        ((), {"LANDSCAPE_SIGNING_KEY": "a key that is another one"}, "signed with another key"),
    ],
)
def test_a_signed_snapshot_needs_its_key(
    arguments: tuple[str, ...], environment: dict[str, str], reason: str, exporter: Exporter, database: Path
) -> None:
    """Without it nothing is said of the snapshot, and an unsigned one is compared all the same."""
    found = compared(exporter, database, *arguments, **environment)
    assert found[UNSIGNED] == ("equal", None)
    assert found[SIGNED][0] == "not compared"
    assert reason in found[SIGNED][1]


def test_a_difference_is_named_by_the_first_record_of_its_chunk(exporter: Exporter, database: Path) -> None:
    """Artifacts are in the last of 14 chunks, counted from 0."""
    with changing(database) as connection:
        connection.execute("UPDATE artifacts SET artifact_type = 'changed' WHERE run_id = ?", (RAW,))
    result, reason = compared(exporter, database, LANDSCAPE_RAW_ERROR_ROWS="yes")[RAW]
    assert result == "different"
    assert re.fullmatch(r"from \w+ '\w+' on, record [\d,]+ without the traces of the export, in chunk 13", reason), (
        reason
    )


def test_what_elspeth_noted_may_be_what_was_changed(exporter: Exporter, database: Path) -> None:
    """The fields that differ are named."""
    with changing(database) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(
            "UPDATE audit_export_snapshots SET signed_manifest_hash = ? WHERE source_run_id = ?", ("0" * 64, SIGNED)
        )
    result, reason = compared(exporter, database)[SIGNED]
    assert (result, reason[:20]) == ("different", "signed_manifest_hash")
