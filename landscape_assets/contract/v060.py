"""Contract v060, as data: the Landscape of ELSPETH 0.6.0 and 0.6.1.

Belongs here: what v060 has that v1 has not, or has otherwise. Tables that are as in v1 are taken from there. No code
that acts on them.
"""

from __future__ import annotations

from dataclasses import replace

from . import v1
from .columns import HEX, by, enum, exported, flag, integer, kept, sha256, text, time
from .model import Contract, Group, Reference, Table
from .rules import AtMostOne, Case, Cases, ExactlyOne, Is, StatusRule, Together, When

RUN_STATUS = ("running", "completed", "completed_with_failures", "failed", "empty", "interrupted")
FINISHED = ("completed", "completed_with_failures", "empty", "failed")
EXPORT_STATUS = ("pending", "completed", "failed")
AUTH_PROVIDER_TYPE = ("local", "oidc", "entra")
SECRET_SOURCE = ("keyvault", "env", "user")
NODE_TYPE = (*v1.NODE_TYPE, "queue")
OPERATION_TYPE = ("source_load", "sink_write", "runtime_preflight")
TRIGGER_TYPE = ("count", "timeout", "condition", "end_of_source")
OUTCOME = ("success", "failure", "transient")
OUTCOME_PATH = (
    "default_flow",
    "gate_routed",
    "gate_discarded",
    "on_error_routed",
    "filter_dropped",
    "coalesced",
    "unrouted",
    "quarantined_at_source",
    "sink_fallback_to_failsink",
    "sink_discarded",
    "fork_parent",
    "expand_parent",
    "batch_consumed",
    "buffered",
)
SCHEDULER_EVENT_TYPE = (
    "enqueue",
    "claim_ready",
    "claim_pending_sink",
    "recover_expired_lease",
    "lease_lost",
    "mark_blocked",
    "mark_terminal",
    "mark_failed",
    "mark_pending_sink",
    "mark_pending_sink_terminal",
    "mark_blocked_barrier_terminal",
)
WORK_STATUS = ("ready", "leased", "blocked", "pending_sink", "terminal", "failed")

RUNS = replace(
    v1.RUNS,
    columns=(
        *kept(v1.RUNS, "status", values=RUN_STATUS),
        *kept(v1.RUNS, "started_at", "completed_at", "canonical_version"),
        *kept(v1.RUNS, "config_hash", pattern=HEX),
        text("initiated_by_user_id", "Who began the run.", of="run_attributions", not_blank=True),
        enum("auth_provider_type", AUTH_PROVIDER_TYPE, "How they were authenticated.", of="run_attributions"),
        *kept(v1.RUNS, "settings_json", "reproducibility_grade"),
        enum("export_status", EXPORT_STATUS, "How far the run's own export got.", field=None),
        integer("llm_call_count", "How many calls of models there were.", field=None),
        flag("seeded_from_cache", "Whether results were taken from a cache.", required=True, field=None),
        sha256("cache_key", "The key of that cache.", field=None),
    ),
    rules=(
        StatusRule("status", ("running",), forbidden=("completed_at",)),
        StatusRule("status", ("completed", "completed_with_failures", "empty"), required=("completed_at",)),
        Together(("initiated_by_user_id", "auth_provider_type")),
    ),
)

SECRET_RESOLUTIONS = replace(
    v1.SECRET_RESOLUTIONS,
    columns=(
        *kept(v1.SECRET_RESOLUTIONS, "resolution_id", "timestamp", "env_var_name"),
        *kept(v1.SECRET_RESOLUTIONS, "source", values=SECRET_SOURCE),
        *kept(v1.SECRET_RESOLUTIONS, "vault_url", "secret_name", not_empty=False),
        *kept(v1.SECRET_RESOLUTIONS, "fingerprint", "resolution_latency_ms"),
    ),
    rules=(When((Is("source", ("keyvault",)),), filled=("vault_url", "secret_name")),),
)

