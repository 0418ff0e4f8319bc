"""What goes wrong with a server, a role or a statement: the message, no package, and whether it is tried again.

Belongs here: each failure on purpose, by the server's own means. Does not belong here: corrupt values
(`test_values.py`)."""

import json
import logging
import threading
import time
from urllib.parse import quote

import dagster as dg
import psycopg
import pytest
from support.copying import copy_landscape
from support.exporter import KEY, Exporter
from support.pipeline import rows_of
from support.sample_v1 import COMPLETED_RUN
from support.server import PASSWORD, Audit, Server

from landscape_assets.dagster_defs.build import build_defs
from landscape_assets.dagster_defs.jobs import EXPORT_RUN
from landscape_assets.dagster_defs.partitions import register
from landscape_assets.database import AuditDatabase
from landscape_assets.errors import DatabaseError

SECRETS = (PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), PASSWORD.replace("\\", "\\\\"), "%41?&", "ss@w")


def failure(url: str) -> DatabaseError:
    """What reading the completed run from the database fails with."""
    with pytest.raises(DatabaseError) as failed, AuditDatabase(url) as database:
        database.finished_run(COMPLETED_RUN)
        for name in database.contract.tables:
            for _ in rows_of(database, name, COMPLETED_RUN):
                pass
    require_no_secret(str(failed.value))
    assert failed.value.__cause__ is None or failed.value.__suppress_context__
    return failed.value


def require_no_secret(*texts: str) -> None:
    for text in texts:
        assert not [secret for secret in SECRETS if secret in text]


def refused(exporter: Exporter, url: str) -> str:
    """The message with which exporting the completed run fails, leaving nothing; no secret is in anything that is
    said."""
    result = exporter.export(url, f"--run-id={COMPLETED_RUN}", "--json")
    assert result.exit_code != 0
    require_no_secret(result.stdout, result.stderr, result.output)
    assert not list(exporter.output.glob("[!.]*"))
    try:
        (outcome,) = json.loads(result.stdout)
        return outcome["error"]
    except ValueError:
        return result.stderr


def reader(audit: Audit) -> str:
    """A role that may read every table."""
    role = audit.server.new_role()
    audit.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    return role


def slow(audit: Audit, table: str, seconds: float) -> None:
    """Makes a table one that takes so long to read."""
    audit.execute(
        f"ALTER TABLE {table} RENAME TO {table}_kept",
        f"CREATE VIEW {table} AS SELECT t.* FROM (SELECT pg_sleep({seconds})) AS s, {table}_kept AS t",
    )


def terminate(audit: Audit, reading: str) -> threading.Thread:
    """Cuts the export's connection once, as soon as it reads a table."""

    def watch() -> None:
        with audit.server.admin(audit.name) as connection:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                if connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'landscape_assets' AND state = 'active' AND query LIKE %s",
                    [f"%FROM {reading} AS t%"],
                ).fetchall():
                    return
                time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_wrong_password(sample_copy, exporter):
    """Refused, and not tried again."""
    url = sample_copy.server.url(sample_copy.name, password=PASSWORD + "x").render_as_string(hide_password=False)
    error = failure(url)
    assert not error.transient
    assert "cannot be opened: " in str(error) and "password authentication failed" in str(error)
    assert "check user, password" in str(error)
    assert "password authentication failed" in refused(exporter, url)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"database": "nowhere"}, 'database "nowhere" does not exist; check the database\'s name in the URL'),
        ({"query": {"nonsense": "1"}}, 'invalid connection option "nonsense"; check the database URL'),
        (
            {"query": {"sslmode": "require"}},
            "server does not support SSL, but SSL was required; check sslmode in the URL",
        ),
        ({"query": {"options": "-c nonsense"}}, "check the database URL"),
        ({"query": {"host": "a,b", "port": "1,2,3"}}, "Hosts and ports in the database URL do not go together"),
        ({"query": {"service": "nix"}}, 'definition of service "nix" not found; check the service in the URL'),
        ({"query": {"host": "a,b@c"}}, "write %40 for it"),
    ],
)
def test_a_wrong_url(sample_copy, change, said):
    """What is wrong is said without the URL; trying again would not help."""
    error = failure(sample_copy.server.url(sample_copy.name).set(**change).render_as_string(hide_password=False))
    assert said in str(error)
    assert not error.transient


@pytest.mark.parametrize(
    "password",
    ["geheim@wort", "geheim@@", "geheim@wo/rt", "geheim@wo:rt", "@wort", "geheim@wo?rt"],
)
def test_a_password_with_an_at_sign_that_is_not_encoded(exporter, password):
    """No part of it is repeated, and the sentence says how to write it."""
    with pytest.raises(DatabaseError) as failed:
        AuditDatabase(f"postgresql+psycopg://postgres:{password}@127.0.0.1:5/db")
    assert not failed.value.transient
    said = refused(exporter, f"postgresql+psycopg://postgres:{password}@127.0.0.1:5/db")
    assert "%40" in said or "is not a SQLAlchemy URL" in said
    for text in (said, str(failed.value)):
        assert not [part for part in ("geheim", "wort", "wo/", "rt@", "127.0.0.1") if part in text]


