"""The manifest record of v071: the chunks of the records, and every hash that follows from them.

Belongs here: deriving that record anew, as docs/records.md states it under "The manifest of v071". Does not belong
here: its form and its signature (`judge.py`), and reading the records (`records_file.py`).
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .judge import tagged
from .limits import CHUNK_BYTES, CHUNK_RECORDS, CHUNKS

DERIVATION = "audit-export-derivation-v1"
SERIALIZATION = "audit-export-v2"
UNSIGNED = "UNSIGNED"
"""The key id of an export that is not signed."""
MODES = {True: "hmac_sha256", False: "unsigned"}
"""`signing_mode` by whether the export is signed."""
_CHAINS = {True: "sha256_concat_hmac_sha256_signatures_v1", False: "sha256_concat_record_sha256_v1"}
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

Config = dict[str, Any]
"""The configuration of an export, which the manifest record depends on and names only in part."""
DEFAULTS: Config = {
    "chunking_algorithm_version": "record-framing-v1",
    "exporter_version": "landscape-exporter-v1",
    "per_chunk_byte_limit": CHUNK_BYTES,
    "per_chunk_record_limit": CHUNK_RECORDS,
    "serialization_version": SERIALIZATION,
}


def is_key_id(text: str, signed: bool) -> bool:
    """Whether a text may be the key id of an export."""
    return text != UNSIGNED and _KEY_ID.fullmatch(text) is not None if signed else text == UNSIGNED


def configs(export_format: str, key_id: str, signed: bool) -> list[Config]:
    """The configurations with which an export was made of which manifest.json does not tell: the default ones.

    Args:
        export_format, key_id: as the manifest record has them.
        signed: whether the export is.
    """
    known = {**DEFAULTS, "export_format": export_format, "signer_key_id": key_id, "signing_mode": MODES[signed]}
    return [{**known, "include_raw_error_rows": is_raw} for is_raw in (False, True)]


@dataclass(frozen=True, slots=True)
class Source:
    """What else the manifest record is derived from.

    Args:
        run_id, status, completed_at: of the run; the time as in its record.
        final_hash: the chain over the records.
        signed: whether the export is.
    """

    run_id: str
    status: str
    completed_at: str
    final_hash: str
    signed: bool


@dataclass(frozen=True, slots=True)
class _Chunk:
    content_hash: str
    record_count: int
    size_bytes: int


class Chunker:
    """Divides records into chunks, and hashes these, in memory that does not depend on how many records there are.

    Args:
        config: with the limits of a chunk.
    """

    def __init__(self, config: Config) -> None:
        self.most_records, self.most_bytes = int(config["per_chunk_record_limit"]), int(config["per_chunk_byte_limit"])
        self.chunks: list[_Chunk] = []
        self.problem = ""
        """Why the records cannot be divided; empty when they can."""
        self.total_bytes = self.total_records = 0
        self._start()

    def _start(self) -> None:
        self.hash, self.records, self.size = hashlib.sha256(), 0, 0

    def update(self, frames: bytes) -> None:
        """Take the next records: whole lines with their line ends."""
        ends = list(_line_ends(frames))
        view = memoryview(frames)
        start = done = 0
        while done < len(ends):
            most = min(len(ends), done + self.most_records - self.records)
            fits = bisect_right(ends, start + self.most_bytes - self.size, done, most)
            if fits == done:
                if not self.records:
                    self.problem = self.problem or "A record is longer than a chunk may be."
                    fits = done + 1
                else:
                    self._close()
                    continue
            end = ends[fits - 1]
            self.hash.update(view[start:end])
            self.size += end - start
            self.records += fits - done
            start, done = end, fits

    def _close(self) -> None:
        if len(self.chunks) < CHUNKS:
            self.chunks.append(_Chunk(self.hash.hexdigest(), self.records, self.size))
        else:
            self.problem = self.problem or f"There are more than {CHUNKS} chunks."
        self.total_bytes += self.size
        self.total_records += self.records
        self._start()

    def finish(self) -> None:
        """Close the last chunk."""
        if self.records:
            self._close()


def _line_ends(data: bytes) -> Iterator[int]:
    at = 0
    while (at := data.find(b"\n", at) + 1) > 0:
        yield at


def derive(chunker: Chunker, config: Config, source: Source) -> dict[str, object]:
    """The manifest record without its signature.

    Args:
        chunker: with all records.
        config: of the export; its limits are those of the chunker.
        source: what else there is to know.

    Returns:
        The 22 fields.
    """
    limits = {name: config[name] for name in ("per_chunk_byte_limit", "per_chunk_record_limit")}
    named = ("export_format", "exporter_version", "serialization_version", "signer_key_id", "signing_mode")
    registry_key = {
        **{name: config[name] for name in named},
        "public_export_config_hash": _hash("audit-export-public-config-v1", config),
        "source_run_id": source.run_id,
    }
    registry_key_hash = _hash("audit-export-registry-key-v1", registry_key)
    completed_at = utc(source.completed_at)
    totals = {"record_count": chunker.total_records, "total_bytes": chunker.total_bytes}

    parts: list[dict[str, object]] = []
    records = size = 0
    for ordinal, chunk in enumerate(chunker.chunks):
        records, size = records + chunk.record_count, size + chunk.size_bytes
        parts.append(
            {
                "content_hash": chunk.content_hash,
                "cumulative_bytes": size,
                "cumulative_records": records,
                "ordinal": ordinal,
                "record_count": chunk.record_count,
                "size_bytes": chunk.size_bytes,
            }
        )
    chunking = {"chunking_algorithm_version": config["chunking_algorithm_version"]}
    versions = {**chunking, "serialization_version": config["serialization_version"]}
    snapshot_hash = _hash("audit-export-snapshot-content-v1", {**versions, **totals, "chunks": parts})
    snapshot_id = _hash(
        "audit-export-snapshot-id-v1", {"registry_key_hash": registry_key_hash, "snapshot_hash": snapshot_hash}
    )

    seal: str | None = None
    for part in parts:
        before, content_ref = seal, f"sha256:{part['content_hash']}"
        predecessor = {"kind": "genesis"} if before is None else {"hash": before, "kind": "chunk_seal"}
        sealed = {**part, **versions, "content_ref": content_ref, "derivation_version": DERIVATION}
        seal = _hash("audit-export-chunk-seal-v1", {**sealed, "predecessor": predecessor, "snapshot_id": snapshot_id})
        part |= {"chunk_seal_hash": seal, "content_ref": content_ref, "predecessor_seal_hash": before}
    count = {"chunk_count": len(parts), **totals}
    manifest_hash = _hash("audit-export-manifest-v1", {**count, "chunks": parts, "snapshot_id": snapshot_id})
    hashes = {
        "last_chunk_seal_hash": seal,
        "manifest_hash": manifest_hash,
        "registry_key_hash": registry_key_hash,
        "snapshot_hash": snapshot_hash,
        "snapshot_id": snapshot_id,
    }
    run = {"exported_at": completed_at, "source_completed_at": completed_at, "source_status": source.status}
    snapshot_seal_hash = _hash(
        "audit-export-snapshot-seal-v1",
        {**hashes, **count, **limits, **run, **chunking, "source_run_id": source.run_id},
    )
    return {
        **hashes,
        **count,
        **run,
        "derivation_version": DERIVATION,
        "export_format": config["export_format"],
        "final_hash": source.final_hash,
        "hash_algorithm": "sha256",
        "record_chain_algorithm": _CHAINS[source.signed],
        "record_type": "manifest",
        "run_id": source.run_id,
        "schema": "elspeth.audit-export-manifest.v2",
        "signature_algorithm": config["signing_mode"],
        "signature_key_id": config["signer_key_id"],
        "snapshot_seal_hash": snapshot_seal_hash,
    }


def utc(text: str) -> str:
    """A time of a record as the manifest record has it; one without a zone is UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _hash(tag: str, payload: object) -> str:
    return hashlib.sha256(tagged(tag, payload)).hexdigest()
