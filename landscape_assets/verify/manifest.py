"""manifest.json: its form, and whether it agrees with itself.

Belongs here: everything that can be told from the bytes of manifest.json alone. Does not belong here: signatures, the
folder, records.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

from . import codes
from .canonical import JsonFault, canonical, parse
from .limits import MANIFEST_BYTES, MANIFEST_DEPTH, MAX_INTEGER
from .lines import is_time
from .merkle import ALGORITHM
from .records import CONTRACTS, FINISHED
from .report import Findings

NAME = "manifest.json"
SIGNATURE_NAME = "manifest.json.sig"
MAX_BYTES = MANIFEST_BYTES
CHAINS = {True: "sha256-of-record-signatures", False: "sha256-of-record-sha256"}
"""`chain` by whether the export is signed."""

RECORDS = "records.jsonl"
GUIDE = "VERIFY.md"
MEDIA_TYPES = {
    "jsonl": "application/jsonl",
    "csv": "text/csv; charset=utf-8; header=present",
    "parquet": "application/vnd.apache.parquet",
    "md": "text/markdown; charset=utf-8",
}
"""The media type of each file name extension."""

_HEX = re.compile(r"[0-9a-f]{64}")
_EXPORTED_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}\+00:00")
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
    def record_type(self) -> str | None:
        """The record type of a CSV or Parquet file; None for others."""
        folder, _, name = self.path.rpartition("/")
        return name.rpartition(".")[0] if folder else None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest whose form allows to go on. Fields as docs/package.md has them; integers are integers."""

    contract: str
    run_id: str
    status: str
    started_at: str
    completed_at: str
    record_count: int
    record_counts: dict[str, int]
    final_hash: str
    merkle_root: str | None
    files: tuple[Listed, ...]
    key_id: str | None
    public_key_id: str | None
    exported_at: str
    signature: str | None
    unsigned_form: bytes
    """The canonical form without `signature`, which is what is signed."""

    @property
    def signed(self) -> bool:
        return self.key_id is not None

    def file(self, path: str) -> Listed | None:
        """The entry of a path, if it is listed."""
        return next((listed for listed in self.files if listed.path == path), None)


