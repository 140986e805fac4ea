"""Graphs of one node set between neighbours, so that its tensors lie otherwise in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from oracle import const

from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.tensor import Tensor


def _raised(t: Tensor, name: str) -> tuple[Node, Tensor]:
    """A copy that no pass removes: the maximum with a constant row of least values."""
    info = None if t.dtype == "float32" else np.iinfo(t.dtype)
    least = np.full(t.shape[-1:], -np.inf if info is None else info.min)
    other = const(f"{name}/least", least, t.dtype, t.quant)
    out = replace(t, name=name, data=None)
    return Node("MAXIMUM", [t, other], [out], {}, name), out


def _joined(parts: list[Tensor], name: str) -> tuple[Node, Tensor]:
    first = parts[0]
    shape = (sum(t.shape[0] for t in parts), *first.shape[1:])
    out = replace(first, name=name, shape=shape)
    attrs = {"axis": 0, "fused_activation_function": "NONE"}
    return Node("CONCATENATION", [*parts], [out], attrs, name), out


def in_place(graph: Graph) -> Graph:
    """The graph of one node with inputs and output that are the plan's own and die at once."""
    node = graph.nodes[0]
    raised = {id(t): _raised(t, f"{t.name}/raised") for t in graph.inputs.values()}
    inputs = [raised[id(t)][1] if id(t) in raised else t for t in node.inputs]
    last, y = _raised(node.outputs[0], "out")
    nodes = [n for n, _ in raised.values()] + [replace(node, inputs=inputs), last]
    return Graph("in place", nodes, graph.inputs, {"out": y})


def unaligned(graph: Graph) -> Graph:
    """The graph of one node with tensors inside larger ones, between others of their (odd) size.

    What lies around the output is there before the node runs and read after it.
    """
    node, y = graph.nodes[0], graph.nodes[0].outputs[0]
    nodes, outputs, moved = [], {}, {}
    for t in graph.inputs.values():
        (n0, first), (n1, second) = _raised(t, f"{t.name}/0"), _raised(t, f"{t.name}/1")
        join, both = _joined([first, second], f"{t.name}/both")
        nodes += [n0, n1, join]
        outputs[both.name] = both
        moved[id(t)] = second
    around = replace(y, name="around")
    (n0, before), (n1, after) = _raised(around, "before"), _raised(around, "after")
    join, whole = _joined([before, y, after], "out")
    inputs = [moved.get(id(t), t) for t in node.inputs]
    nodes += [n0, n1, replace(node, inputs=inputs), join]
    given = {**graph.inputs, "around": around}
    return Graph("unaligned", nodes, given, {**outputs, "out": whole})


def strided(graph: Graph) -> Graph:
    """The graph of one node on tensors among the channels of larger ones, side by side with others.

    What lies beside the output is there before the node runs, and read after it.
    """
    node, y = graph.nodes[0], _square(graph.nodes[0].outputs[0])
    nodes, given, moved = [], {}, {}
    for t in map(_square, graph.inputs.values()):
        whole = replace(t, name=f"{t.name}/whole", shape=(*t.shape[:-1], 3 * t.shape[-1]))
        parts = [replace(t, name=f"{t.name}/{i}") for i in range(3)]
        axis = const(f"{t.name}/axis", np.array(3, np.int32), "int32")
        nodes.append(Node("SPLIT", [axis, whole], [*parts], {"num_splits": 3}, f"{t.name}/split"))
        given[whole.name] = whole
        moved[t.name] = parts[1]
    around = replace(y, name="around")
    (n0, before), (n1, after) = _pooled(around, "before"), _pooled(around, "after")
    shape = (*y.shape[:-1], 3 * y.shape[-1])
    out = replace(y, name="out", shape=shape)
    attrs = {"axis": 3, "fused_activation_function": "NONE"}
    join = Node("CONCATENATION", [before, y, after], [out], attrs, "out")
    inputs = [moved[t.name] if t is not None and t.name in moved else t for t in node.inputs]
    nodes += [n0, n1, replace(node, inputs=inputs, outputs=[y]), join]
    return Graph("strided", nodes, {**given, "around": around}, {"out": out})


def _square(t: Tensor) -> Tensor:
    """A row of values as some pixels of so many channels."""
    return replace(t, shape=(1, 2, 3, *t.shape)) if len(t.shape) == 1 else t


def _pooled(t: Tensor, name: str) -> tuple[Node, Tensor]:
    """A copy by a kernel that can write among other channels."""
    window = {"filter_width": 1, "filter_height": 1, "stride_w": 1, "stride_h": 1}
    attrs = {"padding": "VALID", "fused_activation_function": "NONE", **window}
    out = replace(t, name=name)
    return Node("MAX_POOL_2D", [t], [out], attrs, name), out
