"""What is shown of the pipeline: its nodes, its edges, and the picture of both.

Belongs here: which nodes and edges are listed, how many tokens took an edge, and what is drawn of a large pipeline.
Does not belong here: geometry (`pictures.py`, `layout.py`), and what became of the run (`view.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from . import text
from .pictures import Edge, Node, bars, graph
from .statistics import EXPAND, FORK, JOIN, START, Statistics

_MOST_NODES_DRAWN, _MOST_EDGES_DRAWN = 60, 120
_MOST_KINDS_DRAWN = 8
MOST_ROWS = 150
"""Rows of a table of nodes, edges or sinks."""

MOST_BARS = 12
_MOST_VERSIONS = 6

_NODE_ID = re.compile(
    r"(?:config_)?(?:source|transform|gate|aggregation|coalesce|queue|sink)_(.+)_[0-9a-f]{12}(?:_\d+)?", re.S
)
"""An id as ELSPETH makes it: the kind of the node, name in the settings, hash, and in older versions a place."""


def node_name(node_id: str) -> str:
    """The name of a node in the settings, where its id has it, and else the id."""
    found = _NODE_ID.fullmatch(node_id)
    return found[1] if found else node_id


def _states(count: int) -> str:
    return f"{text.short(count)} {'state' if count == 1 else 'states'}"


class PipelineView:
    """The pipeline as the template shows it.

    Args:
        statistics: the figures.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._s = statistics
        self._nodes()
        self._edges()

    @property
    def sentence(self) -> str:
        """Of what it is made."""
        kinds = Counter(node["kind"] for node in self._all_nodes)
        order = ("source", "queue", "transform", "gate", "aggregation", "coalesce", "sink")
        known = sorted(kinds, key=lambda kind: (order.index(kind) if kind in order else len(order), kind))
        shown = [
            f"{kinds[kind]:,} {_plural(text.visible(kind, 24), kinds[kind])}" for kind in known[:_MOST_KINDS_DRAWN]
        ]
        return ", ".join(shown) or "no nodes are recorded"

    @property
    def versions(self) -> str:
        """Of its plugins; those that occur most first."""
        found = Counter(node["version"] for node in self._all_nodes if node["version"])
        ranked = sorted(found, key=lambda version: (-found[version], version))
        shown = [text.visible(version, 24) for version in ranked[:_MOST_VERSIONS]]
        more = len(ranked) - len(shown)
        return ", ".join(shown) + (f" and {more:,} more" if more else "")

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
        ranked = sorted(range(len(found)), key=lambda i: (-found[i]["failed"], -found[i]["total"], i))[:MOST_ROWS]
        self.nodes = [found[i] for i in sorted(ranked)]
        for node in self.nodes:
            node["median"], node["p95"] = s.durations.percentiles(node["id"], 0.5, 0.95)
        slow = sorted((node for node in self.nodes if node["total"]), key=lambda node: -node["total"])[:MOST_BARS]
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
                "diversions": events.get(edge["edge_id"], Counter())["divert"],
                "mode": edge["default_mode"],
            }
            for edge in s.listed["edge"]
        ]
        self._count_steps(found, kinds)
        self._count_members(found)
        self._count_queued(found, kinds)
        self.edge_count = max(len(found), s.counts["edge"])
        ranked = sorted(range(len(found)), key=lambda i: (not found[i]["diverted"], -(found[i]["count"] or 0), i))
        self.edges = [found[i] for i in sorted(ranked[:MOST_ROWS])]
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

    def _count_members(self, edges: list[dict[str, Any]]) -> None:
        """Counts the tokens of the edges into aggregations: not each of them has a state there, but all are members of
        its batches."""
        for node, count in self._s.members.items():
            into = [edge for edge in edges if edge["to"] == node and not edge["diverted"]]
            silent = [edge for edge in into if edge["count"] is None or "steps" in edge]
            told = sum(edge["count"] for edge in into if edge["count"] is not None and "steps" not in edge)
            if len(silent) == 1 and count > told:
                silent[0]["count"] = max(silent[0]["count"] or 0, count - told)
                silent[0]["steps"] = True

    def _count_queued(self, edges: list[dict[str, Any]], kinds: Mapping[str, str]) -> None:
        """Counts the tokens of the edges of queues in which no token has a state: it goes on to the node behind it."""
        s = self._s
        queues = [node["id"] for node in self._all_nodes if node["kind"] == "queue" and not node["states"]]
        for queue in queues:
            into = [edge for edge in edges if edge["to"] == queue and not edge["diverted"]]
            out = [edge for edge in edges if edge["from"] == queue and not edge["diverted"]]
            for edge in into:
                if edge["count"] is None:
                    before = edge["from"]
                    is_only = sum(one["from"] == before and not one["diverted"] for one in edges) == 1
                    if kinds.get(before) == "source" and is_only:
                        edge["count"] = s.states[before, "completed"]
                    else:
                        edge["count"] = sum(s.steps[before, one["to"]] for one in out)
            if len(out) == 1 and (out[0]["count"] is None or "steps" in out[0]):
                out[0]["count"] = max(out[0]["count"] or 0, sum(edge["count"] for edge in into))

    def _draw(self, edges: list[dict[str, Any]]) -> None:
        nodes = self._all_nodes
        self.is_drawn_by_kind = len(nodes) > _MOST_NODES_DRAWN or len(edges) > _MOST_EDGES_DRAWN
        if self.is_drawn_by_kind:
            nodes, edges = self._by_kind(edges)
        number = {node["id"]: index for index, node in enumerate(nodes)}
        drawn = [Node(*self._title_of(node), self._figures_of(node), bool(node["failed"])) for node in nodes]
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
    def _title_of(node: Mapping[str, Any]) -> tuple[str, str]:
        """The name of a node, and its kind with its plugin."""
        name = node_name(node["id"])
        plugin = node["plugin"] or ""
        # The plugin of a gate is its name once more.
        is_told = not plugin or plugin == name or plugin.partition(":")[2] == name
        return name, node["kind"] if is_told else f"{node['kind']} · {plugin}"

    @staticmethod
    def _figures_of(node: Mapping[str, Any]) -> str:
        states = _states(node["states"])
        return f"▲ {text.short(node['failed'])} of {states} failed" if node["failed"] else states

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
            one["id"], one["plugin"] = f"{one['count']:,} \N{MULTIPLICATION SIGN} {one['id']}", None
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


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
