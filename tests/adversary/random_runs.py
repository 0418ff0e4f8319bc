"""Random valid runs, and databases that hold several of them in any order.

Belongs here: rows that keep the contract in unusual ways, from a seed: odd text, extreme numbers, ties in every column
by which records are ordered, deep forks. Does not belong here: rows that break it (`values.py`), exports.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from support.sample_v1 import schema_sql

from benchmarks.fields import ORDER

Rows = dict[str, list[dict[str, Any]]]

ODD_TEXT = [
    "", " ", "'", "''", '"', "\\", "=1+1", "-1", "+1", "@x", "\t", "\r\n", "\n", "\0", "\x01\x1f\x7f", "\u2028\u2029",
    "é", "e\u0301",
    "\ud7ff", "\ue000", "\ufffe", "\uffff", "\U0001f525", "\U0010ffff", "\ufeffbom", "null", "a,b", '"quoted"', "NaN",
    "</script>",
    "%41", "0", "1e5", "x" * 3000, "\u202eabc", "'=x", "\x0b\x0c", "{}", "�",
]  # fmt: skip
RUN_IDS = [
    "run", "RUN", "run ", " run", "", ".", "..", ".hidden", "../up", "a/b", "/abs", "-all", "--json", "é", "e\u0301",
    "\U0001f525", "x" * 300, "é" * 90,
    "run\n2", "run\t2", '"', "'", "a,b", "=1+1", "%", "%~", "%41", "A", "con", "run:1", "null", "\\", "*", "$HOME",
    "\u202e", "~", "\x7f",
]  # fmt: skip
FLOATS = [
    0.0, -0.0, 5.0, 1e16, 1e21, 1e-6, 1e-7, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 9007199254740993.0,
    123456789012345680.0, 1e15, 999999999999999.9, 1e20, 999999999999999900000.0, 0.0001, 0.00001, 0.1, 1 / 3, 4.35,
    0.3,
]  # fmt: skip
TIMES = [
    "2026-01-02 03:04:05.000000", "2026-01-02 03:04:05.000001", "2026-01-02 03:04:05", "2026-01-02T03:04:05.5",
    "2026-01-02 03:04:05.50", "2026-01-02 03:04:04.999999", "0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999",
    "1969-12-31 23:59:59.999999", "2024-02-29 00:00:00.000000",
]  # fmt: skip
GRADES = [None, "full_reproducible", "replay_reproducible", "attributable_only"]
TERMINAL = [
    "completed",
    "routed",
    "forked",
    "failed",
    "quarantined",
    "diverted",
    "consumed_in_batch",
    "coalesced",
    "expanded",
]


TABLES = tuple(ORDER)
"""The tables that `Maker.run` makes rows of."""


class Maker:
    """Makes rows.

    Args:
        rng: all choices come from it.
        nul: whether text may hold a NUL character, which PostgreSQL does not keep.
    """

    def __init__(self, rng: random.Random, *, nul: bool = True) -> None:
        self.rng, self.nul = rng, nul
        self._used: set[str] = set()

    def text(self) -> str:
        rng = self.rng
        if rng.random() < 0.6:
            found = rng.choice(ODD_TEXT)
        else:
            ranges = [(0, 0x7F), (0x20, 0x7E), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
            found = "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(0, 12)))
        return found if self.nul else found.replace("\0", "\1")

    def number(self) -> float:
        rng = self.rng
        if rng.random() < 0.5:
            return rng.choice(FLOATS)
        return rng.choice([1, -1]) * rng.random() * 10.0 ** rng.randint(-320, 307)

    def integer(self) -> int:
        return self.rng.choice([0, 0, 1, 2, 9, 10, 11, 100, 2**31, 2**32, 2**53 - 1, self.rng.randint(0, 20)])

    def time(self) -> str:
        rng = self.rng
        if rng.random() < 0.7:
            return rng.choice(TIMES)
        return f"{rng.randint(1, 9999):04}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02} " + (
            f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}.{rng.randint(0, 999999):06}"
        )

    def order_time(self) -> str:
        """One of the form in which ELSPETH stores times. Records are ordered by it; several forms are refused."""
        while len(time := self.time()) != 26 or "T" in time:
            pass
        return time

    def maybe(self, make: Callable[[], Any]) -> Any:
        return None if self.rng.random() < 0.4 else make()

    def json(self, depth: int = 3) -> Any:
        rng = self.rng
        what = rng.randint(0, 7 if depth else 4)
        if what == 0:
            return rng.choice([None, True, False])
        if what == 1:
            return self.number()
        if what == 2:
            return rng.randint(-(2**53) + 1, 2**53 - 1)
        if what <= 4:
            return self.text()
        if what == 5:
            return [self.json(depth - 1) for _ in range(rng.randint(0, 4))]
        return {self.text(): self.json(depth - 1) for _ in range(rng.randint(0, 4))}

    def json_text(self, value: Any) -> str:
        indent = self.rng.choice([None, None, 1, "\t"])
        return json.dumps(value, ensure_ascii=self.rng.random() < 0.5, indent=indent)

    def id(self) -> str:
        """An id that no other row has, and differs from others by what collations, or UTF-16, order otherwise."""
        rng = self.rng
        while True:
            alphabet = rng.choice(["ab\x7f\x80\xff\u0800\ue000\uffff\U00010000", "abAB01", "01", "zZéÉ", " a-_"])
            found = "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 6)))
            if found not in self._used:
                self._used.add(found)
                return found

    def run(self, run_id: str, size: int, status: str = "completed") -> Rows:
        """The rows of a run, by table.

        Args:
            run_id: its id.
            size: about how many rows a large table has; 0 for a run without any.
            status: its state; a run that goes on has no end.
        """
        rng, text, maybe, time, id = self.rng, self.text, self.maybe, self.time, self.id
        order_time = self.order_time
        done = status in ("completed", "failed")
        found: Rows = {
            "runs": [
                {
                    "run_id": run_id, "status": status, "started_at": time(), "completed_at": time() if done else None,
                    "canonical_version": text(), "config_hash": text(), "settings_json": self.json_text(self.json()),
                    "reproducibility_grade": rng.choice(GRADES),
                }
            ]
        }  # fmt: skip

        def count(share: float = 1.0) -> range:
            return range(rng.randint(0, max(1, int(size * share))) if size else 0)

        # Node ids are the run's own: other runs have the same.
        nodes = [f"node {i}" if rng.random() < 0.5 else id() for i in range(1 + len(count(0.3)))] if size else []
        found["nodes"] = [
            {
                "node_id": node, "run_id": run_id, "plugin_name": text(), "plugin_version": text(),
                "node_type": rng.choice(["source", "transform", "gate", "aggregation", "coalesce", "sink"]),
                "determinism": rng.choice(["deterministic", "seeded", "io_read", "external_call", "non_deterministic"]),
                "config_hash": text(), "config_json": self.json_text(self.json()), "schema_hash": maybe(text),
                "schema_mode": maybe(text), "sequence_in_pipeline": maybe(self.integer), "registered_at": order_time(),
                "schema_fields_json": maybe(
                    lambda: self.json_text([{text(): self.json(1)} for _ in range(rng.randint(0, 2))])
                ),
            }
            for node in nodes
        ]  # fmt: skip
        found["secret_resolutions"] = [
            {
                "resolution_id": id(), "run_id": run_id, "timestamp": self.number(), "env_var_name": text() or "X",
                "source": "keyvault",
                "vault_url": maybe(lambda: text() or "v"), "secret_name": maybe(lambda: text() or "s"),
                "fingerprint": f"{rng.getrandbits(256):064x}",
                "resolution_latency_ms": maybe(lambda: abs(self.number())),
            }
            for _ in count(0.3)
        ]  # fmt: skip
        found["edges"] = [
            {
                "edge_id": id(), "run_id": run_id, "from_node_id": rng.choice(nodes), "to_node_id": rng.choice(nodes),
                "label": text(),
                "default_mode": rng.choice(["move", "copy", "divert"]), "created_at": order_time(),
            }
            for _ in count(0.3)
        ]  # fmt: skip
        found["operations"] = [self._operation(run_id, rng.choice(nodes)) for _ in count(0.3)]
        found["rows"] = [
            {
                "row_id": id(), "run_id": run_id, "row_index": self.integer(), "source_node_id": rng.choice(nodes),
                "source_data_hash": text(), "created_at": time(),
            }
            for _ in count()
        ]  # fmt: skip
        rows = [row["row_id"] for row in found["rows"]]
        found["tokens"] = [
            {
                "token_id": id(), "row_id": rng.choice(rows), "run_id": run_id, "step_in_pipeline": maybe(self.integer),
                "branch_name": maybe(text), "fork_group_id": maybe(text), "join_group_id": maybe(text),
                "expand_group_id": maybe(text), "created_at": order_time(),
            }
            for _ in (count() if rows else ())
        ]  # fmt: skip
        tokens = [token["token_id"] for token in found["tokens"]]
        # A chain of forks as deep as there are tokens, and any other parents.
        pairs = set(zip(tokens[1:], tokens, strict=False)) if rng.random() < 0.5 else set()
        pairs |= {(rng.choice(tokens), rng.choice(tokens)) for _ in (count(0.5) if tokens else ())}
        found["token_parents"] = [
            {"token_id": token, "parent_token_id": parent, "ordinal": self.integer()} for token, parent in sorted(pairs)
        ]
        found["batches"] = [
            {
                "batch_id": id(), "run_id": run_id, "aggregation_node_id": rng.choice(nodes), "attempt": self.integer(),
                "status": rng.choice(["draft", "executing", "completed", "failed"]),
                "trigger_type": maybe(lambda: rng.choice(["count", "timeout", "condition", "end_of_source", "manual"])),
                "trigger_reason": maybe(text), "created_at": order_time(), "completed_at": maybe(time),
            }
            for _ in count(0.3)
        ]  # fmt: skip
        batches = [batch["batch_id"] for batch in found["batches"]]
        members = {(rng.choice(batches), rng.choice(tokens)) for _ in (count(0.5) if batches and tokens else ())}
        found["batch_members"] = [
            {"batch_id": batch, "token_id": token, "ordinal": self.integer()} for batch, token in sorted(members)
        ]
        ended: set[str] = set()
        found["token_outcomes"] = []
        for _ in count() if tokens else ():
            token = rng.choice(tokens)
            terminal = token not in ended and rng.random() < 0.6
            ended |= {token} if terminal else set()
            found["token_outcomes"].append(
                {
                    "outcome_id": id(), "run_id": run_id, "token_id": token,
                    "outcome": rng.choice(TERMINAL) if terminal else "buffered", "is_terminal": int(terminal),
                    "recorded_at": order_time(),
                    "sink_name": maybe(text), "batch_id": maybe(lambda: rng.choice(batches)) if batches else None,
                    "error_hash": maybe(text), "context_json": maybe(text), "expected_branches_json": maybe(text),
                }
            )  # fmt: skip
        found["node_states"] = [
            self._state(run_id, rng.choice(tokens), rng.choice(nodes)) for _ in (count() if tokens else ())
        ]
        states = [state["state_id"] for state in found["node_states"]]
        edges = [edge["edge_id"] for edge in found["edges"]]
        found["routing_events"] = [
            {
                "event_id": id(), "state_id": rng.choice(states), "edge_id": rng.choice(edges),
                "routing_group_id": text(),
                "ordinal": self.integer(), "mode": rng.choice(["move", "copy", "divert"]), "reason_hash": maybe(text),
                "reason_ref": maybe(text), "created_at": time(),
            }
            for _ in (count(0.5) if states and edges else ())
        ]  # fmt: skip
        parents = [("state_id", i) for i in states] + [
            ("operation_id", row["operation_id"]) for row in found["operations"]
        ]
        found["calls"] = [
            {
                "call_id": id(), **dict([rng.choice(parents)]), "call_index": self.integer(),
                "call_type": rng.choice(["llm", "http", "http_redirect", "sql", "vector", "filesystem"]),
                "status": rng.choice(["success", "error"]), "request_hash": text(), "request_ref": maybe(text),
                "response_hash": maybe(text),
                "response_ref": maybe(text), "latency_ms": maybe(self.number), "error_json": maybe(text),
                "created_at": time(),
            }
            for _ in (count() if parents else ())
        ]  # fmt: skip
        found["artifacts"] = [
            {
                "artifact_id": id(), "run_id": run_id, "sink_node_id": rng.choice(nodes),
                "produced_by_state_id": rng.choice(states),
                "artifact_type": text(), "path_or_uri": text(), "content_hash": text(), "size_bytes": self.integer(),
                "created_at": order_time(),
            }
            for _ in (count(0.3) if states else ())
        ]  # fmt: skip
        return found

    def _operation(self, run_id: str, node: str) -> dict[str, Any]:
        status = self.rng.choice(["open", "completed", "failed", "pending"])
        done = status != "open"
        return {
            "operation_id": self.id(), "run_id": run_id, "node_id": node,
            "operation_type": self.rng.choice(["source_load", "sink_write"]),
            "status": status, "started_at": self.order_time(), "completed_at": self.time() if done else None,
            "duration_ms": self.number() if done else None,
            "error_message": self.text() if status == "failed" else None,
            "input_data_ref": self.maybe(self.text), "input_data_hash": self.maybe(self.text),
            "output_data_ref": self.maybe(self.text), "output_data_hash": self.maybe(self.text),
        }  # fmt: skip

    def _state(self, run_id: str, token: str, node: str) -> dict[str, Any]:
        status = self.rng.choice(["open", "pending", "completed", "failed"])
        done = status != "open"
        return {
            "state_id": self.id(), "token_id": token, "run_id": run_id, "node_id": node,
            "step_index": self.rng.randint(0, 2),
            "attempt": self.rng.choice([0, 1, 9, 10, 11, 100]), "status": status, "input_hash": self.text(),
            "output_hash": self.text() if status == "completed" else None,
            "duration_ms": self.number() if done else None,
            "started_at": self.time(), "completed_at": self.time() if done else None,
            "context_before_json": self.maybe(self.text), "context_after_json": self.maybe(self.text) if done else None,
            "error_json": self.maybe(self.text) if status == "failed" else None,
            "success_reason_json": self.maybe(self.text) if status == "completed" else None,
        }  # fmt: skip


@cache
def _columns() -> dict[str, dict[str, str]]:
    """Table → column → declared type, of contract v1."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema_sql())
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({name})")} for name in names}


