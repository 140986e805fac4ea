"""Constant folding: a node whose inputs are all constants is run once, at plan time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...errors import UnsupportedError
from .. import ops
from ..graph import Graph, Node
from ..tensor import Tensor

Evaluate = Callable[[list[Node], list[Tensor]], list[np.ndarray]]


def fold_constants(graph: Graph, evaluate: Evaluate) -> None:
    """Replace such nodes by their values, round by round until none is left."""
    while True:
        ready = [n for n in graph.nodes if _foldable(n)]
        if not ready:
            return
        outputs = [t for n in ready for t in n.outputs]
        for tensor, value in zip(outputs, evaluate(ready, outputs), strict=True):
            tensor.data = value
        gone = {id(n) for n in ready}
        graph.nodes[:] = [n for n in graph.nodes if id(n) not in gone]


def _foldable(node: Node) -> bool:
    inputs = [t for t in node.inputs if t is not None]
    if not inputs or not all(t.constant for t in inputs) or any(t.state for t in node.outputs):
        return False
    try:
        ops.lower(node, ops.Context())
    except UnsupportedError:
        return False
    return True
