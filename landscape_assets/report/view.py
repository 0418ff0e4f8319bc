"""What is shown of a run: which figures, in which order, and how much of each.

Belongs here: the selection, the sentences, and the limits that keep a page below its size. Does not belong here: the
pipeline (`pipeline_view.py`), the figures themselves (`statistics.py`), and markup (`templates/report.html`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any

from . import text
from .pictures import bars, over_time
from .pipeline_view import MOST_BARS, MOST_ROWS, PipelineView, node_name
from .statistics import EXPAND, FORK, JOIN, Statistics
from .summary import Summary

_MOST_FAILURES = 100
_MOST_LISTED = 100
_MOST_KINDS = 20
"""Values shown of a field that has few of them, by the contract."""

_SETTINGS_CHARACTERS = 50_000

_BAD_OUTCOMES = ("failed", "failure", "quarantined", "diverted")
_BAD_PATHS = ("quarantined_at_source", "sink_fallback_to_failsink", "sink_discarded", "on_error_routed", "unrouted")
_BAD_ATTEMPTS = ("response_lost", "error")

_PLACES = {
    "node_state": "node",
    "operation": "operation",
    "call": "call",
    "validation_error": "validation",
    "transform_error": "transform",
}


class View(Summary):
    """The figures as the template shows them.

    Args:
        statistics: the figures.
    """

    def __init__(self, statistics: Statistics) -> None:
        super().__init__(statistics)
        self._outcomes()
        self._failures()

    # What became of rows and tokens.

    def _outcomes(self) -> None:
        s = self._s
        merged: Counter[tuple[str, bool, bool]] = Counter()
        for (outcome, path, is_final), count in s.outcomes.items():
            merged[_outcome(outcome, path), is_final, _is_bad(outcome, path)] += count
        self.outcomes: list[dict[str, Any]] = [
            {"name": name, "count": count, "final": is_final, "bad": bad}
            for (name, is_final, bad), count in sorted(merged.items(), key=lambda item: (-item[1], item[0]))
        ]
        self.outcome_total = sum(row["count"] for row in self.outcomes)
        self.outcome_bars = bars(
            [
                (
                    f"{'▲ ' if row['bad'] else ''}{row['name'].replace('_', ' ')}",
                    row["count"],
                    row["count"] if row["bad"] else 0,
                    f"{row['count']:,}",
                )
                for row in self.outcomes[:MOST_BARS]
            ]
        )
        self.sinks_by_state = not s.outcomes
        if self.sinks_by_state:
            # The first contract has no outcomes. What came to a sink has a state there.
            places = {node["node_id"] for node in s.listed["node"] if node["node_type"] == "sink"}
            by_state = Counter({key: count for key, count in s.states.items() if key[0] in places})
            sinks = [(node_name(node), status, status == "failed", count) for (node, status), count in by_state.items()]
        else:
            sinks = [(sink, _outcome(*of), _is_bad(*of), count) for (sink, *of), count in s.sinks.items()]
        sinks.sort(key=lambda row: (row[0], -row[3], row[1]))
        self.sinks = [
            {"sink": sink, "outcome": outcome, "bad": bad, "count": count} for sink, outcome, bad, count in sinks
        ][:MOST_ROWS]
        self.more_sinks = len(sinks) - len(self.sinks)

    @cached_property
    def figures_of_tokens(self) -> list[tuple[str, str, str]]:
        """Name, figure, and what it counts."""
        s = self._s
        found = [
            ("Rows", text.whole(self.rows), "delivered by the sources"),
            ("Tokens", text.whole(self.token_count), "instances of rows on their way through the pipeline"),
            ("Made by a fork", text.whole(s.tokens[FORK]), "tokens, one for each branch"),
            ("Made by a join", text.whole(s.tokens[JOIN]), "tokens, each of several"),
            ("Made by an expansion", text.whole(s.tokens[EXPAND]), "tokens, several of one"),
            ("Retries", text.whole(self.retries), "states that are a second or later attempt"),
        ]
        if s.counts["batch"]:
            found.append(("Batches", text.whole(s.counts["batch"]), f"of {s.counts['batch_member']:,} tokens in all"))
            batches = sorted(s.batches.items(), key=lambda item: (-item[1], item[0]))
            found += [
                (
                    f"Batches {text.visible(status, 30)}",
                    text.whole(count),
                    f"closed by {text.visible(trigger.replace('_', ' '), 40)}" if trigger else "not closed",
                )
                for (status, trigger), count in batches[:_MOST_KINDS]
            ]
        events = sorted(s.scheduling.items(), key=lambda item: (-item[1], item[0]))
        if events:
            found.append(
                (
                    "Scheduler events",
                    text.whole(s.counts["scheduler_event"]),
                    "steps of work queued, taken and given back",
                )
            )
        found += [
            (f"Scheduler: {text.visible(kind.replace('_', ' '), 40)}", text.whole(count), "events")
            for (kind,), count in events[:_MOST_KINDS]
        ]
        return found

    @cached_property
    def effects(self) -> list[dict[str, Any]]:
        """What sinks did to their targets, by sink, role and state."""
        rows = sorted(self._s.effects.items(), key=lambda item: (item[0][0], item[0][1:]))
        return [
            {"sink": sink, "role": role, "state": state, "count": count, "bad": state != "finalized"}
            for (sink, role, state), count in rows[:MOST_ROWS]
        ]

    @cached_property
    def attempts(self) -> list[dict[str, Any]]:
        """Attempts of these effects, by what was attempted and how it ended."""
        rows = sorted(self._s.attempts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
        return [
            {"action": action, "state": state, "count": count, "bad": state in _BAD_ATTEMPTS}
            for (action, state), count in rows[:MOST_ROWS]
        ]

    @property
    def diverted_members(self) -> int:
        """Tokens that a sink did not take."""
        return sum(count for (_, what), count in self._s.effect_members.items() if what == "diverted")

    # Failures.

    def _failures(self) -> None:
        ranked = sorted(self._s.failures.items(), key=lambda item: (-item[1].count, item[0]))
        self.failures: list[dict[str, Any]] = [
            {
                "of": _PLACES[record_type],
                "where": where,
                "kind": kind or "not told",
                "count": failure.count,
                "message": failure.message,
                "examples": failure.examples,
            }
            for (record_type, where, kind), failure in ranked[:_MOST_FAILURES]
        ]
        self.more_failures = sum(failure.count for _, failure in ranked[_MOST_FAILURES:]) + self._s.other_failures

    # Calls, operations, time.

    @cached_property
    def calls(self) -> list[dict[str, Any]]:
        """External calls by kind."""
        s = self._s
        kinds: dict[str, Counter[str]] = {}
        for (kind, status), count in sorted(s.calls.items()):
            kinds.setdefault(kind, Counter())[status] += count
        found = []
        for kind, statuses in list(kinds.items())[:_MOST_KINDS]:
            count = sum(statuses.values())
            median, p95, p99 = s.latencies.percentiles(kind, 0.5, 0.95, 0.99)
            found.append(
                {
                    "kind": kind,
                    "count": count,
                    "errors": statuses["error"],
                    "rate": text.share(statuses["error"], count),
                    "median": median,
                    "p95": p95,
                    "p99": p99,
                    "total": s.call_time[kind] / 1000,
                }
            )
        return found

    @cached_property
    def call_bars(self) -> dict[str, object]:
        """The picture of them."""
        return bars(
            [
                (
                    row["kind"],
                    row["count"],
                    row["errors"],
                    f"{row['count']:,}" + (f" · ▲ {row['errors']:,} errors" if row["errors"] else ""),
                )
                for row in self.calls[:MOST_BARS]
            ]
        )

    @cached_property
    def operations(self) -> list[dict[str, Any]]:
        """Loads, writes and others, by node."""
        merged: dict[tuple[str, str], Counter[str]] = {}
        for (node, kind, status), count in self._s.operations.items():
            merged.setdefault((node, kind), Counter())[status] += count
        rows = sorted(merged.items(), key=lambda item: (-item[1]["failed"], item[0]))
        return [
            {
                "node": node,
                "kind": kind.replace("_", " "),
                "count": sum(statuses.values()),
                "failed": statuses["failed"],
                "total": self._s.operation_time[node, kind] / 1000,
            }
            for (node, kind), statuses in rows[:MOST_ROWS]
        ]

    @property
    def more_operations(self) -> int:
        """Rows of them that are not listed."""
        return len({(node, kind) for node, kind, _ in self._s.operations}) - len(self.operations)

    @cached_property
    def series(self) -> list[tuple[datetime, int, int]]:
        """States over time: from when on, how many were started, and how many of these failed."""
        zone = self.started.tzinfo if self.started is not None else None
        return [(at.replace(tzinfo=zone), count, bad) for at, count, bad in self._s.times.series()]

    @property
    def time_chart(self) -> dict[str, object]:
        """The picture of them."""
        return over_time(self.series)

    @property
    def series_width(self) -> str:
        """How long each of them is."""
        return text.duration(self._s.times.width / 1000)

    @property
    def _step(self) -> int:
        # The table has the same figures in at most 24 rows.
        return -(-len(self.series) // 24) or 1

    @property
    def series_step(self) -> str:
        """How long each row of the table is."""
        return text.duration(self._s.times.width / 1000 * self._step)

    @property
    def series_rows(self) -> list[tuple[datetime, int, int]]:
        """The rows of the table."""
        step = self._step
        return [
            (some[0][0], sum(each[1] for each in some), sum(each[2] for each in some))
            for some in (self.series[start : start + step] for start in range(0, len(self.series), step))
        ]

    # What else the records hold.

    @cached_property
    def pipeline(self) -> PipelineView:
        """The pipeline."""
        return PipelineView(self._s)

    @property
    def started_by(self) -> str | None:
        """Who began the run, where that is recorded."""
        user, provider = self.run.get("initiated_by_user_id"), self.run.get("auth_provider_type")
        if user is None:
            return None
        return text.visible(user, 80) + (f" ({text.visible(provider, 30)})" if provider is not None else "")

    @property
    def policy(self) -> Mapping[str, Any] | None:
        """The policy that decided which plugins the run might use, where it was begun in the web interface."""
        return next(iter(self._s.listed["web_plugin_policy"]), None)

    @property
    def secrets(self) -> list[dict[str, Any]]:
        """Secrets that were resolved: names and sources."""
        return self._s.listed["secret_resolution"][:_MOST_LISTED]

    @property
    def artifacts(self) -> list[dict[str, Any]]:
        """What sinks wrote."""
        return self._s.listed["artifact"][:_MOST_LISTED]

    @property
    def record_counts(self) -> list[tuple[str, int]]:
        """Records by type."""
        return sorted(self._s.counts.items())

    @property
    def record_count(self) -> int:
        """Records of all types."""
        return sum(self._s.counts.values())

    @cached_property
    def settings(self) -> str | None:
        """The settings of the run, as lines."""
        given = self.run.get("settings")
        if given is None:
            return None
        with suppress(ValueError, RecursionError):
            given = json.dumps(json.loads(given), indent=2, ensure_ascii=False)
        return text.visible_lines(given, _SETTINGS_CHARACTERS)


def _outcome(outcome: str, path: str) -> str:
    """An outcome in words, with the way to it where the contract has one."""
    return f"{outcome or 'not final'} ({path})" if path else outcome or "not final"


def _is_bad(outcome: str, path: str) -> bool:
    return outcome in _BAD_OUTCOMES or path in _BAD_PATHS
