"""The figures of a run.

Belongs here: which figures there are, and adding those of some records to those of the records before them. Memory
grows with nodes, edges and kinds of failure, never with rows, states or calls. Does not belong here: how the figures of
some records are gathered (`gather.py`), and how they are shown (`page.py`).

The result is the same in whatever chunks the records come: counts and sums are of whole numbers (durations in
microseconds), percentiles come of exact histograms (`histogram.py`), and examples are the first in record order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .histogram import Distributions, Times

MOST_LISTED = {"node": 20_000, "edge": 50_000, "secret_resolution": 200, "artifact": 200, "web_plugin_policy": 1}
"""Records of a type that are kept to be listed; of the others only the number is known."""

MOST_FAILURES = 2_000
"""Kinds of failure that are told apart; those that come later are counted together."""

EXAMPLES = 3
"""Examples kept of a kind of failure."""


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
    sinks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(sink, outcome, path) → tokens."""
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    call_time: Counter[str] = field(default_factory=Counter)
    latencies: Distributions = field(default_factory=Distributions)
    operations: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    operation_time: Counter[tuple[str, str]] = field(default_factory=Counter)
    batches: Counter[tuple[str, str]] = field(default_factory=Counter)
    not_valid: Counter[tuple[str]] = field(default_factory=Counter)
    """(node,) → validation errors."""
    members: Counter[str] = field(default_factory=Counter)
    """Aggregation → tokens that came to it."""
    head_members: int = 0
    """Members of a batch that an earlier part has."""
    last_aggregation: str | None = None
    """Where the last batch was made; empty where its members are not to be counted, None when there is none."""
    scheduling: Counter[tuple[str]] = field(default_factory=Counter)
    """(kind of event of the scheduler,) → events."""
    effects: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(sink, role, state) → effects."""
    effect_members: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(sink, what the sink prepared to do with it) → tokens of effects."""
    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(action, state) → attempts of effects."""
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
    "not_valid",
    "members",
    "scheduling",
    "effects",
    "effect_members",
    "attempts",
    "tokens",
)


class Statistics(PartStatistics):
    """The figures of a run."""

    other_failures = 0
    """Failures of kinds beyond MOST_FAILURES."""

    def add(self, part: PartStatistics) -> None:
        """Adds the figures of the next records of the run."""
        self._tie(part)
        if part.head_members and self.last_aggregation:
            self.members[self.last_aggregation] += part.head_members
        if part.last_aggregation is not None:
            self.last_aggregation = part.last_aggregation
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
