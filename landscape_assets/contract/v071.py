"""Contract v071, as data: the Landscape of ELSPETH 0.7.1 and 0.7.2, said as what differs from v070.

Belongs here: the differences. Web plugin policies; sink effects, with their streams, members and attempts; artifacts
that such an effect produced; token parents with a run_id of their own; a manifest of version 2. No code that acts on
them.
"""

from __future__ import annotations

from dataclasses import replace

from .columns import by, column, enum, flag, integer, kept, number, sha256, text, time
from .model import ByPresence, Contract, Group, Kind, OrderKey, ParentLink, Position, Reference, Table
from .rules import Above, ExactlyOne, Given, Is, NotBefore, RowRule, StatusRule, Together, When
from .v060 import ERRORS, OPERATION_TYPE, ROWS_IN_ORDER
from .v070 import V070
from .web_policy import MEANING, find_fault

ROLE = ("primary", "failsink")
EFFECT_STATE = ("reserved", "prepared", "in_flight", "finalized")
INPUT_KIND = ("pipeline_members", "audit_export_snapshot")
INSPECTION_MODE = ("inspected", "no_inspection_required")
DESCRIPTOR_MODE = ("precomputed", "result_derived", "no_publication")
RECONCILE_KIND = ("not_applied", "applied_with_exact_descriptor", "unknown")
ATTEMPT_ACTION = ("inspect", "commit", "reconcile")
ATTEMPT_STATE = ("intent", "returned", "response_lost", "error")
DISPOSITION = ("accepted", "diverted")
EVIDENCE_OF_EFFECT = ("returned", "reconciled", "inherited", "virtual")
EVIDENCE = (*EVIDENCE_OF_EFFECT, "legacy_returned")
PRODUCER_KIND = ("node_state", "sink_effect")

_RUNS = V070.tables["runs"]
_OPERATIONS = V070.tables["operations"]
_ARTIFACTS = V070.tables["artifacts"]

RUNS = replace(
    _RUNS,
    columns=tuple(
        replace(each, kind=Kind.TEXT, values=(), not_blank=False, not_empty=True) if each.of else each
        for each in _RUNS.columns
    ),
)

WEB_PLUGIN_POLICY = Table(
    "run_web_plugin_policy",
    "web_plugin_policy",
    id=("run_id",),
    about="run",
    description="Which plugins a run that was begun in the web interface might use, and which it was given.",
    columns=(
        integer("schema_version", "Version of the policy's form.", required=True, minimum=1),
        sha256("policy_hash", "Hash of the policy.", required=True),
        sha256("snapshot_hash", "Hash of what the policy was applied to.", required=True),
        *(
            column(Kind.JSON, f"{name}_json", description, required=True, field=name)
            for name, description in (
                ("authorized_plugin_ids", "The plugins that the policy allows."),
                ("available_plugin_ids", "Those of them that are there."),
                ("control_modes", "How far each control is asked for: pairs of a capability and a mode."),
                ("selected_implementations", "Pairs of a capability and the plugin chosen for it, or null."),
                ("selected_profile_aliases", "Pairs of a plugin and the profile chosen for it, or null."),
                ("plugin_code_identities", "Triples of a plugin, its version and the hash of its source."),
            )
        ),
        sha256("binding_generation_fingerprint", "What the bindings were made from.", required=True),
        column(Kind.JSON, "decision_codes_json", "Why it was so decided.", required=True, field="decision_codes"),
    ),
    order=by("run_id"),
    rules=(RowRule(MEANING, find_fault),),
)

OPERATIONS = replace(
    _OPERATIONS,
    columns=(
        *kept(_OPERATIONS, "operation_id", "node_id", "operation_type"),
        text("sink_effect_id", "The effect that a write of a sink brought about."),
        *kept(_OPERATIONS, "status", "started_at", "completed_at", "duration_ms", "error_message"),
        *kept(_OPERATIONS, "input_data_ref", "input_data_hash", "output_data_ref", "output_data_hash"),
    ),
    references=(*_OPERATIONS.references, Reference("sink_effect_id", "sink_effects")),
    rules=(
        *_OPERATIONS.rules,
        StatusRule(
            "operation_type",
            tuple(kind for kind in OPERATION_TYPE if kind != "sink_write"),
            forbidden=("sink_effect_id",),
        ),
    ),
)

