"""One sign for all 8-bit activations: the one the ISA's kernels multiply fastest.

x86's VNNI multiplies unsigned activations by signed weights: int8 activations become uint8 (value
and zero point + 128), which changes no result, since real = scale * (q - zero) stays the same.
Graph inputs and outputs, states and constants keep their type; a FLIP_SIGN node stands between.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..graph import Graph, Node
from ..tensor import Quantisation, Tensor

#: ISA -> the type its 8-bit kernels want activations in.
PREFERRED = {
    "avx512vnni": "uint8",
    "avxvnni": "uint8",
    "neon": "int8",
    "dotprod": "int8",
    "i8mm": "int8",
}

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")

#: Operators that compute on q - zero, so that the same real input gives the same real output for
#: either sign, to the bit. (Average pooling, say, rounds the raw sum: its ties differ by sign.)
_EITHER = frozenset(
    "CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED BATCH_MATMUL ADD SUB MUL SQUARED_DIFFERENCE "
    "MAX_POOL_2D RESHAPE SQUEEZE "
    "EXPAND_DIMS TRANSPOSE CONCATENATION SPLIT STRIDED_SLICE SLICE PAD "
    "RESIZE_NEAREST_NEIGHBOR".split()
)


def canonical_sign(graph: Graph, isa: str) -> None:
    """Rewrite the 8-bit activations of the graph for the ISA; nothing where it has no wish."""
    wanted = PREFERRED.get(isa)
    if wanted is None or not any(n.op in _WEIGHTED for n in graph.nodes):
        return
    flipper = _Flipper(wanted)
    for node in graph.nodes:
        if flipper.takes(node):
            flipper.rewrite(node)
        else:
            flipper.restore(t for t in node.inputs if t is not None)
            flipper.nodes.append(node)
    flipper.restore(graph.outputs.values())
    graph.nodes[:] = flipper.nodes


class _Flipper:
    """Builds the new node list; every tensor has at most one twin of the wanted sign."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.twins: dict[int, Tensor] = {}
        self.missing: set[int] = set()  # originals that only exist as their twin
        self.nodes: list[Node] = []

    def unwanted(self, tensor: Tensor | None) -> bool:
        """Whether the tensor is an 8-bit value of the other sign."""
        return (
            tensor is not None and tensor.dtype in ("int8", "uint8") and tensor.dtype != self.wanted
        )

    def takes(self, node: Node) -> bool:
        """Whether the node may run on twins."""
        if node.op not in _EITHER or not any(self.unwanted(t) for t in node.outputs):
            return False
        if node.op == "MUL" and node.inputs[0] is node.inputs[1]:
            return False  # a square rounds after the zero point is added
        values = [t for i, t in self._values(node)] + node.outputs
        plain = all(t.quant is not None and not t.quant.per_channel for t in values)
        if node.op == "CONCATENATION":
            out = node.outputs[0]
            plain = plain and all((t.scale, t.zero) == (out.scale, out.zero) for t in values)
        return plain and not any(t.state for t in values)

    def _values(self, node: Node) -> list[tuple[int, Tensor]]:
        """The 8-bit inputs that are values, not weights, of the other sign."""
        end = 1 if node.op in _WEIGHTED else len(node.inputs)
        pairs = enumerate(node.inputs[:end])
        return [(i, t) for i, t in pairs if t is not None and self.unwanted(t)]

    def rewrite(self, node: Node) -> None:
        """Append the node with twins in place of its 8-bit values."""
        for i, tensor in self._values(node):
            known = id(tensor) in self.twins
            twin = self._twin(tensor)
            if not known and not tensor.constant:
                self.nodes.append(Node("FLIP_SIGN", [tensor], [twin], name=tensor.name))
            node.inputs[i] = twin
        for i, tensor in enumerate(node.outputs):
            if self.unwanted(tensor):
                node.outputs[i] = self._twin(tensor)
                node.attrs["zero_shift"] = node.outputs[i].zero - tensor.zero
                self.missing.add(id(tensor))
        self.nodes.append(node)

    def restore(self, tensors: Iterable[Tensor]) -> None:
        """Make the originals that only exist as twins so far."""
        for tensor in tensors:
            if id(tensor) in self.missing:
                self.missing.discard(id(tensor))
                twin = self.twins[id(tensor)]
                self.nodes.append(Node("FLIP_SIGN", [twin], [tensor], name=tensor.name))

    def _twin(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self.twins:
            assert tensor.quant is not None
            shift = 128 if self.wanted == "uint8" else -128
            quant = Quantisation(tensor.quant.scale, tensor.quant.zero + np.int32(shift))
            data = tensor.data
            if data is not None:
                data = (data.view(np.uint8) ^ 0x80).view(self.wanted)
            self.twins[id(tensor)] = Tensor(tensor.name, tensor.shape, self.wanted, quant, data)
        return self.twins[id(tensor)]
