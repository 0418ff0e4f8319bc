"""Folders for work in progress, and the lock of a run.

Belongs here: making folders that are held while their process lives, clearing away those that nobody holds. Staging folders
(EXPORT_DIR/.staging, where files wait until they are a package) and scratch folders (temporary files of a step) are both of
this kind. Does not belong here: what is in them, and publication (`package.py`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import PackageError
from .names import folder_name

_held: dict[Path, int] = {}
"""The folders of this process, locked as long as it lives or until they are released: what nobody holds was left behind."""

_locked: set[Path] = set()
"""The run locks of this process."""


def staging_root(export_dir: Path) -> Path:
    """Where the files of packages in the making are."""
    return export_dir / ".staging"


def _label(run_id: str | None) -> str:
    """How the names of a run's folders begin; those of no run begin as no folder name does."""
    return "%storage" if run_id is None else folder_name(run_id)


def work_folder(root: Path, run_id: str | None, owner: str) -> Path:
    """The folder in which one export of a run works; made, and held by this process, if it is not yet.

    Args:
        root: the folder of all such folders; made if it is missing.
        run_id: the run; None for a folder of no one run.
        owner: who exports: the id of the Dagster run.

    Raises:
        OSError: the root cannot be written to.
    """
    path = root / f"{_label(run_id)}.{owner}"
    while not path.is_dir():
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # another export removed the root just now
            continue
    if path not in _held:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _held[path] = descriptor
    return path


def release(path: Path) -> None:
    """Removes a folder of this process, with what is left in it."""
    shutil.rmtree(path, ignore_errors=True)
    descriptor = _held.pop(path, None)
    if descriptor is not None:
        os.close(descriptor)
    remove_if_empty(path.parent)


def release_all(root: Path, run_id: str) -> None:
    """Removes the folders of this process for a run."""
    for path in [path for path in _held if path.parent == root and path.name.startswith(f"{folder_name(run_id)}.")]:
        release(path)


def clear_abandoned(root: Path, run_id: str | None, is_live: Callable[[str], bool]) -> None:
    """Removes what exports of the run that did not end well have left below a root.

    Args:
        root: as for `work_folder`.
        run_id: the run.
        is_live: whether the owner of a folder that no process holds may still come back to it.
    """
    prefix = f"{_label(run_id)}."
    for path in list(root.iterdir()) if root.is_dir() else []:
        owner = path.name.removeprefix(prefix)
        if path in _held or not path.name.startswith(prefix) or "." in owner or not path.is_dir() or is_live(owner):
            continue
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)


@contextmanager
def run_lock(export_dir: Path, run_id: str) -> Iterator[None]:
    """Holds the export of one run, so that two exports at once give one package and one clear loser.

    Held again by the same process, it does nothing more.

    Raises:
        PackageError: another process holds it.
    """
    path = staging_root(export_dir) / f"{folder_name(run_id)}.lock"
    if path in _locked:
        yield
        return
    descriptor = _lock(path, run_id, export_dir)
    _locked.add(path)
    try:
        yield
    finally:
        _locked.discard(path)
        path.unlink(missing_ok=True)
        os.close(descriptor)
        remove_if_empty(path.parent)


def _lock(path: Path, run_id: str, export_dir: Path) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # the folder was removed just now
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise PackageError(
                f"Another export of run {run_id!r} into {export_dir} is under way. Wait until it has ended, and look at "
                f"its result."
            ) from None
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # the one before removed it as it let go


def remove_if_empty(folder: Path) -> None:
    """Removes a folder that nothing is in any more."""
    try:
        folder.rmdir()
    except OSError:
        pass
