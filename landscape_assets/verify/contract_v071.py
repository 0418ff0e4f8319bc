"""The record contract v071, in this verifier's own words.

Belongs here: what docs/records.md says about its records, so that it can be read next to it, stated anew as in
`contract_v1.py`. Does not belong here: code that checks, and how the hashes of its manifest are made
(`manifest_v2.py`).
"""

from __future__ import annotations

from dataclasses import replace

from .contract_model import SHORT_SHA256, Place, RecordType, fields, rule, unless, when
from .contract_v060 import ERRORS, ROWS, STATUS, V060
from .contract_v1 import GRADES, OPERATION_RULES, START

_PUBLICATION = "returned reconciled inherited virtual"
_EFFECT_STATE = "reserved prepared in_flight finalized"
_ROLE = "primary failsink"
_PREPARED = "plan_hash inspection_mode inspection_attempt_id descriptor_mode precondition_hash prepared_at"
_LEASE = "lease_owner lease_expires_at lease_heartbeat_at"
_RECONCILED = "reconcile_kind reconcile_evidence_hash"
_RESULT = _RECONCILED + " result_descriptor_hash publication_performed publication_evidence_kind"

_PLUGIN = "(?:source|transform|sink):[a-z][a-z0-9_]*"
_CAPABILITY = "llm|prompt_shield|content_safety"
_NUMBER = "(?:0|[1-9][0-9]*)"
_PARTS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_SEMANTIC = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PARTS})?(?:\+{_PARTS})?"
"""A semantic version (https://semver.org)."""
_BY_STATE = "legacy_returned"

