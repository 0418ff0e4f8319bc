"""Contract v1, as data: the Landscape of ELSPETH 0.4 (March 2026).

Belongs here: tables, columns, enums, references, order and rules of v1. No code that acts on them.
It has more than 400 lines because it is data: one table after the other.
"""

from __future__ import annotations

from .columns import by, column, enum, integer, number, text, time
from .model import Contract, Group, Kind, Marker, OrderKey, ParentLink, Reference, Table
from .rules import AtMostOne, ExactlyOne, StatusRule

RUN_STATUS = ("running", "completed", "failed", "interrupted")
REPRODUCIBILITY_GRADE = ("full_reproducible", "replay_reproducible", "attributable_only")
NODE_TYPE = ("source", "transform", "gate", "aggregation", "coalesce", "sink")
DETERMINISM = ("deterministic", "seeded", "io_read", "io_write", "external_call", "non_deterministic")
ROUTING_MODE = ("move", "copy", "divert")
OUTCOME_TERMINAL = (
    "completed",
    "routed",
    "forked",
    "failed",
    "quarantined",
    "diverted",
    "consumed_in_batch",
    "coalesced",
    "expanded",
)
OUTCOME_OPEN = ("buffered",)
NODE_STATE_STATUS = ("open", "pending", "completed", "failed")
CALL_TYPE = ("llm", "http", "http_redirect", "sql", "vector", "filesystem")
CALL_STATUS = ("success", "error")
BATCH_STATUS = ("draft", "executing", "completed", "failed")
TRIGGER_TYPE = ("count", "timeout", "condition", "end_of_source", "manual")
OPERATION_TYPE = ("source_load", "sink_write")
OPERATION_STATUS = ("open", "completed", "failed", "pending")


RUNS = Table(
    "runs",
    "run",
    id=("run_id",),
    about="run",
    description="The run itself: when it ran, with which settings, and how it ended.",
    columns=(
        enum("status", RUN_STATUS, "Status of the run: unfinished, or how it ended.", required=True),
        time("started_at", "When the run started.", required=True),
        time("completed_at", "When the run ended; null while it has not."),
        text("canonical_version", "The canonical form that the run's own hashes use.", required=True),
        text("config_hash", "Hash of the run's settings.", required=True),
        column(Kind.JSON, "settings_json", "The settings of the run.", required=True, field="settings"),
        enum("reproducibility_grade", REPRODUCIBILITY_GRADE, "How far the run can be reproduced."),
    ),
    order=by("run_id"),
)

SECRET_RESOLUTIONS = Table(
    "secret_resolutions",
    "secret_resolution",
    id=("resolution_id",),
    about="run",
    description="Secrets that the run looked up, by fingerprint; never their values.",
    columns=(
        text("resolution_id", "Id of the look-up.", required=True, not_empty=True),
        number("timestamp", "When it was looked up, in seconds since 1970 (UTC).", required=True),
        text("env_var_name", "The environment variable that the secret was put into.", required=True, not_empty=True),
        enum("source", ("keyvault",), "Where the secret came from.", required=True),
        text("vault_url", "The vault.", not_empty=True),
        text("secret_name", "The secret's name in the vault.", not_empty=True),
        text("fingerprint", "HMAC-SHA256 fingerprint of the secret.", required=True, pattern="[0-9a-f]{64}"),
        number("resolution_latency_ms", "How long the look-up took, in milliseconds.", minimum=0),
    ),
    order=by("timestamp", "resolution_id"),
)

NODES = Table(
    "nodes",
    "node",
    id=("node_id",),
    id_per_run=True,
    about="pipeline",
    description="The nodes of the pipeline: sources, transforms, gates, aggregations, coalesces and sinks.",
    columns=(
        text("node_id", "Id of the node, unique within the run.", required=True),
        text("plugin_name", "The plugin that the node runs.", required=True),
        enum("node_type", NODE_TYPE, "What kind of node it is.", required=True),
        text("plugin_version", "Version of the plugin.", required=True),
        enum("determinism", DETERMINISM, "What the plugin's output depends on.", required=True),
        text("config_hash", "Hash of the node's configuration.", required=True),
        column(Kind.JSON, "config_json", "The node's configuration.", required=True, field="config"),
        text("schema_hash", "Hash of the node's schema."),
        text("schema_mode", "How the node treats fields outside its schema."),
        column(Kind.JSON_OBJECTS, "schema_fields_json", "The fields of the node's schema.", field="schema_fields"),
        integer("sequence_in_pipeline", "Place of the node in the pipeline."),
        time("registered_at", "When the node was registered.", required=True, field=None),
    ),
    order=(OrderKey("sequence_in_pipeline", nulls_last=True), *by("registered_at", "node_id")),
)

