"""The manifest record of v071: the chunks of the records, and every hash that follows from them.

Belongs here: deriving that record anew, as docs/records.md states it under "The manifest of v071". Does not belong
here: its form and its signature (`judge.py`), and reading the records (`records_file.py`).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from .judge import tagged
from .limits import CHUNK_BYTES, CHUNK_RECORDS, CHUNKS

CHUNKING = "record-framing-v1"
DERIVATION = "audit-export-derivation-v1"
SERIALIZATION = "audit-export-v2"
UNSIGNED = "UNSIGNED"
"""The key id of an export that is not signed."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What the manifest record depends on and does not say.

    Args:
        include_raw_error_rows: whether error records hold the rows.
        exporter_version: the exporter's name.
        per_chunk_byte_limit: greatest size of a chunk.
        per_chunk_record_limit: most records of a chunk.
    """

    include_raw_error_rows: bool = False
    exporter_version: str = "landscape-exporter-v1"
    per_chunk_byte_limit: int = CHUNK_BYTES
    per_chunk_record_limit: int = CHUNK_RECORDS


@dataclass(frozen=True, slots=True)
class Source:
    """What else the manifest record is derived from.

    Args:
        run_id, status, completed_at: of the run; the time as in its record.
        final_hash: the chain over the records.
        signed: whether the export is.
        key_id: what the record calls the key.
        export_format: what the record says it is.
    """

    run_id: str
    status: str
    completed_at: str
    final_hash: str
    signed: bool
    key_id: str
    export_format: str


@dataclass(frozen=True, slots=True)
class _Chunk:
    content_hash: str
    record_count: int
    size_bytes: int


class Chunker:
    """Divides records into chunks, and hashes these, in memory that does not depend on how many records there are.

    Args:
        options: with the limits of a chunk.
    """

    def __init__(self, options: ExportOptions) -> None:
        self.options = options
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
            most = min(len(ends), done + self.options.per_chunk_record_limit - self.records)
            fits = bisect_right(ends, start + self.options.per_chunk_byte_limit - self.size, done, most)
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


def candidates(options: ExportOptions | None) -> tuple[ExportOptions, ...]:
    """The options that a manifest record may have been made with, given what manifest.json says of them.

    Where it says nothing they are the default ones; whether error rows are raw is then tried.
    """
    if options is not None:
        return (options,)
    return ExportOptions(), replace(ExportOptions(), include_raw_error_rows=True)


def derive(chunker: Chunker, options: ExportOptions, source: Source) -> dict[str, object]:
    """The manifest record without its signature.

    Args:
        chunker: with all records.
        options: of the export; its limits are those of the chunker.
        source: what else there is to know.

    Returns:
        The 22 fields.
    """
    mode = "hmac_sha256" if source.signed else "unsigned"
    limits = {
        "per_chunk_byte_limit": options.per_chunk_byte_limit,
        "per_chunk_record_limit": options.per_chunk_record_limit,
    }
    shared = {
        "export_format": source.export_format,
        "exporter_version": options.exporter_version,
        "serialization_version": SERIALIZATION,
        "signer_key_id": source.key_id,
        "signing_mode": mode,
    }
    config = {**shared, **limits, "chunking_algorithm_version": CHUNKING}
    config_hash = _hash(
        "audit-export-public-config-v1", {**config, "include_raw_error_rows": options.include_raw_error_rows}
    )
    registry_key = {**shared, "public_export_config_hash": config_hash, "source_run_id": source.run_id}
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
    versions = {"chunking_algorithm_version": CHUNKING, "serialization_version": SERIALIZATION}
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
        {
            **hashes,
            **count,
            **limits,
            **run,
            "chunking_algorithm_version": CHUNKING,
            "source_run_id": source.run_id,
        },
    )
    chain = "sha256_concat_hmac_sha256_signatures_v1" if source.signed else "sha256_concat_record_sha256_v1"
    return {
        **hashes,
        **count,
        **run,
        "derivation_version": DERIVATION,
        "export_format": source.export_format,
        "final_hash": source.final_hash,
        "hash_algorithm": "sha256",
        "record_chain_algorithm": chain,
        "record_type": "manifest",
        "run_id": source.run_id,
        "schema": "elspeth.audit-export-manifest.v2",
        "signature_algorithm": mode,
        "signature_key_id": source.key_id,
        "snapshot_seal_hash": snapshot_seal_hash,
    }


def utc(text: str) -> str:
    """A time of a record as the manifest record has it; one without a zone is UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _hash(tag: str, payload: object) -> str:
    return hashlib.sha256(tagged(tag, payload)).hexdigest()
