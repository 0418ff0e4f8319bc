"""Audit databases that were copied into PostgreSQL give the records that they give on SQLite, but for the offset in
times.

Belongs here: whole databases, compared with ELSPETH's own exports and with the reference exporter. Does not belong
here: single values and failures (`test_values.py`, `test_failures.py`)."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import rfc8785
import sqlalchemy as sa
from support.offset import with_offset
from support.pipeline import make_records, texts
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN

from benchmarks import reference
from landscape_assets.database import AuditDatabase
from landscape_assets.database.statements import select_all, select_runs

OWN = Path(__file__).parents[1] / "data" / "conformance"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "conformance"


def databases() -> Iterator:
    """Each conformance database; those that are not in this repository are skipped where they are absent."""
    yield pytest.param(OWN / "s12.db", id="own-s12")
    if not SHARED.is_dir():
        yield pytest.param(SHARED, marks=pytest.mark.skip(reason=f"no conformance data at {SHARED}"), id="shared")
        return
    for folder in (SHARED / "v0", SHARED / "v1"):
        for name in json.loads((folder / "expected.json").read_text("utf-8")):
            yield pytest.param(folder / f"{name}.db", id=f"{folder.name}-{name}")


@pytest.mark.parametrize("path", list(databases()))
def test_records_are_elspeths_but_for_the_offset(path, copied, tmp_path):
    """The records of every run, in ELSPETH's order, and as the reference exporter reads them from PostgreSQL."""
    audit = copied(path)
    engine = sa.create_engine(audit.url)
    for run_id in json.loads((path.parent / "expected.json").read_text("utf-8"))[path.stem]:
        exported = (path.parent / f"{path.stem}.{run_id}.signed.jsonl").read_text("utf-8").split("\n")
        expected = [with_offset(line) for line in exported if line and json.loads(line)["record_type"] != "manifest"]
        made = texts(make_records(audit.url, run_id, tmp_path / run_id))
        assert made == expected
        with engine.connect() as connection:
            assert made == [rfc8785.dumps(record).decode() for record in reference.export_run(connection, run_id, None)]
    engine.dispose()


@pytest.mark.parametrize("run_id", [COMPLETED_RUN, FAILED_RUN])
def test_the_sample_gives_the_same_records_but_for_the_offset(run_id, sample_file, sample_copy, tmp_path):
    """Every record type, status and outcome."""
    on_sqlite = texts(make_records(sample_file, run_id, tmp_path / "sqlite"))
    assert texts(make_records(sample_copy.url, run_id, tmp_path / "postgresql")) == list(map(with_offset, on_sqlite))


def test_the_collation_of_the_server_is_not_byte_order(server, sample_copy):
    """The tests above show that ids compare as bytes only where the database would order them otherwise."""
    if server.locale is None:
        pytest.skip("this system cannot make the locale en_US.UTF-8")
    assert sample_copy.execute("SELECT 'a' < 'B', 'a' COLLATE \"C\" < 'B'") == [(True, False)]


def test_no_statement_leaves_order_to_the_database(sample_copy):
    """Whatever the collation: no statement sorts or compares by size."""
    with AuditDatabase(sample_copy.url) as audit:
        for table in audit.contract.tables.values():
            for statement in (str(select_runs(audit.contract, table)), str(select_all(audit.contract, table))):
                assert not {"ORDER BY", "<", ">"} & set(statement.replace("ORDER BY", " <").split())
