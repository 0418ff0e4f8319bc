"""Builds packages of the generations v060, v070 and v071, for the verifier's tests.

Belongs here: what docs/package.md and docs/records.md say of them, written once more, as simply as it can be. Does not
belong here: an import of the exporter or of the verifier, as in `build.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import build
from .build import EXPORTED_AT, KEY, Record

EXPORTS = {
    "v060": "v060.run-705b45eb5be3.signed.jsonl",
    "v070": "v070.run-0bcdcefaba18.signed.jsonl",
    "v071": "v071.run-1027dc19de39.signed.jsonl",
}
"""An export that ELSPETH of each generation made, of a run with nearly every record type."""
SMALL_EXPORTS = {
    "v060": "v060.run-095e3b0ee879.signed.jsonl",
    "v070": "v070.run-e60840013351.signed.jsonl",
    "v071": "v071.run-71f746f86337.signed.jsonl",
}
"""One of a small run."""
KEY_ID = "conformance-1"
TAG = "__elspeth_canonical_type__"

TABLES = {
    **build.TABLES,
    "web_plugin_policy": "run_web_plugin_policy",
    **{
        name: name + "s"
        for name in (
            *("sink_effect_stream", "sink_effect", "sink_effect_member", "sink_effect_attempt"),
            *("validation_error", "transform_error", "scheduler_event"),
        )
    },
}
NEW_IN_V071 = ("web_plugin_policy", "sink_effect_stream", "sink_effect", "sink_effect_member", "sink_effect_attempt")

FIELDS_OF_V071 = {
    "run": "run_id status started_at completed_at canonical_version config_hash initiated_by_user_id "
    "auth_provider_type settings reproducibility_grade",
    "web_plugin_policy": "run_id schema_version policy_hash snapshot_hash authorized_plugin_ids available_plugin_ids "
    "control_modes selected_implementations selected_profile_aliases plugin_code_identities "
    "binding_generation_fingerprint decision_codes",
    "node": "run_id node_id plugin_name node_type plugin_version source_file_hash determinism config_hash config "
    "schema_hash schema_mode schema_fields sequence_in_pipeline registered_at",
    "edge": "run_id edge_id from_node_id to_node_id label default_mode created_at",
    "operation": "run_id operation_id node_id operation_type sink_effect_id status started_at completed_at duration_ms "
    "error_message input_data_ref input_data_hash output_data_ref output_data_hash",
    "call": "run_id call_id state_id operation_id call_index call_type status request_hash response_hash "
    "resolved_prompt_template_hash latency_ms request_ref response_ref error_json created_at",
    "sink_effect_stream": "run_id stream_id sink_node_id role requested_target_hash next_sequence tail_effect_id "
    "head_effect_id head_descriptor_hash",
    "sink_effect": "run_id effect_id sink_node_id role state protocol_version input_kind config_hash "
    "membership_or_manifest_hash group_payload_hash artifact_id artifact_idempotency_key inspection_mode "
    "inspection_attempt_id plan_hash descriptor_mode expected_descriptor_hash precondition_hash prepared_at "
    "lease_owner generation lease_expires_at lease_heartbeat_at reconcile_kind reconcile_evidence_hash "
    "result_descriptor_hash publication_performed publication_evidence_kind primary_effect_id stream_id "
    "stream_sequence predecessor_effect_id created_at updated_at finalized_at",
    "sink_effect_member": "run_id effect_id ordinal sink_node_id role token_id row_id ingest_sequence lineage_hash "
    "payload_hash primary_effect_id prepared_disposition reason_hash member_effect_id member_state descriptor_hash "
    "evidence_hash",
    "sink_effect_attempt": "run_id attempt_id effect_id attempt_index member_ordinal generation action call_kind "
    "request_hash state evidence_hash started_at completed_at latency_ms",
    "validation_error": "run_id error_id node_id row_id row_hash row_data_json error schema_mode destination "
    "created_at violation_type original_field_name normalized_field_name expected_type actual_type",
    "transform_error": "run_id error_id token_id transform_id row_hash row_data_json error_details_json destination "
    "created_at",
    "row": "run_id row_id row_index source_row_index ingest_sequence source_node_id source_data_hash source_data_ref "
    "created_at",
    "token": build.FIELDS["token"] + " created_at",
    "token_outcome": "run_id outcome_id token_id outcome path completed recorded_at sink_name batch_id fork_group_id "
    "join_group_id expand_group_id error_hash context_json expected_branches_json",
    "scheduler_event": "run_id event_id token_id work_item_id node_id event_type from_status to_status "
    "from_lease_owner to_lease_owner from_lease_expires_at to_lease_expires_at from_attempt to_attempt recorded_at "
    "caller_owner context_json",
    "artifact": "run_id artifact_id sink_node_id producer_kind produced_by_state_id sink_effect_id artifact_type "
    "path_or_uri content_hash size_bytes idempotency_key publication_performed publication_evidence_kind created_at",
}
NESTED = (
    *build.NESTED,
    *["authorized_plugin_ids", "available_plugin_ids", "control_modes", "selected_implementations"],
    *["selected_profile_aliases", "plugin_code_identities", "decision_codes"],
)

CONFIG = {
    "chunking_algorithm_version": "record-framing-v1",
    "export_format": "json",
    "exporter_version": "landscape-exporter-v1",
    "include_raw_error_rows": False,
    "per_chunk_byte_limit": 67108864,
    "per_chunk_record_limit": 1000000,
    "serialization_version": "audit-export-v2",
}
"""The default configuration of an export of v071; the key id and the signing mode are added."""


def load(path: Path) -> list[Record]:
    """The records of an export, the manifest record too, with their signatures."""
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def data_records(contract: str, *, small: bool = False) -> list[Record]:
    """The data records of the kept export of a generation, without signatures."""
    return build.load((SMALL_EXPORTS if small else EXPORTS)[contract])


def signing_form(value: object) -> object:
    """A value as v070 signs it."""
    if isinstance(value, list):
        return [signing_form(item) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: signing_form(item) for key, item in value.items()}
    entries = sorted((rfc8785.dumps(key).decode(), key) for key in value)
    return {TAG: "mapping", "entries": [{"key": key, "value": signing_form(value[key])} for _, key in entries]}


def sign(record: Record, contract: str, key: bytes) -> Record:
    """The record with its signature, made anew."""
    unsigned = {name: value for name, value in record.items() if name != "signature"}
    form = signing_form(unsigned) if contract == "v070" else unsigned
    return {**unsigned, "signature": hmac.new(key, rfc8785.dumps(form), "sha256").hexdigest()}


def config(key: bytes | None, **more: object) -> dict[str, object]:
    """The configuration of an export."""
    identity = (
        {"signer_key_id": KEY_ID, "signing_mode": "hmac_sha256"}
        if key
        else {"signer_key_id": "UNSIGNED", "signing_mode": "unsigned"}
    )
    return {**CONFIG, **identity, **more}


def tagged(tag: str, payload: object) -> bytes:
    """What is hashed of a payload."""
    return rfc8785.dumps({"payload": payload, "schema": tag})


def _hash(tag: str, payload: object) -> str:
    return hashlib.sha256(tagged(tag, payload)).hexdigest()


def manifest_record(lines: list[bytes], run: Record, final_hash: str, settings: dict[str, object]) -> Record:
    """The core of v071's manifest record, after the twelve steps of its contract."""
    chunks: list[list[bytes]] = []
    for frame in (line + b"\n" for line in lines):
        is_full = chunks and (
            len(chunks[-1]) == settings["per_chunk_record_limit"]
            or sum(map(len, chunks[-1])) + len(frame) > settings["per_chunk_byte_limit"]
        )
        if not chunks or is_full:
            chunks.append([])
        chunks[-1].append(frame)
    names = ["export_format", "exporter_version", "serialization_version", "signer_key_id", "signing_mode"]
    registry = {name: settings[name] for name in names}
    registry["public_export_config_hash"] = _hash("audit-export-public-config-v1", settings)
    registry["source_run_id"] = run["run_id"]
    registry_key_hash = _hash("audit-export-registry-key-v1", registry)
    parts = []
    for ordinal, chunk in enumerate(chunks):
        so_far = [frame for some in chunks[: ordinal + 1] for frame in some]
        parts.append(
            {
                "content_hash": hashlib.sha256(b"".join(chunk)).hexdigest(),
                "cumulative_bytes": sum(map(len, so_far)),
                "cumulative_records": len(so_far),
                "ordinal": ordinal,
                "record_count": len(chunk),
                "size_bytes": sum(map(len, chunk)),
            }
        )
    versions = {name: settings[name] for name in ("chunking_algorithm_version", "serialization_version")}
    totals = {"record_count": len(lines), "total_bytes": sum(len(line) + 1 for line in lines)}
    snapshot_hash = _hash("audit-export-snapshot-content-v1", {**versions, **totals, "chunks": parts})
    snapshot = {"registry_key_hash": registry_key_hash, "snapshot_hash": snapshot_hash}
    snapshot_id = _hash("audit-export-snapshot-id-v1", snapshot)
    sealed: list[dict[str, object]] = []
    for part in parts:
        before = sealed[-1]["chunk_seal_hash"] if sealed else None
        payload = {
            **part,
            **versions,
            "content_ref": "sha256:" + part["content_hash"],
            "derivation_version": "audit-export-derivation-v1",
            "predecessor": {"hash": before, "kind": "chunk_seal"} if before else {"kind": "genesis"},
            "snapshot_id": snapshot_id,
        }
        seal = {"chunk_seal_hash": _hash("audit-export-chunk-seal-v1", payload), "predecessor_seal_hash": before}
        sealed.append({**part, **seal, "content_ref": payload["content_ref"]})
    count = {"chunk_count": len(parts), **totals}
    manifest_hash = _hash("audit-export-manifest-v1", {**count, "chunks": sealed, "snapshot_id": snapshot_id})
    finished = datetime.fromisoformat(run["completed_at"]).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    common = {
        **snapshot,
        **count,
        "exported_at": finished,
        "last_chunk_seal_hash": sealed[-1]["chunk_seal_hash"],
        "manifest_hash": manifest_hash,
        "snapshot_id": snapshot_id,
        "source_completed_at": finished,
        "source_status": run["status"],
    }
    limits = ("per_chunk_byte_limit", "per_chunk_record_limit", "chunking_algorithm_version")
    seal = {**common, **{name: settings[name] for name in limits}, "source_run_id": run["run_id"]}
    is_signed = settings["signing_mode"] == "hmac_sha256"
    return {
        **common,
        "derivation_version": "audit-export-derivation-v1",
        "export_format": settings["export_format"],
        "final_hash": final_hash,
        "hash_algorithm": "sha256",
        "record_chain_algorithm": "sha256_concat_hmac_sha256_signatures_v1"
        if is_signed
        else "sha256_concat_record_sha256_v1",
        "record_type": "manifest",
        "run_id": run["run_id"],
        "schema": "elspeth.audit-export-manifest.v2",
        "signature_algorithm": settings["signing_mode"],
        "signature_key_id": settings["signer_key_id"],
        "snapshot_seal_hash": _hash("audit-export-snapshot-seal-v1", seal),
    }


