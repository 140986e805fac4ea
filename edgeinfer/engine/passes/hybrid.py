"""Float operators with 8-bit constant weights (hybrid, or dynamic-range, models).

LiteRT does not compute these in float: it quantises the activations anew in every run. So do we, by
a DYNAMIC_QUANTIZE node in front of the operator:

* CONV_2D and FULLY_CONNECTED then multiply in 8 bits and give floats (ops.h: seven inputs).
* DEPTHWISE_CONV_2D does the same on those integers in float32, whose sums are exact.
* TRANSPOSE_CONV, and a depthwise convolution with several outputs a channel, run in float, on
  activations rounded to what their 8 bits stand for and on weights in float: the same sums within
  a float's rounding.

How LiteRT 2.3 quantises (_METHODS): XNNPACK takes all but the depthwise convolution, one scale an
image, but one a row for a FULLY_CONNECTED and one a pixel for the 1x1 convolutions that it turns
into such (XNNPACK, subgraph/convolution-2d.c). TFLite's own kernels, which run the rest and all of
"tflite", take one scale an image or row.

Other operators (EMBEDDING_LOOKUP, LSTM), uint8 weights and weights with a zero point get weights in
float and are computed in float.
"""

from __future__ import annotations

import numpy as np

from ..graph import Graph, Node
from ..tensor import Quantisation, Tensor
from .sign import PREFERRED

_PRODUCTS = ("CONV_2D", "FULLY_CONNECTED")
_ROUNDED = ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
_FLOAT = ("BATCH_MATMUL", "UNIDIRECTIONAL_SEQUENCE_LSTM", "EMBEDDING_LOOKUP", "SVDF")
_WEIGHTED = (*_PRODUCTS, *_ROUNDED, *_FLOAT)


def resolve_hybrid(graph: Graph, isa: str, rounding: str) -> None:
    """Put the quantisation of activations before such nodes; other weights become float."""
    found = [n for n in graph.nodes if n.op in _WEIGHTED and n.outputs[0].dtype == "float32"]
    hybrid = {id(n) for n in found if any(_narrow(t) for t in n.inputs)}
    maker = _Maker("uint8" if PREFERRED.get(isa) == "uint8" else "int8", rounding)
    for node in graph.nodes:
        if id(node) in hybrid:
            maker.rewrite(node)
        maker.nodes.append(node)
    graph.nodes[:] = maker.nodes


def _narrow(tensor: Tensor | None) -> bool:
    """Whether the tensor holds 8-bit weights."""
    eight = tensor is not None and tensor.constant and tensor.dtype in ("int8", "uint8")
    return eight and tensor is not None and tensor.quant is not None


def _well_formed(node: Node, x: Tensor, w: Tensor) -> bool:
    """Whether LiteRT would quantise x: signed weights without zero points, by output channel."""
    quant = w.quant
    ranks = (4, 4) if node.op != "FULLY_CONNECTED" else (len(x.shape), 2)
    if quant is None or w.dtype != "int8" or x.dtype != "float32" or quant.zero.any():
        return False
    axis = 3 if node.op == "DEPTHWISE_CONV_2D" else 0
    if (len(x.shape), len(w.shape)) != ranks or not x.count or not w.count:
        return False
    return not quant.per_channel or (quant.axis == axis and quant.scale.size == w.shape[axis])


