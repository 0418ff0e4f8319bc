"""Fixtures of the tests on PostgreSQL: the server, and audit databases on it.

Belongs here: what several of these tests need. Does not belong here: the server and the copy themselves (`server.py`,
`copying.py`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.copying import copy_landscape
from support.server import Server


@dataclass(frozen=True)
class Audit:
    """An audit database on the server."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        return self.url_for()

    def url_for(self, role: str = "postgres", **query: str) -> str:
        """The URL for a role, with libpq parameters in the query."""
        return self.server.url(self.name, role, **query).render_as_string(hide_password=False)

    def execute(self, *statements: str) -> list[tuple]:
        """Executes statements with every right, each committed; the rows of the last."""
        with self.server.admin(self.name) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


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
