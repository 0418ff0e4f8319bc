"""An export where a package is there already: what the UI says when it differs, replaces it, or finds it unchanged.

Belongs here: messages and metadata. Does not belong here: what is on disk then (`../cli/test_export.py`).
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from support.databases import changing
from support.operator import Operator, instance_folder, messages
from support.sample_v1 import COMPLETED_RUN

SUPERSEDE = {"export__package": {"config": {"supersede": True}}}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance on SQLite: lineage is followed in no other."""
    with instance_folder() as home, dg.instance_for_test(temp_dir=home) as instance:
        yield instance


def manifest(operate: Operator) -> dict[str, Any]:
    """The metadata of the latest materialization of the manifest."""
    wanted = dg.AssetRecordsFilter(dg.AssetKey(["export", "manifest"]), asset_partitions=[COMPLETED_RUN])
    (record,) = operate.instance.fetch_materializations(wanted, limit=1).records
    return {name: entry.value for name, entry in record.asset_materialization.metadata.items()}


def test_the_first_record_that_differs_is_named_without_its_content(operate: Operator, sample: Path) -> None:
    """The message says which record by type and id, and in which fields; then the old package stands in the metadata of
    the one that superseded it."""
    assert operate.export(COMPLETED_RUN).success
    old = (operate.exports / COMPLETED_RUN / "manifest.json").read_bytes()
    with changing(sample) as connection:
        query = "SELECT row_id FROM rows WHERE run_id = ? ORDER BY row_index LIMIT 1 OFFSET 2"
        (row_id,) = connection.execute(query, (COMPLETED_RUN,)).fetchone()
        connection.execute("UPDATE rows SET source_data_hash = 'a changed hash' WHERE row_id = ?", (row_id,))
    (message,) = messages(operate.export(COMPLETED_RUN))
    assert f"the first record that differs is row {row_id} (line " in message
    assert "in source_data_hash" in message and "a changed hash" not in message
    assert (operate.exports / COMPLETED_RUN / "manifest.json").read_bytes() == old

    assert operate.export(COMPLETED_RUN, **SUPERSEDE).success
    told = manifest(operate)
    assert told["result"] == "superseded"
    assert told["superseded: sha256 of manifest.json"] == hashlib.sha256(old).hexdigest()
    kept = Path(told["superseded: package"])
    assert kept.is_relative_to(operate.exports / ".superseded")
    assert (kept / "manifest.json").read_bytes() == old


def test_a_record_that_is_gone_and_another_key_are_told(
    operate: Operator, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts by record type; and a key, with which all signatures differ but no record does."""
    assert operate.export(COMPLETED_RUN).success
    with monkeypatch.context() as other:
        other.setenv("LANDSCAPE_SIGNING_KEY", "another key, of more than sixteen bytes")
        (message,) = messages(operate.export(COMPLETED_RUN))
        assert "signing key_id is" in message and "the first record" not in message
    with changing(sample) as connection:
        query = "SELECT artifact_id FROM artifacts WHERE run_id = ? LIMIT 1"
        (artifact,) = connection.execute(query, (COMPLETED_RUN,)).fetchone()
        connection.execute("DELETE FROM artifacts WHERE artifact_id = ?", (artifact,))
    (message,) = messages(operate.export(COMPLETED_RUN))
    assert "record_counts artifact is 3 and was 4" in message
    assert artifact in message


def test_an_unchanged_package_keeps_what_was_noted_when_it_was_made(operate: Operator) -> None:
    """Exported twice: the package was made of what the first Dagster run read; the second one is what it was compared
    with."""
    first = operate.export(COMPLETED_RUN)
    made = manifest(operate)
    assert made["result"] == "exported"
    assert f"From one snapshot of {made['made of'].splitlines()[0].split()[4]}" in made["made of"]
    assert f"with run_id bound to `{COMPLETED_RUN}`" in made["made of"] and ", read at 20" in made["made of"]
    for _ in range(2):
        second = operate.export(COMPLETED_RUN)
        again = manifest(operate)
        assert (again["result"], again["first result"]) == ("unchanged", "exported")
        assert again["made of"] == made["made of"] and first.run_id in again["made of"]
        assert second.run_id in again["compared with"] and first.run_id not in again["compared with"]
        assert again["exported_at"] == made["exported_at"]
