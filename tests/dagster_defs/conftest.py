"""Fixtures for what is operated through Dagster."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from support.exporter import KEY
from support.operator import Operator


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    return tmp_path / "dagster_exports"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance of the test's own, which keeps its records in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def operate(instance: dg.DagsterInstance, sample: Path, exports: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """The sample's audit database, and that instance."""
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", f"sqlite:///{sample}")
    monkeypatch.setenv("LANDSCAPE_EXPORT_DIR", str(exports))
    monkeypatch.setenv("LANDSCAPE_SIGNING_KEY", KEY)
    return Operator(instance, exports)
