"""A run of 31 records with every record type of v1, written out: the base of the corpus and of the tampering tests.

Belongs here: the records. Does not belong here: anything that checks or writes them.
"""

from __future__ import annotations

from hashlib import sha256

Record = dict[str, object]
NAMES = [
    "run",
    "secret_resolution",
    "node",
    "edge",
    "operation",
    "call",
    "row",
    "token",
    "token_parent",
    "token_outcome",
    "node_state",
    "routing_event",
    "batch",
    "batch_member",
    "artifact",
]


def digest(text: str) -> str:
    """Some hash."""
    return sha256(text.encode()).hexdigest()


def at(seconds: int, micros: int = 250000) -> str:
    """Some time."""
    return f"2026-03-01T12:00:{seconds:02}" + (f".{micros:06}" if micros else "")


def small_run(run_id: str = "run-small", contract: str = "v1") -> list[Record]:
    """The records, unsigned, in the contract's order."""
    records: list[Record] = []

    def add(record_type: str, **fields: object) -> None:
        records.append({"record_type": record_type, "run_id": run_id, **fields})

    def node(name: str, node_type: str, sequence: int | None, config: object, schema: object = None) -> None:
        add(
            "node",
            node_id=name,
            plugin_name="=plugin()",
            node_type=node_type,
            plugin_version="1.0.0",
            determinism="deterministic",
            config_hash=digest(name),
            config=config,
            schema_hash=None,
            schema_mode="observed",
            schema_fields=schema,
            sequence_in_pipeline=sequence,
        )

    def operation(name: str, node_id: str, operation_type: str, status: str, start: int) -> None:
        fields = {
            "operation_id": name,
            "node_id": node_id,
            "operation_type": operation_type,
            "status": status,
            "started_at": at(start),
            "completed_at": None if status == "open" else at(start + 1),
            "duration_ms": None if status == "open" else 1000.0,
            "error_message": 'disk "full",\r\nagain' if status == "failed" else None,
            "input_data_ref": None,
        }
        if contract == "v1":
            add("operation", **fields, input_data_hash=None, output_data_ref="", output_data_hash=digest(name))
        else:
            add("operation", **fields, output_data_ref="")

    def call(name: str, parent: str, index: int, latency: float | None, *, of_state: bool = True) -> None:
        add(
            "call",
            call_id=name,
            state_id=parent if of_state else None,
            operation_id=None if of_state else parent,
            call_index=index,
            call_type="llm",
            status="success",
            request_hash=digest(name),
            response_hash=None,
            latency_ms=latency,
            request_ref=None,
            response_ref="-ref",
            error_json=None,
            created_at=at(20),
        )

    def row(name: str, index: int) -> None:
        add("row", row_id=name, row_index=index, source_node_id="source_1", source_data_hash=digest(name))

    def token(name: str, row_id: str, branch: str | None = None) -> None:
        add(
            "token",
            token_id=name,
            row_id=row_id,
            step_in_pipeline=0,
            branch_name=branch,
            fork_group_id=None,
            join_group_id=None,
            expand_group_id=None,
        )

    def outcome(name: str, token_id: str, what: str, seconds: int, batch: str | None = None) -> None:
        if contract == "v0":
            return
        add(
            "token_outcome",
            outcome_id=name,
            token_id=token_id,
            outcome=what,
            is_terminal=what != "buffered",
            recorded_at=at(seconds),
            sink_name="out",
            batch_id=batch,
            fork_group_id=None,
            join_group_id=None,
            expand_group_id=None,
            error_hash=None,
            context_json='{"π": NaN}',
            expected_branches_json=None,
        )

    def state(
        name: str, token_id: str, node_id: str, step: int, attempt: int, status: str, duration: float | None
    ) -> None:
        done = status in ("completed", "failed")
        add(
            "node_state",
            state_id=name,
            token_id=token_id,
            node_id=node_id,
            step_index=step,
            attempt=attempt,
            status=status,
            input_hash=digest(name),
            output_hash=digest("o" + name) if status == "completed" else None,
            duration_ms=duration,
            started_at=at(10),
            completed_at=at(11, 0) if done else None,
            context_before_json=None,
            context_after_json=None,
            error_json='{"error":"caf\u00e9 \\n"}' if status == "failed" else None,
            success_reason_json=None,
        )

    add(
        "run",
        status="completed",
        started_at=at(0, 0),
        completed_at=at(59),
        canonical_version="sha256-rfc8785-v1",
        config_hash=digest("config"),
        settings={"z": [1.5, None, True], "names": ["café", "€", "\U0001f600"], "big": 1e21},
        reproducibility_grade=None,
    )
    for name, seconds in (("secret-1", 1700000000.0627756), ("secret-2", 1700000001.0)):
        add(
            "secret_resolution",
            resolution_id=name,
            timestamp=seconds,
            env_var_name="API_KEY",
            source="keyvault",
            vault_url="https://vault.example",
            secret_name="api",
            fingerprint=digest("secret"),
            resolution_latency_ms=1e-7,
        )
    node("source_1", "source", 0, {"path": "in.csv"})
    node("gate_2", "gate", 1, -1, [{"name": "a", "type": "int"}])
    node("sink_3", "sink", None, None)
    for name, start, end in (("edge-1", "source_1", "gate_2"), ("edge-2", "gate_2", "sink_3")):
        add("edge", edge_id=name, from_node_id=start, to_node_id=end, label="@continue", default_mode="move")
    operation("op-1", "source_1", "source_load", "completed", 1)
    call("call-1", "op-1", 0, 1.2345678901234568e17, of_state=False)
    operation("op-2", "sink_3", "sink_write", "failed", 3)
    operation("op-3", "sink_3", "sink_write", "open", 5)
    row("row-1", 0)
    token("token-1", "row-1")
    outcome("outcome-1", "token-1", "buffered", 12, "batch-1")
    outcome("outcome-2", "token-1", "completed", 13)
    state("state-1", "token-1", "gate_2", 1, 9, "failed", 0.30000000000000004)
    state("state-2", "token-1", "gate_2", 1, 10, "completed", 12.5)
    add(
        "routing_event",
        event_id="event-1",
        state_id="state-2",
        edge_id="edge-2",
        routing_group_id="group-1",
        ordinal=0,
        mode="copy",
        reason_hash=None,
        reason_ref="\tref\u0001\u007f",
        created_at=at(12),
    )
    call("call-2", "state-2", 0, None)
    call("call-3", "state-2", 1, 900.125)
    token("token-2", "row-1", 'branch,"b"')
    add("token_parent", token_id="token-2", parent_token_id="token-1", ordinal=0)
    state("state-3", "token-2", "sink_3", 2, 0, "open", None)
    row("row-2", 1)
    token("token-3", "row-2", "")
    outcome("outcome-3", "token-3", "quarantined", 14)
    add(
        "batch",
        batch_id="batch-1",
        aggregation_node_id="gate_2",
        attempt=0,
        status="completed",
        trigger_type="count",
        trigger_reason=None,
        created_at=at(15),
        completed_at=at(16),
    )
    add("batch_member", batch_id="batch-1", token_id="token-1", ordinal=0)
    add("batch_member", batch_id="batch-1", token_id="token-3", ordinal=1)
    add(
        "artifact",
        artifact_id="artifact-1",
        sink_node_id="sink_3",
        produced_by_state_id="state-3",
        artifact_type="csv",
        path_or_uri="out/ü.csv",
        content_hash=digest("artifact"),
        size_bytes=9007199254740991,
    )
    return records
