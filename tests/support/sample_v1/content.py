"""What the sample audit database holds: three weekly runs of a pipeline that sorts customer complaints with a language
model.

Belongs here: the pipeline, what happened to each complaint, and nothing that is random or depends on the clock. Does
not belong here: tables and files (`__init__.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

COMPLETED_RUN = "complaints-2026-11-03"
FAILED_RUN = "complaints-2026-11-10"
RUNNING_RUN = "complaints-2026-11-17"

Tables = dict[str, list[dict[str, Any]]]

INSERT_ORDER = (
    "runs", "nodes", "secret_resolutions", "preflight_results", "edges", "operations", "rows", "validation_errors",
    "tokens", "token_parents", "node_states", "transform_errors", "batches", "batch_members", "batch_outputs",
    "token_outcomes", "routing_events", "calls", "artifacts", "checkpoints",
)  # fmt: skip
"""Every table, each after those that it refers to."""

NODES: tuple[tuple[str, str, str, str, int | None], ...] = (
    ("complaints", "source", "csv", "io_read", 0),
    ("normalise", "transform", "field_mapper", "deterministic", 1),
    ("triage", "transform", "azure_llm", "external_call", 2),
    ("route", "gate", "config_gate:route", "deterministic", 3),
    ("sentiment", "transform", "openrouter_llm", "non_deterministic", 4),
    ("policy", "transform", "policy_lookup", "external_call", 5),
    ("checks", "coalesce", "coalesce:checks", "deterministic", None),
    ("split", "transform", "json_explode", "deterministic", 6),
    ("digest", "aggregation", "batch_summary", "seeded", 7),
    ("replies", "sink", "json", "io_write", None),
    ("urgent", "sink", "csv", "io_write", None),
    ("digests", "sink", "json", "io_write", None),
    ("quarantine", "sink", "csv", "io_write", None),
)
"""Name, type, plugin, determinism and place of each node of the pipeline."""

EDGES: tuple[tuple[str, str, str, str], ...] = (
    ("complaints", "normalise", "continue", "move"),
    ("complaints", "quarantine", "__quarantine__", "divert"),
    ("normalise", "triage", "continue", "move"),
    ("triage", "route", "continue", "move"),
    ("triage", "quarantine", "__error__", "divert"),
    ("route", "replies", "standard", "move"),
    ("route", "urgent", "@urgent", "move"),
    ("route", "sentiment", "ton_prüfen", "copy"),
    ("route", "policy", "policy_check", "copy"),
    ("route", "split", "several", "move"),
    ("route", "digest", "minor", "move"),
    ("sentiment", "checks", "continue", "move"),
    ("policy", "checks", "continue", "move"),
    ("checks", "replies", "continue", "move"),
    ("split", "replies", "standard", "move"),
    ("split", "urgent", "@urgent", "move"),
    ("digest", "digests", "continue", "move"),
)
"""Where each edge leaves, where it leads, its label and its default mode."""

CONFIGS: dict[str, dict[str, Any]] = {
    "complaints": {"path": "inbox/beschwerden_n°45.csv", "encoding": "utf-8", "on_validation_failure": "quarantine"},
    "triage": {
        "model": "gpt-triage-2",
        "temperature": 0.0,
        "top_p": 0.95,
        "prompt": {
            "system": "Sort the complaint. Réponds dans la langue du client. 顧客の言語で。",
            "examples": [1, [2, []], {}],
        },
        "retry": {"max_attempts": 3, "backoff_seconds": 1.5, "on": ["429", "timeout"]},
    },
    "route": {"condition": "row['category']", "routes": {"standard": "replies", "@urgent": "urgent"}, "default": None},
    "digest": {"trigger": {"count": 2, "timeout_seconds": 3600}, "seed": 20261103},
}
"""The configuration of the nodes that have one."""

SETTINGS: dict[str, Any] = {
    "source": {"plugin": "csv", "options": {"schema": {"mode": "fixed", "fields": ["id: int", "text: str"]}}},
    "concurrency": {"max_workers": 4},
    "limits": {"escalate_above": 0.75, "smallest_weight": 1e-7, "token_ceiling": 1e21, "retries": 3},
    "languages": ["de", "es", "fr", "日本語", "中文"],
    "notify": {"team": "Kundenservice Zürich ☎️", "a.b": {"c": None}, "channels": {}},
}


def sample_tables() -> Tables:
    """Table → its rows (column → value), for all three runs, in an order in which they can be inserted."""
    merged: Tables = {table: [] for table in INSERT_ORDER}
    for run in (_completed(), _failed(), _running()):
        for table, rows in run.tables.items():
            merged[table].extend(rows)
    return merged


def _hash(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class _Run:
    """The rows of one run, written down in the order in which they came to be; each thing that happens moves its clock
    on."""

    def __init__(self, run_id: str, prefix: str, started: datetime, settings: dict[str, Any]) -> None:
        self.run_id = run_id
        self.prefix = prefix
        self.clock = started
        self.tables: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.numbers: defaultdict[str, int] = defaultdict(int)
        self.node_ids: dict[str, str] = {}
        self.edges: dict[tuple[str, str], tuple[str, str]] = {}
        self.run = self.add(
            "runs",
            started_at=self.now(),
            config_hash=_hash(_json(settings)),
            settings_json=_json(settings),
            canonical_version="sha256-rfc8785-v1",
            status="running",
        )
        self.next_second()
        for name, node_type, plugin, determinism, sequence in NODES:
            config = CONFIGS.get(name, {})
            fields = [
                {"name": "id", "type": "int", "required": True},
                {"name": "text", "type": "str", "required": True},
            ]
            self.node_ids[name] = f"{node_type}_{name}_{_hash(name, _json(config))[:12]}"
            self.add(
                "nodes",
                node_id=self.node_ids[name],
                plugin_name=plugin,
                node_type=node_type,
                plugin_version="engine:0.4.0" if ":" in plugin else "1.2.0",
                determinism=determinism,
                config_hash=_hash(_json(config)),
                config_json=_json(config),
                schema_hash=_hash(_json(fields)) if name == "complaints" else None,
                sequence_in_pipeline=sequence,
                registered_at=self.tick(),
                schema_mode="fixed" if name == "complaints" else "observed",
                schema_fields_json=_json(fields) if name == "complaints" else None,
            )
        for start, end, label, mode in EDGES:
            edge_id = f"{prefix}-edge-{start}-{end}"
            self.edges[start, end] = edge_id, mode
            self.add(
                "edges",
                edge_id=edge_id,
                from_node_id=self.node_ids[start],
                to_node_id=self.node_ids[end],
                label=label,
                default_mode=mode,
                created_at=self.tick(),
            )

    def add(self, table: str, **columns: Any) -> dict[str, Any]:
        row = {"run_id": self.run_id, **columns}
        self.tables[table].append(row)
        return row

    def now(self) -> str:
        """The clock as SQLite databases of ELSPETH hold a time."""
        return self.clock.strftime("%Y-%m-%d %H:%M:%S.%f")

    def tick(self, milliseconds: float = 1.137) -> str:
        self.clock += timedelta(milliseconds=milliseconds)
        return self.now()

    def next_second(self) -> None:
        """Move on to a time without microseconds, which is written without a fraction in a record."""
        self.clock = self.clock.replace(microsecond=0) + timedelta(seconds=1)

    def count(self, kind: str) -> int:
        """How many of a kind there were before."""
        self.numbers[kind] += 1
        return self.numbers[kind] - 1

    def finish(self, status: str, grade: str) -> None:
        self.next_second()
        self.run.update(status=status, completed_at=self.now(), reproducibility_grade=grade)

    def secret(self, variable: str, name: str, latency: float | None) -> None:
        self.tick(210.5)
        self.add(
            "secret_resolutions",
            resolution_id=f"{self.prefix}-secret-{self.count('secret')}",
            timestamp=self.clock.replace(tzinfo=UTC).timestamp(),
            env_var_name=variable,
            source="keyvault",
            vault_url="https://vault.example/kundenservice",
            secret_name=name,
            fingerprint=_hash("fingerprint", name),
            resolution_latency_ms=latency,
        )

    def operation(
        self, node: str, operation_type: str, status: str, duration: float = 0, error: str | None = None
    ) -> str:
        operation_id = f"{self.prefix}-op-{node}"
        ended = status != "open"
        self.add(
            "operations",
            operation_id=operation_id,
            node_id=self.node_ids[node],
            operation_type=operation_type,
            started_at=self.tick(),
            completed_at=self.tick(duration) if ended else None,
            status=status,
            input_data_ref=f"payload://{_hash('in', operation_id)}",
            input_data_hash=_hash("in", operation_id),
            output_data_ref=f"payload://{_hash('out', operation_id)}" if status == "completed" else None,
            output_data_hash=_hash("out", operation_id) if status == "completed" else None,
            error_message=error,
            duration_ms=duration if ended else None,
        )
        return operation_id

    def row(self, complaint: str) -> tuple[str, str]:
        """A row from the source, and the token that carries it: their ids."""
        index = self.count("row")
        row_id = f"{self.prefix}-row-{index:02}"
        self.add(
            "rows",
            row_id=row_id,
            source_node_id=self.node_ids["complaints"],
            row_index=index,
            source_data_hash=_hash(complaint),
            source_data_ref=f"payload://{_hash(complaint)}",
            created_at=self.tick(),
        )
        return row_id, self.token(row_id, self.tick())

    def token(self, row_id: str, created_at: str, name: str = "", parents: tuple[str, ...] = (), **columns: Any) -> str:
        token_id = row_id.replace("-row-", "-token-") + (f"-{name}" if name else "")
        self.add("tokens", token_id=token_id, row_id=row_id, created_at=created_at, **columns)
        for ordinal, parent in enumerate(parents):
            self.tables["token_parents"].append({"token_id": token_id, "parent_token_id": parent, "ordinal": ordinal})
        return token_id

    def state(
        self, token: str, node: str, step: int, status: str = "completed", duration: float = 0.25, **columns: Any
    ) -> str:
        """An attempt of a node at a token, the next one where there were others; what the status forbids stays null."""
        attempt = self.count(f"{token} {step}")
        state_id = f"{token}.{step}.{attempt}"
        ended = status != "open"
        self.add(
            "node_states",
            **{
                "state_id": state_id,
                "token_id": token,
                "node_id": self.node_ids[node],
                "step_index": step,
                "attempt": attempt,
                "status": status,
                "input_hash": _hash("in", token, step),
                "output_hash": _hash("out", token, step) if status == "completed" else None,
                "duration_ms": duration if ended else None,
                "started_at": self.tick(),
                "completed_at": self.tick(duration) if ended else None,
                **columns,
            },
        )
        return state_id

    def event(self, state: str, start: str, end: str, ordinal: int = 0, reason: str | None = None) -> None:
        edge_id, mode = self.edges[start, end]
        self.tables["routing_events"].append(
            {
                "event_id": f"{state}.to-{end}",
                "state_id": state,
                "edge_id": edge_id,
                "routing_group_id": f"{state}.routing",
                "ordinal": ordinal,
                "mode": mode,
                "reason_hash": _hash(reason) if reason else None,
                "reason_ref": f"payload://{_hash(reason)}" if reason else None,
                "created_at": self.tick(),
            }
        )

    def call(self, call_type: str, latency: float | None, *, error: Any = None, **parent: str) -> None:
        """A call to the outside; `parent` is `state_id` or `operation_id`."""
        (parent_id,) = parent.values()
        index = self.count(f"call {parent_id}")
        call_id = f"{parent_id}.call-{index}"
        self.tables["calls"].append(
            {
                "call_id": call_id,
                **parent,
                "call_index": index,
                "call_type": call_type,
                "status": "success" if error is None else "error",
                "request_hash": _hash("request", call_id),
                "request_ref": f"payload://{_hash('request', call_id)}",
                "response_hash": _hash("response", call_id) if error is None else None,
                "response_ref": f"payload://{_hash('response', call_id)}" if error is None else None,
                "error_json": None if error is None else _json(error),
                "latency_ms": latency,
                "created_at": self.tick(),
            }
        )

    def outcome(self, token: str, outcome: str, **columns: Any) -> None:
        self.add(
            "token_outcomes",
            outcome_id=f"{token}.{outcome}",
            token_id=token,
            outcome=outcome,
            is_terminal=int(outcome != "buffered"),
            recorded_at=self.tick(),
            **columns,
        )

    def start(self, complaint: str) -> tuple[str, str]:
        """A row that the source delivers and the first transform accepts: the ids of the row and its token."""
        row_id, token = self.row(complaint)
        self.state(token, "complaints", 0, duration=0.0)
        self.state(
            token, "normalise", 1, success_reason_json=_json({"action": "transformed", "fields_modified": ["text"]})
        )
        return row_id, token

    def triage(self, token: str) -> str:
        """The language model sorts the complaint: the id of the state."""
        state = self.state(
            token,
            "triage",
            2,
            duration=812.5,
            context_before_json=_json({"model": "gpt-triage-2", "prompt_version": 7}),
            success_reason_json=_json({"action": "classified", "fields_added": ["category", "sprache"]}),
        )
        self.call("vector", 3.75, state_id=state)
        self.call("llm", 805.125, state_id=state)
        return state

    def route(self, token: str, *ends: str) -> str:
        """The gate sends the token along one edge or several: the id of the state."""
        state = self.state(
            token, "route", 3, context_after_json=_json({"condition": "row['category']", "result": ends[0]})
        )
        for ordinal, end in enumerate(ends):
            self.event(state, "route", end, ordinal=ordinal, reason=f"category → {end}")
        return state

    def deliver(self, token: str, sink: str, outcome: str = "completed", **columns: Any) -> str:
        """A sink takes the token: the id of the state."""
        state = self.state(token, sink, 8, duration=0.0625)
        self.outcome(token, outcome, sink_name=sink, **columns)
        return state

    def artifact(self, sink: str, state: str, path: str, size: int) -> None:
        self.add(
            "artifacts",
            artifact_id=f"{self.prefix}-artifact-{sink}",
            produced_by_state_id=state,
            sink_node_id=self.node_ids[sink],
            artifact_type="file",
            path_or_uri=path,
            content_hash=_hash("artifact", path),
            size_bytes=size,
            created_at=self.tick(),
        )

    def batch(self, name: str, members: tuple[str, ...], **columns: Any) -> str:
        batch_id = f"{self.prefix}-batch-{name}"
        self.add("batches", batch_id=batch_id, aggregation_node_id=self.node_ids["digest"], **columns)
        for ordinal, token in enumerate(members):
            self.tables["batch_members"].append({"batch_id": batch_id, "token_id": token, "ordinal": ordinal})
        return batch_id


def _completed() -> _Run:
    """A run to the end, in which everything that the record types can say happens to one complaint or another."""
    run = _Run(COMPLETED_RUN, "c1103", datetime(2026, 11, 3, 6), SETTINGS)
    run.add(
        "preflight_results",
        result_id="c1103-preflight-0",
        result_type="readiness_check",
        name="policy index",
        result_json=_json({"documents": 412}),
        created_at=run.tick(),
    )
    run.next_second()
    run.secret("AZURE_OPENAI_KEY", "azure-openai-key", 48.5)
    run.secret("POLICY_DB_PASSWORD", "policy-db-password", None)
    load = run.operation("complaints", "source_load", "completed", 152.75)
    run.call("filesystem", 1.5, operation_id=load)
    run.call("http", 88.0, operation_id=load)

    # Answered at once.
    _, token = run.start("La cafetera llegó rota. ¿Cuándo me devuelven el dinero?")
    run.triage(token)
    run.route(token, "replies")
    replies_state = run.deliver(token, "replies")

    # Forked into two checks, which are joined again. Both branches have the same time: their ids decide the order.
    row_id, token = run.start("包装破损，客服三天没有回复。")  # noqa: RUF001
    run.triage(token)
    state = run.route(token, "sentiment", "policy")
    fork = f"{state}.fork"
    run.outcome(token, "forked", fork_group_id=fork, expected_branches_json=_json(["ton_prüfen", "policy_check"]))
    created_at = run.tick()
    tone = run.token(
        row_id, created_at, "tone", (token,), fork_group_id=fork, branch_name="ton_prüfen", step_in_pipeline=3
    )
    policy = run.token(
        row_id, created_at, "policy", (token,), fork_group_id=fork, branch_name="policy_check", step_in_pipeline=3
    )
    state = run.state(
        tone, "sentiment", 4, duration=402.0, success_reason_json='{"action": "scored",  "confidence": NaN}'
    )
    run.call("llm", 400.5, state_id=state)
    state = run.state(
        policy, "policy", 5, duration=61.0, success_reason_json=_json({"action": "looked_up", "§": "12 Abs. 3"})
    )
    run.call("http_redirect", 12.0, state_id=state)
    run.call("http", 30.25, state_id=state)
    run.call("sql", 1e-7, state_id=state)
    join = "c1103-join-01"
    for branch in (tone, policy):
        run.state(
            branch, "checks", 6, duration=2.5, context_after_json=_json({"arrived": ["ton_prüfen", "policy_check"]})
        )
        run.outcome(branch, "coalesced", join_group_id=join)
    merged = run.token(row_id, run.tick(), "merged", (tone, policy), join_group_id=join, step_in_pipeline=6)
    run.deliver(merged, "replies", context_json=_json({"merged_from": [tone, policy]}))

    # The model is busy, then too slow, then answers: three attempts.
    _, token = run.start("Ich warte seit Wochen auf meine Rückerstattung über 49,90 €.")
    state = run.state(
        token,
        "triage",
        2,
        "failed",
        95.5,
        error_json=_json({"type": "RateLimited", "message": 'HTTP 429: "slow down"'}),
    )
    run.call("llm", 94.0, error={"status": 429, "retry_after": 1.5}, state_id=state)
    state = run.state(
        token, "triage", 2, "failed", 30000.0, error_json=_json({"type": "Timeout", "message": "no answer\tin 30 s\n"})
    )
    run.call("llm", None, error={"type": "Timeout"}, state_id=state)
    run.triage(token)
    run.route(token, "replies")
    run.deliver(token, "replies")

    # Three complaints in one letter: an expansion.
    row_id, token = run.start("Erstens, zweitens, drittens – nichts funktioniert!")
    run.triage(token)
    run.route(token, "split")
    state = run.state(token, "split", 4, success_reason_json=_json({"action": "expanded", "count": 3}))
    run.outcome(token, "expanded", expand_group_id="c1103-expand-03", context_json=_json({"count": 3}))
    for ordinal, end in enumerate(("replies", "urgent")):
        run.event(state, "split", end, ordinal=ordinal)
    for index, end in enumerate(("replies", "urgent", "replies")):
        part = run.token(
            row_id, run.tick(), f"part-{index}", (token,), expand_group_id="c1103-expand-03", step_in_pipeline=4
        )
        run.deliver(part, end)

    # Not a complaint that the schema allows: quarantined at the source.
    bad = '=HYPERLINK("https://example.org","Klick mich")'
    _, token = run.row(bad)
    state = run.state(
        token,
        "complaints",
        0,
        "failed",
        0.0,
        error_json=_json({"type": "ValidationError", "field": "id", "found": bad, "expected": "int"}),
    )
    run.event(state, "complaints", "quarantine", reason="validation failed")
    run.add(
        "validation_errors",
        error_id="c1103-invalid-04",
        node_id=run.node_ids["complaints"],
        row_hash=_hash(bad),
        row_data_json=_json({"id": bad}),
        error="id: not an integer",
        schema_mode="fixed",
        destination="quarantine",
        created_at=run.tick(),
    )
    run.deliver(token, "quarantine", "quarantined", error_hash=_hash("id: not an integer"))

    # Refused by the model's content filter: diverted.
    _, token = run.start("Ihr seid alle ████!")
    error = {"type": "ContentFilter", "severity": 0.875, "Kategorie": "Beleidigung"}
    state = run.state(token, "triage", 2, "failed", 77.0, error_json=_json(error))
    run.call("llm", 75.0, error=error, state_id=state)
    run.event(state, "triage", "quarantine", reason="content filter")
    run.add(
        "transform_errors",
        error_id="c1103-refused-05",
        token_id=token,
        transform_id=run.node_ids["triage"],
        row_hash=_hash("Ihr seid alle ████!"),
        error_details_json=_json(error),
        destination="quarantine",
        created_at=run.tick(),
    )
    quarantine_state = run.deliver(token, "quarantine", "diverted", error_hash=_hash(_json(error)))

    # Two small ones, gathered into one digest.
    run.next_second()
    opened = run.now()
    minor = []
    for complaint in ("Le mode d’emploi est introuvable.", "説明書が見つかりません。"):  # noqa: RUF001
        row_id, token = run.start(complaint)
        run.triage(token)
        run.route(token, "digest")
        minor.append(token)
    digest_state = run.state(
        minor[-1], "digest", 7, duration=5.0, context_after_json=_json({"buffer_size": 2, "trigger_type": "count"})
    )
    batch = run.batch(
        "0",
        tuple(minor),
        aggregation_state_id=digest_state,
        trigger_type="count",
        trigger_reason="=count(complaints) >= 2",
        attempt=0,
        status="completed",
        created_at=opened,
        completed_at=run.tick(),
    )
    for token in minor:
        run.outcome(token, "buffered", batch_id=batch)
    for token in minor:
        run.outcome(token, "consumed_in_batch", batch_id=batch)
    digest = run.token(row_id, run.tick(), "digest", tuple(minor), join_group_id="c1103-join-07", step_in_pipeline=7)
    digests_state = run.deliver(digest, "digests")
    run.tables["batch_outputs"].append(
        {"batch_output_id": "c1103-output-0", "batch_id": batch, "output_type": "token", "output_id": digest}
    )

    # Urgent: sent to a sink of its own.
    _, token = run.start("Das Netzteil raucht! 🔥🔌 Bitte SOFORT melden")
    run.triage(token)
    run.route(token, "urgent")
    urgent_state = run.deliver(token, "urgent", "routed")

    # Lost to a fault in the pipeline.
    _, token = run.row("\u2028Leerzeilen\u2029 und ein Steuerzeichen \x07")
    run.state(token, "complaints", 0, duration=0.0)
    error = {
        "type": "UnicodeError",
        "message": "control character \u0007 in column 'text'",
        "path": "C:\\import\\n°45.csv",
    }
    run.state(token, "normalise", 1, "failed", 0.125, error_json=_json(error))
    run.outcome(token, "failed", error_hash=_hash(_json(error)))

    # The worker was stopped while the first attempt was open; then left waiting in a batch that could not be closed.
    _, token = run.start("Die Gebrauchsanweisung ist nur auf Finnisch verfügbar (ä, ö).")
    run.state(token, "triage", 2, "open", context_before_json=_json({"worker": "w-3"}))
    run.triage(token)
    run.route(token, "digest")
    run.state(
        token, "digest", 7, "pending", 9.0, context_after_json=_json({"provider_batch": "b-Ω-17", "poll_seconds": 60})
    )
    batch = run.batch(
        "1",
        (token,),
        trigger_type="end_of_source",
        trigger_reason="",
        attempt=1,
        status="failed",
        created_at=run.tick(),
        completed_at=run.tick(),
    )
    run.outcome(token, "buffered", batch_id=batch, context_json=_json({"waiting_for": "provider"}))
    run.add(
        "checkpoints",
        checkpoint_id="c1103-checkpoint-0",
        token_id=token,
        node_id=run.node_ids["digest"],
        sequence_number=1,
        aggregation_state_json=_json({"buffered": 1}),
        created_at=run.tick(),
        upstream_topology_hash=_hash("topology"),
        checkpoint_node_config_hash=_hash(_json(CONFIGS["digest"])),
        format_version=2,
    )

    write = run.operation("replies", "sink_write", "completed", 12.5)
    run.call("filesystem", 8.0, operation_id=write)
    run.operation("urgent", "sink_write", "pending", 3.0)
    run.operation("digests", "sink_write", "completed", 4)
    run.operation(
        "quarantine",
        "sink_write",
        "failed",
        0.5,
        "+1 retry: disk quota “Archiv” exceeded, written on the second attempt",
    )
    run.artifact("replies", replies_state, "file://out/antworten/2026-11-03.jsonl", 18_204)
    run.artifact("urgent", urgent_state, "file://out/dringend_🔥/2026-11-03.csv", 1_307)
    run.artifact("digests", digests_state, "file://out/要約/2026-11-03.jsonl", 911)
    run.artifact("quarantine", quarantine_state, "file://out/quarantine/2026-11-03.csv", 0)
    run.finish("completed", "attributable_only")
    return run


def _failed() -> _Run:
    """A run that ended because its replies could not be written."""
    run = _Run(FAILED_RUN, "c1110", datetime(2026, 11, 10, 6), SETTINGS)
    run.secret("AZURE_OPENAI_KEY", "azure-openai-key", 51.0)
    run.operation("complaints", "source_load", "completed", 98.5)
    for complaint in ("Où est ma commande ?", "Niemand geht ans Telefon.", "返金してください。"):
        _, token = run.start(complaint)
        run.triage(token)
        run.route(token, "replies")
        error = {"type": "PermissionError", "message": "out/antworten is read-only"}
        run.state(token, "replies", 8, "failed", 0.5, error_json=_json(error))
        run.outcome(token, "failed", error_hash=_hash(_json(error)))
    run.operation("replies", "sink_write", "failed", 1.5, "-13: out/antworten is read-only")
    run.finish("failed", "attributable_only")
    return run


def _running() -> _Run:
    """A run that is still going on, as an audit database in use has one."""
    run = _Run(RUNNING_RUN, "c1117", datetime(2026, 11, 17, 6), SETTINGS)
    run.operation("complaints", "source_load", "open")
    _, token = run.start("Der Akku hält keine Stunde.")
    run.triage(token)
    run.route(token, "replies")
    run.deliver(token, "replies")
    _, token = run.start("注文した色と違います。")
    run.state(token, "triage", 2, "open")
    return run
