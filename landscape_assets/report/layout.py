"""The layout of a directed graph in layers, from top to bottom (the method of Sugiyama).

Belongs here: coordinates. Does not belong here: what nodes are, and how they are drawn (`pictures.py`).

Layers are longest paths from the sources; an edge over several layers is bent at a point in each; the order within a
layer is found by barycentres, and the coordinates by least squares. Everything is done in the order of the input: the
same graph is always laid out the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

_SWEEPS = 24
_MOST_IN_LAYER = 5
"""Nodes in one layer; the others go to layers of their own below it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are.

    Args:
        width, height: of the picture.
        nodes: the centre of each node.
        edges: for each edge the points that it goes through, from the lower side of a node to the upper side of another
            (or the other way round, where the graph has a cycle).
    """

    width: float
    height: float
    nodes: list[tuple[float, float]]
    edges: list[list[tuple[float, float]]]


def lay_out(
    count: int,
    edges: Sequence[tuple[int, int]],
    *,
    width: float,
    height: float,
    gap: float,
    rise: float,
) -> Layout:
    """Lays out a graph.

    Args:
        count: how many nodes there are.
        edges: from a node to another; an edge of a node to itself is not drawn (it has no points).
        width, height: of a node.
        gap: between two nodes of a layer.
        rise: between two layers.
    """
    forward = _without_cycles(count, edges)
    layer = _split(_layers(count, forward))
    layers: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for node, number in enumerate(layer):
        layers[number].append(node)
    # Nodes from `count` on are the points at which long edges bend.
    chains: list[list[int]] = []
    for start, end in forward:
        chain = [start]
        for number in range(layer[start] + 1, layer[end]):
            layers[number].append(len(layer))
            chain.append(len(layer))
            layer.append(number)
        chains.append([*chain, end] if start != end else [])
    above: list[list[int]] = [[] for _ in layer]
    below: list[list[int]] = [[] for _ in layer]
    for chain in chains:
        for one, other in itertools.pairwise(chain):
            below[one].append(other)
            above[other].append(one)
    _order(layers, above, below)
    sizes = [width if node < count else 26.0 for node in range(len(layer))]
    x = _place(layers, above, below, sizes, gap)
    left = min((x[node] - sizes[node] / 2 for node in range(len(layer))), default=0.0)
    right = max((x[node] + sizes[node] / 2 for node in range(len(layer))), default=0.0)
    y = [number * (height + rise) + height / 2 for number in layer]

    drawn = []
    for chain, (start, end) in zip(chains, edges, strict=True):
        points = []
        for place, node in enumerate(chain):
            centre = x[node] - left
            if node >= count:
                points += [(centre, y[node] - height / 2), (centre, y[node] + height / 2)]
            else:
                points.append((centre, y[node] + (height / 2 if place == 0 else -height / 2)))
        drawn.append(points if not chain or chain[0] == start else points[::-1])
        del end
    return Layout(
        right - left,
        len(layers) * (height + rise) - rise if layers else 0.0,
        [(x[node] - left, y[node]) for node in range(count)],
        drawn,
    )


def _without_cycles(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The edges, with those turned round that close a cycle."""
    out: list[list[int]] = [[] for _ in range(count)]
    for number, (start, _) in enumerate(edges):
        out[start].append(number)
    state, found = [0] * count, list(edges)
    for root in range(count):
        if state[root]:
            continue
        state[root] = 1
        stack = [(root, iter(out[root]))]
        while stack:
            node, left = stack[-1]
            following = next(left, None)
            if following is None:
                state[node] = 2
                stack.pop()
                continue
            target = edges[following][1]
            if state[target] == 1:
                found[following] = (target, node)
            elif state[target] == 0:
                state[target] = 1
                stack.append((target, iter(out[target])))
    return found


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each node: the length of the longest path to it. The edges have no cycle."""
    layer, waiting = [0] * count, [0] * count
    out: list[list[int]] = [[] for _ in range(count)]
    for start, end in edges:
        if start != end:
            out[start].append(end)
            waiting[end] += 1
    ready = [node for node in range(count) if not waiting[node]]
    for node in ready:
        for target in out[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return layer


def _split(layer: list[int]) -> list[int]:
    """Layers with more than _MOST_IN_LAYER nodes become several."""
    by_layer: dict[int, list[int]] = {}
    for node, number in enumerate(layer):
        by_layer.setdefault(number, []).append(node)
    found, next_number = [0] * len(layer), 0
    for number in sorted(by_layer):
        nodes = by_layer[number]
        parts = -(-len(nodes) // _MOST_IN_LAYER)
        for place, node in enumerate(nodes):
            found[node] = next_number + place * parts // len(nodes)
        next_number += parts
    return found


def _order(layers: list[list[int]], above: list[list[int]], below: list[list[int]]) -> None:
    """Orders each layer so that few edges cross: the best order of some sweeps down and up."""
    best, fewest = [list(each) for each in layers], _crossings(layers, below)
    place = {node: float(index) for each in layers for index, node in enumerate(each)}
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        neighbours = above if sweep % 2 == 0 else below
        for each in layers if sweep % 2 == 0 else reversed(layers):
            each.sort(key=lambda node: _mean([place[other] for other in neighbours[node]], place[node]))
            place.update({node: float(index) for index, node in enumerate(each)})
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = [list(each) for each in layers], crossings
    layers[:] = best


def _crossings(layers: list[list[int]], below: list[list[int]]) -> int:
    count = 0
    for upper, lower in itertools.pairwise(layers):
        place = {node: index for index, node in enumerate(lower)}
        ends = [place[other] for node in upper for other in sorted(below[node], key=place.__getitem__)]
        count += sum(ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, len(ends)))
    return count


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _place(
    layers: list[list[int]], above: list[list[int]], below: list[list[int]], sizes: list[float], gap: float
) -> list[float]:
    """The horizontal centre of each node: near its neighbours, in order, and apart from the next."""
    x = [0.0] * len(sizes)
    for each in layers:
        position = -(sum(sizes[node] + gap for node in each) - gap) / 2
        for node in each:
            x[node] = position + sizes[node] / 2
            position += sizes[node] + gap
    for sweep in range(_SWEEPS):
        for each in layers if sweep % 2 == 0 else reversed(layers):
            neighbours = above if sweep % 2 == 0 else below
            if sweep >= _SWEEPS - 4:  # at the end both sides count
                wanted = [_mean([x[other] for other in (*above[node], *below[node])], x[node]) for node in each]
            else:
                wanted = [_mean([x[other] for other in neighbours[node]], x[node]) for node in each]
            for node, found in zip(each, _apart(wanted, [sizes[node] for node in each], gap), strict=True):
                x[node] = found
    return x


def _apart(wanted: list[float], sizes: list[float], gap: float) -> list[float]:
    """The places nearest to the wanted ones, by least squares, that keep the order and the gaps (pool adjacent
    violators)."""
    offsets, offset = [], 0.0
    for index, size in enumerate(sizes):
        offset += size / 2 + (gap + sizes[index - 1] / 2 if index else 0.0)
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        mean, length = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, size = blocks.pop()
            mean, length = (before * size + mean * length) / (size + length), size + length
        blocks.append((mean, length))
    places = [mean for mean, length in blocks for _ in range(length)]
    return [place + offset for place, offset in zip(places, offsets, strict=True)]
