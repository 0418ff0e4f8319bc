"""The page of all packages of an export folder.

Belongs here: what that page shows. Does not belong here: looking at packages and databases (`reporting.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .page import asset, environment


@dataclass(frozen=True, slots=True)
class Entry:
    """A run.

    Args:
        run_id: the run.
        status, started_at, completed_at: of the run, as in its record.
        folder: of its package, as the way to it from the page (a path of a URL); None when it has no package.
        report: the way to its report; None when it has none.
        rows, failures: of the run; None where nothing tells.
        exported_at: when its package was made.
        problem: why nothing is known of its package, or why it has none.
        verified_at, verdict: when the package was verified, and with what result; None when it was not.
        is_sound: whether that result is a good one.
    """

    run_id: str
    status: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    folder: str | None = None
    report: str | None = None
    rows: int | None = None
    failures: int | None = None
    exported_at: str | None = None
    problem: str | None = None
    verified_at: str | None = None
    verdict: str | None = None
    is_sound: bool = True


def render_overview(packages: Sequence[Entry], without: Sequence[Entry] | None, made_at: str, version: str) -> bytes:
    """The page.

    Args:
        packages: the runs with a package, in the order in which they are shown.
        without: the runs of the audit database that have none; None when no database was given.
        made_at: the time of the page.
        version: of the exporter.
    """
    style, style_hash = asset("report.css")
    script, script_hash = asset("overview.js")
    page = environment().get_template("overview.html")
    made: str = page.render(
        packages=packages,
        without=without,
        made_at=made_at,
        version=version,
        style=style,
        style_hash=style_hash,
        script=script,
        script_hash=script_hash,
    )
    return made.encode()
