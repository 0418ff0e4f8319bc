"""Packages that are there: where they are, whether they are complete, and what their manifests say.

Belongs here: what can be told without judging a package. Does not belong here: whether it is whole and unchanged,
which the independent verifier judges (`verify/`).
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from ..contract.canonical import InvalidJson, parse_json
from ..errors import PackageError
from ..formats import html
from ..report import figures_in
from ..storage.names import folder_name

MANIFEST = "manifest.json"
REPORT = html.PATH

Manifest = dict[str, Any]

_MAX_BYTES = 4 * 2**20
"""Of manifest.json (docs/package.md, "Limits")."""

_HEAD_OF_REPORT = 32_768
"""Bytes at the beginning of a report in which its key figures stand."""

_FORM: dict[str, tuple[type, str]] = {
    "run_id": (str, "text"),
    "record_count": (int, "a count"),
    "tables": (dict, "an object"),
    "files": (list, "an array"),
    "exported_at": (str, "text"),
}
"""What must be there to go on with a manifest: key → its type, and that in words."""


def package_path(export_dir: Path, run_id: str) -> Path:
    """Where the package of a run is, or will be."""
    return export_dir / folder_name(run_id)


def is_complete(export_dir: Path, run_id: str) -> bool:
    """Whether a complete package of the run is there: its manifest is."""
    return (package_path(export_dir, run_id) / MANIFEST).is_file()


def read_manifest(package: Path) -> Manifest:
    """The manifest of a package, which may be wrong in what it says.

    Raises:
        PackageError: it is missing, or is not of a manifest's form.
    """

    def refused(problem: str) -> PackageError:
        return PackageError(f"{package / MANIFEST} cannot be read as a manifest: {problem}.")

    try:
        manifest = parse_json(manifest_bytes(package).decode())
    except UnicodeDecodeError:
        raise refused("it is not UTF-8") from None
    except InvalidJson as error:
        raise refused(f"it {error}") from None
    if not isinstance(manifest, dict):
        raise refused("it is not a JSON object")
    for name, (kind, words) in _FORM.items():
        if not isinstance(manifest.get(name), kind):
            raise refused(
                f"{name} is {json.dumps(manifest[name])[:80]}; it must be {words}"
                if name in manifest
                else f"it has no {name}"
            )
    for i, entry in enumerate(manifest["files"]):
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            raise refused(f"files[{i}] is not an object with a path")
    return manifest


def run_id_in(package: Path) -> str | None:
    """The run_id that the manifest of a package names, whatever else is wrong with it; None when it names none."""
    try:
        manifest = json.loads(manifest_bytes(package))
    except (PackageError, ValueError, RecursionError):
        return None
    run_id = manifest.get("run_id") if isinstance(manifest, dict) else None
    return run_id if isinstance(run_id, str) else None


def manifest_bytes(package: Path) -> bytes:
    """The bytes of a package's manifest.

    Raises:
        PackageError: there are none, or more than a manifest may have.
    """
    path = package / MANIFEST
    try:
        # What took the file's place is not followed, and does not keep the reader waiting.
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PackageError(f"{path} is not a regular file: {package} is not a complete package.")
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise PackageError(f"{package} has no {MANIFEST}: it is not a complete package.") from None
    except NotADirectoryError:
        raise PackageError(f"{package} is not a folder: it is not a complete package.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PackageError(f"{path} is a symbolic link: {package} is not a complete package.") from None
        raise PackageError(
            f"{path} cannot be read ({error.strerror}): nothing shows that {package} is a complete package."
        ) from None
    if len(data) > _MAX_BYTES:
        raise PackageError(f"{path} cannot be read: it has more than {_MAX_BYTES:,} bytes, and no manifest has.")
    return data


def figures_of(report: Path) -> dict[str, float]:
    """The key figures that a report tells at its beginning; none when it cannot be read."""
    try:
        with open(os.open(report, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return figures_in(file.read(_HEAD_OF_REPORT))
    except OSError:
        return {}
