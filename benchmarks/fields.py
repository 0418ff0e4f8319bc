"""The fields of the records and their order: the lists of the contract, written down a second time.

Belongs here: what the references and the floor read, independently of `landscape_assets.contract`, so that one can be
checked against the other. Does not belong here: code, and imports, which would count against the floor.
"""

FIELDS: dict[str, tuple[str, ...]] = {
    "run": (
        "status", "started_at", "completed_at", "canonical_version", "config_hash", "settings", "reproducibility_grade",
    ),
    "secret_resolution": (
        "resolution_id", "timestamp", "env_var_name", "source", "vault_url", "secret_name", "fingerprint",
        "resolution_latency_ms",
    ),
    "node": (
        "node_id", "plugin_name", "node_type", "plugin_version", "determinism", "config_hash", "config", "schema_hash",
        "schema_mode", "schema_fields", "sequence_in_pipeline",
    ),
    "edge": ("edge_id", "from_node_id", "to_node_id", "label", "default_mode"),
    "operation": (
        "operation_id", "node_id", "operation_type", "status", "started_at", "completed_at", "duration_ms",
        "error_message", "input_data_ref", "input_data_hash", "output_data_ref", "output_data_hash",
    ),
    "call": (
        "call_id", "state_id", "operation_id", "call_index", "call_type", "status", "request_hash", "response_hash",
        "latency_ms", "request_ref", "response_ref", "error_json", "created_at",
    ),
    "row": ("row_id", "row_index", "source_node_id", "source_data_hash"),
    "token": (
        "token_id", "row_id", "step_in_pipeline", "branch_name", "fork_group_id", "join_group_id", "expand_group_id",
    ),
    "token_parent": ("token_id", "parent_token_id", "ordinal"),
    "token_outcome": (
        "outcome_id", "token_id", "outcome", "is_terminal", "recorded_at", "sink_name", "batch_id", "fork_group_id",
        "join_group_id", "expand_group_id", "error_hash", "context_json", "expected_branches_json",
    ),
    "node_state": (
        "state_id", "token_id", "node_id", "step_index", "attempt", "status", "input_hash", "output_hash",
        "duration_ms", "started_at", "completed_at", "context_before_json", "context_after_json",
        "error_json", "success_reason_json",
    ),
    "routing_event": (
        "event_id", "state_id", "edge_id", "routing_group_id", "ordinal", "mode", "reason_hash", "reason_ref",
        "created_at",
    ),
    "batch": (
        "batch_id", "aggregation_node_id", "attempt", "status", "trigger_type", "trigger_reason", "created_at",
        "completed_at",
    ),
    "batch_member": ("batch_id", "token_id", "ordinal"),
    "artifact": (
        "artifact_id", "sink_node_id", "produced_by_state_id", "artifact_type", "path_or_uri", "content_hash",
        "size_bytes",
    ),
}  # fmt: skip
"""The fields of each record type of contract v1, after `record_type` and `run_id` (contract notes, section 1)."""

NOT_IN_V0 = {("operation", "input_data_hash"), ("operation", "output_data_hash")}
"""The fields that contract v0 does not have. It has no records of token outcomes either (`walk`)."""

PARSED = {"settings": "settings_json", "config": "config_json", "schema_fields": "schema_fields_json"}
"""The fields whose value is that of JSON text, and the columns that hold it. All other `*_json` columns stay text."""

TIMES = ("started_at", "completed_at", "created_at", "recorded_at", "registered_at")
"""The columns that hold times. (`secret_resolutions.timestamp` is a number.)"""

ORDER: dict[str, tuple[str, ...]] = {
    "runs": ("run_id",),
    "secret_resolutions": ("timestamp", "resolution_id"),
    "nodes": ("sequence_in_pipeline", "registered_at", "node_id"),
    "edges": ("created_at", "edge_id"),
    "operations": ("started_at", "operation_id"),
    "calls": ("call_index", "call_id"),
    "rows": ("row_index", "row_id"),
    "tokens": ("created_at", "token_id"),
    "token_parents": ("ordinal", "parent_token_id"),
    "token_outcomes": ("recorded_at", "outcome_id"),
    "node_states": ("step_index", "attempt", "state_id"),
    "routing_events": ("ordinal", "event_id"),
    "batches": ("created_at", "batch_id"),
    "batch_members": ("ordinal", "token_id"),
    "artifacts": ("created_at", "artifact_id"),
}
"""What the rows of each table are ordered by, below one parent (contract notes, section 2)."""
