"""Hypothesis strategies: hard values, and whole runs made of them.

Belongs here: generators of valid audit data. What is invalid is made by hand (`../cli/test_corrupt_runs.py`).
"""

import json
from typing import Any

from hypothesis import Phase
from hypothesis import strategies as st

RUN_ID = "run-é/1"

UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""For tests that export a whole run each time: making a failing one smaller would take minutes."""

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Any text that has a UTF-8 form, with what escapes and sorts differently from how it looks."""

hard_text = st.one_of(
    text,
    st.sampled_from(
        ["", "'", "''", '"', "\\", "=1+1", "-1", "@x", "\t", "\r\n", "\0", "\x7f", "\u2028", "é", "e\u0301", "\ud7ff",
        "\ue000",
         "\U0001f525", "\ufeffbom", "null", "a,b", '"quoted"', "NaN"]
    ),
)  # fmt: skip

floats = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [0.0, -0.0, 5.0, 1e16, 1e21, 1e-6, 1e-7, 5e-324, 1.7976931348623157e308, 9007199254740993.0,
         123456789012345680.0, 1e15, 999999999999999.9, 0.0001, 0.00001]
    ),
)  # fmt: skip

integers = st.one_of(st.integers(0, 20), st.sampled_from([2**31, 2**32, 2**53 - 1]))

times = st.one_of(
    st.sampled_from(
        ["2026-01-02 03:04:05.000000", "2026-01-02 03:04:05.000001", "2026-01-02 03:04:05", "2026-01-02T03:04:05.5"]
    ),
    st.datetimes().map(lambda time: time.strftime("%Y-%m-%d %H:%M:%S.%f").rjust(26, "0")),
)
"""Few values often, so that times tie."""

order_times = st.one_of(
    st.sampled_from(["2026-01-02 03:04:05.000000", "2026-01-02 03:04:05.000001"]),
    st.datetimes().map(lambda time: time.strftime("%Y-%m-%d %H:%M:%S.%f").rjust(26, "0")),
)
"""The same in one form: records are ordered by them."""

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), floats, st.integers(-(2**53) + 1, 2**53 - 1), hard_text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(hard_text, inner, max_size=3)),
    max_leaves=6,
)


