"""What the report needs of records: which fields, and some records with them as typed columns.

Belongs here: those fields, by record type and name. What a contract does not have is null. Does not belong here: what
is counted (`gather.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

_TEXT, _FLOAT, _TIME, _INTEGER, _BOOLEAN = pa.large_string(), pa.float64(), pa.timestamp("us"), pa.int64(), pa.bool_()

NEEDED: dict[str, dict[str, pa.DataType]] = {
    "run": {
        "run_id": _TEXT,
        "status": _TEXT,
        "started_at": _TIME,
        "completed_at": _TIME,
        "canonical_version": _TEXT,
        "config_hash": _TEXT,
        "settings": _TEXT,
        "reproducibility_grade": _TEXT,
        "initiated_by_user_id": _TEXT,
        "auth_provider_type": _TEXT,
    },
    "secret_resolution": {"env_var_name": _TEXT, "source": _TEXT, "secret_name": _TEXT, "vault_url": _TEXT},
    "node": {
        "node_id": _TEXT,
        "plugin_name": _TEXT,
        "node_type": _TEXT,
        "plugin_version": _TEXT,
        "determinism": _TEXT,
    },
    "edge": {"edge_id": _TEXT, "from_node_id": _TEXT, "to_node_id": _TEXT, "label": _TEXT, "default_mode": _TEXT},
    "operation": {
        "operation_id": _TEXT,
        "node_id": _TEXT,
        "operation_type": _TEXT,
        "status": _TEXT,
        "duration_ms": _FLOAT,
        "error_message": _TEXT,
    },
    "call": {"call_id": _TEXT, "call_type": _TEXT, "status": _TEXT, "latency_ms": _FLOAT, "error_json": _TEXT},
    "validation_error": {"error_id": _TEXT, "node_id": _TEXT, "violation_type": _TEXT, "error": _TEXT},
    "transform_error": {"error_id": _TEXT, "transform_id": _TEXT, "error_details_json": _TEXT},
    "row": {"source_node_id": _TEXT},
    "token": {"fork_group_id": _TEXT, "join_group_id": _TEXT, "expand_group_id": _TEXT},
    "token_outcome": {
        "outcome": _TEXT,
        "path": _TEXT,
        "is_terminal": _BOOLEAN,
        "completed": _BOOLEAN,
        "sink_name": _TEXT,
    },
    "node_state": {
        "state_id": _TEXT,
        "node_id": _TEXT,
        "attempt": _INTEGER,
        "status": _TEXT,
        "duration_ms": _FLOAT,
        "started_at": _TIME,
        "error_json": _TEXT,
    },
    "routing_event": {"edge_id": _TEXT, "mode": _TEXT},
    "batch": {"aggregation_node_id": _TEXT, "attempt": _INTEGER, "status": _TEXT, "trigger_type": _TEXT},
    "scheduler_event": {"event_type": _TEXT},
    "sink_effect": {"sink_node_id": _TEXT, "role": _TEXT, "state": _TEXT},
    "sink_effect_attempt": {"action": _TEXT, "state": _TEXT},
    "sink_effect_member": {"sink_node_id": _TEXT, "prepared_disposition": _TEXT},
    "web_plugin_policy": {"schema_version": _INTEGER, "policy_hash": _TEXT},
    "artifact": {"sink_node_id": _TEXT, "artifact_type": _TEXT, "path_or_uri": _TEXT, "size_bytes": _INTEGER},
}
"""The fields that figures are made of: record type → field → type. JSON is text."""


@dataclass(frozen=True)
class Chunk:
    """Some records of a run, in record order.

    Args:
        names: every record type by code.
        types: the code of each record.
        fields: record type → the fields of its records that are there, in record order.
    """

    names: Sequence[str]
    types: np.ndarray
    fields: Mapping[str, Mapping[str, pa.Array]]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many records there are of each type that occurs."""
        counts = np.bincount(self.types, minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, counts, strict=True) if count}

    def records(self, name: str) -> pa.RecordBatch:
        """The needed fields of the records of a type; null where there are none."""
        there, wanted, count = self.fields.get(name, {}), NEEDED[name], self.counts.get(name, 0)
        arrays = [there[field] if field in there else pa.nulls(count, kind) for field, kind in wanted.items()]
        return pa.RecordBatch.from_arrays(arrays, list(wanted))

    def is_of(self, name: str) -> np.ndarray:
        """Which records are of a type."""
        found: np.ndarray = self.types == (self.names.index(name) if name in self.names else -1)
        return found
