"""How a run ended, in a sentence and in key figures.

Belongs here: what a reader sees first. Does not belong here: everything else that is shown (`view.py`).
"""

from __future__ import annotations

from collections import Counter

from . import text
from .histogram import PERCENTILE_ERROR
from .statistics import Statistics

_ENDINGS = {
    "completed": "The run completed",
    "completed_with_failures": "The run completed with failures",
    "empty": "The run completed without any rows",
    "failed": "The run failed",
    "interrupted": "The run was interrupted",
    "running": "The run had not ended when it was exported",
}
_WAYS = {"source_load": ("load", "loads"), "sink_write": ("write", "writes")}
"""Kinds of operation in words; any other is called an operation."""


class Summary:
    """The key figures of a run.

    Args:
        statistics: the figures.
    """

    def __init__(self, statistics: Statistics) -> None:
        s = self._s = statistics
        self.rows = s.counts["row"]
        self.token_count = s.counts["token"]
        self.state_count = s.counts["node_state"]
        self.call_count = s.counts["call"]
        self.failed_states = sum(count for (_, status), count in s.states.items() if status == "failed")
        self.failed_calls = sum(count for (_, status), count in s.calls.items() if status == "error")
        self.failed_operations = sum(count for (_, _, status), count in s.operations.items() if status == "failed")
        # A row that is not valid may have a failed state at its source besides the record of the error.
        overlap = (min(count, s.states[node, "failed"]) for (node,), count in s.not_valid.items())
        self.states_not_valid = sum(overlap)
        self.more_not_valid = s.counts["validation_error"] - self.states_not_valid
        self.failure_count = self.failed_states + self.failed_operations + self.more_not_valid
        self.retries = sum(s.retries.values())
        run = s.run or {}
        self.status: str = run.get("status") or "unknown"
        self.started, self.completed = run.get("started_at"), run.get("completed_at")
        self.duration_ms: float | None = None
        if self.started is not None and self.completed is not None:
            self.duration_ms = (self.completed - self.started).total_seconds() * 1000
        self.run = run
        self.percentile_error = f"{100 * PERCENTILE_ERROR:.1f} %"

    @property
    def is_bad(self) -> bool:
        """Whether the run did not end well."""
        return self.status != "completed" and self.status != "empty"

    @property
    def sentence(self) -> str:
        """How the run ended."""
        other = f"The run ended with the status “\u2068{text.visible(self.status, 40)}\u2069”"
        how = _ENDINGS.get(self.status, other)
        after = f" after {text.duration(self.duration_ms)}" if self.duration_ms is not None else ""
        rows = f"{self.rows:,} {'row' if self.rows == 1 else 'rows'} came in" if self.rows else "no rows came in"
        if not self.failure_count:
            failed = "nothing failed"
        else:
            attempts = f"{self.failed_states:,} of {self.state_count:,} attempts of nodes failed"
            if self.states_not_valid:
                attempts += f" ({self.states_not_valid:,} {_rows(self.states_not_valid)} not valid)"
            parts = [attempts] if self.failed_states else []
            failed_ways: Counter[tuple[str, str]] = Counter()
            for (_, kind, status), count in self._s.operations.items():
                if status == "failed":
                    failed_ways[_WAYS.get(kind, ("other operation", "other operations"))] += count
            for way, count in sorted(failed_ways.items()):
                parts.append(f"{count:,} {way[count != 1]} failed")
            if count := self.more_not_valid:
                parts.append(f"{count:,} {'more ' * bool(self.states_not_valid)}{_rows(count)} not valid")
            failed = ", and ".join([*([", ".join(parts[:-1])] if len(parts) > 1 else []), parts[-1]])
        return f"{how}{after}: {rows}; {failed}."

    @property
    def headline(self) -> list[tuple[str, str, bool]]:
        """The key figures: name, value, and whether it is one of failures."""
        return [
            ("Duration", text.duration(self.duration_ms), False),
            ("Rows", text.whole(self.rows), False),
            ("Failures", text.whole(self.failure_count), bool(self.failure_count)),
            ("Error rate", text.share(self.failed_states, self.state_count), bool(self.failed_states)),
            ("Retries", text.whole(self.retries), False),
            ("External calls", text.whole(self.call_count), False),
        ]


def _rows(count: int) -> str:
    return "row was" if count == 1 else "rows were"
