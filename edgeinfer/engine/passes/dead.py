"""Nodes whose results nobody reads are removed."""

from __future__ import annotations

from ..graph import Graph, Node


def remove_dead(graph: Graph) -> None:
    """Keep what leads to an output or writes a state."""
    needed = {id(t) for t in graph.outputs.values()}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if any(id(t) in needed or t.state for t in node.outputs):
            kept.append(node)
            needed.update(id(t) for t in node.inputs if t is not None)
    graph.nodes[:] = reversed(kept)