EDGES = Table(
    "edges",
    "edge",
    id=("edge_id",),
    about="pipeline",
    description="The edges of the pipeline.",
    columns=(
        text("edge_id", "Id of the edge.", required=True),
        text("from_node_id", "The node that it leaves.", required=True),
        text("to_node_id", "The node that it leads to.", required=True),
        text("label", "The label under which a node routes to it.", required=True),
        enum("default_mode", ROUTING_MODE, "How tokens take it unless an event says otherwise.", required=True),
        time("created_at", "When the edge was registered.", required=True, field=None),
    ),
    order=by("created_at", "edge_id"),
    references=(Reference("from_node_id", "nodes"), Reference("to_node_id", "nodes")),
)

OPERATIONS = Table(
    "operations",
    "operation",
    id=("operation_id",),
    about="operations",
    description="Loads of sources and writes of sinks.",
    columns=(
        text("operation_id", "Id of the operation.", required=True),
        text("node_id", "The source or sink.", required=True),
        enum("operation_type", OPERATION_TYPE, "What was done.", required=True),
        enum("status", OPERATION_STATUS, "Status of the operation: unfinished, or how it ended.", required=True),
        time("started_at", "When it started.", required=True),
        time("completed_at", "When it ended."),
        number("duration_ms", "How long it took, in milliseconds."),
        text("error_message", "What went wrong."),
        text("input_data_ref", "Where the payload that went in is kept."),
        text("input_data_hash", "Hash of the payload that went in."),
        text("output_data_ref", "Where the payload that came out is kept."),
        text("output_data_hash", "Hash of the payload that came out."),
    ),
    order=by("started_at", "operation_id"),
    references=(Reference("node_id", "nodes"),),
    rules=(
        StatusRule("status", ("open",), forbidden=("completed_at", "duration_ms", "error_message")),
        StatusRule("status", ("completed", "failed", "pending"), required=("completed_at", "duration_ms")),
        StatusRule("status", ("failed",), required=("error_message",)),
        StatusRule("status", ("completed",), forbidden=("error_message",)),
    ),
)

CALLS = Table(
    "calls",
    "call",
    id=("call_id",),
    own_run_id=False,
    paths=(ParentLink("state_id", "node_states"), ParentLink("operation_id", "operations")),
    about="operations",
    description="Calls to external services (models, HTTP, SQL, ...) made in a node state or an operation.",
    columns=(
        text("call_id", "Id of the call.", required=True),
        text("state_id", "The node state that made it; null when an operation did."),
        text("operation_id", "The operation that made it; null when a node state did."),
        integer("call_index", "Place of the call among those of its parent.", required=True),
        enum("call_type", CALL_TYPE, "What was called.", required=True),
        enum("status", CALL_STATUS, "How the call ended.", required=True),
        text("request_hash", "Hash of the request.", required=True),
        text("response_hash", "Hash of the response."),
        number("latency_ms", "How long the call took, in milliseconds."),
        text("request_ref", "Where the request is kept."),
        text("response_ref", "Where the response is kept."),
        text("error_json", "What went wrong, as stored."),
        time("created_at", "When the call was recorded.", required=True),
    ),
    order=by("call_index", "call_id"),
    references=(Reference("state_id", "node_states"), Reference("operation_id", "operations")),
    rules=(ExactlyOne(("state_id", "operation_id")),),
)

ROWS = Table(
    "rows",
    "row",
    id=("row_id",),
    about="rows",
    description="The rows that the source delivered.",
    columns=(
        text("row_id", "Id of the row.", required=True),
        integer("row_index", "Place of the row in the source.", required=True),
        text("source_node_id", "The source.", required=True),
        text("source_data_hash", "Hash of the row's data.", required=True),
    ),
    order=by("row_index", "row_id"),
    references=(Reference("source_node_id", "nodes"),),
)

