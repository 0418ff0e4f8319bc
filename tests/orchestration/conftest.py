"""Fixtures for what is operated through Dagster."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from support.exporter import KEY
from support.operator import Operator


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    return tmp_path / "exports"


@pytest.fixture
def operate(sample: Path, exports: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """The sample's audit database, and an instance of its own."""
    monkeypatch.setenv("LANDSCAPE_DATABASE_URL", f"sqlite:///{sample}")
    monkeypatch.setenv("LANDSCAPE_EXPORT_DIR", str(exports))
    monkeypatch.setenv("LANDSCAPE_SIGNING_KEY", KEY)
    with dg.instance_for_test() as instance:
        yield Operator(instance, exports)
