"""Fixtures for the verifier's tests: the small package, freshly written.

Belongs here: what several test modules need. Does not belong here: tests.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from landscape_assets.verify import Report, verify_package

from . import build
from .small import small_run


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A sound, signed package with records and CSV files."""
    return build.build(tmp_path, small_run())


@pytest.fixture
def codes() -> Callable[..., set[str]]:
    """Verify with the right key, make sure that the verdict is bad, and give the codes found."""

    def found(folder: Path, **options: object) -> set[str]:
        report: Report = verify_package(folder, **{"key": build.KEY, **options})
        assert report.status not in (0, 10), report.to_text()
        return {finding.code for finding in report.findings}

    return found