NOT_IN_V0 = {"operations": ("input_data_hash", "output_data_hash"), "tokens": ("run_id",)}


def write(
    path: Path,
    runs: list[Rows],
    rng: random.Random,
    *,
    contract: str = "v1",
    encoding: str = "UTF-8",
    indexes: bool = False,
    page_size: int = 4096,
) -> None:
    """Writes a database of runs, whose rows are inserted in random order into tables whose columns are in random order.

    Tables have no constraints, so that values may tie where ELSPETH's own would be unique.

    Args:
        path: of the new file.
        runs: the rows of each run.
        rng: all choices come from it.
        contract: `v0` or `v1`.
        encoding: of text in the file.
        indexes: whether columns with ids are indexed.
        page_size: of the file.
    """
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute("PRAGMA synchronous = OFF")
        left_out = NOT_IN_V0 if contract == "v0" else {}
        tables = [
            (name, columns) for name, columns in _columns().items() if (contract, name) != ("v0", "preflight_results")
        ]
        rng.shuffle(tables)
        for table, columns in tables:
            names = [name for name in columns if name not in left_out.get(table, ())]
            rng.shuffle(names)
            connection.execute(f"CREATE TABLE {table} ({', '.join(f'{name} {columns[name]}' for name in names)})")
            for name in names if indexes else ():
                if name.endswith("_id"):
                    connection.execute(f"CREATE INDEX ix_{table}_{name} ON {table} ({name})")
        rows = [(table, row) for run in runs for table, found in run.items() for row in found]
        rng.shuffle(rows)
        for table, row in rows:
            kept = {name: value for name, value in row.items() if name not in left_out.get(table, ())}
            marks = ", ".join("?" * len(kept))
            connection.execute(f"INSERT INTO {table} ({', '.join(kept)}) VALUES ({marks})", tuple(kept.values()))
        connection.execute(f"PRAGMA user_version = {0 if contract == 'v0' else 2}")
        connection.commit()
