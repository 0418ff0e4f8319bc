"""The figures of a run, gathered from the typed columns of its records in one pass.

Belongs here: what is counted, and how. Memory grows with nodes, edges and kinds of failure, never with rows, states or
calls. Record types and fields are looked for by name: what a contract does not have is not counted, and what is not
known here appears in the records by type alone. Does not belong here: how figures are shown (`page.py`).

The result is the same in whatever chunks the records come: counts and sums are of whole numbers (durations in
microseconds), percentiles come of exact histograms (`histogram.py`), and examples are the first in record order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .histogram import Distributions, Times

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
    "batch": {"status": _TEXT, "trigger_type": _TEXT},
    "artifact": {"sink_node_id": _TEXT, "artifact_type": _TEXT, "path_or_uri": _TEXT, "size_bytes": _INTEGER},
}
"""The fields that figures are made of: record type → field → type. JSON is text."""

MOST_LISTED = {"node": 20_000, "edge": 50_000, "secret_resolution": 200, "artifact": 200}
"""Records of a type that are kept to be listed; of the others only the number is known."""

MOST_FAILURES = 2_000
"""Kinds of failure that are told apart; those that come later are counted together."""

EXAMPLES = 3
"""Examples kept of a kind of failure."""

_KIND_LENGTH, _MESSAGE_LENGTH, _ID_LENGTH = 200, 600, 400
_KINDS = ("type", "error_type", "exception_type", "violation_type", "code", "reason", "status")
_MESSAGES = ("message", "error", "exception", "reason", "detail")


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

    def records(self, name: str) -> pa.RecordBatch:
        """The needed fields of the records of a type; null where there are none."""
        there, wanted = self.fields.get(name, {}), NEEDED[name]
        count = int(np.count_nonzero(self.is_of(name)))
        arrays = [there[field] if field in there else pa.nulls(count, kind) for field, kind in wanted.items()]
        return pa.RecordBatch.from_arrays(arrays, list(wanted))

    def is_of(self, name: str) -> np.ndarray:
        """Which records are of a type."""
        found: np.ndarray = self.types == (self.names.index(name) if name in self.names else -1)
        return found


@dataclass
class Failure:
    """A kind of failure at one place: how many there are, the first ones by id, and what the first one says."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    message: str = ""

    def add(self, other: Failure) -> None:
        """Adds failures that come later."""
        self.message = self.message or other.message
        self.count += other.count
        self.examples = (self.examples + other.examples)[:EXAMPLES]


FailureKey = tuple[str, str, str]
"""Record type, node (or kind of call), kind of error."""


