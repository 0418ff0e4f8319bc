"""Fixtures that several rooms of tests use.

Belongs here: databases, on SQLite and on PostgreSQL, and the exporter, fresh for each test. Does not belong here:
helpers without a life of their own (`support/`).
"""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from support.copying import copy_landscape, refill
from support.databases import AuditFile, empty_database, fill
from support.exporter import Exporter
from support.sample_v1 import write_sample
from support.server import Audit, Server

hypothesis.settings.register_profile("landscape", deadline=None, print_blob=True)
hypothesis.settings.load_profile("landscape")

CONFORMANCE = Path(__file__).parent / "data" / "conformance"


def pytest_configure(config: pytest.Config) -> None:
    """Whoever runs the tests may have settings of the product in the environment; no test may take them up."""
    for name in list(os.environ):
        if name.startswith("LANDSCAPE_") or name == "DAGSTER_HOME":
            del os.environ[name]


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end: the garbage collection that would go through it again and again, hundreds
    of thousands of objects of Dagster, SQLAlchemy and the tests, takes a third of the time of an export by Dagster."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server with passwords, a collation that is not byte order, and nothing in it."""
    server = Server()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def copied(server: Server) -> Callable[..., Audit]:
    """Copies a SQLite audit database to the server."""

    def copy(path: Path, **options: object) -> Audit:
        audit = Audit(server, server.new_database())
        with server.admin(audit.name) as connection:
            copy_landscape(path, connection, **options)
        return audit

    return copy


@pytest.fixture(scope="session")
def sample_copy(copied: Callable[..., Audit], sample_file: Path) -> Audit:
    """The sample audit database on the server; not to be changed."""
    return copied(sample_file, nullable=True)


@pytest.fixture
def audit(sample_copy: Audit) -> Iterator[Audit]:
    """A copy of the sample audit database on the server, without NOT NULL."""
    audit = Audit(sample_copy.server, sample_copy.server.new_database(sample_copy.name))
    yield audit
    audit.server.drop_database(audit.name)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Where the audit database of a test is that is about exports, and not about the one or the other: both, in turn.
    The server is started for none but its tests."""
    return request.param


@pytest.fixture(scope="module")
def filled(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[dict[str, list[dict[str, Any]]]], str]:
    """Fills a database without constraints, on SQLite and on PostgreSQL, with rows in place of those that it had; gives
    its URL."""
    path = tmp_path_factory.mktemp("filled") / "landscape.db"
    if kind == "sqlite":

        def refill_file(tables: dict[str, list[dict[str, Any]]]) -> str:
            fill(path, tables)
            return AuditFile(path).url

        return refill_file
    empty_database(path)
    audit = request.getfixturevalue("copied")(path, free=True)

    def refill_copy(tables: dict[str, list[dict[str, Any]]]) -> str:
        with audit.server.admin(audit.name) as connection:
            refill(connection, tables)
        return audit.url

    return refill_copy


@pytest.fixture(scope="module")
def sample_database(kind: str, request: pytest.FixtureRequest) -> AuditFile | Audit:
    """The sample audit database, on SQLite and on PostgreSQL; not to be changed."""
    if kind == "sqlite":
        return AuditFile(request.getfixturevalue("sample_file"))
    return request.getfixturevalue("sample_copy")


@pytest.fixture
def database(kind: str, request: pytest.FixtureRequest) -> AuditFile | Audit:
    """A copy of the sample audit database, on SQLite and on PostgreSQL."""
    if kind == "sqlite":
        return AuditFile(request.getfixturevalue("sample"))
    return request.getfixturevalue("audit")
