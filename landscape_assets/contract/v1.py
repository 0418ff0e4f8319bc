"""Contract v1, as data: the Landscape of ELSPETH 0.4 (March 2026).

Belongs here: tables, columns, enums, references, order and rules of v1. No code that acts on them.
It has more than 400 lines because it is data: one table after the other.
"""

from __future__ import annotations

from .model import (
    AtMostOne,
    Column,
    Contract,
    ExactlyOne,
    Group,
    Kind,
    Marker,
    OrderKey,
    ParentLink,
    Reference,
    StatusRule,
    Table,
)

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


def _column(kind: Kind, name: str, description: str, /, **more: object) -> Column:
    """A column that becomes the record field of the same name, unless `field` says otherwise."""
    return Column(name, kind, description, **({"field": name} | more))


def _text(name: str, description: str, /, **more: object) -> Column:
    return _column(Kind.TEXT, name, description, **more)


def _enum(name: str, values: tuple[str, ...], description: str, /, **more: object) -> Column:
    return _column(Kind.ENUM, name, description, values=values, **more)


def _int(name: str, description: str, /, **more: object) -> Column:
    return _column(Kind.INTEGER, name, description, minimum=0, **more)


def _float(name: str, description: str, /, **more: object) -> Column:
    return _column(Kind.FLOAT, name, description, **more)


def _time(name: str, description: str, /, **more: object) -> Column:
    return _column(Kind.TIME, name, description, **more)


def _by(*names: str) -> tuple[OrderKey, ...]:
    return tuple(OrderKey(name) for name in names)


RUNS = Table(
    "runs",
    "run",
    id=("run_id",),
    description="The run itself: when it ran, with which settings, and how it ended.",
    columns=(
        _enum("status", RUN_STATUS, "How the run ended, or that it has not.", required=True),
        _time("started_at", "When the run started.", required=True),
        _time("completed_at", "When the run ended; null while it has not."),
        _text("canonical_version", "The canonical form that the run's own hashes use.", required=True),
        _text("config_hash", "Hash of the run's settings.", required=True),
        _column(Kind.JSON, "settings_json", "The settings of the run.", required=True, field="settings"),
        _enum("reproducibility_grade", REPRODUCIBILITY_GRADE, "How far the run can be reproduced."),
    ),
    order=_by("run_id"),
)

SECRET_RESOLUTIONS = Table(
    "secret_resolutions",
    "secret_resolution",
    id=("resolution_id",),
    description="Secrets that the run looked up, by fingerprint; never their values.",
    columns=(
        _text("resolution_id", "Id of the look-up.", required=True, not_empty=True),
        _float("timestamp", "When it was looked up, in seconds since 1970 (UTC).", required=True),
        _text("env_var_name", "The environment variable that the secret was put into.", required=True, not_empty=True),
        _enum("source", ("keyvault",), "Where the secret came from.", required=True),
        _text("vault_url", "The vault.", not_empty=True),
        _text("secret_name", "The secret's name in the vault.", not_empty=True),
        _text("fingerprint", "HMAC-SHA256 fingerprint of the secret.", required=True, pattern="[0-9a-f]{64}"),
        _float("resolution_latency_ms", "How long the look-up took, in milliseconds.", minimum=0),
    ),
    order=_by("timestamp", "resolution_id"),
)

NODES = Table(
    "nodes",
    "node",
    id=("node_id",),
    id_per_run=True,
    description="The nodes of the pipeline: sources, transforms, gates, aggregations, coalesces and sinks.",
    columns=(
        _text("node_id", "Id of the node, unique within the run.", required=True),
        _text("plugin_name", "The plugin that the node runs.", required=True),
        _enum("node_type", NODE_TYPE, "What kind of node it is.", required=True),
        _text("plugin_version", "Version of the plugin.", required=True),
        _enum("determinism", DETERMINISM, "What the plugin's output depends on.", required=True),
        _text("config_hash", "Hash of the node's configuration.", required=True),
        _column(Kind.JSON, "config_json", "The node's configuration.", required=True, field="config"),
        _text("schema_hash", "Hash of the node's schema."),
        _text("schema_mode", "How the node treats fields outside its schema."),
        _column(Kind.JSON_OBJECTS, "schema_fields_json", "The fields of the node's schema.", field="schema_fields"),
        _int("sequence_in_pipeline", "Place of the node in the pipeline."),
        _time("registered_at", "When the node was registered.", required=True, field=None),
    ),
    order=(OrderKey("sequence_in_pipeline", nulls_last=True), *_by("registered_at", "node_id")),
)

