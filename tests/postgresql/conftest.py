"""Fixtures of the tests on PostgreSQL: the server, and audit databases on it.

Belongs here: what several of these tests need. Does not belong here: the server and the copy themselves (`server.py`,
`copying.py`).
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.copying import copy_landscape
from support.server import Audit, Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server with passwords, a collation that is not byte order, and nothing in it."""
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
def audit(sample_copy: Audit) -> Audit:
    """A copy of the sample audit database on the server, without NOT NULL."""
    return Audit(sample_copy.server, sample_copy.server.new_database(sample_copy.name))
