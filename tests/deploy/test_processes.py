"""The processes of deploy/compose.yaml, started by hand as it would start them, and exports through them.

Belongs here: PostgreSQL, code server, webserver and daemon with the files of `deploy/`, and what a person does in the
UI, done by GraphQL: launch an export, backfill several. Does not belong here: the files by themselves
(`test_files.py`)."""

import base64
import grp
import itertools
import json
import os
import pwd
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.copying import copy_landscape
from support.databases import changing, empty_database, insert_copy, rows_of_sample
from support.exporter import KEY
from support.sample_v1 import COMPLETED_RUN
from support.server import PASSWORD, Server
from support.webserver import ask, free_port

from landscape_assets.verify import verify_package

DEPLOY = Path(__file__).parents[2] / "deploy"
RUNS = [f"run/{number}" for number in range(3)]
LOCATION = {"repositoryLocationName": "landscape_assets", "repositoryName": "__repository__"}
PATIENCE = 300
"""Seconds that a busy machine may take for what takes a few."""


class Services:
    """Those of the compose file, each a process with the environment that the file gives it.

    Args:
        folder: of this deployment alone.
        server: PostgreSQL, for Dagster's own records and for the audit database.
        audit: the name of the audit database.
    """

    def __init__(self, folder: Path, server: Server, audit: str) -> None:
        self.folder, self._processes = folder, {}
        self.exports = folder / "exports"
        home = folder / "home"
        (home / "storage").mkdir(parents=True)
        instance = (DEPLOY / "dagster.yaml").read_text("utf-8")
        (home / "dagster.yaml").write_text(instance.replace("port: 5432", f"port: {server.port}"))
        shutil.copy(DEPLOY / "workspace.yaml", home)
        # As in the container, whose root is read-only: only the storage can be written to. (Nothing stops root here.)
        home.chmod(0o555)
        self.home = home
        self._services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
        (folder / "signing_key").write_text(KEY)
        self.ports = {port: str(free_port()) for port in ("3030", "3000", "3001", "8443", "8444")}
        given = {
            "DAGSTER_PG_HOST": "127.0.0.1",
            "DAGSTER_PG_USERNAME": "postgres",
            "DAGSTER_PG_PASSWORD": PASSWORD,
            "DAGSTER_PG_DB": server.new_database(),
            "LANDSCAPE_DATABASE_URL": server.url(audit).render_as_string(hide_password=False),
            "LANDSCAPE_SIGNING_KEY_FILE": str(folder / "signing_key"),
            "LANDSCAPE_CODE_HOST": "127.0.0.1",
            "LANDSCAPE_CODE_PORT": self.ports["3030"],
        }
        self.dagster_database = given["DAGSTER_PG_DB"]
        image = {
            "DAGSTER_HOME": str(home),
            "LANDSCAPE_EXPORT_DIR": str(self.exports),
            "LANDSCAPE_STORAGE_DIR": str(folder / "storage"),
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        self._environments = {
            name: kept | image | {key: given[key] for key in service["environment"]}
            for name, service in self._services.items()
            if name != "postgres"
        }

    def start(self, service: str) -> None:
        """Starts a service with the command of the compose file; addresses, ports and folders are this machine's."""
        places = {
            "0.0.0.0": "127.0.0.1",
            "/opt/dagster/home/workspace.yaml": str(self.folder / "home" / "workspace.yaml"),
        }
        command = [(places | self.ports).get(word, word) for word in self._services[service]["command"]]
        program = Path(sys.executable).with_name(command[0])
        with (self.folder / f"{service}.log").open("wb") as log:
            self._processes[service] = subprocess.Popen(
                [program, *command[1:]],
                env=self._environments[service],
                cwd=self.folder / "home",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_proxy(self, users: dict[str, tuple[str, str]]) -> None:
        """Starts nginx with the file of `deploy/`; users: file of users → a name and its password."""
        folder = self.folder / "proxy"
        for name in ("tls", "users", "tmp"):
            (folder / name).mkdir(parents=True)
        configuration = (DEPLOY / "nginx.conf").read_text("utf-8")
        for port in ("3000", "3001", "8443", "8444"):
            configuration = configuration.replace(port, self.ports[port])
        (folder / "nginx.conf").write_text(configuration)
        key, certificate = (str(folder / "tls" / name) for name in ("key.pem", "cert.pem"))
        request = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=localhost"]
        subprocess.run([*request, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        for file, (name, password) in users.items():
            hashed = subprocess.run(
                ["openssl", "passwd", "-6", password], check=True, capture_output=True, text=True
            ).stdout
            (folder / "users" / file).write_text(f"{name}:{hashed}")
        # Its workers are of the user who runs the tests, whose folders others cannot enter.
        options = f"daemon off; user {pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name};"
        command = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-g", options]
        with (self.folder / "proxy.log").open("wb") as log:
            self._processes["proxy"] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def validate(self) -> subprocess.CompletedProcess[str]:
        """Has Dagster check the code location, by the workspace and the environment of the webserver."""
        return subprocess.run(
            [
                Path(sys.executable).with_name("dagster"),
                "definitions",
                "validate",
                "-w",
                self.folder / "home" / "workspace.yaml",
            ],
            env=self._environments["webserver"],
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def finish(self, service: str) -> None:
        """Starts a service and waits until it has ended, well."""
        self.start(service)
        assert self._processes.pop(service).wait(timeout=PATIENCE) == 0, self.log(service)

    def stop(self) -> None:
        """Ends what was started, run workers included."""
        self.home.chmod(0o755)
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """A GraphQL query to the webserver; the result of its one field."""
        answer = ask(f"http://127.0.0.1:{self.ports['3000']}", query, **variables)
        (result,) = answer.values()
        return result

    def wait_for(self, what: str, found: Any) -> Any:
        """Asks until there is an answer."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for service, process in self._processes.items():
                assert process.poll() is None, f"{service} has ended: {self.log(service)[-2000:]}"
            try:
                if (answer := found()) is not None:
                    return answer
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(0.3)
        logs = "\n".join(f"{name}: {self.log(name)[-2000:]}" for name in self._processes)
        raise AssertionError(f"{what}: not within {PATIENCE} s.\n{logs}")

    def log(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text("utf-8", "replace")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """All processes at work but the daemon, with a few runs in the audit database that Dagster knows as partitions."""
    folder = tmp_path_factory.mktemp("deployment")
    empty_database(folder / "landscape.db")
    with changing(folder / "landscape.db") as connection:
        for number, run_id in enumerate(RUNS):
            insert_copy(connection, rows_of_sample(COMPLETED_RUN), run_id, f"{number}/", timedelta(days=number))
    with ExitStack() as stack:
        server = Server()
        stack.callback(server.remove)
        audit = server.new_database()
        with server.admin(audit) as connection:
            copy_landscape(folder / "landscape.db", connection)
        deployment = Services(folder, server, audit)
        deployment.server = server
        stack.callback(deployment.stop)
        deployment.finish("schema")
        for service in ("code", "webserver"):
            deployment.start(service)
        deployment.wait_for("the code location", lambda: loaded(deployment))
        for run_id in RUNS:
            added = deployment.ask(
                """mutation ($key: String!, $selector: RepositorySelector!) {
                    addDynamicPartition(partitionKey: $key, partitionsDefName: "run_id", repositorySelector: $selector)
                    {
                        __typename ... on PythonError { message } } }""",
                key=run_id,
                selector=LOCATION,
            )
            assert added["__typename"] in ("AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError")
        yield deployment


def loaded(deployment: Services) -> bool | None:
    answer = deployment.ask(
        """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus
            locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
    )
    entries = answer.get("locationEntries") or []
    if not entries or entries[0]["loadStatus"] != "LOADED":
        return None
    return True if entries[0]["locationOrLoadError"]["__typename"] == "RepositoryLocation" else None


def ended(deployment: Services, wanted: int, **tags: str) -> list[dict[str, Any]] | None:
    """The Dagster runs with these tags, once so many of them have ended."""
    answer = deployment.ask(
        """query ($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}) { ... on Runs { results {
            runId status startTime endTime tags { key value } } } } }""",
        tags=[{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()],
    )
    runs = answer["results"]
    return (
        runs
        if len(runs) >= wanted and all(run["status"] in ("SUCCESS", "FAILURE", "CANCELED") for run in runs)
        else None
    )


@pytest.mark.timeout(4 * PATIENCE)
def test_exports_through_the_processes(deployment: Services) -> None:
    """One export launched by hand and a backfill of two at once, on PostgreSQL throughout, give packages that
    verify."""
    launched = deployment.ask(
        """mutation ($parameters: ExecutionParams!) { launchRun(executionParams: $parameters) { __typename
            ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
        parameters={
            "selector": {**LOCATION, "jobName": "export_run"},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": RUNS[0]}]},
        },
    )
    assert launched["__typename"] == "LaunchRunSuccess", launched
    backfill = deployment.ask(
        """mutation ($parameters: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $parameters) {
        __typename
            ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
        parameters={
            "selector": {"repositorySelector": LOCATION, "partitionSetName": "export_run_partition_set"},
            "partitionNames": RUNS[1:],
        },
    )
    assert backfill["__typename"] == "LaunchBackfillSuccess", backfill
    # What was asked for before the daemon is there it finds as soon as it is; after that it would look twice a minute.
    deployment.start("daemon")
    filled = deployment.wait_for("the backfill", lambda: ended(deployment, 2, dagster__backfill=backfill["backfillId"]))
    alone = deployment.wait_for("the export", lambda: ended(deployment, 1, dagster__partition=RUNS[0]))
    assert [run["status"] for run in [*filled, *alone]] == ["SUCCESS"] * 3, deployment.log("code")[-3000:]
    for run_id, folder in zip(RUNS, ["run%2F0", "run%2F1", "run%2F2"], strict=True):
        assert verify_package(deployment.exports / folder, key=KEY.encode(), run_id=run_id).status == 0
    spans = sorted((run["startTime"], run["endTime"]) for run in filled)
    assert any(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans)), "one after the other"


USERS = {"engineers": ("anna", "a password"), "officers": ("otto", "another password")}
CHANGE = """mutation ($selector: RepositorySelector!) {
    addDynamicPartition(partitionKey: "added", partitionsDefName: "run_id", repositorySelector: $selector)
    { __typename } }"""


def through_proxy(deployment: Services, port: str, user: tuple[str, str] | None, query: str) -> dict[str, Any] | int:
    """What an address of the proxy answers to a GraphQL query, or the status with which it refuses."""
    document = json.dumps({"query": query, "variables": {"selector": LOCATION} if "selector" in query else {}})
    headers = {"Content-Type": "application/json"}
    if user is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(user).encode()).decode()
    url = f"https://127.0.0.1:{deployment.ports[port]}/graphql"
    context = ssl._create_unverified_context()  # the certificate is the test's own
    try:
        request = urllib.request.Request(url, document.encode(), headers)
        with urllib.request.urlopen(request, timeout=60, context=context) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error) if "json" in error.headers["Content-Type"] else error.code


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.timeout(2 * PATIENCE)
def test_the_proxy_asks_who_it_is_and_officers_change_nothing(deployment: Services) -> None:
    """Each address takes its own users alone; the officers' one answers questions and refuses changes."""
    deployment.start("officers")
    deployment.start_proxy(USERS)
    version = "{ version }"
    for port, users in (("8443", "engineers"), ("8444", "officers")):
        deployment.wait_for(users, lambda port=port: through_proxy(deployment, port, None, version))
        others = USERS["officers" if users == "engineers" else "engineers"]
        assert through_proxy(deployment, port, None, version) == 401
        assert through_proxy(deployment, port, others, version) == 401

        def answer(port: str = port, users: str = users) -> bool | None:
            found = through_proxy(deployment, port, USERS[users], version)
            return True if isinstance(found, dict) and "version" in (found.get("data") or {}) else None

        deployment.wait_for(users, answer)
    refused = through_proxy(deployment, "8444", USERS["officers"], CHANGE)
    assert isinstance(refused, dict)
    assert refused["data"]["addDynamicPartition"]["__typename"] == "UnauthorizedError"
    taken = through_proxy(deployment, "8443", USERS["engineers"], CHANGE)
    assert isinstance(taken, dict)
    assert taken["data"]["addDynamicPartition"]["__typename"] == "AddDynamicPartitionSuccess"
    log = (deployment.folder / "proxy" / "access.log").read_text("utf-8")
    assert "- otto [" in log and "- anna [" in log


@pytest.mark.timeout(PATIENCE)
def test_the_definitions_are_valid_through_the_code_server(deployment: Services) -> None:
    """`dagster definitions validate` with the deployment's workspace, instance and environment."""
    validated = deployment.validate()
    assert validated.returncode == 0, validated.stderr
    assert "All code locations passed validation" in validated.stdout + validated.stderr


@pytest.mark.timeout(PATIENCE)
def test_dagsters_records_are_on_postgresql(deployment: Services) -> None:
    """Runs, events, partitions and ticks are in the server's tables, none of it on disk; and no secret among them.
    Nothing is written to the home but below its storage, which is a volume: its root is read-only in the container."""
    with deployment.server.admin(deployment.dagster_database) as connection:
        for table, least in (("runs", 3), ("event_logs", 100), ("dynamic_partitions", 3), ("bulk_actions", 1)):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] >= least
        for text in (
            connection.execute("SELECT event FROM event_logs"),
            connection.execute("SELECT run_body FROM runs"),
        ):
            for (body,) in text:
                assert PASSWORD not in body and KEY not in body and "p%C3%A4" not in body
    assert not list(deployment.home.rglob("*.db"))
    # Telemetry's folders, which the webserver makes although it is off, it does without where it cannot make them.
    kept = {path.name for path in deployment.home.iterdir()} - {"logs", ".logs_queue"}
    assert kept == {"dagster.yaml", "workspace.yaml", "storage"}
    for service in ("code", "webserver", "daemon"):
        assert PASSWORD not in deployment.log(service) and KEY not in deployment.log(service)