SINK_EFFECT_STREAMS = Table(
    "sink_effect_streams",
    "sink_effect_stream",
    id=("stream_id",),
    about="sinks",
    description="The targets of sinks, each with its effects one after the other.",
    columns=(
        sha256("stream_id", "Id of the stream.", required=True),
        text("sink_node_id", "The sink.", required=True),
        enum("role", ROLE, "Whether the sink is the first choice or takes what others could not.", required=True),
        sha256("requested_target_hash", "Hash of the target.", required=True),
        integer("next_sequence", "Place of the next effect.", required=True),
        sha256("tail_effect_id", "The effect that was reserved last."),
        sha256("head_effect_id", "The effect that was finished last."),
        sha256("head_descriptor_hash", "Hash of what that effect left."),
    ),
    order=by("stream_id"),
    references=(
        Reference("sink_node_id", "nodes"),
        Reference("tail_effect_id", "sink_effects"),
        Reference("head_effect_id", "sink_effects"),
    ),
    rules=(When((Given("head_descriptor_hash"),), required=("head_effect_id",)),),
)

_PLAN = (
    "plan_json",
    "plan_hash",
    "inspection_mode",
    "inspection_attempt_id",
    "descriptor_mode",
    "precondition_hash",
    "prepared_at",
)
_LEASE = ("lease_owner", "lease_expires_at", "lease_heartbeat_at")
_RECONCILED = ("reconcile_kind", "reconcile_evidence_hash")
_RESULT = ("result_descriptor_hash", "publication_performed", "publication_evidence_kind")
_OPEN = (*_RECONCILED, *_RESULT, "finalized_at")
"""What an effect that is not finished has none of."""

SINK_EFFECTS = Table(
    "sink_effects",
    "sink_effect",
    id=("effect_id",),
    about="sinks",
    description="What sinks did to their targets, from the plan to the result.",
    columns=(
        sha256("effect_id", "Id of the effect.", required=True),
        text("sink_node_id", "The sink.", required=True),
        enum("role", ROLE, "Whether the sink is the first choice or takes what others could not.", required=True),
        enum("state", EFFECT_STATE, "How far the effect got.", required=True),
        text("protocol_version", "Version of the protocol of effects.", required=True, not_blank=True),
        enum("input_kind", INPUT_KIND, "What went in: tokens of the pipeline, or an audit export.", required=True),
        sha256("config_hash", "Hash of the sink's configuration.", required=True),
        sha256("membership_or_manifest_hash", "Hash of the members, or of the export's manifest.", required=True),
        sha256("group_payload_hash", "Hash of everything that went in.", required=True),
        sha256("artifact_id", "The artifact that comes of it.", required=True),
        text("artifact_idempotency_key", "By which the sink knows it again.", required=True, not_blank=True),
        enum("inspection_mode", INSPECTION_MODE, "Whether the target was looked at first."),
        text("inspection_attempt_id", "The attempt that looked at it."),
        sha256("plan_hash", "Hash of the plan."),
        enum("descriptor_mode", DESCRIPTOR_MODE, "Where what is expected of the target comes from."),
        sha256("expected_descriptor_hash", "Hash of what is expected of the target."),
        sha256("precondition_hash", "Hash of what the target was before."),
        time("prepared_at", "When it was planned."),
        text("lease_owner", "The worker that holds it."),
        integer("generation", "How often it was taken up.", required=True),
        time("lease_expires_at", "Until when it is held."),
        time("lease_heartbeat_at", "When the worker last said that it holds it."),
        enum("reconcile_kind", RECONCILE_KIND, "What a look at the target showed after a lost answer."),
        sha256("reconcile_evidence_hash", "Hash of what was seen."),
        sha256("result_descriptor_hash", "Hash of what the target is afterwards."),
        flag("publication_performed", "Whether the target was written."),
        enum("publication_evidence_kind", EVIDENCE_OF_EFFECT, "How that is known."),
        sha256("primary_effect_id", "The effect of the sink of first choice."),
        sha256("stream_id", "The stream in which it stands."),
        integer("stream_sequence", "Its place there."),
        sha256("predecessor_effect_id", "The effect before it there."),
        time("created_at", "When it was recorded.", required=True),
        time("updated_at", "When it was last changed.", required=True),
        time("finalized_at", "When it was finished."),
        text("target_json", "The target.", required=True, not_blank=True, field=None),
        text("plan_json", "The plan.", field=None),
        integer("required_member_ordinal", "0 for tokens of the pipeline.", field=None),
        integer("required_snapshot_slot", "0 for an audit export.", field=None),
    ),
    order=(
        OrderKey("stream_id", nulls_last_on_postgresql=True),
        OrderKey("stream_sequence", nulls_last_on_postgresql=True),
        *by("effect_id"),
    ),
    references=(
        Reference("sink_node_id", "nodes"),
        Reference("primary_effect_id", "sink_effects"),
        Reference("stream_id", "sink_effect_streams"),
        Reference("predecessor_effect_id", "sink_effects"),
    ),
    rules=(
        When(
            (Is("input_kind", ("pipeline_members",)),),
            among=(("required_member_ordinal", (0,)),),
            forbidden=("required_snapshot_slot",),
        ),
        When(
            (Is("input_kind", ("audit_export_snapshot",)),),
            among=(("required_snapshot_slot", (0,)),),
            forbidden=("required_member_ordinal",),
        ),
        When((Is("state", ("reserved",)),), forbidden=(*_PLAN, "expected_descriptor_hash", *_OPEN)),
        When((Is("state", ("reserved",)), Is("generation", (0,))), forbidden=_LEASE),
        When((Is("state", ("reserved",)), Above("generation", 0)), required=_LEASE),
        When((Is("state", ("prepared",)),), required=_PLAN, forbidden=(*_LEASE, *_OPEN)),
        When((Is("state", ("in_flight",)),), required=(*_PLAN, *_LEASE), forbidden=_OPEN),
        When((Is("generation", (0,)),), among=(("state", ("reserved", "prepared", "finalized")),)),
        When((Is("state", ("finalized",)),), required=(*_PLAN, *_RESULT, "finalized_at"), forbidden=_LEASE),
        When(
            (Is("publication_performed", (True,)),),
            among=(("publication_evidence_kind", ("returned", "reconciled")),),
        ),
        When(
            (Is("publication_performed", (False,)),),
            among=(("publication_evidence_kind", ("inherited", "virtual")),),
        ),
        When((Is("publication_evidence_kind", ("returned", "inherited", "virtual")),), forbidden=_RECONCILED),
        When(
            (Is("publication_evidence_kind", ("reconciled",)),),
            required=_RECONCILED,
            among=(("reconcile_kind", ("applied_with_exact_descriptor",)),),
        ),
        NotBefore("lease_expires_at", "lease_heartbeat_at"),
        When((Is("descriptor_mode", ("precomputed", "no_publication")),), required=("expected_descriptor_hash",)),
        When((Is("descriptor_mode", ("result_derived",)),), forbidden=("expected_descriptor_hash",)),
        Together(("stream_id", "stream_sequence")),
        When((Is("stream_sequence", (None, 0)),), forbidden=("predecessor_effect_id",)),
        When((Above("stream_sequence", 0),), required=("predecessor_effect_id",)),
    ),
)