class _Maker:
    """Builds the new node list; activations that several nodes read are quantised once."""

    def __init__(self, dtype: str, rounding: str) -> None:
        self.dtype, self.rounding = dtype, rounding
        self.nodes: list[Node] = []
        self.made: dict[tuple[int, int, str, str], list[Tensor]] = {}
        self.wide: dict[int, Tensor] = {}

    def rewrite(self, node: Node) -> None:
        """Change the node's inputs, after appending what makes them."""
        at = 2 if node.op == "TRANSPOSE_CONV" else 0
        x, w = node.input(at), node.input(1)
        dynamic = node.op not in _FLOAT and _well_formed(node, x, w)
        if dynamic and node.op in _PRODUCTS:
            bias = node.optional(2)
            values, scale, zero = self._quantised(x, node, self.dtype)
            node.inputs[:] = [values, w, bias, _scales(w, w.shape[0]), scale, zero, None]
            node.attrs["dynamic"] = True
            return
        if dynamic and node.op == "DEPTHWISE_CONV_2D" and w.shape[3] == x.shape[3]:
            values, scale = self._quantised(x, node, "integers")
            scales, bias = _scales(w, w.shape[3]), node.optional(2)
            node.inputs[:] = [values, _integers(w), bias, scales, scale, None, None]
            node.attrs["dynamic"] = True
            return
        if dynamic:
            node.inputs[at] = self._quantised(x, node, "float32")[0]
        node.inputs[:] = [self._widened(t) for t in node.inputs]

    def _quantised(self, x: Tensor, node: Node, dtype: str) -> list[Tensor]:
        batches, method = _batches(x, node, self.rounding), _method(node, self.rounding)
        key = (id(x), batches, method, dtype)
        if key not in self.made:
            held = "float32" if dtype == "integers" else dtype
            outputs = [
                Tensor(f"{x.name}/quantised", x.shape, held),
                Tensor(f"{x.name}/scale", (batches,), "float32"),
                Tensor(f"{x.name}/zero", (batches,), "int32"),
            ][: {"float32": 1, "integers": 2}.get(dtype, 3)]
            attrs = {"batches": batches, "method": method}
            self.nodes.append(Node("DYNAMIC_QUANTIZE", [x], outputs, attrs, f"{x.name}/quantised"))
            self.made[key] = outputs
        return self.made[key]

    def _widened(self, tensor: Tensor | None) -> Tensor | None:
        if tensor is None or not _narrow(tensor):
            return tensor
        if id(tensor) not in self.wide:
            self.wide[id(tensor)] = _dequantise(tensor)
        return self.wide[id(tensor)]


def _batches(x: Tensor, node: Node, rounding: str) -> int:
    """How many parts of x have a scale of their own."""
    w = node.input(1)
    if node.op == "FULLY_CONNECTED":
        return max(x.count // w.shape[1], 1)
    strides = node.attrs.get("stride_h"), node.attrs.get("stride_w")
    point = node.op == "CONV_2D" and w.shape[1:3] == strides == (1, 1) and not _grouped(node)
    if rounding == "xnnpack" and point and w.shape[0] + w.shape[3] > 2:
        return x.count // x.shape[3]
    return x.shape[0]


def _method(node: Node, rounding: str) -> str:
    """How LiteRT quantises the activations of the node: a name of ei_dynamic_method."""
    if rounding == "xnnpack":
        return "ASYMMETRIC" if node.op == "DEPTHWISE_CONV_2D" else "XNNPACK"
    quant = node.input(1).quant
    one = quant is None or bool(np.all(quant.scale == quant.scale[0]))
    if node.op == "FULLY_CONNECTED":
        asymmetric = bool(node.attrs.get("asymmetric_quantize_inputs"))
    else:
        asymmetric = node.op != "CONV_2D" or not one or _grouped(node)
    return "ASYMMETRIC" if asymmetric else "SYMMETRIC"


def _grouped(node: Node) -> bool:
    return node.input(0).shape[-1] != node.input(1).shape[-1]


def _scales(w: Tensor, n: int) -> Tensor:
    """One scale for every of n output channels."""
    assert w.quant is not None
    data = np.broadcast_to(w.quant.scale.astype(np.float32), (n,))
    return Tensor(f"{w.name}/scale", data.shape, "float32", data=np.ascontiguousarray(data))


def _integers(w: Tensor) -> Tensor:
    """The weights as they are, in float32."""
    assert w.data is not None
    return Tensor(w.name, w.shape, "float32", data=w.data.astype(np.float32))


def _dequantise(tensor: Tensor) -> Tensor:
    quant, data = tensor.quant, tensor.data
    assert isinstance(quant, Quantisation)
    assert data is not None
    shape = [1] * len(tensor.shape)
    if quant.per_channel:
        shape[quant.axis] = -1
    value = data.astype(np.float32) - quant.zero.astype(np.float32).reshape(shape)
    value = (value * quant.scale.astype(np.float32).reshape(shape)).astype(np.float32)
    return Tensor(tensor.name, tensor.shape, "float32", data=value)