def sign_manifest_record(core: Record, key: bytes | None) -> Record:
    """v071's manifest record with its signature; null when unsigned."""
    body = tagged("audit-export-final-manifest-signing-body-v2", core)
    return {**core, "signature": hmac.new(key, body, "sha256").hexdigest() if key else None}


def contents(
    records: list[Record],
    contract: str,
    key: bytes | None = KEY,
    *,
    formats: tuple[str, ...] = ("jsonl", "csv"),
    settings: dict[str, object] | None = None,
    edit_last: Callable[[Record], object] | None = None,
    edit_lines: Callable[[list[bytes]], list[bytes]] | None = None,
) -> tuple[dict[str, bytes], dict[str, object]]:
    """The files of a package, and its manifest without `signature`.

    Args:
        records: data records; one that has a `signature` keeps it, in a signed package.
        contract: v060, v070 or v071.
        key: to sign with; None for an unsigned package.
        formats: of the package.
        settings: the configuration of an export of v071.
        edit_last: changes the manifest record before it is signed.
        edit_lines: changes the lines of records.jsonl, after all else was derived from the records.
    """
    if key:
        records = [record if "signature" in record else sign(record, contract, key) for record in records]
    else:
        records = [{name: value for name, value in record.items() if name != "signature"} for record in records]
    data_lines = [rfc8785.dumps(record) for record in records]
    lines = list(data_lines)
    links = [record["signature"] for record in records] if key else [hashlib.sha256(x).hexdigest() for x in lines]
    final_hash = hashlib.sha256("".join(links).encode()).hexdigest()
    run = records[0]
    counts = Counter(record["record_type"] for record in records)
    last: Record | None = None
    if contract == "v071":
        last = manifest_record(lines, run, final_hash, settings or config(key))
    elif key:
        last = {"record_type": "manifest", "run_id": run["run_id"], "record_count": len(records)}
        last |= {"final_hash": final_hash, "hash_algorithm": "sha256", "signature_algorithm": "hmac-sha256"}
        last["exported_at"] = EXPORTED_AT
    if last is not None:
        if edit_last:
            edit_last(last)
        last = sign_manifest_record(last, key) if contract == "v071" else sign(last, "v1", key)
        lines.append(rfc8785.dumps(last))
    if edit_lines:
        lines = edit_lines(lines)
    files = {"VERIFY.md": build.GUIDE}
    if "jsonl" in formats:
        files["records.jsonl"] = b"".join(line + b"\n" for line in lines)
    if "csv" in formats:
        for name in counts:
            files[f"csv/{name}.csv"] = csv_file(name, records, contract, key is not None)
    manifest = {
        "format": "landscape-export",
        "format_version": 2,
        "contract": contract,
        "run_id": run["run_id"],
        "status": run["status"],
        "started_at": run["started_at"],
        "completed_at": run["completed_at"],
        "record_count": len(records),
        "record_counts": dict(counts),
        "final_hash": final_hash,
        "chain": "sha256-of-record-signatures" if key else "sha256-of-record-sha256",
        "tables": {table: counts[name] for name, table in TABLES.items() if contract == "v071" or _is_old(name)},
        "exporter": {"name": "landscape-assets", "version": "0.1.0"},
        "signing": {"algorithm": "hmac-sha256", "key_id": build.key_id(key)} if key else None,
        "public_key": None,
        "exported_at": EXPORTED_AT,
    }
    root = build.tree_hash(data_lines).hex()
    manifest["merkle"] = {"algorithm": "rfc6962-sha256", "size": len(records), "root": root}
    build.list_files(manifest, files)
    return files, manifest


