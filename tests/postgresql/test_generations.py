"""ELSPETH 0.7.1 on PostgreSQL, and the generations before it, which cannot be there.

Belongs here: whole databases of the generations after v1. Does not belong here: v0 and v1 (`test_conformance.py`).
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.generations import KEY, KEY_ID, SHARED, database
from support.pipeline import jsonl, make_all_files, make_records, texts
from support.server import Audit

from landscape_assets.contract import V071, UnknownContract
from landscape_assets.contract.model import Kind
from landscape_assets.database import AuditDatabase
from landscape_assets.records.sign import SigningKey

FILE = SHARED / "v071" / "postgresql_expected.json"


def databases() -> Iterator[Any]:
    """Each database for which there is an expectation; skipped where the conformance data are absent."""
    if not FILE.is_file():
        yield pytest.param("", marks=pytest.mark.skip(reason=f"no conformance data at {FILE}"), id="shared")
        return
    for name in json.loads(FILE.read_text("utf-8")):
        yield pytest.param(name, id=name)


@pytest.mark.parametrize("name", list(databases()))
def test_exports_are_elspeths(name: str, copied: Callable[..., Audit], tmp_path: Path) -> None:
    """The chain over all records, which have times with an offset, and the manifest with its signature."""
    url = copied(SHARED / "v071" / f"{name}.db").url
    for run_id, expected in json.loads(FILE.read_text("utf-8"))[name].items():
        made = make_all_files(url, run_id, tmp_path / run_id, SigningKey(KEY, KEY_ID), "jsonl")[run_id]
        manifest = jsonl(made.files["jsonl"][0].facts.path)[-1]
        assert manifest["record_count"] == expected["record_count"]
        assert manifest["final_hash"] == expected["final_hash"]
        assert manifest["signature"] == expected["manifest_signature"]


def on_postgresql(text: str) -> dict[str, Any]:
    """A record of v071 as it is on PostgreSQL: its times are instants."""
    record = json.loads(text)
    for column in V071.record_types[record["record_type"]].fields:
        if column.kind is Kind.TIME and record[column.field] is not None:
            record[column.field] += "+00:00"
    return record


def test_effects_without_a_stream_come_last(copied: Callable[..., Audit], tmp_path: Path) -> None:
    """All else is in the order that it has on SQLite."""
    run_id = "run-8ca0893f69f4"
    sqlite = list(map(on_postgresql, texts(make_records(database("v071"), run_id, tmp_path / "sqlite"))))
    found = list(map(json.loads, texts(make_records(copied(database("v071")).url, run_id, tmp_path / "postgresql"))))
    effects = [record for record in sqlite if record["record_type"] == "sink_effect"]
    first = sqlite.index(effects[0])
    assert {effect["stream_id"] for effect in effects} > {None}
    effects.sort(key=lambda effect: effect["stream_id"] is None)
    assert found == [*sqlite[:first], *effects, *sqlite[first + len(effects) :]]


@pytest.mark.parametrize(("generation", "writer"), [("v060", "ELSPETH 0.6.0"), ("v070", "ELSPETH 0.7.0")])
def test_generations_that_cannot_be_on_postgresql_are_refused(
    generation: str, writer: str, copied: Callable[..., Audit]
) -> None:
    """By name: a database that looks like one is not one that ELSPETH wrote."""
    with pytest.raises(UnknownContract, match=rf"{writer}.*postgresql"):
        AuditDatabase(copied(database(generation)).url)