NODES = replace(
    v1.NODES,
    columns=(
        *kept(v1.NODES, "node_id", "plugin_name"),
        *kept(v1.NODES, "node_type", values=NODE_TYPE),
        *kept(v1.NODES, "plugin_version"),
        text("source_file_hash", "Hash of the plugin's source file.", pattern="sha256:[0-9a-f]{16}"),
        *kept(v1.NODES, "determinism"),
        *kept(v1.NODES, "config_hash", pattern=HEX),
        *kept(v1.NODES, "config_json", "schema_hash", "schema_mode", "schema_fields_json", "sequence_in_pipeline"),
        *exported(v1.NODES, "registered_at"),
    ),
    description="The nodes of the pipeline: sources, transforms, gates, aggregations, coalesces, queues and sinks.",
)

EDGES = replace(
    v1.EDGES,
    columns=(
        *kept(v1.EDGES, "edge_id", "from_node_id", "to_node_id", "label", "default_mode"),
        *exported(v1.EDGES, "created_at"),
    ),
)

OPERATIONS = replace(
    v1.OPERATIONS,
    columns=(
        *kept(v1.OPERATIONS, "operation_id", "node_id"),
        *kept(v1.OPERATIONS, "operation_type", values=OPERATION_TYPE),
        *kept(v1.OPERATIONS, "status", "started_at", "completed_at"),
        *kept(v1.OPERATIONS, "duration_ms", minimum=0),
        *kept(v1.OPERATIONS, "error_message", "input_data_ref", "input_data_hash"),
        *kept(v1.OPERATIONS, "output_data_ref", "output_data_hash"),
    ),
    rules=(*v1.OPERATIONS.rules, When((Is("status", ("failed",)),), filled=("error_message",))),
    description="Loads of sources, writes of sinks, and checks before the run.",
)

CALLS = replace(
    v1.CALLS,
    columns=(
        *kept(v1.CALLS, "call_id", "state_id", "operation_id", "call_index", "call_type", "status"),
        *kept(v1.CALLS, "request_hash", "response_hash"),
        sha256("resolved_prompt_template_hash", "Hash of the prompt's template, of a call of a model."),
        *kept(v1.CALLS, "latency_ms", minimum=0),
        *kept(v1.CALLS, "request_ref", "response_ref", "error_json", "created_at"),
    ),
    rules=(
        ExactlyOne(("state_id", "operation_id")),
        StatusRule(
            "call_type",
            tuple(kind for kind in v1.CALL_TYPE if kind != "llm"),
            forbidden=("resolved_prompt_template_hash",),
        ),
    ),
)

VALIDATION_ERRORS = Table(
    "validation_errors",
    "validation_error",
    id=("error_id",),
    about="errors",
    description="Rows that did not fit the schema of their source.",
    columns=(
        text("error_id", "Id of the error.", required=True),
        text("node_id", "The node that found it."),
        text("row_id", "The row, where it was recorded."),
        text("row_hash", "Hash of the row's data.", required=True),
        text("row_data_json", "The row's data, as stored."),
        text("error", "What is wrong with the row.", required=True),
        text("schema_mode", "How the source treats fields outside its schema.", required=True),
        text("destination", "The sink to which the row was sent.", required=True),
        time("created_at", "When it was recorded.", required=True),
        text("violation_type", "What kind of violation it is."),
        text("original_field_name", "The field, as the source named it."),
        text("normalized_field_name", "The field, as the pipeline names it."),
        text("expected_type", "The type that the schema asks for."),
        text("actual_type", "The type that was found."),
    ),
    order=by("created_at", "error_id"),
    references=(Reference("node_id", "nodes"), Reference("row_id", "rows")),
)