def _is_old(name: str) -> bool:
    return name not in NEW_IN_V071


def csv_file(name: str, records: list[Record], contract: str, signed: bool) -> bytes:
    """The CSV file of a record type."""
    names = ["record_type", *fields(name, contract), *(["signature"] if signed else [])]
    rows = [",".join(names)]
    rows += [
        ",".join(build.csv_cell(record[field], field in NESTED) for field in names)
        for record in records
        if record["record_type"] == name
    ]
    return "".join(row + "\r\n" for row in rows).encode("utf-8")


def fields(name: str, contract: str) -> list[str]:
    """The fields of a record type, in the contract's order."""
    known = FIELDS_OF_V071.get(name, build.FIELDS.get(name, "")).split()
    lacking = {"operation": ("sink_effect_id",)}
    lacking["artifact"] = ("producer_kind", "sink_effect_id", "publication_performed", "publication_evidence_kind")
    return known if contract == "v071" else [one for one in known if one not in lacking.get(name, ())]


def build_package(
    parent: Path,
    records: list[Record],
    contract: str,
    key: bytes | None = KEY,
    *,
    edit_manifest: Callable[[dict], object] | None = None,
    private_key: Ed25519PrivateKey | None = None,
    **more: object,
) -> Path:
    """Write a package and give its folder.

    Args:
        parent: where to put it.
        records: data records.
        contract: v060, v070 or v071.
        key: to sign with; None for an unsigned package.
        edit_manifest: changes manifest.json before it is signed.
        private_key: for manifest.json.sig.
        more: for `contents`.
    """
    files, manifest = contents(records, contract, key, **more)
    if edit_manifest:
        edit_manifest(manifest)
    if private_key is not None:
        manifest["public_key"] = {"algorithm": "ed25519", "key_id": build.public_key_id(private_key)}
    files["manifest.json"] = build.seal(manifest, key)
    if private_key is not None:
        files["manifest.json.sig"] = private_key.sign(files["manifest.json"])
    return build.write(parent / build.folder_name(str(records[0]["run_id"])), files)