@dataclass
class PartStatistics:
    """The figures of some records."""

    counts: Counter[str] = field(default_factory=Counter)
    run: dict[str, Any] | None = None
    listed: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in MOST_LISTED})
    states: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(node, status) → states."""
    retries: Counter[str] = field(default_factory=Counter)
    state_time: Counter[str] = field(default_factory=Counter)
    """Node → microseconds of all its states."""
    durations: Distributions = field(default_factory=Distributions)
    times: Times = field(default_factory=Times)
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(node, next node of the same token) → tokens. The first node of a token has before it its source, or what the
    token was made by: JOIN, FORK or EXPAND."""
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(edge, mode) → routing events."""
    outcomes: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    """(outcome, path, whether it is final) → tokens."""
    sinks: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    call_time: Counter[str] = field(default_factory=Counter)
    latencies: Distributions = field(default_factory=Distributions)
    operations: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    operation_time: Counter[tuple[str, str]] = field(default_factory=Counter)
    batches: Counter[tuple[str, str]] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    """How tokens came to be: FORK, JOIN, EXPAND, or START."""
    failures: dict[FailureKey, Failure] = field(default_factory=dict)
    head: str | None = None
    """The node of the first state, when it is of a token that an earlier part has."""
    tail: tuple[str | None, str] | None = None
    """Of the last token of the part: the node of its last state, and what comes before its first one. The latter is
    empty when the token is of an earlier part; None when there are neither tokens nor states."""
    last_source: str | None = None


FORK, JOIN, EXPAND, START = "\0fork", "\0join", "\0expand", "\0start"
"""What made a token, in place of the node before its first one. Node ids do not begin so: PostgreSQL has no NUL, and
one from SQLite that did would at worst be counted with these."""

_COUNTERS = (
    "counts",
    "states",
    "retries",
    "state_time",
    "steps",
    "events",
    "outcomes",
    "sinks",
    "calls",
    "call_time",
    "operations",
    "operation_time",
    "batches",
    "tokens",
)


class Statistics(PartStatistics):
    """The figures of a run."""

    other_failures = 0
    """Failures of kinds beyond MOST_FAILURES."""

    def add(self, part: PartStatistics) -> None:
        """Adds the figures of the next records of the run."""
        self._tie(part)
        for name in _COUNTERS:
            getattr(self, name).update(getattr(part, name))
        self.run = self.run or part.run
        for name, most in MOST_LISTED.items():
            self.listed[name].extend(part.listed[name][: most - len(self.listed[name])])
        self.times.add(part.times)
        self.durations.add(part.durations)
        self.latencies.add(part.latencies)
        for key, failure in part.failures.items():
            if key in self.failures or len(self.failures) < MOST_FAILURES:
                self.failures.setdefault(key, Failure()).add(failure)
            else:
                self.other_failures += failure.count

    def _tie(self, part: PartStatistics) -> None:
        """A token whose states go on in the next part."""
        node, origin = self.tail or (None, START)
        if part.head is not None and (before := node or self._origin(origin)) != part.head:
            self.steps[before, part.head] += 1
        if part.tail is not None:
            last, made_by = part.tail
            self.tail = (last, self._origin(made_by)) if made_by else (last, origin)
        for key in [key for key in part.steps if key[0] == START]:
            # The source of these tokens is that of the last row of an earlier part.
            part.steps[self._origin(START), key[1]] += part.steps.pop(key)
        self.last_source = part.last_source or self.last_source

    def _origin(self, origin: str) -> str:
        return (self.last_source or START) if origin == START else origin


def gather(chunk: Chunk) -> PartStatistics:
    """The figures of some records; may be called on several threads."""
    found = PartStatistics()
    for code, count in enumerate(np.bincount(chunk.types, minlength=len(chunk.names))):
        if count:
            found.counts[chunk.names[code]] = int(count)
    runs = chunk.records("run")
    if len(runs):
        (found.run,) = runs.slice(0, 1).to_pylist()
    for name, most in MOST_LISTED.items():
        found.listed[name] = chunk.records(name).slice(0, most).to_pylist()
    _gather_states(chunk, found)
    _gather_ways(chunk, found)

    events = chunk.records("routing_event")
    found.events = _tally(_coded(events["edge_id"]), _coded(events["mode"]))
    outcomes = chunk.records("token_outcome")
    is_final = pc.or_(pc.fill_null(outcomes["is_terminal"], False), pc.fill_null(outcomes["completed"], False))
    outcome, path = _coded(outcomes["outcome"]), _coded(outcomes["path"])
    found.outcomes = _tally(outcome, path, (_numbers(is_final), [False, True]))
    taken = outcomes.filter(outcomes["sink_name"].is_valid())
    found.sinks = _tally(_coded(taken["sink_name"]), _coded(taken["outcome"]))
    batches = chunk.records("batch")
    found.batches = _tally(_coded(batches["status"]), _coded(batches["trigger_type"]))
    _gather_calls(chunk.records("call"), found)
    _gather_operations(chunk.records("operation"), found)
    for name, where, what, kind, identity in (
        ("validation_error", "node_id", "error", "violation_type", "error_id"),
        ("transform_error", "transform_id", "error_details_json", None, "error_id"),
    ):
        _gather_failures(name, chunk.records(name), where, what, identity, found, kind)
    return found


def _gather_states(chunk: Chunk, found: PartStatistics) -> None:
    states = chunk.records("node_state")
    if not len(states):
        return
    node = _coded(states["node_id"])
    found.states = _tally(node, _coded(states["status"]))
    codes, nodes = node
    again = _numbers(pc.fill_null(states["attempt"], 0)) > 0
    found.retries = Counter(_named(np.bincount(codes[again], minlength=len(nodes)), nodes))
    found.state_time, found.durations = _durations(node, states["duration_ms"])
    failed = _is(states["status"], "failed")
    started = pc.cast(states["started_at"], pa.int64())
    known = _bits(started.is_valid())
    found.times = Times(_numbers(pc.fill_null(started, 0))[known], _bits(failed)[known])
    _gather_failures("node_state", states.filter(failed), "node_id", "error_json", "state_id", found)


def _gather_ways(chunk: Chunk, found: PartStatistics) -> None:
    """Which nodes tokens went to one after the other. In record order each token follows its row, and each state its
    token."""
    is_row, is_token, is_state = chunk.is_of("row"), chunk.is_of("token"), chunk.is_of("node_state")
    sources = chunk.records("row")["source_node_id"]
    if len(sources):
        found.last_source = sources[-1].as_py()
    tokens = chunk.records("token")
    source, source_names = _coded(sources)
    made_by = [START, FORK, JOIN, EXPAND]
    origin = np.zeros(len(tokens), np.int64)
    for code, column in enumerate(("fork_group_id", "join_group_id", "expand_group_id"), 1):
        origin[_bits(tokens[column].is_valid())] = code
    found.tokens = Counter(_named(np.bincount(origin, minlength=len(made_by)), made_by))
    # What is before the first state of each token: a source (from len(made_by) on), or what made the token.
    row_of_token = np.cumsum(is_row)[is_token] - 1
    has_source = (origin == 0) & (row_of_token >= 0)
    origin[has_source] = source[row_of_token[has_source]] + len(made_by)
    before = [*made_by, *source_names]

    token_of_state = np.cumsum(is_token)[is_state] - 1
    node, nodes = _coded(chunk.records("node_state")["node_id"])
    if len(node):
        is_first = np.diff(token_of_state, prepend=-1) != 0
        went_on = np.flatnonzero(~is_first[1:] & (node[1:] != node[:-1])) + 1
        found.steps = _tally((node[went_on - 1], nodes), (node[went_on], nodes))
        first = np.flatnonzero(is_first)
        found.steps += _tally((origin[token_of_state[first]], before), (node[first], nodes))
        if token_of_state[0] < 0:
            found.head = nodes[node[0]]
    if len(tokens):
        last = nodes[node[-1]] if len(node) and token_of_state[-1] == len(tokens) - 1 else None
        found.tail = last, before[origin[-1]]
    elif len(node):
        found.tail = nodes[node[-1]], ""


def _gather_calls(calls: pa.RecordBatch, found: PartStatistics) -> None:
    if not len(calls):
        return
    kind = _coded(calls["call_type"])
    found.calls = _tally(kind, _coded(calls["status"]))
    found.call_time, found.latencies = _durations(kind, calls["latency_ms"])
    failed = calls.filter(_is(calls["status"], "error"))
    _gather_failures("call", failed, "call_type", "error_json", "call_id", found)


def _gather_operations(operations: pa.RecordBatch, found: PartStatistics) -> None:
    if not len(operations):
        return
    columns = operations["node_id"], operations["operation_type"], operations["status"]
    found.operations = _tally(*map(_coded, columns))
    spent = _numbers(pc.fill_null(operations["duration_ms"], 0.0))
    for node, kind, milliseconds in zip(*(column.to_pylist() for column in columns[:2]), spent, strict=True):
        found.operation_time[node or "", kind or ""] += round(min(max(milliseconds, 0.0), _LONGEST_MS) * 1000)
    failed = operations.filter(_is(operations["status"], "failed"))
    _gather_failures("operation", failed, "node_id", "error_message", "operation_id", found)


def _durations(by: tuple[np.ndarray, list[str]], milliseconds: pa.Array) -> tuple[Counter[str], Distributions]:
    """The microseconds in all, and the distribution, of some durations by something."""
    known = _bits(milliseconds.is_valid())
    codes, names = by[0][known], by[1]
    values = _numbers(milliseconds.drop_null())
    # Sums of whole numbers below 2^53 are exact, whatever their order.
    microseconds = np.rint(np.clip(values, 0, _LONGEST_MS) * 1000)
    total = np.bincount(codes, weights=microseconds, minlength=len(names))
    return Counter(_named(total, names)), Distributions(names, codes, values)


def _gather_failures(
    record_type: str,
    failed: pa.RecordBatch,
    where: str,
    what: str,
    identity: str,
    found: PartStatistics,
    kind: str | None = None,
) -> None:
    if not len(failed):
        return
    explained: dict[str | None, tuple[str, str]] = {}
    kinds = failed[kind].to_pylist() if kind is not None else [None] * len(failed)
    places, texts, names = (failed[column].to_pylist() for column in (where, what, identity))
    for place, text, given, name in zip(places, texts, kinds, names, strict=True):
        if text not in explained:
            if len(explained) > 10_000:
                explained.clear()
            explained[text] = _explain(text)
        told, message = explained[text]
        key = (record_type, (place or "")[:_ID_LENGTH], given[:_KIND_LENGTH] if given else told)
        failure = found.failures.get(key)
        if failure is None:
            failure = found.failures[key] = Failure(message=message)
        failure.count += 1
        if len(failure.examples) < EXAMPLES:
            failure.examples.append((name or "")[:_ID_LENGTH])


def _explain(text: str | None) -> tuple[str, str]:
    """The kind and the message of an error as stored: JSON by the keys that errors have, any other text as it is."""
    if not text:
        return "", ""
    cut = text[:_MESSAGE_LENGTH]
    try:
        value = json.loads(text) if text.lstrip()[:1] == "{" and len(text) < 2**20 else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return "", cut
    kinds = (str(value[key]) for key in _KINDS if isinstance(value.get(key), str | int) and value[key] != "")
    messages = (value[key] for key in _MESSAGES if isinstance(value.get(key), str) and value[key])
    return _valid(next(kinds, "")[:_KIND_LENGTH]), _valid(next(messages, cut)[:_MESSAGE_LENGTH])


def _valid(text: str) -> str:
    """The text without lone surrogates, which JSON escapes may hold and UTF-8 may not."""
    return text.encode("utf-8", "replace").decode()


def _is(values: pa.Array, text: str) -> pa.BooleanArray:
    return pc.fill_null(pc.equal(values, text), False)


def _bits(values: pa.BooleanArray) -> np.ndarray:
    found: np.ndarray = values.to_numpy(zero_copy_only=False)
    return found


def _numbers(values: pa.Array) -> np.ndarray:
    """The numbers of an array without nulls; those of truth values are 0 and 1."""
    found: np.ndarray = values.to_numpy(zero_copy_only=False)
    return found.astype(np.int64) if found.dtype == np.bool_ else found


_LONGEST_MS = 1e12
"""A duration in milliseconds above which all count alike: 31 years."""

_Coded = tuple[np.ndarray, Sequence[Any]]
"""Values as codes, and the value of each code."""


def _coded(values: pa.Array) -> tuple[np.ndarray, list[str]]:
    """Text as codes; null is the empty text."""
    encoded = values.dictionary_encode("encode")
    names = [name or "" for name in encoded.dictionary.to_pylist()]
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), names


def _tally(*columns: _Coded) -> Counter[Any]:
    """How often each combination of values occurs."""
    sizes = [len(names) for _, names in columns]
    combined = np.zeros(len(columns[0][0]), np.int64)
    for (codes, _), size in zip(columns, sizes, strict=True):
        combined = combined * size + codes
    values, counts = np.unique(combined, return_counts=True)
    found: Counter[Hashable] = Counter()
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        key: list[Any] = []
        left = value
        for (_, names), size in zip(reversed(columns), reversed(sizes), strict=True):
            left, code = divmod(left, size)
            key.append(names[code])
        found[tuple(reversed(key))] += count
    return found


def _named(numbers: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    """The numbers other than 0 by name; a name may occur twice (null and the empty text)."""
    found: Counter[str] = Counter()
    for name, number in zip(names, numbers.tolist(), strict=True):
        if number:
            found[name] += int(number)
    return found
