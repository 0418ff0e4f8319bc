"""manifest.json: its form, and whether it agrees with itself.

Belongs here: everything that can be told from the bytes of manifest.json alone. Does not belong here: signatures, the
folder, records.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from . import codes
from .canonical import JsonFault, canonical, parse
from .contract import CONTRACTS
from .contract_model import Contract
from .limits import MANIFEST_DEPTH
from .manifest_v2 import MODES, Config, is_key_id
from .manifest_values import VALUES, is_count, is_hex, is_text
from .merkle import ALGORITHM
from .report import Findings

NAME = "manifest.json"
SIGNATURE_NAME = "manifest.json.sig"
FIRST_CONTRACTS = ("v0", "v1")
FIRST_STATUSES = ("completed", "failed")
"""The contracts and the statuses that format version 1 has; a manifest with others, is of version 2."""
NEW_KEYS = {"merkle", "raw_error_rows", "export_config", "elspeth_snapshots"}
"""The keys that only version 2 has. `merkle` is in each manifest of version 2, and says that it is one."""
CHAINS = {True: "sha256-of-record-signatures", False: "sha256-of-record-sha256"}
"""`chain` by whether the export is signed."""

RECORDS = "records.jsonl"
GUIDE = "VERIFY.md"
REPORT = "report.html"
MEDIA_TYPES = {
    "jsonl": "application/jsonl",
    "csv": "text/csv; charset=utf-8; header=present",
    "parquet": "application/vnd.apache.parquet",
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
}
"""The media type of each file name extension."""

_FILE_KEYS = {"path", "size", "sha256", "media_type", "records"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of `files`; `records` is None for a file that holds none."""

    path: str
    size: int
    sha256: str
    media_type: str
    records: int | None

    @property
    def record_type(self) -> str:
        """The record type of a CSV or Parquet file."""
        return self.path.rpartition("/")[2].rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest whose form allows to go on. Fields as docs/package.md has them; integers are integers."""

    contract: str
    run_id: str
    status: str
    started_at: str
    completed_at: str | None
    record_count: int
    record_counts: dict[str, int]
    final_hash: str
    merkle_root: str | None
    superseded: str | None
    """The SHA-256 of the manifest that this one replaced."""
    files: tuple[Listed, ...]
    key_id: str | None
    public_key_id: str | None
    exported_at: str
    raw_error_rows: bool | None
    export_config: Config | None
    elspeth_snapshots: int
    """How many comparisons with ELSPETH's own exports of the run the exporter reports."""
    signature: str | None
    unsigned_form: bytes
    """The canonical form without `signature`, which is what is signed."""

    @property
    def signed(self) -> bool:
        """Whether the export is signed with a shared key."""
        return self.key_id is not None

    @property
    def redacted(self) -> bool:
        """Whether the manifest says that the rows of errors are left out."""
        config = self.export_config or {}
        return self.raw_error_rows is False or config.get("include_raw_error_rows") is False

    def file(self, path: str) -> Listed | None:
        """The entry of a path, if it is listed."""
        return next((listed for listed in self.files if listed.path == path), None)


def judge_manifest(data: bytes, findings: Findings) -> Manifest | None:
    """Judge the bytes of manifest.json.

    Args:
        data: the whole file.
        findings: where to note what is wrong.

    Returns:
        The manifest, or None when its form is so wrong that nothing can be checked against it.
    """
    return _Reader(findings).read(data)