def read(data: bytes, findings: Findings) -> Manifest | None:
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
            files=files,
            key_id=value["signing"] and value["signing"]["key_id"],
            public_key_id=value["public_key"] and value["public_key"]["key_id"],
            exported_at=value["exported_at"],
            signature=value.get("signature"),
            unsigned_form=canonical({name: item for name, item in value.items() if name != "signature"}),
        )
        self.contradictions(manifest, value["tables"])
        if "merkle" in value and value["merkle"]["size"] != manifest.record_count:
            self.contradiction(
                f"merkle.size is {int(value['merkle']['size'])}, but record_count {manifest.record_count}."
            )
        self.file_set(manifest)
        return manifest

    def keys(self, value: dict) -> None:
        """Which keys are there. A missing one is bad; an unknown one is noted, and leaves the rest to be checked."""
        required = set(_VALUES) - {"supersedes", "signature", "merkle"}
        if value.get("signing") is not None:
            required.add("signature")
        for name in sorted(required - value.keys()):
            self.note(codes.MANIFEST_MISSING_KEY, f"The key {name} is missing.", name)
        known = required | {"supersedes", "merkle"}
        for name in sorted(value.keys() - known):
            reason = " in an unsigned manifest" if name == "signature" else ""
            self.note(codes.MANIFEST_UNKNOWN_KEY, f"{name!r:.80} is no key{reason} of this format version.")

    def formats(self, value: dict) -> None:
        """What this verifier pins: it knows one format, and takes no algorithm from the file on trust."""
        signed = value.get("signing") is not None
        pinned = {
            "format": ("landscape-export",),
            "format_version": (2 if "merkle" in value else 1,),
            "contract": tuple(CONTRACTS),
            "chain": (CHAINS[signed],),
        }
        for name, known in pinned.items():
            if name in value and (isinstance(value[name], bool) or value[name] not in known):
                wanted = " or ".join(repr(one) for one in known)
                self.note(
                    codes.MANIFEST_FORMAT, f"{name} is {_shown(value[name])}; this verifier knows {wanted}.", name
                )
        algorithms = (("signing", "hmac-sha256"), ("public_key", "ed25519"), ("merkle", ALGORITHM))
        for name, algorithm in algorithms:
            inner = value.get(name)
            if isinstance(inner, dict) and "algorithm" in inner and inner["algorithm"] != algorithm:
                self.note(
                    codes.MANIFEST_FORMAT,
                    f"{name}.algorithm is {_shown(inner['algorithm'])}; this verifier knows {algorithm!r}.",
                    name,
                )

    def values(self, value: dict) -> None:
        for name, (accepts, expected) in _VALUES.items():
            if name in value and not accepts(value[name]):
                self.note(codes.MANIFEST_VALUE, f"{name} is {_shown(value[name])}; it must be {expected}.", name)

    def files(self, value: dict) -> tuple[Listed, ...]:
        files = []
        if not isinstance(value.get("files"), list):
            return ()
        for index, entry in enumerate(value["files"]):
            where = f"files[{index}]"
            if not isinstance(entry, dict) or entry.keys() != _FILE_KEYS:
                keys = ", ".join(sorted(_FILE_KEYS))
                self.note(codes.MANIFEST_VALUE, f"{where} is not an object with exactly the keys {keys}.", "files")
                continue
            problems = [
                f"{where}.{name} is {_shown(entry[name])}; it must be {expected}."
                for name, accepts, expected in (
                    ("path", _is_text, "text"),
                    ("size", _is_count, "a count"),
                    ("sha256", _is_hex, "64 lower-case hex digits"),
                    ("media_type", _is_text, "text"),
                    ("records", lambda item: item is None or _is_count(item), "a count or null"),
                )
                if not accepts(entry[name])
            ]
            for problem in problems:
                self.note(codes.MANIFEST_VALUE, problem, "files")
            if problems:
                continue
            allowed = permitted_paths(value.get("contract"))
            if entry["path"] not in allowed:
                self.note(
                    codes.MANIFEST_PATH, f"{where}.path is {_shown(entry['path'])}, which no package may have.", "files"
                )
                continue
            records = None if entry["records"] is None else int(entry["records"])
            files.append(Listed(entry["path"], int(entry["size"]), entry["sha256"], entry["media_type"], records))
        paths = [listed.path.encode("utf-8") for listed in files]
        if any(after <= before for before, after in itertools.pairwise(paths)):
            bad = ["files"] if len(set(paths)) < len(paths) else []
            self.note(codes.MANIFEST_FILE_ORDER, "files is not sorted by path, or has a path twice.", *bad)
        return tuple(files)

    def contradictions(self, manifest: Manifest, tables: dict) -> None:
        types = CONTRACTS[manifest.contract].types
        counts = manifest.record_counts
        for name in sorted(counts.keys() - types.keys()):
            self.contradiction(f"record_counts has {name!r:.80}, which is no record type of {manifest.contract}.")
        for name in sorted(name for name, count in counts.items() if count == 0):
            self.contradiction(f"record_counts has {name} with 0; it lists only the types that occur.")
        if sum(counts.values()) != manifest.record_count:
            self.contradiction(
                f"record_count is {manifest.record_count}, but record_counts add up to {sum(counts.values())}."
            )
        known_tables = {one.table for one in types.values()}
        for name in sorted(tables.keys() - known_tables):
            self.contradiction(f"tables has {name!r:.80}, which is no audit table of {manifest.contract}.")
        for one in types.values():
            rows, records = int(tables.get(one.table, 0)), counts.get(one.name, 0)
            if rows != records:
                self.contradiction(
                    f"{rows} rows were read from {one.table}, but there are {records} {one.name} records."
                )
        for listed in manifest.files:
            wanted = _records_of(listed, manifest)
            if listed.records != wanted:
                self.contradiction(
                    f"files says that {listed.path} holds {listed.records} records; by the counts it is {wanted}."
                )
            media_type = MEDIA_TYPES[listed.path.rpartition(".")[2]]
            if listed.media_type != media_type:
                self.contradiction(f"the media type of {listed.path} is {listed.media_type!r:.80}, not {media_type!r}.")

    def contradiction(self, message: str) -> None:
        self.note(codes.MANIFEST_CONTRADICTION, message[0].upper() + message[1:])

    def file_set(self, manifest: Manifest) -> None:
        paths = {listed.path for listed in manifest.files}
        if GUIDE not in paths:
            self.note(codes.MANIFEST_FILE_SET, "VERIFY.md is not listed.")
        if not paths - {GUIDE}:
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