SINK_EFFECT_MEMBERS = Table(
    "sink_effect_members",
    "sink_effect_member",
    id=("effect_id", "ordinal"),
    about="sinks",
    description="The tokens that went into each effect.",
    columns=(
        sha256("effect_id", "The effect.", required=True),
        integer("ordinal", "Place within the effect.", required=True),
        text("sink_node_id", "The sink.", required=True),
        enum("role", ROLE, "Whether the sink is the first choice or takes what others could not.", required=True),
        text("token_id", "The token.", required=True),
        text("row_id", "The row that it carries.", required=True),
        integer("ingest_sequence", "Place of the row among those of all sources.", required=True),
        sha256("lineage_hash", "Hash of where the token comes from.", required=True),
        sha256("payload_hash", "Hash of the token's data.", required=True),
        sha256("primary_effect_id", "The effect of the sink of first choice."),
        enum("prepared_disposition", DISPOSITION, "Whether the sink takes the token."),
        sha256("reason_hash", "Hash of the reason why not."),
        sha256("member_effect_id", "Id of what is done with this token alone."),
        enum("member_state", EFFECT_STATE, "How far that got."),
        sha256("descriptor_hash", "Hash of what it left."),
        sha256("evidence_hash", "Hash of what shows it."),
        enum("input_kind", ("pipeline_members",), "What went in.", required=True, field=None),
        text("lineage_json", "Where the token comes from.", required=True, not_blank=True, field=None),
    ),
    order=by("effect_id", "ordinal"),
    references=(
        Reference("effect_id", "sink_effects"),
        Reference("sink_node_id", "nodes"),
        Reference("token_id", "tokens"),
        Reference("row_id", "rows"),
        Reference("primary_effect_id", "sink_effects"),
    ),
    rules=(
        StatusRule("role", ("primary",), forbidden=("primary_effect_id",)),
        StatusRule("role", ("failsink",), required=("primary_effect_id",)),
    ),
)