def json_text(values: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """JSON as some writer may have stored it."""
    return st.builds(
        lambda value, ascii, indent: json.dumps(value, ensure_ascii=ascii, indent=indent),
        values,
        st.booleans(),
        st.sampled_from([None, 1]),
    )


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


_ids = st.one_of(
    st.text(
        "ab\x7f\x80\xff\u0800\uffff\U00010000", min_size=1, max_size=3
    ),  # differ in bytes that collations may take as equal
    st.text("abAB01", min_size=1, max_size=4),
)


@st.composite
def runs(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    """The rows of a small valid run, by table."""
    some = draw
    counts = {
        name: some(st.integers(*bounds))
        for name, bounds in {
            "nodes": (1, 3), "edges": (0, 3), "operations": (0, 2), "secret_resolutions": (0, 2), "rows": (0, 3),
            "tokens": (0, 5), "node_states": (0, 6), "routing_events": (0, 4), "calls": (0, 5), "batches": (0, 2),
            "artifacts": (0, 2), "token_outcomes": (0, 5),
        }.items()
    }  # fmt: skip
    ids = {name: some(st.lists(_ids, min_size=n, max_size=n, unique=True)) for name, n in counts.items()}

    def one(table: str) -> str:
        return some(st.sampled_from(ids[table]))

    tables: dict[str, list[dict[str, Any]]] = {
        "runs": [
            {
                "run_id": RUN_ID,
                "status": some(st.sampled_from(["completed", "failed"])),
                "started_at": some(times),
                "completed_at": some(times),
                "canonical_version": some(hard_text),
                "config_hash": "0" * 64,
                "settings_json": some(json_text(json_values)),
                "reproducibility_grade": some(maybe(st.sampled_from(["full_reproducible", "attributable_only"]))),
            }
        ]
    }
    fields = st.lists(st.dictionaries(hard_text, json_values, max_size=2), max_size=2)
    tables["nodes"] = [
        {
            "node_id": i, "run_id": RUN_ID, "plugin_name": some(hard_text), "node_type": "transform",
            "plugin_version": "1",
            "determinism": "seeded", "config_hash": "c", "config_json": some(json_text(json_values)),
            "schema_fields_json": some(maybe(json_text(fields))), "sequence_in_pipeline": some(maybe(integers)),
            "registered_at": some(order_times),
        }
        for i in ids["nodes"]
    ]  # fmt: skip
    tables["secret_resolutions"] = [
        {
            "resolution_id": i, "run_id": RUN_ID, "timestamp": some(floats), "env_var_name": "X", "source": "keyvault",
            "fingerprint": "0" * 64, "resolution_latency_ms": some(maybe(floats.map(abs))),
        }
        for i in ids["secret_resolutions"]
    ]  # fmt: skip
    tables["edges"] = [
        {
            "edge_id": i, "run_id": RUN_ID, "from_node_id": one("nodes"), "to_node_id": one("nodes"),
            "label": some(hard_text),
            "default_mode": "move", "created_at": some(order_times),
        }
        for i in ids["edges"]
    ]  # fmt: skip
    tables["operations"] = [
        {
            "operation_id": i, "run_id": RUN_ID, "node_id": one("nodes"), "operation_type": "sink_write",
            "status": "failed",
            "started_at": some(order_times), "completed_at": some(times), "duration_ms": some(floats),
            "error_message": some(hard_text),
        }
        for i in ids["operations"]
    ]  # fmt: skip
    tables["rows"] = [
        {
            "row_id": i, "run_id": RUN_ID, "row_index": some(integers), "source_node_id": one("nodes"),
            "source_data_hash": "h",
            "created_at": "2026-01-01 00:00:00.000000",
        }
        for i in ids["rows"]
    ]  # fmt: skip
    tables["tokens"] = [
        {
            "token_id": i, "run_id": RUN_ID, "row_id": one("rows"), "step_in_pipeline": some(maybe(integers)),
            "branch_name": some(maybe(hard_text)), "created_at": some(order_times),
        }
        for i in ids["tokens"] if ids["rows"]
    ]  # fmt: skip
    has_tokens = bool(tables["tokens"])
    pairs = (
        some(
            st.lists(st.tuples(st.sampled_from(ids["tokens"]), st.sampled_from(ids["tokens"])), max_size=4, unique=True)
        )
        if has_tokens
        else []
    )
    tables["token_parents"] = [
        {"token_id": token, "parent_token_id": parent, "ordinal": some(integers)} for token, parent in pairs
    ]
    tables["batches"] = [
        {
            "batch_id": i, "run_id": RUN_ID, "aggregation_node_id": one("nodes"), "attempt": some(integers),
            "status": "draft",
            "trigger_type": some(maybe(st.just("count"))), "trigger_reason": some(maybe(hard_text)),
            "created_at": some(order_times),
            "completed_at": some(maybe(times)),
        }
        for i in ids["batches"]
    ]  # fmt: skip
    members = (
        some(
            st.lists(
                st.tuples(st.sampled_from(ids["batches"]), st.sampled_from(ids["tokens"])), max_size=4, unique=True
            )
        )
        if has_tokens and ids["batches"]
        else []
    )
    tables["batch_members"] = [{"batch_id": b, "token_id": t, "ordinal": some(integers)} for b, t in members]
    ended: set[str] = set()
    tables["token_outcomes"] = []
    for i in ids["token_outcomes"] if has_tokens else []:
        token = one("tokens")
        terminal = token not in ended and some(st.booleans())
        ended |= {token} if terminal else set()
        tables["token_outcomes"].append(
            {
                "outcome_id": i, "run_id": RUN_ID, "token_id": token, "outcome": "failed" if terminal else "buffered",
                "is_terminal": int(terminal), "recorded_at": some(order_times), "sink_name": some(maybe(hard_text)),
                "batch_id": some(maybe(st.sampled_from(ids["batches"]))) if ids["batches"] else None,
                "context_json": some(maybe(hard_text)),
            }
        )  # fmt: skip
    tables["node_states"] = []
    for i in ids["node_states"] if has_tokens else []:
        status = some(st.sampled_from(["open", "pending", "completed", "failed"]))
        done = status != "open"
        tables["node_states"].append(
            {
                "state_id": i, "token_id": one("tokens"), "run_id": RUN_ID, "node_id": one("nodes"),
                "step_index": some(st.integers(0, 2)), "attempt": some(st.sampled_from([0, 1, 9, 10, 11, 100])),
                "status": status, "input_hash": "h", "output_hash": "o" if status == "completed" else None,
                "duration_ms": some(floats) if done else None, "started_at": some(times),
                "completed_at": some(times) if done else None, "context_before_json": some(maybe(hard_text)),
                "error_json": some(maybe(hard_text)) if status == "failed" else None,
                "success_reason_json": some(maybe(hard_text)) if status == "completed" else None,
            }
        )  # fmt: skip
    states = [state["state_id"] for state in tables["node_states"]]
    tables["routing_events"] = [
        {
            "event_id": i, "state_id": some(st.sampled_from(states)), "edge_id": one("edges"), "routing_group_id": "g",
            "ordinal": some(integers), "mode": "copy", "reason_ref": some(maybe(hard_text)), "created_at": some(times),
        }
        for i in ids["routing_events"] if states and ids["edges"]
    ]  # fmt: skip
    parents = [("state_id", i) for i in states] + [("operation_id", i) for i in ids["operations"]]
    tables["calls"] = [
        {
            "call_id": i, **dict([some(st.sampled_from(parents))]), "call_index": some(integers), "call_type": "llm",
            "status": "success", "request_hash": "h", "latency_ms": some(maybe(floats)),
            "error_json": some(maybe(hard_text)),
            "created_at": some(times),
        }
        for i in ids["calls"] if parents
    ]  # fmt: skip
    tables["artifacts"] = [
        {
            "artifact_id": i, "run_id": RUN_ID, "sink_node_id": one("nodes"),
            "produced_by_state_id": some(st.sampled_from(states)),
            "artifact_type": "file", "path_or_uri": some(hard_text), "content_hash": "h", "size_bytes": some(integers),
            "created_at": some(order_times),
        }
        for i in ids["artifacts"] if states
    ]  # fmt: skip
    return tables
