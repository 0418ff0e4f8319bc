"""The page of one run, its key figures, and its digest.

Belongs here: making these of the figures; the template engine. The template (`templates/report.html`) holds the markup.
Does not belong here: what is shown (`view.py`, `pipeline_view.py`), and drawing (`pictures.py`).
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from . import text
from .statistics import Statistics
from .summary import Summary
from .view import View

MAX_BYTES = 2_000_000
"""The most bytes that a page has; the limits of `view.py` keep it smaller, whatever the run holds (a test shows it)."""

_NAME = 60
"""Characters shown of an id or a name."""

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of the package, for the list on the page."""

    path: str
    size: int
    records: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the export besides the records.

    Args:
        run_id: the run.
        contract: the contract's name; None when the records alone are known.
        final_hash: what the records chain to; None when unknown.
        key_id: the id of the key of the signatures; None for an unsigned export.
        public_key_id: the id of the key of manifest.json.sig, if there is one.
        files: the files with records.
        exported_at: when, as in the manifest; None when unknown.
        version: of the exporter.
        is_listed: whether the page is a file of the package, listed in the manifest.
    """

    run_id: str
    contract: str | None
    final_hash: str | None
    key_id: str | None
    public_key_id: str | None
    files: Sequence[ListedFile]
    exported_at: str | None
    version: str
    is_listed: bool


@cache
def environment() -> jinja2.Environment:
    """The template engine: everything that is not markup of a template is escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        visible=text.visible, whole=text.whole, duration=text.duration, moment=text.moment, size=text.size
    )
    return made


def asset(name: str) -> tuple[Markup, str]:
    """A stylesheet or script that is put into a page, and its hash for the Content-Security-Policy."""
    content = TEMPLATES.joinpath(name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return Markup(content), f"'sha256-{digest}'"


def render(statistics: Statistics, facts: Facts) -> bytes:
    """The page of a run.

    Args:
        statistics: the figures.
        facts: what is known of the export.

    Returns:
        HTML; the same bytes for the same arguments.
    """
    style, style_hash = asset("report.css")
    view = View(statistics)
    page = environment().get_template("report.html")
    made: str = page.render(
        v=view, s=statistics, figures=key_figures(statistics), facts=facts, style=style, style_hash=style_hash
    )
    return made.encode()


def key_figures(statistics: Statistics) -> dict[str, float]:
    """The figures that runs are compared by; what is not known is left out."""
    view = Summary(statistics)
    found: dict[str, float] = {
        "rows": view.rows,
        "failures": view.failure_count,
        "error_rate": view.failed_states / view.state_count if view.state_count else 0.0,
        "calls": view.call_count,
    }
    if view.duration_ms is not None:
        found["duration_seconds"] = view.duration_ms / 1000
    return found


def figures_in(head: bytes) -> dict[str, float]:
    """The key figures that stand at the beginning of a page; those that are not numbers are left out."""
    found: dict[str, float] = {}
    for name, value in re.findall(rb'<meta name="landscape-([a-z_]+)" content="([0-9.e+-]{1,40})">', head):
        with suppress(ValueError):
            number = float(value)
            if math.isfinite(number):
                found[name.decode()] = int(value) if value.isdigit() else number
    return found


def digest(statistics: Statistics) -> str:
    """The report in a few lines of Markdown."""
    view = View(statistics)
    lines = [_markdown(view.sentence), "", "| figure | value |", "|---|---:|"]
    lines += [f"| {_markdown(name)} | {_markdown(value)} |" for name, value, _ in view.headline]
    if view.outcomes:
        lines += ["", "| outcome | tokens |", "|---|---:|"]
        lines += [f"| {_markdown(row['name'])} | {row['count']:,} |" for row in view.outcomes[:20]]
    if view.failures:
        lines += ["", "| where | kind of error | failures |", "|---|---|---:|"]
        lines += [
            f"| {_markdown(text.visible(row['where'], _NAME))} | {_markdown(text.visible(row['kind'], _NAME))} "
            f"| {row['count']:,} |"
            for row in view.failures[:5]
        ]
    return "\n".join(lines)


def _markdown(given: str) -> str:
    """Text in which nothing is markup."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", given)
