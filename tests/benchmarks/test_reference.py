"""The reference exporters against the exports that ELSPETH made, against the contract's vector, and against each other.

Belongs here: whether the oracle is right. Does not belong here: what is compared with the oracle.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN, write_sample

from benchmarks import batched, reference
from benchmarks.fields import FIELDS, NOT_IN_V0, ORDER, PARSED, TIMES
from benchmarks.generate import generate
from benchmarks.statements import count_statements
from landscape_assets.contract import V0, V1, Kind

OWN = Path(__file__).parents[1] / "data" / "conformance"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "conformance"
CONFORMANCE_KEY = b"conformance-key"
KEY = b"golden-key"

EXPORTERS = pytest.mark.parametrize("exporter", [reference, batched], ids=["naive", "batched"])


def runs_of(folder: Path) -> Iterator[tuple[Path, str, dict]]:
    for name, by_run in json.loads((folder / "expected.json").read_text("utf-8")).items():
        for run_id, expected in by_run.items():
            yield folder / f"{name}.db", run_id, expected


def read_only(path: Path) -> sa.Engine:
    return sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")


def assert_conforms(exporter, database: Path, run_id: str, expected: dict) -> None:
    text = (database.parent / f"{database.stem}.{run_id}.signed.jsonl").read_text("utf-8")
    wanted = [json.loads(line) for line in text.split("\n") if line]
    exported_at = datetime.fromisoformat(wanted[-1]["exported_at"])
    with read_only(database).connect() as connection:
        records = list(exporter.export_run(connection, run_id, CONFORMANCE_KEY, exported_at=exported_at))
    # Items, not dictionaries: the order of the fields is part of the contract. The manifest and its signature included.
    assert [list(record.items()) for record in records] == [list(record.items()) for record in wanted]
    assert records[-1]["record_count"] == expected["record_count"] == len(records) - 1
    assert records[-1]["final_hash"] == expected["final_hash"] == reference.final_hash(records)


@EXPORTERS
@pytest.mark.parametrize(("database", "run_id", "expected"), list(runs_of(OWN)), ids=lambda value: str(value)[-20:])
def test_conforms(exporter, database, run_id, expected):
    assert_conforms(exporter, database, run_id, expected)


@EXPORTERS
@pytest.mark.parametrize("contract", ["v0", "v1"])
def test_conforms_to_every_export_of_elspeth(exporter, contract):
    folder = SHARED / contract
    if not folder.is_dir():
        pytest.skip("the conformance data is not at ../shared/conformance")
    for database, run_id, expected in runs_of(folder):
        assert_conforms(exporter, database, run_id, expected)


def test_the_vector_of_the_contract():
    records = [
        {
            "record_type": "run",
            "run_id": "r1",
            "status": "completed",
            "started_at": "2026-03-01T00:00:00",
            "completed_at": "2026-03-01T00:00:01.500000",
            "canonical_version": "sha256-rfc8785-v1",
            "config_hash": "0" * 64,
            "settings": {"b": 1, "a": {"z": [1.0, 2.5, None, True]}},
            "reproducibility_grade": "full_reproducible",
        },
        {
            "record_type": "row",
            "run_id": "r1",
            "row_id": "w0",
            "row_index": 0,
            "source_node_id": "src",
            "source_data_hash": "1" * 64,
        },
    ]
    signed = list(reference.sign_all(records, "r1", KEY, datetime(2026, 3, 1, 0, 0, 2, tzinfo=UTC)))
    assert [record["signature"] for record in signed] == [
        "1b23db2231e1c7b9ec2b787321431a1d68a0bde1a3c534455fa419c84924bbac",
        "bc4cbf2f62a4ad088089f03f6c53a2a729f5bfe08d6bc4a3c7b673576b393964",
        "aab3f801a544d3fd5f12a1cd7948e11dbbc55f570442850a3a72a83987004cc7",
    ]
    assert signed[-1]["final_hash"] == "224b41f817bccf7d4b260d46ac54583d021894d8878b92659cecb224077d5de9"
    assert signed[-1]["exported_at"] == "2026-03-01T00:00:02+00:00"


def test_the_lists_say_what_the_contract_data_says():
    for record_type, table in V1.record_types.items():
        assert FIELDS[record_type] == tuple(column.field for column in table.fields)
        assert ORDER[table.name] == tuple(key.column for key in table.order)
        for column in table.columns:
            assert (column.kind is Kind.TIME) == (column.name in TIMES)
            assert (column.kind in (Kind.JSON, Kind.JSON_OBJECTS)) == (column.name in PARSED.values())
    assert set(FIELDS) == set(V1.record_types)
    assert set(FIELDS) - {"token_outcome"} == set(V0.record_types)
    for record_type, table in V0.record_types.items():
        left_out = set(FIELDS[record_type]) - {column.field for column in table.fields}
        assert left_out == {field for of, field in NOT_IN_V0 if of == record_type}


def test_values_of_another_database_kind():
    """PostgreSQL returns instants; they are written in UTC."""
    instant = datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    assert reference.to_value("started_at", instant) == "2026-01-02T03:04:05+00:00"
    assert reference.to_value("started_at", instant.replace(microsecond=678901)) == "2026-01-02T03:04:05.678901+00:00"


def test_order_is_total_and_by_value():
    rows = [
        {"step_index": 0, "attempt": 10, "state_id": "a"},
        {"step_index": 0, "attempt": 9, "state_id": "c"},
        {"step_index": 0, "attempt": 9, "state_id": "B"},
    ]
    assert [row["state_id"] for row in reference.in_order("node_states", rows)] == ["B", "c", "a"]
    at = "2026-01-02 03:04:05.000000"
    nodes = [
        {"sequence_in_pipeline": sequence, "registered_at": time, "node_id": node_id}
        for sequence, time, node_id in (
            (None, at, "\U0001f600"),
            (None, at, "\uffff"),
            (10, at, "x"),
            (2, "2026-01-02 03:04:05.000001", "a"),
            (2, "2026-01-02T03:04:05", "b"),
        )
    ]
    assert [node["node_id"] for node in reference.in_order("nodes", nodes)] == ["b", "a", "x", "\uffff", "\U0001f600"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "sample.db"
    write_sample(path)
    return path


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    path = tmp_path_factory.mktemp("generated") / "generated.db"
    for rows in (10, 100):
        generate(path, rows)
    return path


@pytest.mark.parametrize("key", [None, KEY], ids=["unsigned", "signed"])
def test_batched_equals_naive(sample, generated, key):
    at = datetime(2026, 11, 22, tzinfo=UTC)
    for database, runs in ((sample, (COMPLETED_RUN, FAILED_RUN, RUNNING_RUN)), (generated, ("run-10", "run-100"))):
        with read_only(database).connect() as connection:
            for run_id in runs:
                naive = list(reference.export_run(connection, run_id, key, exported_at=at))
                assert naive == list(batched.export_run(connection, run_id, key, exported_at=at))
                assert ("signature" in naive[0]) == (naive[-1]["record_type"] == "manifest") == (key is not None)


def test_only_the_naive_reference_sends_more_statements_for_a_larger_run(generated):
    counts = {}
    with read_only(generated).connect() as connection:
        for exporter in (reference, batched):
            for run_id in ("run-10", "run-100"):
                with count_statements(str(generated)) as sent:
                    records = sum(1 for _ in exporter.export_run(connection, run_id, None))
                counts[exporter, run_id] = len(sent)
                assert records > 0
    assert counts[batched, "run-10"] == counts[batched, "run-100"] == 17
    # Of a row: its tokens. Of a token: parents, outcomes, states. Of a state: events, calls.
    # One row in 20 has 3 tokens.
    tokens, states = 100 + 5 * 2, 100 * 5 + 5 * 2 * 2
    assert counts[reference, "run-100"] == 9 + 2 + 100 + 3 * tokens + 2 * states


@EXPORTERS
def test_refuses_a_blank_key_and_an_unknown_run(exporter, sample):
    with read_only(sample).connect() as connection:
        for key in (b"", b" \n"):
            with pytest.raises(ValueError, match="blank"):
                list(exporter.export_run(connection, COMPLETED_RUN, key))
        with pytest.raises(LookupError, match="nobody"):
            list(exporter.export_run(connection, "nobody", KEY))


def test_the_unsigned_chain_is_over_hashes_of_records(sample):
    with read_only(sample).connect() as connection:
        records = list(reference.export_run(connection, COMPLETED_RUN, None))
    assert reference.final_hash(records[:0]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert reference.final_hash(records) != reference.final_hash(records[::-1])


@EXPORTERS
def test_as_a_command(exporter, sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LANDSCAPE_SIGNING_KEY", KEY.decode())
    file = tmp_path / "records.jsonl"
    reference.main(exporter.export_run, [f"sqlite:///{sample}", COMPLETED_RUN, str(file)])
    done = json.loads(capsys.readouterr().out)
    lines = [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]
    assert done["record_count"] == len(lines) - 1 == lines[-1]["record_count"]
    assert done["final_hash"] == reference.final_hash(lines)
    assert done["statements"] >= 17
