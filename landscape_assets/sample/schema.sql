-- The audit tables of a Landscape of contract v071 (ELSPETH 0.7.1), for SQLite: columns, types, keys, constraints and
-- indexes as such databases have them. Their triggers, which guard exports against changes, are left out.
-- Tables come roughly in the order in which they refer to one another; indexes are last.

PRAGMA user_version = 29;

CREATE TABLE elspeth_schema_identity (
    singleton_id INTEGER NOT NULL PRIMARY KEY,
    application_id VARCHAR(64) NOT NULL,
    store_kind VARCHAR(32) NOT NULL,
    schema_epoch INTEGER NOT NULL,
    CONSTRAINT ck_elspeth_schema_identity_singleton CHECK (singleton_id = 1),
    CONSTRAINT ck_elspeth_schema_identity_application_non_blank CHECK (length(application_id) > 0),
    CONSTRAINT ck_elspeth_schema_identity_store_kind CHECK (store_kind IN ('landscape', 'session')),
    CONSTRAINT ck_elspeth_schema_identity_epoch_positive CHECK (schema_epoch > 0)
);

CREATE TABLE auth_events (
    event_id VARCHAR(64) NOT NULL PRIMARY KEY,
    occurred_at DATETIME NOT NULL,
    event_type VARCHAR(32) NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    provider VARCHAR(16) NOT NULL,
    user_id VARCHAR(256),
    username VARCHAR(256),
    failure_category VARCHAR(64),
    request_id VARCHAR(64),
    client_host VARCHAR(128),
    user_agent TEXT,
    metadata_json TEXT NOT NULL,
    CONSTRAINT ck_auth_events_event_type CHECK (event_type IN ('login', 'token_issued', 'auth_failure')),
    CONSTRAINT ck_auth_events_outcome CHECK (outcome IN ('success', 'failure')),
    CONSTRAINT ck_auth_events_provider CHECK (provider IN ('local', 'oidc', 'entra'))
);

CREATE TABLE runs (
    run_id VARCHAR(64) NOT NULL PRIMARY KEY,
    started_at DATETIME NOT NULL,
    completed_at DATETIME,
    config_hash VARCHAR(64) NOT NULL,
    settings_json TEXT NOT NULL,
    reproducibility_grade VARCHAR(32),
    canonical_version VARCHAR(64) NOT NULL,
    source_schema_json TEXT,
    source_field_resolution_json TEXT,
    status VARCHAR(32) NOT NULL,
    export_status VARCHAR(32),
    export_error TEXT,
    exported_at DATETIME,
    export_format VARCHAR(16),
    export_sink VARCHAR(128),
    runtime_val_manifest_json TEXT,
    llm_call_count INTEGER,
    seeded_from_cache BOOLEAN DEFAULT 0 NOT NULL,
    cache_key VARCHAR(64),
    openrouter_catalog_sha256 VARCHAR(64) NOT NULL,
    openrouter_catalog_source VARCHAR(8) NOT NULL,
    CONSTRAINT ck_runs_openrouter_catalog_source CHECK (openrouter_catalog_source IN ('live', 'bundled'))
);

CREATE TABLE run_attributions (
    run_id VARCHAR(64) NOT NULL PRIMARY KEY REFERENCES runs (run_id),
    recorded_at DATETIME NOT NULL,
    initiated_by_user_id VARCHAR(255) NOT NULL,
    auth_provider_type VARCHAR(32) NOT NULL,
    CONSTRAINT ck_run_attributions_auth_provider_type CHECK (auth_provider_type IN ('local', 'oidc', 'entra'))
);

CREATE TABLE run_web_plugin_policy (
    run_id VARCHAR(64) NOT NULL PRIMARY KEY REFERENCES runs (run_id),
    schema_version INTEGER NOT NULL,
    policy_hash VARCHAR(64) NOT NULL,
    snapshot_hash VARCHAR(64) NOT NULL,
    authorized_plugin_ids_json TEXT NOT NULL,
    available_plugin_ids_json TEXT NOT NULL,
    control_modes_json TEXT NOT NULL,
    selected_implementations_json TEXT NOT NULL,
    selected_profile_aliases_json TEXT NOT NULL,
    plugin_code_identities_json TEXT NOT NULL,
    binding_generation_fingerprint VARCHAR(64) NOT NULL,
    decision_codes_json TEXT NOT NULL,
    CONSTRAINT ck_run_web_plugin_policy_schema_version CHECK (schema_version >= 1)
);

CREATE TABLE run_coordination (
    run_id VARCHAR(64) NOT NULL PRIMARY KEY REFERENCES runs (run_id),
    leader_worker_id VARCHAR(128),
    leader_epoch INTEGER DEFAULT 0 NOT NULL,
    leader_heartbeat_expires_at DATETIME,
    updated_at DATETIME NOT NULL,
    CONSTRAINT ck_run_coordination_seat_liveness_paired CHECK (
        (leader_worker_id IS NULL) = (leader_heartbeat_expires_at IS NULL)
    )
);

CREATE TABLE run_workers (
    worker_id VARCHAR(128) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    role VARCHAR(16) NOT NULL,
    status VARCHAR(16) NOT NULL,
    registered_at DATETIME NOT NULL,
    heartbeat_expires_at DATETIME NOT NULL,
    departed_at DATETIME,
    evicted_at DATETIME,
    evicted_by_worker_id VARCHAR(128),
    pid INTEGER,
    hostname VARCHAR(255),
    entry_point VARCHAR(255),
    CONSTRAINT ck_run_workers_role CHECK (role IN ('leader', 'follower')),
    CONSTRAINT ck_run_workers_status CHECK (status IN ('active', 'departed', 'evicted')),
    CONSTRAINT ck_run_workers_evicted_at_paired CHECK ((status = 'evicted') = (evicted_at IS NOT NULL))
);

CREATE TABLE run_coordination_events (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    event_id VARCHAR(64) NOT NULL,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    event_type VARCHAR(32) NOT NULL,
    worker_id VARCHAR(128) NOT NULL,
    leader_epoch INTEGER,
    recorded_at DATETIME NOT NULL,
    context_json TEXT DEFAULT '{}' NOT NULL,
    CONSTRAINT ck_run_coordination_events_event_type CHECK (
        event_type IN (
            'worker_register', 'worker_depart', 'worker_evict', 'worker_stalled', 'leader_acquire', 'leader_release',
            'leadership_lost', 'fence_refusal', 'heartbeat_degraded', 'finalize'
        )
    )
);

CREATE TABLE secret_resolutions (
    resolution_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    timestamp FLOAT NOT NULL,
    env_var_name VARCHAR(256) NOT NULL,
    source VARCHAR(32) NOT NULL,
    vault_url TEXT,
    secret_name VARCHAR(256),
    fingerprint VARCHAR(64) NOT NULL,
    resolution_latency_ms FLOAT
);

CREATE TABLE preflight_results (
    result_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    result_type VARCHAR(32) NOT NULL,
    name VARCHAR(256) NOT NULL,
    result_json TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    CONSTRAINT ck_preflight_result_type CHECK (
        result_type IN ('dependency_run', 'commencement_gate', 'readiness_check')
    )
);

