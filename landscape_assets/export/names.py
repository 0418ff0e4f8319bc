"""run_ids as folder and file names, and back.

Belongs here: the one mapping between the two (docs/package.md, «Folder name»). A run_id is data and may be any text.
"""

from __future__ import annotations

import hashlib
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
