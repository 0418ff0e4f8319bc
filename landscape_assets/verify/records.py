"""The record contracts v0 and v1 as data: types, fields, rules, references and order, in this verifier's own words.

Belongs here: what docs/records.md says about records, so that it can be read next to it. Does not belong here: code
that checks. It is stated anew on purpose and shares nothing with the exporter: a second opinion needs its own copy of
the law.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Kind(Enum):
    """The kind of value that a field holds."""

    TEXT = "text"
    INTEGER = "an integer from 0 to 2^53−1"
    FLOAT = "a number"
    TIME = "an ISO 8601 time"
    BOOLEAN = "true or false"
    JSON = "any JSON value"
    OBJECTS = "a list of objects or null"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record.

    Args:
        name: the field.
        kind: what it holds.
        required: it is never null (`!` in the contract).
        values: the texts that it may hold, when they are listed.
        not_empty: the empty text is corruption.
        hex_digits: when not 0, it holds exactly so many lower-case hex digits.
        minimum: the least number, for floats.
    """

    name: str
    kind: Kind
    required: bool = False
    values: tuple[str, ...] = ()
    not_empty: bool = False
    hex_digits: int = 0
    minimum: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What a record must hold when `field` has one of `values`: fields that are not null, fields that are, fixed
    values."""

    field: str
    values: tuple[str, ...]
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    equal: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class RecordType:
    """A type of record.

    Args:
        name: the value of `record_type`.
        table: the audit table that it is read from.
        fields: after `record_type`, in the contract's order; `run_id` first.
        id: the field, or fields, that no two records of the run have the same.
        order: the fields that order the records under one parent, as far as they are exported.
        ties: the order is total with the last part of `id` as its last key.
        references: (field, record type) for ids of other records; null refers to nothing.
        rules: what the status decides.
        exactly_one: of these fields exactly one is not null.
        at_most_one: (per, field): among the records with the same `per`, `field` is true at most once.
    """

    name: str
    table: str
    fields: tuple[Field, ...]
    id: tuple[str, ...]
    order: tuple[str, ...] = ()
    references: tuple[tuple[str, str], ...] = ()
    rules: tuple[Rule, ...] = ()
    exactly_one: tuple[str, ...] = ()
    at_most_one: tuple[str, str] | None = None
    ties: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the order of records: the records of `type` whose `link` is the id of the record they follow."""

    type: str
    link: str | None = None
    children: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Contract:
    """A record contract: its name, its types by name, and the order of its records as a forest."""

    name: str
    types: dict[str, RecordType]
    order: tuple[Place, ...]


def _field(kind: Kind, name: str, **more: object) -> Field:
    return Field(name.removesuffix("!"), kind, required=name.endswith("!"), **more)


def _text(*names: str, **more: object) -> tuple[Field, ...]:
    return tuple(_field(Kind.TEXT, name, **more) for name in names)


def _integer(name: str) -> Field:
    return _field(Kind.INTEGER, name)


def _float(name: str, **more: object) -> Field:
    return _field(Kind.FLOAT, name, **more)


def _time(name: str) -> Field:
    return _field(Kind.TIME, name)


def _enum(name: str, values: str) -> Field:
    return _field(Kind.TEXT, name, values=tuple(values.split()))


MODES = "move copy divert"
TERMINAL = "completed routed forked failed quarantined diverted consumed_in_batch coalesced expanded"
NOT_TERMINAL = "buffered"
STATES = "open pending completed failed"
FINISHED = ("completed", "failed")
"""The run states in which a run is exported (docs/package.md, `status`)."""

RUN_ID = _field(Kind.TEXT, "run_id!")
SIGNATURE = _field(Kind.TEXT, "signature!", hex_digits=64)

