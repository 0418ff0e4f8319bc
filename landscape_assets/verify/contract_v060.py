"""The record contracts v060 and v070, in this verifier's own words.

Belongs here: what docs/records.md says about their records, so that it can be read next to it, stated anew as in
`contract_v1.py`. Does not belong here: code that checks.
"""

from __future__ import annotations

from dataclasses import replace

from .contract_model import Contract, Place, RecordType, fields, rule, unless, when
from .contract_v1 import DETERMINISM, GRADES, MANIFEST, MODES, OPERATION_RULES, START, STATE_RULES, STATES, V1, of_rows

STATUS = "running completed completed_with_failures failed empty interrupted"
_ITEM_STATUS = "ready leased blocked pending_sink terminal failed"

_GROUPS = ("sink_name", "batch_id", "fork_group_id", "join_group_id", "expand_group_id", "error_hash")
_PATHS = (
    # outcome, paths, required, allowed too
    ("success", ("default_flow", "gate_routed"), ("sink_name",), ()),
    ("success", ("gate_discarded", "filter_dropped"), (), ()),
    ("success", ("coalesced",), ("join_group_id",), ("sink_name",)),
    ("failure", ("on_error_routed", "sink_discarded"), ("sink_name", "error_hash"), ()),
    ("transient", ("sink_fallback_to_failsink",), ("sink_name", "error_hash"), ()),
    ("failure", ("unrouted",), ("error_hash",), ()),
    ("failure", ("quarantined_at_source",), ("error_hash",), ("sink_name",)),
    ("transient", ("fork_parent",), ("fork_group_id",), ()),
    ("transient", ("expand_parent",), ("expand_group_id",), ()),
    ("transient", ("batch_consumed",), ("batch_id",), ()),
    (None, ("buffered",), ("batch_id",), ()),
)
_OUTCOME_RULES = tuple(
    rule(
        when("path", *paths),
        present=" ".join(required),
        absent=" ".join(name for name in _GROUPS if name not in required + allowed),
        outcome=outcome,
        completed=outcome is not None,
    )
    for outcome, paths, required, allowed in _PATHS
)