EDGES = Table(
    "edges",
    "edge",
    id=("edge_id",),
    description="The edges of the pipeline.",
    columns=(
        _text("edge_id", "Id of the edge.", required=True),
        _text("from_node_id", "The node that it leaves.", required=True),
        _text("to_node_id", "The node that it leads to.", required=True),
        _text("label", "The label under which a node routes to it.", required=True),
        _enum("default_mode", ROUTING_MODE, "How tokens take it unless an event says otherwise.", required=True),
        _time("created_at", "When the edge was registered.", required=True, field=None),
    ),
    order=_by("created_at", "edge_id"),
    references=(Reference("from_node_id", "nodes"), Reference("to_node_id", "nodes")),
)

OPERATIONS = Table(
    "operations",
    "operation",
    id=("operation_id",),
    description="Loads of sources and writes of sinks.",
    columns=(
        _text("operation_id", "Id of the operation.", required=True),
        _text("node_id", "The source or sink.", required=True),
        _enum("operation_type", OPERATION_TYPE, "What was done.", required=True),
        _enum("status", OPERATION_STATUS, "How it ended, or that it has not.", required=True),
        _time("started_at", "When it started.", required=True),
        _time("completed_at", "When it ended."),
        _float("duration_ms", "How long it took, in milliseconds."),
        _text("error_message", "What went wrong."),
        _text("input_data_ref", "Where the payload that went in is kept."),
        _text("input_data_hash", "Hash of the payload that went in."),
        _text("output_data_ref", "Where the payload that came out is kept."),
        _text("output_data_hash", "Hash of the payload that came out."),
    ),
    order=_by("started_at", "operation_id"),
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
    description="Calls to the outside (models, HTTP, SQL, ...) made in a node state or an operation.",
    columns=(
        _text("call_id", "Id of the call.", required=True),
        _text("state_id", "The node state that made it; null when an operation did."),
        _text("operation_id", "The operation that made it; null when a node state did."),
        _int("call_index", "Place of the call among those of its parent.", required=True),
        _enum("call_type", CALL_TYPE, "What was called.", required=True),
        _enum("status", CALL_STATUS, "How the call ended.", required=True),
        _text("request_hash", "Hash of the request.", required=True),
        _text("response_hash", "Hash of the response."),
        _float("latency_ms", "How long the call took, in milliseconds."),
        _text("request_ref", "Where the request is kept."),
        _text("response_ref", "Where the response is kept."),
        _text("error_json", "What went wrong, as stored."),
        _time("created_at", "When the call was recorded.", required=True),
    ),
    order=_by("call_index", "call_id"),
    references=(Reference("state_id", "node_states"), Reference("operation_id", "operations")),
    rules=(ExactlyOne(("state_id", "operation_id")),),
)

ROWS = Table(
    "rows",
    "row",
    id=("row_id",),
    description="The rows that the source delivered.",
    columns=(
        _text("row_id", "Id of the row.", required=True),
        _int("row_index", "Place of the row in the source.", required=True),
        _text("source_node_id", "The source.", required=True),
        _text("source_data_hash", "Hash of the row's data.", required=True),
    ),
    order=_by("row_index", "row_id"),
    references=(Reference("source_node_id", "nodes"),),
)

TOKENS = Table(
    "tokens",
    "token",
    id=("token_id",),
    paths=(ParentLink("row_id", "rows"),),
    description="The instances of a row on their way through the pipeline.",
    columns=(
        _text("token_id", "Id of the token.", required=True),
        _text("row_id", "The row that it carries.", required=True),
        _int("step_in_pipeline", "The step at which the token came to be."),
        _text("branch_name", "The branch that it took at a fork."),
        _text("fork_group_id", "Ties the tokens of one fork together."),
        _text("join_group_id", "Ties the tokens of one join together."),
        _text("expand_group_id", "Ties the tokens of one expansion together."),
        _time("created_at", "When the token was recorded.", required=True, field=None),
    ),
    order=_by("created_at", "token_id"),
    references=(Reference("row_id", "rows"),),
)

TOKEN_PARENTS = Table(
    "token_parents",
    "token_parent",
    id=("token_id", "parent_token_id"),
    own_run_id=False,
    paths=(ParentLink("token_id", "tokens"),),
    description="Which tokens a forked, joined or expanded token was made of.",
    columns=(
        _text("token_id", "The token.", required=True),
        _text("parent_token_id", "A token that it was made of.", required=True),
        _int("ordinal", "Place among the parents.", required=True),
    ),
    order=_by("ordinal", "parent_token_id"),
    references=(Reference("token_id", "tokens"), Reference("parent_token_id", "tokens")),
)

