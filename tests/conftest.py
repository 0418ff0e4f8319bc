"""Fixtures that several rooms of tests use.

Belongs here: databases and the exporter, fresh for each test. Does not belong here: helpers without a life of their own
(`support/`).
"""

import os
import shutil
from pathlib import Path

import hypothesis
import pytest
from support.exporter import Exporter

from landscape_assets.sample import write_sample

hypothesis.settings.register_profile("landscape", deadline=None, print_blob=True)
hypothesis.settings.load_profile("landscape")

CONFORMANCE = Path(__file__).parent / "data" / "conformance"


def pytest_configure(config: pytest.Config) -> None:
    """Whoever runs the tests may have settings of the product in the environment; no test may take them up."""
    for name in list(os.environ):
        if name.startswith("LANDSCAPE_") or name == "DAGSTER_HOME":
            del os.environ[name]


@pytest.fixture(scope="session")
def sample_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample audit database; not to be changed."""
    path = tmp_path_factory.mktemp("sample") / "landscape.db"
    write_sample(path)
    return path


@pytest.fixture
def sample(sample_file: Path, tmp_path: Path) -> Path:
    """A copy of the sample audit database."""
    return Path(shutil.copy(sample_file, tmp_path / "landscape.db"))


@pytest.fixture
def s12(tmp_path: Path) -> Path:
    """A copy of a conformance database with hard values."""
    return Path(shutil.copy(CONFORMANCE / "s12.db", tmp_path / "s12.db"))


@pytest.fixture
def exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exporter:
    """The command line, in a working folder without a sample."""
    monkeypatch.chdir(tmp_path)
    return Exporter(tmp_path)
