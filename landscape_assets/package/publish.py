"""A package: assembled from staged files, read back, given its manifest, and published in one rename (docs/package.md).

Belongs here: the manifest, the comparison with a package that is there, publication and superseding. Does not belong
here: what is in the files (`formats.py`), and the offline verifier (`verify/`), which knows nothing of this, and judges
what is there already.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xxhash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .. import __version__
from ..contract.canonical import canonical_json
from ..errors import PackageError
from ..formats.base import StagedFile
from ..merkle import ALGORITHM
from ..printable import printable
from ..records.sign import CHAIN_OF_RECORDS, CHAIN_OF_SIGNATURES, ManifestKey, SigningKey, now
from ..storage.files import NewFile, sync_file, sync_folder
from ..storage.names import folder_name
from ..verify import CODES, Finding, Status, verify_package
from ..verify.manifest import MAX_BYTES
from ..verify.manifest import read as judge_manifest
from ..verify.report import Findings
from .verify_md import verify_md

FORMAT = "landscape-export"
FORMAT_VERSION = 2
MANIFEST = "manifest.json"
MANIFEST_SIGNATURE = "manifest.json.sig"

Manifest = dict[str, Any]

_READ_BYTES = 2**20
_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100  # fcntl.h

_TOLD = 3
"""How many findings a message about a damaged package tells."""

_IN_ITS_PLACE = (
    "It is left as it is; `landscape-assets verify` tells more. Restore it from a copy, or supersede it (--supersede, or the run "
    "config of the step export__package)."
)


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


@dataclass(frozen=True, slots=True)
class Published:
    """A complete package: where it is, its manifest and the hash of that file, and whether this export made it (or
    found it as it
    would be)."""

    path: Path
    manifest: Manifest
    manifest_sha256: str
    is_new: bool


def package_path(export_dir: Path, run_id: str) -> Path:
    """Where the package of a run is, or will be."""
    return export_dir / folder_name(run_id)


def is_complete(export_dir: Path, run_id: str) -> bool:
    """Whether a complete package of the run is there: its manifest is."""
    return (package_path(export_dir, run_id) / MANIFEST).is_file()


def read_manifest(package: Path) -> Manifest:
    """The manifest of a package.

    Raises:
        PackageError: it is missing, or is not of a manifest's form (docs/package.md).
    """
    data, findings = _manifest_bytes(package), Findings()
    if judge_manifest(data, findings) is None:
        raise PackageError(f"{package / MANIFEST} cannot be read as a manifest: {_told(findings.kept, named=False)}")
    manifest: Manifest = json.loads(data)
    return manifest


def run_id_in(package: Path) -> str | None:
    """The run_id that the manifest of a package names, whatever else is wrong with it; None when it names none."""
    try:
        manifest = json.loads(_manifest_bytes(package))
    except (PackageError, ValueError, RecursionError):
        return None
    run_id = manifest.get("run_id") if isinstance(manifest, dict) else None
    return run_id if isinstance(run_id, str) else None


def _manifest_bytes(package: Path) -> bytes:
    """The bytes of a package's manifest.

    Raises:
        PackageError: there are none, or more than the verifier takes.
    """
    path = package / MANIFEST
    try:
        # What took the file's place is not followed, and does not keep the reader waiting.
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PackageError(f"{path} is no regular file: {package} is not a complete package.")
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise PackageError(f"{package} has no {MANIFEST}: it is not a complete package.") from None
    except NotADirectoryError:
        raise PackageError(f"{package} is no folder: it is not a complete package.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PackageError(f"{path} is a symbolic link: {package} is not a complete package.") from None
        raise PackageError(
            f"{path} cannot be read ({error.strerror}): nothing shows that {package} is a complete package."
        ) from None
    if len(data) > MAX_BYTES:
        raise PackageError(f"{path} cannot be read: it has more than {MAX_BYTES:,} bytes, and no manifest has.")
    return data


def publish(
    export: Export,
    staged: Sequence[StagedFile],
    export_dir: Path,
    staging: Path,
    *,
    supersede: bool = False,
) -> Published:
    """Makes the package of a run from its staged files, or finds that it is there already.

    The files are moved into an empty folder, read back and compared with what was written; the manifest is written
    last; one rename publishes the folder. Nothing that has been published is ever changed.

    Args:
        export: the export.
        staged: its files; they are moved.
        export_dir: the export folder.
        staging: the staging folder of this export.
        supersede: replace a package that differs, and keep it aside.

    Raises:
        PackageError: a staged file is not as it was written; a package is there and is damaged or differs.
        OSError: as the file system says.
    """
    final = package_path(export_dir, export.run_id)
    superseded_sha256, is_there = None, os.path.lexists(final)
    if is_there:
        try:
            differences = _differences(export, staged, final)
        except PackageError as damage:
            if not supersede:
                raise PackageError(f"{damage} {_IN_ITS_PLACE}") from None
            differences = [str(damage)]
        if not differences:
            _confirm(final)
            return Published(final, read_manifest(final), _manifest_sha256(final), is_new=False)
        if not supersede:
            raise PackageError(
                f"The package {final} is there already, and this export differs: {'; '.join(differences)}. It is left as it is. "
                f"To replace it knowingly, and keep it aside, supersede it (--supersede, or the run config of the step export__package)."
            )
        superseded_sha256 = _sha256_of_whatever_manifest(final)

    exported_at = next((file.exported_at for file in staged if file.exported_at), None) or now()
    assembly = _assemble(export, staged, staging, exported_at, superseded_sha256)
    # Read before it is published: afterwards nothing may fail any more that would make the export look as if it had.
    manifest, manifest_sha256 = read_manifest(assembly), _manifest_sha256(assembly)
    if is_there:
        aside = _exchange(assembly, final, export_dir)
        _confirm(final, aside.parent)
    else:
        _rename_new(assembly, final)
        _confirm(final)
    return Published(final, manifest, manifest_sha256, is_new=True)


def _manifest_sha256(package: Path) -> str:
    return hashlib.sha256(_manifest_bytes(package)).hexdigest()


def _sha256_of_whatever_manifest(package: Path) -> str | None:
    """The hash of a manifest that may be damaged; None when nothing of that name can be read."""
    try:
        return _manifest_sha256(package)
    except PackageError:
        return None


def _assemble(
    export: Export, staged: Sequence[StagedFile], staging: Path, exported_at: str, superseded_sha256: str | None
) -> Path:
    """A whole package below the staging folder, under the name that it will have."""
    assembly = staging / "package" / folder_name(export.run_id)
    shutil.rmtree(assembly, ignore_errors=True)
    assembly.mkdir(parents=True)
    files = []
    with ThreadPoolExecutor(1, "sync") as syncing:
        synced = []
        for file in sorted(staged, key=lambda file: file.path.encode()):
            target = assembly / file.path
            target.parent.mkdir(exist_ok=True)
            try:
                file.facts.path.rename(target)
            except FileNotFoundError:
                raise PackageError(
                    f"The staged file {file.facts.path} is gone. Materialize the files of run {export.run_id!r} again."
                ) from None
            # The disk is waited for while the same file is read back.
            synced.append(syncing.submit(sync_file, target))
            _read_back(target, file, _expected_records(export, file))
            files.append(
                {
                    "path": file.path,
                    "size": file.facts.size,
                    "sha256": file.facts.sha256,
                    "media_type": file.media_type,
                    "records": file.facts.rows,
                }
            )
        for each in synced:
            each.result()
    text = verify_md(export.run_id, files, export.manifest_key.key_id if export.manifest_key else None).encode()
    files.append(
        {
            "path": "VERIFY.md",
            "size": len(text),
            "sha256": hashlib.sha256(text).hexdigest(),
            "media_type": "text/markdown; charset=utf-8",
            "records": None,
        }
    )
    _write(assembly / "VERIFY.md", text)
    files.sort(key=lambda file: file["path"].encode())

    manifest = _manifest(export, files, exported_at, superseded_sha256)
    data = canonical_json(manifest).encode()
    for folder in {(assembly / file["path"]).parent for file in files}:
        sync_folder(folder)
    if export.manifest_key:
        _write(assembly / MANIFEST_SIGNATURE, export.manifest_key.sign(data))
    _write(assembly / MANIFEST, data)
    sync_folder(assembly)
    return assembly


def _manifest(export: Export, files: list[dict[str, Any]], exported_at: str, superseded_sha256: str | None) -> Manifest:
    manifest: Manifest = {
        **_identity(export),
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "files": files,
        "exporter": {"name": "landscape-assets", "version": __version__},
        "exported_at": exported_at,
    }
    if superseded_sha256 is not None:
        manifest["supersedes"] = {"manifest_sha256": superseded_sha256}
    if export.key:
        manifest["signature"] = export.key.sign(canonical_json(manifest).encode())
    return manifest


def _identity(export: Export) -> Manifest:
    """What two exports of the same run with the same key and options have in common."""
    record_count = sum(export.record_counts.values())
    return {
        "contract": export.contract,
        "run_id": export.run_id,
        "status": export.status,
        "started_at": export.started_at,
        "completed_at": export.completed_at,
        "record_count": record_count,
        "record_counts": dict(export.record_counts),
        "final_hash": export.final_hash,
        "merkle": {"algorithm": ALGORITHM, "size": record_count, "root": export.merkle_root},
        "chain": CHAIN_OF_SIGNATURES if export.key else CHAIN_OF_RECORDS,
        "tables": dict(export.tables),
        "signing": {"algorithm": "hmac-sha256", "key_id": export.key.key_id} if export.key else None,
        "public_key": {"algorithm": "ed25519", "key_id": export.manifest_key.key_id} if export.manifest_key else None,
    }


def _expected_records(export: Export, file: StagedFile) -> int:
    """How many records a file must hold: those of its type, or all."""
    if file.path == "records.jsonl":
        return sum(export.record_counts.values())
    return export.record_counts[Path(file.path).stem]


def _read_back(path: Path, file: StagedFile, expected: int) -> None:
    """Makes sure that a staged file is on disk as it was written.

    It is compared by the XXH3-128 of what was written, which finds what disks and programs do to a file as surely as
    the SHA-256 that was taken with it, six times as fast. Whoever could deceive it could change the published file as
    well; both are found by the SHA-256 in the manifest.

    Args:
        path: where it is.
        file: what was written.
        expected: how many records it must hold.
    """
    if file.facts.rows != expected:
        raise PackageError(f"{path} has {file.facts.rows} records where there are {expected}. Nothing is published.")
    digest, size, buffer = xxhash.xxh3_128(), 0, memoryview(bytearray(_READ_BYTES))
    with path.open("rb", buffering=0) as stored:
        while count := stored.readinto(buffer):
            digest.update(buffer[:count])
            size += count
    if size != file.facts.size or digest.hexdigest() != file.facts.checksum:
        raise PackageError(
            f"The staged file {path} is not as it was written: the disk or another program changed it. Nothing is published; "
            f"export the run again."
        )


def _write(path: Path, data: bytes) -> None:
    """A small file, synced and read back."""
    with NewFile(path) as file:
        file.write(data)
    sync_file(path)
    if path.read_bytes() != data:
        raise PackageError(
            f"The staged file {path} is not as it was written. Nothing is published; export the run again."
        )


def _differences(export: Export, staged: Sequence[StagedFile], package: Path) -> list[str]:
    """In what a package that is there differs from this export, as phrases.

    Raises:
        PackageError: it does not differ in anything that it says, or says nothing, and is damaged.
    """
    manifest = read_manifest(package)
    found = []
    for key, ours in _identity(export).items():
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
    formats = _formats(file.path for file in staged)
    before = _formats(file["path"] for file in manifest["files"])
    if formats != before:
        found.append(f"the formats are {', '.join(sorted(formats))} and were {', '.join(sorted(before))}")
    if not found:
        check_package(package, export)
    return found


def _formats(paths: Iterable[str]) -> set[str]:
    """The formats that the files of a package are of: records.jsonl, csv/..., parquet/..."""
    return {"jsonl" if path == "records.jsonl" else path.partition("/")[0] for path in paths} - {"VERIFY.md"}


def check_package(package: Path, export: Export) -> None:
    """Whether a published package is whole and unchanged: the independent verifier judges, with the keys of the export.

    Raises:
        PackageError: it is not.
    """
    key, public_key = export.key, export.manifest_key and export.manifest_key.private.public_key()
    report = verify_package(
        package,
        key=None if key is None else key.secret.encode(),
        public_key=None
        if public_key is None
        else public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        run_id=export.run_id,
    )
    if report.status not in (Status.VERIFIED, Status.CONSISTENT):
        raise PackageError(f"The package {package} is damaged: {_told(report.findings)}")


def _told(findings: Sequence[Finding], named: bool = True) -> str:
    """The first findings as the end of a message: those about whole files first. What a record holds is not told.

    Args:
        findings: what the verifier found, one at least.
        named: whether to say of which file each is.
    """
    ordered = sorted(findings, key=lambda finding: (finding.code, finding.file, finding.record or 0))
    told = []
    for finding in ordered[:_TOLD]:
        if finding.record is None:
            told.append(f"{finding.file}: {finding.message.rstrip('.')}" if named else finding.message.rstrip("."))
        else:
            rule = CODES[finding.code].rule.rstrip(".")
            told.append(f"{finding.file}, record {finding.record}: «{rule}» does not hold")
    more = f"; and {len(ordered) - _TOLD} more" if len(ordered) > _TOLD else ""
    return printable(f"{'; '.join(told)}{more}.")


def _rename_new(assembly: Path, final: Path) -> None:
    """Publishes a folder under a name that is not taken: rename never replaces a folder that holds anything (POSIX)."""
    try:
        os.rename(assembly, final)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise PackageError(
                f"{final} came to be while this export was made. It is left as it is; export again to compare."
            ) from None
        raise


def _exchange(assembly: Path, final: Path, export_dir: Path) -> Path:
    """Publishes a folder in place of another, which is kept under .superseded/<time>/, in one step; where it is kept.

    The new folder is first put where the old one will be; exchanging the two names then leaves no moment without a
    package. The time is that of the old package's export; where its manifest does not tell it, the present one.
    """
    try:
        exported_at = datetime.fromisoformat(read_manifest(final)["exported_at"]).astimezone(UTC)
    except (PackageError, ValueError, OverflowError):
        exported_at = datetime.now(UTC)
    # ISO 8601 with hyphens for the colons, which some file systems do not take.
    aside = export_dir / ".superseded" / exported_at.strftime("%Y-%m-%dT%H-%M-%S.%fZ") / final.name
    _clear_unpublished(aside, final)
    aside.parent.mkdir(parents=True, exist_ok=True)
    os.rename(assembly, aside)
    # The way to it must be durable before the exchange is: else a crash could leave the old package nowhere.
    for folder in (aside.parent, aside.parent.parent, export_dir):
        sync_folder(folder)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(aside), _AT_FDCWD, os.fsencode(final), _RENAME_EXCHANGE):
        code = ctypes.get_errno()
        os.rename(aside, assembly)
        raise OSError(code, f"{os.strerror(code)}: the file system cannot exchange two names", str(final))
    return aside


def _confirm(final: Path, *others: Path) -> None:
    """Makes the name of a package that is in its place durable, and the way to it: the export folder may have been made
    just now.

    Args:
        final: the package.
        others: folders whose names are made durable besides.

    Raises:
        PackageError: the file system did not confirm it.
    """
    try:
        for folder in (final.parent, *others):
            sync_folder(folder)
        device = final.parent.stat().st_dev
        for folder in final.parent.parents:
            if folder.stat().st_dev != device:
                break
            with suppress(PermissionError):  # who may not list a folder cannot sync it
                sync_folder(folder)
    except OSError as error:
        raise PackageError(
            f"The package {final} is complete and in its place, but the file system did not confirm that it stays there "
            f"({error.strerror}). Fix it, and export again."
        ) from None


def _clear_unpublished(aside: Path, final: Path) -> None:
    """Removes a new package that a crash left before it was exchanged: it names the present one as its predecessor."""
    if not os.path.lexists(aside):
        return
    present = _sha256_of_whatever_manifest(final)
    try:
        left = read_manifest(aside).get("supersedes") or {}
    except PackageError:
        left = {}
    if present is not None and left.get("manifest_sha256") == present:
        shutil.rmtree(aside)
    else:
        raise PackageError(f"{aside} is there already. Move it away, and supersede again.")
