"""Builds export packages from record dicts, for the verifier's tests.

Belongs here: the package format written once more, as simply as it can be, from docs/package.md. Does not belong here:
an import of the exporter or of the verifier; a package that either of them made could share its mistakes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import rfc8785

DATA = Path(__file__).parent / "data"
KEY = b"conformance-key"
"""The key of the conformance exports and of every package of the corpus."""
OTHER_KEY = b"another key altogether"
EXPORTED_AT = "2026-11-22T01:21:58.528797+00:00"
GUIDE = b"# How to check this package\n\nA placeholder: the tests of the exporter are about the real one.\n"
PARQUET = b"PAR1 a placeholder: the verifier does not read Parquet files PAR1"

MEDIA_TYPES = {
    ".jsonl": "application/jsonl",
    ".csv": "text/csv; charset=utf-8; header=present",
    ".parquet": "application/vnd.apache.parquet",
    ".md": "text/markdown; charset=utf-8",
    ".html": "text/html; charset=utf-8",
}

FIELDS = {
    "run": "run_id status started_at completed_at canonical_version config_hash settings reproducibility_grade",
    "secret_resolution": "run_id resolution_id timestamp env_var_name source vault_url secret_name fingerprint "
    "resolution_latency_ms",
    "node": "run_id node_id plugin_name node_type plugin_version determinism config_hash config "
    "schema_hash schema_mode schema_fields sequence_in_pipeline",
    "edge": "run_id edge_id from_node_id to_node_id label default_mode",
    "operation": "run_id operation_id node_id operation_type status started_at completed_at "
    "duration_ms error_message input_data_ref input_data_hash output_data_ref "
    "output_data_hash",
    "call": "run_id call_id state_id operation_id call_index call_type status request_hash "
    "response_hash latency_ms request_ref response_ref error_json created_at",
    "row": "run_id row_id row_index source_node_id source_data_hash",
    "token": "run_id token_id row_id step_in_pipeline branch_name fork_group_id join_group_id expand_group_id",
    "token_parent": "run_id token_id parent_token_id ordinal",
    "token_outcome": "run_id outcome_id token_id outcome is_terminal recorded_at sink_name batch_id "
    "fork_group_id join_group_id expand_group_id error_hash context_json "
    "expected_branches_json",
    "node_state": "run_id state_id token_id node_id step_index attempt status input_hash output_hash "
    "duration_ms started_at completed_at context_before_json context_after_json "
    "error_json success_reason_json",
    "routing_event": "run_id event_id state_id edge_id routing_group_id ordinal mode reason_hash reason_ref created_at",
    "batch": "run_id batch_id aggregation_node_id attempt status trigger_type trigger_reason created_at completed_at",
    "batch_member": "run_id batch_id token_id ordinal",
    "artifact": "run_id artifact_id sink_node_id produced_by_state_id artifact_type path_or_uri "
    "content_hash size_bytes",
}
"""The fields of each record type of v1 after `record_type`, in the contract's order."""
TABLES = {name: f"{name}es" if name == "batch" else f"{name}s" for name in FIELDS}
NESTED = ("settings", "config", "schema_fields")

Record = dict[str, object]
Edit = Callable[[dict], object]


def load(name: str) -> list[Record]:
    """The data records of a signed export, without their signatures."""
    lines = (DATA / name).read_text("utf-8").split("\n")
    records = [json.loads(line) for line in lines if line]
    return [
        {key: value for key, value in record.items() if key != "signature"}
        for record in records
        if record["record_type"] != "manifest"
    ]


def read(data: bytes) -> Record:
    """A JSON object; every number is a float, so that canonical numbers beyond 2^53 can be written again."""
    return json.loads(data, parse_int=float)


def sign(value: Record, key: bytes) -> Record:
    """The value with its `signature`, made anew."""
    unsigned = {name: item for name, item in value.items() if name != "signature"}
    return {**unsigned, "signature": hmac.new(key, rfc8785.dumps(unsigned), "sha256").hexdigest()}


def csv_cell(value: object, nested: bool) -> str:
    """A cell, from docs/package.md."""
    if value is None:
        return ""
    if not nested and isinstance(value, bool | int | float):
        return rfc8785.dumps(value).decode()
    text = rfc8785.dumps(value).decode() if nested else value
    if text == "":
        return '""'
    if text[0] in "=+-@'\t\r\n\0":
        text = "'" + text
    if any(character in text for character in '",\r\n'):
        text = '"' + text.replace('"', '""') + '"'
    return text


def csv_file(name: str, records: list[Record], signed: bool, fields: str | None = None) -> bytes:
    """The CSV file of a record type."""
    names = ["record_type", *(fields or FIELDS[name]).split(), *(["signature"] if signed else [])]
    rows = [",".join(names)]
    rows += [
        ",".join(csv_cell(record[field], field in NESTED) for field in names)
        for record in records
        if record["record_type"] == name
    ]
    return "".join(row + "\r\n" for row in rows).encode("utf-8")


def folder_name(run_id: str) -> str:
    """The folder name of a run_id that needs no cutting."""
    name = quote(run_id, safe="-_.~")
    return "%2E" + name[1:] if name.startswith(".") else name or "%"