_V071 = (
    replace(
        V060.types["run"],
        fields=fields(
            "status! started_at!:time completed_at:time canonical_version! config_hash!:hash "
            "initiated_by_user_id:filled auth_provider_type:filled settings:json reproducibility_grade",
            status=STATUS,
            reproducibility_grade=GRADES,
        ),
    ),
    RecordType(
        "web_plugin_policy",
        "run_web_plugin_policy",
        fields(
            "schema_version!:count policy_hash!:hash snapshot_hash!:hash authorized_plugin_ids! available_plugin_ids! "
            "control_modes! selected_implementations! selected_profile_aliases! plugin_code_identities! "
            "binding_generation_fingerprint!:hash decision_codes!",
            authorized_plugin_ids=(_PLUGIN,),
            available_plugin_ids=(_PLUGIN,),
            control_modes=(_CAPABILITY, "recommend|required"),
            selected_implementations=(_CAPABILITY, _PLUGIN + "|"),
            selected_profile_aliases=(_PLUGIN, "[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*|"),
            plugin_code_identities=(_PLUGIN, _SEMANTIC, SHORT_SHA256),
            decision_codes=("(?=.{1,64}$)[a-z][a-z0-9]*(?:_[a-z0-9]+)*",),
        ),
        id=("run_id",),
        within=(
            ("available_plugin_ids", 0, "authorized_plugin_ids"),
            ("selected_implementations", 1, "available_plugin_ids"),
            ("selected_profile_aliases", 0, "authorized_plugin_ids"),
            ("plugin_code_identities", 0, "authorized_plugin_ids"),
        ),
        not_repeated=("selected_implementations",),
        not_empty=("decision_codes",),
    ),
    RecordType(
        "operation",
        "operations",
        fields(
            "operation_id! node_id! operation_type! sink_effect_id status! started_at!:time completed_at:time "
            "duration_ms:duration error_message input_data_ref input_data_hash output_data_ref output_data_hash",
            operation_type="source_load sink_write runtime_preflight",
            status="open completed failed pending",
        ),
        id=("operation_id",),
        order=("started_at",),
        references=(("node_id", "node"), ("sink_effect_id", "sink_effect")),
        rules=(*OPERATION_RULES, rule(unless("operation_type", "sink_write"), absent="sink_effect_id")),
    ),
    RecordType(
        "sink_effect_stream",
        "sink_effect_streams",
        fields(
            "stream_id!:hash sink_node_id! role! requested_target_hash!:hash next_sequence!:int tail_effect_id:hash "
            "head_effect_id:hash head_descriptor_hash:hash",
            role=_ROLE,
        ),
        id=("stream_id",),
        order=("stream_id",),
        ties=False,
        references=(("sink_node_id", "node"), ("tail_effect_id", "sink_effect"), ("head_effect_id", "sink_effect")),
        rules=(rule(when("head_effect_id", None), absent="head_descriptor_hash"),),
    ),
    RecordType(
        "sink_effect",
        "sink_effects",
        fields(
            "effect_id!:hash sink_node_id! role! state! protocol_version!:filled input_kind! config_hash!:hash "
            "membership_or_manifest_hash!:hash group_payload_hash!:hash artifact_id!:hash "
            "artifact_idempotency_key!:filled inspection_mode inspection_attempt_id plan_hash:hash descriptor_mode "
            "expected_descriptor_hash:hash precondition_hash:hash prepared_at:time lease_owner generation!:int "
            "lease_expires_at:time lease_heartbeat_at:time reconcile_kind reconcile_evidence_hash:hash "
            "result_descriptor_hash:hash publication_performed:bool publication_evidence_kind primary_effect_id:hash "
            "stream_id:hash stream_sequence:int predecessor_effect_id:hash created_at!:time updated_at!:time "
            "finalized_at:time",
            role=_ROLE,
            state=_EFFECT_STATE,
            input_kind="pipeline_members audit_export_snapshot",
            inspection_mode="inspected no_inspection_required",
            descriptor_mode="precomputed result_derived no_publication",
            reconcile_kind="not_applied applied_with_exact_descriptor unknown",
            publication_evidence_kind=_PUBLICATION,
        ),
        id=("effect_id",),
        order=("stream_id", "stream_sequence"),
        nulls_first=True,
        references=(
            ("sink_node_id", "node"),
            ("primary_effect_id", "sink_effect"),
            ("predecessor_effect_id", "sink_effect"),
            ("stream_id", "sink_effect_stream"),
        ),
        rules=(
            rule(when("state", "reserved"), absent=f"{_PREPARED} {_RESULT} finalized_at"),
            rule(when("state", "reserved"), when("generation", 0), absent=_LEASE),
            rule(when("state", "reserved"), unless("generation", 0), present=_LEASE),
            rule(when("state", "prepared"), present=_PREPARED, absent=f"{_LEASE} {_RESULT} finalized_at"),
            rule(when("state", "in_flight"), present=f"{_PREPARED} {_LEASE}", absent=f"{_RESULT} finalized_at"),
            rule(
                when("state", "finalized"),
                present=f"{_PREPARED} result_descriptor_hash publication_performed publication_evidence_kind "
                "finalized_at",
                absent=_LEASE,
            ),
            rule(when("publication_evidence_kind", "returned"), absent=_RECONCILED, publication_performed=True),
            rule(
                when("publication_evidence_kind", "reconciled"),
                present="reconcile_evidence_hash",
                publication_performed=True,
                reconcile_kind="applied_with_exact_descriptor",
            ),
            rule(
                when("publication_evidence_kind", "inherited", "virtual"),
                absent=_RECONCILED,
                publication_performed=False,
            ),
            rule(when("descriptor_mode", "precomputed", "no_publication"), present="expected_descriptor_hash"),
            rule(when("descriptor_mode", "result_derived"), absent="expected_descriptor_hash"),
            rule(when("stream_id", None), absent="stream_sequence predecessor_effect_id"),
            rule(unless("stream_id", None), present="stream_sequence"),
            rule(when("stream_sequence", 0), absent="predecessor_effect_id"),
            rule(unless("stream_sequence", None, 0), present="predecessor_effect_id"),
            rule(when("state", "in_flight"), when("generation", 0)),
        ),
        not_before=(("lease_heartbeat_at", "lease_expires_at"),),
    ),
    RecordType(
        "sink_effect_member",
        "sink_effect_members",
        fields(
            "effect_id! ordinal!:int sink_node_id! role! token_id! row_id! ingest_sequence!:int lineage_hash!:hash "
            "payload_hash!:hash primary_effect_id prepared_disposition reason_hash:hash member_effect_id member_state "
            "descriptor_hash:hash evidence_hash:hash",
            role=_ROLE,
            prepared_disposition="accepted diverted",
            member_state=_EFFECT_STATE,
        ),
        id=("effect_id", "ordinal"),
        order=("effect_id", "ordinal"),
        ties=False,
        references=(
            ("effect_id", "sink_effect"),
            ("sink_node_id", "node"),
            ("token_id", "token"),
            ("row_id", "row"),
            ("primary_effect_id", "sink_effect"),
        ),
        rules=(
            rule(when("role", "primary"), absent="primary_effect_id"),
            rule(when("role", "failsink"), present="primary_effect_id"),
        ),
    ),
    RecordType(
        "sink_effect_attempt",
        "sink_effect_attempts",
        fields(
            "attempt_id!:hash effect_id!:hash attempt_index!:int member_ordinal:int generation!:int action! "
            "call_kind!:filled request_hash!:hash state! evidence_hash:hash started_at!:time completed_at:time "
            "latency_ms:duration",
            action="inspect commit reconcile",
            state="intent returned response_lost error",
        ),
        id=("attempt_id",),
        order=("effect_id", "started_at"),
        references=(("effect_id", "sink_effect"),),
        rules=(
            rule(when("state", "intent"), absent="completed_at latency_ms evidence_hash"),
            rule(unless("state", "intent"), present="completed_at latency_ms"),
        ),
        numbered=("effect_id", "attempt_index"),
    ),
    RecordType(
        "artifact",
        "artifacts",
        fields(
            "artifact_id! sink_node_id! producer_kind! produced_by_state_id sink_effect_id artifact_type! path_or_uri! "
            "content_hash!:hash size_bytes!:int idempotency_key publication_performed!:bool publication_evidence_kind! "
            "created_at!:time",
            producer_kind="node_state sink_effect",
            publication_evidence_kind=f"{_PUBLICATION} {_BY_STATE}",
        ),
        id=("artifact_id",),
        order=("created_at",),
        references=(
            ("sink_node_id", "node"),
            ("produced_by_state_id", "node_state"),
            ("sink_effect_id", "sink_effect"),
        ),
        rules=(
            rule(
                when("producer_kind", "node_state"), present="produced_by_state_id", publication_evidence_kind=_BY_STATE
            ),
            rule(when("producer_kind", "sink_effect"), absent="produced_by_state_id"),
            rule(when("publication_evidence_kind", _BY_STATE), publication_performed=True, producer_kind="node_state"),
            rule(when("publication_evidence_kind", "returned", "reconciled"), publication_performed=True),
            rule(when("publication_evidence_kind", "inherited", "virtual"), publication_performed=False),
        ),
        exactly_one=("produced_by_state_id", "sink_effect_id"),
    ),
)

