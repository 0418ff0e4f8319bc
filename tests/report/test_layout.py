"""The layout of graphs: whatever the graph, nodes do not overlap and edges lead from one to the other.

Belongs here: coordinates. Does not belong here: how they look (`tests/browser/test_report.py`).
"""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from landscape_assets.report.layout import lay_out

SIZE = {"width": 100.0, "height": 40.0, "gap": 20.0, "rise": 50.0}


@st.composite
def graphs(draw):
    count = draw(st.integers(0, 14))
    nodes = st.integers(0, max(0, count - 1))
    return count, draw(st.lists(st.tuples(nodes, nodes), max_size=30)) if count else []


@given(graphs())
def test_nodes_are_apart_and_edges_reach_them(graph):
    """Cycles, edges that occur twice and nodes without edges included; the same graph is laid out the same way."""
    count, edges = graph
    layout = lay_out(count, edges, **SIZE)
    assert layout == lay_out(count, edges, **SIZE)
    assert len(layout.nodes) == count
    for (x, y), (u, v) in itertools.combinations(layout.nodes, 2):
        assert abs(x - u) >= SIZE["width"] + SIZE["gap"] - 1e-6 or abs(y - v) >= SIZE["height"] + SIZE["rise"] - 1e-6
    for x, y in layout.nodes:
        assert SIZE["width"] / 2 - 1e-6 <= x <= layout.width - SIZE["width"] / 2 + 1e-6
        assert SIZE["height"] / 2 <= y <= layout.height - SIZE["height"] / 2
    for (start, end), points in zip(edges, layout.edges, strict=True):
        if start == end:
            assert points == []
            continue
        assert points[0][0] == layout.nodes[start][0]
        assert points[-1][0] == layout.nodes[end][0]
        assert {abs(points[0][1] - layout.nodes[start][1]), abs(points[-1][1] - layout.nodes[end][1])} == {20.0}
