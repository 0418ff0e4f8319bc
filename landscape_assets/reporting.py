"""Pages for people from packages that are there: the report of one, and the list of all.

Belongs here: reading the figures of a run from records.jsonl alone, looking through an export folder, and writing the
page. Does not belong here: what is on the pages (`report/`), and the report that an export makes (`formats/html.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from . import __version__
from .database import AuditDatabase
from .errors import ExportError, PackageError, SigningKeyError
from .package import MANIFEST, REPORT, figures_of, is_complete, read_manifest
from .records.ordered import MAX_RECORD
from .records.sign import ManifestKey, SigningKey
from .report import NEEDED, Chunk, Entry, Facts, ListedFile, Statistics, gather, render, render_overview

_RECORDS = "records.jsonl"
_BLOCK = 8 * 2**20
"""Bytes of lines that become one chunk."""


def is_package(folder: Path) -> bool:
    """Whether a folder is a package, or what is left of one, and not a folder of packages."""
    return any(os.path.lexists(folder / name) for name in (MANIFEST, _RECORDS))


def report_of(package: Path) -> bytes:
    """The report of a package, from its records.jsonl; the manifest is read where there is one. Nothing is verified.

    Of a package that has a report already it is the same page, byte for byte.

    Args:
        package: the folder.

    Raises:
        PackageError: there is no records.jsonl, or what it holds cannot be read as records.
    """
    manifest = read_manifest(package) if os.path.lexists(package / MANIFEST) else None
    statistics, last = Statistics(), {}
    for records in _records(package / _RECORDS):
        if records and records[-1].get("record_type") == "manifest":
            last = records.pop()
        statistics.add(gather(_chunk(records, package / _RECORDS)))
    if statistics.run is None:
        raise PackageError(f"{package / _RECORDS} has no record of the run: it is not the records of a package.")
    return render(statistics, _facts(statistics, manifest, last))


def _facts(statistics: Statistics, manifest: dict[str, Any] | None, last: dict[str, Any]) -> Facts:
    if manifest is None:
        return Facts(
            run_id=str((statistics.run or {}).get("run_id")),
            contract=None,
            final_hash=_text(last.get("final_hash")),
            key_id="not told by the records" if last else None,
            public_key_id=None,
            files=(),
            exported_at=_text(last.get("exported_at")),
            version=__version__,
            is_listed=False,
        )
    listed = manifest["files"]
    return Facts(
        run_id=manifest["run_id"],
        contract=_text(manifest.get("contract")),
        final_hash=_text(manifest.get("final_hash")),
        key_id=_key_id(manifest.get("signing")),
        public_key_id=_key_id(manifest.get("public_key")),
        files=[
            ListedFile(one["path"], one["size"], one["records"])
            for one in listed
            if type(one.get("records")) is int and type(one.get("size")) is int
        ],
        exported_at=manifest["exported_at"],
        version=_version(manifest.get("exporter")),
        is_listed=any(one["path"] == REPORT for one in listed),
    )


def _key_id(signing: object) -> str | None:
    return _text(signing.get("key_id")) if isinstance(signing, dict) else None


def _version(exporter: object) -> str:
    return (_text(exporter.get("version")) if isinstance(exporter, dict) else None) or __version__


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _records(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The records of a file, some at a time."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise PackageError(f"{path} is not there, and the report is made from it.") from None
    number = 0
    with file:
        while True:
            some: list[dict[str, Any]] = []
            size = 0
            while size < _BLOCK and (line := file.readline(MAX_RECORD + 1)):
                number, size = number + 1, size + len(line)
                if len(line) > MAX_RECORD:
                    raise PackageError(
                        f"{path}, line {number:,}: it has more than {MAX_RECORD:,} bytes, and no record has."
                    )
                some.append(_record(line, path, number))
            if not some:
                return
            yield some


def _record(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("record_type"), str):
        raise PackageError(f"{path}, line {number:,}: it is not a record. `landscape-assets verify` tells more.")
    return record


def _chunk(records: list[dict[str, Any]], path: Path) -> Chunk:
    by_type: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_type.setdefault(record["record_type"], []).append(record)
    names = list(by_type)
    codes = {name: code for code, name in enumerate(names)}
    types = np.array([codes[record["record_type"]] for record in records], np.int64)
    columns = {}
    for name, some in by_type.items():
        if name not in NEEDED:
            continue
        # A field that no record has is one that the contract does not have.
        fields = [field for field in NEEDED[name] if any(field in record for record in some)]
        columns[name] = {field: _column(some, name, field, path) for field in fields}
    return Chunk(names, types, columns)


def _column(records: list[dict[str, Any]], record_type: str, field: str, path: Path) -> pa.Array:
    kind = NEEDED[record_type][field]
    values = [record.get(field) for record in records]
    try:
        if pa.types.is_large_string(kind):
            # Lone surrogates, which JSON escapes may hold, are not text.
            texts = [
                value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                for value in values
            ]
            values = [None if text is None else text.encode("utf-8", "replace").decode() for text in texts]
        elif pa.types.is_timestamp(kind):
            times = [None if value is None else datetime.fromisoformat(value) for value in values]
            if any(time is not None and time.tzinfo is not None for time in times):
                kind = pa.timestamp("us", "UTC")
                times = [time and (time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)) for time in times]
            values = times
        elif pa.types.is_floating(kind):
            values = [None if value is None else float(value) for value in values]
        return pa.array(values, kind)
    except (TypeError, ValueError, OverflowError, pa.ArrowException):
        raise PackageError(
            f"{path}: a {record_type} record has a value in the field {field} that it cannot have. "
            f"`landscape-assets verify` tells more."
        ) from None


def overview_of(
    export_dir: Path,
    output: Path,
    database_url: str | None = None,
    *,
    verify: bool = False,
    key: SigningKey | None = None,
    manifest_key: ManifestKey | None = None,
) -> bytes:
    """The page of all packages of an export folder.

    Args:
        export_dir: the folder.
        output: where the page will be: links are relative to it.
        database_url: the audit database, whose runs without a package are listed; None for none.
        verify: whether to verify every package, too.
        key, manifest_key: the keys that packages are verified with.

    Raises:
        ExportError: the audit database cannot be read.
        OSError: the folder cannot be read.
    """
    base = os.path.relpath(export_dir.absolute(), output.absolute().parent)
    with os.scandir(export_dir) as entries:
        folders = sorted(Path(entry.path) for entry in entries if entry.name[:1] != "." and entry.is_dir())
    packages = [_entry(folder, base) for folder in folders]
    if verify:
        packages = [
            _verified(entry, folder, key, manifest_key) for entry, folder in zip(packages, folders, strict=True)
        ]
    packages.sort(key=lambda entry: (entry.started_at or "", entry.run_id), reverse=True)
    without = None if database_url is None else _without_package(database_url, export_dir)
    made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return render_overview(packages, without, made_at, __version__)


def _entry(folder: Path, base: str) -> Entry:
    way = _url(base, folder.name, "")
    try:
        manifest = read_manifest(folder)
    except PackageError as error:
        return Entry(folder.name, folder=way, problem=str(error), is_sound=False)
    has_report = any(file["path"] == REPORT for file in manifest["files"])
    counts = manifest.get("record_counts")
    rows = counts.get("row", 0) if isinstance(counts, dict) else None
    return Entry(
        run_id=manifest["run_id"],
        status=_text(manifest.get("status")),
        started_at=_text(manifest.get("started_at")),
        completed_at=_text(manifest.get("completed_at")),
        folder=way,
        report=_url(base, folder.name, REPORT) if has_report else None,
        rows=rows if type(rows) is int else None,
        failures=_whole(figures_of(folder / REPORT).get("failures")) if has_report else None,
        exported_at=manifest["exported_at"],
    )


def _url(*parts: str) -> str:
    """The way to a file, as a relative URL."""
    from urllib.parse import quote

    way = "/".join(quote(os.fsencode(part), safe="/") for part in parts)
    return way if way.startswith(("/", ".")) else f"./{way}"


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _verified(entry: Entry, folder: Path, key: SigningKey | None, manifest_key: ManifestKey | None) -> Entry:
    from dataclasses import replace

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from .verify import Status, verify_package

    public_key = manifest_key and manifest_key.private.public_key()
    report = verify_package(
        folder,
        key=key.secret.encode() if key else None,
        public_key=public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) if public_key else None,
    )
    return replace(
        entry,
        verified_at=datetime.now(UTC).isoformat(),
        verdict=report.status.name.lower(),
        is_sound=report.status in (Status.VERIFIED, Status.CONSISTENT),
    )


def _without_package(database_url: str, export_dir: Path) -> list[Entry]:
    found = []
    with AuditDatabase(database_url) as audit:
        for run in audit.runs.values():
            if is_complete(export_dir, run.run_id):
                continue
            why = "It has not been exported." if run.is_finished(audit.contract) else "It is not finished."
            found.append(Entry(run.run_id, run.status, run.started_at, run.completed_at, problem=why))
    return found


def write_page(page: bytes, output: Path) -> None:
    """Writes a page, in place of one that is there.

    Raises:
        ExportError: it would be put into a package, which would then have a file that its manifest does not list.
        OSError: it cannot be written.
    """
    if os.path.lexists(output.absolute().parent / MANIFEST):
        raise ExportError(
            f"{output} is in a package, whose manifest does not list it: verification would fail. Name another folder."
        )
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(page)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def keys_at_hand() -> tuple[SigningKey | None, ManifestKey | None]:
    """The keys that the settings name, as far as they do."""
    from .settings import Settings

    settings = Settings.from_environment()
    try:
        return settings.key, settings.manifest_key
    except SigningKeyError:
        return None, settings.manifest_key
