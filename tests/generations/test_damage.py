"""Corrupt audit data of the generations after v1: each rule, broken in one place of a good database, stops the export.

Belongs here: one row changed, and the table and the column that the refusal names. Does not belong here: the rules that
v1 has too (`../cli/test_corrupt_runs.py`), and damage that belongs to no run (`../database/test_integrity.py`).
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
from support.generations import GENERATIONS, SUBJECT, damaged, database
from support.pipeline import make_records, refusal, url

from landscape_assets.database import AuditDatabase
from landscape_assets.errors import CorruptTable

HEX = "'" + "0a" * 32 + "'"
NO_HEX = "'" + "0A" * 32 + "'"


@dataclass(frozen=True)
class Damage:
    """One row changed: `change` (SQL) in the first row of the run in `table` where `where` holds, and the column
    that is at fault. `generations` are those that have the rule."""

    table: str
    change: str
    column: str
    where: str = "1"
    generations: tuple[str, ...] = GENERATIONS

    def __str__(self) -> str:
        return f"{self.table}-{self.change}-{self.where}".replace(" ", "").replace("'", "")[:90]

    def statement(self) -> str:
        of_run = {
            "calls": "(state_id IN (SELECT state_id FROM node_states WHERE run_id = '{run}') OR operation_id IN "
            "(SELECT operation_id FROM operations WHERE run_id = '{run}'))",
            "sink_effect_attempts": "effect_id IN (SELECT effect_id FROM sink_effects WHERE run_id = '{run}')",
        }.get(self.table, "run_id = '{run}'")
        row = f"SELECT rowid FROM {self.table} WHERE {of_run} AND {self.where} LIMIT 1"
        return f"UPDATE {self.table} SET {self.change} WHERE rowid = ({row})"


V071 = ("v071",)
RUNS = [
    Damage("runs", "export_status = 'done'", "export_status"),
    Damage("runs", "export_status = ''", "export_status"),
    Damage("runs", "llm_call_count = -1", "llm_call_count"),
    Damage("runs", f"cache_key = {NO_HEX}", "cache_key"),
    Damage("runs", "seeded_from_cache = 2", "seeded_from_cache"),
    Damage("runs", "seeded_from_cache = 1, cache_key = NULL", "cache_key", generations=("v070", "v071")),
    Damage("runs", "config_hash = 'abc'", "config_hash"),
]
ATTRIBUTIONS = [
    Damage("run_attributions", "initiated_by_user_id = ' '", "initiated_by_user_id", generations=("v060", "v070")),
    Damage("run_attributions", "auth_provider_type = 'ldap'", "auth_provider_type", generations=("v060", "v070")),
    Damage("run_attributions", "initiated_by_user_id = ''", "initiated_by_user_id", generations=V071),
    Damage("run_attributions", "auth_provider_type = ''", "auth_provider_type", generations=V071),
    Damage("run_attributions", "auth_provider_type = NULL", "auth_provider_type"),
]
PIPELINE = [
    Damage("nodes", "node_type = 'pipe'", "node_type"),
    Damage("nodes", "source_file_hash = 'sha256:0123456789ABCDEF'", "source_file_hash"),
    Damage("nodes", "source_file_hash = '0123456789abcdef'", "source_file_hash"),
    Damage("nodes", "config_hash = 'abc'", "config_hash"),
    Damage("nodes", "registered_at = 'yesterday'", "registered_at"),
    Damage("nodes", "config_json = '[1e400]'", "config_json"),
    Damage("nodes", "config_json = '[1e16]'", "config_json", generations=V071),
    Damage("edges", "created_at = NULL", "created_at"),
]
SECRETS = [
    Damage("secret_resolutions", "source = 'vault'", "source"),
    Damage("secret_resolutions", "vault_url = ''", "vault_url", "source = 'keyvault'"),
    Damage("secret_resolutions", "secret_name = NULL", "secret_name", "source = 'keyvault'"),
    Damage("secret_resolutions", f"fingerprint = {NO_HEX}", "fingerprint"),
    Damage("secret_resolutions", "resolution_latency_ms = -0.5", "resolution_latency_ms"),
    Damage("secret_resolutions", "timestamp = 9007199254740992.0", "timestamp", generations=V071),
]
OPERATIONS = [
    Damage("operations", "operation_type = 'sink_read'", "operation_type"),
    Damage("operations", "error_message = ''", "error_message", "status = 'failed'"),
    Damage("operations", "duration_ms = -1.0", "duration_ms", "duration_ms IS NOT NULL"),
    Damage("operations", "duration_ms = 1e20", "duration_ms", "duration_ms IS NOT NULL", V071),
    Damage("operations", f"sink_effect_id = {HEX}", "sink_effect_id", "operation_type = 'source_load'", V071),
    Damage("operations", f"sink_effect_id = {HEX}", "sink_effect_id", "operation_type = 'sink_write'", V071),
    Damage("calls", "resolved_prompt_template_hash = 'abc'", "resolved_prompt_template_hash", "call_type = 'llm'"),
    Damage("calls", f"resolved_prompt_template_hash = {HEX}", "resolved_prompt_template_hash", "call_type = 'http'"),
    Damage("calls", "latency_ms = -1.0", "latency_ms"),
]
ERRORS = [
    Damage("validation_errors", "error = NULL", "error"),
    Damage("validation_errors", "created_at = '2026-02-30 00:00:00.000000'", "created_at"),
    Damage("validation_errors", "row_id = 'lost'", "row_id"),
    Damage("transform_errors", "token_id = 'lost'", "token_id"),
    Damage("transform_errors", "transform_id = 'lost'", "transform_id"),
    Damage("transform_errors", "destination = NULL", "destination"),
]
ROWS = [
    Damage("rows", "row_index = NULL", "row_index"),
    Damage("rows", "source_row_index = -1", "source_row_index"),
    Damage("rows", "ingest_sequence = 'first'", "ingest_sequence"),
    Damage("rows", "ingest_sequence = -1", "ingest_sequence"),
    Damage("rows", "created_at = NULL", "created_at"),
    Damage("tokens", "run_id = 'another'", "run_id"),
    Damage("token_outcomes", "completed = 2", "completed"),
    Damage("token_outcomes", "completed = 0", "completed", "outcome = 'success'"),
    Damage("token_outcomes", "completed = 1", "completed", "outcome IS NULL"),
    Damage("token_outcomes", "outcome = 'completed'", "outcome"),
    Damage("token_outcomes", "path = 'unknown'", "path"),
    Damage("token_outcomes", "path = 'unrouted'", "path", "outcome = 'success'"),
    Damage("token_outcomes", "outcome = NULL", "path", "path = 'default_flow'"),
    Damage("token_outcomes", "sink_name = NULL", "sink_name", "path = 'default_flow'"),
    Damage("token_outcomes", "sink_name = NULL", "sink_name", "path = 'gate_routed'"),
    Damage("token_outcomes", "sink_name = 's'", "sink_name", "path = 'gate_discarded'"),
    Damage("token_outcomes", "error_hash = 'e'", "error_hash", "path = 'filter_dropped'"),
    Damage("token_outcomes", "join_group_id = NULL", "join_group_id", "path = 'coalesced'"),
    Damage("token_outcomes", "batch_id = 'b'", "batch_id", "path = 'coalesced'"),
    Damage("token_outcomes", "error_hash = NULL", "error_hash", "path = 'on_error_routed'"),
    Damage("token_outcomes", "error_hash = NULL", "error_hash", "path = 'unrouted'"),
    Damage("token_outcomes", "batch_id = NULL", "batch_id", "path = 'buffered'"),
    Damage("token_outcomes", "fork_group_id = 'f'", "fork_group_id", "path = 'buffered'"),
    Damage("scheduler_events", "event_type = 'noticed'", "event_type"),
    Damage("scheduler_events", "from_status = 'new'", "from_status"),
    Damage("scheduler_events", "to_status = NULL", "to_status"),
    Damage("scheduler_events", "to_attempt = -1", "to_attempt"),
    Damage("scheduler_events", "from_attempt = -1", "from_attempt"),
    Damage("scheduler_events", "context_json = NULL", "context_json"),
    Damage("scheduler_events", "token_id = 'lost'", "token_id"),
    Damage("scheduler_events", "node_id = 'lost'", "node_id"),
    Damage("node_states", "error_json = NULL", "error_json", "status = 'failed'"),
    Damage("node_states", "duration_ms = -1.0", "duration_ms", "duration_ms IS NOT NULL"),
    Damage("routing_events", "run_id = 'another'", "run_id", generations=("v070", "v071")),
    Damage("token_parents", "run_id = 'another'", "run_id", generations=V071),
]
BATCHES = [
    Damage("batches", "trigger_type = 'manual'", "trigger_type"),
    Damage("batches", "completed_at = NULL", "completed_at", "status = 'completed'"),
    Damage("batch_members", "run_id = 'another'", "run_id"),
    Damage("artifacts", "content_hash = 'abc'", "content_hash"),
    Damage("artifacts", "size_bytes = -1", "size_bytes"),
    Damage("artifacts", "produced_by_state_id = NULL", "produced_by_state_id", "produced_by_state_id IS NOT NULL"),
    Damage("artifacts", f"sink_effect_id = {HEX}", "produced_by_state_id", "produced_by_state_id IS NOT NULL", V071),
    Damage("artifacts", f"sink_effect_id = {HEX}", "sink_effect_id", "sink_effect_id IS NOT NULL", V071),
    Damage(
        "artifacts",
        "publication_performed = 0",
        "publication_performed",
        "publication_evidence_kind = 'legacy_returned'",
        V071,
    ),
    Damage(
        "artifacts",
        "publication_evidence_kind = 'returned'",
        "publication_evidence_kind",
        "produced_by_state_id IS NOT NULL",
        V071,
    ),
    Damage(
        "artifacts",
        "publication_evidence_kind = 'legacy_returned'",
        "publication_evidence_kind",
        "sink_effect_id IS NOT NULL",
        V071,
    ),
    Damage(
        "artifacts",
        "publication_performed = 0",
        "publication_performed",
        "publication_evidence_kind = 'returned'",
        V071,
    ),
    Damage(
        "artifacts", "publication_performed = 1", "publication_performed", "publication_evidence_kind = 'virtual'", V071
    ),
    Damage("artifacts", "publication_performed = 2", "publication_performed", generations=V071),
]


def _policy(change: str, column: str) -> Damage:
    return Damage("run_web_plugin_policy", change, column, generations=V071)


PLUGINS = '"sink:csv","source:csv","transform:azure_shield","transform:llm"'
POLICIES = [
    _policy("schema_version = 0", "schema_version"),
    _policy("policy_hash = 'abc'", "policy_hash"),
    _policy("snapshot_hash = NULL", "snapshot_hash"),
    _policy(f"binding_generation_fingerprint = {NO_HEX}", "binding_generation_fingerprint"),
    *(
        _policy(f"{column} = '{value}'", column)
        for column, values in {
            "authorized_plugin_ids_json": (
                "[",
                "null",
                '"sink:csv"',
                '["source:csv","sink:csv"]',
                '["sink:csv","sink:csv"]',
                f'["gate:csv",{PLUGINS}]',
                f'["sink:CSV",{PLUGINS}]',
            ),
            "available_plugin_ids_json": ('["sink:other"]', '[["sink:csv","a"]]'),
            "control_modes_json": (
                '[["firewall","required"]]',
                '[["llm","must"]]',
                '[["llm",null]]',
                '[["prompt_shield","required"],["content_safety","recommend"]]',
            ),
            "selected_implementations_json": (
                '[["llm","transform:azure_shield"],["llm","transform:llm"]]',
                '[["llm","source:csv"]]',
                '{"llm":"transform:llm"}',
            ),
            "selected_profile_aliases_json": ('[["transform:other","a"]]', '[["transform:llm","A"]]'),
            "plugin_code_identities_json": (
                '[["sink:other","1.0.0","sha256:0123456789abcdef"]]',
                '[["sink:csv","1.0","sha256:0123456789abcdef"]]',
                '[["sink:csv","1.0.0","0123456789abcdef"]]',
                '[["sink:csv","1.0.0"]]',
            ),
            "decision_codes_json": ("[]", '"authorized"', '{"authorized":1}', '["Authorized"]', f'["{"a" * 65}"]'),
        }.items()
        for value in values
    ),
]


def _effect(change: str, column: str, where: str = "1") -> Damage:
    return Damage("sink_effects", change, column, where, V071)


FINAL, PREPARED, FLYING, RESERVED = (
    f"state = '{state}'" for state in ("finalized", "prepared", "in_flight", "reserved")
)
EFFECTS = [
    Damage("sink_effect_streams", "requested_target_hash = 'abc'", "requested_target_hash", generations=V071),
    Damage("sink_effect_streams", "next_sequence = -1", "next_sequence", generations=V071),
    Damage("sink_effect_streams", "role = 'second'", "role", generations=V071),
    Damage(
        "sink_effect_streams",
        f"head_effect_id = NULL, head_descriptor_hash = {HEX}",
        "head_effect_id",
        generations=V071,
    ),
    Damage("sink_effect_streams", f"tail_effect_id = {HEX}", "tail_effect_id", generations=V071),
    Damage("sink_effect_streams", "sink_node_id = 'lost'", "sink_node_id", generations=V071),
    _effect("state = 'done'", "state"),
    _effect("config_hash = 'abc'", "config_hash"),
    _effect("protocol_version = ' '", "protocol_version"),
    _effect("artifact_idempotency_key = ''", "artifact_idempotency_key"),
    _effect("target_json = ' '", "target_json"),
    _effect("generation = -1", "generation"),
    _effect("required_member_ordinal = NULL", "required_member_ordinal"),
    _effect("required_snapshot_slot = 0", "required_snapshot_slot"),
    _effect("input_kind = 'audit_export_snapshot'", "required_member_ordinal"),
    _effect("plan_json = NULL", "plan_json", PREPARED),
    _effect("prepared_at = NULL", "prepared_at", FLYING),
    _effect("inspection_mode = NULL", "inspection_mode", FINAL),
    _effect(f"plan_hash = {HEX}", "plan_hash", RESERVED),
    _effect(f"expected_descriptor_hash = {HEX}", "expected_descriptor_hash", RESERVED),
    _effect("generation = 0", "lease_owner", f"{RESERVED} AND lease_owner IS NOT NULL"),
    _effect("lease_owner = NULL", "lease_owner", f"{RESERVED} AND generation > 0"),
    _effect("lease_owner = 'w'", "lease_owner", PREPARED),
    _effect("lease_heartbeat_at = NULL", "lease_heartbeat_at", FLYING),
    _effect("generation = 0", "state", FLYING),
    _effect("lease_owner = 'w'", "lease_owner", FINAL),
    _effect("finalized_at = NULL", "finalized_at", FINAL),
    _effect("finalized_at = created_at", "finalized_at", FLYING),
    _effect("reconcile_kind = 'unknown'", "reconcile_kind", PREPARED),
    _effect("publication_performed = NULL", "publication_performed", FINAL),
    _effect("publication_performed = 0", "publication_evidence_kind", "publication_evidence_kind = 'returned'"),
    _effect("publication_performed = 1", "publication_evidence_kind", "publication_evidence_kind = 'virtual'"),
    _effect("publication_evidence_kind = 'legacy_returned'", "publication_evidence_kind", FINAL),
    _effect("reconcile_kind = 'unknown'", "reconcile_kind", "publication_evidence_kind = 'returned'"),
    _effect("reconcile_kind = 'unknown'", "reconcile_kind", "publication_evidence_kind = 'reconciled'"),
    _effect("reconcile_evidence_hash = NULL", "reconcile_evidence_hash", "publication_evidence_kind = 'reconciled'"),
    _effect(
        "lease_heartbeat_at = '2026-03-01 00:00:01.000000', lease_expires_at = '2026-03-01 00:00:00.000000'",
        "lease_expires_at",
        FLYING,
    ),
    _effect("expected_descriptor_hash = NULL", "expected_descriptor_hash", "descriptor_mode = 'precomputed'"),
    _effect(
        f"descriptor_mode = 'result_derived', expected_descriptor_hash = {HEX}", "expected_descriptor_hash", PREPARED
    ),
    _effect("stream_sequence = 0", "stream_id", "stream_id IS NULL"),
    _effect("stream_sequence = NULL, predecessor_effect_id = NULL", "stream_sequence", "stream_sequence = 0"),
    _effect("predecessor_effect_id = effect_id", "predecessor_effect_id", "stream_sequence = 0"),
    _effect("predecessor_effect_id = NULL", "predecessor_effect_id", "stream_sequence = 1"),
    _effect(f"predecessor_effect_id = {HEX}", "predecessor_effect_id", "stream_sequence = 1"),
    Damage("sink_effect_members", "lineage_hash = 'abc'", "lineage_hash", generations=V071),
    Damage("sink_effect_members", "lineage_json = ''", "lineage_json", generations=V071),
    Damage("sink_effect_members", "ordinal = -1", "ordinal", generations=V071),
    Damage("sink_effect_members", "ingest_sequence = -1", "ingest_sequence", generations=V071),
    Damage("sink_effect_members", "input_kind = 'audit_export_snapshot'", "input_kind", generations=V071),
    Damage("sink_effect_members", f"primary_effect_id = {HEX}", "primary_effect_id", "role = 'primary'", V071),
    Damage("sink_effect_members", "primary_effect_id = NULL", "primary_effect_id", "role = 'failsink'", V071),
    Damage("sink_effect_members", "prepared_disposition = 'lost'", "prepared_disposition", generations=V071),
    Damage("sink_effect_members", "member_state = 'done'", "member_state", generations=V071),
    Damage("sink_effect_members", f"effect_id = {HEX}", "effect_id", generations=V071),
    Damage("sink_effect_members", "token_id = 'lost'", "token_id", generations=V071),
    Damage("sink_effect_attempts", "request_hash = 'abc'", "request_hash", generations=V071),
    Damage("sink_effect_attempts", "call_kind = ' '", "call_kind", generations=V071),
    Damage("sink_effect_attempts", "generation = -1", "generation", generations=V071),
    Damage("sink_effect_attempts", "latency_ms = -1.0", "latency_ms", "state = 'returned'", V071),
    Damage("sink_effect_attempts", "completed_at = started_at", "completed_at", "state = 'intent'", V071),
    Damage("sink_effect_attempts", "latency_ms = NULL", "latency_ms", "state = 'error'", V071),
    Damage("sink_effect_attempts", "evidence_json = NULL", "evidence_json", "evidence_hash IS NOT NULL", V071),
    Damage("sink_effect_attempts", "action = 'retry'", "action", generations=V071),
]

DAMAGES = [
    pytest.param(generation, damage, id=f"{generation}-{damage}")
    for damage in (
        *RUNS,
        *ATTRIBUTIONS,
        *PIPELINE,
        *SECRETS,
        *OPERATIONS,
        *ERRORS,
        *ROWS,
        *BATCHES,
        *POLICIES,
        *EFFECTS,
    )
    for generation in sorted({damage.generations[0], damage.generations[-1]})
]
"""Each damage in the first and in the last generation that has the rule."""

EXPORTED = {parameters.values[1].table: parameters.id for parameters in DAMAGES}.values()
"""A damage of each table, by which a whole export is stopped; of the others the table alone is read, if that finds
it."""


@pytest.mark.parametrize(("generation", "damage"), DAMAGES)
def test_a_broken_rule_stops_the_export(generation: str, damage: Damage, tmp_path: Path) -> None:
    """The refusal names the table that has the row, or gives its columns to it, and the column."""
    path = damaged(generation, tmp_path, damage.statement())
    table = {"run_attributions": "runs"}.get(damage.table, damage.table)
    if f"{generation}-{damage}" in EXPORTED:
        with pytest.raises(CorruptTable) as refused:
            make_records(path, SUBJECT[generation], tmp_path / "out")
        error = refused.value
    else:
        with AuditDatabase(url(path)) as audit:
            error = refusal(audit, path, SUBJECT[generation], table, tmp_path / "out")
    assert (error.table, error.column) == (table, damage.column), str(error)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_good_database_is_exported(generation: str, tmp_path: Path) -> None:
    """Nothing but the damage stops the export of a copy without constraints."""
    path = damaged(generation, tmp_path)
    good = make_records(database(generation), SUBJECT[generation], tmp_path / "good")
    assert make_records(path, SUBJECT[generation], tmp_path / "copy") == good
    assert set(good.counts) >= {"run", "scheduler_event", "validation_error", "transform_error", "artifact"}


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("table", ["runs", "run_attributions"])
def test_two_rows_where_there_is_one_a_run(generation: str, table: str, tmp_path: Path) -> None:
    """A run has one row of its own, and at most one attribution."""
    again = f"INSERT INTO {table} SELECT * FROM {table} WHERE run_id = "
    path = damaged(generation, tmp_path, again + "'{run}'")
    with pytest.raises(CorruptTable, match=r"more than one row|occurs more than once"):
        make_records(path, SUBJECT[generation], tmp_path / "out")


@pytest.mark.parametrize("generation", ["v060", "v070"])
def test_a_float_that_v071_refuses_is_exported_before(generation: str, tmp_path: Path) -> None:
    """Only v071 parses what it canonicalised: 1e16 in a node's configuration is a float like any other before."""
    change = "UPDATE nodes SET config_json = '{\"n\":1e16}' WHERE run_id = '{run}'"
    records = make_records(damaged(generation, tmp_path, change), SUBJECT[generation], tmp_path / "out")
    assert any('"config":{"n":10000000000000000}' in text for text in records.by_run[SUBJECT[generation]])
