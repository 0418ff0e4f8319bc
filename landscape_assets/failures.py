"""What went wrong, in one sentence for the reader.

Belongs here: the sentence for any exception that ends an export. Does not belong here: the errors that are sentences
already (`errors.py`), and what Dagster makes of them (`dagster_defs/failures.py`).
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from .errors import NO_MEMORY, ExportError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explain(error: Exception, secret: str | None = None) -> str:
    """What went wrong, where, and what to do.

    Args:
        error: what was raised.
        secret: the signing key, which no message may hold.
    """
    if isinstance(error, ExportError):
        return str(error)
    if isinstance(error, MemoryError):  # Arrow's, too
        return NO_MEMORY
    if isinstance(error, OSError):
        return _explain_os_error(error)
    return _explain_unexpected(error, secret)


def _explain_os_error(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    reason = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        return (
            f"There is no room left to write{where}: {reason}. Nothing is published. Free some space, or point "
            f"LANDSCAPE_EXPORT_DIR, LANDSCAPE_STORAGE_DIR or LANDSCAPE_SCRATCH_DIR to a larger disk, and export again."
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"Too many files are open{where}. Nothing is published. Raise the limit (ulimit -n), and export again."
    if error.errno == errno.ENOMEM:
        return NO_MEMORY
    return f"The file system refused{where}: {reason}. Nothing is published. Fix this, and export again."


def _explain_unexpected(error: Exception, secret: str | None) -> str:
    """What went wrong that was not expected, and where in this package."""
    package = Path(__file__).parent
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(package) and path.name != "failures.py":
            where = f" ({path.relative_to(package.parent)}, line {frame.lineno})"
    message = type(error).__name__ if holds_secret(error, secret) else f"{type(error).__name__}: {error}"
    sentence = " ".join(message.split()).rstrip(".")
    return f"Unexpected error: {sentence}{where}. Trying again will not help; please report this bug."


def holds_secret(error: BaseException, secret: str | None) -> bool:
    """Whether the text of an error, or of one that led to it, holds the signing key."""
    shown = "".join(traceback.format_exception(error))
    return secret is not None and any(text in shown for text in (secret, repr(secret)[1:-1]))
