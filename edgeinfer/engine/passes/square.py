"""Which products of a tensor with itself XNNPACK computes as squares.

XNNPACK makes a square of MUL(x, x), whose ties fall otherwise. But first (src/subgraph.c,
xnn_subgraph_fuse_unary_quantized_into_lut) it makes one table of every chain of 8-bit elementwise
functions of one tensor, and what lies in such a chain stays a product.
"""

from __future__ import annotations

from ..graph import Graph, Node
from ..ops import math, tables
from ..tensor import Tensor

_EIGHT = ("int8", "uint8")
_UNARY = ("LOGISTIC", "TANH", "ELU", "LEAKY_RELU", "QUANTIZE")
_BINARY = ("ADD", "SUB", "MUL")
_LONGEST = 10


def mark_products(graph: Graph) -> None:
    """Set `square` in the attributes of every 8-bit MUL of a tensor with itself."""
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for key in {id(t) for t in node.inputs if t is not None}:
            readers.setdefault(key, []).append(node)
    outputs = {id(t) for t in graph.outputs.values()}
    fused: set[int] = set()
    for node in graph.nodes:
        chain = [] if id(node) in fused else _chain(node, readers, outputs)
        if len(chain) > 1:
            fused |= {id(n) for n in chain}
    for node in graph.nodes:
        if node.op == "MUL" and node.inputs[0] is node.inputs[1]:
            node.attrs["square"] = id(node) not in fused


def _chain(node: Node, readers: dict[int, list[Node]], outputs: set[int]) -> list[Node | None]:
    """The functions of one tensor from `node` on that become one table; None stands for the clamp
    behind a node that is itself none of them."""
    start = _argument(node, set())
    if start is None and not (_taken(node) and _clamps(node)):
        return []
    values = {id(start)} if start is not None else set()
    chain: list[Node | None] = [node if start is not None else None]
    while len(chain) < _LONGEST:
        out = node.outputs[0]
        values.add(id(out))
        after = readers.get(id(out), [])
        if len(after) != 1 or id(out) in outputs or _argument(after[0], values) is None:
            break
        node = after[0]
        chain.append(node)
    return chain


def _clamps(node: Node) -> bool:
    return node.op in _BINARY and node.attrs.get("fused_activation_function", "NONE") != "NONE"


def _argument(node: Node, values: set[int]) -> Tensor | None:
    """The tensor of which a node of XNNPACK's is an elementwise function, `values` being known as
    functions of one."""
    if not _taken(node):
        return None
    if node.op not in _BINARY:
        return node.inputs[0]
    a, b = node.input(0), node.input(1)
    if b.constant and b.count == 1 and not a.constant:
        return a
    if a.constant and a.count == 1 and not b.constant:
        return b
    return a if id(a) in values and id(b) in values else None


def _one_by_one(node: Node) -> bool:
    """Pooling of single elements, which the delegate makes a clamp."""
    names = ("filter_height", "filter_width", "stride_h", "stride_w")
    return node.op == "MAX_POOL_2D" and all(node.attrs[name] == 1 for name in names)


def _taken(node: Node) -> bool:
    """Whether LiteRT's delegate takes the node, all of it in 8 bits."""
    if node.op not in (*_UNARY, *_BINARY) and not _one_by_one(node):
        return False
    tensors = [t for t in (*node.inputs, *node.outputs) if t is not None]
    plain = all(t.dtype in _EIGHT and t.quant and not t.quant.per_channel for t in tensors)
    if not plain or any(t.scale <= 0 for t in tensors):
        return False
    if node.op in _BINARY:
        return math.delegated(node, *tensors)
    return node.op != "QUANTIZE" or tables.delegated(tensors[0], tensors[1])
