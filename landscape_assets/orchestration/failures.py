"""Errors as a person meets them on a run's page: one message, and whether trying again can help.

Belongs here: the change from the project's errors to Dagster failures. Does not belong here: the messages themselves.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from ..errors import NO_MEMORY, DatabaseError, ExportError
from . import settings

RETRIES = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For steps that read the audit database: only a locked or unreachable one is tried again."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def explained() -> Iterator[None]:
    """Within it, what goes wrong for a reason that a person can act on fails the step with that reason alone. What goes
    wrong for any other fails it with what it is and where, and keeps the traceback as the cause."""
    try:
        yield
    except ExportError as error:
        transient = isinstance(error, DatabaseError) and error.transient
        raise dg.Failure(str(error), allow_retries=transient) from None
    except OSError as error:
        raise dg.Failure(explain_os_error(error), allow_retries=False) from None
    except (dg.Failure, dg.RetryRequested):
        raise
    except Exception as error:
        cause = None if _holds_key(error) else error
        raise dg.Failure(explain_unforeseen(error), allow_retries=False) from cause


def explain_unforeseen(error: Exception) -> str:
    """What went wrong for no reason that is known here, and where in this package: for the maintainer."""
    if isinstance(error, MemoryError):
        return NO_MEMORY
    package = Path(__file__).parent.parent
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(package) and path != Path(__file__):
            where = f" ({path.relative_to(package.parent)}, line {frame.lineno})"
    said = type(error).__name__ if _holds_key(error) else f"{type(error).__name__}: {error}"
    return (
        f"An error that was not foreseen: {' '.join(said.split()).rstrip('.')}{where}. It would come again; report it "
        f"to whoever looks after this program."
    )


def _holds_key(error: BaseException) -> bool:
    """Whether the text of an error, or of one that led to it, holds the signing key."""
    try:
        key = settings.signing_key()
    except ExportError:
        return False
    shown = "".join(traceback.format_exception(error))
    return key is not None and any(text in shown for text in (key.secret, repr(key.secret)[1:-1]))


def explain_os_error(error: OSError) -> str:
    """What the file system said, where, and what to do."""
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
    return f"The file system refused{where}: {reason}. Nothing is published. Fix it, and export again."