class _Reader:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.bad: set[str] = set()
        """Keys that cannot be used."""

    def note(self, code: codes.Code, message: str, *bad: str) -> None:
        self.findings.add(code, NAME, None, message)
        self.bad.update(bad)

    def read(self, data: bytes) -> Manifest | None:
        try:
            value = parse(data, MANIFEST_DEPTH)
            if not isinstance(value, dict):
                raise JsonFault("json", "is not a JSON object")
        except JsonFault as fault:
            code = {
                "encoding": codes.MANIFEST_ENCODING,
                "repeated key": codes.MANIFEST_REPEATED_KEY,
                "json": codes.MANIFEST_JSON,
            }[fault.kind]
            self.note(code, f"manifest.json {fault}.")
            return None
        if canonical(value) != data:
            self.note(
                codes.MANIFEST_NOT_CANONICAL,
                "manifest.json is JSON, but not in canonical form (order of keys, spaces, escapes, numbers, line end).",
            )

        self.keys(value)
        self.formats(value)
        self.values(value)
        files = self.files(value)
        if self.bad:
            return None
        counts = {name: int(count) for name, count in value["record_counts"].items()}
        manifest = Manifest(
            contract=value["contract"],
            run_id=value["run_id"],
            status=value["status"],
            started_at=value["started_at"],
            completed_at=value["completed_at"],
            record_count=int(value["record_count"]),
            record_counts=counts,
            final_hash=value["final_hash"],
            merkle_root=value["merkle"]["root"] if "merkle" in value else None,
            superseded=value["supersedes"]["manifest_sha256"] if "supersedes" in value else None,
            files=files,
            key_id=value["signing"] and value["signing"]["key_id"],
            public_key_id=value["public_key"] and value["public_key"]["key_id"],
            exported_at=value["exported_at"],
            raw_error_rows=value.get("raw_error_rows"),
            export_config=value.get("export_config"),
            elspeth_snapshots=len(value.get("elspeth_snapshots", ())),
            signature=value.get("signature"),
            unsigned_form=canonical({name: item for name, item in value.items() if name != "signature"}),
        )
        self.contradictions(manifest, value["tables"])
        if "merkle" in value and value["merkle"]["size"] != manifest.record_count:
            message = f"merkle.size is {int(value['merkle']['size'])}, but record_count {manifest.record_count}."
            self.contradiction(message)
        self.file_set(manifest)
        return manifest

    def keys(self, value: dict[str, Any]) -> None:
        """Which keys are there. A missing one is bad; an unknown one is noted, and leaves the rest to be checked."""
        contract = _contract(value)
        optional = {"supersedes"}
        if contract is not None and contract.has_error_rows:
            optional.add("raw_error_rows")
        if contract is not None and contract.always_manifest:
            optional |= {"export_config", "elspeth_snapshots"}
        required = set(VALUES) - {"supersedes", "signature"} - NEW_KEYS
        if _is_second(value):
            required.add("merkle")
        if value.get("signing") is not None:
            required.add("signature")
        for name in sorted(required - value.keys()):
            self.note(codes.MANIFEST_MISSING_KEY, f"The key {name} is missing.", name)
        for name in sorted(value.keys() - required - optional):
            reason = " in an unsigned manifest" if name == "signature" else ""
            self.note(codes.MANIFEST_UNKNOWN_KEY, f"{name!r:.80} is not a key{reason} of this format version.")

    def formats(self, value: dict[str, Any]) -> None:
        """What this verifier pins: the formats that it knows; it takes no algorithm from the file on trust."""
        signed = value.get("signing") is not None
        pinned: dict[str, tuple[object, ...]] = {
            "format": ("landscape-export",),
            "format_version": (2 if _is_second(value) else 1,),
            "contract": tuple(CONTRACTS),
            "chain": (CHAINS[signed],),
        }
        for name, known in pinned.items():
            if name in value and (isinstance(value[name], bool) or value[name] not in known):
                wanted = " or ".join(repr(one) for one in known)
                self.note(
                    codes.MANIFEST_FORMAT, f"{name} is {_shown(value[name])}; this verifier knows {wanted}.", name
                )
        for name, algorithm in (("signing", "hmac-sha256"), ("public_key", "ed25519"), ("merkle", ALGORITHM)):
            inner = value.get(name)
            if isinstance(inner, dict) and "algorithm" in inner and inner["algorithm"] != algorithm:
                self.note(
                    codes.MANIFEST_FORMAT,
                    f"{name}.algorithm is {_shown(inner['algorithm'])}; this verifier knows {algorithm!r}.",
                    name,
                )

    def values(self, value: dict[str, Any]) -> None:
        for name, (accepts, expected) in VALUES.items():
            if name in value and not accepts(value[name]):
                self.note(codes.MANIFEST_VALUE, f"{name} is {_shown(value[name])}; it must be {expected}.", name)
        status, contract = value.get("status"), _contract(value)
        statuses = contract.statuses if contract else FIRST_STATUSES
        if "status" in value and status not in statuses:
            expected = " or ".join(statuses)
            self.note(codes.MANIFEST_VALUE, f"status is {_shown(status)}; it must be {expected}.", "status")
        may_lack_time = status == "interrupted" and contract is not None and not contract.always_manifest
        if "completed_at" in value and value["completed_at"] is None and not may_lack_time:
            self.note(codes.MANIFEST_VALUE, "completed_at is null, and the run is finished.", "completed_at")

    def files(self, value: dict[str, Any]) -> tuple[Listed, ...]:
        files = []
        if not isinstance(value.get("files"), list):
            return ()
        allowed = permitted_paths(_contract(value))
        for index, entry in enumerate(value["files"]):
            where = f"files[{index}]"
            if not isinstance(entry, dict) or entry.keys() != _FILE_KEYS:
                keys = ", ".join(sorted(_FILE_KEYS))
                self.note(codes.MANIFEST_VALUE, f"{where} is not an object with exactly the keys {keys}.", "files")
                continue
            problems = [
                f"{where}.{name} is {_shown(entry[name])}; it must be {expected}."
                for name, accepts, expected in (
                    ("path", is_text, "text"),
                    ("size", is_count, "a count"),
                    ("sha256", is_hex, "64 lower-case hex digits"),
                    ("media_type", is_text, "text"),
                    ("records", lambda item: item is None or is_count(item), "a count or null"),
                )
                if not accepts(entry[name])
            ]
            for problem in problems:
                self.note(codes.MANIFEST_VALUE, problem, "files")
            if problems:
                continue
            if entry["path"] not in allowed:
                self.note(
                    codes.MANIFEST_PATH,
                    f"{where}.path is {_shown(entry['path'])}, which a package may not have.",
                    "files",
                )
                continue
            records = None if entry["records"] is None else int(entry["records"])
            files.append(Listed(entry["path"], int(entry["size"]), entry["sha256"], entry["media_type"], records))
        paths = [listed.path.encode("utf-8") for listed in files]
        if any(after <= before for before, after in itertools.pairwise(paths)):
            bad = ["files"] if len(set(paths)) < len(paths) else []
            self.note(codes.MANIFEST_FILE_ORDER, "files is not sorted by path, or has a path twice.", *bad)
        return tuple(files)

    def contradictions(self, manifest: Manifest, tables: dict[str, float]) -> None:
        types = CONTRACTS[manifest.contract].types
        counts = manifest.record_counts
        for name in sorted(counts.keys() - types.keys()):
            self.contradiction(f"record_counts has {name!r:.80}, which is not a record type of {manifest.contract}.")
        for name in sorted(name for name, count in counts.items() if count == 0):
            self.contradiction(f"record_counts has {name} with 0; it lists only the types that occur.")
        if sum(counts.values()) != manifest.record_count:
            self.contradiction(
                f"record_count is {manifest.record_count}, but record_counts add up to {sum(counts.values())}."
            )
        known_tables = {one.table for one in types.values()}
        for name in sorted(tables.keys() - known_tables):
            self.contradiction(f"tables has {name!r:.80}, which is not an audit table of {manifest.contract}.")
        for one in types.values():
            rows, records = int(tables.get(one.table, 0)), counts.get(one.name, 0)
            if rows != records:
                self.contradiction(
                    f"{rows} rows were read from {one.table}, but there are {records} {one.name} records."
                )
        self.config_contradictions(manifest)
        for listed in manifest.files:
            wanted = _records_of(listed, manifest)
            if listed.records != wanted:
                self.contradiction(
                    f"files says that {listed.path} holds {listed.records} records; by the counts it is {wanted}."
                )
            media_type = MEDIA_TYPES[listed.path.rpartition(".")[2]]
            if listed.media_type != media_type:
                self.contradiction(f"the media type of {listed.path} is {listed.media_type!r:.80}, not {media_type!r}.")

    def config_contradictions(self, manifest: Manifest) -> None:
        """Whether what is said of the configuration of the export agrees with the rest."""
        config, is_raw = manifest.export_config, manifest.raw_error_rows
        if is_raw is False and not CONTRACTS[manifest.contract].redacts:
            self.contradiction(f"raw_error_rows is false; exports of {manifest.contract} always have these rows.")
        if config is None:
            return
        if config["signing_mode"] != MODES[manifest.signed] or not is_key_id(config["signer_key_id"], manifest.signed):
            self.contradiction("export_config does not have the signing mode and a key id of such an export.")
        if is_raw is not None and config["include_raw_error_rows"] is not is_raw:
            self.contradiction("raw_error_rows and export_config disagree on the rows of errors.")

    def contradiction(self, message: str) -> None:
        self.note(codes.MANIFEST_CONTRADICTION, message[0].upper() + message[1:])

    def file_set(self, manifest: Manifest) -> None:
        paths = {listed.path for listed in manifest.files}
        if GUIDE not in paths:
            self.note(codes.MANIFEST_FILE_SET, "VERIFY.md is not listed.")
        if not paths - {GUIDE, REPORT}:
            self.note(
                codes.MANIFEST_FILE_SET, "No records.jsonl, CSV or Parquet file is listed: there is nothing to verify."
            )
        for kind in ("csv", "parquet"):
            present = {listed.record_type for listed in manifest.files if listed.path.startswith(kind + "/")}
            if not present:
                continue
            occurring = set(manifest.record_counts)
            for name in sorted(occurring - present):
                self.note(
                    codes.MANIFEST_FILE_SET, f"{name!r:.80} records occur, but {kind}/{name:.80}.{kind} is not listed."
                )
            for name in sorted(present - occurring):
                self.note(codes.MANIFEST_FILE_SET, f"{kind}/{name}.{kind} is listed, but no {name} records occur.")


