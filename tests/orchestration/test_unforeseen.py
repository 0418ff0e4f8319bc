"""Errors that nobody foresaw: said once, with what and where, and never with the key.

Belongs here: what Dagster keeps of them and the command line says. Does not belong here: errors that a person can act on
(`test_failures.py`).
"""

import json

import dagster as dg
import pytest
from support.exporter import KEY
from support.operator import messages

from landscape_assets.export.names import stored_file
from landscape_assets.orchestration.failures import RETRIES, explained
from landscape_assets.sample import COMPLETED_RUN


def run(error: Exception) -> dg.ExecuteInProcessResult:
    """A Dagster run of one step that may be tried again, and fails with an error."""

    @dg.op(retry_policy=RETRIES)
    def failing() -> None:
        with explained():
            raise error

    @dg.job(executor_def=dg.in_process_executor)
    def failing_job() -> None:
        failing()

    with dg.DagsterInstance.ephemeral() as instance:
        return failing_job.execute_in_process(instance=instance, raise_on_error=False)


def test_an_unforeseen_error_fails_a_step_once_and_keeps_its_traceback():
    """Type and message are what a person reads; the traceback is there for whoever looks into it."""
    result = run(KeyError("sha256"))
    assert messages(result) == [
        "An error that was not foreseen: KeyError: 'sha256'. It would come again; report it to whoever looks after this "
        "program."
    ]
    assert not [event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    (failed,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failed.error.cause.cls_name == "KeyError"
    assert any("in failing" in line for line in failed.error.cause.stack)


def test_an_unforeseen_error_says_where_it_came_from():
    """By file and line of this package, however deep in a library it arose."""
    try:
        stored_file(5, ["a"], "run", "arrow")
    except AttributeError as error:
        (message,) = messages(run(error))
    assert "(landscape_assets/export/names.py, line " in message


@pytest.mark.parametrize("chained", [False, True])
def test_an_unforeseen_error_that_holds_the_key_is_not_repeated(monkeypatch, chained):
    """Neither its text nor its traceback, nor that of the error that led to it."""
    monkeypatch.setenv("LANDSCAPE_SIGNING_KEY", KEY)
    error = ValueError(f"cannot sign with {KEY}")
    if chained:
        error, error.__cause__ = RuntimeError("cannot sign"), error
    result = run(error)
    assert KEY not in "".join(map(str, result.all_events)) + "".join(messages(result))
    assert type(error).__name__ in messages(result)[0]


def test_a_file_that_cannot_be_stored_is_said_once(sample, exporter, tmp_path):
    """A folder where a stored file would be: what the file system says, and of which file."""
    place = stored_file(tmp_path / "storage", ["export", "records"], COMPLETED_RUN, "arrow")
    (place / "mine").mkdir(parents=True)
    outcome = exporter.outcome(
        sample, COMPLETED_RUN, "--format=jsonl", LANDSCAPE_STORAGE_DIR=str(tmp_path / "storage")
    )
    assert outcome["status"] == "failed"
    assert outcome["error"].startswith("The file system refused (")
    assert "Is a directory" in outcome["error"]
    assert "\n" not in outcome["error"]


def test_a_dagster_instance_that_breaks_fails_a_run_and_not_the_command(sample, exporter, tmp_path):
    """Dagster's records cannot be written to any more: an outcome, as for any other failure."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    assert exporter.outcome(sample, COMPLETED_RUN, "--format=jsonl", DAGSTER_HOME=str(home))["status"] == "exported"
    (home / "history" / "runs.db").write_bytes(b"no database " * 1000)
    result = exporter.export(sample, f"--run-id={COMPLETED_RUN}", "--json", DAGSTER_HOME=str(home))
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output
    said = json.loads(result.stdout)[0]["error"] if result.exit_code == 1 else result.stderr
    assert "file is not a database" in said
