"""Errors as a person meets them on a run's page: one message, and whether trying again can help.

Belongs here: the change from exceptions to Dagster failures. Does not belong here: the messages themselves
(`../failures.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from ..errors import DatabaseError, ExportError
from ..failures import explain, holds_secret
from ..settings import Settings

RETRIES = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For steps that read the audit database: only a locked or unreachable one is tried again."""


_NAMED = 20


@contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Within it, an expected error fails the step with its message alone. An unexpected one fails it with what it is
    and where, and keeps
    the traceback as the cause."""
    try:
        yield
    except (dg.Failure, dg.RetryRequested):
        raise
    except (ExportError, OSError) as error:
        transient = isinstance(error, DatabaseError) and error.transient
        raise dg.Failure(explain(error), allow_retries=transient) from None
    except Exception as error:
        secret = _secret(settings)
        cause = None if holds_secret(error, secret) else error
        raise dg.Failure(explain(error, secret), allow_retries=False) from cause


def named(reasons: Mapping[str, str], what: str) -> str:
    """A message about some runs: how many, and the first of them with their reasons.

    Args:
        reasons: run_id → what is wrong.
        what: what they have in common, as the end of a sentence.
    """
    lines = [f"{run_id}: {reason}" for run_id, reason in list(reasons.items())[:_NAMED]]
    more = [f"and {len(reasons) - _NAMED} more"] if len(reasons) > _NAMED else []
    return "\n".join([f"{len(reasons):,} {what}.", *lines, *more])


def _secret(settings: Settings) -> str | None:
    try:
        key = settings.key
    except ExportError:
        return None
    return None if key is None else key.secret
