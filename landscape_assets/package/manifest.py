"""What manifest.json says (docs/package.md).

Belongs here: the manifest of an export as data. Does not belong here: writing it (`publish.py`) and reading it
(`read.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import __version__
from ..contract.canonical import canonical_json
from ..formats.base import StagedFile
from ..merkle import ALGORITHM
from ..records.sign import CHAIN_OF_RECORDS, CHAIN_OF_SIGNATURES, ManifestKey, SigningKey
from .read import REPORT, Manifest
from .verify_md import verify_md

FORMAT = "landscape-export"
FORMAT_VERSION = 2
VERIFY_MD = "VERIFY.md"
RECORDS = "records.jsonl"


@dataclass(frozen=True, slots=True)
class Export:
    """What is known of an export when its files are staged, and what the manifest says of it.

    Args:
        contract: the contract's name.
        run_id, status, started_at, completed_at: of the run, times as in its record.
        record_counts: record type → data records.
        final_hash: what the signatures (or hashes) of the records chain to.
        merkle_root: the hex root of the tree over the lines of the records.
        tables: audit table → rows read.
        key: the key of the records and the manifest; None for an unsigned export.
        manifest_key: the key of manifest.json.sig, if there is one.
        said: what else the manifest says (docs/package.md, the keys of format version 2).
    """

    contract: str
    run_id: str
    status: str
    started_at: str
    completed_at: str
    record_counts: Mapping[str, int]
    final_hash: str
    merkle_root: str
    tables: Mapping[str, int]
    key: SigningKey | None
    manifest_key: ManifestKey | None
    said: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> Manifest:
        """What two exports of the same run with the same key and options have in common."""
        key, manifest_key = self.key, self.manifest_key
        record_count = sum(self.record_counts.values())
        return {
            "contract": self.contract,
            "run_id": self.run_id,
            "status": self.status,
            "started_at": self.started_at,
            "completed_at": self.completed_at,
            "record_count": record_count,
            "record_counts": dict(self.record_counts),
            "final_hash": self.final_hash,
            "merkle": {"algorithm": ALGORITHM, "size": record_count, "root": self.merkle_root},
            "chain": CHAIN_OF_SIGNATURES if key else CHAIN_OF_RECORDS,
            "tables": dict(self.tables),
            "signing": {"algorithm": "hmac-sha256", "key_id": key.key_id} if key else None,
            "public_key": {"algorithm": "ed25519", "key_id": manifest_key.key_id} if manifest_key else None,
            **self.said,
        }

    def records_in(self, path: str) -> int | None:
        """How many records a file of the package must hold: those of its type, or all; None for the report."""
        counts = self.record_counts
        if path == REPORT:
            return None
        return sum(counts.values()) if path == RECORDS else counts[path.rpartition("/")[2].partition(".")[0]]

    def texts(
        self, staged: Sequence[StagedFile], exported_at: str, superseded_sha256: str | None
    ) -> tuple[bytes, bytes]:
        """VERIFY.md, and manifest.json, which lists it.

        Args:
            staged: the files of the package besides.
            exported_at: when they were made.
            superseded_sha256: of the manifest.json that this one replaces, if it does.
        """
        files = sorted((_entry(file) for file in staged), key=_by_path)
        public_key_id = self.manifest_key.key_id if self.manifest_key else None
        guide = verify_md(self.run_id, files, public_key_id).encode()
        files.append(
            {
                "path": VERIFY_MD,
                "size": len(guide),
                "sha256": hashlib.sha256(guide).hexdigest(),
                "media_type": "text/markdown; charset=utf-8",
                "records": None,
            }
        )
        manifest: Manifest = {
            **self.identity(),
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "files": sorted(files, key=_by_path),
            "exporter": {"name": "landscape-assets", "version": __version__},
            "exported_at": exported_at,
        }
        if superseded_sha256 is not None:
            manifest["supersedes"] = {"manifest_sha256": superseded_sha256}
        if self.key:
            manifest["signature"] = self.key.sign(canonical_json(manifest).encode())
        return guide, canonical_json(manifest).encode()


def differences(export: Export, formats: set[str], manifest: Manifest) -> list[str]:
    """In what a package that is there differs from an export, as phrases; empty when its manifest says the same.

    Args:
        export: the export.
        formats: its formats.
        manifest: the manifest of the package that is there.
    """
    found: list[str] = []
    for key, ours in export.identity().items():
        theirs = manifest.get(key)
        if theirs == ours or (key == "merkle" and theirs is None):  # format version 1 has none
            continue
        if isinstance(ours, dict) and isinstance(theirs, dict):
            found.extend(
                f"{key} {name} is {ours.get(name, 'none')} and was {theirs.get(name, 'none')}"
                for name in sorted({*ours, *theirs})
                if ours.get(name) != theirs.get(name)
            )
        else:
            found.append(f"{key} is {ours} and was {theirs}")
    before = formats_of(entry["path"] for entry in manifest["files"])
    if formats != before:
        found.append(f"the formats are {', '.join(sorted(formats))} and were {', '.join(sorted(before))}")
    return found


def formats_of(paths: Iterable[str]) -> set[str]:
    """The formats that the files of a package are of: records.jsonl, csv/..., parquet/..., report.html."""
    names = {RECORDS: "jsonl", REPORT: "html"}
    return {names.get(path, path.partition("/")[0]) for path in paths} - {VERIFY_MD}


def _entry(file: StagedFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "size": file.facts.size,
        "sha256": file.facts.sha256,
        "media_type": file.media_type,
        "records": file.facts.rows,
    }


def _by_path(entry: dict[str, Any]) -> bytes:
    path: str = entry["path"]
    return path.encode()