_V1 = (
    RecordType(
        "run",
        "runs",
        (
            RUN_ID,
            _enum("status!", "running completed failed interrupted"),
            _time("started_at!"),
            _time("completed_at"),
            *_text("canonical_version!", "config_hash!"),
            _field(Kind.JSON, "settings"),
            _enum("reproducibility_grade", "full_reproducible replay_reproducible attributable_only"),
        ),
        id=("run_id",),
    ),
    RecordType(
        "secret_resolution",
        "secret_resolutions",
        (
            RUN_ID,
            *_text("resolution_id!", not_empty=True),
            _float("timestamp!"),
            *_text("env_var_name!", not_empty=True),
            _enum("source!", "keyvault"),
            *_text("vault_url", "secret_name", not_empty=True),
            *_text("fingerprint!", hex_digits=64),
            _float("resolution_latency_ms", minimum=0),
        ),
        id=("resolution_id",),
        order=("timestamp",),
    ),
    RecordType(
        "node",
        "nodes",
        (
            RUN_ID,
            *_text("node_id!", "plugin_name!"),
            _enum("node_type!", "source transform gate aggregation coalesce sink"),
            *_text("plugin_version!"),
            _enum("determinism!", "deterministic seeded io_read io_write external_call non_deterministic"),
            *_text("config_hash!"),
            _field(Kind.JSON, "config"),
            *_text("schema_hash", "schema_mode"),
            _field(Kind.OBJECTS, "schema_fields"),
            _integer("sequence_in_pipeline"),
        ),
        id=("node_id",),
        order=("sequence_in_pipeline",),
        ties=False,  # registered_at comes next and is not exported
    ),
    RecordType(
        "edge",
        "edges",
        (RUN_ID, *_text("edge_id!", "from_node_id!", "to_node_id!", "label!"), _enum("default_mode!", MODES)),
        id=("edge_id",),
        references=(("from_node_id", "node"), ("to_node_id", "node")),
    ),
    RecordType(
        "operation",
        "operations",
        (
            RUN_ID,
            *_text("operation_id!", "node_id!"),
            _enum("operation_type!", "source_load sink_write"),
            _enum("status!", "open completed failed pending"),
            _time("started_at!"),
            _time("completed_at"),
            _float("duration_ms"),
            *_text("error_message", "input_data_ref", "input_data_hash", "output_data_ref", "output_data_hash"),
        ),
        id=("operation_id",),
        order=("started_at",),
        references=(("node_id", "node"),),
        rules=(
            Rule("status", ("open",), absent=("completed_at", "duration_ms", "error_message")),
            Rule("status", ("completed",), present=("completed_at", "duration_ms"), absent=("error_message",)),
            Rule("status", ("failed",), present=("completed_at", "duration_ms", "error_message")),
            Rule("status", ("pending",), present=("completed_at", "duration_ms")),
        ),
    ),
    RecordType(
        "call",
        "calls",
        (
            RUN_ID,
            *_text("call_id!", "state_id", "operation_id"),
            _integer("call_index!"),
            _enum("call_type!", "llm http http_redirect sql vector filesystem"),
            _enum("status!", "success error"),
            *_text("request_hash!", "response_hash"),
            _float("latency_ms"),
            *_text("request_ref", "response_ref", "error_json"),
            _time("created_at!"),
        ),
        id=("call_id",),
        order=("call_index",),
        exactly_one=("state_id", "operation_id"),
    ),
    RecordType(
        "row",
        "rows",
        (RUN_ID, *_text("row_id!"), _integer("row_index!"), *_text("source_node_id!", "source_data_hash!")),
        id=("row_id",),
        order=("row_index",),
        references=(("source_node_id", "node"),),
    ),
    RecordType(
        "token",
        "tokens",
        (
            RUN_ID,
            *_text("token_id!", "row_id!"),
            _integer("step_in_pipeline"),
            *_text("branch_name", "fork_group_id", "join_group_id", "expand_group_id"),
        ),
        id=("token_id",),
    ),
    RecordType(
        "token_parent",
        "token_parents",
        (RUN_ID, *_text("token_id!", "parent_token_id!"), _integer("ordinal!")),
        id=("token_id", "parent_token_id"),
        order=("ordinal",),
        references=(("parent_token_id", "token"),),
    ),
    RecordType(
        "token_outcome",
        "token_outcomes",
        (
            RUN_ID,
            *_text("outcome_id!", "token_id!"),
            _enum("outcome!", f"{TERMINAL} {NOT_TERMINAL}"),
            _field(Kind.BOOLEAN, "is_terminal!"),
            _time("recorded_at!"),
            *_text("sink_name", "batch_id", "fork_group_id", "join_group_id", "expand_group_id", "error_hash"),
            *_text("context_json", "expected_branches_json"),
        ),
        id=("outcome_id",),
        order=("recorded_at",),
        references=(("batch_id", "batch"),),
        rules=(
            Rule("outcome", tuple(TERMINAL.split()), equal=(("is_terminal", True),)),
            Rule("outcome", (NOT_TERMINAL,), equal=(("is_terminal", False),)),
        ),
        at_most_one=("token_id", "is_terminal"),
    ),
    RecordType(
        "node_state",
        "node_states",
        (
            RUN_ID,
            *_text("state_id!", "token_id!", "node_id!"),
            _integer("step_index!"),
            _integer("attempt!"),
            _enum("status!", STATES),
            *_text("input_hash!", "output_hash"),
            _float("duration_ms"),
            _time("started_at!"),
            _time("completed_at"),
            *_text("context_before_json", "context_after_json", "error_json", "success_reason_json"),
        ),
        id=("state_id",),
        order=("step_index", "attempt"),
        references=(("node_id", "node"),),
        rules=(
            Rule(
                "status",
                ("open",),
                absent=(
                    "output_hash",
                    "duration_ms",
                    "completed_at",
                    "context_after_json",
                    "error_json",
                    "success_reason_json",
                ),
            ),
            Rule(
                "status",
                ("pending",),
                present=("duration_ms", "completed_at"),
                absent=("output_hash", "error_json", "success_reason_json"),
            ),
            Rule(
                "status", ("completed",), present=("output_hash", "duration_ms", "completed_at"), absent=("error_json",)
            ),
            Rule("status", ("failed",), present=("duration_ms", "completed_at"), absent=("success_reason_json",)),
        ),
    ),
    RecordType(
        "routing_event",
        "routing_events",
        (
            RUN_ID,
            *_text("event_id!", "state_id!", "edge_id!", "routing_group_id!"),
            _integer("ordinal!"),
            _enum("mode!", MODES),
            *_text("reason_hash", "reason_ref"),
            _time("created_at!"),
        ),
        id=("event_id",),
        order=("ordinal",),
        references=(("edge_id", "edge"),),
    ),
    RecordType(
        "batch",
        "batches",
        (
            RUN_ID,
            *_text("batch_id!", "aggregation_node_id!"),
            _integer("attempt!"),
            _enum("status!", "draft executing completed failed"),
            _enum("trigger_type", "count timeout condition end_of_source manual"),
            *_text("trigger_reason"),
            _time("created_at!"),
            _time("completed_at"),
        ),
        id=("batch_id",),
        order=("created_at",),
        references=(("aggregation_node_id", "node"),),
    ),
    RecordType(
        "batch_member",
        "batch_members",
        (RUN_ID, *_text("batch_id!", "token_id!"), _integer("ordinal!")),
        id=("batch_id", "token_id"),
        order=("ordinal",),
        references=(("token_id", "token"),),
    ),
    RecordType(
        "artifact",
        "artifacts",
        (
            RUN_ID,
            *_text("artifact_id!", "sink_node_id!", "produced_by_state_id!", "artifact_type!", "path_or_uri!"),
            *_text("content_hash!"),
            _integer("size_bytes!"),
        ),
        id=("artifact_id",),
        references=(("sink_node_id", "node"), ("produced_by_state_id", "node_state")),
    ),
)

