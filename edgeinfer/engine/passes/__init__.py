"""Passes: each rewrites the graph, in its own small file; the order stands here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import Graph, Node
from ..tensor import Tensor
from .activation import fuse_activations
from .dead import remove_dead
from .fold import fold_constants
from .hybrid import resolve_hybrid
from .padding import fuse_padding
from .sign import canonical_sign
from .square import mark_products
from .variables import resolve_variables

Evaluate = Callable[[list[Node], list[Tensor], str], list[np.ndarray]]


def prepare(
    graph: Graph, evaluate: Evaluate, *, isa: str, rounding: str, optimise: bool = True
) -> Graph:
    """A new graph ready for lowering; the given one is left as it was."""
    graph = _copy(graph)
    resolve_variables(graph)
    resolve_hybrid(graph, isa, rounding)
    fold_constants(graph, evaluate, rounding)
    remove_dead(graph)
    mark_products(graph)
    if optimise:
        fuse_padding(graph)
        fuse_activations(graph)
        canonical_sign(graph, isa)
    remove_dead(graph)
    return graph


def _copy(graph: Graph) -> Graph:
    nodes = [
        Node(n.op, list(n.inputs), list(n.outputs), dict(n.attrs), n.name) for n in graph.nodes
    ]
    return Graph(graph.name, nodes, dict(graph.inputs), dict(graph.outputs))
