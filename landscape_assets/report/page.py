"""The page of one run: which figures it shows, in which order, and how much of each.

Belongs here: the selection, the sentences, and the limits that keep the page below MAX_BYTES. The template
(`templates/report.html`) holds the markup. Does not belong here: gathering figures (`statistics.py`) and drawing
(`pictures.py`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from . import text
from .histogram import PERCENTILE_ERROR
from .pictures import Edge, Node, bars, graph, over_time
from .statistics import EXPAND, FORK, JOIN, START, Failure, FailureKey, Statistics

MAX_BYTES = 2_000_000
"""The most bytes that a page has; the limits below keep it smaller, whatever the run holds (a test has the worst)."""

_MOST_NODES_DRAWN, _MOST_EDGES_DRAWN = 60, 120
_MOST_ROWS = 150
"""Rows of a table of nodes, edges or sinks."""

_MOST_FAILURES = 100
_MOST_BARS = 12
_MOST_KINDS_DRAWN = 8
_MOST_KINDS = 20
"""Values shown of a field that has few of them, by the contract."""

_SETTINGS_CHARACTERS = 50_000
_NAME = 60
"""Characters shown of an id or a name."""

_BAD_OUTCOMES = ("failed", "failure", "quarantined", "diverted")
_BAD_PATHS = ("quarantined_at_source", "sink_fallback_to_failsink", "sink_discarded", "on_error_routed", "unrouted")

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of the package, for the list on the page."""

    path: str
    size: int
    records: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the export besides the records.

    Args:
        run_id: the run.
        contract: the contract's name; None when the records alone are known.
        final_hash: what the records chain to; None when unknown.
        key_id: the id of the key of the signatures; None for an unsigned export.
        public_key_id: the id of the key of manifest.json.sig, if there is one.
        files: the files with records.
        exported_at: when, as in the manifest; None when unknown.
        version: of the exporter.
        is_listed: whether the page is a file of the package, listed in the manifest.
    """

    run_id: str
    contract: str | None
    final_hash: str | None
    key_id: str | None
    public_key_id: str | None
    files: Sequence[ListedFile]
    exported_at: str | None
    version: str
    is_listed: bool


@cache
def environment() -> jinja2.Environment:
    """The template engine: everything that is not markup of a template is escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        visible=text.visible, whole=text.whole, duration=text.duration, moment=text.moment, size=text.size
    )
    return made