TRANSFORM_ERRORS = Table(
    "transform_errors",
    "transform_error",
    id=("error_id",),
    about="errors",
    description="Rows that a transform could not work on.",
    columns=(
        text("error_id", "Id of the error.", required=True),
        text("token_id", "The token.", required=True),
        text("transform_id", "The transform.", required=True),
        text("row_hash", "Hash of the row's data.", required=True),
        text("row_data_json", "The row's data, as stored."),
        text("error_details_json", "What went wrong, as stored."),
        text("destination", "The sink to which the row was sent.", required=True),
        time("created_at", "When it was recorded.", required=True),
    ),
    order=by("created_at", "error_id"),
    references=(Reference("token_id", "tokens"), Reference("transform_id", "nodes")),
)

ROWS = replace(
    v1.ROWS,
    columns=(
        *kept(v1.ROWS, "row_id", "row_index"),
        integer("source_row_index", "Place of the row in its source.", required=True),
        integer("ingest_sequence", "Place of the row among those of all sources.", required=True),
        *kept(v1.ROWS, "source_node_id", "source_data_hash"),
        text("source_data_ref", "Where the row's data are kept."),
        time("created_at", "When the row was recorded.", required=True),
    ),
    order=by("ingest_sequence", "row_id"),
    description="The rows that the sources delivered.",
)

TOKENS = replace(
    v1.TOKENS,
    columns=(
        *kept(v1.TOKENS, "token_id", "row_id", "step_in_pipeline", "branch_name"),
        *kept(v1.TOKENS, "fork_group_id", "join_group_id", "expand_group_id"),
        *exported(v1.TOKENS, "created_at"),
    ),
)


def _outcome(outcome: str | None, path: str, *required: str, allowed: tuple[str, ...] = (), sink: str = "") -> Case:
    equals: tuple[tuple[str, object], ...] = (("completed", outcome is not None),)
    return Case((outcome, path), required, allowed, equals + ((("sink_name", sink),) if sink else ()))


TOKEN_OUTCOMES = replace(
    v1.TOKEN_OUTCOMES,
    columns=(
        *kept(v1.TOKEN_OUTCOMES, "outcome_id", "token_id"),
        enum("outcome", OUTCOME, "What became of it; null while that is open."),
        enum("path", OUTCOME_PATH, "On which way that came about.", required=True),
        flag("completed", "Whether that is final.", required=True),
        *kept(v1.TOKEN_OUTCOMES, "recorded_at", "sink_name", "batch_id", "fork_group_id", "join_group_id"),
        *kept(v1.TOKEN_OUTCOMES, "expand_group_id", "error_hash", "context_json", "expected_branches_json"),
    ),
    rules=(
        Cases(
            ("outcome", "path"),
            ("sink_name", "batch_id", "fork_group_id", "join_group_id", "expand_group_id", "error_hash"),
            (
                _outcome("success", "default_flow", "sink_name"),
                _outcome("success", "gate_routed", "sink_name"),
                _outcome("success", "gate_discarded"),
                _outcome("success", "filter_dropped"),
                _outcome("success", "coalesced", "join_group_id", allowed=("sink_name",)),
                _outcome("failure", "on_error_routed", "sink_name", "error_hash"),
                _outcome("failure", "sink_discarded", "sink_name", "error_hash", sink="__discard__"),
                _outcome("failure", "unrouted", "error_hash"),
                _outcome("failure", "quarantined_at_source", "error_hash", allowed=("sink_name",)),
                _outcome("transient", "sink_fallback_to_failsink", "sink_name", "error_hash"),
                _outcome("transient", "fork_parent", "fork_group_id"),
                _outcome("transient", "expand_parent", "expand_group_id"),
                _outcome("transient", "batch_consumed", "batch_id"),
                _outcome(None, "buffered", "batch_id"),
            ),
        ),
        AtMostOne("token_id", "completed", True, "terminal outcome"),
    ),
)

