"""The manifest record of version 2: chunks of records, their seals, and the snapshot that they make up (contract v071,
section 5).

Belongs here: what is computed of the lines of records as they come, and of it the manifest when they have all come.
Does not belong here: the manifest of version 1 and keys (`sign.py`), files (`formats/`).

Memory grows with the number of chunks (some 200 bytes each, at most 100,000), not with the records.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ..contract.canonical import canonical_json
from ..errors import ExportError
from .sign import SigningKey

SERIALIZATION_VERSION = "audit-export-v2"
DERIVATION_VERSION = "audit-export-derivation-v1"
SCHEMA = "elspeth.audit-export-manifest.v2"
UNSIGNED = "UNSIGNED"
EXPORT_FORMATS = ("json", "csv")

MOST_CHUNK_BYTES = 2**26
MOST_CHUNK_RECORDS = 1_000_000
_MOST_CHUNKS = 100_000
_MOST_BYTES = 2**40
_MOST_RECORDS = 100_000_000
_MOST_MANIFEST_BYTES = 2**16

_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


@dataclass(frozen=True, slots=True)
class ManifestOptions:
    """The part of ELSPETH's export configuration that a manifest of version 2 depends on.

    Args:
        signer_key_id: what the manifest calls the key; None for the id that the package gives it.
        export_format: what the exporter is said to have written, `json` or `csv`.
        exporter_version: the exporter's name for itself.
        chunking_algorithm_version: the name of the rule by which records are cut into chunks.
        per_chunk_record_limit, per_chunk_byte_limit: how large a chunk may be.
        raw_error_rows: whether records of errors have the rows that they are about.

    Raises:
        ExportError: one of them is not what ELSPETH takes.
    """

    signer_key_id: str | None = None
    export_format: str = "json"
    exporter_version: str = "landscape-exporter-v1"
    chunking_algorithm_version: str = "record-framing-v1"
    per_chunk_record_limit: int = MOST_CHUNK_RECORDS
    per_chunk_byte_limit: int = MOST_CHUNK_BYTES
    raw_error_rows: bool = False

    def __post_init__(self) -> None:
        if self.signer_key_id is not None:
            _require_key_id(self.signer_key_id)
        if self.export_format not in EXPORT_FORMATS:
            raise ExportError(f"The export format {self.export_format!r} is none of {', '.join(EXPORT_FORMATS)}.")
        for limit, most, what in (
            (self.per_chunk_record_limit, MOST_CHUNK_RECORDS, "records"),
            (self.per_chunk_byte_limit, MOST_CHUNK_BYTES, "bytes"),
        ):
            if not 1 <= limit <= most:
                raise ExportError(f"A chunk of {limit:,} {what} is not possible; it must be from 1 to {most:,}.")

    def public(self, key: SigningKey | None) -> dict[str, Any]:
        """The export configuration as it is hashed into manifests."""
        return {
            "chunking_algorithm_version": self.chunking_algorithm_version,
            "export_format": self.export_format,
            "exporter_version": self.exporter_version,
            "include_raw_error_rows": self.raw_error_rows,
            "per_chunk_byte_limit": self.per_chunk_byte_limit,
            "per_chunk_record_limit": self.per_chunk_record_limit,
            "serialization_version": SERIALIZATION_VERSION,
            "signer_key_id": self.key_id(key),
            "signing_mode": "unsigned" if key is None else "hmac_sha256",
        }

    def registry_key_hash(self, run_id: str, key: SigningKey | None) -> str:
        """What tells the exports of a run apart (steps 4 and 5)."""
        public = self.public(key)
        names = ("export_format", "exporter_version", "serialization_version", "signer_key_id", "signing_mode")
        config_hash = _hash("audit-export-public-config-v1", public)
        return _hash(
            "audit-export-registry-key-v1",
            {name: public[name] for name in names}
            | {"public_export_config_hash": config_hash, "source_run_id": run_id},
        )

    def key_id(self, key: SigningKey | None) -> str:
        """What the manifest calls the key.

        Raises:
            ExportError: the id of the key is not one that ELSPETH takes.
        """
        if key is None:
            return UNSIGNED
        found = self.signer_key_id or key.key_id
        _require_key_id(found)
        return found


def _require_key_id(key_id: str) -> None:
    if key_id == UNSIGNED or not _KEY_ID.fullmatch(key_id):
        raise ExportError(
            f"{key_id!r} cannot be the id of the signer in a manifest of ELSPETH 0.7.1: it must begin with a letter or "
            f"a digit, have at most 128 letters, digits, `.`, `_`, `:` and `-`, and not be {UNSIGNED}. Set "
            f"LANDSCAPE_SIGNER_KEY_ID."
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some records one after the other: how many, their bytes with a line end each, and the SHA-256 of these."""

    records: int
    size: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A chunk that is not as expected: its place from 0; the number, from 1, and the line of its first record."""

    chunk: int
    number: int
    line: bytes


class Chunks:
    """Cuts the lines of records into chunks as they come.

    Args:
        options: how large a chunk may be.
        expected: the content hashes of the chunks, if they are known; `fault` then has the first that is another.
    """

    def __init__(self, options: ManifestOptions, expected: Sequence[str] | None = None) -> None:
        self._expected, self._first = expected, (0, b"")
        self.fault: Fault | None = None
        self._most_records, self._most_bytes = options.per_chunk_record_limit, options.per_chunk_byte_limit
        self._done: list[Chunk] = []
        self._hash, self._records, self._size = hashlib.sha256(), 0, 0
        self.records = self.size = 0

    def add(self, lines: memoryview, lengths: np.ndarray) -> None:
        """Takes lines.

        Args:
            lines: the lines, one behind the other, each with its line end.
            lengths: the bytes of each.

        Raises:
            ExportError: a line is longer than a chunk may be, or there is more than a manifest may speak of.
        """
        if not len(lengths):
            return
        if (longest := int(lengths.max())) > self._most_bytes:
            number = self.records + int(lengths.argmax()) + 1
            raise ExportError(
                f"Record {number:,} has {longest:,} bytes, and a chunk may have {self._most_bytes:,}. Allow larger "
                f"chunks (LANDSCAPE_CHUNK_BYTES)."
            )
        ends = np.cumsum(lengths, dtype=np.int64)
        first = start = 0
        while first < len(ends):
            room = start + self._most_bytes - self._size
            stop = min(int(np.searchsorted(ends, room, side="right")), first + self._most_records - self._records)
            if stop > first:
                end = int(ends[stop - 1])
                if self._expected is not None and not self._records:
                    self._first = (self.records + first + 1, bytes(lines[start : int(ends[first])]))
                self._hash.update(lines[start:end])
                self._records, self._size = self._records + stop - first, self._size + end - start
                first, start = stop, end
            if first < len(ends):
                self._close()
        self.records += len(lengths)
        self.size += int(ends[-1])
        if self.records > _MOST_RECORDS or self.size > _MOST_BYTES:
            raise ExportError(
                f"The run has more than {_MOST_RECORDS:,} records or {_MOST_BYTES:,} bytes, and a manifest of ELSPETH "
                f"0.7.1 cannot speak of more."
            )

    def _close(self) -> None:
        if len(self._done) == _MOST_CHUNKS:
            raise ExportError(
                f"The run has more than {_MOST_CHUNKS:,} chunks, and a manifest of ELSPETH 0.7.1 cannot speak of more. "
                f"Allow larger chunks (LANDSCAPE_CHUNK_RECORDS, LANDSCAPE_CHUNK_BYTES)."
            )
        chunk = Chunk(self._records, self._size, self._hash.hexdigest())
        if self._expected is not None and self.fault is None:
            number = len(self._done)
            if number >= len(self._expected) or self._expected[number] != chunk.content_hash:
                self.fault = Fault(number, *self._first)
        self._done.append(chunk)
        self._hash, self._records, self._size = hashlib.sha256(), 0, 0

    def finish(self) -> list[Chunk]:
        """All chunks."""
        if self._records:
            self._close()
        return self._done


@dataclass(frozen=True, slots=True)
class ManifestV2:
    """A manifest of version 2: its fields, and its bytes without a line end."""

    fields: Mapping[str, Any]
    data: bytes


def manifest_v2(
    chunks: Chunks,
    *,
    run_id: str,
    status: str,
    completed_at: str,
    final_hash: str,
    key: SigningKey | None,
    options: ManifestOptions,
) -> ManifestV2:
    """The manifest record of a run (contract v071, section 5, steps 4 to 12).

    Args:
        chunks: its records.
        run_id, status, completed_at: of the run, as its record has them.
        final_hash: what the signatures or hashes of the records chain to.
        key: the key of the signatures; None when unsigned.
        options: what the manifest depends on besides.

    Raises:
        ExportError: the id of the key cannot be that of a signer, or the manifest is too long.
    """
    made = chunks.finish()
    public = options.public(key)
    chained = "sha256_concat_record_sha256_v1" if key is None else "sha256_concat_hmac_sha256_signatures_v1"
    totals = {"record_count": chunks.records, "total_bytes": chunks.size}
    completed = _instant(completed_at)
    registry_key_hash = options.registry_key_hash(run_id, key)
    rules = {name: public[name] for name in ("chunking_algorithm_version", "serialization_version")}
    snapshot_hash = _hash("audit-export-snapshot-content-v1", rules | totals, (each for each, _ in _described(made)))
    snapshot_id = _hash(
        "audit-export-snapshot-id-v1", {"registry_key_hash": registry_key_hash, "snapshot_hash": snapshot_hash}
    )
    seals = list(_seals(made, rules | {"derivation_version": DERIVATION_VERSION, "snapshot_id": snapshot_id}))
    manifest_hash = _hash(
        "audit-export-manifest-v1",
        {"chunk_count": len(made), "snapshot_id": snapshot_id} | totals,
        (
            each | {"chunk_seal_hash": seal, "content_ref": ref, "predecessor_seal_hash": before}
            for (each, ref), seal, before in zip(_described(made), seals, [None, *seals], strict=False)
        ),
    )
    source = {"source_completed_at": completed, "source_status": status}
    sealed = {
        "chunk_count": len(made),
        "exported_at": completed,
        "last_chunk_seal_hash": seals[-1],
        "manifest_hash": manifest_hash,
        "registry_key_hash": registry_key_hash,
        "snapshot_hash": snapshot_hash,
        "snapshot_id": snapshot_id,
    }
    limits = {name: public[name] for name in ("per_chunk_byte_limit", "per_chunk_record_limit")}
    rule = {"chunking_algorithm_version": public["chunking_algorithm_version"], "source_run_id": run_id}
    seal = _hash("audit-export-snapshot-seal-v1", sealed | totals | source | limits | rule)
    core = (
        sealed
        | totals
        | source
        | {
            "derivation_version": DERIVATION_VERSION,
            "export_format": public["export_format"],
            "final_hash": final_hash,
            "hash_algorithm": "sha256",
            "record_chain_algorithm": chained,
            "record_type": "manifest",
            "run_id": run_id,
            "schema": SCHEMA,
            "signature_algorithm": public["signing_mode"],
            "signature_key_id": public["signer_key_id"],
            "snapshot_seal_hash": seal,
        }
    )
    return signed_manifest(core, key)


def signed_manifest(core: Mapping[str, Any], key: SigningKey | None) -> ManifestV2:
    """A manifest of its fields but the signature (step 12).

    Raises:
        ExportError: it is too long.
    """
    body = canonical_json({"payload": core, "schema": "audit-export-final-manifest-signing-body-v2"})
    fields = {**core, "signature": None if key is None else key.sign(body.encode())}
    data = canonical_json(fields).encode()
    if len(data) > _MOST_MANIFEST_BYTES:
        raise ExportError(f"The manifest record has {len(data):,} bytes, and may have {_MOST_MANIFEST_BYTES:,}.")
    return ManifestV2(fields, data)


def _described(chunks: Iterable[Chunk]) -> Iterator[tuple[dict[str, Any], str]]:
    """What is hashed of each chunk, and the reference to its content."""
    records = size = 0
    for ordinal, chunk in enumerate(chunks):
        records, size = records + chunk.records, size + chunk.size
        yield (
            {
                "content_hash": chunk.content_hash,
                "cumulative_bytes": size,
                "cumulative_records": records,
                "ordinal": ordinal,
                "record_count": chunk.records,
                "size_bytes": chunk.size,
            },
            f"sha256:{chunk.content_hash}",
        )


def _seals(chunks: Iterable[Chunk], common: Mapping[str, Any]) -> Iterator[str]:
    predecessor: dict[str, str] = {"kind": "genesis"}
    for each, ref in _described(chunks):
        seal = _hash("audit-export-chunk-seal-v1", {**common, **each, "content_ref": ref, "predecessor": predecessor})
        yield seal
        predecessor = {"hash": seal, "kind": "chunk_seal"}


_CHUNKS = '"chunks":[]'


def _hash(tag: str, payload: Mapping[str, Any], chunks: Iterable[Mapping[str, Any]] | None = None) -> str:
    """The hash of a payload under a tag; with `chunks` as a list in it that is never held as a whole."""
    if chunks is None:
        return hashlib.sha256(canonical_json({"payload": payload, "schema": tag}).encode()).hexdigest()
    before, _, after = canonical_json({"payload": {**payload, "chunks": []}, "schema": tag}).partition(_CHUNKS)
    digest = hashlib.sha256(f"{before}{_CHUNKS[:-1]}".encode())
    for i, chunk in enumerate(chunks):
        # Digits, and text without a character that is escaped: this is their canonical form.
        text = json.dumps(chunk, sort_keys=True, separators=(",", ":"))
        digest.update(f"{',' if i else ''}{text}".encode())
    digest.update(f"]{after}".encode())
    return digest.hexdigest()


def _instant(time: str) -> str:
    """A time of a record as manifests have it: UTC, which a time without an offset is taken for, with six decimals."""
    found = datetime.fromisoformat(time)
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return found.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(len("YYYY-MM-DDTHH:MM:SS.ffffffZ"), "0")
