"""The export log: an append-only log of all publications and supersessions in an export folder (docs/log.md).

Belongs here: what an entry says, appending, finding what is not logged yet. Does not belong here: proofs of entries and
cosignatures (`log_proofs.py`), time stamps (`timestamp.py`), the bytes of the tree's files (`tiles.py`) and of notes
(`note.py`), and the verifier, which shares nothing with this (`verify/log.py`).

An append writes entries and hashes, syncs them, and then exchanges the checkpoint by one rename: what a checkpoint
speaks of is on disk, and what a crash left behind it is removed by the next append.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contract.canonical import canonical_json
from ..errors import ExportError, PackageError
from ..merkle import Tree, hashes_of
from ..package import MANIFEST, read_manifest
from ..package.read import Manifest
from ..records.sign import ManifestKey
from ..storage.files import sync_folder
from ..storage.names import folder_name
from . import tiles
from .note import (
    Checkpoint,
    NoteError,
    check_origin,
    read_checkpoint,
    require_signature,
    sign_checkpoint,
)
from .timestamp import said, stamp_or_say

FOLDER, CHECKPOINT, CHECKPOINTS = ".log", "checkpoint", "checkpoints"
PUBLICATION, SUPERSESSION, EXISTING = "publication", "supersession", "existing"
"""Kinds of entries; `existing` is a package that was there before the log."""

_SUPERSEDED = ".superseded"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}\+00:00")
_LONGEST_RUN_ID = 32 * 1024
"""UTF-8 bytes of a run_id from which on an entry has the name of its folder instead."""


class LogError(ExportError):
    """The log cannot be read, is not what its checkpoint says, or cannot be appended to."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What a log is kept with.

    Args:
        key: signs its checkpoints.
        origin: which log; None for what it is, or for the usual one (`default_origin`).
        timestamp_url: of the authority that stamps checkpoints; None for none.
    """

    key: ManifestKey
    origin: str | None = None
    timestamp_url: str | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """A log after an append.

    Args:
        size, root: of the log; the root in hex.
        origin: of the log.
        added: how many entries are new.
        indices: SHA-256 of a manifest → the place of its last entry.
        problems: packages that could not be logged, and why.
    """

    size: int
    root: str
    origin: str
    added: int
    indices: dict[str, int]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """A package in the export folder: its folder, and the SHA-256 of its manifest."""

    path: Path
    manifest: Manifest
    sha256: str


def log_folder(export_dir: Path) -> Path:
    """Where the log of an export folder is."""
    return export_dir / FOLDER


def default_origin(key: ManifestKey) -> str:
    """The origin of a log for which none was chosen."""
    return f"landscape-assets/{key.key_id[:16]}"


def append(export_dir: Path, settings: LogSettings, published: Iterable[Path]) -> Appended:
    """Logs packages that were just published, and what earlier exports left out, each once.

    Of the packages that are not given, only those are looked at whose run has another number of packages than entries;
    `sync` looks at all.

    Args:
        export_dir: the export folder.
        settings: what the log is kept with.
        published: the packages.

    Raises:
        LogError: the log is damaged, or is not this key's.
        OSError: as the file system says.
    """
    return _append(export_dir, settings.key, settings.origin, set(published), is_quick=True)


def append_or_say(
    export_dir: Path, settings: LogSettings, published: Iterable[Path]
) -> tuple[Appended | None, str | None]:
    """As `append`; where that fails, says why instead: a package that is published stays so, and is logged later. Then
    a time stamp is asked for; where there is none, says why, too."""
    try:
        done = append(export_dir, settings, published)
    except (ExportError, OSError) as error:
        return None, f"The log lacks what is published: {said(error)} `landscape-assets log sync` appends it."
    return done, stamp_or_say(log_folder(export_dir), settings.timestamp_url)


def sync(export_dir: Path, settings: LogSettings) -> Appended:
    """Logs every package that has no entry; arguments and errors as for `append`."""
    return _append(export_dir, settings.key, settings.origin, set(), is_quick=False)


def _append(
    export_dir: Path, key: ManifestKey, origin: str | None, published: set[Path], *, is_quick: bool
) -> Appended:
    log = log_folder(export_dir)
    with locked(log):
        checkpoint, entries = read_log(log, key, origin)
        documents = [json.loads(entry) for entry in entries]
        logged = {document["manifest_sha256"] for document in documents}
        problems: list[str] = []
        some = _unlogged(export_dir, documents, logged, published, problems, is_quick=is_quick)
        new = [_entry(found, is_first=not entries and found.path not in published) for found in some]
        if new or checkpoint is None:
            checkpoint, entries = _write(log, key, checkpoint, _origin(checkpoint, key, origin), entries, new)
        documents += [json.loads(entry) for entry in new]
    indices = {document["manifest_sha256"]: at for at, document in enumerate(documents)}
    return Appended(checkpoint.size, checkpoint.root.hex(), checkpoint.origin, len(new), indices, tuple(problems))


def _origin(checkpoint: Checkpoint | None, key: ManifestKey, origin: str | None) -> str:
    if checkpoint is not None:
        return checkpoint.origin
    return origin or default_origin(key)


@contextmanager
def locked(log: Path) -> Iterator[None]:
    """Holds the log, so that one process appends at a time."""
    if not log.is_dir():
        log.mkdir(parents=True, exist_ok=True)
        sync_folder(log.parent)
    descriptor = os.open(log, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_log(log: Path, key: ManifestKey | None, origin: str | None) -> tuple[Checkpoint | None, list[bytes]]:
    """The checkpoint and the entries of a log, which must agree; no checkpoint where there is no log yet.

    Raises:
        LogError: they do not, or the checkpoint is not this key's or of another origin.
    """
    path = log / CHECKPOINT
    try:
        checkpoint = read_checkpoint(path.read_bytes())
        if key is not None:
            require_signature(checkpoint, key)
    except FileNotFoundError:
        if _largest_kept(log):
            raise LogError(
                f"The log {log} has no {CHECKPOINT}, but had one: {log / CHECKPOINTS} has earlier ones. Nothing is "
                f"appended. Verify the log, and put back the last checkpoint."
            ) from None
        return None, []
    except NoteError as error:
        raise LogError(
            f"The log cannot go on from {path}: {error} Nothing is appended. With the key that the log has, or moved "
            f"aside as a whole, it can."
        ) from None
    if origin is not None and origin != checkpoint.origin:
        raise LogError(
            f"The log {log} has the origin {checkpoint.origin!r}, and LANDSCAPE_LOG_ORIGIN is {origin!r:.300}. Nothing "
            f"is appended: a log keeps its origin."
        )
    if (most := _largest_kept(log)) > checkpoint.size:
        raise LogError(
            f"The log {log} has {checkpoint.size:,} entries, and had {most:,}: {log / CHECKPOINTS} has the checkpoint. "
            f"Nothing is appended. Verify the log, and put back what was cut off."
        )
    try:
        entries = tiles.read_entries(log, checkpoint.size)
    except (FileNotFoundError, ValueError) as error:
        raise LogError(
            f"The log {log} is damaged: {error} Nothing is appended. `landscape-assets verify --log` tells more."
        ) from None
    if Tree(hashes_of(entries)).root() != checkpoint.root:
        raise LogError(
            f"The entries of the log {log} are not those of its checkpoint. Nothing is appended. `landscape-assets "
            f"verify --log` tells more."
        )
    return checkpoint, entries


def _largest_kept(log: Path) -> int:
    """The size of the largest earlier checkpoint that the log keeps; 0 when it keeps none."""
    return max((int(path.name) for path in (log / CHECKPOINTS).glob("[0-9]*") if path.name.isdecimal()), default=0)


def _unlogged(
    export_dir: Path,
    documents: list[dict[str, Any]],
    logged: set[str],
    published: set[Path],
    problems: list[str],
    *,
    is_quick: bool,
) -> list[_Found]:
    """Packages without an entry, older ones of a run first."""
    entries = Counter(_folder_of(document) for document in documents)
    present: dict[str, list[Path]] = {}
    for path in _superseded(export_dir):
        present.setdefault(path.name, []).append(path)
    for name in sorted(name for name in os.listdir(export_dir) if not name.startswith(".")):
        present.setdefault(name, []).append(export_dir / name)
    found, seen = [], set(logged)
    for name, paths in sorted(present.items()):
        if is_quick and entries[name] == len(paths) and export_dir / name not in published:
            continue
        for path in paths:
            if not (path / MANIFEST).is_file():
                continue  # it is not a package
            try:
                manifest, sha256 = read_manifest(path), _sha256(path)
                if sha256 in seen or _is_unpublished(path, manifest, export_dir / name):
                    continue
            except (PackageError, OSError) as error:
                problems.append(str(error))
                continue
            if _can_be_logged(manifest):
                seen.add(sha256)
                found.append(_Found(path, manifest, sha256))
            else:
                problems.append(f"{path / MANIFEST} does not say what a manifest says. Verify the package.")
    return sorted(found, key=lambda one: (one.manifest["exported_at"], one.sha256))


def _sha256(package: Path) -> str:
    return hashlib.sha256((package / MANIFEST).read_bytes()).hexdigest()


def _is_unpublished(path: Path, manifest: Manifest, final: Path) -> bool:
    """Whether a package is one that a supersession, which did not finish, left where the present one was to be kept."""
    supersedes = manifest.get("supersedes")
    replaced = supersedes.get("manifest_sha256") if isinstance(supersedes, dict) else None
    return path != final and replaced is not None and (final / MANIFEST).is_file() and replaced == _sha256(final)


def _can_be_logged(manifest: Manifest) -> bool:
    """Whether an entry can be made of a manifest, which may be wrong in what it says."""
    replaced = manifest.get("supersedes")
    return (
        0 <= manifest["record_count"] < 2**53
        and _TIME.fullmatch(manifest["exported_at"]) is not None
        and _is_sha256(manifest.get("final_hash"))
        and (replaced is None or (isinstance(replaced, dict) and _is_sha256(replaced.get("manifest_sha256"))))
    )


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _superseded(export_dir: Path) -> list[Path]:
    """The packages that were replaced, in the order of their times."""
    return sorted((export_dir / _SUPERSEDED).glob("*/*"))


def _entry(found: _Found, *, is_first: bool) -> bytes:
    """What the log says of a package."""
    manifest = found.manifest
    replaced = manifest.get("supersedes")
    document: dict[str, Any] = {
        "kind": EXISTING if is_first else PUBLICATION if replaced is None else SUPERSESSION,
        "run_id": manifest["run_id"],
        "manifest_sha256": found.sha256,
        "final_hash": manifest["final_hash"],
        "record_count": manifest["record_count"],
        "exported_at": manifest["exported_at"],
    }
    if replaced is not None:
        document["replaced"] = replaced["manifest_sha256"]
    if len(manifest["run_id"].encode()) > _LONGEST_RUN_ID:
        document["folder"] = folder_name(document.pop("run_id"))
    return canonical_json(document).encode()


def _folder_of(document: dict[str, Any]) -> str:
    """The folder of the package that an entry speaks of."""
    return str(document["folder"]) if "folder" in document else folder_name(document["run_id"])


def _write(
    log: Path, key: ManifestKey, before: Checkpoint | None, origin: str, entries: list[bytes], new: list[bytes]
) -> tuple[Checkpoint, list[bytes]]:
    """Appends entries: their files first, the checkpoint last."""
    check_origin(origin)
    entries, size = [*entries, *new], len(entries)
    tree = Tree(hashes_of(entries))
    tiles.write_tiles(log, entries, tree, size)
    checkpoint = sign_checkpoint(origin, len(entries), tree.root(), key)
    changed: set[Path] = set()
    if before is not None and before.size:
        # It is kept before it is replaced, never a new one before it is in its place: a signed checkpoint of entries
        # that a crash left out would contradict those that are appended in their stead.
        tiles.write_durably(log / CHECKPOINTS / str(before.size), before.note().encode(), changed)
        tiles.sync_changed(changed)
    tiles.write_durably(log / CHECKPOINT, checkpoint.note().encode(), changed)
    tiles.sync_changed(changed)
    tiles.remove_partial(log, len(entries), size)
    return checkpoint, entries