@pytest.mark.parametrize("word", ["geheimeswort", "ge'hei\\m", "pä ss@w"])
def test_a_secret_that_the_server_repeats_is_masked(sample_copy, exporter, word):
    """The server names the user, which somebody made the password too."""
    url = sample_copy.server.url(sample_copy.name, word, word).render_as_string(hide_password=False)
    error = failure(url)
    assert 'password authentication failed for user "***"' in str(error)
    assert word not in str(error)
    assert word not in refused(exporter, url)


def test_a_secret_in_a_parameter_is_masked(sample_copy):
    """Of the client key, in what the server says of another parameter."""
    query = {"options": "-c geheimeswort=1", "sslpassword": "geheimeswort"}
    error = failure(sample_copy.server.url(sample_copy.name, **query).render_as_string(hide_password=False))
    assert 'unrecognized configuration parameter "***"' in str(error)
    assert "geheimeswort" not in str(error)


@pytest.mark.parametrize("change", [{"port": 1}, {"host": "no-such-host.invalid"}])
def test_a_server_that_is_not_there(sample_copy, change):
    """May come up: worth trying again."""
    error = failure(sample_copy.server.url(sample_copy.name).set(**change).render_as_string(hide_password=False))
    assert error.transient
    assert "check that the server is up and can be reached, and try again" in str(error)


@pytest.mark.parametrize(
    "drivername", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"]
)
def test_any_driver_in_the_url_is_taken(sample_copy, drivername):
    """ELSPETH's own URL can be used as it is."""
    url = sample_copy.server.url(sample_copy.name).set(drivername=drivername).render_as_string(hide_password=False)
    with AuditDatabase(url) as database:
        assert COMPLETED_RUN in database.runs
        require_no_secret(database.shown)
        assert database.shown == f"postgresql://127.0.0.1:{sample_copy.server.port}/{sample_copy.name}"


def test_a_socket_and_query_parameters(sample_copy):
    """Host and password may be query parameters of libpq."""
    server = sample_copy.server
    with AuditDatabase(
        f"postgresql://postgres@/{sample_copy.name}?host={server.socket_folder}&port={server.port}"
    ) as database:
        assert COMPLETED_RUN in database.runs
    by_query = (
        f"postgresql://127.0.0.1:{server.port}/{sample_copy.name}?user=postgres&password={quote(PASSWORD, safe='')}"
    )
    with AuditDatabase(by_query) as database:
        assert COMPLETED_RUN in database.runs
    assert "password authentication failed" in str(failure(by_query + "x"))


def test_too_many_connections(audit):
    """May pass."""
    role = reader(audit)
    audit.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
    error = failure(audit.url_for(role))
    assert error.transient
    assert "too many connections for role" in str(error)