_HASHES = "final_hash last_chunk_seal_hash manifest_hash registry_key_hash snapshot_hash snapshot_id snapshot_seal_hash"
_MANIFEST_V2 = RecordType(
    "manifest",
    "",
    fields(
        "chunk_count!:count derivation_version! export_format! exported_at! hash_algorithm! record_chain_algorithm! "
        "record_count!:count schema! signature_algorithm! signature_key_id! source_completed_at! source_status! "
        "total_bytes!:count " + " ".join(f"{name}!:hash" for name in _HASHES.split()),
        derivation_version="audit-export-derivation-v1",
        export_format="json csv",
        hash_algorithm="sha256",
        record_chain_algorithm="sha256_concat_hmac_sha256_signatures_v1 sha256_concat_record_sha256_v1",
        schema="elspeth.audit-export-manifest.v2",
        signature_algorithm="hmac_sha256 unsigned",
        source_status="completed completed_with_failures empty failed interrupted",
    ),
    id=(),
)

_EFFECTS = tuple(
    Place(name) for name in ("sink_effect_stream", "sink_effect", "sink_effect_member", "sink_effect_attempt")
)

V071 = replace(
    V060,
    name="v071",
    types={**V060.types, **{record_type.name: record_type for record_type in _V071}},
    order=(Place("run"), Place("web_plugin_policy"), *START, *_EFFECTS, *ERRORS, *ROWS),
    manifest=_MANIFEST_V2,
    always_manifest=True,
    redacts=True,
    refuses_large_integers=True,
)