def asset(name: str) -> tuple[Markup, str]:
    """A stylesheet or script that is put into a page, and its hash for the Content-Security-Policy."""
    content = TEMPLATES.joinpath(name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return Markup(content), f"'sha256-{digest}'"


def render(statistics: Statistics, facts: Facts) -> bytes:
    """The page of a run.

    Args:
        statistics: the figures.
        facts: what is known of the export.

    Returns:
        HTML; the same bytes for the same arguments.
    """
    style, style_hash = asset("report.css")
    view = _View(statistics, facts)
    page = environment().get_template("report.html")
    made: str = page.render(
        v=view, s=statistics, figures=key_figures(statistics), facts=facts, style=style, style_hash=style_hash
    )
    return made.encode()


def key_figures(statistics: Statistics) -> dict[str, float]:
    """The figures that runs are compared by; what is not known is left out."""
    view = _View(statistics, None)
    found: dict[str, float] = {
        "rows": view.rows,
        "failures": view.failure_count,
        "error_rate": view.failed_states / view.state_count if view.state_count else 0.0,
        "calls": view.call_count,
    }
    if view.duration_ms is not None:
        found["duration_seconds"] = view.duration_ms / 1000
    return found


def figures_in(head: bytes) -> dict[str, float]:
    """The key figures that stand at the beginning of a page; those that are not numbers are left out."""
    found: dict[str, float] = {}
    for name, value in re.findall(rb'<meta name="landscape-([a-z_]+)" content="([0-9.e+-]{1,40})">', head):
        with suppress(ValueError):
            number = float(value)
            if math.isfinite(number):
                found[name.decode()] = int(value) if value.isdigit() else number
    return found


def digest(statistics: Statistics) -> str:
    """The report in a few lines of Markdown."""
    view = _View(statistics, None)
    lines = [_markdown(view.sentence), "", "| figure | value |", "|---|---:|"]
    lines += [f"| {_markdown(name)} | {_markdown(value)} |" for name, value, _ in view.headline]
    if view.outcomes:
        lines += ["", "| outcome | tokens |", "|---|---:|"]
        lines += [f"| {_markdown(row['name'])} | {row['count']:,} |" for row in view.outcomes[:20]]
    if view.failures:
        lines += ["", "| where | kind of error | failures |", "|---|---|---:|"]
        lines += [
            f"| {_markdown(text.visible(row['where'], _NAME))} | {_markdown(text.visible(row['kind'], _NAME))} "
            f"| {row['count']:,} |"
            for row in view.failures[:5]
        ]
    return "\n".join(lines)


def _states(count: int) -> str:
    return f"{count:,} {'state' if count == 1 else 'states'}"


def _markdown(given: str) -> str:
    """Text in which nothing is markup."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", given)


class _View:
    """The figures as the template shows them.

    Args:
        statistics: the figures.
        facts: of the export; None where only figures are asked for.
    """

    def __init__(self, statistics: Statistics, facts: Facts | None) -> None:
        s = self._s = statistics
        self.rows = s.counts["row"]
        self.token_count = s.counts["token"]
        self.state_count = s.counts["node_state"]
        self.call_count = s.counts["call"]
        self.failed_states = sum(count for (_, status), count in s.states.items() if status == "failed")
        self.failed_calls = sum(count for (_, status), count in s.calls.items() if status == "error")
        self.failed_operations = sum(count for (_, _, status), count in s.operations.items() if status == "failed")
        self.failure_count = self.failed_states + self.failed_operations + s.counts["validation_error"]
        self.retries = sum(s.retries.values())
        run = s.run or {}
        self.status: str = run.get("status") or "unknown"
        self.started, self.completed = run.get("started_at"), run.get("completed_at")
        self.duration_ms: float | None = None
        if self.started is not None and self.completed is not None:
            self.duration_ms = (self.completed - self.started).total_seconds() * 1000
        self.run = run
        self.percentile_error = f"{100 * PERCENTILE_ERROR:.1f} %"
        self._nodes()
        self._outcomes()
        self._failures()
        self.figures_of_tokens = self._figures_of_tokens()
        if facts is None:
            return
        self._edges()
        self._calls()
        self._operations()
        self._series()
        self.settings = self._settings()
        self.secrets = s.listed["secret_resolution"][:100]
        self.artifacts = s.listed["artifact"][:100]
        self.record_counts = sorted(s.counts.items())
        self.record_count = sum(s.counts.values())

    # The run.

    @property
    def is_bad(self) -> bool:
        """Whether the run did not end well."""
        return self.status != "completed" and self.status != "empty"

    @property
    def sentence(self) -> str:
        """How the run ended."""
        how = {
            "completed": "The run completed",
            "completed_with_failures": "The run completed with failures",
            "empty": "The run completed without any rows",
            "failed": "The run failed",
            "interrupted": "The run was interrupted",
            "running": "The run had not ended when it was exported",
        }.get(self.status, f"The run ended with the status “\u2068{text.visible(self.status, 40)}\u2069”")
        after = f" after {text.duration(self.duration_ms)}" if self.duration_ms is not None else ""
        rows = f"{self.rows:,} {'row' if self.rows == 1 else 'rows'} came in" if self.rows else "no rows came in"
        if not self.failure_count:
            failed = "nothing failed"
        else:
            attempts = f"{self.failed_states:,} of {self.state_count:,} attempts of nodes failed"
            parts = [attempts] if self.failed_states else []
            if self.failed_operations:
                what = "load or write" if self.failed_operations == 1 else "loads or writes"
                parts.append(f"{self.failed_operations:,} {what} failed")
            if count := self._s.counts["validation_error"]:
                parts.append(f"{count:,} {'row was' if count == 1 else 'rows were'} not valid")
            failed = ", and ".join(parts[-2:]) if len(parts) < 3 else f"{parts[0]}, {parts[1]}, and {parts[2]}"
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

    # Nodes, and the ways between them.

    def _nodes(self) -> None:
        s = self._s
        by_node: dict[str, Counter[str]] = {}
        for (where, status), count in s.states.items():
            by_node.setdefault(where, Counter())[status] += count
        listed = {node["node_id"]: node for node in s.listed["node"]}
        found: list[dict[str, Any]] = []
        for node_id in dict.fromkeys([*listed, *by_node]):
            node = listed.get(node_id, {})
            states = by_node.get(node_id, Counter())
            found.append(
                {
                    "id": node_id,
                    "plugin": node.get("plugin_name"),
                    "kind": node.get("node_type") or "unknown",
                    "version": node.get("plugin_version"),
                    "determinism": node.get("determinism"),
                    "states": sum(states.values()),
                    "failed": states["failed"],
                    "open": states["open"] + states["pending"],
                    "retries": s.retries[node_id],
                    "total": s.state_time[node_id] / 1000,
                }
            )
        self._all_nodes = found
        self.node_count = max(len(found), s.counts["node"])
        # Those with failures first, then those that took longest: what is cut off is what matters least.
        ranked = sorted(range(len(found)), key=lambda i: (-found[i]["failed"], -found[i]["total"], i))[:_MOST_ROWS]
        self.nodes = [found[i] for i in sorted(ranked)]
        for node in self.nodes:
            node["median"], node["p95"] = s.durations.percentiles(node["id"], 0.5, 0.95)
        slow = sorted((node for node in self.nodes if node["total"]), key=lambda node: -node["total"])[:_MOST_BARS]
        self.slow_nodes = slow
        self.time_bars = bars(
            [
                (node["id"], node["total"], 0, f"{text.duration(node['total'])} in {_states(node['states'])}")
                for node in slow
            ]
        )

    def _edges(self) -> None:
        s = self._s
        events: dict[str, Counter[str]] = {}
        for (edge_id, mode), count in s.events.items():
            events.setdefault(edge_id, Counter())[mode] += count
        kinds = {node["id"]: node["kind"] for node in self._all_nodes}
        found: list[dict[str, Any]] = [
            {
                "from": edge["from_node_id"],
                "to": edge["to_node_id"],
                "label": edge["label"],
                "count": sum(events.get(edge["edge_id"], Counter()).values()) or None,
                "diverted": edge["default_mode"] == "divert" or events.get(edge["edge_id"], Counter())["divert"] > 0,
                "mode": edge["default_mode"],
            }
            for edge in s.listed["edge"]
        ]
        self._count_steps(found, kinds)
        self.edge_count = max(len(found), s.counts["edge"])
        ranked = sorted(range(len(found)), key=lambda i: (not found[i]["diverted"], -(found[i]["count"] or 0), i))
        self.edges = [found[i] for i in sorted(ranked[:_MOST_ROWS])]
        self._draw(found)

    def _count_steps(self, edges: list[dict[str, Any]], kinds: Mapping[str, str]) -> None:
        """Counts the tokens of the edges that have no routing events: those whose states follow one another so."""
        between: dict[tuple[str, str], list[dict[str, Any]]] = {}
        into: dict[str, list[dict[str, Any]]] = {}
        for edge in edges:
            between.setdefault((edge["from"], edge["to"]), []).append(edge)
            into.setdefault(edge["to"], []).append(edge)
        makers = {
            JOIN: ("coalesce", "aggregation"),
            EXPAND: ("transform", "aggregation"),
            FORK: ("gate",),
            START: ("source",),
        }
        for (before, node), count in sorted(self._s.steps.items()):
            if before in makers or (before, node) not in between:
                # What comes out of an aggregation is a token that has been at no node before.
                from_kinds = makers.get(before, ("aggregation",))
                silent = [
                    edge
                    for edge in into.get(node, ())
                    if not edge["diverted"] and kinds.get(edge["from"]) in from_kinds
                ]
                if len(silent) != 1 or (silent[0]["count"] is not None and "steps" not in silent[0]):
                    continue
            else:
                silent = between[before, node]
            told = sum(edge["count"] or 0 for edge in silent if "steps" not in edge)
            open_edges = [edge for edge in silent if edge["count"] is None or "steps" in edge]
            if count > told and open_edges:
                edge = next((one for one in open_edges if not one["diverted"]), open_edges[0])
                edge["count"] = (edge["count"] or 0) + count - told
                edge["steps"] = True

    def _draw(self, edges: list[dict[str, Any]]) -> None:
        nodes = self._all_nodes
        self.is_drawn_by_kind = len(nodes) > _MOST_NODES_DRAWN or len(edges) > _MOST_EDGES_DRAWN
        if self.is_drawn_by_kind:
            nodes, edges = self._by_kind(edges)
        number = {node["id"]: index for index, node in enumerate(nodes)}
        drawn = [
            Node(
                node["plugin"] or node["id"],
                node["kind"],
                self._figures_of(node),
                bool(node["failed"]),
            )
            for node in nodes
        ]
        lines = [
            Edge(
                number[edge["from"]],
                number[edge["to"]],
                "" if edge["label"] == "continue" else text.visible(edge["label"], 16, tell=False),
                text.whole(edge["count"]) if edge["count"] else "0",
                edge["diverted"],
                bool(edge["count"]),
            )
            for edge in edges
            if edge["from"] in number and edge["to"] in number
        ]
        self.graph = graph(drawn, lines) if drawn else None

    @staticmethod
    def _figures_of(node: Mapping[str, Any]) -> str:
        states = _states(node["states"])
        return f"{states} · ▲ {node['failed']:,} failed" if node["failed"] else states

    def _by_kind(self, edges: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """One node for each kind of node, and one edge for each pair of them: what is drawn of a large pipeline."""
        kinds: dict[str, dict[str, Any]] = {}
        kind_of = {}
        for node in self._all_nodes:
            # By the contract there are seven kinds; records that were changed may have more.
            kind = node["kind"] if node["kind"] in kinds or len(kinds) < _MOST_KINDS_DRAWN else "others"
            kind_of[node["id"]] = kind
            one = kinds.setdefault(kind, {"id": kind, "kind": "", "states": 0, "failed": 0, "count": 0})
            for name in ("states", "failed"):
                one[name] += node[name]
            one["count"] += 1
        for one in kinds.values():
            one["plugin"] = f"{one['count']:,} \N{MULTIPLICATION SIGN} {one['id']}"
        pairs: dict[tuple[str, str, bool], dict[str, Any]] = {}
        for edge in edges:
            ends = kind_of.get(edge["from"], "unknown"), kind_of.get(edge["to"], "unknown")
            if ends[0] == ends[1]:
                continue
            key = (*ends, edge["diverted"])
            one = pairs.setdefault(
                key, {"from": ends[0], "to": ends[1], "label": "continue", "count": 0, "diverted": edge["diverted"]}
            )
            one["count"] += edge["count"] or 0
        return list(kinds.values()), list(pairs.values())

    # What became of rows and tokens.

    def _outcomes(self) -> None:
        s = self._s
        merged: Counter[tuple[str, bool, bool]] = Counter()
        for (outcome, path, is_final), count in s.outcomes.items():
            name = f"{outcome or 'not final'} ({path})" if path else outcome or "not final"
            merged[name, is_final, outcome in _BAD_OUTCOMES or path in _BAD_PATHS] += count
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
                for row in self.outcomes[:_MOST_BARS]
            ]
        )
        sinks = sorted(s.sinks.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
        self.sink_count = len({sink for (sink, _), _ in sinks})
        self.sinks = [
            {"sink": sink, "outcome": outcome, "count": count} for (sink, outcome), count in sinks[:_MOST_ROWS]
        ]
        self.more_sinks = len(sinks) - len(self.sinks)

    def _figures_of_tokens(self) -> list[tuple[str, str, str]]:
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
        return found

    # Failures.

    def _failures(self) -> None:
        ranked: list[tuple[FailureKey, Failure]] = sorted(
            self._s.failures.items(), key=lambda item: (-item[1].count, item[0])
        )
        names = {
            "node_state": "node",
            "operation": "load or write",
            "call": "call",
            "validation_error": "validation",
            "transform_error": "transform",
        }
        self.failures: list[dict[str, Any]] = [
            {
                "of": names[record_type],
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

    def _calls(self) -> None:
        s = self._s
        kinds: dict[str, Counter[str]] = {}
        for (kind, status), count in sorted(s.calls.items()):
            kinds.setdefault(kind, Counter())[status] += count
        self.calls: list[dict[str, Any]] = []
        for kind, statuses in list(kinds.items())[:_MOST_KINDS]:
            count = sum(statuses.values())
            median, p95, p99 = s.latencies.percentiles(kind, 0.5, 0.95, 0.99)
            self.calls.append(
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
        self.call_bars = bars(
            [
                (
                    row["kind"],
                    row["count"],
                    row["errors"],
                    f"{row['count']:,}" + (f" · ▲ {row['errors']:,} errors" if row["errors"] else ""),
                )
                for row in self.calls[:_MOST_BARS]
            ]
        )

    def _operations(self) -> None:
        merged: dict[tuple[str, str], Counter[str]] = {}
        for (node, kind, status), count in self._s.operations.items():
            merged.setdefault((node, kind), Counter())[status] += count
        rows = sorted(merged.items(), key=lambda item: (-item[1]["failed"], item[0]))
        self.operations = [
            {
                "node": node,
                "kind": kind.replace("_", " "),
                "count": sum(statuses.values()),
                "failed": statuses["failed"],
                "total": self._s.operation_time[node, kind] / 1000,
            }
            for (node, kind), statuses in rows[:_MOST_ROWS]
        ]
        self.more_operations = len(rows) - len(self.operations)

    def _series(self) -> None:
        zone = self.started.tzinfo if self.started is not None else None
        self.series = [(at.replace(tzinfo=zone), count, bad) for at, count, bad in self._s.times.series()]
        self.series_width = text.duration(self._s.times.width / 1000)
        self.time_chart = over_time(self.series)
        # The table has the same figures in at most 24 rows.
        step = -(-len(self.series) // 24) or 1
        self.series_step = text.duration(self._s.times.width / 1000 * step)
        self.series_rows = [
            (some[0][0], sum(each[1] for each in some), sum(each[2] for each in some))
            for some in (self.series[start : start + step] for start in range(0, len(self.series), step))
        ]

    def _settings(self) -> str | None:
        given = self.run.get("settings")
        if given is None:
            return None
        with suppress(ValueError, RecursionError):
            given = json.dumps(json.loads(given), indent=2, ensure_ascii=False)
        return text.visible_lines(given, _SETTINGS_CHARACTERS)
