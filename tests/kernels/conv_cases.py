"""Cases of convolutions and fully connected layers for the kernels of every ISA (see cases.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgeinfer.engine.graph import Graph
from edgeinfer.engine.ops.conv import same_padding
from edgeinfer.engine.tensor import Quantisation, Tensor, per_tensor
from tests.models import Maker

#: Channels at, below and above the widths of vectors and of blocks of columns.
SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65)
#: Widths of output lines around the tiles of rows of 4, 6, 12 and 14.
WIDTHS = (1, 2, 4, 5, 6, 7, 11, 12, 13, 14, 15, 27, 28, 29)
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
#: Kernel, stride, dilation (height, width) and padding.
WINDOWS: tuple[tuple[Any, Any, Any, str], ...] = (
    ((1, 1), (1, 1), (1, 1), "SAME"),
    ((3, 3), (1, 1), (1, 1), "SAME"),
    ((3, 3), (2, 2), (1, 1), "SAME"),
    ((2, 2), (1, 1), (1, 1), "VALID"),
    ((5, 5), (2, 2), (1, 1), "VALID"),
    ((3, 3), (1, 1), (2, 2), "SAME"),
    ((1, 1), (2, 2), (1, 1), "SAME"),
    ((3, 3), (3, 3), (1, 1), "VALID"),
    ((1, 7), (1, 2), (1, 1), "SAME"),
    ((7, 1), (2, 1), (1, 1), "SAME"),
    ((3, 2), (1, 1), (1, 3), "VALID"),
    ((2, 3), (2, 1), (3, 1), "SAME"),
)
GROUPED = ((6, 4, 2), (8, 8, 4), (32, 64, 2), (34, 66, 2), (9, 3, 3), (63, 51, 3), (16, 2, 2))
#: Scales by which accumulators become outputs: above 1, of no output at all.
_SCALES = (1.7, 37.5, 2.0**-7, 2.0**-10, 2.0**-11, 2.0**-14, 3e-8)


class Edge(Maker):
    """A Maker of single layers; `ends`: weights, zero points and scales at the ends.

    Pairs of weights of -128, for which AArch64 has kernels of their own, are there when `full`.
    """

    def __init__(self, dtype: str, seed: int, ends: bool = False, full: bool = False) -> None:
        super().__init__(dtype, seed)
        self.ends, self.full = ends, full

    def _tensor(self, shape: Any, limit: float, name: str = "") -> Tensor:
        made = super()._tensor(shape, limit, name)
        if made.quant is not None and self.ends:
            zero = np.iinfo(made.dtype).min + int(self.rng.choice([0, 1, 128, 254, 255]))
            made.quant = per_tensor(made.scale, zero)
        return made

    def _weight(self, shape: tuple[int, ...], axis: int | None, x: Tensor) -> Tensor:
        made = super()._weight(shape, axis, x)
        if self.dtype == "float32":
            return made
        low = int(np.iinfo(self.dtype).min)
        least = low if self.full else low + 1
        assert made.data is not None
        data = np.maximum(made.data, least).astype(self.dtype)
        if self.full:
            data[..., : made.shape[-1] // 2 + 1] = low
        if self.ends and not self.full:
            data = self.rng.choice([least, low + 128, low + 255], shape).astype(self.dtype)
        made.data = data
        if self.dtype == "uint8" and self.ends:
            made.quant = per_tensor(made.scale, int(self.rng.choice([0, 1, 100, 128, 255])))
        return made

    def layer(
        self, op: str, x: Tensor, channels: int, window: tuple[Any, Any, Any, str],
        groups: int = 1, activation: str = "NONE", bias: bool = True,
    ) -> Tensor:  # fmt: skip
        """CONV_2D or DEPTHWISE_CONV_2D (`channels` = those of x times a multiplier)."""
        kernel, stride, dilation, padding = window
        sides = zip(x.shape[1:3], kernel, stride, dilation, strict=True)
        if padding == "SAME":
            size = [same_padding(*side)[0] for side in sides]
        else:
            size = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in sides]
        attrs: dict[str, Any] = {"padding": padding, "fused_activation_function": activation}
        for i, letter in enumerate("hw"):
            attrs |= {f"stride_{letter}": stride[i], f"dilation_{letter}_factor": dilation[i]}
        if op == "CONV_2D":
            weight = self._weight((channels, *kernel, x.shape[3] // groups), 0, x)
        else:
            weight = self._weight((1, *kernel, channels), 3, x)
            attrs["depth_multiplier"] = channels // x.shape[3]
        return self._scaled(
            self._linear(op, x, weight, (x.shape[0], *size, channels), bias, attrs), x, weight
        )

    def dense(self, x: Tensor, units: int, **options: Any) -> Tensor:
        """FULLY_CONNECTED."""
        out = self.fc(x, units, **options)
        return self._scaled(out, x, self.nodes[-1].input(1))

    def _scaled(self, out: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        if out.quant is not None and self.ends:
            step = x.scale * weight.scale / float(self.rng.choice(_SCALES))
            out.quant = per_tensor(float(np.float32(step)), out.zero)
        return out

    def big_bias(self) -> None:
        """Biases that bring the accumulator near its ends."""
        bias = self.nodes[-1].input(2)
        if self.dtype != "float32":
            bias.data = self.rng.choice([-(2**30), 2**30 - 1, 12345], bias.shape).astype(np.int32)


Layer = tuple[str, Graph, Edge]


def _layer(
    dtype: str, seed: int, op: str, shape: tuple[int, ...], channels: int, window: Any,
    groups: int = 1, **how: bool,
) -> Layer:  # fmt: skip
    make = Edge(dtype, seed, **how)
    x = make.input("x", shape)
    activation = ACTIVATIONS[seed % 4]
    y = make.layer(op, x, channels, window, groups, activation, bias=bool(seed % 5))
    if how.get("ends") and seed % 5:
        make.big_bias()
    return f"{shape} to {channels}, {window}, groups {groups}, {how}", make.graph(y), make


def conv(dtype: str) -> Iterator[Layer]:
    """CONV_2D: channels, windows, widths of lines, groups, wide kernels, extremes."""
    for i, c in enumerate(SIZES):
        for k in range(3):
            shape = (1 + i % 2, 5 + k, 7, c)
            window = WINDOWS[(i + 4 * k) % len(WINDOWS)]
            yield _layer(dtype, i + k, "CONV_2D", shape, SIZES[(7 * i + 3) % 15], window)
    for i, w in enumerate(WIDTHS):
        for k, window in enumerate((WINDOWS[0], WINDOWS[1], WINDOWS[2])):
            shape = (1, 2, w * window[1][1], (5, 4, 3)[k])
            yield _layer(dtype, i, "CONV_2D", shape, (20, 33, 8)[k], window)
    for i, (c, oc, groups) in enumerate(GROUPED):
        yield _layer(dtype, i, "CONV_2D", (1, 4, 5, c), oc, WINDOWS[i % 3], groups)
    # A kernel larger than the image; one whose padding is a line and more.
    yield _layer(dtype, 1, "CONV_2D", (1, 2, 3, 5), 6, ((5, 5), (1, 1), (1, 1), "SAME"))
    yield _layer(dtype, 2, "CONV_2D", (1, 3, 2, 4), 6, ((3, 3), (1, 1), (4, 4), "SAME"))
    for seed in range(14 if dtype != "float32" else 0):
        window = WINDOWS[seed % len(WINDOWS)]
        yield _layer(
            dtype, seed, "CONV_2D", (1, 8, 9, SIZES[seed]), 17 + 16 * (seed % 2), window, ends=True
        )


def padded(dtype: str) -> Iterator[Layer]:
    """PAD before a VALID convolution or depthwise one: any padding on any side."""
    shape, window = (1, 4, 6, 9), (*WINDOWS[2][:3], "VALID")
    cases = [(shape, sides, window) for sides in (((1, 0), (0, 2)), ((0, 3), (3, 0)))]
    cases.append((shape, ((2, 2), (1, 1)), window))
    # No tap of a row inside the image.
    cases.append(((1, 3, 1, 9), ((0, 0), (6, 0)), ((2, 2), (1, 3), (1, 1), "VALID")))
    for seed, (shape, sides, window) in enumerate(cases):
        for op in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            make = Edge(dtype, seed, ends=dtype != "float32")
            x = make.pad(make.input("x", shape), [(0, 0), *sides, (0, 0)])
            y = make.layer(op, x, 9, window)
            yield f"{op} {sides}", make.graph(y), make


def depthwise(dtype: str) -> Iterator[Layer]:
    """DEPTHWISE_CONV_2D with one output a channel."""
    op = "DEPTHWISE_CONV_2D"
    for i, c in enumerate((*SIZES, 24, 48, 127, 129)):
        for k in range(3):
            window = WINDOWS[(i + 5 * k) % len(WINDOWS)]
            yield _layer(dtype, i + k, op, (1 + k % 2, 6, 8, c), c, window)
    for i, w in enumerate(WIDTHS):
        yield _layer(dtype, i, op, (1, 3, w, 5), 5, WINDOWS[1])
    # Tiles of rows, pixels and channels: every remainder, at the image's borders and within.
    for i, (c, h, w) in enumerate(((16, 5, 9), (17, 6, 4), (40, 3, 14), (65, 2, 3), (80, 7, 7))):
        for k, stride in ((3, 1), (3, 2), (5, 1), (5, 2)):
            for padding in ("SAME", "VALID")[: 1 + (min(h, w) >= k)]:
                window = ((k, k), (stride, stride), (1, 1), padding)
                yield _layer(dtype, i + k, op, (1 + i % 2, h, w, c), c, window)
    # The most taps, the widest window, a kernel larger than the image.
    yield _layer(dtype, 1, op, (1, 9, 9, 3), 3, ((16, 16), (1, 1), (1, 1), "SAME"))
    yield _layer(dtype, 2, op, (1, 70, 4, 2), 2, ((10, 2), (1, 1), (7, 2), "SAME"))
    yield _layer(dtype, 3, op, (1, 2, 3, 17), 17, ((5, 5), (2, 2), (1, 1), "SAME"))
    for seed in range(36 if dtype != "float32" else 0):
        c = SIZES[(seed + 3) % 15]
        window = WINDOWS[seed % len(WINDOWS)]
        yield _layer(dtype, seed, op, (1, 8, 9, c), c, window, ends=True)


def multiplied(dtype: str) -> Iterator[Layer]:
    """DEPTHWISE_CONV_2D with several outputs a channel."""
    for i, (c, times) in enumerate([(1, 8), (3, 5), (16, 2), (5, 17)]):
        yield _layer(dtype, i, "DEPTHWISE_CONV_2D", (1, 5, 6, c), c * times, WINDOWS[1 + i % 2])


def dense(dtype: str) -> Iterator[Layer]:
    """FULLY_CONNECTED: rows around the tiles, depths and units around the vectors."""
    for i, depth in enumerate((*SIZES, 127, 256)):
        for k in range(2):
            rows, units = WIDTHS[(2 * i + k) % 14], SIZES[(4 * i + 7 * k) % 15]
            make = Edge(dtype, i)
            x = make.input("x", (rows, depth))
            y = make.dense(x, units, activation=ACTIVATIONS[i % 4], bias=bool(i % 3))
            yield f"{rows} x {depth} x {units}", make.graph(y), make
    for i, units in enumerate((64, 127, 128, 129, 257)):  # one row, many blocks of units
        make = Edge(dtype, i)
        x = make.input("x", (1, 33 + i))
        yield f"1 x {33 + i} x {units}", make.graph(make.dense(x, units)), make
    if dtype != "float32":  # accumulators halfway between two outputs
        make = Edge(dtype, 4)
        x = make.input("x", (99, 3))
        y = make.dense(x, 21)
        y.quant = per_tensor(16 * x.scale * make.nodes[-1].input(1).scale, y.zero)
        yield "ties", make.graph(y), make
    for seed in range(12 if dtype != "float32" else 0):
        make = Edge(dtype, seed, ends=True)
        y = make.dense(make.input("x", (1 + seed % 3, 65)), 35, activation=ACTIVATIONS[seed % 4])
        if seed % 2:
            make.big_bias()
        yield f"ends {seed}", make.graph(y), make


def hybrid(op: str) -> Iterator[Layer]:
    """Float activations, int8 weights with a scale for every channel."""
    for seed, c in enumerate(SIZES):
        depthwise = op == "DEPTHWISE_CONV_2D"
        make, channels = Edge("float32", seed), c if depthwise else SIZES[(7 * seed + 3) % 15]
        if op == "FULLY_CONNECTED":
            y = make.dense(make.input("x", (WIDTHS[seed % 14], c)), channels)
        else:
            x = make.input("x", (1 + seed % 2, 5, 6, c))
            y = make.layer(op, x, channels, WINDOWS[seed % 8], activation=ACTIVATIONS[seed % 4])
        w = make.nodes[-1].input(1)
        w.data, w.dtype = make.rng.integers(-127, 128, w.shape).astype(np.int8), "int8"
        scale = make.rng.uniform(0.001, 0.01, channels).astype(np.float32)
        w.quant = Quantisation(scale, np.zeros(channels, np.int32), 3 if depthwise else 0)
        yield f"hybrid {op} {c} to {channels}", make.graph(y), make


def full(dtype: str, op: str) -> Iterator[Layer]:
    """Pairs of weights of -128, against inputs at the ends."""
    if dtype == "float32":
        return
    for seed in range(4):
        make = Edge(dtype, seed, ends=True, full=True)
        if op == "FULLY_CONNECTED":
            y = make.dense(make.input("x", (2, 96)), 11)
        else:
            y = make.layer(op, make.input("x", (1, 4, 5, 40)), 40, WINDOWS[1 + seed % 2])
        yield f"{op} {seed}", make.graph(y), make
