"""Random models: a hypothesis strategy of whole graphs of the common operators.

Structure, sizes and options are drawn, so that a failing graph shrinks; weights come from a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgeinfer.engine.graph import Graph
from edgeinfer.engine.tensor import Tensor, per_tensor
from tests.models import Maker

DTYPES = ("float32", "int8", "uint8")
_ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
_MOST = 6000  # elements of a tensor

Draw = Callable[[Any], Any]


class Net(Maker):
    """A Maker whose choices are drawn; `tensors` holds what the next operator may read."""

    def __init__(self, draw: Draw, dtype: str) -> None:
        super().__init__(dtype, draw(st.integers(0, 2**16)))
        self.draw, self.tensors = draw, list[Tensor]()

    def any(self, *values: Any) -> Any:
        """One of the values; the first is the simplest."""
        return self.draw(st.sampled_from(values))

    def number(self, low: int, high: int) -> int:
        """low..high, both included."""
        return int(self.draw(st.integers(low, high)))

    def operand(self, rank: int | None = None) -> Tensor | None:
        """A tensor of that rank, one of the latest; None where there is none."""
        found = [t for t in self.tensors if rank is None or len(t.shape) == rank]
        return self.any(*found[:-5:-1]) if found else None

    def scaled(self, x: Tensor, like: Tensor) -> Tensor:
        """The same values in another tensor's quantisation, by QUANTIZE where it differs."""
        if x.quant is None or (x.scale, x.zero) == (like.scale, like.zero):
            return x
        return self._node("QUANTIZE", [x], self._like(like, x.shape), {})

    def constant(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A constant operand of values as large as another tensor's."""
        if self.dtype == "float32":
            data: Any = self.rng.uniform(-2, 2, shape).astype(np.float32)
            return Tensor(self._name("const"), shape, "float32", data=data)
        info = np.iinfo(self.dtype)
        data = self.rng.integers(info.min, info.max + 1, shape).astype(self.dtype)
        return Tensor(self._name("const"), shape, self.dtype, like.quant, data)

    def _weight(self, shape: tuple[int, ...], axis: int | None, x: Tensor) -> Tensor:
        made = super()._weight(shape, axis, x)
        if self.dtype == "float32":  # activations keep their size from layer to layer
            assert made.data is not None
            inner = made.count / shape[3 if axis == 3 else 0]
            made.data = (made.data / np.sqrt(inner / 2)).astype(np.float32)
        return made

    def _tensor(self, shape: Any, limit: float, name: str = "") -> Tensor:
        made = super()._tensor(shape, limit, name)
        if made.quant is None:
            return made
        scale, zero, info = made.scale, made.zero, np.iinfo(made.dtype)
        if self.any(False, False, False, True):
            zero = int(self.any(info.min, info.max))
        if self.any(False, True):  # a power of two: ties of roundings are many
            scale = 2.0 ** round(np.log2(scale) + self.any(0, 1, -1, 5))
        made.quant = per_tensor(scale, zero)
        return made


Operator = Callable[[Net], "Tensor | None"]


def _window(net: Net, x: Tensor, largest: int) -> dict[str, Any]:
    """Kernel, stride and padding that fit the image."""
    side = min(x.shape[1:3])
    kernel = net.number(1, min(largest, side))
    return {
        "kernel": kernel,
        "stride": net.number(1, 2),
        "padding": net.any("SAME", "VALID"),
    }


def _conv(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    window = _window(net, x, 5)
    dilates = window["stride"] == 1 and (window["kernel"] - 1) * 2 < min(x.shape[1:3])
    dilation = net.any(1, 2) if dilates else 1
    return net.conv(
        x, net.number(1, 20), activation=net.any(*_ACTIVATIONS), dilation=dilation, **window
    )


def _depthwise(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    window = _window(net, x, 5)
    times = net.any(1, 1, 2, 3) if x.shape[3] <= 8 else 1
    return net.dw(x, activation=net.any(*_ACTIVATIONS), multiplier=times, **window)


def _matrices(x: Tensor) -> list[tuple[int, int]]:
    """x as rows: of an image each, of a pixel each."""
    return [(x.shape[0], x.count // x.shape[0]), (x.count // x.shape[-1], x.shape[-1])]


def _dense(net: Net) -> Tensor | None:
    x = net.operand()
    if x is None:
        return None
    if len(x.shape) == 4:
        x = net.reshape(x, net.any(*_matrices(x)))
    return net.fc(x, net.number(1, 33), net.any(*_ACTIVATIONS), bias=net.any(True, False))


def _binary(net: Net) -> Tensor | None:
    a = net.operand()
    if a is None:
        return None
    op = net.any("ADD", "MUL", "SUB", "MAXIMUM", "MINIMUM")
    kind = net.any("tensor", "scalar", "row", "constant")
    others = [t for t in net.tensors if t.shape == a.shape]
    if kind == "tensor":
        b = net.any(*others[::-1])
    else:
        shape = {"scalar": (1,), "row": a.shape[-1:], "constant": a.shape}[kind]
        b = net.constant(shape, a)
    if op in ("MAXIMUM", "MINIMUM"):
        return net._node(op, [a, net.scaled(b, a)], net._like(a, a.shape), {})
    return net.add(a, b, op, net.any(*_ACTIVATIONS))


def _pool(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    window = _window(net, x, 4)
    op = net.any("MAX_POOL_2D", "AVERAGE_POOL_2D")
    activation = net.any("NONE", "RELU6")
    return net.pool(x, op, window["kernel"], window["stride"], window["padding"], activation)


def _mean(net: Net) -> Tensor | None:
    x = net.operand(4)
    return None if x is None else net.mean(x, net.any((1, 2), (3,)), keep=net.any(False, True))


def _concatenation(net: Net) -> Tensor | None:
    first = net.operand()
    if first is None:
        return None
    axis = net.number(0, len(first.shape) - 1)

    def rest(t: Tensor) -> tuple[int, ...]:
        return t.shape[:axis] + t.shape[axis + 1 :]

    alike = [t for t in net.tensors if len(t.shape) == len(first.shape) and rest(t) == rest(first)]
    parts = [first] + [net.any(*alike[::-1]) for _ in range(net.number(0, 2))]
    if sum(t.count for t in parts) > _MOST or axis == 0:
        return None
    return net.concat([net.scaled(t, first) for t in parts], axis)


def _reshape(net: Net) -> Tensor | None:
    x = net.operand()
    if x is None:
        return None
    shapes: list[tuple[int, ...]] = [*_matrices(x)]
    if len(x.shape) == 4:
        shapes.append((x.shape[0], x.shape[2], x.shape[1], x.shape[3]))
    if len(x.shape) == 2:
        shapes.append((x.shape[0], 1, 1, x.shape[1]))
    return net.reshape(x, net.any(*shapes))


def _softmax(net: Net) -> Tensor | None:
    x = net.operand()
    return None if x is None else net.softmax(x, net.any(1.0, 0.5))


def _resize(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    op = net.any("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
    size = [net.number(1, 12), net.number(1, 12)]
    mode = net.any((False, False), (False, True), (True, False))
    attrs = {"align_corners": mode[0], "half_pixel_centers": mode[1]}
    out = net._like(x, (x.shape[0], *size, x.shape[3]))
    return net._node(op, [x, net.ints(size)], out, attrs)


def _pad(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    sides = [(net.number(0, 2), net.number(0, 2)) for _ in range(2)]
    return net.pad(x, [(0, 0), *sides, (0, net.any(0, 0, 1))])


def _unary(net: Net) -> Tensor | None:
    x = net.operand()
    if x is None:
        return None
    known = ["RELU", "RELU6", "LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "RELU_N1_TO_1"]
    known += ["ABS"] if net.dtype != "uint8" else []
    op = net.any(*known, *(["NEG", "GELU", "SQUARE"] if net.dtype == "float32" else []))
    return net.unary(x, op, **({"alpha": net.any(0.1, 0.3)} if op == "LEAKY_RELU" else {}))


def _transpose(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    order = net.any((0, 2, 1, 3), (0, 3, 1, 2), (0, 1, 3, 2))
    shape = tuple(x.shape[i] for i in order)
    return net._node("TRANSPOSE", [x, net.ints(order)], net._like(x, shape), {})


def _slice(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    begin = [0, *(net.number(0, d - 1) for d in x.shape[1:])]
    size = [x.shape[0]] + [
        net.number(1, d - b) for d, b in zip(x.shape[1:], begin[1:], strict=True)
    ]
    return net._node("SLICE", [x, net.ints(begin), net.ints(size)], net._like(x, size), {})


def _transpose_conv(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None or max(x.shape[1:3]) > 6:
        return None
    kernel, channels, bias = net.number(1, 4), net.number(1, 9), net.any(True, False)
    stride, padding = net.number(1, min(kernel, 2)), net.any("SAME", "VALID")
    grow = 0 if padding == "SAME" else kernel - stride
    shape = (x.shape[0], *(d * stride + grow for d in x.shape[1:3]), channels)
    weight = net._weight((channels, kernel, kernel, x.shape[3]), 0, x)
    out = net._tensor(shape, net._limit(x) * np.sqrt(weight.count / channels) / 2)
    given = [net.ints(shape), weight, x] + ([net._bias(x, weight, channels)] if bias else [])
    attrs = {"padding": padding, "stride_h": stride, "stride_w": stride}
    return net._node("TRANSPOSE_CONV", given, out, attrs)


def _prelu(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    alpha = net.constant((1, 1, x.shape[3]), x)
    return net._node("PRELU", [x, alpha], net._tensor(x.shape, 2 * net._limit(x)), {})


def _split(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    axis = net.number(1, 3)
    parts = [n for n in (1, 2, 3) if x.shape[axis] % n == 0]
    count = net.any(*parts)
    shape = [d // count if i == axis else d for i, d in enumerate(x.shape)]
    outputs = [net._like(x, shape) for _ in range(count)]
    net._node("SPLIT", [net.ints(axis), x], outputs[0], {"num_splits": count})
    net.nodes[-1].outputs[:] = outputs
    net.tensors += outputs[1:]
    return outputs[0]


def _strided_slice(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    begin = [0, *(net.number(0, d - 1) for d in x.shape[1:])]
    steps = [1, *(net.number(1, 3) for _ in range(3))]
    shape = [-(-(d - b) // s) for d, b, s in zip(x.shape, begin, steps, strict=True)]
    given = [x, net.ints(begin), net.ints(x.shape), net.ints(steps)]
    return net._node("STRIDED_SLICE", given, net._like(x, shape), {})


def _blocks(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    n, h, w, c = x.shape
    if h % 2 == w % 2 == 0 and net.any(True, False):
        shape: tuple[int, ...] = (n, h // 2, w // 2, c * 4)
        return net._node("SPACE_TO_DEPTH", [x], net._like(x, shape), {"block_size": 2})
    if c % 4:
        return None
    shape = (n, h * 2, w * 2, c // 4)
    return net._node("DEPTH_TO_SPACE", [x], net._like(x, shape), {"block_size": 2})


def _mirror_pad(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None or min(x.shape[1:3]) < 2:
        return None
    sides = [(0, 0), *((net.number(0, 1), net.number(0, 1)) for _ in range(2)), (0, 0)]
    shape = [d + a + b for d, (a, b) in zip(x.shape, sides, strict=True)]
    attrs = {"mode": net.any("REFLECT", "SYMMETRIC")}
    return net._node("MIRROR_PAD", [x, net.ints(sides)], net._like(x, shape), attrs)


def _extreme(net: Net) -> Tensor | None:
    x = net.operand(4)
    if x is None:
        return None
    op, axis = net.any("REDUCE_MAX", "REDUCE_MIN"), net.number(1, 3)
    shape = [1 if i == axis else d for i, d in enumerate(x.shape)]
    return net._node(op, [x, net.ints([axis])], net._like(x, shape), {"keep_dims": True})


def _nothing(net: Net) -> Tensor | None:
    return None


#: The simplest first; the more often an operator stands here, the more of it.
_OPERATORS: tuple[Operator, ...] = (
    _nothing, _conv, _conv, _depthwise, _dense, _dense, _binary, _binary, _binary, _pool, _mean,
    _concatenation, _concatenation, _reshape, _softmax, _resize, _pad, _unary, _unary, _transpose,
    _slice, _transpose_conv, _prelu, _split, _strided_slice, _blocks, _mirror_pad, _extreme,
)  # fmt: skip


@st.composite
def graphs(draw: Draw, dtype: str) -> Graph:
    """One or two inputs, up to fourteen operators; every tensor that nobody reads is an output."""
    net = Net(draw, dtype)
    shape = (net.any(1, 1, 2), net.number(1, 9), net.number(1, 9), net.number(1, 17))
    net.tensors.append(net.input("x", shape))
    if net.any(False, True):
        net.tensors.append(net.input("z", shape))
    for _ in range(net.number(3, 14)):
        made = draw(st.sampled_from(_OPERATORS))(net)
        if made is not None and 0 < made.count <= _MOST:
            net.tensors.append(made)
    read = {id(t) for node in net.nodes for t in node.inputs}
    written = [t for node in net.nodes for t in node.outputs]
    inputs = [t for t in net.inputs.values() if id(t) in read]
    graph = net.graph(*(t for t in written if id(t) not in read))
    graph.inputs = {t.name: t for t in inputs}
    return graph
