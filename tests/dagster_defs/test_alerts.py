"""Alerts: what a receiver is told, and that one that is dead stops nothing."""

import email
import email.policy
import json
import socket
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._utils.error import SerializableErrorInfo
from support.databases import changing
from support.operator import Operator, instance_folder
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.dagster_defs.alerts import ALERTS, alert_on_failed_run, alert_on_failed_tick


class Receiver:
    """A webhook that keeps what it is sent, and refuses the first few."""

    def __init__(self, refused: int = 0) -> None:
        self.documents: list[dict[str, Any]] = []
        self.requests = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.requests += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                is_refused = receiver.requests <= refused
                if not is_refused:
                    receiver.documents.append(json.loads(body))
                self.send_response(503 if is_refused else 200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=a-secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Mailbox:
    """A mail server that keeps what it is sent."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.port = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's)
        mail = email.message_from_bytes(envelope.original_content or b"", policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    with socket.socket() as free:  # the server looks for itself at the port that it is given
        free.bind(("127.0.0.1", 0))
        box.port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    yield box
    controller.stop()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_folder() as home, dg.instance_for_test(temp_dir=home) as instance:
        yield instance


@pytest.fixture
def failed(operate: Operator, sample: Path) -> dg.ExecuteInProcessResult:
    """An export that failed because of a corrupt row."""
    with changing(sample) as connection:
        connection.execute("UPDATE calls SET call_type = 'fax'")
    result = operate.export(COMPLETED_RUN)
    assert not result.success
    return result


def tell(operate: Operator, result: dg.ExecuteInProcessResult) -> Any:
    """What the daemon does for a Dagster run that failed."""
    failure = next(event for event in result.all_events if event.is_run_failure)
    context = dg.build_run_status_sensor_context(
        "alert_on_failed_run", failure, operate.instance, result.dagster_run
    ).for_run_failure()
    return alert_on_failed_run(context)


def test_a_failed_run_is_told_once_with_its_reason(
    operate: Operator, failed: dg.ExecuteInProcessResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run_id, the step, the one sentence, the link; a receiver that refuses at first is asked again."""
    receiver = Receiver(refused=2)
    monkeypatch.setenv("LANDSCAPE_ALERT_URL", receiver.url)
    monkeypatch.setenv("LANDSCAPE_UI_URL", "https://dagster.example/")
    assert tell(operate, failed) is None
    (document,) = receiver.documents
    assert document["run_id"] == COMPLETED_RUN
    assert document["step"] == "landscape__tables"
    assert document["message"].startswith("Corrupt audit data: table calls, call_id ")
    assert document["link"] == f"https://dagster.example/runs/{failed.run_id}"


def test_a_dead_receiver_stops_nothing(
    operate: Operator, failed: dg.ExecuteInProcessResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried so many times, and the tick says why it did not arrive, without the URL; without a URL it says so."""
    receiver = Receiver(refused=100)
    monkeypatch.setenv("LANDSCAPE_ALERT_URL", receiver.url)
    said = tell(operate, failed).skip_message
    assert receiver.requests == 3
    assert "in 3 attempts (HTTP 503)" in said
    assert "a-secret" not in said
    monkeypatch.delenv("LANDSCAPE_ALERT_URL")
    assert "is set: no alert was sent" in tell(operate, failed).skip_message


def test_a_failed_run_is_mailed(
    operate: Operator, failed: dg.ExecuteInProcessResult, monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox
) -> None:
    """The same by mail, through a server of the network."""
    url = f"smtp://127.0.0.1:{mailbox.port}?from=export@mail.example&to=duty@mail.example,law@mail.example"
    monkeypatch.setenv("LANDSCAPE_ALERT_MAIL", url)
    assert tell(operate, failed) is None
    (mail,) = mailbox.mails
    assert mail["Subject"] == f"landscape_assets: run failed: {COMPLETED_RUN}"
    assert (mail["From"], mail["To"]) == ("export@mail.example", "duty@mail.example, law@mail.example")
    lines = mail.get_content().splitlines()
    assert "step: landscape__tables" in lines
    assert any(line.startswith("message: Corrupt audit data: table calls, call_id ") for line in lines)


def test_a_password_is_never_mailed_in_the_clear(
    operate: Operator, failed: dg.ExecuteInProcessResult, monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox
) -> None:
    """A server without encryption gets neither the password nor the alert; the other receiver still gets its own."""
    receiver = Receiver()
    monkeypatch.setenv("LANDSCAPE_ALERT_URL", receiver.url)
    address = f"127.0.0.1:{mailbox.port}?from=export@mail.example&to=duty@mail.example"
    monkeypatch.setenv("LANDSCAPE_ALERT_MAIL", f"smtp://user:a-secret@{address}")
    said = tell(operate, failed).skip_message
    assert "LANDSCAPE_ALERT_MAIL did not take the alert in 3 attempts (SMTPNotSupportedError)" in said
    assert "a-secret" not in said
    assert (len(receiver.documents), mailbox.mails) == (1, [])


@pytest.mark.parametrize(
    "wrong",
    ["mail.example", "http://h?from=a@b&to=c@d", "smtp://h?to=c@d", "smtp://h?from=a@b", "smtp://h?from=a&to=b"],
)
def test_a_mail_server_that_cannot_be_read_is_told(
    operate: Operator, failed: dg.ExecuteInProcessResult, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """In the tick, with the form that it must have, without its value."""
    monkeypatch.setenv("LANDSCAPE_ALERT_MAIL", wrong)
    said = tell(operate, failed).skip_message
    assert "LANDSCAPE_ALERT_MAIL cannot be read: it must be smtps://" in said
    assert wrong not in said


def test_a_package_that_is_found_bad_is_told(operate: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed checks fail the Dagster run that made them."""
    receiver = Receiver()
    monkeypatch.setenv("LANDSCAPE_ALERT_URL", receiver.url)
    assert operate.export(COMPLETED_RUN).success
    (operate.exports / COMPLETED_RUN / "records.jsonl").write_text("changed")
    tell(operate, operate.run("verify_package", COMPLETED_RUN))
    (document,) = receiver.documents
    assert document["step"] == "verify_published_package"
    assert COMPLETED_RUN in document["message"]


def test_failed_ticks_of_schedules_are_told_once(operate: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule whose tick failed starts no Dagster run: nothing else tells of it."""
    receiver = Receiver()
    monkeypatch.setenv("LANDSCAPE_ALERT_URL", receiver.url)
    with dg.build_sensor_context(operate.instance) as context:
        alert_on_failed_tick(context)
        cursor = context.cursor
    fail_a_tick(operate.instance, "nightly_exports", "There is no file /srv/landscape.db.")
    for _ in range(2):
        with dg.build_sensor_context(operate.instance, cursor=cursor) as context:
            alert_on_failed_tick(context)
            cursor = context.cursor
    (document,) = receiver.documents
    assert (document["event"], document["schedule"]) == ("schedule tick failed", "nightly_exports")
    assert document["message"] == "There is no file /srv/landscape.db."


def fail_a_tick(instance: dg.DagsterInstance, name: str, message: str) -> None:
    """What the daemon keeps of a schedule whose evaluation raised."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("landscape_assets"), "__repository__")
    origin = RemoteInstigatorOrigin(repository, name)
    data = ScheduleInstigatorData("0 2 * * *")
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SCHEDULE, InstigatorStatus.RUNNING, data))
    instance.create_tick(
        TickData(
            instigator_origin_id=origin.get_id(),
            instigator_name=name,
            instigator_type=InstigatorType.SCHEDULE,
            status=TickStatus.FAILURE,
            timestamp=time.time(),
            selector_id=origin.get_selector().get_id(),
            error=SerializableErrorInfo(message, [], None),
        )
    )


def test_alerts_are_off_at_first() -> None:
    assert {sensor.default_status for sensor in ALERTS} == {dg.DefaultSensorStatus.STOPPED}
