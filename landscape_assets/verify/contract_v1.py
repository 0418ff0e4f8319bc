"""The record contracts v0 and v1, in this verifier's own words.

Belongs here: what docs/records.md says about their records, so that it can be read next to it. Does not belong here:
code that checks. It is stated anew on purpose: an independent implementation must not share the contract with the
exporter.
"""

from __future__ import annotations

from dataclasses import replace

from .contract_model import Contract, Place, RecordType, fields, rule, unless, when

MODES = "move copy divert"
DETERMINISM = "deterministic seeded io_read io_write external_call non_deterministic"
GRADES = "full_reproducible replay_reproducible attributable_only"
STATES = "open pending completed failed"
TERMINAL = "completed routed forked failed quarantined diverted consumed_in_batch coalesced expanded"

OPERATION_RULES = (
    rule(when("status", "open"), absent="completed_at duration_ms error_message"),
    rule(when("status", "completed"), present="completed_at duration_ms", absent="error_message"),
    rule(when("status", "failed"), present="completed_at duration_ms error_message"),
    rule(when("status", "pending"), present="completed_at duration_ms"),
)

STATE_RULES = (
    rule(
        when("status", "open"),
        absent="output_hash duration_ms completed_at context_after_json error_json success_reason_json",
    ),
    rule(
        when("status", "pending"),
        present="duration_ms completed_at",
        absent="output_hash error_json success_reason_json",
    ),
    rule(when("status", "completed"), present="output_hash duration_ms completed_at", absent="error_json"),
    rule(when("status", "failed"), present="duration_ms completed_at", absent="success_reason_json"),
)

_V1 = (
    RecordType(
        "run",
        "runs",
        fields(
            "status! started_at!:time completed_at:time canonical_version! config_hash! settings:json "
            "reproducibility_grade",
            status="running completed failed interrupted",
            reproducibility_grade=GRADES,
        ),
        id=("run_id",),
    ),
    RecordType(
        "secret_resolution",
        "secret_resolutions",
        fields(
            "resolution_id!:filled timestamp!:float env_var_name!:filled source! vault_url:filled secret_name:filled "
            "fingerprint!:hash resolution_latency_ms:duration",
            source="keyvault",
        ),
        id=("resolution_id",),
        order=("timestamp",),
    ),
    RecordType(
        "node",
        "nodes",
        fields(
            "node_id! plugin_name! node_type! plugin_version! determinism! config_hash! config:json schema_hash "
            "schema_mode schema_fields:objects sequence_in_pipeline:int",
            node_type="source transform gate aggregation coalesce sink",
            determinism=DETERMINISM,
        ),
        id=("node_id",),
        order=("sequence_in_pipeline",),
        ties=False,  # registered_at comes next and is not exported
    ),
    RecordType(
        "edge",
        "edges",
        fields("edge_id! from_node_id! to_node_id! label! default_mode!", default_mode=MODES),
        id=("edge_id",),
        references=(("from_node_id", "node"), ("to_node_id", "node")),
    ),
    RecordType(
        "operation",
        "operations",
        fields(
            "operation_id! node_id! operation_type! status! started_at!:time completed_at:time duration_ms:float "
            "error_message input_data_ref input_data_hash output_data_ref output_data_hash",
            operation_type="source_load sink_write",
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
            "latency_ms:float request_ref response_ref error_json created_at!:time",
            call_type="llm http http_redirect sql vector filesystem",
            status="success error",
        ),
        id=("call_id",),
        order=("call_index",),
        exactly_one=("state_id", "operation_id"),
    ),
    RecordType(
        "row",
        "rows",
        fields("row_id! row_index!:int source_node_id! source_data_hash!"),
        id=("row_id",),
        order=("row_index",),
        references=(("source_node_id", "node"),),
    ),
    RecordType(
        "token",
        "tokens",
        fields("token_id! row_id! step_in_pipeline:int branch_name fork_group_id join_group_id expand_group_id"),
        id=("token_id",),
    ),
    RecordType(
        "token_parent",
        "token_parents",
        fields("token_id! parent_token_id! ordinal!:int"),
        id=("token_id", "parent_token_id"),
        order=("ordinal",),
        references=(("parent_token_id", "token"),),
    ),
    RecordType(
        "token_outcome",
        "token_outcomes",
        fields(
            "outcome_id! token_id! outcome! is_terminal!:bool recorded_at!:time sink_name batch_id fork_group_id "
            "join_group_id expand_group_id error_hash context_json expected_branches_json",
            outcome=TERMINAL + " buffered",
        ),
        id=("outcome_id",),
        order=("recorded_at",),
        references=(("batch_id", "batch"),),
        rules=(
            rule(unless("outcome", "buffered"), is_terminal=True),
            rule(when("outcome", "buffered"), is_terminal=False),
        ),
        at_most_one=("token_id", "is_terminal"),
    ),
    RecordType(
        "node_state",
        "node_states",
        fields(
            "state_id! token_id! node_id! step_index!:int attempt!:int status! input_hash! output_hash "
            "duration_ms:float started_at!:time completed_at:time context_before_json context_after_json error_json "
            "success_reason_json",
            status=STATES,
        ),
        id=("state_id",),
        order=("step_index", "attempt"),
        references=(("node_id", "node"),),
        rules=STATE_RULES,
    ),
    RecordType(
        "routing_event",
        "routing_events",
        fields(
            "event_id! state_id! edge_id! routing_group_id! ordinal!:int mode! reason_hash reason_ref created_at!:time",
            mode=MODES,
        ),
        id=("event_id",),
        order=("ordinal",),
        references=(("edge_id", "edge"),),
    ),
    RecordType(
        "batch",
        "batches",
        fields(
            "batch_id! aggregation_node_id! attempt!:int status! trigger_type trigger_reason created_at!:time "
            "completed_at:time",
            status="draft executing completed failed",
            trigger_type="count timeout condition end_of_source manual",
        ),
        id=("batch_id",),
        order=("created_at",),
        references=(("aggregation_node_id", "node"),),
    ),
    RecordType(
        "batch_member",
        "batch_members",
        fields("batch_id! token_id! ordinal!:int"),
        id=("batch_id", "token_id"),
        order=("ordinal",),
        references=(("token_id", "token"),),
    ),
    RecordType(
        "artifact",
        "artifacts",
        fields(
            "artifact_id! sink_node_id! produced_by_state_id! artifact_type! path_or_uri! content_hash! size_bytes!:int"
        ),
        id=("artifact_id",),
        references=(("sink_node_id", "node"), ("produced_by_state_id", "node_state")),
    ),
)

