"""Exports of the generations after v1 are those of ELSPETH's own exporter of the generation.

Belongs here: whole databases that ELSPETH wrote, on SQLite, in the records, their signatures, the chain, and the
manifest of version 2. Does not belong here: PostgreSQL (`../postgresql/test_generations.py`).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.generations import GENERATIONS, KEY, KEY_ID, OWN, SHARED, shared
from support.pipeline import jsonl, make_all_files

from landscape_assets.budget import Budget
from landscape_assets.records.manifest_v2 import ManifestOptions
from landscape_assets.records.sign import SigningKey


def exported(
    database: Path, run_id: str, folder: Path, options: ManifestOptions | None = None, *, is_signed: bool = True
) -> list[dict[str, Any]]:
    """The lines of records.jsonl."""
    key = SigningKey(KEY, KEY_ID) if is_signed else None
    made = make_all_files(database, run_id, folder, key, "jsonl", budget=Budget(memory_mb=1), options=options)
    (file,) = made[run_id].files["jsonl"]
    return jsonl(file.facts.path)


def runs() -> Iterator[Any]:
    """Every run of the conformance data: those of this repository, and the others where they are."""
    for root in (OWN, SHARED):
        if not root.is_dir():
            yield pytest.param("", "", marks=pytest.mark.skip(reason=f"no conformance data at {root}"), id="shared")
            continue
        for generation in GENERATIONS:
            expected = json.loads((root / generation / "expected.json").read_text("utf-8"))
            for name, by_run in expected.items():
                if root is OWN or name != "s61":
                    for run_id in by_run:
                        yield pytest.param(root / generation / f"{name}.db", run_id, id=f"{generation}-{name}-{run_id}")


@pytest.mark.parametrize(("database", "run_id"), list(runs()))
def test_records_chain_and_manifest_are_elspeths(database: Path, run_id: str, tmp_path: Path) -> None:
    """Every record with its signature, in order; the final hash; and of v071 the whole manifest."""
    found = exported(database, run_id, tmp_path)
    wanted = jsonl(database.parent / f"{database.stem}.{run_id}.signed.jsonl")
    assert found[:-1] == wanted[:-1]
    expected = json.loads((database.parent / "expected.json").read_text("utf-8"))[database.stem][run_id]
    assert found[-1]["final_hash"] == expected["final_hash"]
    assert found[-1]["record_count"] == expected["record_count"] == len(found) - 1
    if "manifest" in expected:
        assert found[-1] == expected["manifest"]


@pytest.mark.parametrize(("generation", "variant"), list(shared("variants.json")))
def test_other_options_give_what_they_give_elspeth(generation: str, variant: dict[str, Any], tmp_path: Path) -> None:
    """Raw error rows, no signature, limits of chunks, another name of the signer, the format or the exporter."""
    given = variant["options"]
    names = ("signer_key_id", "export_format", "exporter_version", "per_chunk_record_limit", "per_chunk_byte_limit")
    options = ManifestOptions(
        raw_error_rows=given.get("include_raw_error_rows", False),
        **{name: given[name] for name in names if name in given},
    )
    database = SHARED / generation / f"{variant['database']}.db"
    found = exported(database, variant["run_id"], tmp_path, options, is_signed=given.get("sign", True))
    assert found[-1]["final_hash"] == variant["final_hash"]
    assert found[-1]["record_count"] == variant["record_count"]
    if "manifest" in variant:
        assert found[-1] == variant["manifest"]