def _contract(value: dict[str, Any]) -> Contract | None:
    """The contract that a manifest names; None when it is not known."""
    name = value.get("contract")
    return CONTRACTS.get(name) if isinstance(name, str) else None


def _has_report(value: dict[str, Any]) -> bool:
    """Whether a manifest lists report.html, which format version 1 does not have."""
    files = value.get("files")
    return isinstance(files, list) and any(isinstance(one, dict) and one.get("path") == REPORT for one in files)


def _is_second(value: dict[str, Any]) -> bool:
    """Whether a manifest has what only format version 2 has."""
    contract, status = _contract(value), value.get("status")
    return (
        "merkle" in value
        or _has_report(value)
        or (
            contract is not None
            and (contract.name not in FIRST_CONTRACTS or (status in contract.statuses and status not in FIRST_STATUSES))
        )
    )


def permitted_paths(contract: Contract | None) -> set[str]:
    """Every path that may be listed (docs/package.md, "The folder"). A list of what is allowed, so that none leaves
    the folder."""
    types = (contract or CONTRACTS["v1"]).types
    return {GUIDE, RECORDS, REPORT, *(f"{kind}/{name}.{kind}" for kind in ("csv", "parquet") for name in types)}


def _records_of(listed: Listed, manifest: Manifest) -> int | None:
    if listed.path in (GUIDE, REPORT):
        return None
    if listed.path == RECORDS:
        return manifest.record_count
    return manifest.record_counts.get(listed.record_type, 0)


def _shown(value: object) -> str:
    """A value of the manifest, for a message: JSON, cut short."""
    text = canonical(value).decode("utf-8")
    return text if len(text) <= 80 else text[:77] + "..."
