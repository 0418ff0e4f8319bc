"""The product's sample: that it is whole, legal and what ELSPETH 0.7.1 would have written, and that its own export is
of what it holds.

Belongs here: what holds for the sample, for writing it and for exporting it. Does not belong here: the demo
(`../cli/test_commands.py`), the sample of contract v1 (`test_sample_v1.py`).
"""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from support.databases import changing, schema_facts, tables_of
from support.exporter import KEY, Exporter

from landscape_assets import sample
from landscape_assets.contract import V071, recognise
from landscape_assets.sample import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN, write_sample
from landscape_assets.verify import Status, verify_package

REAL = Path(__file__).parents[1] / "data" / "conformance" / "v071" / "s61.db"
CHUNKS = "audit_export_snapshot_chunks"

Record = dict[str, Any]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample; not to be changed."""
    path = tmp_path_factory.mktemp("sample") / "folder" / "sample.db"
    write_sample(path)
    return path


@pytest.fixture(scope="module")
def connection(database: Path) -> Iterator[sqlite3.Connection]:
    """To the sample, with rows that know their columns."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


@pytest.fixture(scope="module")
def exported(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """The folder of an export of both finished runs in all formats."""
    exporter = Exporter(tmp_path_factory.mktemp("exported"))
    assert [outcome["status"] for outcome in exporter.outcomes(database, "--all")] == ["exported", "exported"]
    return exporter


@pytest.fixture(scope="module")
def records(exported: Exporter) -> list[Record]:
    """The records of the completed run, without manifest and signatures."""
    lines = (exported.output / COMPLETED_RUN / "records.jsonl").read_bytes().split(b"\n")
    found = [json.loads(line) for line in lines if line]
    for record in found:
        del record["signature"]
    return [record for record in found if record["record_type"] != "manifest"]


def manifest(exporter: Exporter, run_id: str = COMPLETED_RUN) -> dict[str, Any]:
    """The manifest.json of a package."""
    return json.loads((exporter.output / run_id / "manifest.json").read_text("utf-8"))


def test_the_tables_are_those_of_a_real_database(connection: sqlite3.Connection) -> None:
    """Columns, types, keys, foreign keys and indexes of all of them; and the marks of the generation."""
    with closing(sqlite3.connect(f"{REAL.as_uri()}?mode=ro", uri=True)) as real:
        found, wanted = schema_facts(connection), schema_facts(real)
        assert found == wanted
        assert len([name for name in found if not name.startswith("sqlite_")]) == 41
        for statement in ("PRAGMA user_version", "SELECT * FROM elspeth_schema_identity"):
            assert tuple(connection.execute(statement).fetchone()) == real.execute(statement).fetchone()
    assert recognise({table: set(columns) for table, columns in tables_of(connection).items()}) is V071


def test_sqlite_finds_it_sound(connection: sqlite3.Connection) -> None:
    """Every check and every foreign key is kept."""
    assert connection.execute("PRAGMA integrity_check").fetchall()[0][0] == "ok"
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_check_finds_nothing(database: Path, exporter: Exporter) -> None:
    """No row is without a run or a parent."""
    result = exporter.run("check", "--database", f"sqlite:///{database}")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"Nothing found; {len(V071.tables)} tables of 3 run(s) were looked at.\n"


def test_the_runs_are_completed_failed_and_running(connection: sqlite3.Connection) -> None:
    """And one has an end that others do not have."""
    ends = {row["run_id"]: row["status"] for row in connection.execute("SELECT * FROM runs")}
    assert ends == {COMPLETED_RUN: "completed_with_failures", FAILED_RUN: "failed", RUNNING_RUN: "running"}
    assert connection.execute("SELECT COUNT(*) FROM runs WHERE completed_at IS NULL").fetchone()[0] == 1


def test_every_row_of_the_completed_run_becomes_a_record(connection: sqlite3.Connection, records: list[Record]) -> None:
    """None is lost by a parent that is missing, or that belongs to another run."""
    through = {
        "calls": "(state_id IN (SELECT state_id FROM node_states WHERE run_id = :run) OR operation_id IN (SELECT "
        "operation_id FROM operations WHERE run_id = :run))",
        "sink_effect_attempts": "effect_id IN (SELECT effect_id FROM sink_effects WHERE run_id = :run)",
    }
    stored = {}
    for table in V071.tables.values():
        statement = f"SELECT COUNT(*) FROM {table.name} WHERE {through.get(table.name, 'run_id = :run')}"
        stored[table.record_type] = connection.execute(statement, {"run": COMPLETED_RUN}).fetchone()[0]
    assert Counter(record["record_type"] for record in records) == stored


def test_the_completed_run_shows_everything(records: list[Record]) -> None:
    """Every record type, most of what each enum may be, and values that are hard to write."""

    def seen(record_type: str, field: str) -> set[Any]:
        return {record[field] for record in records if record["record_type"] == record_type}

    assert {record["record_type"] for record in records} == set(V071.record_types)
    for record_type, field, but in (
        ("token_outcome", "path", {"gate_discarded", "filter_dropped", "sink_discarded"}),
        ("token_outcome", "outcome", set()),
        ("node_state", "status", set()),
        ("node", "node_type", {"queue"}),
        ("node", "determinism", set()),
        ("routing_event", "mode", set()),
        ("call", "call_type", {"vector"}),
        ("call", "status", set()),
        ("operation", "operation_type", {"runtime_preflight"}),
        ("scheduler_event", "event_type", {"claim_pending_sink", "lease_lost"}),
        ("scheduler_event", "to_status", set()),
        ("sink_effect", "role", set()),
        ("sink_effect", "input_kind", set()),
        ("sink_effect_attempt", "action", set()),
        ("sink_effect_attempt", "state", {"intent"}),
        ("sink_effect_member", "prepared_disposition", set()),
        ("artifact", "producer_kind", set()),
        ("artifact", "publication_evidence_kind", {"inherited", "virtual"}),
    ):
        assert set(V071.record_types[record_type].column(field).values) - seen(record_type, field) == but, field
    assert max(seen("node_state", "attempt")) == 2
    assert max(seen("sink_effect", "stream_sequence") - {None}) == 1
    for group in ("fork_group_id", "join_group_id", "expand_group_id"):
        assert seen("token", group) - {None}
    for errors in ("validation_error", "transform_error"):
        assert seen(errors, "row_data_json") == {None}
    text = "".join(str(record) for record in records)
    for kind in ("é", "ü", "日本", "要約", "1e-07", "1e+21", "NaN", "\\u0007"):
        assert kind in text
    assert any("." not in time for time in seen("run", "started_at"))


def test_packages_verify_without_and_with_the_key(exported: Exporter) -> None:
    """In all formats: consistent by itself, and signed by whoever has the key."""
    for run_id in (COMPLETED_RUN, FAILED_RUN):
        package = exported.output / run_id
        assert verify_package(package).status == Status.CONSISTENT
        assert verify_package(package, key=KEY.encode()).status == Status.VERIFIED


def test_the_export_equals_elspeth_s_own(exported: Exporter, database: Path, tmp_path: Path) -> None:
    """Signed or not; and it is said of the run that exported itself alone."""
    (snapshot,) = manifest(exported)["elspeth_snapshots"]
    assert (snapshot["result"], snapshot["reason"]) == ("equal", None)
    assert "elspeth_snapshots" not in manifest(exported, FAILED_RUN)
    unsigned = Exporter(tmp_path)
    unsigned.outcome(database, COMPLETED_RUN, "--no-sign", "--format", "jsonl")
    assert manifest(unsigned)["elspeth_snapshots"] == [snapshot]


def test_a_change_of_the_database_makes_it_different(database: Path, exporter: Exporter, tmp_path: Path) -> None:
    """In the last chunk of several."""
    path = tmp_path / "changed.db"
    path.write_bytes(database.read_bytes())
    with changing(path) as connection:
        connection.execute("UPDATE artifacts SET size_bytes = 1 WHERE run_id = ?", (COMPLETED_RUN,))
    exporter.outcome(path, COMPLETED_RUN, "--format", "jsonl")
    (snapshot,) = manifest(exporter)["elspeth_snapshots"]
    assert snapshot["result"] == "different"
    assert "in chunk 2" in snapshot["reason"]


def without_traces(records: list[Record]) -> list[Record]:
    """The records that the export of the run had: without what it left behind (contract v071, section 6)."""
    effects = {r["effect_id"] for r in records if r.get("input_kind") == "audit_export_snapshot"}
    nodes = {r["sink_node_id"] for r in records if r["record_type"] == "sink_effect" and r["effect_id"] in effects}
    operations = {r["operation_id"] for r in records if r["record_type"] == "operation" and r["node_id"] in nodes}
    traces = {
        "node": lambda r: r["node_id"] in nodes,
        "operation": lambda r: r["operation_id"] in operations,
        "call": lambda r: r["operation_id"] in operations,
        "sink_effect": lambda r: r["effect_id"] in effects,
        "sink_effect_attempt": lambda r: r["effect_id"] in effects,
        "artifact": lambda r: r["sink_effect_id"] in effects,
    }
    kept = [r for r in records if not traces.get(r["record_type"], lambda r: False)(r)]
    gone = Counter(r["record_type"] for r in records) - Counter(r["record_type"] for r in kept)
    assert gone == {"node": 1, "operation": 1, "call": 3, "sink_effect": 1, "sink_effect_attempt": 3, "artifact": 1}
    return kept


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tagged(tag: str, **payload: Any) -> str:
    """The hash of a payload under its tag."""
    return sha256(rfc8785.dumps({"payload": payload, "schema": f"audit-export-{tag}"}))


def derive(records: list[Record], options: dict[str, Any], per_chunk: int) -> tuple[Record, list[Record], bytes]:
    """What ELSPETH notes of an unsigned export of these records: the snapshot, its chunks, and the bytes of the file.

    Contract v071, section 5, step by step, with nothing of the product."""
    run = records[0]
    assert "." not in run["completed_at"]
    completed_at = run["completed_at"] + ".000000Z"
    derivation, chunking = "audit-export-derivation-v1", "record-framing-v1"
    limits = {"per_chunk_byte_limit": 67_108_864, "per_chunk_record_limit": per_chunk}
    frames = [rfc8785.dumps(record) + b"\n" for record in records]
    final_hash = sha256("".join(sha256(frame[:-1]) for frame in frames).encode())

    public = tagged(
        "public-config-v1", **options, **limits, chunking_algorithm_version=chunking, include_raw_error_rows=False
    )
    registry = tagged("registry-key-v1", **options, public_export_config_hash=public, source_run_id=run["run_id"])

    chunks: list[Record] = []
    for start in range(0, len(frames), per_chunk):
        data, until = b"".join(frames[start : start + per_chunk]), b"".join(frames[: start + per_chunk])
        count = len(frames[start : start + per_chunk])
        chunks.append(
            {
                "content_hash": sha256(data),
                "cumulative_bytes": len(until),
                "cumulative_records": start + count,
                "ordinal": len(chunks),
                "record_count": count,
                "size_bytes": len(data),
            }
        )
    totals = {"record_count": len(frames), "total_bytes": sum(map(len, frames))}
    version = {"serialization_version": options["serialization_version"]}
    snapshot_hash = tagged(
        "snapshot-content-v1", **totals, **version, chunking_algorithm_version=chunking, chunks=list(map(dict, chunks))
    )
    snapshot_id = tagged("snapshot-id-v1", registry_key_hash=registry, snapshot_hash=snapshot_hash)

    before = None
    for chunk in chunks:
        chunk["content_ref"] = f"sha256:{chunk['content_hash']}"
        seal = tagged(
            "chunk-seal-v1",
            **chunk,
            **version,
            chunking_algorithm_version=chunking,
            derivation_version=derivation,
            predecessor={"kind": "genesis"} if before is None else {"hash": before, "kind": "chunk_seal"},
            snapshot_id=snapshot_id,
        )
        chunk |= {"predecessor_seal_hash": before, "chunk_seal_hash": seal}
        before = seal
    totals["chunk_count"] = len(chunks)
    manifest_hash = tagged("manifest-v1", **totals, chunks=chunks, snapshot_id=snapshot_id)
    common = {
        **totals,
        "exported_at": completed_at,
        "last_chunk_seal_hash": before,
        "manifest_hash": manifest_hash,
        "registry_key_hash": registry,
        "snapshot_hash": snapshot_hash,
        "snapshot_id": snapshot_id,
        "source_completed_at": completed_at,
        "source_status": run["status"],
    }
    seal = tagged(
        "snapshot-seal-v1", **common, **limits, chunking_algorithm_version=chunking, source_run_id=run["run_id"]
    )
    chain = "sha256_concat_record_sha256_v1"
    last = rfc8785.dumps(
        common
        | {
            "derivation_version": derivation,
            "export_format": options["export_format"],
            "final_hash": final_hash,
            "hash_algorithm": "sha256",
            "record_chain_algorithm": chain,
            "record_type": "manifest",
            "run_id": run["run_id"],
            "schema": "elspeth.audit-export-manifest.v2",
            "signature": None,
            "signature_algorithm": options["signing_mode"],
            "signature_key_id": options["signer_key_id"],
            "snapshot_seal_hash": seal,
        }
    )
    stored = run["completed_at"].replace("T", " ") + ".000000"
    snapshot = common | options | limits | {
        "source_run_id": run["run_id"],
        "source_completed_at": stored,
        "exported_at": stored,
        "derivation_version": derivation,
        "public_export_config_hash": public,
        "chunking_algorithm_version": chunking,
        "terminal_chunk_ordinal": len(chunks) - 1,
        "content_store_id": "archive",
        "snapshot_seal_hash": seal,
        "signature_hex": None,
        "record_chain_algorithm": chain,
        "final_hash": final_hash,
        "signed_manifest_schema": "elspeth.audit-export-manifest.v2",
        "signed_manifest_hash": sha256(last),
        "signed_manifest_ref": f"sha256:{sha256(last)}",
        "signed_manifest_size_bytes": len(last),
    }  # fmt: skip
    return snapshot, [{"snapshot_id": snapshot_id} | chunk for chunk in chunks], b"".join(frames) + last


def test_the_own_export_is_of_what_the_sample_holds(connection: sqlite3.Connection, records: list[Record]) -> None:
    """Every value of it, derived here anew. Whoever changes content.sql changes these with it: what is on the right is
    what has to stand there."""
    options = {
        "export_format": "json",
        "exporter_version": "landscape-exporter-v1",
        "serialization_version": "audit-export-v2",
        "signer_key_id": "UNSIGNED",
        "signing_mode": "unsigned",
    }
    snapshot, chunks, file = derive(without_traces(records), options, 100)
    assert len(chunks) == 3
    assert [dict(row) for row in connection.execute("SELECT * FROM audit_export_snapshots")] == [snapshot]
    assert [dict(row) for row in connection.execute(f"SELECT * FROM {CHUNKS} ORDER BY ordinal")] == chunks
    (effect,) = connection.execute("SELECT * FROM sink_effects WHERE input_kind = 'audit_export_snapshot'").fetchall()
    assert effect["membership_or_manifest_hash"] == snapshot["manifest_hash"]
    assert effect["group_payload_hash"] == snapshot["snapshot_hash"]
    artifact = connection.execute("SELECT * FROM artifacts WHERE sink_effect_id = ?", (effect["effect_id"],)).fetchone()
    assert (artifact["content_hash"], artifact["size_bytes"]) == (sha256(file), len(file))
    noted = connection.execute("SELECT * FROM sink_effect_export_snapshots").fetchone()
    assert (noted["effect_id"], noted["snapshot_id"]) == (effect["effect_id"], snapshot["snapshot_id"])


def test_hashes_that_name_what_they_are_of_are_right(connection: sqlite3.Connection) -> None:
    """Of configurations, plans and evidence, as whoever looks closely would find them."""
    for table, text, hash_ in (
        ("nodes", "config_json", "config_hash"),
        ("sink_effects", "plan_json", "plan_hash"),
        ("sink_effect_attempts", "evidence_json", "evidence_hash"),
        ("sink_effect_members", "lineage_json", "lineage_hash"),
        ("runs", "settings_json", "config_hash"),
    ):
        found = connection.execute(f"SELECT {text}, {hash_} FROM {table} WHERE {text} IS NOT NULL").fetchall()
        assert found
        for value, noted in found:
            assert sha256(value.encode()) == noted, (table, value)


def test_the_same_content_every_time(database: Path, tmp_path: Path) -> None:
    """Nothing is random or depends on the clock."""
    write_sample(tmp_path / "again.db")
    with closing(sqlite3.connect(database)) as first, closing(sqlite3.connect(tmp_path / "again.db")) as second:
        assert list(first.iterdump()) == list(second.iterdump())


def test_an_existing_file_is_left_as_it_is(tmp_path: Path) -> None:
    """What somebody has is not overwritten."""
    path = tmp_path / "sample.db"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="not overwritten"):
        write_sample(path)
    assert path.read_bytes() == b"mine"


def test_nothing_is_left_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token without a row breaks a foreign key, which is seen at the end of the transaction."""
    folder = Path(sample.__file__).parent
    schema = (folder / "schema.sql").read_text("utf-8")
    content = (folder / "content.sql").read_text("utf-8").replace("COMMIT;", "DELETE FROM rows; COMMIT;")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "schema.sql").write_text(schema, "utf-8")
    (tmp_path / "broken" / "content.sql").write_text(content, "utf-8")
    monkeypatch.setattr("landscape_assets.sample.resources.files", lambda name: tmp_path / "broken")
    with pytest.raises(sqlite3.IntegrityError):
        write_sample(tmp_path / "target" / "sample.db")
    assert list((tmp_path / "target").iterdir()) == []
