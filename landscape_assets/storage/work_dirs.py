"""Folders for work in progress, and the lock of a run.

Belongs here: making folders that are locked while their process lives, and removing those that no process has locked.
Staging folders (EXPORT_DIR/.staging, where files wait until they are a package) and scratch folders (temporary files of
a step) are both of this kind. Does not belong here: what is in them, and publication (`package/publish.py`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import PackageError
from .names import folder_name

_locked_dirs: dict[Path, int] = {}
"""The folders of this process, locked as long as it lives or until they are removed: a folder that is not locked
was left behind."""

_run_locks: set[Path] = set()
"""The run locks of this process."""


def staging_root(export_dir: Path) -> Path:
    """Where the files of packages in the making are."""
    return export_dir / ".staging"


def _label(run_id: str | None) -> str:
    """How the names of a run's folders begin; those of no run begin as no folder name does."""
    return "%storage" if run_id is None else folder_name(run_id)


def make_work_dir(root: Path, run_id: str | None, owner: str) -> Path:
    """The folder in which one export of a run works; made, and locked by this process, if it is not yet.

    Args:
        root: the folder of all such folders; made if it is missing.
        run_id: the run; None for a folder of no one run.
        owner: who exports: any id of its own.

    Raises:
        OSError: the root cannot be written to.
    """
    path = root / f"{_label(run_id)}.{owner}"
    while True:
        _make(path)
        if path in _locked_dirs:
            return path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # as below
            continue
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is_at(descriptor, path):
            _locked_dirs[path] = descriptor
            return path
        os.close(descriptor)  # another export took it for stale before it was locked, and removed it


def _make(folder: Path) -> None:
    """Makes a folder, where other exports may remove those above it as soon as these are empty.

    Raises:
        OSError: it cannot be made, and that is not because another export removed a folder above it just now.
    """
    before = None
    while not folder.is_dir():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:
            above = _seen(Path(error.filename).parent)
            if above is not None and above == before:
                raise  # the folder above has been there all the time; such are those of /proc
            before = above
        except FileExistsError as error:
            try:
                if not stat.S_ISDIR(os.stat(error.filename).st_mode):
                    raise
            except FileNotFoundError:  # gone by now, or a link that leads nowhere
                if os.path.islink(error.filename):
                    raise error from None


def _seen(folder: Path) -> tuple[int, ...] | None:
    """What tells a folder, as it is now, from another one of its name; None when there is none."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether what is open still has the name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def remove_work_dir(path: Path) -> None:
    """Removes a folder of this process, with what is left in it."""
    shutil.rmtree(path, ignore_errors=True)
    descriptor = _locked_dirs.pop(path, None)
    if descriptor is not None:
        os.close(descriptor)
    remove_if_empty(path.parent)


def remove_work_dirs(root: Path, run_id: str) -> None:
    """Removes the folders of this process for a run."""
    for path in [
        path for path in _locked_dirs if path.parent == root and path.name.startswith(f"{folder_name(run_id)}.")
    ]:
        remove_work_dir(path)


def remove_stale(root: Path, run_id: str | None) -> None:
    """Removes what exports of the run that were killed have left below a root: folders that no process has locked.

    Args:
        root: as for `make_work_dir`.
        run_id: the run.
    """
    prefix = f"{_label(run_id)}."
    try:
        paths = list(root.iterdir())
    except FileNotFoundError:
        return
    for path in paths:
        owner = path.name.removeprefix(prefix)
        if path in _locked_dirs or not path.name.startswith(prefix) or "." in owner or not path.is_dir():
            continue
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # its owner removed it just now
            continue
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
        PackageError: another process has locked it.
    """
    path = staging_root(export_dir) / f"{folder_name(run_id)}.lock"
    if path in _run_locks:
        yield
        return
    descriptor = _lock(path, run_id, export_dir)
    _run_locks.add(path)
    try:
        yield
    finally:
        _run_locks.discard(path)
        with suppress(OSError):  # without a process that has locked it, the file does no harm
            path.unlink()
        os.close(descriptor)
        remove_if_empty(path.parent)


def _lock(path: Path, run_id: str, export_dir: Path) -> int:
    while True:
        _make(path.parent)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # the folder was removed just now
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise PackageError(
                f"Another export of run {run_id!r} into {export_dir} is under way. Wait until it has ended, and look "
                f"at its result."
            ) from None
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # the one before removed it as it let go


def remove_if_empty(folder: Path) -> None:
    """Removes a folder that nothing is in any more."""
    with suppress(OSError):
        folder.rmdir()