_V060 = (
    RecordType(
        "run",
        "runs",
        fields(
            "status! started_at!:time completed_at:time canonical_version! config_hash!:hash "
            "initiated_by_user_id:filled auth_provider_type:filled settings:json reproducibility_grade",
            status=STATUS,
            auth_provider_type="local oidc entra",
            reproducibility_grade=GRADES,
        ),
        id=("run_id",),
        rules=(
            rule(when("status", "running"), absent="completed_at"),
            rule(when("status", "completed", "completed_with_failures", "empty"), present="completed_at"),
        ),
    ),
    RecordType(
        "secret_resolution",
        "secret_resolutions",
        fields(
            "resolution_id!:filled timestamp!:float env_var_name!:filled source! vault_url secret_name "
            "fingerprint!:hash resolution_latency_ms:duration",
            source="keyvault env user",
        ),
        id=("resolution_id",),
        order=("timestamp",),
        rules=(rule(when("source", "keyvault"), present="vault_url secret_name"),),
    ),
    RecordType(
        "node",
        "nodes",
        fields(
            "node_id! plugin_name! node_type! plugin_version! source_file_hash:file_hash determinism! "
            "config_hash!:hash config:json schema_hash schema_mode schema_fields:objects sequence_in_pipeline:int "
            "registered_at!:time",
            node_type="source transform gate aggregation coalesce sink queue",
            determinism=DETERMINISM,
        ),
        id=("node_id",),
        order=("sequence_in_pipeline", "registered_at"),
    ),
    RecordType(
        "edge",
        "edges",
        fields("edge_id! from_node_id! to_node_id! label! default_mode! created_at!:time", default_mode=MODES),
        id=("edge_id",),
        order=("created_at",),
        references=(("from_node_id", "node"), ("to_node_id", "node")),
    ),
    RecordType(
        "operation",
        "operations",
        fields(
            "operation_id! node_id! operation_type! status! started_at!:time completed_at:time duration_ms:duration "
            "error_message input_data_ref input_data_hash output_data_ref output_data_hash",
            operation_type="source_load sink_write runtime_preflight",
            status="open completed failed pending",
        ),
        id=("operation_id",),
        order=("started_at",),
        references=(("node_id", "node"),),
        rules=OPERATION_RULES,
    ),
    RecordType(
        "call",
        "calls",
        fields(
            "call_id! state_id operation_id call_index!:int call_type! status! request_hash! response_hash "
            "resolved_prompt_template_hash:hash latency_ms:duration request_ref response_ref error_json "
            "created_at!:time",
            call_type="llm http http_redirect sql vector filesystem",
            status="success error",
        ),
        id=("call_id",),
        order=("call_index",),
        exactly_one=("state_id", "operation_id"),
        rules=(rule(unless("call_type", "llm"), absent="resolved_prompt_template_hash"),),
    ),
    RecordType(
        "validation_error",
        "validation_errors",
        fields(
            "error_id! node_id row_id row_hash! row_data_json error! schema_mode! destination! created_at!:time "
            "violation_type original_field_name normalized_field_name expected_type actual_type"
        ),
        id=("error_id",),
        order=("created_at",),
        references=(("node_id", "node"), ("row_id", "row")),
    ),
    RecordType(
        "transform_error",
        "transform_errors",
        fields(
            "error_id! token_id! transform_id! row_hash! row_data_json error_details_json destination! created_at!:time"
        ),
        id=("error_id",),
        order=("created_at",),
        references=(("token_id", "token"), ("transform_id", "node")),
    ),
    RecordType(
        "row",
        "rows",
        fields(
            "row_id! row_index!:int source_row_index!:int ingest_sequence!:int source_node_id! source_data_hash! "
            "source_data_ref created_at!:time"
        ),
        id=("row_id",),
        order=("ingest_sequence",),
        references=(("source_node_id", "node"),),
    ),
    RecordType(
        "token",
        "tokens",
        fields(
            "token_id! row_id! step_in_pipeline:int branch_name fork_group_id join_group_id expand_group_id "
            "created_at!:time"
        ),
        id=("token_id",),
        order=("created_at",),
    ),
    V1.types["token_parent"],
    RecordType(
        "token_outcome",
        "token_outcomes",
        fields(
            "outcome_id! token_id! outcome path! completed!:bool recorded_at!:time sink_name batch_id fork_group_id "
            "join_group_id expand_group_id error_hash context_json expected_branches_json",
            outcome="success failure transient",
            path=" ".join(path for _, paths, _, _ in _PATHS for path in paths),
        ),
        id=("outcome_id",),
        order=("recorded_at",),
        references=(("batch_id", "batch"),),
        rules=(*_OUTCOME_RULES, rule(when("path", "sink_discarded"), sink_name="__discard__")),
        at_most_one=("token_id", "completed"),
    ),
    RecordType(
        "scheduler_event",
        "scheduler_events",
        fields(
            "event_id! token_id! work_item_id! node_id event_type! from_status to_status! from_lease_owner "
            "to_lease_owner from_lease_expires_at:time to_lease_expires_at:time from_attempt:int to_attempt!:int "
            "recorded_at!:time caller_owner context_json!",
            event_type="enqueue claim_ready claim_pending_sink recover_expired_lease lease_lost mark_blocked "
            "mark_terminal mark_failed mark_pending_sink mark_pending_sink_terminal mark_blocked_barrier_terminal",
            from_status=_ITEM_STATUS,
            to_status=_ITEM_STATUS,
        ),
        id=("event_id",),
        order=("recorded_at",),
        references=(("node_id", "node"),),
    ),
    replace(
        V1.types["node_state"],
        fields=fields(
            "state_id! token_id! node_id! step_index!:int attempt!:int status! input_hash! output_hash "
            "duration_ms:duration started_at!:time completed_at:time context_before_json context_after_json error_json "
            "success_reason_json",
            status=STATES,
        ),
        rules=(*STATE_RULES, rule(when("status", "failed"), present="error_json")),
    ),
    V1.types["routing_event"],
    RecordType(
        "batch",
        "batches",
        fields(
            "batch_id! aggregation_node_id! attempt!:int status! trigger_type trigger_reason created_at!:time "
            "completed_at:time",
            status="draft executing completed failed",
            trigger_type="count timeout condition end_of_source",
        ),
        id=("batch_id",),
        order=("created_at",),
        references=(("aggregation_node_id", "node"),),
        rules=(rule(when("status", "completed"), present="completed_at"),),
    ),
    V1.types["batch_member"],
    RecordType(
        "artifact",
        "artifacts",
        fields(
            "artifact_id! sink_node_id! produced_by_state_id! artifact_type! path_or_uri! content_hash!:hash "
            "size_bytes!:int idempotency_key created_at!:time"
        ),
        id=("artifact_id",),
        order=("created_at",),
        references=(("sink_node_id", "node"), ("produced_by_state_id", "node_state")),
    ),
)

ERRORS = (Place("validation_error"), Place("transform_error"))
ROWS = of_rows(Place("token_outcome", "token_id"), Place("scheduler_event", "token_id"))

V060 = Contract(
    "v060",
    {record_type.name: record_type for record_type in _V060},
    (Place("run"), *START, *ERRORS, *ROWS),
    MANIFEST,
    ("completed", "completed_with_failures", "failed", "empty", "interrupted"),
)
V070 = replace(V060, name="v070", redacts=True, signs_tagged_mappings=True)