TOKENS = Table(
    "tokens",
    "token",
    id=("token_id",),
    paths=(ParentLink("row_id", "rows"),),
    about="rows",
    description="The instances of a row on their way through the pipeline.",
    columns=(
        text("token_id", "Id of the token.", required=True),
        text("row_id", "The row that it carries.", required=True),
        integer("step_in_pipeline", "The step at which the token came to be."),
        text("branch_name", "The branch that it took at a fork."),
        text("fork_group_id", "Ties the tokens of one fork together."),
        text("join_group_id", "Ties the tokens of one join together."),
        text("expand_group_id", "Ties the tokens of one expansion together."),
        time("created_at", "When the token was recorded.", required=True, field=None),
    ),
    order=by("created_at", "token_id"),
    references=(Reference("row_id", "rows"),),
)

TOKEN_PARENTS = Table(
    "token_parents",
    "token_parent",
    id=("token_id", "parent_token_id"),
    own_run_id=False,
    paths=(ParentLink("token_id", "tokens"),),
    about="rows",
    description="Which tokens a forked, joined or expanded token was made of.",
    columns=(
        text("token_id", "The token.", required=True),
        text("parent_token_id", "A token that it was made of.", required=True),
        integer("ordinal", "Place among the parents.", required=True),
    ),
    order=by("ordinal", "parent_token_id"),
    references=(Reference("token_id", "tokens"), Reference("parent_token_id", "tokens")),
)

TOKEN_OUTCOMES = Table(
    "token_outcomes",
    "token_outcome",
    id=("outcome_id",),
    about="rows",
    description="What became of each token.",
    columns=(
        text("outcome_id", "Id of the outcome.", required=True),
        text("token_id", "The token.", required=True),
        enum("outcome", OUTCOME_TERMINAL + OUTCOME_OPEN, "What became of it.", required=True),
        column(Kind.BOOLEAN, "is_terminal", "Whether that is final.", required=True),
        time("recorded_at", "When it was recorded.", required=True),
        text("sink_name", "The sink that took the token."),
        text("batch_id", "The batch that took the token."),
        text("fork_group_id", "The fork that split the token."),
        text("join_group_id", "The join that took the token."),
        text("expand_group_id", "The expansion that took the token."),
        text("error_hash", "Hash of the error."),
        text("context_json", "More about the outcome, as stored."),
        text("expected_branches_json", "The branches that a join waits for, as stored."),
    ),
    order=by("recorded_at", "outcome_id"),
    references=(Reference("token_id", "tokens"), Reference("batch_id", "batches")),
    rules=(
        StatusRule("outcome", OUTCOME_TERMINAL, equals=(("is_terminal", True),)),
        StatusRule("outcome", OUTCOME_OPEN, equals=(("is_terminal", False),)),
        AtMostOne("token_id", "is_terminal", True, "terminal outcome"),
    ),
)

NODE_STATES = Table(
    "node_states",
    "node_state",
    id=("state_id",),
    paths=(ParentLink("token_id", "tokens"),),
    about="rows",
    description="One row for each attempt of a node to process a token.",
    columns=(
        text("state_id", "Id of the state.", required=True),
        text("token_id", "The token.", required=True),
        text("node_id", "The node.", required=True),
        integer("step_index", "Number of the step on the token's path through the pipeline.", required=True),
        integer("attempt", "Which attempt it was, from 0.", required=True),
        enum("status", NODE_STATE_STATUS, "Status of the attempt: unfinished, or how it ended.", required=True),
        text("input_hash", "Hash of what went in.", required=True),
        text("output_hash", "Hash of what came out."),
        number("duration_ms", "How long it took, in milliseconds."),
        time("started_at", "When it started.", required=True),
        time("completed_at", "When it ended."),
        text("context_before_json", "Context before, as stored."),
        text("context_after_json", "Context after, as stored."),
        text("error_json", "What went wrong, as stored."),
        text("success_reason_json", "Why it succeeded, as stored."),
    ),
    order=by("step_index", "attempt", "state_id"),
    references=(Reference("token_id", "tokens"), Reference("node_id", "nodes")),
    rules=(
        StatusRule(
            "status",
            ("open",),
            forbidden=(
                "output_hash",
                "duration_ms",
                "completed_at",
                "context_after_json",
                "error_json",
                "success_reason_json",
            ),
        ),
        StatusRule(
            "status",
            ("pending",),
            required=("duration_ms", "completed_at"),
            forbidden=("output_hash", "error_json", "success_reason_json"),
        ),
        StatusRule(
            "status",
            ("completed",),
            required=("output_hash", "duration_ms", "completed_at"),
            forbidden=("error_json",),
        ),
        StatusRule(
            "status",
            ("failed",),
            required=("duration_ms", "completed_at"),
            forbidden=("success_reason_json",),
        ),
    ),
)

