"""The figures of some records, from their typed columns.

Belongs here: what is counted, and how. Record types and fields are looked for by name: what a contract does not have is
not counted, and a record type that is not known here appears in the records by type alone. Does not belong here: adding
up (`statistics.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .chunk import Chunk
from .histogram import Distributions, Times
from .statistics import EXAMPLES, EXPAND, FORK, JOIN, MOST_LISTED, START, Failure, PartStatistics

_KIND_LENGTH, _MESSAGE_LENGTH, _ID_LENGTH = 200, 600, 400
_KINDS = ("type", "error_type", "exception_type", "violation_type", "code", "reason", "status")
_MESSAGES = ("message", "error", "exception", "reason", "detail")


def gather(chunk: Chunk) -> PartStatistics:
    """The figures of some records; may be called on several threads."""
    found = PartStatistics()
    found.counts = Counter(chunk.counts)
    if "run" in chunk.counts:
        (found.run,) = chunk.records("run").slice(0, 1).to_pylist()
    for name, most in MOST_LISTED.items():
        if name in chunk.counts:
            found.listed[name] = chunk.records(name).slice(0, most).to_pylist()
    _gather_states(chunk, found)
    _gather_ways(chunk, found)
    _gather_outcomes(chunk, found)
    found.events = _tally_of(chunk, "routing_event", "edge_id", "mode")
    found.batches = _tally_of(chunk, "batch", "status", "trigger_type")
    _gather_members(chunk, found)
    found.not_valid = _tally_of(chunk, "validation_error", "node_id")
    found.scheduling = _tally_of(chunk, "scheduler_event", "event_type")
    found.effects = _tally_of(chunk, "sink_effect", "sink_node_id", "role", "state")
    found.effect_members = _tally_of(chunk, "sink_effect_member", "sink_node_id", "prepared_disposition")
    found.attempts = _tally_of(chunk, "sink_effect_attempt", "action", "state")
    _gather_calls(chunk, found)
    _gather_operations(chunk, found)
    for name, where, what, kind, identity in (
        ("validation_error", "node_id", "error", "violation_type", "error_id"),
        ("transform_error", "transform_id", "error_details_json", None, "error_id"),
    ):
        if name in chunk.counts:
            _gather_failures(name, chunk.records(name), where, what, identity, found, kind)
    return found


def _gather_states(chunk: Chunk, found: PartStatistics) -> None:
    if "node_state" not in chunk.counts:
        return
    states = chunk.records("node_state")
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


def _gather_outcomes(chunk: Chunk, found: PartStatistics) -> None:
    if "token_outcome" not in chunk.counts:
        return
    outcomes = chunk.records("token_outcome")
    is_final = pc.or_(pc.fill_null(outcomes["is_terminal"], False), pc.fill_null(outcomes["completed"], False))
    outcome, path = _coded(outcomes["outcome"]), _coded(outcomes["path"])
    found.outcomes = _tally(outcome, path, (_numbers(is_final), [False, True]))
    taken = outcomes.filter(outcomes["sink_name"].is_valid())
    found.sinks = _tally(_coded(taken["sink_name"]), _coded(taken["outcome"]), _coded(taken["path"]))


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


def _gather_members(chunk: Chunk, found: PartStatistics) -> None:
    """How many tokens came to each aggregation. In record order each member follows its batch; a batch that is tried
    again has the same members once more."""
    if not {"batch", "batch_member"} & chunk.counts.keys():
        return
    batches = chunk.records("batch")
    is_batch, is_member = chunk.is_of("batch"), chunk.is_of("batch_member")
    batch_of_member = np.cumsum(is_batch)[is_member] - 1
    found.head_members = int(np.count_nonzero(batch_of_member < 0))
    if not len(batches):
        return
    node, nodes = _coded(batches["aggregation_node_id"])
    sizes = np.bincount(batch_of_member[batch_of_member >= 0], minlength=len(batches))
    is_first = _numbers(pc.fill_null(batches["attempt"], 0)) == 0
    found.members = Counter(_named(np.bincount(node, sizes * is_first, len(nodes)), nodes))
    found.last_aggregation = nodes[node[-1]] if is_first[-1] else ""


def _gather_calls(chunk: Chunk, found: PartStatistics) -> None:
    if "call" not in chunk.counts:
        return
    calls = chunk.records("call")
    kind = _coded(calls["call_type"])
    found.calls = _tally(kind, _coded(calls["status"]))
    found.call_time, found.latencies = _durations(kind, calls["latency_ms"])
    failed = calls.filter(_is(calls["status"], "error"))
    _gather_failures("call", failed, "call_type", "error_json", "call_id", found)


def _gather_operations(chunk: Chunk, found: PartStatistics) -> None:
    if "operation" not in chunk.counts:
        return
    operations = chunk.records("operation")
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


def _tally_of(chunk: Chunk, record_type: str, *fields: str) -> Counter[Any]:
    """How often each combination of the values of some fields occurs in the records of a type."""
    if record_type not in chunk.counts:
        return Counter()
    records = chunk.records(record_type)
    return _tally(*(_coded(records[name]) for name in fields))


def _named(numbers: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    """The numbers other than 0 by name; a name may occur twice (null and the empty text)."""
    found: Counter[str] = Counter()
    for name, number in zip(names, numbers.tolist(), strict=True):
        if number:
            found[name] += int(number)
    return found
