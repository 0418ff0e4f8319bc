"""Errors as a person meets them on a run's page: one message, and whether trying again can help.

Belongs here: the change from the project's errors to Dagster failures. Does not belong here: the messages themselves.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ..errors import DatabaseError, ExportError

RETRIES = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For steps that read the audit database: only a locked or unreachable one is tried again."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def explained() -> Iterator[None]:
    """Within it, what goes wrong for a reason that a person can act on fails the step with that reason alone."""
    try:
        yield
    except ExportError as error:
        transient = isinstance(error, DatabaseError) and error.transient
        raise dg.Failure(str(error), allow_retries=transient) from None
    except OSError as error:
        raise dg.Failure(explain_os_error(error), allow_retries=False) from None


def explain_os_error(error: OSError) -> str:
    """What the file system said, where, and what to do."""
    where = f" ({error.filename})" if error.filename else ""
    reason = error.strerror or str(error)
    if error.errno in _NO_ROOM:
        return (
            f"There is no room left to write{where}: {reason}. Nothing is published. Free some space, or point "
            f"LANDSCAPE_EXPORT_DIR, LANDSCAPE_STORAGE_DIR or LANDSCAPE_SCRATCH_DIR to a larger disk, and export again."
        )
    return f"The file system refused{where}: {reason}. Nothing is published. Mend it, and export again."
