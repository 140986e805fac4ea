"""Constant folding: a node whose inputs are all constants is run once, at plan time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...errors import UnsupportedError
from .. import ops
from ..graph import Graph, Node
from ..tensor import Tensor

Evaluate = Callable[[list[Node], list[Tensor], str], list[np.ndarray]]


def fold_constants(graph: Graph, evaluate: Evaluate, rounding: str) -> None:
    """Replace such nodes by their values in the plan's rounding, level by level."""
    while True:
        ready = [n for n in graph.nodes if _foldable(n, rounding)]
        if not ready:
            return
        outputs = [t for n in ready for t in n.outputs]
        values = evaluate(ready, outputs, rounding)
        # New tensors: those of the model itself stay as they are, for it may be planned again.
        folded = {
            id(t): Tensor(t.name, t.shape, t.dtype, t.quant, value)
            for t, value in zip(outputs, values, strict=True)
        }
        gone = {id(n) for n in ready}
        graph.nodes[:] = [n for n in graph.nodes if id(n) not in gone]
        _replace(graph, folded)


def _foldable(node: Node, rounding: str) -> bool:
    inputs = [t for t in node.inputs if t is not None]
    if not inputs or not all(t.constant for t in inputs) or any(t.state for t in node.outputs):
        return False
    try:
        ops.lower(node, ops.Context(rounding))
    except UnsupportedError:
        return False
    return True


def _replace(graph: Graph, folded: dict[int, Tensor]) -> None:
    for node in graph.nodes:
        node.inputs[:] = [folded.get(id(t), t) if t is not None else None for t in node.inputs]
    for name, tensor in graph.outputs.items():
        graph.outputs[name] = folded.get(id(tensor), tensor)