def permitted_paths(contract: object) -> set[str]:
    """Every path that may be listed (docs/package.md, "The folder"). A list of what is allowed, so that none leaves
    the folder."""
    types = CONTRACTS[contract].types if isinstance(contract, str) and contract in CONTRACTS else CONTRACTS["v1"].types
    return {GUIDE, RECORDS, *(f"{kind}/{name}.{kind}" for kind in ("csv", "parquet") for name in types)}


def _records_of(listed: Listed, manifest: Manifest) -> int | None:
    if listed.path == GUIDE:
        return None
    if listed.path == RECORDS:
        return manifest.record_count
    return manifest.record_counts.get(listed.record_type, 0)


def _shown(value: object) -> str:
    """A value of the manifest, for a message: JSON, cut short."""
    text = canonical(value).decode("utf-8")
    return text if len(text) <= 80 else text[:77] + "..."


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_filled_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: object) -> bool:
    return isinstance(value, float) and value.is_integer() and 0 <= value <= MAX_INTEGER


def _is_counts(value: object) -> bool:
    return isinstance(value, dict) and all(_is_count(count) for count in value.values())


def _is_hex(value: object) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def _is_time(value: object) -> bool:
    return isinstance(value, str) and is_time(value)


def _is_export_time(value: object) -> bool:
    # Here the fraction is always written, even when it is zero.
    return (
        isinstance(value, str) and _EXPORTED_AT.fullmatch(value) is not None and is_time(value.replace(".000000", ""))
    )


def _is_object(**members: Callable[[object], bool]) -> Callable[[object], bool]:
    def accepts(value: object) -> bool:
        return (
            isinstance(value, dict)
            and value.keys() == members.keys()
            and all(member(value[name]) for name, member in members.items())
        )

    return accepts


def _or_null(accepts: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or accepts(value)


_VALUES: dict[str, tuple[Callable[[object], bool], str]] = {
    "format": (_is_text, "text"),
    "format_version": (_is_count, "an integer"),
    "contract": (_is_text, "text"),
    "run_id": (_is_text, "text"),
    "status": (lambda value: value in FINISHED, " or ".join(FINISHED)),
    "started_at": (_is_time, "an ISO 8601 time as in the run's record"),
    "completed_at": (_is_time, "an ISO 8601 time as in the run's record"),
    "record_count": (_is_count, "a count"),
    "record_counts": (_is_counts, "an object of counts"),
    "final_hash": (_is_hex, "64 lower-case hex digits"),
    "chain": (_is_text, "text"),
    "merkle": (
        _is_object(algorithm=_is_text, size=_is_count, root=_is_hex),
        "an object with an algorithm, a size and a root of 64 lower-case hex digits",
    ),
    "tables": (_is_counts, "an object of counts"),
    "files": (lambda value: isinstance(value, list), "an array"),
    "exporter": (
        _is_object(name=lambda value: value == "landscape-assets", version=_is_filled_text),
        "an object with the name 'landscape-assets' and a version",
    ),
    "signing": (_or_null(_is_object(algorithm=_is_text, key_id=_is_filled_text)), "null, or an algorithm and a key_id"),
    "public_key": (
        _or_null(_is_object(algorithm=_is_text, key_id=_is_hex)),
        "null, or an algorithm and a key_id of 64 lower-case hex digits",
    ),
    "supersedes": (_is_object(manifest_sha256=_is_hex), "an object with manifest_sha256, 64 lower-case hex digits"),
    "exported_at": (_is_export_time, "a UTC time as YYYY-MM-DDTHH:MM:SS.ffffff+00:00"),
    "signature": (_is_hex, "64 lower-case hex digits"),
}
"""Each key of the manifest: what its value must be, as a test and in words."""
