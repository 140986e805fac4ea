"""Float operators with 8-bit constant weights (dynamic-range models): the weights become float.

LiteRT quantises the activations of such a node anew in every run; computing in float instead is the
exact form of what that approximates.
"""

from __future__ import annotations

import numpy as np

from ..graph import Graph
from ..tensor import Tensor

_WEIGHTED = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "EMBEDDING_LOOKUP", "SVDF",
)  # fmt: skip


def expand_hybrid_weights(graph: Graph) -> None:
    """Dequantise 8-bit constants that a float node reads."""
    done: dict[int, Tensor] = {}
    for node in graph.nodes:
        if node.op not in _WEIGHTED or node.outputs[0].dtype != "float32":
            continue
        for i, tensor in enumerate(node.inputs):
            if tensor is not None and tensor.constant and _hybrid(tensor):
                if id(tensor) not in done:
                    done[id(tensor)] = _dequantise(tensor)
                node.inputs[i] = done[id(tensor)]


def _hybrid(tensor: Tensor) -> bool:
    return tensor.dtype in ("int8", "uint8") and tensor.quant is not None


def _dequantise(tensor: Tensor) -> Tensor:
    quant, data = tensor.quant, tensor.data
    assert quant is not None
    assert data is not None
    shape = [1] * len(tensor.shape)
    if quant.per_channel:
        shape[quant.axis] = -1
    value = data.astype(np.float32) - quant.zero.astype(np.float32).reshape(shape)
    value = (value * quant.scale.astype(np.float32).reshape(shape)).astype(np.float32)
    return Tensor(tensor.name, tensor.shape, "float32", data=value)
