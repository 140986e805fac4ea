"""Small models with random weights and sensible quantisation, for comparing with LiteRT.

make = Maker("int8")
x = make.input("x", (1, 8, 8, 3))
graph = make.graph(make.softmax(make.fc(make.mean(make.conv(x, 16)), 10)))
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.engine.graph import Graph, Node
from edgeinfer.engine.tensor import Quantisation, Tensor, per_tensor

_LOW = {"int8": -128, "uint8": 0}
_PROBABILITY = 1 / 256


class Maker:
    """Appends nodes one by one; each method returns its output. Layout NHWC.

    `dtype` is "float32", "int8" (weights per channel) or "uint8" (weights per tensor).
    """

    def __init__(self, dtype: str = "int8", seed: int = 0) -> None:
        self.dtype, self.rng = dtype, np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.inputs: dict[str, Tensor] = {}
        self.count = 0

    def input(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A graph input; real values within about [-2, 2]."""
        tensor = self._tensor(shape, 2.0, name)
        self.inputs[name] = tensor
        return tensor

    def graph(self, *outputs: Tensor) -> Graph:
        """The graph so far, with these outputs."""
        return Graph("test", self.nodes, dict(self.inputs), {t.name: t for t in outputs})

    def conv(
        self, x: Tensor, channels: int, kernel: int = 3, stride: int = 1, padding: str = "SAME",
        activation: str = "NONE", dilation: int = 1, bias: bool = True,
    ) -> Tensor:  # fmt: skip
        """CONV_2D, square kernel."""
        weight = self._weight((channels, kernel, kernel, x.shape[3]), 0, x)
        attrs = _window(padding, stride, dilation, activation)
        h, w = (_size(n, kernel, stride, dilation, padding) for n in x.shape[1:3])
        return self._linear("CONV_2D", x, weight, (x.shape[0], h, w, channels), bias, attrs)

    def dw(
        self, x: Tensor, kernel: int = 3, stride: int = 1, padding: str = "SAME",
        activation: str = "NONE", multiplier: int = 1, dilation: int = 1, bias: bool = True,
    ) -> Tensor:  # fmt: skip
        """DEPTHWISE_CONV_2D, square kernel."""
        channels = x.shape[3] * multiplier
        weight = self._weight((1, kernel, kernel, channels), 3, x)
        attrs = _window(padding, stride, dilation, activation) | {"depth_multiplier": multiplier}
        h, w = (_size(n, kernel, stride, dilation, padding) for n in x.shape[1:3])
        return self._linear(
            "DEPTHWISE_CONV_2D", x, weight, (x.shape[0], h, w, channels), bias, attrs
        )

    def fc(self, x: Tensor, units: int, activation: str = "NONE", bias: bool = True) -> Tensor:
        """FULLY_CONNECTED on the last dimension; weights per tensor."""
        rows = x.count // x.shape[-1]
        weight = self._weight((units, x.shape[-1]), None, x)
        attrs = {"fused_activation_function": activation, "keep_num_dims": False}
        return self._linear("FULLY_CONNECTED", x, weight, (rows, units), bias, attrs)

    def add(self, a: Tensor, b: Tensor, op: str = "ADD", activation: str = "NONE") -> Tensor:
        """ADD, SUB or MUL with broadcasting."""
        shape = np.broadcast_shapes(a.shape, b.shape)
        limit = self._limit(a) * self._limit(b) if op == "MUL" else self._limit(a) + self._limit(b)
        out = self._tensor(shape, limit)
        return self._node(op, [a, b], out, {"fused_activation_function": activation})

    def pool(
        self, x: Tensor, op: str = "MAX_POOL_2D", size: int = 2, stride: int = 2,
        padding: str = "VALID", activation: str = "NONE",
    ) -> Tensor:  # fmt: skip
        """MAX_POOL_2D or AVERAGE_POOL_2D, square window."""
        h, w = (_size(n, size, stride, 1, padding) for n in x.shape[1:3])
        out = self._like(x, (x.shape[0], h, w, x.shape[3]))
        attrs = {
            "padding": padding, "stride_w": stride, "stride_h": stride, "filter_width": size,
            "filter_height": size, "fused_activation_function": activation,
        }  # fmt: skip
        return self._node(op, [x], out, attrs)

    def mean(self, x: Tensor, axes: tuple[int, ...] = (1, 2), keep: bool = False) -> Tensor:
        """MEAN over the axes."""
        kept = [1 if i in axes else d for i, d in enumerate(x.shape) if keep or i not in axes]
        return self._node("MEAN", [x, self.ints(axes)], self._like(x, kept), {"keep_dims": keep})

    def softmax(self, x: Tensor, beta: float = 1.0) -> Tensor:
        """SOFTMAX over the last dimension, output scale 1/256 as the specification fixes it."""
        return self._node("SOFTMAX", [x], self._probability(x.shape), {"beta": beta})

    def unary(self, x: Tensor, op: str, **attrs: Any) -> Tensor:
        """An operator of one input that keeps the shape: RELU6, LOGISTIC, TANH, HARD_SWISH ..."""
        if op == "LOGISTIC":
            out = self._probability(x.shape)
        elif op == "TANH" and self.dtype != "float32":
            out = self._named(x.shape, per_tensor(1 / 128, _LOW[self.dtype] + 128))
        else:
            out = self._tensor(x.shape, self._limit(x))
        return self._node(op, [x], out, attrs)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """RESHAPE."""
        out = self._like(x, shape)
        return self._node("RESHAPE", [x, self.ints(shape)], out, {"new_shape": list(shape)})

    def concat(self, tensors: list[Tensor], axis: int = 3) -> Tensor:
        """CONCATENATION; the output has the first input's quantisation."""
        shape = list(tensors[0].shape)
        shape[axis] = sum(t.shape[axis] for t in tensors)
        attrs = {"axis": axis, "fused_activation_function": "NONE"}
        return self._node("CONCATENATION", [*tensors], self._like(tensors[0], shape), attrs)

    def split(self, x: Tensor, count: int) -> list[Tensor]:
        """SPLIT of the channels into equal parts."""
        axis = Tensor(self._name("axis"), (), "int32", data=np.array(len(x.shape) - 1, np.int32))
        shape = (*x.shape[:-1], x.shape[-1] // count)
        parts = [self._like(x, shape) for _ in range(count)]
        self.nodes.append(Node("SPLIT", [axis, x], [*parts], {"num_splits": count}, parts[0].name))
        return parts

    def resize(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """RESIZE_NEAREST_NEIGHBOR."""
        attrs = {"align_corners": False, "half_pixel_centers": False}
        out = self._like(x, (x.shape[0], *size, x.shape[3]))
        return self._node("RESIZE_NEAREST_NEIGHBOR", [x, self.ints(size)], out, attrs)

    def alike(self, x: Tensor, other: Tensor) -> Tensor:
        """x itself, which its maker now quantises as `other`."""
        x.quant = other.quant
        return x

    def pad(self, x: Tensor, paddings: list[tuple[int, int]]) -> Tensor:
        """PAD by (before, after) of every dimension."""
        shape = [d + a + b for d, (a, b) in zip(x.shape, paddings, strict=True)]
        return self._node("PAD", [x, self.ints(paddings)], self._like(x, shape), {})

    def ints(self, values: Any) -> Tensor:
        """An int32 constant."""
        data = np.asarray(values, np.int32)
        return Tensor(self._name("ints"), data.shape, "int32", data=data)

    def _linear(
        self, op: str, x: Tensor, weight: Tensor, shape: Any, bias: bool, attrs: dict[str, Any]
    ) -> Tensor:
        inner = weight.count // weight.shape[3 if op == "DEPTHWISE_CONV_2D" else 0]
        out = self._tensor(shape, 2.5 * self._limit(x) / 2 * np.sqrt(inner) / 2)
        given = [x, weight, self._bias(x, weight, shape[-1])] if bias else [x, weight]
        return self._node(op, given, out, attrs)

    def _weight(self, shape: tuple[int, ...], axis: int | None, x: Tensor) -> Tensor:
        name = self._name("weight")
        if self.dtype == "float32":
            data: Any = self.rng.uniform(-1, 1, shape).astype(np.float32)
            return Tensor(name, shape, "float32", data=data)
        low, high, zero = (-127, 128, 0) if self.dtype == "int8" else (0, 256, 128)
        data = self.rng.integers(low, high, shape).astype(self.dtype)
        if self.dtype == "uint8" or axis is None:
            return Tensor(name, shape, self.dtype, per_tensor(1 / 127, zero), data)
        scale = (self.rng.uniform(0.5, 1, shape[axis]) / 127).astype(np.float32)
        quant = Quantisation(scale, np.zeros(scale.size, np.int32), axis)
        return Tensor(name, shape, self.dtype, quant, data)

    def _bias(self, x: Tensor, weight: Tensor, n: int) -> Tensor:
        name = self._name("bias")
        if weight.quant is None:
            return Tensor(name, (n,), "float32", data=self.rng.normal(0, 1, n).astype(np.float32))
        scale = (weight.quant.scale * np.float32(x.scale)).astype(np.float32)
        quant = Quantisation(scale, np.zeros(scale.size, np.int32), 0)
        data = (self.rng.normal(0, 0.5, n) / scale).astype(np.int32)
        return Tensor(name, (n,), "int32", quant, data)

    def _limit(self, t: Tensor) -> float:
        return t.scale * 128 if t.quant is not None else 2.0

    def _name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def _named(self, shape: Any, quant: Quantisation | None, name: str = "") -> Tensor:
        return Tensor(name or self._name("t"), tuple(map(int, shape)), self.dtype, quant)

    def _tensor(self, shape: Any, limit: float, name: str = "") -> Tensor:
        """A tensor of real values within about +-limit."""
        if self.dtype == "float32":
            return self._named(shape, None, name)
        zero = _LOW[self.dtype] + 128 + int(self.rng.integers(-20, 21))
        return self._named(shape, per_tensor(limit / 128, zero), name)

    def _probability(self, shape: Any) -> Tensor:
        quant = None
        if self.dtype != "float32":
            quant = per_tensor(_PROBABILITY, _LOW[self.dtype])
        return self._named(shape, quant)

    def _like(self, x: Tensor, shape: Any) -> Tensor:
        return self._named(shape, x.quant)

    def _node(self, op: str, inputs: list[Tensor], out: Tensor, attrs: dict[str, Any]) -> Tensor:
        self.nodes.append(Node(op, [*inputs], [out], attrs, out.name))
        return out


def network(dtype: str = "int8", seed: int = 0, size: int = 16) -> Graph:
    """A small residual network with most of the common operators: image "x" -> 10 classes."""
    make = Maker(dtype, seed)
    x = make.input("x", (1, size, size, 3))
    a = make.conv(x, 8, stride=2, activation="RELU6")
    b = make.conv(make.dw(a, activation="RELU"), 8, kernel=1)
    c = make.add(a, b)
    d = make.concat([make.pool(c), make.pool(c)])
    return make.graph(make.softmax(make.fc(make.mean(d), 10)))


def hybrid(graph: Graph) -> Graph:
    """The float graph with the weights of its layers in int8, per channel."""
    layers = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    for node in graph.nodes:
        if node.op in layers:
            node.inputs[1] = narrow(node.input(1), node.op)
    return graph


def narrow(w: Tensor, op: str, per_channel: bool = True, least: int = -127) -> Tensor:
    """Float weights in int8, `least` among them (TFLite's own kernels overflow at -128)."""
    assert w.data is not None
    axis = w.data.ndim - 1 if op == "DEPTHWISE_CONV_2D" else 0
    rest = tuple(i for i in range(w.data.ndim) if i != axis) if per_channel else None
    scale = (np.abs(w.data).max(axis=rest, keepdims=True) / 127).astype(np.float32)
    flat = scale.reshape(-1)
    quant = Quantisation(flat, np.zeros(flat.size, np.int32), axis if per_channel else 0)
    steps = np.rint(w.data / scale).astype(np.int8)
    steps.reshape(-1)[:2] = least
    return Tensor(w.name, w.shape, "int8", quant, steps)


def variables() -> Graph:
    """A stateful graph: out = state + x, state = out (VAR_HANDLE, READ, ASSIGN, CALL_ONCE)."""

    def handle(name: str) -> tuple[Tensor, Node]:
        t = Tensor(name, (), "resource")
        return t, Node("VAR_HANDLE", [], [t], {"container": "", "shared_name": "state"}, name)

    first = Tensor("first", (1, 4), "float32", data=np.arange(4, dtype=np.float32)[None])
    h0, make0 = handle("init_handle")
    init = Graph("init", [make0, Node("ASSIGN_VARIABLE", [h0, first], [])], {}, {})
    x, old, out = (Tensor(n, (1, 4), "float32") for n in ("x", "old", "out"))
    h1, make1 = handle("handle")
    nodes = [
        Node("CALL_ONCE", [], [], {"init_subgraph": init}, "once"),
        make1,
        Node("READ_VARIABLE", [h1], [old], {}, "read"),
        Node("ADD", [old, x], [out], {"fused_activation_function": "NONE"}, "add"),
        Node("ASSIGN_VARIABLE", [h1, out], [], {}, "assign"),
    ]
    return Graph("main", nodes, {"x": x}, {"out": out})


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Random values of the whole range for every input."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, t in graph.inputs.items():
        if t.dtype == "float32":
            found[name] = rng.uniform(-2, 2, t.shape).astype(np.float32)
        else:
            info = np.iinfo(t.dtype)
            found[name] = rng.integers(info.min, info.max + 1, t.shape).astype(t.dtype)
    return found


def litert(
    data: bytes, feeds: dict[str, np.ndarray], *, reference: bool = False, runs: int = 1
) -> Any:
    """Outputs by name of a .tflite on LiteRT: default interpreter, or its reference operators."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=kind)
    runner = interpreter.get_signature_runner()
    for _ in range(runs):
        outputs = runner(**feeds)
    return outputs


def _window(padding: str, stride: int, dilation: int, activation: str) -> dict[str, Any]:
    return {
        "padding": padding, "stride_w": stride, "stride_h": stride,
        "dilation_w_factor": dilation, "dilation_h_factor": dilation,
        "fused_activation_function": activation,
    }  # fmt: skip


def _size(n: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    if padding == "SAME":
        return -(-n // stride)
    return (n - (kernel - 1) * dilation - 1) // stride + 1


def joined(dtype: str = "int8", seed: int = 0) -> Graph:
    """Concatenations and a split along the channels, of what kernels write and read in place.

    As in CSP networks, spatial pyramids and U-Net; one part is written by a depthwise layer, which
    cannot.
    """
    make = Maker(dtype, seed)
    x = make.conv(make.input("x", (1, 8, 8, 8)), 24, 3)
    left, middle, right = make.split(x, 3)
    y = make.alike(make.conv(make.conv(left, 16, 3), 24, 1), x)
    z = make.alike(make.unary(make.conv(middle, 12, 3, 2), "TANH"), x)
    up = make.resize(z, (8, 8))
    both = make.concat([y, up, make.alike(make.dw(right), x)])
    a = make.pool(y, size=3, stride=1, padding="SAME")
    b = make.pool(a, "AVERAGE_POOL_2D", size=3, stride=1, padding="SAME")
    pyramid = make.concat([make.alike(make.conv(both, 9, 1), y), a, b, y])
    return make.graph(make.conv(pyramid, 7, 1), make.mean(both))
