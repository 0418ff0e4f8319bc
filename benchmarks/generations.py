"""The runs of `generate.py` in the tables of another generation of ELSPETH.

Belongs here: for each generation its DDL, and what its tables have that those of contract v1 do not have. Does not
belong here: what happens in the runs (`generate.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

Rows = list[tuple[Any, ...]]
Inserts = dict[str, Rows]
"""Table → rows."""

_COLUMNS = {
    "runs": "run_id, started_at, completed_at, config_hash, settings_json, reproducibility_grade, canonical_version,"
    " status",
    "nodes": "node_id, run_id, plugin_name, node_type, plugin_version, determinism, config_hash, config_json,"
    " sequence_in_pipeline, registered_at, schema_mode",
    "edges": "edge_id, run_id, from_node_id, to_node_id, label, default_mode, created_at",
    "operations": "operation_id, run_id, node_id, operation_type, started_at, completed_at, status, duration_ms",
    "rows": "row_id, run_id, source_node_id, row_index, source_data_hash, created_at",
    "tokens": "token_id, row_id, run_id, fork_group_id, branch_name, step_in_pipeline, created_at",
    "token_parents": "token_id, parent_token_id, ordinal",
    "token_outcomes": "outcome_id, run_id, token_id, outcome, is_terminal, recorded_at, sink_name, fork_group_id",
    "node_states": "state_id, token_id, run_id, node_id, step_index, attempt, status, input_hash, output_hash,"
    " context_before_json, duration_ms, error_json, success_reason_json, started_at, completed_at",
    "routing_events": "event_id, state_id, edge_id, routing_group_id, ordinal, mode, created_at",
    "calls": "call_id, state_id, call_index, call_type, status, request_hash, request_ref, response_hash, latency_ms,"
    " created_at",
}

_COLUMNS_V071 = _COLUMNS | {
    "runs": f"{_COLUMNS['runs']}, openrouter_catalog_sha256, openrouter_catalog_source",
    "rows": f"{_COLUMNS['rows']}, source_row_index, ingest_sequence",
    "token_parents": f"{_COLUMNS['token_parents']}, run_id",
    "token_outcomes": "outcome_id, run_id, token_id, outcome, path, completed, recorded_at, sink_name, fork_group_id",
    "routing_events": f"{_COLUMNS['routing_events']}, run_id",
    "scheduler_events": "event_id, run_id, token_id, work_item_id, event_type, from_status, to_status, to_lease_owner,"
    " to_lease_expires_at, from_attempt, to_attempt, recorded_at",
}

_OUTCOMES = {"completed": ("success", "default_flow"), "forked": ("transient", "fork_parent")}
_WORKER = "worker-1"
_WORK = (
    ("enqueue", None, "ready", False, None),
    ("claim_ready", "ready", "leased", True, 1),
    ("mark_terminal", "leased", "terminal", False, 1),
)
"""What the scheduler does with a token: event type, status before and after, whether it is leased, attempt before."""


def _as_v071(run_id: str, inserts: Inserts) -> Inserts:
    """The rows of a run with what contract v071 asks for besides; three events of the scheduler for each token."""
    changes: dict[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {
        "runs": lambda row: (*row, "0" * 64, "bundled"),
        "rows": lambda row: (*row, row[3], row[3]),
        "token_parents": lambda row: (*row, run_id),
        "token_outcomes": lambda row: (*row[:3], *_OUTCOMES[row[3]], *row[4:]),
        "routing_events": lambda row: (*row, run_id),
    }
    made = {name: [changes[name](row) for row in rows] if name in changes else rows for name, rows in inserts.items()}
    if "tokens" in inserts:
        made["scheduler_events"] = [event for token in inserts["tokens"] for event in _events(run_id, token)]
    return made


def _events(run_id: str, token: tuple[Any, ...]) -> Rows:
    token_id, created = token[0], datetime.fromisoformat(token[-1])
    lease = str(created + timedelta(minutes=5))
    return [
        (
            f"{token_id}{number:032x}", run_id, token_id, f"{token_id}{'0' * 32}", kind, before, after,
            _WORKER if is_leased else None, lease if is_leased else None, attempt, 1,
            str(created + timedelta(microseconds=10 * number)),
        )
        for number, (kind, before, after, is_leased, attempt) in enumerate(_WORK, 1)
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Generation:
    """The tables of one generation.

    Args:
        ddl: gives the DDL of an empty database.
        columns: table → the columns that are filled; the others are null.
        adapt: makes of the rows of a run, as contract v1 has them, those of the generation.
    """

    ddl: Callable[[], str]
    columns: dict[str, str]
    adapt: Callable[[str, Inserts], Inserts]


GENERATIONS = {
    "v1": Generation(
        lambda: Path(__file__).with_name("schema_v1.sql").read_text("utf-8"), _COLUMNS, lambda _, inserts: inserts
    ),
    "v071": Generation(
        lambda: resources.files("landscape_assets.sample").joinpath("schema.sql").read_text("utf-8"),
        _COLUMNS_V071,
        _as_v071,
    ),
}
"""By the contract of its databases."""
