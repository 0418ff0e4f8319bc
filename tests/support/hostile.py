"""Records as a hostile pipeline would leave them, for pages that show them.

Belongs here: strings that try to be markup, script, style or another direction of writing, and records of a run
that has them everywhere.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STRINGS = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "'><svg onload=document.title='owned'>",
    "</style><style>body{display:none}</style>",
    "</title></head><body onload=document.title='owned'>",
    "<!--",
    "]]>",
    "javascript:document.title='owned'",
    "{{ 7*7 }}{% raw %}",
    "&lt;b&gt;&#60;script&#62;",
    "<a href=https://example.org>here</a>",
    "<meta http-equiv=refresh content=0;url=https://example.org>",
    "<base href=https://example.org/>",
    "<form action=https://example.org><input>",
    "abc\u202egpj.exe\u2066\u2067\u2069",
    "\u0000\u0007\u001b[31m\u009b",
    "\ud800",
    "Z" + "\u0301" * 500,
    "\u2028\u2029\ufeff\u200b\u200d",
    "עברית العربية",
    "",
    " ",
    "x" * 100_000,
)


def records(nodes: int = 12, rows: int = 40, *, failing: int = 5) -> Iterator[dict[str, Any]]:
    """The records of a run in order; every text is hostile.

    Args:
        nodes: how many nodes there are, in a chain.
        rows: how many rows, each with one token that goes through up to twelve nodes.
        failing: of so many rows one fails.
    """

    def text(number: int, mark: object = "") -> str:
        return f"{mark}{STRINGS[number % len(STRINGS)]}"

    run = {"run_id": text(0, "run ")}
    settings = {text(i): [text(i), {text(i): None}] for i in range(len(STRINGS))}
    yield run | {
        "record_type": "run",
        "status": text(1),
        "started_at": "2026-03-01T12:00:00",
        "completed_at": "2026-03-01T12:30:00.5",
        "canonical_version": text(2),
        "config_hash": text(3),
        "settings": settings,
        "reproducibility_grade": text(4),
        "initiated_by_user_id": text(5),
        "auth_provider_type": text(6),
    }
    yield run | {"record_type": "web_plugin_policy", "schema_version": 1, "policy_hash": text(7)}
    for i in range(len(STRINGS)):
        yield (
            run
            | {"record_type": "secret_resolution"}
            | {name: text(i) for name in ("env_var_name", "source", "vault_url", "secret_name")}
        )
    kinds = ("source", "transform", "gate", "aggregation", "coalesce", "sink")
    for i in range(nodes):
        yield run | {
            "record_type": "node",
            "node_id": text(i, f"{i} "),
            "plugin_name": text(i),
            "node_type": text(i) if i % 7 == 6 else kinds[i % 6],
            "plugin_version": text(i),
            "determinism": text(i),
        }
    for i in range(nodes):
        yield run | {
            "record_type": "edge",
            "edge_id": text(i, f"edge {i} "),
            "from_node_id": text(i, f"{i} "),
            "to_node_id": text((i + 1) % nodes, f"{(i + 1) % nodes} "),
            "label": text(i),
            "default_mode": text(i) if i % 3 else "divert",
        }
    for i in range(len(STRINGS)):
        yield run | {
            "record_type": "operation",
            "operation_id": text(i, i),
            "node_id": text(i, f"{i} "),
            "operation_type": text(i),
            "status": "failed",
            "duration_ms": 1.5 * i,
            "error_message": text(i),
        }
        yield run | {
            "record_type": "call",
            "call_id": text(i, i),
            "call_type": text(i),
            "status": "error",
            "latency_ms": 2.5 * i,
            "error_json": json.dumps({"type": text(i), "message": text(i)}),
        }
        yield run | {
            "record_type": "validation_error",
            "error_id": text(i),
            "node_id": text(i),
            "violation_type": text(i),
            "error": text(i),
        }
        yield run | {
            "record_type": "transform_error",
            "error_id": text(i),
            "transform_id": text(i),
            "error_details_json": text(i),
        }
        yield run | {"record_type": f"new_{i}", "field": text(i)}
        yield run | {"record_type": "scheduler_event", "event_type": text(i)}
        yield run | {"record_type": "sink_effect", "sink_node_id": text(i, i), "role": text(i), "state": text(i)}
        yield run | {"record_type": "sink_effect_attempt", "action": text(i), "state": text(i)}
        yield run | {"record_type": "sink_effect_member", "sink_node_id": text(i, i), "prepared_disposition": text(i)}
    for row in range(rows):
        yield run | {"record_type": "row", "row_id": text(row, row), "source_node_id": text(0, "0 ")}
        yield run | {"record_type": "token", "token_id": f"t{row}", "fork_group_id": None}
        yield run | {
            "record_type": "token_outcome",
            "outcome": text(row),
            "path": text(row),
            "completed": True,
            "sink_name": text(row, row),
        }
        for node in range(min(nodes, 12)):
            number = (row + node) % nodes
            is_failed = row % failing == 0
            yield run | {
                "record_type": "node_state",
                "state_id": text(row, f"state {row}.{node} "),
                "node_id": text(number, f"{number} "),
                "attempt": node % 2,
                "status": "failed" if is_failed else "completed",
                "duration_ms": 0.25 * (row + 1),
                "started_at": f"2026-03-01T12:{row % 30:02}:{node:02}",
                "error_json": json.dumps({"type": text(node, row), "message": text(node)}) if is_failed else None,
            }
            yield run | {"record_type": "routing_event", "edge_id": text(number, f"edge {number} "), "mode": text(row)}
        yield run | {"record_type": "batch", "status": text(row, row % 50), "trigger_type": text(row)}
        yield run | {
            "record_type": "artifact",
            "sink_node_id": text(row),
            "artifact_type": text(row),
            "path_or_uri": text(row),
            "size_bytes": row,
        }


def write_records(folder: Path, some: Iterator[dict[str, Any]]) -> Path:
    """A folder with records.jsonl alone."""
    folder.mkdir()
    with (folder / "records.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in some)
    return folder
