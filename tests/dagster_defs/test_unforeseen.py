"""Errors that nobody foresaw: said once, with what and where, and never with the key.

Belongs here: what Dagster keeps of them and the command line says. Does not belong here: errors that a person can act
on (`test_failures.py`).
"""

import dagster as dg
import pytest
from support.exporter import KEY
from support.operator import messages
from support.sample_v1 import COMPLETED_RUN

from landscape_assets.dagster_defs.failures import RETRIES, explained
from landscape_assets.settings import Settings
from landscape_assets.storage.names import stored_file


def run(error: Exception) -> dg.ExecuteInProcessResult:
    """A Dagster run of one step that may be tried again, and fails with an error."""

    @dg.op(retry_policy=RETRIES)
    def failing() -> None:
        with explained(Settings.from_environment()):
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
        "Unexpected error: KeyError: 'sha256'. Trying again will not help; please report this bug."
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
    assert "(landscape_assets/storage/names.py, line " in message


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


def test_a_file_that_cannot_be_stored_is_said_once(operate, tmp_path, monkeypatch):
    """A folder where a stored file would be: what the file system says, and of which file."""
    monkeypatch.setenv("LANDSCAPE_STORAGE_DIR", str(tmp_path / "storage"))
    place = stored_file(tmp_path / "storage", ["landscape", "runs"], COMPLETED_RUN, "arrow")
    (place / "mine").mkdir(parents=True)
    (message,) = messages(operate.export(COMPLETED_RUN))
    assert message.startswith("The file system refused (")
    assert "Is a directory" in message
    assert "\n" not in message
