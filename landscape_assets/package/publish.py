"""A package: assembled from staged files, read back, given its manifest, and published in one rename (docs/package.md).

Belongs here: publication, superseding, and what becomes of a package that is there already. Does not belong here: what
the manifest says (`manifest.py`), what is in the files (`formats/`), and the offline verifier (`verify/`), which
judges what is there already.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import xxhash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..errors import PackageError
from ..formats.base import StagedFile
from ..printable import printable
from ..records.sign import now
from ..storage.files import NewFile, sync_file, sync_folder
from ..storage.names import folder_name
from ..verify import CODES, Finding, Status, verify_package
from .difference import further_differences
from .manifest import VERIFY_MD, Export, differences, formats_of
from .read import MANIFEST, Manifest, manifest_bytes, package_path, read_manifest

MANIFEST_SIGNATURE = "manifest.json.sig"

_READ_BYTES = 2**20
_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100  # fcntl.h

_MAX_LISTED = 3
"""How many findings a message about a damaged package tells."""

_HINT_SUPERSEDE = "supersede it (--supersede, or the run config of the step export__package)."
_HINT_LEFT_UNTOUCHED = (
    f"It is left as it is; `landscape-assets verify` tells more. Restore it from a copy, or {_HINT_SUPERSEDE}"
)


@dataclass(frozen=True, slots=True)
class Published:
    """A complete package.

    Args:
        path: where it is.
        manifest: its manifest.
        manifest_sha256: the hash of that file.
        is_new: whether this export made it, or found it as it would be.
    """

    path: Path
    manifest: Manifest
    manifest_sha256: str
    is_new: bool


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
            there, formats = read_manifest(final), formats_of(file.path for file in staged)
            if not supersede and formats_of(file["path"] for file in there["files"]) == formats - {"html"}:
                # The report is a view that anyone can make of the records: a package of an older version lacks nothing.
                formats -= {"html"}
            differing = differences(export, formats, there)
            if not differing:
                _require_whole(final, export)
        except PackageError as damage:
            if not supersede:
                raise PackageError(f"{damage} {_HINT_LEFT_UNTOUCHED}") from None
            differing = [str(damage)]
        if not differing:
            _fsync_parents(final)
            return _published(final, final, is_new=False)
        if not supersede:
            differing += further_differences(staged, final, read_manifest(final))
            raise PackageError(
                f"The package {final} is there already, and this export differs: {'; '.join(differing)}. It is left as "
                f"it is. To replace it knowingly, and keep it aside, {_HINT_SUPERSEDE}"
            )
        superseded_sha256 = _sha256_of_any_manifest(final)

    exported_at = next((file.exported_at for file in staged if file.exported_at), None) or now()
    assembly = _assemble(export, staged, staging, exported_at, superseded_sha256)
    # Read before it is published: afterwards nothing may fail any more that would make the export look as if it had.
    published = _published(assembly, final, is_new=True)
    if is_there:
        aside = _exchange(assembly, final, export_dir)
        _fsync_parents(final, aside.parent)
    else:
        _rename_new(assembly, final)
        _fsync_parents(final)
    return published


def _published(package: Path, final: Path, *, is_new: bool) -> Published:
    return Published(final, read_manifest(package), _manifest_sha256(package), is_new)


def _manifest_sha256(package: Path) -> str:
    return hashlib.sha256(manifest_bytes(package)).hexdigest()


def _sha256_of_any_manifest(package: Path) -> str | None:
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
    folders = {assembly}
    with ThreadPoolExecutor(1, "sync") as syncing:
        synced = []
        for file in staged:
            target = assembly / file.path
            target.parent.mkdir(exist_ok=True)
            folders.add(target.parent)
            try:
                file.facts.path.rename(target)
            except FileNotFoundError:
                raise PackageError(
                    f"The staged file {file.facts.path} is gone. Materialize the files of run {export.run_id!r} again."
                ) from None
            # The disk is waited for while the same file is read back.
            synced.append(syncing.submit(sync_file, target))
            _read_back(target, file, export.records_in(file.path))
        for each in synced:
            each.result()
    guide, manifest = export.texts(staged, exported_at, superseded_sha256)
    _write(assembly / VERIFY_MD, guide)
    for folder in folders:
        sync_folder(folder)
    if export.manifest_key:
        _write(assembly / MANIFEST_SIGNATURE, export.manifest_key.sign(manifest))
    _write(assembly / MANIFEST, manifest)
    sync_folder(assembly)
    return assembly


def _read_back(path: Path, file: StagedFile, expected: int | None) -> None:
    """Makes sure that a staged file is on disk as it was written.

    It is compared by the XXH3-128 of what was written, which finds what disks and programs do to a file as surely as
    the SHA-256 that was taken with it, six times as fast. A change made to deceive it is found by the SHA-256 in the
    manifest.

    Args:
        path: where it is.
        file: what was written.
        expected: how many records it must hold; None for a file without records.
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
            f"The staged file {path} is not as it was written: the disk or another program changed it. Nothing is "
            f"published; export the run again."
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


def _require_whole(package: Path, export: Export) -> None:
    """Makes sure that a published package is whole and unchanged: the independent verifier judges, with the keys of the
    export.

    Raises:
        PackageError: it is not.
    """
    public_key = None
    if export.manifest_key is not None:
        private = export.manifest_key.private
        public_key = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = None if export.key is None else export.key.secret.encode()
    report = verify_package(package, key=key, public_key=public_key, run_id=export.run_id)
    if report.status not in (Status.VERIFIED, Status.CONSISTENT):
        raise PackageError(f"The package {package} is damaged: {_summarize(report.findings)}")


def _summarize(findings: Sequence[Finding]) -> str:
    """The first findings as the end of a message: those about whole files first. What a record holds is not told."""
    ordered = sorted(findings, key=lambda finding: (finding.code, finding.file, finding.record or 0))
    listed = []
    for finding in ordered[:_MAX_LISTED]:
        if finding.record is None:
            listed.append(f"{finding.file}: {finding.message.rstrip('.')}")
        else:
            rule = CODES[finding.code].rule.rstrip(".")
            listed.append(f"{finding.file}, record {finding.record}: «{rule}» does not hold")
    more = f"; and {len(ordered) - _MAX_LISTED} more" if len(ordered) > _MAX_LISTED else ""
    return printable(f"{'; '.join(listed)}{more}.")


def _rename_new(assembly: Path, final: Path) -> None:
    """Publishes a folder under a name that is not taken: rename never replaces a folder that holds anything (POSIX)."""
    try:
        os.rename(assembly, final)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise PackageError(
                f"{final} appeared while this export was made. It is left as it is; export again to compare."
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


def _fsync_parents(final: Path, *others: Path) -> None:
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
            with suppress(PermissionError):  # a folder that may not be listed cannot be synced
                sync_folder(folder)
    except OSError as error:
        raise PackageError(
            f"The package {final} is complete and in its place, but the file system did not confirm that it stays "
            f"there ({error.strerror}). Fix it, and export again."
        ) from None


def _clear_unpublished(aside: Path, final: Path) -> None:
    """Removes a new package that a crash left before it was exchanged: it names the present one as its predecessor."""
    if not os.path.lexists(aside):
        return
    present = _sha256_of_any_manifest(final)
    try:
        left = read_manifest(aside).get("supersedes") or {}
    except PackageError:
        left = {}
    if present is not None and left.get("manifest_sha256") == present:
        shutil.rmtree(aside)
    else:
        raise PackageError(f"{aside} is there already. Move it away, and supersede again.")
