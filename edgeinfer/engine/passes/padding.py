"""PAD into the convolution that follows: the kernel pads with the same value by itself."""

from __future__ import annotations

import numpy as np

from ..graph import Graph, Node
from ..tensor import Tensor

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def fuse_padding(graph: Graph) -> None:
    """Fold spatial zero padding into VALID convolutions, as attrs["explicit_padding"].

    The value is (top, bottom, left, right), added to what the padding scheme says.
    """
    producers = graph.producers()
    consumers = graph.consumers()
    outputs = {id(t) for t in graph.outputs.values()}
    for node in graph.nodes:
        if node.op not in _CONVOLUTIONS or node.attrs.get("padding") != "VALID":
            continue
        pad = producers.get(id(node.input(0)))
        if pad is None or not _spatial(pad):
            continue
        if len(consumers[id(pad.outputs[0])]) > 1 or id(pad.outputs[0]) in outputs:
            continue
        amounts = np.asarray(pad.input(1).data)
        node.attrs["explicit_padding"] = tuple(int(v) for v in amounts[1:3].reshape(-1))
        node.inputs[0] = pad.input(0)


def _spatial(pad: Node) -> bool:
    """Whether the node pads height and width of an NHWC tensor with its zero."""
    if pad.op not in ("PAD", "PADV2") or len(pad.input(0).shape) != 4:
        return False
    amounts = pad.input(1).data
    if amounts is None or np.any(amounts[0]) or np.any(amounts[3]) or np.any(amounts < 0):
        return False
    same = _same_quant(pad.input(0), pad.outputs[0])
    value = pad.optional(2)
    if value is None:
        return same
    return same and value.data is not None and bool(np.all(value.data == pad.input(0).zero))


def _same_quant(a: Tensor, b: Tensor) -> bool:
    return a.scale == b.scale and a.zero == b.zero
