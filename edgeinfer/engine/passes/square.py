"""Which products of a tensor with itself LiteRT computes as products.

XNNPACK turns them into squares, which round their ties otherwise (ops/math.py), but not where the
factor is the output of a clamp that nothing else reads: it has joined the two nodes before.
"""

from __future__ import annotations

from ..graph import Graph, Node
from ..ops.math import delegated

_CLAMPED = ("ADD", "SUB", "MUL")


def mark_products(graph: Graph) -> None:
    """Set attrs["square"] = False where a MUL of a tensor with itself stays a product."""
    producers, consumers = graph.producers(), graph.consumers()
    outputs = {id(t) for t in graph.outputs.values()}
    for node in graph.nodes:
        if node.op != "MUL" or node.inputs[0] is not node.inputs[1]:
            continue
        x = node.input(0)
        made = producers.get(id(x))
        alone = all(n is node for n in consumers[id(x)]) and id(x) not in outputs
        if made is not None and alone and _clamps(made):
            node.attrs["square"] = False


def _clamps(node: Node) -> bool:
    """Whether the delegate ends the node with a clamp of its own, or makes it one."""
    if node.op == "MAX_POOL_2D":
        names = ("filter_height", "filter_width", "stride_h", "stride_w")
        return all(node.attrs[name] == 1 for name in names)
    if node.op not in _CLAMPED or node.outputs[0].quant is None:
        return False
    activation = node.attrs.get("fused_activation_function", "NONE")
    return activation != "NONE" and delegated(node, node.input(0), node.input(1), node.outputs[0])