TOKEN_OUTCOMES = Table(
    "token_outcomes",
    "token_outcome",
    id=("outcome_id",),
    description="What became of each token.",
    columns=(
        _text("outcome_id", "Id of the outcome.", required=True),
        _text("token_id", "The token.", required=True),
        _enum("outcome", OUTCOME_TERMINAL + OUTCOME_OPEN, "What became of it.", required=True),
        _column(Kind.BOOLEAN, "is_terminal", "Whether that is final.", required=True),
        _time("recorded_at", "When it was recorded.", required=True),
        _text("sink_name", "The sink that took the token."),
        _text("batch_id", "The batch that took the token."),
        _text("fork_group_id", "The fork that split the token."),
        _text("join_group_id", "The join that took the token."),
        _text("expand_group_id", "The expansion that took the token."),
        _text("error_hash", "Hash of the error."),
        _text("context_json", "More about the outcome, as stored."),
        _text("expected_branches_json", "The branches that a join waits for, as stored."),
    ),
    order=_by("recorded_at", "outcome_id"),
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
    description="Each attempt of a node at a token.",
    columns=(
        _text("state_id", "Id of the state.", required=True),
        _text("token_id", "The token.", required=True),
        _text("node_id", "The node.", required=True),
        _int("step_index", "The step of the token's way.", required=True),
        _int("attempt", "Which attempt it was, from 0.", required=True),
        _enum("status", NODE_STATE_STATUS, "How the attempt ended, or that it has not.", required=True),
        _text("input_hash", "Hash of what went in.", required=True),
        _text("output_hash", "Hash of what came out."),
        _float("duration_ms", "How long it took, in milliseconds."),
        _time("started_at", "When it started.", required=True),
        _time("completed_at", "When it ended."),
        _text("context_before_json", "Context before, as stored."),
        _text("context_after_json", "Context after, as stored."),
        _text("error_json", "What went wrong, as stored."),
        _text("success_reason_json", "Why it succeeded, as stored."),
    ),
    order=_by("step_index", "attempt", "state_id"),
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
    description="The edges that tokens were sent along.",
    columns=(
        _text("event_id", "Id of the event.", required=True),
        _text("state_id", "The node state that decided.", required=True),
        _text("edge_id", "The edge taken.", required=True),
        _text("routing_group_id", "Ties the events of one decision together.", required=True),
        _int("ordinal", "Place within the decision.", required=True),
        _enum("mode", ROUTING_MODE, "How the token took the edge.", required=True),
        _text("reason_hash", "Hash of the reason."),
        _text("reason_ref", "Where the reason is kept."),
        _time("created_at", "When it was recorded.", required=True),
    ),
    order=_by("ordinal", "event_id"),
    references=(Reference("state_id", "node_states"), Reference("edge_id", "edges")),
)

BATCHES = Table(
    "batches",
    "batch",
    id=("batch_id",),
    description="Batches of aggregated tokens.",
    columns=(
        _text("batch_id", "Id of the batch.", required=True),
        _text("aggregation_node_id", "The aggregation.", required=True),
        _int("attempt", "Which attempt it was, from 0.", required=True),
        _enum("status", BATCH_STATUS, "How far the batch got.", required=True),
        _enum("trigger_type", TRIGGER_TYPE, "What closed the batch."),
        _text("trigger_reason", "Why it was closed."),
        _time("created_at", "When the batch was opened.", required=True),
        _time("completed_at", "When it was done."),
    ),
    order=_by("created_at", "batch_id"),
    references=(Reference("aggregation_node_id", "nodes"),),
)

BATCH_MEMBERS = Table(
    "batch_members",
    "batch_member",
    id=("batch_id", "token_id"),
    own_run_id=False,
    paths=(ParentLink("batch_id", "batches"),),
    description="The tokens of each batch.",
    columns=(
        _text("batch_id", "The batch.", required=True),
        _text("token_id", "The token.", required=True),
        _int("ordinal", "Place within the batch.", required=True),
    ),
    order=_by("ordinal", "token_id"),
    references=(Reference("batch_id", "batches"), Reference("token_id", "tokens")),
)

ARTIFACTS = Table(
    "artifacts",
    "artifact",
    id=("artifact_id",),
    description="What the sinks wrote.",
    columns=(
        _text("artifact_id", "Id of the artifact.", required=True),
        _text("sink_node_id", "The sink.", required=True),
        _text("produced_by_state_id", "The node state that wrote it.", required=True),
        _text("artifact_type", "What kind of thing it is.", required=True),
        _text("path_or_uri", "Where it was written.", required=True),
        _text("content_hash", "Hash of its content.", required=True),
        _int("size_bytes", "Its size in bytes.", required=True),
        _time("created_at", "When it was recorded.", required=True, field=None),
    ),
    order=_by("created_at", "artifact_id"),
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