CREATE TABLE checkpoints (
    checkpoint_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    sequence_number INTEGER NOT NULL,
    created_at DATETIME NOT NULL,
    upstream_topology_hash VARCHAR(64) NOT NULL,
    format_version INTEGER,
    barrier_scalars_json TEXT
);

CREATE TABLE nodes (
    node_id VARCHAR(64) NOT NULL,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    plugin_name VARCHAR(128) NOT NULL,
    node_type VARCHAR(32) NOT NULL,
    plugin_version VARCHAR(32) NOT NULL,
    source_file_hash VARCHAR(32),
    determinism VARCHAR(32) NOT NULL,
    config_hash VARCHAR(64) NOT NULL,
    config_json TEXT NOT NULL,
    schema_hash VARCHAR(64),
    sequence_in_pipeline INTEGER,
    registered_at DATETIME NOT NULL,
    schema_mode VARCHAR(16),
    schema_fields_json TEXT,
    input_contract_json TEXT,
    output_contract_json TEXT,
    output_contract_hash VARCHAR(32),
    PRIMARY KEY (node_id, run_id)
);

CREATE TABLE run_sources (
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    source_node_id VARCHAR(64) NOT NULL,
    source_name VARCHAR(64) NOT NULL,
    plugin_name VARCHAR(128) NOT NULL,
    lifecycle_state VARCHAR(32) NOT NULL,
    config_hash VARCHAR(64) NOT NULL,
    schema_json TEXT,
    schema_contract_json TEXT,
    schema_contract_hash VARCHAR(32),
    field_resolution_json TEXT,
    recorded_at DATETIME NOT NULL,
    PRIMARY KEY (run_id, source_node_id),
    UNIQUE (run_id, source_name),
    CONSTRAINT ck_run_sources_lifecycle_state CHECK (
        lifecycle_state IN ('ready', 'loading', 'exhausted', 'loaded', 'interrupted')
    ),
    FOREIGN KEY (source_node_id, run_id) REFERENCES nodes (node_id, run_id)
);

CREATE TABLE edges (
    edge_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    from_node_id VARCHAR(64) NOT NULL,
    to_node_id VARCHAR(64) NOT NULL,
    label VARCHAR(64) NOT NULL,
    default_mode VARCHAR(16) NOT NULL,
    created_at DATETIME NOT NULL,
    UNIQUE (edge_id, run_id),
    UNIQUE (run_id, from_node_id, label),
    FOREIGN KEY (from_node_id, run_id) REFERENCES nodes (node_id, run_id),
    FOREIGN KEY (to_node_id, run_id) REFERENCES nodes (node_id, run_id)
);

CREATE TABLE sink_effect_streams (
    stream_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    sink_node_id VARCHAR(64) NOT NULL,
    role VARCHAR(16) NOT NULL,
    requested_target_hash VARCHAR(64) NOT NULL,
    resolved_target VARCHAR(512),
    next_sequence INTEGER NOT NULL,
    tail_effect_id VARCHAR(64),
    head_effect_id VARCHAR(64),
    head_descriptor_hash VARCHAR(64),
    UNIQUE (stream_id, run_id),
    CONSTRAINT ck_sink_effect_streams_role CHECK (role IN ('primary', 'failsink')),
    CONSTRAINT ck_sink_effect_streams_next_sequence CHECK (next_sequence >= 0),
    FOREIGN KEY (sink_node_id, run_id) REFERENCES nodes (node_id, run_id),
    FOREIGN KEY (tail_effect_id, stream_id) REFERENCES sink_effects (effect_id, stream_id),
    FOREIGN KEY (head_effect_id, stream_id) REFERENCES sink_effects (effect_id, stream_id)
);

