"""The pictures of the page: what is drawn where.

Belongs here: geometry of charts and of the pipeline's graph, as plain data that the templates draw as SVG. Does not
belong here: which figures are shown (`page.py`), and the layout of graphs in general (`layout.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from .layout import lay_out
from .text import visible

NODE_WIDTH, NODE_HEIGHT = 204.0, 62.0
_GAP, _RISE, _MARGIN = 26.0, 72.0, 16.0
_TITLE_CHARACTERS, _LABEL_CHARACTERS = 22, 26
_LETTER = 6.2
"""Width of a letter of an edge's label, about."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node to draw: its lines of text, and whether something failed there."""

    title: str
    kind: str
    figures: str
    has_failures: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge to draw: from and to by number, its label, and whether it is the way of what failed or was diverted."""

    start: int
    end: int
    label: str
    figures: str
    is_diversion: bool
    is_used: bool


def graph(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[str, object]:
    """The graph as the template draws it."""
    layout = lay_out(
        len(nodes),
        [(edge.start, edge.end) for edge in edges],
        width=NODE_WIDTH,
        height=NODE_HEIGHT,
        gap=_GAP,
        rise=_RISE,
    )
    left = _MARGIN
    boxes = [
        {
            "x": round(x - NODE_WIDTH / 2 + left, 1),
            "y": round(y - NODE_HEIGHT / 2 + _MARGIN, 1),
            "title": visible(node.title, _TITLE_CHARACTERS, tell=False),
            "kind": visible(node.kind, _LABEL_CHARACTERS, tell=False),
            "figures": node.figures,
            "failed": node.has_failures,
        }
        for node, (x, y) in zip(nodes, layout.nodes, strict=True)
    ]
    lines = []
    taken: list[tuple[float, float, float]] = []
    ports = _ports(edges, layout.edges)
    width = layout.width + 2 * _MARGIN
    for number, (edge, points) in enumerate(zip(edges, layout.edges, strict=True)):
        if len(points) < 2:
            continue
        moved = list(points)
        moved[0] = (moved[0][0] + ports[number][0], moved[0][1])
        moved[-1] = (moved[-1][0] + ports[number][1], moved[-1][1] - (4 if moved[-1][1] > moved[0][1] else -4))
        at = [(round(x + left, 1), round(y + _MARGIN, 1)) for x, y in moved]
        text = f"{'▲ ' if edge.is_diversion else ''}{edge.label}{' · ' if edge.label else ''}{edge.figures}"
        half = len(text) * _LETTER / 2
        x, y = _label_place(at, half, taken)
        x = min(max(x, half + 2), max(width - half - 2, half + 2))
        lines.append(
            {
                "path": _curve(at),
                "label": edge.label,
                "figures": edge.figures,
                "x": round(x, 1),
                "y": round(y, 1),
                "half": round(half + 3, 1),
                "diversion": edge.is_diversion,
                "used": edge.is_used,
            }
        )
    return {
        "width": round(width, 1),
        "height": round(layout.height + 2 * _MARGIN, 1),
        "node_width": NODE_WIDTH,
        "node_height": NODE_HEIGHT,
        "boxes": boxes,
        "lines": lines,
    }


def _ports(edges: Sequence[Edge], paths: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """By how much the ends of each edge are moved along the side of their nodes, so that no two are at one point."""
    found = [[0.0, 0.0] for _ in edges]
    for side, node_of, neighbour in (
        (0, [edge.start for edge in edges], 1),
        (1, [edge.end for edge in edges], -2),
    ):
        by_node: dict[int, list[int]] = {}
        for number, path in enumerate(paths):
            if len(path) > 1:
                by_node.setdefault(node_of[number], []).append(number)
        for numbers in by_node.values():
            numbers.sort(key=lambda number: (paths[number][neighbour][0], number))
            step = min(34.0, (NODE_WIDTH - 40) / max(1, len(numbers) - 1))
            for place, number in enumerate(numbers):
                found[number][side] = (place - (len(numbers) - 1) / 2) * step
    return [(one, other) for one, other in found]


def _label_place(
    points: Sequence[tuple[float, float]], half: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float]:
    """Where the label of an edge goes: on its first or last bend, where no other label is."""
    first = _along(points[0], points[1])
    last = _along(points[-2], points[-1])
    candidates = [*(first(t) for t in (0.5, 0.35, 0.65, 0.22, 0.78)), *(last(t) for t in (0.5, 0.35, 0.65, 0.78))]

    def overlap(place: tuple[float, float]) -> float:
        x, y = place
        return sum(max(0.0, half + other + 6 - abs(x - at)) for at, height, other in taken if abs(y - height) < 16)

    best = min(candidates, key=overlap)
    taken.append((best[0], best[1], half))
    return best


def _along(start: tuple[float, float], end: tuple[float, float]) -> Callable[[float], tuple[float, float]]:
    def at(t: float) -> tuple[float, float]:
        # The curve of `_curve`: its control points lie half way, below the start and above the end.
        (x0, y0), (x1, y1) = start, end
        middle = (y0 + y1) / 2
        u = 1 - t
        return (
            u**3 * x0 + 3 * u * u * t * x0 + 3 * u * t * t * x1 + t**3 * x1,
            u**3 * y0 + 3 * u * u * t * middle + 3 * u * t * t * middle + t**3 * y1 + 3.5,
        )

    return at


def _curve(points: Sequence[tuple[float, float]]) -> str:
    path = [f"M{points[0][0]} {points[0][1]}"]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = round((y0 + y1) / 2, 1)
        path.append(f"L{x1} {y1}" if x0 == x1 else f"C{x0} {middle} {x1} {middle} {x1} {y1}")
    return "".join(path)


_BAR_WIDTH, _BAR_HEIGHT, _BAR_STEP = 230.0, 16.0, 44.0


def bars(rows: Sequence[tuple[str, float, float, str]]) -> dict[str, object]:
    """Horizontal bars.

    Args:
        rows: label, value, how much of it is of failures, and the figure beside it.
    """
    largest = max((value for _, value, _, _ in rows), default=0) or 1
    drawn = []
    for number, (label, value, bad, figure) in enumerate(rows):
        length = value / largest * _BAR_WIDTH
        # What there is is seen, however little it is.
        failed = max(2.0, bad / largest * _BAR_WIDTH) if bad else 0.0
        good = max(length - failed, 2.0 if value > bad else 0.0)
        drawn.append(
            {
                "label": visible(label, 40, tell=False),
                "figure": figure,
                "y": number * _BAR_STEP,
                "good": round(good, 1),
                "bad": round(failed, 1),
            }
        )
    return {"rows": drawn, "height": max(1, len(rows)) * _BAR_STEP - 6, "bar": _BAR_HEIGHT, "width": 420}


_TIME_WIDTH, _TIME_HEIGHT, _AXIS = 860.0, 150.0, 46.0


def over_time(series: Sequence[tuple[datetime, int, int]]) -> dict[str, object]:
    """Columns over time, failures at their foot."""
    largest = max((count for _, count, _ in series), default=0) or 1
    step = _TIME_WIDTH / max(1, len(series))
    width = round(max(0.8, step - (1 if step > 4 else 0.2)), 2)
    base = 8 + _TIME_HEIGHT
    good_columns, bad_columns = [], []
    for number, (_, count, failed) in enumerate(series):
        if not count:
            continue
        height = max(1.5, count / largest * _TIME_HEIGHT)
        bad = max(1.5, failed / largest * _TIME_HEIGHT) if failed else 0.0
        good = max(0.0, height - bad)
        x = round(_AXIS + number * step, 2)
        if good:
            good_columns.append(f"M{x} {round(base - bad - good, 2)}h{width}v{round(good, 2)}h-{width}z")
        if bad:
            bad_columns.append(f"M{x} {round(base - bad, 2)}h{width}v{round(bad, 2)}h-{width}z")
    return {
        "good": "".join(good_columns),
        "bad": "".join(bad_columns),
        "largest": largest,
        "left": _AXIS,
        "right": _AXIS + _TIME_WIDTH,
        "base": base,
        "width": _AXIS + _TIME_WIDTH + 14,
        "height": 8 + _TIME_HEIGHT + 26,
    }