def contents(
    records: list[Record],
    key: bytes | None = KEY,
    formats: tuple[str, ...] = ("jsonl", "csv"),
    contract: str = "v1",
    final: Edit | None = None,
    edit_lines: Callable[[list[bytes]], list[bytes]] | None = None,
    sign_records: bool = True,
    version: int = 1,
) -> tuple[dict[str, bytes], dict[str, object]]:
    """The files of a package, and its manifest without `signature`.

    Args:
        records: data records; one that has a `signature` keeps it.
        key: to sign with; None for an unsigned package.
        formats: of the package.
        contract: of the manifest.
        final: changes the final manifest record before it is signed.
        edit_lines: changes the lines of records.jsonl, after all else was derived from the records.
        version: of the format.
        sign_records: False leaves the records as they are, in a package that is signed all the same.
    """
    signed = key is not None
    if signed and sign_records:
        records = [record if "signature" in record else sign(record, key) for record in records]
    lines = [rfc8785.dumps(record) for record in records]
    if signed:
        links = [str(record.get("signature", "")) for record in records]
    else:
        links = [hashlib.sha256(line).hexdigest() for line in lines]
    final_hash = hashlib.sha256("".join(links).encode()).hexdigest()
    run = next(record for record in records if record["record_type"] == "run")
    counts = Counter(record["record_type"] for record in records)
    if signed:
        last = {
            "record_type": "manifest",
            "run_id": run["run_id"],
            "record_count": len(records),
            "final_hash": final_hash,
            "hash_algorithm": "sha256",
            "signature_algorithm": "hmac-sha256",
            "exported_at": EXPORTED_AT,
        }
        if final:
            final(last)
        lines.append(rfc8785.dumps(sign(last, key)))
    data_lines = lines[: len(records)]
    if edit_lines:
        lines = edit_lines(lines)
    files = {"VERIFY.md": GUIDE}
    if "jsonl" in formats:
        files["records.jsonl"] = b"".join(line + b"\n" for line in lines)
    for name in counts:
        if "csv" in formats:
            fields = FIELDS[name]
            if contract == "v0" and name == "operation":
                fields = fields.replace(" input_data_hash", "").replace(" output_data_hash", "")
            files[f"csv/{name}.csv"] = csv_file(name, records, signed, fields)
        if "parquet" in formats:
            files[f"parquet/{name}.parquet"] = PARQUET
    manifest = {
        "format": "landscape-export",
        "format_version": 1,
        "contract": contract,
        "run_id": run["run_id"],
        "status": run["status"],
        "started_at": run["started_at"],
        "completed_at": run["completed_at"],
        "record_count": len(records),
        "record_counts": dict(counts),
        "final_hash": final_hash,
        "chain": "sha256-of-record-signatures" if signed else "sha256-of-record-sha256",
        "tables": {TABLES[name]: counts[name] for name in FIELDS if (contract, name) != ("v0", "token_outcome")},
        "exporter": {"name": "landscape-assets", "version": "0.1.0"},
        "signing": {"algorithm": "hmac-sha256", "key_id": key_id(key)} if signed else None,
        "public_key": None,
        "exported_at": EXPORTED_AT,
    }
    if version == 2:
        root = tree_hash(data_lines).hex()
        manifest |= {"format_version": 2, "merkle": {"algorithm": "rfc6962-sha256", "size": len(records), "root": root}}
    list_files(manifest, files)
    return files, manifest


def tree_hash(leaves: list[bytes]) -> bytes:
    """The Merkle tree hash, as RFC 6962, 2.1, defines it."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def key_id(key: bytes) -> str:
    """The default id of a key."""
    return "hmac:" + hmac.new(key, b"landscape-assets key id", "sha256").hexdigest()[:16]


def list_files(manifest: dict, files: dict[str, bytes]) -> None:
    """Put the files into the manifest's `files`."""
    counts = manifest["record_counts"]
    manifest["files"] = [
        {
            "path": path,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "media_type": MEDIA_TYPES[Path(path).suffix],
            "records": None
            if path in ("VERIFY.md", "report.html")
            else manifest["record_count"]
            if path == "records.jsonl"
            else counts[Path(path).stem],
        }
        for path, content in sorted(files.items(), key=lambda item: item[0].encode())
    ]


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files into a new folder."""
    folder.mkdir(parents=True)
    for path, content in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def seal(manifest: dict, key: bytes | None) -> bytes:
    """The bytes of manifest.json, signed unless the key is None."""
    return rfc8785.dumps(manifest if key is None else sign(manifest, key))


def build(
    parent: Path,
    records: list[Record],
    key: bytes | None = KEY,
    *,
    edit_manifest: Edit | None = None,
    edit_files: Callable[[dict[str, bytes]], object] | None = None,
    after: Callable[[dict[str, bytes]], object] | None = None,
    private_key: object | None = None,
    name: str | None = None,
    **more: object,
) -> Path:
    """Write a package and give its folder.

    Args:
        parent: where to put it.
        records: data records.
        key: to sign with; None for an unsigned package.
        edit_manifest: changes the manifest before it is signed.
        edit_files: changes the files before they are listed.
        after: changes the files, manifest.json too, after all was listed and signed.
        private_key: an Ed25519 private key of `cryptography`, for manifest.json.sig.
        name: of the folder, when it is not the run_id's.
        more: for `contents`.
    """
    files, manifest = contents(records, key, **more)
    if edit_files:
        edit_files(files)
        list_files(manifest, files)
    if private_key is not None:
        manifest["public_key"] = {"algorithm": "ed25519", "key_id": public_key_id(private_key)}
    if edit_manifest:
        edit_manifest(manifest)
    files["manifest.json"] = seal(manifest, key)
    if private_key is not None:
        files["manifest.json.sig"] = private_key.sign(files["manifest.json"])
    if after:
        after(files)
    return write(parent / (folder_name(str(records[0]["run_id"])) if name is None else name), files)


def public_key_id(private_key: object) -> str:
    """The id of a private key's public key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()