CREATE TABLE sink_effects (
    effect_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    sink_node_id VARCHAR(64) NOT NULL,
    role VARCHAR(16) NOT NULL,
    state VARCHAR(16) NOT NULL,
    protocol_version VARCHAR(64) NOT NULL,
    input_kind VARCHAR(32) NOT NULL,
    required_member_ordinal INTEGER,
    required_snapshot_slot INTEGER,
    config_hash VARCHAR(64) NOT NULL,
    membership_or_manifest_hash VARCHAR(64) NOT NULL,
    group_payload_hash VARCHAR(64) NOT NULL,
    artifact_id VARCHAR(64) NOT NULL,
    artifact_idempotency_key VARCHAR(256) NOT NULL,
    target_json TEXT NOT NULL,
    inspection_mode VARCHAR(32),
    inspection_attempt_id VARCHAR(64),
    plan_json TEXT,
    plan_hash VARCHAR(64),
    descriptor_mode VARCHAR(32),
    expected_descriptor_hash VARCHAR(64),
    precondition_hash VARCHAR(64),
    prepared_at DATETIME,
    lease_owner VARCHAR(128),
    generation INTEGER NOT NULL,
    lease_expires_at DATETIME,
    lease_heartbeat_at DATETIME,
    reconcile_kind VARCHAR(48),
    reconcile_evidence_hash VARCHAR(64),
    result_descriptor_hash VARCHAR(64),
    publication_performed BOOLEAN,
    publication_evidence_kind VARCHAR(32),
    primary_effect_id VARCHAR(64) REFERENCES sink_effects (effect_id),
    stream_id VARCHAR(64),
    stream_sequence INTEGER,
    predecessor_effect_id VARCHAR(64),
    created_at DATETIME NOT NULL,
    updated_at DATETIME NOT NULL,
    finalized_at DATETIME,
    UNIQUE (effect_id, input_kind),
    UNIQUE (effect_id, run_id),
    UNIQUE (effect_id, run_id, sink_node_id),
    UNIQUE (effect_id, stream_id),
    CONSTRAINT ck_sink_effects_role CHECK (role IN ('primary', 'failsink')),
    CONSTRAINT ck_sink_effects_state CHECK (state IN ('reserved', 'prepared', 'in_flight', 'finalized')),
    CONSTRAINT ck_sink_effects_input_kind_xor CHECK (
        (input_kind = 'pipeline_members' AND required_member_ordinal = 0 AND required_snapshot_slot IS NULL)
        OR (input_kind = 'audit_export_snapshot' AND required_member_ordinal IS NULL AND required_snapshot_slot = 0)
    ),
    CONSTRAINT ck_sink_effects_lifecycle CHECK (
        (
            state = 'reserved' AND inspection_mode IS NULL AND inspection_attempt_id IS NULL AND plan_json IS NULL
            AND plan_hash IS NULL AND descriptor_mode IS NULL AND expected_descriptor_hash IS NULL
            AND precondition_hash IS NULL AND prepared_at IS NULL
            AND (
                (generation = 0 AND lease_owner IS NULL AND lease_expires_at IS NULL AND lease_heartbeat_at IS NULL)
                OR (
                    generation > 0 AND lease_owner IS NOT NULL AND lease_expires_at IS NOT NULL
                    AND lease_heartbeat_at IS NOT NULL
                )
            )
            AND reconcile_kind IS NULL AND reconcile_evidence_hash IS NULL AND result_descriptor_hash IS NULL
            AND publication_performed IS NULL AND publication_evidence_kind IS NULL AND finalized_at IS NULL
        )
        OR (
            state = 'prepared' AND plan_hash IS NOT NULL AND plan_json IS NOT NULL AND inspection_mode IS NOT NULL
            AND inspection_attempt_id IS NOT NULL AND descriptor_mode IS NOT NULL AND precondition_hash IS NOT NULL
            AND prepared_at IS NOT NULL AND lease_owner IS NULL AND lease_expires_at IS NULL
            AND lease_heartbeat_at IS NULL AND reconcile_kind IS NULL AND reconcile_evidence_hash IS NULL
            AND result_descriptor_hash IS NULL AND publication_performed IS NULL AND publication_evidence_kind IS NULL
            AND finalized_at IS NULL
        )
        OR (
            state = 'in_flight' AND plan_hash IS NOT NULL AND plan_json IS NOT NULL AND inspection_mode IS NOT NULL
            AND inspection_attempt_id IS NOT NULL AND descriptor_mode IS NOT NULL AND precondition_hash IS NOT NULL
            AND prepared_at IS NOT NULL AND lease_owner IS NOT NULL AND generation > 0
            AND lease_expires_at IS NOT NULL AND lease_heartbeat_at IS NOT NULL AND reconcile_kind IS NULL
            AND reconcile_evidence_hash IS NULL AND result_descriptor_hash IS NULL AND publication_performed IS NULL
            AND publication_evidence_kind IS NULL AND finalized_at IS NULL
        )
        OR (
            state = 'finalized' AND plan_hash IS NOT NULL AND plan_json IS NOT NULL AND inspection_mode IS NOT NULL
            AND inspection_attempt_id IS NOT NULL AND descriptor_mode IS NOT NULL AND precondition_hash IS NOT NULL
            AND prepared_at IS NOT NULL AND result_descriptor_hash IS NOT NULL AND publication_performed IS NOT NULL
            AND publication_evidence_kind IS NOT NULL AND lease_owner IS NULL AND lease_expires_at IS NULL
            AND lease_heartbeat_at IS NULL AND finalized_at IS NOT NULL
            AND (
                (
                    publication_performed IS TRUE AND publication_evidence_kind = 'returned'
                    AND reconcile_kind IS NULL AND reconcile_evidence_hash IS NULL
                )
                OR (
                    publication_performed IS TRUE AND publication_evidence_kind = 'reconciled'
                    AND reconcile_kind = 'applied_with_exact_descriptor' AND reconcile_evidence_hash IS NOT NULL
                )
                OR (
                    publication_performed IS FALSE AND publication_evidence_kind IN ('inherited', 'virtual')
                    AND reconcile_kind IS NULL AND reconcile_evidence_hash IS NULL
                )
            )
        )
    ),
    CONSTRAINT ck_sink_effects_generation CHECK (generation >= 0),
    CONSTRAINT ck_sink_effects_lease_window CHECK (
        lease_expires_at IS NULL OR lease_heartbeat_at IS NULL OR lease_expires_at >= lease_heartbeat_at
    ),
    CONSTRAINT ck_sink_effects_stream_shape CHECK (
        (stream_id IS NULL AND stream_sequence IS NULL AND predecessor_effect_id IS NULL)
        OR (stream_id IS NOT NULL AND stream_sequence = 0 AND predecessor_effect_id IS NULL)
        OR (stream_id IS NOT NULL AND stream_sequence > 0 AND predecessor_effect_id IS NOT NULL)
    ),
    CONSTRAINT ck_sink_effects_descriptor_mode CHECK (
        descriptor_mode IS NULL
        OR (descriptor_mode = 'precomputed' AND expected_descriptor_hash IS NOT NULL)
        OR (descriptor_mode = 'result_derived' AND expected_descriptor_hash IS NULL)
        OR (descriptor_mode = 'no_publication' AND expected_descriptor_hash IS NOT NULL)
    ),
    CONSTRAINT ck_sink_effects_inspection_mode CHECK (
        inspection_mode IS NULL OR inspection_mode IN ('inspected', 'no_inspection_required')
    ),
    CONSTRAINT ck_sink_effects_reconcile_kind CHECK (
        reconcile_kind IS NULL OR reconcile_kind IN ('not_applied', 'applied_with_exact_descriptor', 'unknown')
    ),
    FOREIGN KEY (sink_node_id, run_id) REFERENCES nodes (node_id, run_id),
    FOREIGN KEY (stream_id, run_id) REFERENCES sink_effect_streams (stream_id, run_id),
    FOREIGN KEY (predecessor_effect_id, stream_id) REFERENCES sink_effects (effect_id, stream_id),
    FOREIGN KEY (effect_id, input_kind, required_member_ordinal)
        REFERENCES sink_effect_members (effect_id, input_kind, ordinal) DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (effect_id, input_kind, required_snapshot_slot)
        REFERENCES sink_effect_export_snapshots (effect_id, input_kind, slot) DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE sink_effect_members (
    effect_id VARCHAR(64) NOT NULL,
    input_kind VARCHAR(32) NOT NULL,
    ordinal INTEGER NOT NULL,
    run_id VARCHAR(64) NOT NULL,
    sink_node_id VARCHAR(64) NOT NULL,
    role VARCHAR(16) NOT NULL,
    token_id VARCHAR(64) NOT NULL,
    row_id VARCHAR(64) NOT NULL,
    ingest_sequence INTEGER NOT NULL,
    lineage_json TEXT NOT NULL,
    lineage_hash VARCHAR(64) NOT NULL,
    payload_hash VARCHAR(64) NOT NULL,
    primary_effect_id VARCHAR(64),
    prepared_disposition VARCHAR(16),
    reason_hash VARCHAR(64),
    member_effect_id VARCHAR(64),
    member_state VARCHAR(16),
    descriptor_hash VARCHAR(64),
    evidence_hash VARCHAR(64),
    PRIMARY KEY (effect_id, ordinal),
    UNIQUE (effect_id, input_kind, ordinal),
    CONSTRAINT ck_sink_effect_members_input_kind CHECK (input_kind = 'pipeline_members'),
    CONSTRAINT ck_sink_effect_members_order CHECK (ordinal >= 0 AND ingest_sequence >= 0),
    CONSTRAINT ck_sink_effect_members_primary_linkage CHECK (
        (role = 'primary' AND primary_effect_id IS NULL) OR (role = 'failsink' AND primary_effect_id IS NOT NULL)
    ),
    CONSTRAINT ck_sink_effect_members_disposition CHECK (
        prepared_disposition IS NULL OR prepared_disposition IN ('accepted', 'diverted')
    ),
    CONSTRAINT ck_sink_effect_members_state CHECK (
        member_state IS NULL OR member_state IN ('reserved', 'prepared', 'in_flight', 'finalized')
    ),
    FOREIGN KEY (effect_id, input_kind) REFERENCES sink_effects (effect_id, input_kind),
    FOREIGN KEY (token_id, row_id, run_id) REFERENCES tokens (token_id, row_id, run_id),
    FOREIGN KEY (row_id, run_id) REFERENCES rows (row_id, run_id),
    FOREIGN KEY (sink_node_id, run_id) REFERENCES nodes (node_id, run_id),
    FOREIGN KEY (primary_effect_id, run_id) REFERENCES sink_effects (effect_id, run_id)
);

CREATE TABLE sink_effect_attempts (
    attempt_id VARCHAR(64) NOT NULL PRIMARY KEY,
    effect_id VARCHAR(64) NOT NULL REFERENCES sink_effects (effect_id),
    member_ordinal INTEGER,
    generation INTEGER NOT NULL,
    action VARCHAR(16) NOT NULL,
    call_kind VARCHAR(64) NOT NULL,
    request_hash VARCHAR(64) NOT NULL,
    state VARCHAR(32) NOT NULL,
    evidence_json TEXT,
    evidence_hash VARCHAR(64),
    started_at DATETIME NOT NULL,
    completed_at DATETIME,
    latency_ms FLOAT,
    CONSTRAINT ck_sink_effect_attempts_generation CHECK (generation >= 0),
    CONSTRAINT ck_sink_effect_attempts_action CHECK (action IN ('inspect', 'commit', 'reconcile')),
    CONSTRAINT ck_sink_effect_attempts_state CHECK (state IN ('intent', 'returned', 'response_lost', 'error')),
    FOREIGN KEY (effect_id, member_ordinal) REFERENCES sink_effect_members (effect_id, ordinal)
);

CREATE TABLE operations (
    operation_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    node_id VARCHAR(64) NOT NULL,
    operation_type VARCHAR(32) NOT NULL,
    sink_effect_id VARCHAR(64) REFERENCES sink_effects (effect_id),
    started_at DATETIME NOT NULL,
    completed_at DATETIME,
    status VARCHAR(16) NOT NULL,
    input_data_ref VARCHAR(256),
    input_data_hash VARCHAR(64),
    output_data_ref VARCHAR(256),
    output_data_hash VARCHAR(64),
    error_message TEXT,
    duration_ms FLOAT,
    CONSTRAINT ck_operations_sink_effect_type CHECK (sink_effect_id IS NULL OR operation_type = 'sink_write'),
    FOREIGN KEY (node_id, run_id) REFERENCES nodes (node_id, run_id)
);

CREATE TABLE rows (
    row_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    source_node_id VARCHAR(64) NOT NULL,
    row_index INTEGER,
    source_row_index INTEGER NOT NULL,
    ingest_sequence INTEGER NOT NULL,
    source_data_hash VARCHAR(64) NOT NULL,
    source_data_ref VARCHAR(256),
    created_at DATETIME NOT NULL,
    UNIQUE (row_id, run_id),
    UNIQUE (run_id, source_node_id, source_row_index),
    UNIQUE (run_id, ingest_sequence),
    FOREIGN KEY (source_node_id, run_id) REFERENCES nodes (node_id, run_id)
);

CREATE TABLE tokens (
    token_id VARCHAR(64) NOT NULL PRIMARY KEY,
    row_id VARCHAR(64) NOT NULL REFERENCES rows (row_id),
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    fork_group_id VARCHAR(64),
    join_group_id VARCHAR(64),
    expand_group_id VARCHAR(32),
    branch_name VARCHAR(64),
    step_in_pipeline INTEGER,
    token_data_ref VARCHAR(64),
    created_at DATETIME NOT NULL,
    UNIQUE (token_id, run_id),
    FOREIGN KEY (row_id, run_id) REFERENCES rows (row_id, run_id)
);

CREATE TABLE token_parents (
    token_id VARCHAR(64) NOT NULL,
    parent_token_id VARCHAR(64) NOT NULL,
    run_id VARCHAR(64) NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (token_id, parent_token_id),
    UNIQUE (token_id, ordinal),
    FOREIGN KEY (token_id, run_id) REFERENCES tokens (token_id, run_id),
    FOREIGN KEY (parent_token_id, run_id) REFERENCES tokens (token_id, run_id)
);

CREATE TABLE node_states (
    state_id VARCHAR(64) NOT NULL PRIMARY KEY,
    token_id VARCHAR(64) NOT NULL,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    node_id VARCHAR(64) NOT NULL,
    step_index INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    status VARCHAR(32) NOT NULL,
    input_hash VARCHAR(64) NOT NULL,
    output_hash VARCHAR(64),
    context_before_json TEXT,
    context_after_json TEXT,
    duration_ms FLOAT,
    error_json TEXT,
    success_reason_json TEXT,
    started_at DATETIME NOT NULL,
    completed_at DATETIME,
    resume_checkpoint_id VARCHAR(64),
    UNIQUE (state_id, run_id),
    UNIQUE (token_id, node_id, attempt),
    UNIQUE (token_id, step_index, attempt),
    FOREIGN KEY (token_id, run_id) REFERENCES tokens (token_id, run_id),
    FOREIGN KEY (node_id, run_id) REFERENCES nodes (node_id, run_id)
);

CREATE TABLE routing_events (
    event_id VARCHAR(64) NOT NULL PRIMARY KEY,
    state_id VARCHAR(64) NOT NULL,
    edge_id VARCHAR(64) NOT NULL,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    routing_group_id VARCHAR(64) NOT NULL,
    ordinal INTEGER NOT NULL,
    mode VARCHAR(16) NOT NULL,
    reason_hash VARCHAR(64),
    reason_ref VARCHAR(256),
    created_at DATETIME NOT NULL,
    UNIQUE (routing_group_id, ordinal),
    FOREIGN KEY (state_id, run_id) REFERENCES node_states (state_id, run_id),
    FOREIGN KEY (edge_id, run_id) REFERENCES edges (edge_id, run_id)
);

CREATE TABLE calls (
    call_id VARCHAR(64) NOT NULL PRIMARY KEY,
    state_id VARCHAR(64) REFERENCES node_states (state_id),
    operation_id VARCHAR(64) REFERENCES operations (operation_id),
    call_index INTEGER NOT NULL,
    call_type VARCHAR(32) NOT NULL,
    status VARCHAR(32) NOT NULL,
    request_hash VARCHAR(64) NOT NULL,
    request_ref VARCHAR(256),
    response_hash VARCHAR(64),
    response_ref VARCHAR(256),
    resolved_prompt_template_hash VARCHAR(64),
    error_json TEXT,
    latency_ms FLOAT,
    created_at DATETIME NOT NULL,
    CONSTRAINT calls_has_parent CHECK (
        (state_id IS NOT NULL AND operation_id IS NULL) OR (state_id IS NULL AND operation_id IS NOT NULL)
    )
);

CREATE TABLE batches (
    batch_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    aggregation_node_id VARCHAR(64) NOT NULL,
    aggregation_state_id VARCHAR(64),
    expansion_group_id VARCHAR(32),
    retry_of_batch_id VARCHAR(64) UNIQUE,
    trigger_reason VARCHAR(128),
    trigger_type VARCHAR(32),
    attempt INTEGER NOT NULL,
    status VARCHAR(32) NOT NULL,
    created_at DATETIME NOT NULL,
    completed_at DATETIME,
    UNIQUE (batch_id, run_id),
    FOREIGN KEY (aggregation_node_id, run_id) REFERENCES nodes (node_id, run_id),
    FOREIGN KEY (aggregation_state_id, run_id) REFERENCES node_states (state_id, run_id),
    FOREIGN KEY (retry_of_batch_id, run_id) REFERENCES batches (batch_id, run_id)
);

CREATE TABLE batch_members (
    batch_id VARCHAR(64) NOT NULL,
    run_id VARCHAR(64) NOT NULL,
    token_id VARCHAR(64) NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (batch_id, token_id),
    UNIQUE (batch_id, ordinal),
    FOREIGN KEY (batch_id, run_id) REFERENCES batches (batch_id, run_id),
    FOREIGN KEY (token_id, run_id) REFERENCES tokens (token_id, run_id)
);

CREATE TABLE batch_outputs (
    batch_output_id VARCHAR(64) NOT NULL PRIMARY KEY,
    batch_id VARCHAR(64) NOT NULL REFERENCES batches (batch_id),
    output_type VARCHAR(32) NOT NULL,
    output_id VARCHAR(64) NOT NULL,
    UNIQUE (batch_id, output_type, output_id)
);

CREATE TABLE token_outcomes (
    outcome_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL,
    token_id VARCHAR(64) NOT NULL,
    outcome VARCHAR(32),
    path VARCHAR(64) NOT NULL,
    completed INTEGER NOT NULL,
    recorded_at DATETIME NOT NULL,
    sink_name VARCHAR(128),
    batch_id VARCHAR(64),
    fork_group_id VARCHAR(64),
    join_group_id VARCHAR(64),
    expand_group_id VARCHAR(64),
    error_hash VARCHAR(64),
    context_json TEXT,
    expected_branches_json TEXT,
    FOREIGN KEY (token_id, run_id) REFERENCES tokens (token_id, run_id),
    FOREIGN KEY (batch_id, run_id) REFERENCES batches (batch_id, run_id)
);

CREATE TABLE token_work_items (
    work_item_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL,
    token_id VARCHAR(64) NOT NULL,
    row_id VARCHAR(64) NOT NULL,
    node_id VARCHAR(64),
    step_index INTEGER NOT NULL,
    ingest_sequence INTEGER NOT NULL,
    row_payload_json TEXT NOT NULL,
    status VARCHAR(32) NOT NULL,
    queue_key VARCHAR(128),
    barrier_key VARCHAR(128),
    on_success_sink VARCHAR(128),
    pending_sink_name VARCHAR(128),
    pending_outcome VARCHAR(32),
    pending_path VARCHAR(64),
    pending_error_hash VARCHAR(64),
    pending_error_message TEXT,
    branch_name VARCHAR(128),
    fork_group_id VARCHAR(128),
    join_group_id VARCHAR(128),
    expand_group_id VARCHAR(128),
    coalesce_node_id VARCHAR(64),
    coalesce_name VARCHAR(128),
    attempt INTEGER NOT NULL,
    lease_owner VARCHAR(128),
    lease_expires_at DATETIME,
    available_at DATETIME NOT NULL,
    barrier_blocked_at DATETIME,
    barrier_adopted_epoch INTEGER,
    created_at DATETIME NOT NULL,
    updated_at DATETIME NOT NULL,
    UNIQUE (run_id, token_id, node_id, attempt),
    CONSTRAINT ck_token_work_items_lease_owner_required_when_leased CHECK (
        (status = 'leased' AND lease_owner IS NOT NULL AND length(lease_owner) > 0) OR status != 'leased'
    ),
    FOREIGN KEY (token_id, run_id) REFERENCES tokens (token_id, run_id),
    FOREIGN KEY (row_id, run_id) REFERENCES rows (row_id, run_id),
    FOREIGN KEY (node_id, run_id) REFERENCES nodes (node_id, run_id),
    FOREIGN KEY (coalesce_node_id, run_id) REFERENCES nodes (node_id, run_id)
);

CREATE TABLE scheduler_events (
    event_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    token_id VARCHAR(64) NOT NULL,
    work_item_id VARCHAR(64) NOT NULL,
    node_id VARCHAR(64),
    event_type VARCHAR(64) NOT NULL,
    from_status VARCHAR(32),
    to_status VARCHAR(32) NOT NULL,
    from_lease_owner VARCHAR(128),
    to_lease_owner VARCHAR(128),
    from_lease_expires_at DATETIME,
    to_lease_expires_at DATETIME,
    from_attempt INTEGER,
    to_attempt INTEGER NOT NULL,
    recorded_at DATETIME NOT NULL,
    caller_owner VARCHAR(128),
    context_json TEXT DEFAULT '{}' NOT NULL,
    CONSTRAINT ck_scheduler_events_event_type CHECK (
        event_type IN (
            'enqueue', 'claim_ready', 'claim_pending_sink', 'recover_expired_lease', 'lease_lost', 'mark_blocked',
            'mark_terminal', 'mark_failed', 'mark_pending_sink', 'mark_pending_sink_terminal',
            'mark_blocked_barrier_terminal'
        )
    ),
    CONSTRAINT ck_scheduler_events_from_status CHECK (
        from_status IS NULL OR from_status IN ('ready', 'leased', 'blocked', 'pending_sink', 'terminal', 'failed')
    ),
    CONSTRAINT ck_scheduler_events_to_status CHECK (
        to_status IN ('ready', 'leased', 'blocked', 'pending_sink', 'terminal', 'failed')
    ),
    CONSTRAINT ck_scheduler_events_from_attempt_non_negative CHECK (from_attempt IS NULL OR from_attempt >= 0),
    CONSTRAINT ck_scheduler_events_to_attempt_non_negative CHECK (to_attempt >= 0),
    FOREIGN KEY (token_id, run_id) REFERENCES tokens (token_id, run_id),
    FOREIGN KEY (node_id, run_id) REFERENCES nodes (node_id, run_id)
);

CREATE TABLE coalesce_effects (
    effect_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL,
    coalesce_node_id VARCHAR(64) NOT NULL,
    row_id VARCHAR(64) NOT NULL,
    parent_set_hash VARCHAR(64) NOT NULL,
    effect_hash VARCHAR(64) NOT NULL,
    expected_token_data_ref VARCHAR(64) NOT NULL,
    step_in_pipeline INTEGER,
    status VARCHAR(16) NOT NULL,
    result_token_id VARCHAR(64) NOT NULL,
    result_join_group_id VARCHAR(64) NOT NULL,
    created_at DATETIME NOT NULL,
    completed_at DATETIME,
    CONSTRAINT uq_coalesce_effects_run_identity UNIQUE (effect_id, run_id),
    CONSTRAINT uq_coalesce_effects_scope UNIQUE (run_id, coalesce_node_id, row_id, parent_set_hash),
    CONSTRAINT uq_coalesce_effects_result_token UNIQUE (result_token_id),
    CONSTRAINT uq_coalesce_effects_result_group UNIQUE (result_join_group_id),
    CONSTRAINT ck_coalesce_effects_lifecycle CHECK (
        (status = 'materialized' AND completed_at IS NULL) OR (status = 'completed' AND completed_at IS NOT NULL)
    ),
    CONSTRAINT ck_coalesce_effects_parent_set_hash_hex CHECK (
        length(parent_set_hash) = 64 AND parent_set_hash NOT GLOB '*[^0-9a-f]*'
    ),
    CONSTRAINT ck_coalesce_effects_effect_hash_hex CHECK (
        length(effect_hash) = 64 AND effect_hash NOT GLOB '*[^0-9a-f]*'
    ),
    CONSTRAINT ck_coalesce_effects_payload_ref_hex CHECK (
        length(expected_token_data_ref) = 64 AND expected_token_data_ref NOT GLOB '*[^0-9a-f]*'
    ),
    CONSTRAINT fk_coalesce_effects_run FOREIGN KEY (run_id) REFERENCES runs (run_id),
    CONSTRAINT fk_coalesce_effects_row FOREIGN KEY (row_id, run_id) REFERENCES rows (row_id, run_id),
    CONSTRAINT fk_coalesce_effects_result_identity
        FOREIGN KEY (result_token_id, run_id, result_join_group_id) REFERENCES tokens (token_id, run_id, join_group_id)
);

CREATE TABLE coalesce_effect_members (
    effect_id VARCHAR(64) NOT NULL,
    run_id VARCHAR(64) NOT NULL,
    ordinal INTEGER NOT NULL,
    parent_token_id VARCHAR(64) NOT NULL,
    parent_state_id VARCHAR(64),
    PRIMARY KEY (effect_id, ordinal),
    CONSTRAINT uq_coalesce_effect_members_token UNIQUE (effect_id, parent_token_id),
    CONSTRAINT uq_coalesce_effect_members_state UNIQUE (effect_id, parent_state_id),
    CONSTRAINT ck_coalesce_effect_members_ordinal CHECK (ordinal >= 0),
    CONSTRAINT fk_coalesce_effect_members_effect
        FOREIGN KEY (effect_id, run_id) REFERENCES coalesce_effects (effect_id, run_id),
    CONSTRAINT fk_coalesce_effect_members_token
        FOREIGN KEY (parent_token_id, run_id) REFERENCES tokens (token_id, run_id),
    CONSTRAINT fk_coalesce_effect_members_state_token
        FOREIGN KEY (parent_state_id, run_id, parent_token_id) REFERENCES node_states (state_id, run_id, token_id)
);

CREATE TABLE coalesce_branch_losses (
    loss_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    coalesce_name VARCHAR(128) NOT NULL,
    row_id VARCHAR(64) NOT NULL,
    branch_name VARCHAR(128) NOT NULL,
    token_id VARCHAR(64) NOT NULL,
    reason VARCHAR(64) NOT NULL,
    recorded_by VARCHAR(128) NOT NULL,
    recorded_at DATETIME NOT NULL,
    adopted_epoch INTEGER
);

CREATE TABLE validation_errors (
    error_id VARCHAR(32) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    node_id VARCHAR(64),
    row_id VARCHAR(64),
    row_hash VARCHAR(64) NOT NULL,
    row_data_json TEXT,
    error TEXT NOT NULL,
    schema_mode VARCHAR(16) NOT NULL,
    destination VARCHAR(255) NOT NULL,
    created_at DATETIME NOT NULL,
    violation_type VARCHAR(32),
    original_field_name VARCHAR(256),
    normalized_field_name VARCHAR(256),
    expected_type VARCHAR(32),
    actual_type VARCHAR(32),
    FOREIGN KEY (node_id, run_id) REFERENCES nodes (node_id, run_id) ON DELETE RESTRICT,
    FOREIGN KEY (row_id, run_id) REFERENCES rows (row_id, run_id) ON DELETE RESTRICT
);

CREATE TABLE transform_errors (
    error_id VARCHAR(32) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL,
    token_id VARCHAR(64) NOT NULL,
    transform_id VARCHAR(64) NOT NULL,
    row_hash VARCHAR(64) NOT NULL,
    row_data_json TEXT,
    error_details_json TEXT,
    destination VARCHAR(255) NOT NULL,
    created_at DATETIME NOT NULL,
    FOREIGN KEY (token_id, run_id) REFERENCES tokens (token_id, run_id) ON DELETE RESTRICT,
    FOREIGN KEY (transform_id, run_id) REFERENCES nodes (node_id, run_id) ON DELETE RESTRICT
);

CREATE TABLE artifacts (
    artifact_id VARCHAR(64) NOT NULL PRIMARY KEY,
    run_id VARCHAR(64) NOT NULL REFERENCES runs (run_id),
    produced_by_state_id VARCHAR(64),
    sink_effect_id VARCHAR(64),
    sink_node_id VARCHAR(64) NOT NULL,
    artifact_type VARCHAR(64) NOT NULL,
    path_or_uri VARCHAR(512) NOT NULL,
    content_hash VARCHAR(64) NOT NULL,
    size_bytes INTEGER NOT NULL,
    idempotency_key VARCHAR(256),
    publication_performed BOOLEAN NOT NULL,
    publication_evidence_kind VARCHAR(32) NOT NULL,
    created_at DATETIME NOT NULL,
    CONSTRAINT ck_artifacts_producer_xor CHECK (
        (produced_by_state_id IS NOT NULL AND sink_effect_id IS NULL)
        OR (produced_by_state_id IS NULL AND sink_effect_id IS NOT NULL)
    ),
    CONSTRAINT ck_artifacts_publication_evidence_kind CHECK (
        publication_evidence_kind IN ('returned', 'reconciled', 'inherited', 'virtual', 'legacy_returned')
    ),
    FOREIGN KEY (produced_by_state_id, run_id) REFERENCES node_states (state_id, run_id),
    FOREIGN KEY (sink_effect_id, run_id, sink_node_id) REFERENCES sink_effects (effect_id, run_id, sink_node_id),
    FOREIGN KEY (sink_node_id, run_id) REFERENCES nodes (node_id, run_id)
);

CREATE TABLE audit_export_snapshots (
    snapshot_id VARCHAR(64) NOT NULL PRIMARY KEY,
    source_run_id VARCHAR(64) NOT NULL,
    source_status VARCHAR(32) NOT NULL,
    source_completed_at DATETIME NOT NULL,
    exported_at DATETIME NOT NULL,
    registry_key_hash VARCHAR(64) NOT NULL,
    exporter_version VARCHAR(64) NOT NULL,
    serialization_version VARCHAR(64) NOT NULL,
    export_format VARCHAR(16) NOT NULL,
    signing_mode VARCHAR(16) NOT NULL,
    signer_key_id VARCHAR(128) NOT NULL,
    derivation_version VARCHAR(64) NOT NULL,
    public_export_config_hash VARCHAR(64) NOT NULL,
    chunking_algorithm_version VARCHAR(64) NOT NULL,
    per_chunk_record_limit INTEGER NOT NULL,
    per_chunk_byte_limit INTEGER NOT NULL,
    record_count INTEGER NOT NULL,
    total_bytes INTEGER NOT NULL,
    chunk_count INTEGER NOT NULL,
    terminal_chunk_ordinal INTEGER NOT NULL,
    content_store_id VARCHAR(128) NOT NULL,
    manifest_hash VARCHAR(64) NOT NULL,
    last_chunk_seal_hash VARCHAR(64) NOT NULL,
    snapshot_hash VARCHAR(64) NOT NULL,
    snapshot_seal_hash VARCHAR(64) NOT NULL,
    signature_hex VARCHAR(64),
    record_chain_algorithm VARCHAR(64) NOT NULL,
    final_hash VARCHAR(64) NOT NULL,
    signed_manifest_schema VARCHAR(64) NOT NULL,
    signed_manifest_hash VARCHAR(64) NOT NULL,
    signed_manifest_ref VARCHAR(71) NOT NULL,
    signed_manifest_size_bytes INTEGER NOT NULL,
    UNIQUE (snapshot_id, source_run_id),
    CONSTRAINT ck_audit_export_snapshots_terminal_witness CHECK (
        source_status IN ('completed', 'completed_with_failures', 'empty') AND source_completed_at IS NOT NULL
    ),
    CONSTRAINT ck_audit_export_snapshots_positive_totals CHECK (
        record_count > 0 AND total_bytes > 0 AND chunk_count > 0
    ),
    CONSTRAINT ck_audit_export_snapshots_terminal_ordinal CHECK (terminal_chunk_ordinal = chunk_count - 1),
    CONSTRAINT ck_audit_export_snapshots_manifest_hash_hex CHECK (
        length(manifest_hash) = 64 AND manifest_hash NOT GLOB '*[^0-9a-f]*'
    ),
    CONSTRAINT ck_audit_export_snapshots_snapshot_hash_hex CHECK (
        length(snapshot_hash) = 64 AND snapshot_hash NOT GLOB '*[^0-9a-f]*'
    ),
    CONSTRAINT ck_audit_export_snapshots_snapshot_seal_hash_hex CHECK (
        length(snapshot_seal_hash) = 64 AND snapshot_seal_hash NOT GLOB '*[^0-9a-f]*'
    ),
    CONSTRAINT ck_audit_export_snapshots_last_chunk_seal_hash_hex CHECK (
        length(last_chunk_seal_hash) = 64 AND last_chunk_seal_hash NOT GLOB '*[^0-9a-f]*'
    ),
    CONSTRAINT ck_audit_export_snapshots_final_hash_hex CHECK (
        length(final_hash) = 64 AND final_hash NOT GLOB '*[^0-9a-f]*'
    ),
    CONSTRAINT ck_audit_export_snapshots_signed_manifest_hash_hex CHECK (
        length(signed_manifest_hash) = 64 AND signed_manifest_hash NOT GLOB '*[^0-9a-f]*'
    ),
    CONSTRAINT ck_audit_export_snapshots_signed_manifest_ref CHECK (
        signed_manifest_ref = 'sha256:' || signed_manifest_hash
    ),
    CONSTRAINT ck_audit_export_snapshots_signed_manifest_size CHECK (signed_manifest_size_bytes BETWEEN 1 AND 65536),
    CONSTRAINT ck_audit_export_snapshots_manifest_schema CHECK (
        signed_manifest_schema = 'elspeth.audit-export-manifest.v2'
    ),
    CONSTRAINT ck_audit_export_snapshots_derivation_version CHECK (derivation_version = 'audit-export-derivation-v1'),
    CONSTRAINT ck_audit_export_snapshots_signing_tuple CHECK (
        (
            signing_mode = 'hmac_sha256' AND signer_key_id <> 'UNSIGNED' AND length(trim(signer_key_id)) > 0
            AND signature_hex IS NOT NULL AND length(signature_hex) = 64 AND signature_hex NOT GLOB '*[^0-9a-f]*'
            AND record_chain_algorithm = 'sha256_concat_hmac_sha256_signatures_v1'
        )
        OR (
            signing_mode = 'unsigned' AND signer_key_id = 'UNSIGNED' AND signature_hex IS NULL
            AND record_chain_algorithm = 'sha256_concat_record_sha256_v1'
        )
    ),
    FOREIGN KEY (source_run_id, source_status, source_completed_at) REFERENCES runs (run_id, status, completed_at),
    FOREIGN KEY (snapshot_id, terminal_chunk_ordinal, last_chunk_seal_hash, record_count, total_bytes)
        REFERENCES audit_export_snapshot_chunks (
            snapshot_id, ordinal, chunk_seal_hash, cumulative_records, cumulative_bytes
        ) DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE audit_export_snapshot_chunks (
    snapshot_id VARCHAR(64) NOT NULL,
    ordinal INTEGER NOT NULL,
    content_ref VARCHAR(71) NOT NULL,
    content_hash VARCHAR(64) NOT NULL,
    size_bytes INTEGER NOT NULL,
    record_count INTEGER NOT NULL,
    predecessor_seal_hash VARCHAR(64),
    cumulative_records INTEGER NOT NULL,
    cumulative_bytes INTEGER NOT NULL,
    chunk_seal_hash VARCHAR(64) NOT NULL,
    PRIMARY KEY (snapshot_id, ordinal),
    CONSTRAINT ck_audit_export_snapshot_chunks_ordinal CHECK (ordinal >= 0),
    CONSTRAINT ck_audit_export_snapshot_chunks_size CHECK (size_bytes > 0 AND size_bytes <= 67108864),
    CONSTRAINT ck_audit_export_snapshot_chunks_records CHECK (record_count > 0 AND record_count <= 1000000),
    CONSTRAINT ck_audit_export_snapshot_chunks_cumulative CHECK (cumulative_records > 0 AND cumulative_bytes > 0),
    CONSTRAINT ck_audit_export_snapshot_chunks_content_hash_hex CHECK (
        length(content_hash) = 64 AND content_hash NOT GLOB '*[^0-9a-f]*'
    ),
    CONSTRAINT ck_audit_export_snapshot_chunks_seal_hash_hex CHECK (
        length(chunk_seal_hash) = 64 AND chunk_seal_hash NOT GLOB '*[^0-9a-f]*'
    ),
    CONSTRAINT ck_audit_export_snapshot_chunks_predecessor_hash CHECK (
        predecessor_seal_hash IS NULL
        OR (length(predecessor_seal_hash) = 64 AND predecessor_seal_hash NOT GLOB '*[^0-9a-f]*')
    ),
    CONSTRAINT ck_audit_export_snapshot_chunks_content_ref CHECK (content_ref = 'sha256:' || content_hash),
    FOREIGN KEY (snapshot_id) REFERENCES audit_export_snapshots (snapshot_id) DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE sink_effect_export_snapshots (
    effect_id VARCHAR(64) NOT NULL,
    input_kind VARCHAR(32) NOT NULL,
    slot INTEGER NOT NULL,
    snapshot_id VARCHAR(64) NOT NULL REFERENCES audit_export_snapshots (snapshot_id),
    PRIMARY KEY (effect_id, slot),
    UNIQUE (effect_id, input_kind, slot),
    UNIQUE (effect_id, snapshot_id),
    CONSTRAINT ck_sink_effect_export_snapshots_input_kind CHECK (input_kind = 'audit_export_snapshot'),
    CONSTRAINT ck_sink_effect_export_snapshots_slot CHECK (slot = 0),
    FOREIGN KEY (effect_id, input_kind) REFERENCES sink_effects (effect_id, input_kind)
);

CREATE TABLE sidecar_journal_outbox (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    batch_id VARCHAR(32) NOT NULL UNIQUE,
    journal_owner VARCHAR(64) NOT NULL,
    created_at DATETIME NOT NULL,
    records_json TEXT NOT NULL
);

CREATE INDEX ix_artifacts_run ON artifacts (run_id);
CREATE UNIQUE INDEX uq_artifacts_run_idempotency_key
    ON artifacts (run_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX uq_audit_export_snapshot_chunks_terminal
    ON audit_export_snapshot_chunks (snapshot_id, ordinal, chunk_seal_hash, cumulative_records, cumulative_bytes);
CREATE UNIQUE INDEX ix_audit_export_snapshots_registry_key_hash ON audit_export_snapshots (registry_key_hash);
CREATE UNIQUE INDEX uq_audit_export_snapshots_registry_key
    ON audit_export_snapshots (
        source_run_id, exporter_version, serialization_version, export_format, signing_mode, signer_key_id,
        public_export_config_hash
    );
CREATE INDEX ix_auth_events_occurred_at ON auth_events (occurred_at);
CREATE INDEX ix_auth_events_type_outcome ON auth_events (event_type, outcome);
CREATE INDEX ix_auth_events_user ON auth_events (user_id);
CREATE INDEX ix_batch_members_batch ON batch_members (batch_id);
CREATE INDEX ix_batch_outputs_batch ON batch_outputs (batch_id);
CREATE INDEX ix_batches_run_status ON batches (run_id, status);
CREATE INDEX ix_calls_operation ON calls (operation_id);
CREATE UNIQUE INDEX ix_calls_operation_call_index_unique
    ON calls (operation_id, call_index) WHERE operation_id IS NOT NULL;
CREATE INDEX ix_calls_resolved_prompt_template_hash ON calls (resolved_prompt_template_hash);
CREATE INDEX ix_calls_state ON calls (state_id);
CREATE UNIQUE INDEX ix_calls_state_call_index_unique ON calls (state_id, call_index) WHERE state_id IS NOT NULL;
CREATE INDEX ix_checkpoints_run ON checkpoints (run_id);
CREATE INDEX ix_checkpoints_run_seq ON checkpoints (run_id, sequence_number);
CREATE UNIQUE INDEX ix_checkpoints_run_sequence_unique ON checkpoints (run_id, sequence_number);
CREATE UNIQUE INDEX uq_coalesce_branch_losses_natural
    ON coalesce_branch_losses (run_id, coalesce_name, row_id, branch_name);
CREATE INDEX ix_edges_run_id ON edges (run_id);
CREATE INDEX ix_node_states_node ON node_states (node_id);
CREATE INDEX ix_node_states_token ON node_states (token_id);
CREATE UNIQUE INDEX uq_node_states_coalesce_member_identity ON node_states (state_id, run_id, token_id);
CREATE INDEX ix_nodes_run_id ON nodes (run_id);
CREATE INDEX ix_operations_node_run ON operations (node_id, run_id);
CREATE INDEX ix_operations_run_id ON operations (run_id);
CREATE UNIQUE INDEX uq_operations_sink_effect_id ON operations (sink_effect_id);
CREATE INDEX ix_preflight_results_run ON preflight_results (run_id);
CREATE INDEX ix_routing_events_group ON routing_events (routing_group_id);
CREATE INDEX ix_routing_events_run_state ON routing_events (run_id, state_id);
CREATE INDEX ix_routing_events_state ON routing_events (state_id);
CREATE INDEX ix_rows_run_id ON rows (run_id);
CREATE INDEX ix_rows_run_ingest_sequence ON rows (run_id, ingest_sequence);
CREATE INDEX ix_rows_run_source_row ON rows (run_id, source_node_id, source_row_index);
CREATE INDEX ix_run_attributions_user ON run_attributions (initiated_by_user_id, auth_provider_type);
CREATE INDEX ix_run_coordination_events_run ON run_coordination_events (run_id, seq);
CREATE UNIQUE INDEX uq_run_coordination_events_event_id ON run_coordination_events (event_id);
CREATE INDEX ix_run_sources_run ON run_sources (run_id);
CREATE INDEX ix_run_sources_source_name ON run_sources (run_id, source_name);
CREATE INDEX ix_run_workers_liveness ON run_workers (run_id, status, heartbeat_expires_at);
CREATE UNIQUE INDEX uq_runs_export_witness ON runs (run_id, status, completed_at);
CREATE INDEX ix_scheduler_events_run_token_time ON scheduler_events (run_id, token_id, recorded_at, event_id);
CREATE INDEX ix_scheduler_events_work_item ON scheduler_events (run_id, work_item_id, recorded_at);
CREATE INDEX ix_secret_resolutions_run ON secret_resolutions (run_id);
CREATE INDEX ix_secret_resolutions_run_id ON secret_resolutions (run_id);
CREATE INDEX ix_sidecar_journal_outbox_owner_sequence ON sidecar_journal_outbox (journal_owner, sequence);
CREATE INDEX ix_sink_effect_attempts_effect ON sink_effect_attempts (effect_id, started_at);
CREATE UNIQUE INDEX uq_sink_effect_member_binding ON sink_effect_members (run_id, sink_node_id, role, token_id);
CREATE UNIQUE INDEX uq_sink_effect_stream_identity
    ON sink_effect_streams (run_id, sink_node_id, role, requested_target_hash);
CREATE INDEX ix_sink_effects_run_state ON sink_effects (run_id, state);
CREATE UNIQUE INDEX ix_sink_effects_stream_sequence ON sink_effects (stream_id, stream_sequence);
CREATE INDEX ix_token_outcomes_run_id ON token_outcomes (run_id);
CREATE UNIQUE INDEX ix_token_outcomes_terminal_unique ON token_outcomes (token_id) WHERE completed = 1;
CREATE INDEX ix_token_outcomes_token_id ON token_outcomes (token_id);
CREATE INDEX ix_token_parents_parent ON token_parents (parent_token_id);
CREATE INDEX ix_token_work_items_lease ON token_work_items (run_id, status, lease_expires_at);
CREATE INDEX ix_token_work_items_pending_sink_token ON token_work_items (run_id, token_id, status, pending_sink_name);
CREATE INDEX ix_token_work_items_ready ON token_work_items (run_id, status, available_at);
CREATE INDEX ix_token_work_items_recovery ON token_work_items (run_id, status, lease_owner, lease_expires_at);
CREATE INDEX ix_token_work_items_run_id ON token_work_items (run_id);
CREATE UNIQUE INDEX uq_token_work_items_terminal_identity
    ON token_work_items (run_id, token_id, attempt) WHERE node_id IS NULL;
CREATE INDEX ix_tokens_expand_group_id ON tokens (expand_group_id);
CREATE INDEX ix_tokens_row_id ON tokens (row_id);
CREATE INDEX ix_tokens_run_id ON tokens (run_id);
CREATE UNIQUE INDEX uq_tokens_coalesce_result_identity ON tokens (token_id, run_id, join_group_id);
CREATE UNIQUE INDEX uq_tokens_identity_row_run ON tokens (token_id, row_id, run_id);
CREATE INDEX ix_transform_errors_run ON transform_errors (run_id);
CREATE INDEX ix_transform_errors_token ON transform_errors (token_id);
CREATE INDEX ix_transform_errors_transform ON transform_errors (transform_id);
CREATE INDEX ix_validation_errors_node ON validation_errors (node_id);
CREATE INDEX ix_validation_errors_run ON validation_errors (run_id);
CREATE INDEX ix_validation_errors_run_row ON validation_errors (run_id, row_id);

INSERT INTO elspeth_schema_identity (singleton_id, application_id, store_kind, schema_epoch)
VALUES (1, 'elspeth', 'landscape', 29);
