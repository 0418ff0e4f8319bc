"""run_ids as folder and file names, and back.

Belongs here: the one mapping between the two (docs/package.md, «Folder name»), and where the file of an asset and a run
is kept. A run_id is data and may be any text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from ..errors import ExportError

_LONGEST = 200
_KEPT = 120
_CUT = "%~"
_EMPTY = "%"


def folder_name(run_id: str) -> str:
    """The one name of a run's folder.

    Args:
        run_id: any text.

    Returns:
        A name of at most 200 bytes of ASCII, without `/`, not beginning with a dot; different for every run_id.

    Raises:
        ExportError: the run_id is no text.
    """
    if not run_id:
        return _EMPTY
    try:
        name = quote(run_id, safe="-_.~")
    except UnicodeEncodeError:
        raise ExportError(f"The run_id {run_id!r} is no text: it has no UTF-8 form.") from None
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) <= _LONGEST:
        return name
    kept = name[:_KEPT]
    if "%" in kept[-2:]:
        kept = kept[: kept.rindex("%")]
    return kept + _CUT + hashlib.sha256(run_id.encode()).hexdigest()


def run_id_of(name: str) -> str | None:
    """The run_id that a folder name stands for.

    Args:
        name: what `folder_name` gave.

    Returns:
        The run_id; None for a name that was cut, whose run_id only the manifest inside the folder tells.
    """
    if name == _EMPTY:
        return ""
    if _CUT in name:
        return None
    return unquote(name, errors="strict")


def stored_file(storage: Path, asset: Sequence[str], run_id: str, extension: str) -> Path:
    """The one file in which what an asset made of a run is kept; its folder is made.

    Args:
        storage: the storage folder.
        asset: the components of the asset's key.
        run_id: the run.
        extension: of the file's name, without a dot.

    Raises:
        OSError: the folder cannot be made.
    """
    path = storage.joinpath(*asset) / f"{folder_name(run_id)}.{extension}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def unfinished_file(path: Path) -> Path:
    """Where a stored file is written before it takes its place; what a killed step left there is removed."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    return unfinished
