"""Failures as a person meets them: one message, retried only where that can help."""

import dagster as dg
import pytest
from support.databases import changing
from support.operator import Operator, messages
from support.sample_v1 import COMPLETED_RUN, FAILED_RUN, RUNNING_RUN

from landscape_assets.dagster_defs.failures import RETRIES, explained
from landscape_assets.dagster_defs.tables import tables
from landscape_assets.errors import CorruptTable, DatabaseError
from landscape_assets.settings import Settings


def retries(result: dg.ExecuteInProcessResult) -> list[str | None]:
    return [
        event.step_key
        for event in result.all_events
        if event.event_type_value in ("STEP_UP_FOR_RETRY", "STEP_RESTARTED")
    ]


def test_corrupt_data_fails_one_run_with_one_message_and_is_not_retried(operate: Operator, sample) -> None:
    """The message names table, id and column; nothing is published; the next run is exported as if nothing had been."""
    with changing(sample) as connection:
        (state,) = connection.execute(
            "SELECT min(state_id) FROM node_states WHERE run_id = ?", (COMPLETED_RUN,)
        ).fetchone()
        connection.execute("UPDATE node_states SET status = 'lost' WHERE state_id = ?", (state,))
    result = operate.export(COMPLETED_RUN)
    (message,) = messages(result)
    assert all(part in message for part in ("node_states", state, "status", "lost"))
    assert retries(result) == [] and not operate.exports.joinpath(COMPLETED_RUN).exists()
    assert operate.export(FAILED_RUN).success


def test_a_run_that_has_not_finished_is_refused_once(operate: Operator) -> None:
    """One step loads all tables, so that there is one message and not fifteen."""
    (message,) = messages(operate.export(RUNNING_RUN))
    assert "has not finished" in message


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (DatabaseError("locked", transient=True), True),
        (DatabaseError("no such file"), False),
        (CorruptTable("calls", "call_id 'c'", "status", "?", "which is none"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_only_a_locked_or_unreachable_database_is_tried_again(error: Exception, again: bool) -> None:
    with pytest.raises(dg.Failure) as failure, explained(Settings.from_environment()):
        raise error
    assert failure.value.allow_retries is again


def test_retries_are_bounded_and_wait_longer_each_time() -> None:
    assert RETRIES.max_retries == 3 and RETRIES.backoff is dg.Backoff.EXPONENTIAL
    assert tables.op.retry_policy == RETRIES