_STATE = Place("node_state", "token_id", (Place("routing_event", "state_id"), Place("call", "state_id")))
_OUTCOME = Place("token_outcome", "token_id")


def of_rows(*of_tokens: Place) -> tuple[Place, ...]:
    """The order of rows and what belongs to them, batches and artifacts; `of_tokens` stands before node_state."""
    token = Place("token", "row_id", (Place("token_parent", "token_id"), *of_tokens, _STATE))
    return Place("row", None, (token,)), Place("batch", None, (Place("batch_member", "batch_id"),)), Place("artifact")


START = (
    Place("secret_resolution"),
    Place("node"),
    Place("edge"),
    Place("operation", None, (Place("call", "operation_id"),)),
)
"""The order after the run."""

MANIFEST = RecordType(
    "manifest",
    "",
    fields(
        "record_count!:int final_hash!:hash hash_algorithm! signature_algorithm! exported_at!",
        hash_algorithm="sha256",
        signature_algorithm="hmac-sha256",
    ),
    id=(),
)
"""The last record of a signed export; it is not a data record."""

V1 = Contract(
    "v1",
    {record_type.name: record_type for record_type in _V1},
    (Place("run"), *START, *of_rows(_OUTCOME)),
    MANIFEST,
    ("completed", "failed", "interrupted"),
)


def _without(record_type: RecordType, *names: str) -> RecordType:
    return replace(record_type, fields=tuple(field for field in record_type.fields if field.name not in names))


V0 = replace(
    V1,
    name="v0",
    types={
        name: _without(record_type, "input_data_hash", "output_data_hash") if name == "operation" else record_type
        for name, record_type in V1.types.items()
        if name != "token_outcome"
    },
    order=(Place("run"), *START, *of_rows()),
)