_ORDER_V1 = (
    Place("run"),
    Place("secret_resolution"),
    Place("node"),
    Place("edge"),
    Place("operation", children=(Place("call", "operation_id"),)),
    Place(
        "row",
        children=(
            Place(
                "token",
                "row_id",
                children=(
                    Place("token_parent", "token_id"),
                    Place("token_outcome", "token_id"),
                    Place(
                        "node_state",
                        "token_id",
                        children=(Place("routing_event", "state_id"), Place("call", "state_id")),
                    ),
                ),
            ),
        ),
    ),
    Place("batch", children=(Place("batch_member", "batch_id"),)),
    Place("artifact"),
)

V1 = Contract("v1", {one.name: one for one in _V1}, _ORDER_V1)


def _without(type_name: str, places: tuple[Place, ...]) -> tuple[Place, ...]:
    return tuple(
        replace(place, children=_without(type_name, place.children)) for place in places if place.type != type_name
    )


def _lacking(record_type: RecordType, *names: str) -> RecordType:
    return replace(record_type, fields=tuple(field for field in record_type.fields if field.name not in names))


V0 = Contract(
    "v0",
    {
        name: _lacking(one, "input_data_hash", "output_data_hash") if name == "operation" else one
        for name, one in V1.types.items()
        if name != "token_outcome"
    },
    _without("token_outcome", V1.order),
)

CONTRACTS: dict[str, Contract] = {contract.name: contract for contract in (V0, V1)}
"""The contracts by name."""

MANIFEST_RECORD = RecordType(
    "manifest",
    "",
    (
        RUN_ID,
        _integer("record_count!"),
        *_text("final_hash!", hex_digits=64),
        _enum("hash_algorithm!", "sha256"),
        _enum("signature_algorithm!", "hmac-sha256"),
        *_text("exported_at!"),
    ),
    id=(),
)
"""The last record of a signed export; it is no data record."""
