"""Builds the float graph of a network: random weights, batch normalisation already folded in.

Layout NHWC, SAME padding, names of the TFLite operators. The graph is the one description of an
architecture: the float and int8 .tflite files and the peers' twins are all made from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.tensor import Tensor


class Net:
    """Appends layers one by one; each method returns its output tensor."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.name, self.rng = name, np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.inputs: dict[str, Tensor] = {}

    def input(self, *shape: int) -> Tensor:
        """The input: values within [-1, 1]."""
        tensor = Tensor(f"x{len(self.inputs) or ''}", shape, "float32")
        self.inputs[tensor.name] = tensor
        return tensor

    def graph(self, *outputs: Tensor) -> Graph:
        """The finished graph."""
        return Graph(self.name, self.nodes, self.inputs, {t.name: t for t in outputs})

    def node(self, op: str, inputs: list[Any], shape: Any, **attrs: Any) -> Tensor:
        """Append a node with one output of that shape."""
        name = f"{op.lower()}_{len(self.nodes)}"
        out = Tensor(name, tuple(shape), "float32")
        self.nodes.append(Node(op, inputs, [out], attrs, name))
        return out

    def constant(self, value: Any, dtype: str = "float32") -> Tensor:
        """A constant."""
        data = np.asarray(value, dtype)
        return Tensor(f"c{len(self.nodes)}_{data.size}", data.shape, dtype, data=data)

    def weights(self, shape: tuple[int, ...], fan_in: int) -> Tensor:
        """Random weights that keep the variance (He 2015)."""
        return self.constant(self.rng.normal(0, (2 / fan_in) ** 0.5, shape))

    def bias(self, count: int, around: float = 0.0) -> Tensor:
        """Small random biases."""
        return self.constant(self.rng.normal(around, 0.1, count))

    def conv(self, x: Tensor, channels: int, kernel: Any = 1, stride: int = 1, act: str = "NONE",
             around: float = 0.0) -> Tensor:  # fmt: skip
        """CONV_2D; `kernel` a number or (height, width); biases around `around`."""
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        depth = x.shape[3]
        weights = self.weights((channels, kh, kw, depth), kh * kw * depth)
        inputs = [x, weights, self.bias(channels, around)]
        return self.node("CONV_2D", inputs, _shrunk(x, stride, channels), **_window(stride, act))

    def dw(self, x: Tensor, kernel: int = 3, stride: int = 1, act: str = "NONE") -> Tensor:
        """DEPTHWISE_CONV_2D with multiplier 1."""
        channels = x.shape[3]
        weights = self.weights((1, kernel, kernel, channels), kernel * kernel)
        attrs = _window(stride, act) | {"depth_multiplier": 1}
        shape = _shrunk(x, stride, channels)
        return self.node("DEPTHWISE_CONV_2D", [x, weights, self.bias(channels)], shape, **attrs)

    def fc(self, x: Tensor, units: int, act: str = "NONE") -> Tensor:
        """FULLY_CONNECTED over the last dimension; the others are kept."""
        depth = x.shape[-1]
        inputs = [x, self.weights((units, depth), depth), self.bias(units)]
        attrs = {"fused_activation_function": act, "keep_num_dims": len(x.shape) > 2}
        return self.node("FULLY_CONNECTED", inputs, (*x.shape[:-1], units), **attrs)

    def two(self, op: str, a: Tensor, b: Any, act: str = "NONE") -> Tensor:
        """ADD, SUB, MUL ... with broadcasting; a number becomes a constant."""
        b = b if isinstance(b, Tensor) else self.constant(b)
        shape = np.broadcast_shapes(a.shape, b.shape)
        return self.node(op, [a, b], shape, fused_activation_function=act)

    def add(self, a: Tensor, b: Any, act: str = "NONE") -> Tensor:
        """ADD."""
        return self.two("ADD", a, b, act)

    def mul(self, a: Tensor, b: Any) -> Tensor:
        """MUL."""
        return self.two("MUL", a, b)

    def one(self, op: str, x: Tensor, **attrs: Any) -> Tensor:
        """An operator of one input that keeps the shape: LOGISTIC, HARD_SWISH ..."""
        return self.node(op, [x], x.shape, **attrs)

    def softmax(self, x: Tensor) -> Tensor:
        """SOFTMAX over the last dimension."""
        return self.one("SOFTMAX", x, beta=1.0)

    def silu(self, x: Tensor) -> Tensor:
        """x times its LOGISTIC."""
        return self.mul(x, self.one("LOGISTIC", x))

    def mean(self, x: Tensor, axes: tuple[int, ...] = (1, 2), keep: bool = False) -> Tensor:
        """MEAN over the axes."""
        shape = [1 if i in axes else d for i, d in enumerate(x.shape) if keep or i not in axes]
        return self.node("MEAN", [x, self.constant(axes, "int32")], shape, keep_dims=keep)

    def pool(self, x: Tensor, size: int, stride: int) -> Tensor:
        """MAX_POOL_2D."""
        attrs = _window(stride, "NONE") | {"filter_width": size, "filter_height": size}
        return self.node("MAX_POOL_2D", [x], _shrunk(x, stride, x.shape[3]), **attrs)

    def up(self, x: Tensor) -> Tensor:
        """RESIZE_NEAREST_NEIGHBOR to twice the size."""
        _, h, w, c = x.shape
        size = self.constant((2 * h, 2 * w), "int32")
        return self.node("RESIZE_NEAREST_NEIGHBOR", [x, size], (1, 2 * h, 2 * w, c))

    def concat(self, parts: list[Tensor], axis: int = -1) -> Tensor:
        """CONCATENATION."""
        shape = list(parts[0].shape)
        shape[axis] = sum(p.shape[axis] for p in parts)
        attrs = {"axis": axis, "fused_activation_function": "NONE"}
        return self.node("CONCATENATION", list(parts), shape, **attrs)

    def reshape(self, x: Tensor, *shape: int) -> Tensor:
        """RESHAPE."""
        target = self.constant(shape, "int32")
        return self.node("RESHAPE", [x, target], shape, new_shape=list(shape))

    def transpose(self, x: Tensor, *order: int) -> Tensor:
        """TRANSPOSE."""
        shape = [x.shape[i] for i in order]
        return self.node("TRANSPOSE", [x, self.constant(order, "int32")], shape)

    def matmul(self, a: Tensor, b: Tensor, adj_y: bool = False) -> Tensor:
        """BATCH_MATMUL; adj_y: times the transpose of b."""
        shape = (*a.shape[:-1], b.shape[-2 if adj_y else -1])
        return self.node("BATCH_MATMUL", [a, b], shape, adj_x=False, adj_y=adj_y)

    def layer_norm(self, x: Tensor) -> Tensor:
        """Layer normalisation over the last dimension, in the operators TFLite has for it."""
        axes, depth = (len(x.shape) - 1,), x.shape[-1]
        mean = self.mean(x, axes, keep=True)
        variance = self.mean(self.two("SQUARED_DIFFERENCE", x, mean), axes, keep=True)
        inverse = self.one("RSQRT", self.add(variance, 1e-3))
        normal = self.mul(self.two("SUB", x, mean), inverse)
        scaled = self.mul(normal, self.constant(self.rng.uniform(0.8, 1.2, depth)))
        return self.add(scaled, self.bias(depth))

    def lstm(self, x: Tensor, units: int) -> Tensor:
        """UNIDIRECTIONAL_SEQUENCE_LSTM, x [1, time, depth]."""
        depth = x.shape[2]
        shapes = [*[(units, depth)] * 4, *[(units, units)] * 4]
        weights = [self.constant(self.rng.normal(0, s[1] ** -0.5, s)) for s in shapes]
        biases = [self.bias(units, 1.0 if i == 1 else 0.0) for i in range(4)]  # forget gate: 1
        states = [Tensor(f"state{i}", (1, units), "float32", state=True) for i in range(2)]
        inputs = [x, *weights, *[None] * 3, *biases, None, None, *states, *[None] * 4]
        attrs = {"fused_activation_function": "TANH", "cell_clip": 0.0, "proj_clip": 0.0}
        return self.node("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, (*x.shape[:2], units), **attrs)


def _window(stride: int, act: str) -> dict[str, Any]:
    return {
        "padding": "SAME", "stride_w": stride, "stride_h": stride, "dilation_w_factor": 1,
        "dilation_h_factor": 1, "fused_activation_function": act,
    }  # fmt: skip


def _shrunk(x: Tensor, stride: int, channels: int) -> tuple[int, ...]:
    return (x.shape[0], -(-x.shape[1] // stride), -(-x.shape[2] // stride), channels)