SCHEDULER_EVENTS = Table(
    "scheduler_events",
    "scheduler_event",
    id=("event_id",),
    about="rows",
    description="How the scheduler handed tokens to workers.",
    columns=(
        text("event_id", "Id of the event.", required=True),
        text("token_id", "The token.", required=True),
        text("work_item_id", "The piece of work.", required=True),
        text("node_id", "The node; null for the end of a token's way."),
        enum("event_type", SCHEDULER_EVENT_TYPE, "What happened.", required=True),
        enum("from_status", WORK_STATUS, "The state of the work before."),
        enum("to_status", WORK_STATUS, "The state of the work afterwards.", required=True),
        text("from_lease_owner", "The worker that held it before."),
        text("to_lease_owner", "The worker that held it afterwards."),
        time("from_lease_expires_at", "Until when it was held before."),
        time("to_lease_expires_at", "Until when it was held afterwards."),
        integer("from_attempt", "Which attempt it was before."),
        integer("to_attempt", "Which attempt it was afterwards.", required=True),
        time("recorded_at", "When it was recorded.", required=True),
        text("caller_owner", "The worker that asked for it."),
        text("context_json", "More about the event, as stored.", required=True),
    ),
    order=by("recorded_at", "event_id"),
    references=(Reference("token_id", "tokens"), Reference("node_id", "nodes")),
)

NODE_STATES = replace(
    v1.NODE_STATES,
    columns=tuple(
        replace(column, minimum=0) if column.name == "duration_ms" else column for column in v1.NODE_STATES.columns
    ),
    rules=(*v1.NODE_STATES.rules, StatusRule("status", ("failed",), required=("error_json",))),
)

BATCHES = replace(
    v1.BATCHES,
    columns=(
        *kept(v1.BATCHES, "batch_id", "aggregation_node_id", "attempt", "status"),
        *kept(v1.BATCHES, "trigger_type", values=TRIGGER_TYPE),
        *kept(v1.BATCHES, "trigger_reason", "created_at", "completed_at"),
    ),
    rules=(StatusRule("status", ("completed",), required=("completed_at",)),),
)

BATCH_MEMBERS = replace(v1.BATCH_MEMBERS, own_run_id=True)

ARTIFACTS = replace(
    v1.ARTIFACTS,
    columns=(
        *kept(v1.ARTIFACTS, "artifact_id", "sink_node_id", "produced_by_state_id", "artifact_type", "path_or_uri"),
        *kept(v1.ARTIFACTS, "content_hash", pattern=HEX),
        *kept(v1.ARTIFACTS, "size_bytes"),
        text("idempotency_key", "By which a sink knows that it has written it before."),
        *exported(v1.ARTIFACTS, "created_at"),
    ),
)

ERRORS = (Group("validation_errors"), Group("transform_errors"))

ROWS_IN_ORDER = Group(
    "rows",
    children=(
        Group(
            "tokens",
            link="row_id",
            children=(
                Group("token_parents", link="token_id"),
                Group("token_outcomes", link="token_id"),
                Group("scheduler_events", link="token_id"),
                Group(
                    "node_states",
                    link="token_id",
                    children=(Group("routing_events", link="state_id"), Group("calls", link="state_id")),
                ),
            ),
        ),
    ),
)

V060 = Contract(
    name="v060",
    written_by="ELSPETH 0.6.0 and 0.6.1",
    epoch=21,
    finished=FINISHED,
    backends=("sqlite",),
    tables={
        table.name: table
        for table in (
            RUNS,
            SECRET_RESOLUTIONS,
            NODES,
            EDGES,
            OPERATIONS,
            CALLS,
            VALIDATION_ERRORS,
            TRANSFORM_ERRORS,
            ROWS,
            TOKENS,
            v1.TOKEN_PARENTS,
            TOKEN_OUTCOMES,
            SCHEDULER_EVENTS,
            NODE_STATES,
            v1.ROUTING_EVENTS,
            BATCHES,
            BATCH_MEMBERS,
            ARTIFACTS,
        )
    },
    order=(
        Group("runs"),
        Group("secret_resolutions"),
        Group("nodes"),
        Group("edges"),
        Group("operations", children=(Group("calls", link="operation_id"),)),
        *ERRORS,
        ROWS_IN_ORDER,
        Group("batches", children=(Group("batch_members", link="batch_id"),)),
        Group("artifacts"),
    ),
)