ROUTING_EVENTS = Table(
    "routing_events",
    "routing_event",
    id=("event_id",),
    own_run_id=False,
    paths=(ParentLink("state_id", "node_states"),),
    about="rows",
    description="The edges that tokens were sent along.",
    columns=(
        text("event_id", "Id of the event.", required=True),
        text("state_id", "The node state that decided.", required=True),
        text("edge_id", "The edge taken.", required=True),
        text("routing_group_id", "Ties the events of one decision together.", required=True),
        integer("ordinal", "Place within the decision.", required=True),
        enum("mode", ROUTING_MODE, "How the token took the edge.", required=True),
        text("reason_hash", "Hash of the reason."),
        text("reason_ref", "Where the reason is kept."),
        time("created_at", "When it was recorded.", required=True),
    ),
    order=by("ordinal", "event_id"),
    references=(Reference("state_id", "node_states"), Reference("edge_id", "edges")),
)

BATCHES = Table(
    "batches",
    "batch",
    id=("batch_id",),
    about="batches",
    description="Batches of aggregated tokens.",
    columns=(
        text("batch_id", "Id of the batch.", required=True),
        text("aggregation_node_id", "The aggregation.", required=True),
        integer("attempt", "Which attempt it was, from 0.", required=True),
        enum("status", BATCH_STATUS, "How far the batch got.", required=True),
        enum("trigger_type", TRIGGER_TYPE, "What closed the batch."),
        text("trigger_reason", "Why it was closed."),
        time("created_at", "When the batch was opened.", required=True),
        time("completed_at", "When it was done."),
    ),
    order=by("created_at", "batch_id"),
    references=(Reference("aggregation_node_id", "nodes"),),
)

BATCH_MEMBERS = Table(
    "batch_members",
    "batch_member",
    id=("batch_id", "token_id"),
    own_run_id=False,
    paths=(ParentLink("batch_id", "batches"),),
    about="batches",
    description="The tokens of each batch.",
    columns=(
        text("batch_id", "The batch.", required=True),
        text("token_id", "The token.", required=True),
        integer("ordinal", "Place within the batch.", required=True),
    ),
    order=by("ordinal", "token_id"),
    references=(Reference("batch_id", "batches"), Reference("token_id", "tokens")),
)

ARTIFACTS = Table(
    "artifacts",
    "artifact",
    id=("artifact_id",),
    about="sinks",
    description="What the sinks wrote.",
    columns=(
        text("artifact_id", "Id of the artifact.", required=True),
        text("sink_node_id", "The sink.", required=True),
        text("produced_by_state_id", "The node state that wrote it.", required=True),
        text("artifact_type", "What kind of thing it is.", required=True),
        text("path_or_uri", "Where it was written.", required=True),
        text("content_hash", "Hash of its content.", required=True),
        integer("size_bytes", "Its size in bytes.", required=True),
        time("created_at", "When it was recorded.", required=True, field=None),
    ),
    order=by("created_at", "artifact_id"),
    references=(Reference("sink_node_id", "nodes"), Reference("produced_by_state_id", "node_states")),
)

V1 = Contract(
    name="v1",
    written_by="ELSPETH 0.4 (March 2026)",
    markers=(
        Marker("operations", "output_data_hash", present=True),
        Marker("token_outcomes", "is_terminal", present=True),
    ),
    tables={
        table.name: table
        for table in (
            RUNS,
            SECRET_RESOLUTIONS,
            NODES,
            EDGES,
            OPERATIONS,
            CALLS,
            ROWS,
            TOKENS,
            TOKEN_PARENTS,
            TOKEN_OUTCOMES,
            NODE_STATES,
            ROUTING_EVENTS,
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
        Group(
            "rows",
            children=(
                Group(
                    "tokens",
                    link="row_id",
                    children=(
                        Group("token_parents", link="token_id"),
                        Group("token_outcomes", link="token_id"),
                        Group(
                            "node_states",
                            link="token_id",
                            children=(
                                Group("routing_events", link="state_id"),
                                Group("calls", link="state_id"),
                            ),
                        ),
                    ),
                ),
            ),
        ),
        Group("batches", children=(Group("batch_members", link="batch_id"),)),
        Group("artifacts"),
    ),
)
