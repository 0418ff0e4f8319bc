"""The state of the exports at one look: what is missing, what is bad, what is newest.

Belongs here: what the commands `runs` and `status` and the discovery of Dagster ask of the audit database and the
export folder. Does not belong here: options and output of the command (`cli.py`), and the verification of a package
(`verify/`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .database import AuditDatabase
from .errors import PackageError
from .package import MANIFEST, is_complete, package_path, read_manifest, run_id_in
from .storage.names import run_id_of


def list_runs(database_url: str, export_dir: Path | None) -> tuple[list[dict[str, Any]], list[str]]:
    """The runs of the audit database as the command `runs` gives them in JSON, and what its table says of the packages.

    Args:
        database_url: the audit database.
        export_dir: the export folder; None when none is set, and nothing is said of packages.
    """
    with AuditDatabase(database_url) as audit:
        rows: list[dict[str, Any]] = [
            {
                "run_id": run.run_id,
                "status": run.status,
                "started_at": run.started_at,
                "completed_at": run.completed_at,
                "exportable": run.is_finished(audit.contract),
                "package": str(package_path(export_dir, run.run_id))
                if export_dir is not None and is_complete(export_dir, run.run_id)
                else None,
            }
            for run in audit.runs.values()
        ]
    absent = ("", "") if export_dir is None else ("not finished", "none")
    return rows, [row["package"] or absent[row["exportable"]] for row in rows]


@dataclass(frozen=True, slots=True)
class ExportStatus:
    """What is there and what is not.

    Args:
        packages: how many complete packages there are.
        newest_package, newest_exported_at: the run that was exported last, and when.
        missing: how many finished runs have no complete package.
        oldest_missing, oldest_missing_completed_at: the one that finished first, and when.
        bad: run_id → what is wrong with its package.
    """

    packages: int
    newest_package: str | None
    newest_exported_at: str | None
    missing: int
    oldest_missing: str | None
    oldest_missing_completed_at: str | None
    bad: dict[str, str]

    @property
    def is_good(self) -> bool:
        """Whether every finished run has a package, and none is bad."""
        return not self.missing and not self.bad

    @property
    def document(self) -> dict[str, Any]:
        """The same for JSON."""
        return {"good": self.is_good, **asdict(self)}

    @property
    def lines(self) -> list[str]:
        """The same for people."""
        return [
            f"{self.packages:,} packages; newest: {self.newest_package} ({self.newest_exported_at})",
            f"{self.missing:,} finished runs without one; oldest: {self.oldest_missing}",
            *(f"bad: {run_id}: {reason}" for run_id, reason in self.bad.items()),
        ]


def export_status(database_url: str, export_dir: Path) -> ExportStatus:
    """Looks at the audit database and the export folder.

    A package is bad when its manifest cannot be read, or a file is not there or is not of the size that the manifest
    names. Contents are not read: that is what verification is for.

    Args:
        database_url: the audit database.
        export_dir: the export folder.

    Raises:
        ExportError: the database cannot be read.
        OSError: the folder cannot be read.
    """
    with AuditDatabase(database_url) as database:
        finished = [run for run in database.runs.values() if run.is_finished(database.contract)]
    missing = [run for run in finished if not is_complete(export_dir, run.run_id)]
    bad: dict[str, str] = {}
    exported: list[tuple[str, str]] = []
    for run_id, _ in published_packages(export_dir):
        path = package_path(export_dir, run_id)
        try:
            manifest = read_manifest(path)
        except PackageError as error:
            bad[run_id] = str(error)
            continue
        exported.append((manifest["exported_at"], run_id))
        if wrong := [file["path"] for file in manifest["files"] if _size(path / file["path"]) != file["size"]]:
            bad[run_id] = f"{wrong[0]} is not there or is not of the size that the manifest names."
    newest = max(exported, default=(None, None))
    oldest = min(missing, key=lambda run: run.completed_at or "", default=None)
    return ExportStatus(
        packages=len(exported),
        newest_package=newest[1],
        newest_exported_at=newest[0],
        missing=len(missing),
        oldest_missing=oldest.run_id if oldest else None,
        oldest_missing_completed_at=oldest.completed_at if oldest else None,
        bad=bad,
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def published_packages(export_dir: Path) -> Iterator[tuple[str, float]]:
    """The complete packages of an export folder: run_id, and when the manifest was written (seconds of the epoch).

    Raises:
        OSError: the folder cannot be read.
    """
    if not export_dir.is_dir():
        return
    with os.scandir(export_dir) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                written = os.stat(os.path.join(entry.path, MANIFEST)).st_mtime
            except (FileNotFoundError, NotADirectoryError):
                continue
            run_id = run_id_of(entry.name)
            if run_id is None:  # the name was cut; only the manifest tells
                run_id = run_id_in(Path(entry.path))
            if run_id is not None:
                yield run_id, written