def test_a_missing_privilege_names_the_table(audit, exporter):
    """One table without SELECT: the message says which, and what to grant; nothing is published or tried again."""
    role = reader(audit)
    audit.execute(f"REVOKE SELECT ON routing_events FROM {role}")
    error = failure(audit.url_for(role))
    assert not error.transient
    assert "Table routing_events of the audit database postgresql://127.0.0.1" in str(error)
    assert "permission denied for table routing_events; grant the role SELECT" in str(error)
    assert refused(exporter, audit.url_for(role)) == str(error)
    result = run_job(exporter, audit.url_for(role))
    assert not result.success
    assert [event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"] == []


def test_a_missing_table_names_it(audit, exporter):
    """Dropped before the export, or while it is at work."""
    audit.execute("ALTER TABLE calls RENAME TO elsewhere")
    assert "it lacks the table calls" in refused(exporter, audit.url)
    audit.execute("ALTER TABLE elsewhere RENAME TO calls")
    with AuditDatabase(audit.url) as database:
        audit.execute("DROP TABLE calls")
        with pytest.raises(DatabaseError, match=r'Table calls .* relation "calls" does not exist') as failed:
            next(rows_of(database, "calls", COMPLETED_RUN))
        assert not failed.value.transient


@pytest.mark.parametrize("by", ["role", "url"])
def test_a_statement_time_out_says_which_setting(audit, exporter, by):
    """It is not tried again: the next time takes as long."""
    role = reader(audit)
    slow(audit, "calls", 5)
    audit.execute(f"GRANT SELECT ON calls TO {role}")
    url = audit.url_for(role, **({"options": "-c statement_timeout=1s"} if by == "url" else {}))
    if by == "role":
        audit.execute(f"ALTER ROLE {role} SET statement_timeout = '1s'")
    said = refused(exporter, url)
    assert "Table calls of the audit database" in said
    assert "canceling statement due to statement timeout; the setting statement_timeout bounds each statement" in said


def test_a_time_out_that_no_statement_keeps(sample_copy):
    """The first statement of the session meets it, and it is the setting that is said, not the server."""
    url = sample_copy.server.url(sample_copy.name, options="-c statement_timeout=1")
    for _ in range(20):  # a fast server may keep it a few times
        try:
            AuditDatabase(url.render_as_string(hide_password=False)).close()
        except DatabaseError as error:
            assert "statement timeout; the setting statement_timeout bounds each statement" in str(error)
            assert not error.transient
            return
    pytest.skip("the server keeps it")


def test_a_time_out_in_the_middle_of_a_table(audit):
    """Rows have come already: the table is not taken for whole."""
    audit.execute(
        "ALTER TABLE calls RENAME TO kept",
        "CREATE VIEW calls AS SELECT k.* FROM kept AS k, generate_series(1, 20000)",
    )
    with AuditDatabase(audit.url_for(options="-c statement_timeout=1500ms")) as database:
        batches = rows_of(database, "calls", COMPLETED_RUN)
        next(batches)
        time.sleep(1.6)
        with pytest.raises(DatabaseError, match="statement timeout; the setting statement_timeout") as failed:
            for _ in batches:
                pass
        assert not failed.value.transient


def test_a_locked_table_is_waited_for_a_while(audit):
    """A lock that is not released: worth trying again."""
    with psycopg.connect(
        host=str(audit.server.socket_folder), port=audit.server.port, user="postgres", dbname=audit.name
    ) as other:
        other.execute("LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE")
        error = failure(audit.url_for(options="-c lock_timeout=100ms"))
    assert error.transient
    assert "Table tokens" in str(error) and "canceling statement due to lock timeout; try again" in str(error)


def test_a_connection_that_is_cut_in_the_middle_of_a_table(audit):
    """The rows that came are not taken for all of them."""
    audit.execute(
        "ALTER TABLE calls RENAME TO kept",
        "CREATE VIEW calls AS SELECT k.* FROM kept AS k, generate_series(1, 20000)",
    )
    with AuditDatabase(audit.url) as database:
        batches = rows_of(database, "calls", COMPLETED_RUN)
        next(batches)
        audit.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'landscape_assets'"
        )
        with pytest.raises(DatabaseError, match=r"Table calls .* the connection was lost; try again") as failed:
            for _ in batches:
                pass
        assert failed.value.transient


def test_a_lost_connection_is_tried_again(audit, exporter, caplog):
    """All tables are loaded again, by a new connection, within the step."""
    slow(audit, "calls", 1)
    caplog.set_level(logging.DEBUG)
    watcher = terminate(audit, "calls")
    result = run_job(exporter, audit.url)
    watcher.join()
    assert result.success
    assert [event for event in result.all_events if event.event_type_value == "STEP_RESTARTED"] == []
    package = exporter.output / COMPLETED_RUN
    assert (package / "manifest.json").is_file()
    require_no_secret(
        *(str(event) for event in result.all_events), caplog.text, (package / "manifest.json").read_text("utf-8")
    )


def test_a_server_that_goes_away_and_comes_back(sample_file, exporter):
    """In the middle of a table, for good as far as the export can see: it is tried three times more, and fails saying
    so."""
    server = Server()
    try:
        audit = Audit(server, server.new_database())
        with server.admin(audit.name) as connection:
            copy_landscape(sample_file, connection)
        with AuditDatabase(audit.url) as database:
            batches = rows_of(database, "runs", COMPLETED_RUN)
            server.stop()
            with pytest.raises(DatabaseError, match="the connection was lost; try again") as failed:
                list(batches)
            assert failed.value.transient
        said = refused(exporter, audit.url)
        assert "cannot be opened" in said and "Connection refused" in said
        result = run_job(exporter, audit.url)
        assert not result.success
        assert [event.step_key for event in result.all_events if event.event_type_value == "STEP_RESTARTED"] == [
            "landscape__tables"
        ] * 3
        require_no_secret(*(str(event) for event in result.all_events))
        server.start()
        ended = exporter.export(audit.url, f"--run-id={COMPLETED_RUN}")
        assert ended.exit_code == 0, ended.output
    finally:
        server.remove()


def run_job(exporter: Exporter, url: str) -> dg.ExecuteInProcessResult:
    """The job as Dagster runs it."""
    settings = {
        "LANDSCAPE_DATABASE_URL": url,
        "LANDSCAPE_EXPORT_DIR": str(exporter.output),
        "LANDSCAPE_STORAGE_DIR": str(exporter.folder / "storage"),
        "LANDSCAPE_SIGNING_KEY": KEY,
    }
    with pytest.MonkeyPatch.context() as environment, dg.DagsterInstance.ephemeral() as instance:
        for name, value in settings.items():
            environment.setenv(name, value)
        register(instance, [COMPLETED_RUN])
        job = build_defs().resolve_job_def(EXPORT_RUN.name)
        return job.execute_in_process(instance=instance, partition_key=COMPLETED_RUN, raise_on_error=False)