SINK_EFFECT_ATTEMPTS = Table(
    "sink_effect_attempts",
    "sink_effect_attempt",
    id=("attempt_id",),
    own_run_id=False,
    paths=(ParentLink("effect_id", "sink_effects"),),
    about="sinks",
    description="Each attempt of a sink to look at its target, to write it, or to find out whether it was written.",
    columns=(
        sha256("attempt_id", "Id of the attempt.", required=True),
        sha256("effect_id", "The effect.", required=True),
        integer(
            "attempt_index",
            "Place among the attempts of the effect, from 0.",
            required=True,
            derived=Position("effect_id", ("started_at", "attempt_id")),
        ),
        integer("member_ordinal", "The member, where the attempt is about one."),
        integer("generation", "How often the effect had been taken up.", required=True),
        enum("action", ATTEMPT_ACTION, "What was attempted.", required=True),
        text("call_kind", "How.", required=True, not_blank=True),
        sha256("request_hash", "Hash of the request.", required=True),
        enum("state", ATTEMPT_STATE, "Status of the attempt: unfinished, or how it ended.", required=True),
        sha256("evidence_hash", "Hash of what shows it."),
        time("started_at", "When it started.", required=True),
        time("completed_at", "When it ended."),
        number("latency_ms", "How long it took, in milliseconds.", minimum=0),
        text("evidence_json", "What shows it.", field=None),
    ),
    order=by("effect_id", "started_at", "attempt_id"),
    references=(Reference("effect_id", "sink_effects"),),
    rules=(
        StatusRule("state", ("intent",), forbidden=("completed_at", "latency_ms", "evidence_hash")),
        StatusRule("state", ("returned", "response_lost", "error"), required=("completed_at", "latency_ms")),
        Together(("evidence_json", "evidence_hash")),
    ),
)

ARTIFACTS = replace(
    _ARTIFACTS,
    columns=(
        *kept(_ARTIFACTS, "artifact_id", "sink_node_id"),
        enum(
            "producer_kind",
            PRODUCER_KIND,
            "What wrote it.",
            required=True,
            derived=ByPresence("produced_by_state_id", *PRODUCER_KIND),
        ),
        *kept(_ARTIFACTS, "produced_by_state_id", required=False),
        text("sink_effect_id", "The effect of which it came."),
        *kept(_ARTIFACTS, "artifact_type", "path_or_uri", "content_hash", "size_bytes", "idempotency_key"),
        flag("publication_performed", "Whether it was written.", required=True),
        enum("publication_evidence_kind", EVIDENCE, "How that is known.", required=True),
        *kept(_ARTIFACTS, "created_at"),
    ),
    references=(*_ARTIFACTS.references, Reference("sink_effect_id", "sink_effects")),
    rules=(
        ExactlyOne(("produced_by_state_id", "sink_effect_id")),
        When(
            (Given("produced_by_state_id"),),
            among=(("publication_evidence_kind", ("legacy_returned",)), ("publication_performed", (True,))),
        ),
        When((Given("sink_effect_id"),), among=(("publication_evidence_kind", EVIDENCE_OF_EFFECT),)),
        When(
            (Is("publication_evidence_kind", ("returned", "reconciled")),),
            among=(("publication_performed", (True,)),),
        ),
        When(
            (Is("publication_evidence_kind", ("inherited", "virtual")),),
            among=(("publication_performed", (False,)),),
        ),
    ),
)

SINK_TABLES = (SINK_EFFECT_STREAMS, SINK_EFFECTS, SINK_EFFECT_MEMBERS, SINK_EFFECT_ATTEMPTS)

V071 = Contract(
    name="v071",
    written_by="ELSPETH 0.7.1 and 0.7.2",
    epoch=29,
    finished=V070.finished,
    manifest=2,
    parses_again=True,
    tables=V070.tables
    | {
        table.name: table
        for table in (
            RUNS,
            WEB_PLUGIN_POLICY,
            OPERATIONS,
            *SINK_TABLES,
            replace(V070.tables["token_parents"], own_run_id=True),
            ARTIFACTS,
        )
    },
    order=(
        Group("runs"),
        Group("run_web_plugin_policy"),
        Group("secret_resolutions"),
        Group("nodes"),
        Group("edges"),
        Group("operations", children=(Group("calls", link="operation_id"),)),
        *(Group(table.name) for table in SINK_TABLES),
        *ERRORS,
        ROWS_IN_ORDER,
        Group("batches", children=(Group("batch_members", link="batch_id"),)),
        Group("artifacts"),
    ),
)
